//! tokio-postgres in its default configuration through transaction mode: the same real mix as the
//! drivers of other languages in `tests/drivers/`.

use std::time::Duration;

use crate::support::*;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt, future, pin_mut};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

const ROUNDS: i32 = 20;

/// Server, pooler, and a bystander that keeps the server connections changing hands.
struct Bench {
    runtime: tokio::runtime::Runtime,
    weir: Pgweir,
    _pg: Postgres,
}

impl Bench {
    fn start(version: u32) -> Bench {
        let pg = Postgres::start_version(version);
        let weir = Pgweir::start(pg.port, "default_pool_size = 4");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let bench = Bench {
            runtime,
            weir,
            _pg: pg,
        };
        let port = bench.weir.port;
        bench.runtime.spawn(async move {
            let client = connect(port).await;
            loop {
                let sql = "begin; set local work_mem = '3MB'; select 1; commit";
                client.batch_execute(sql).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        bench
    }

    /// Runs a scenario with a client of its own; nothing may be left behind it.
    fn run<F: Future<Output = ()>>(&self, scenario: impl FnOnce(Client, u16) -> F) {
        let port = self.weir.port;
        self.runtime.block_on(async {
            let client = connect(port).await;
            let limit = Duration::from_secs(60);
            let ended = tokio::time::timeout(limit, scenario(client, port)).await;
            ended.expect("the scenario hangs");
        });
    }
}

/// By the extended protocol, with the statement prepared apart from its execution.
async fn notifications(sender: Client, port: u16) {
    let config = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let (client, mut connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    let mut messages = futures_util::stream::poll_fn(move |cx| connection.poll_message(cx));
    let (heard, mut notified) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            if let tokio_postgres::AsyncMessage::Notification(n) = message.unwrap() {
                let _ = heard.send((n.channel().to_owned(), n.payload().to_owned()));
            }
        }
    });
    let listen = client.prepare("LISTEN \"Tokio\"").await.unwrap();
    client.execute(&listen, &[]).await.unwrap();
    client.batch_execute("LISTEN other").await.unwrap();
    for (channel, payload) in [("Tokio", "1"), ("other", "2"), ("Tokio", "3")] {
        let notify = "select pg_notify($1, $2)";
        sender.execute(notify, &[&channel, &payload]).await.unwrap();
    }
    for expected in [("Tokio", "1"), ("other", "2"), ("Tokio", "3")] {
        let (channel, payload) = notified.recv().await.unwrap();
        assert_eq!((&*channel, &*payload), expected);
    }
    client.execute("UNLISTEN *", &[]).await.unwrap();
    sender
        .batch_execute("notify other, 'unheard'")
        .await
        .unwrap();
    client.batch_execute("select 1").await.unwrap();
    client.execute(&listen, &[]).await.unwrap();
    sender
        .batch_execute("notify \"Tokio\", 'last'")
        .await
        .unwrap();
    assert_eq!(notified.recv().await.unwrap().1, "last");
}

async fn connect(port: u16) -> Client {
    let config = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[test]
fn a_real_mix_of_statements_on_15() {
    a_real_mix_of_statements(15);
}

#[test]
fn a_real_mix_of_statements_on_18() {
    a_real_mix_of_statements(18);
}

#[test]
fn copy_cancel_and_large_results_on_15() {
    copy_cancel_and_large_results(15);
}

#[test]
fn copy_cancel_and_large_results_on_18() {
    copy_cancel_and_large_results(18);
}

fn a_real_mix_of_statements(version: u32) {
    let bench = Bench::start(version);
    bench.run(prepared_statements_twice_over);
    bench.run(the_same_text_in_many_clients);
    bench.run(transactions_and_savepoints);
    bench.run(errors_inside_and_outside_of_transactions);
    bench.run(pipelined_queries);
    bench.run(portals_with_row_limits);
    bench.run(settings_of_the_session);
    bench.run(types_looked_up_in_the_catalog);
    bench.run(a_schema_change_under_a_prepared_statement);
    bench.run(large_parameters);
    bench.run(notifications);
    bench.weir.assert_quiet();
}

fn copy_cancel_and_large_results(version: u32) {
    let bench = Bench::start(version);
    bench.run(copy_in_and_out);
    bench.run(a_copy_that_fails);
    bench.run(cancel_a_query);
    bench.run(a_result_of_100_megabytes);
    bench.run(a_client_that_leaves_in_the_middle);
    bench.weir.assert_quiet();
}

async fn prepared_statements_twice_over(client: Client, _: u16) {
    for _ in 0..2 {
        let add = client.prepare("select $1::int + $2::int").await.unwrap();
        let text = client.prepare("select $1::text || 'x'").await.unwrap();
        for n in 0..ROUNDS {
            let row = client.query_one(&add, &[&n, &1]).await.unwrap();
            assert_eq!(row.get::<_, i32>(0), n + 1);
            let row = client.query_one(&text, &[&n.to_string()]).await.unwrap();
            assert_eq!(row.get::<_, String>(0), format!("{n}x"));
        }
        // Dropping them closes them on the server.
    }
    let row = client.query_one("select $1::int8", &[&5i64]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 5);
}

/// tokio-postgres names its statements s0, s1, … in every connection.
async fn the_same_text_in_many_clients(_: Client, port: u16) {
    let clients = (0..16).map(|n: i32| async move {
        let client = connect(port).await;
        let own = client
            .prepare(&format!("select $1::int + {n}"))
            .await
            .unwrap();
        let common = client.prepare("select $1::int * 2").await.unwrap();
        for i in 0..ROUNDS {
            let row = client.query_one(&own, &[&i]).await.unwrap();
            assert_eq!(row.get::<_, i32>(0), i + n);
            let row = client.query_one(&common, &[&i]).await.unwrap();
            assert_eq!(row.get::<_, i32>(0), i * 2);
        }
    });
    future::join_all(clients).await;
}

async fn transactions_and_savepoints(mut client: Client, _: u16) {
    client
        .batch_execute("create table ledger (n int)")
        .await
        .unwrap();
    for n in 0..ROUNDS {
        let mut transaction = client.transaction().await.unwrap();
        let insert = "insert into ledger values ($1)";
        transaction.execute(insert, &[&n]).await.unwrap();
        let savepoint = transaction.savepoint("within").await.unwrap();
        savepoint.execute(insert, &[&-1]).await.unwrap();
        savepoint.rollback().await.unwrap();
        if n % 2 == 0 {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
    }
    // One that is dropped is rolled back.
    let transaction = client.transaction().await.unwrap();
    transaction
        .execute("insert into ledger values (-2)", &[])
        .await
        .unwrap();
    drop(transaction);
    let sql = "select count(*), min(n) from ledger";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), (i64::from(ROUNDS) / 2, 0));
}

async fn errors_inside_and_outside_of_transactions(mut client: Client, _: u16) {
    let divide = client.prepare("select 1 / $1::int").await.unwrap();
    let error = client.query(&divide, &[&0]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO));
    let error = client.prepare("selec 1").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::SYNTAX_ERROR));
    let transaction = client.transaction().await.unwrap();
    transaction.query(&divide, &[&0]).await.unwrap_err();
    let error = transaction.query(&divide, &[&1]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    transaction.rollback().await.unwrap();
    let row = client.query_one(&divide, &[&1]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 1);
}

/// Requests that are polled together go out together; an error fails its own only.
async fn pipelined_queries(client: Client, _: u16) {
    let divide = client.prepare("select 100 / $1::int").await.unwrap();
    let numbers: Vec<i32> = (-10..=10).collect();
    let queries = numbers.iter().map(|n| {
        let (client, divide) = (&client, &divide);
        async move { client.query_one(divide, &[n]).await }
    });
    let answers = future::join_all(queries).await;
    for (n, answer) in numbers.iter().zip(answers) {
        match n {
            0 => assert_eq!(
                answer.unwrap_err().code(),
                Some(&SqlState::DIVISION_BY_ZERO)
            ),
            n => assert_eq!(answer.unwrap().get::<_, i32>(0), 100 / n),
        }
    }
}

async fn portals_with_row_limits(mut client: Client, _: u16) {
    let transaction = client.transaction().await.unwrap();
    let sql = "select i from generate_series(1, $1::int) i";
    let portal = transaction.bind(sql, &[&100]).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 7).await.unwrap();
        if rows.is_empty() {
            break;
        }
        seen.extend(rows.iter().map(|r| r.get::<_, i32>(0)));
    }
    assert_eq!(seen, (1..=100).collect::<Vec<_>>());
    transaction.commit().await.unwrap();
}

async fn settings_of_the_session(client: Client, port: u16) {
    client
        .batch_execute("set search_path = pg_catalog; set work_mem = '7MB'")
        .await
        .unwrap();
    let other = connect(port).await;
    for _ in 0..ROUNDS {
        let row = client.query_one("show work_mem", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "7MB");
        let row = other.query_one("show work_mem", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "4MB");
    }
}

async fn types_looked_up_in_the_catalog(client: Client, _: u16) {
    let sql = "create type mood as enum ('ok', 'happy'); create type pair as (a int, b mood)";
    client.batch_execute(sql).await.unwrap();
    let statement = client
        .prepare("select 'happy'::mood, row(1, 'ok')::pair")
        .await
        .unwrap();
    let names: Vec<_> = statement
        .columns()
        .iter()
        .map(|c| c.type_().name())
        .collect();
    assert_eq!(names, ["mood", "pair"]);
    let row = client.query_one(
        "select array_agg(m)::text from unnest(enum_range(null::mood)) m",
        &[],
    );
    assert_eq!(row.await.unwrap().get::<_, String>(0), "{ok,happy}");
}

async fn a_schema_change_under_a_prepared_statement(client: Client, port: u16) {
    let other = connect(port).await;
    client
        .batch_execute("create table changing (a int); insert into changing values (1)")
        .await
        .unwrap();
    let all = client.prepare("select * from changing").await.unwrap();
    assert_eq!(client.query_one(&all, &[]).await.unwrap().len(), 1);
    other
        .batch_execute("alter table changing add b int default 2")
        .await
        .unwrap();
    // As without a pooler: the driver is told, and prepares again.
    let error = client.query(&all, &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::FEATURE_NOT_SUPPORTED));
    let all = client.prepare("select * from changing").await.unwrap();
    let row = client.query_one(&all, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), (1, 2));
}

async fn large_parameters(client: Client, _: u16) {
    let large = "x".repeat(10_000_000);
    for _ in 0..2 {
        let row = client
            .query_one("select length($1::text), $1::text", &[&large])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i32>(0), 10_000_000);
        assert_eq!(row.get::<_, String>(1), large);
    }
}

async fn copy_in_and_out(client: Client, _: u16) {
    client
        .batch_execute("create table copied (n int, t text)")
        .await
        .unwrap();
    let sink = client.copy_in("copy copied from stdin").await.unwrap();
    pin_mut!(sink);
    for n in 0..10_000 {
        sink.send(Bytes::from(format!("{n}\tline {n}\n")))
            .await
            .unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 10_000);
    let rows = client.copy_out("copy copied to stdout").await.unwrap();
    let bytes: Vec<Bytes> = rows.try_collect().await.unwrap();
    assert_eq!(
        bytes.concat().iter().filter(|b| **b == b'\n').count(),
        10_000
    );
}

async fn a_copy_that_fails(client: Client, _: u16) {
    client
        .batch_execute("create table refusing (n int)")
        .await
        .unwrap();
    let sink = client
        .copy_in::<_, Bytes>("copy refusing from stdin")
        .await
        .unwrap();
    pin_mut!(sink);
    // The server says no at once; the driver may notice only in the end.
    let _ = sink.send(Bytes::from("1\nnonsense\n2\n")).await;
    let error = sink.finish().await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INVALID_TEXT_REPRESENTATION));
    // One that is dropped half way gives up.
    {
        let sink = client.copy_in("copy refusing from stdin").await.unwrap();
        pin_mut!(sink);
        sink.send(Bytes::from("1\n2\n")).await.unwrap();
    }
    let row = client
        .query_one("select count(*) from refusing", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}

async fn cancel_a_query(client: Client, _: u16) {
    for _ in 0..3 {
        let token = client.cancel_token();
        let sleep = client.query("select pg_sleep(30)", &[]);
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            token.cancel_query(NoTls).await.unwrap();
        };
        let (slept, ()) = future::join(sleep, cancel).await;
        assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
        let row = client.query_one("select 1", &[]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 1);
    }
}

async fn a_result_of_100_megabytes(client: Client, _: u16) {
    let sql = "select repeat('x', 10000) from generate_series(1, 10000)";
    let none: [i32; 0] = [];
    let rows = client.query_raw(sql, none).await.unwrap();
    pin_mut!(rows);
    let mut total = 0;
    while let Some(row) = rows.next().await {
        total += row.unwrap().get::<_, &str>(0).len();
    }
    assert_eq!(total, 100_000_000);
}

/// Its transaction is rolled back and its locks are gone.
async fn a_client_that_leaves_in_the_middle(client: Client, port: u16) {
    client
        .batch_execute("create table abandoned (n int)")
        .await
        .unwrap();
    let sql = "begin; insert into abandoned values (1)";
    client.batch_execute(sql).await.unwrap();
    client
        .query_one("select pg_advisory_lock(77)::text", &[])
        .await
        .unwrap();
    drop(client);
    let other = connect(port).await;
    other
        .query_one("select pg_advisory_lock(77)::text", &[])
        .await
        .unwrap();
    let row = other
        .query_one("select count(*) from abandoned", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}
