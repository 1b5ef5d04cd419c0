//! Reads that go to a replica out of a pool with a primary: which ones, and that no write does.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Pgweir, Postgres, Wire, bind, describe_portal, execute, parse, query, sync};

/// A pool `postgres` of the two.
pub fn weir(primary: &Postgres, standby: &Postgres, lines: &str) -> Pgweir {
    let host = |pg: &Postgres| format!("{{ host = \"127.0.0.1\", port = {} }}", pg.port);
    let pool = format!(
        "[pools.postgres]\nhosts = [{}, {}]\nprobe_interval = \"100ms\"\n{lines}\n",
        host(primary),
        host(standby)
    );
    Pgweir::start(primary.port, &pool)
}

/// A STABLE function, so that whoever asks may be answered by a replica.
pub const PORT: &str = "select inet_server_port()";
const HINTED: &str = "/* pgweir: replica */ select inet_server_port()";

pub struct Pair {
    pub primary: Postgres,
    pub standby: Postgres,
}

impl Pair {
    pub fn start(schema: &str) -> Pair {
        let primary = Postgres::start();
        for sql in schema.split(';').filter(|sql| !sql.trim().is_empty()) {
            assert_eq!(primary.client().query(sql).code(), None, "{sql}");
        }
        let standby = primary.standby();
        Pair { primary, standby }
    }

    /// What answered with its port.
    pub fn name(&self, port: &str) -> &'static str {
        match port {
            port if port == self.primary.port.to_string() => "primary",
            port if port == self.standby.port.to_string() => "replica",
            other => panic!("no server's port: {other}"),
        }
    }

    /// Where a statement is answered whose last column is the port.
    pub fn place(&self, wire: &mut Wire, sql: &str) -> &'static str {
        let answer = wire.query(sql);
        assert_eq!(answer.code(), None, "{sql}: {answer:?}");
        self.name(answer.rows()[0].last().unwrap())
    }

    pub fn wait_for(&self, wire: &mut Wire, sql: &str, expected: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.place(wire, sql) != expected {
            assert!(Instant::now() < deadline, "{sql} never came to {expected}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn extended(sql: &str) -> Vec<u8> {
    [
        parse("", sql),
        bind(""),
        describe_portal(),
        execute(),
        sync(),
    ]
    .concat()
}

/// Sums over all pools.
pub fn routed(weir: &Pgweir, column: usize) -> u64 {
    let rows = weir.console().query("SHOW ROUTING").rows();
    rows.iter()
        .map(|row| row[column].parse::<u64>().unwrap())
        .sum()
}

pub const TO_REPLICAS: usize = 3;

#[test]
fn a_hint_says_where_a_read_goes() {
    let pair = Pair::start("create table t (a int)");
    let weir = weir(&pair.primary, &pair.standby, "reads = \"hint\"");
    let mut wire = weir.client();
    pair.wait_for(&mut wire, HINTED, "replica");
    assert_eq!(pair.place(&mut wire, PORT), "primary");
    // By the word of the client only: a read-only transaction says nothing here.
    wire.query("begin read only");
    assert_eq!(pair.place(&mut wire, PORT), "primary");
    wire.query("commit");
    // What was asked without a hint may have written.
    pair.wait_for(&mut wire, HINTED, "replica");
    wire.send(&extended(HINTED)).unwrap();
    assert_eq!(pair.name(&wire.answer().value()), "replica");
    // A wrong word is an error, and the client goes on.
    let refused = wire.query("/* pgweir: replica */ insert into t values (1)");
    assert_eq!(refused.code().as_deref(), Some("25006"));
    assert_eq!(wire.query("insert into t values (1)").code(), None);
    weir.assert_quiet();
}

#[test]
fn a_transaction_that_is_read_only_goes_to_a_replica_as_a_whole() {
    let pair = Pair::start("create table t (a int)");
    let lines = "reads = \"transaction\"\nread_your_writes = \"off\"";
    let weir = weir(&pair.primary, &pair.standby, lines);
    let mut wire = weir.client();
    pair.wait_for(&mut wire, HINTED, "replica");
    let mut inside = |begin: &str, expected: &str| {
        assert_eq!(wire.query(begin).code(), None);
        for _ in 0..2 {
            assert_eq!(pair.place(&mut wire, PORT), expected, "{begin}");
        }
        assert_eq!(wire.query("commit").code(), None);
        assert_eq!(pair.place(&mut wire, PORT), "primary");
    };
    inside("begin read only", "replica");
    inside(
        "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;",
        "replica",
    );
    inside("begin", "primary");
    inside("begin isolation level serializable read only", "primary");
    inside("begin read only, read write", "primary");
    inside("/* pgweir: primary */ begin read only", "primary");
    wire.query("set default_transaction_isolation = serializable");
    wire.query("begin read only");
    assert_eq!(pair.place(&mut wire, PORT), "primary");
    wire.query("commit");
    wire.query("reset default_transaction_isolation");
    // All at once, behind each other: what follows the transaction is looked at for itself.
    let batch: Vec<u8> = [
        query("begin read only"),
        query(PORT),
        query("commit"),
        query("insert into t values (1)"),
        query(PORT),
    ]
    .concat();
    wire.send(&batch).unwrap();
    let answers: Vec<_> = (0..5).map(|_| wire.answer()).collect();
    assert!(
        answers.iter().all(|answer| answer.code().is_none()),
        "{answers:?}"
    );
    assert_eq!(pair.name(&answers[1].value()), "replica");
    assert_eq!(pair.name(&answers[4].value()), "primary");
    // Extended queries begin transactions, too.
    wire.send(&extended("begin read only")).unwrap();
    assert_eq!(wire.answer().code(), None);
    wire.send(&extended(PORT)).unwrap();
    assert_eq!(pair.name(&wire.answer().value()), "replica");
    wire.send(&extended("commit")).unwrap();
    wire.answer();
    // Who keeps its connection keeps it there, until what it has there is gone.
    for sql in ["begin read only", "select pg_advisory_lock(7)", "commit"] {
        assert_eq!(wire.query(sql).code(), None);
    }
    assert_eq!(pair.place(&mut wire, PORT), "replica");
    let refused = wire.query("insert into t values (0)");
    assert_eq!(refused.code().as_deref(), Some("25006"));
    wire.query("select pg_advisory_unlock_all()");
    assert_eq!(pair.place(&mut wire, PORT), "primary");
    // And a session can say so for all of its transactions.
    wire.query("set default_transaction_read_only = on");
    assert_eq!(pair.place(&mut wire, PORT), "replica");
    wire.query("begin");
    assert_eq!(pair.place(&mut wire, PORT), "replica");
    wire.query("commit");
    wire.query("begin read write");
    assert_eq!(wire.query("insert into t values (2)").code(), None);
    assert_eq!(pair.place(&mut wire, PORT), "primary");
    wire.query("commit");
    // A transaction of another kind in the same text.
    let within = "select 1; commit; begin read write; insert into t values (4); commit";
    assert_eq!(wire.query(within).code(), None);
    wire.query("set default_transaction_read_only = off");
    assert_eq!(wire.query("insert into t values (3)").code(), None);
    assert_eq!(
        pair.primary
            .client()
            .query("select count(*) from t")
            .value(),
        "4"
    );
    weir.assert_quiet();
}

const SCHEMA: &str = "create table t (a int primary key, b int); insert into t values (1, 0);\
    create unlogged table u (a int); create sequence s;\
    create view v as select * from t; create view w as select random() from t;\
    create view x as select a from u; create table p (a int); alter table p enable row level security;\
    create function writes() returns int language sql volatile as 'update t set b = 9 where a = 1 returning 1';\
    create function reads() returns bigint language sql stable as 'select count(*) from t'";

#[test]
fn statements_that_are_found_to_be_reads_go_to_a_replica() {
    let pair = Pair::start(SCHEMA);
    let lines = "reads = \"auto\"\nread_your_writes = \"off\"";
    let weir = weir(&pair.primary, &pair.standby, lines);
    let mut wire = weir.client();
    pair.wait_for(&mut wire, PORT, "replica");
    for sql in [
        "select a, inet_server_port() from t",
        "select now(), inet_server_port()",
        "select reads(), inet_server_port()",
        "with c as (select * from v) select c.a, inet_server_port() from c",
        "values (inet_server_port())",
        "select a, inet_server_port() from t where a = 1;",
    ] {
        assert_eq!(pair.place(&mut wire, sql), "replica", "{sql}");
        wire.send(&extended(sql)).unwrap();
        assert_eq!(
            pair.name(wire.answer().rows()[0].last().unwrap()),
            "replica",
            "{sql}"
        );
    }
    for sql in [
        "/* pgweir: primary */ select inet_server_port()",
        "select a, inet_server_port() from t for update",
        "select a, inet_server_port() from t for share",
        "select random(), inet_server_port()",
        "select nextval('s'), inet_server_port()",
        "select last_value, inet_server_port() from s",
        "select writes(), inet_server_port()",
        "select pg_try_advisory_xact_lock(1), inet_server_port()",
        "select pg_current_wal_lsn(), inet_server_port()",
        "select txid_current(), inet_server_port()",
        "select count(*), inet_server_port() from u",
        "select count(*), inet_server_port() from w",
        "select count(*), inet_server_port() from x",
        "select count(*), inet_server_port() from p",
        "select count(*), inet_server_port() from pg_stat_activity",
        "with c as (update t set b = b returning a) select a, inet_server_port() from c",
        "select 1 into temp y; drop table y; select inet_server_port()",
        "insert into t values (20, 0) on conflict (a) do update set b = 1 returning inet_server_port()",
    ] {
        assert_eq!(pair.place(&mut wire, sql), "primary", "{sql}");
        if !sql.contains("; ") {
            wire.send(&extended(sql)).unwrap();
            let answer = wire.answer();
            let rows = answer.rows();
            assert_eq!(pair.name(rows[0].last().unwrap()), "primary", "{sql}");
        }
    }
    // Where tables have been made, the catalogs are read again first.
    pair.wait_for(&mut wire, PORT, "replica");
    // In a transaction, which may write yet.
    wire.query("begin");
    assert_eq!(pair.place(&mut wire, PORT), "primary");
    wire.query("commit");
    // A pipeline is one request up to its Sync, and a read behind a write is no longer one.
    let write = [parse("", "update t set b = 1"), bind(""), execute()].concat();
    let read = [parse("", PORT), bind(""), execute()].concat();
    wire.send(&[&read[..], &write, &sync()].concat()).unwrap();
    let answer = wire.answer();
    assert_eq!(
        (answer.code(), pair.name(&answer.value())),
        (None, "primary")
    );
    wire.send(&[&read[..], &sync(), &write, &sync(), &read, &sync()].concat())
        .unwrap();
    let answers: Vec<_> = (0..3).map(|_| wire.answer()).collect();
    assert!(
        answers.iter().all(|answer| answer.code().is_none()),
        "{answers:?}"
    );
    assert_eq!(pair.name(&answers[0].value()), "replica");
    // What is behind a write in the same packet may stay where that went.
    pair.name(&answers[2].value());
    // Replicas know no serializable transactions.
    wire.query("set default_transaction_isolation = serializable");
    assert_eq!(pair.place(&mut wire, PORT), "primary");
    wire.query("reset default_transaction_isolation");
    assert_eq!(pair.place(&mut wire, PORT), "replica");
    // What has been made by its own session is not there: the client keeps its server.
    wire.query("create temp table t (a int)");
    wire.query("insert into t values (77)");
    // Also when the catalogs have been read again, and reads of others go to the replica.
    let mut other = weir.client();
    pair.wait_for(&mut other, PORT, "replica");
    for _ in 0..5 {
        let row = &wire.query("select a, inet_server_port() from t").rows()[0];
        assert_eq!((&*row[0], pair.name(&row[1])), ("77", "primary"));
    }
    wire.query("discard all");
    pair.wait_for(&mut wire, PORT, "replica");
    weir.assert_quiet();
}

/// What a statement sees of others depends on the isolation, also where it is the database's own default.
#[test]
fn where_read_committed_is_not_the_default_no_statement_is_moved_by_itself() {
    let default = "alter database postgres set default_transaction_isolation = 'repeatable read'";
    let pair = Pair::start(default);
    let lines = "reads = \"auto\"\nread_your_writes = \"off\"";
    let weir = weir(&pair.primary, &pair.standby, lines);
    let (mut wire, mut other) = (weir.client(), weir.client());
    other.query("set default_transaction_isolation = 'read committed'");
    pair.wait_for(&mut other, PORT, "replica");
    for _ in 0..5 {
        assert_eq!(pair.place(&mut wire, PORT), "primary");
        assert_eq!(pair.place(&mut other, PORT), "replica");
    }
    weir.assert_quiet();
}

#[test]
fn prepared_statements_are_there_on_both_servers() {
    let pair = Pair::start("create table t (a int)");
    let lines = "reads = \"auto\"\nread_your_writes = \"off\"";
    let weir = weir(&pair.primary, &pair.standby, lines);
    let mut wire = weir.client();
    pair.wait_for(&mut wire, PORT, "replica");
    wire.query("set application_name = 'moving'");
    wire.send(
        &[
            parse("where", PORT),
            parse("add", "insert into t values (1)"),
            sync(),
        ]
        .concat(),
    )
    .unwrap();
    assert_eq!(wire.answer().code(), None);
    let run = |wire: &mut Wire, name: &str| {
        wire.send(&[bind(name), describe_portal(), execute(), sync()].concat())
            .unwrap();
        let answer = wire.answer();
        assert_eq!(answer.code(), None, "{answer:?}");
        answer
    };
    for _ in 0..5 {
        assert_eq!(pair.name(&run(&mut wire, "where").value()), "replica");
        run(&mut wire, "add");
        wire.query("begin");
        assert_eq!(pair.name(&run(&mut wire, "where").value()), "primary");
        run(&mut wire, "add");
        wire.query("commit");
        // The session's settings go with it.
        let named = wire.query("select current_setting('application_name'), inet_server_port()");
        assert_eq!(named.rows()[0][0], "moving");
        assert_eq!(pair.name(&named.rows()[0][1]), "replica");
    }
    assert_eq!(
        pair.primary
            .client()
            .query("select count(*) from t")
            .value(),
        "10"
    );
    weir.assert_quiet();
}

#[test]
fn no_write_comes_to_a_replica_under_a_mixed_load() {
    const CLIENTS: usize = 8;
    let pair = Pair::start(SCHEMA);
    let weir = weir(&pair.primary, &pair.standby, "reads = \"auto\"");
    pair.wait_for(&mut weir.client(), PORT, "replica");
    let before = routed(&weir, TO_REPLICAS);
    let crowd: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let port = weir.port;
            thread::spawn(move || {
                let statements = [
                    "select a from t where a = 1",
                    "select count(*) from v",
                    "select reads()",
                    "update t set b = b + 1 where a = 1",
                    "select nextval('s')",
                    "select a from t where a = 1 for update",
                    "insert into u values (1)",
                    "select count(*) from u",
                    "begin",
                    "select a from t",
                    "update t set b = 0",
                    "commit",
                    "with c as (update t set b = 2 where a = 1 returning a) select * from c",
                    "rollback",
                ];
                let mut wire = Wire::connect(port, "postgres", "postgres");
                // A linear congruential generator: the same for each client each time.
                let mut state = client as u64 + 1;
                let mut next = |most: usize| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (state >> 33) as usize % most
                };
                let mut errors = Vec::new();
                for _ in 0..400 {
                    let count = 1 + next(3);
                    let batch: Vec<u8> = (0..count)
                        .flat_map(|_| match (statements[next(statements.len())], next(2)) {
                            (sql, 0) => query(sql),
                            (sql, _) => extended(sql),
                        })
                        .collect();
                    wire.send(&batch).unwrap();
                    errors.extend((0..count).filter_map(|_| wire.answer().code()));
                    if next(10) == 0 {
                        thread::sleep(Duration::from_millis(next(300) as u64));
                    }
                }
                errors
            })
        })
        .collect();
    for client in crowd {
        let errors = client.join().unwrap();
        // Deadlocks there may be, and what follows in a failed transaction.
        let odd = errors
            .iter()
            .find(|code| *code != "40P01" && *code != "25P02");
        assert_eq!(odd, None);
    }
    assert!(routed(&weir, TO_REPLICAS) > before);
    weir.assert_quiet();
}
