//! Statistics of statements: what `SHOW STATEMENTS` says of what clients have done in each way that there is.

use std::collections::BTreeMap;

use crate::support::operate::*;
use crate::support::*;

/// Counters of one statement.
fn of<'a>(rows: &'a [Row], text: &str) -> &'a Row {
    let found = rows.iter().find(|row| row["query"] == text);
    found.unwrap_or_else(|| panic!("no {text:?} in {rows:#?}"))
}

fn number(row: &Row, column: &str) -> u64 {
    row[column].parse().unwrap()
}

fn numbers<const N: usize>(row: &Row, columns: [&str; N]) -> [u64; N] {
    columns.map(|column| number(row, column))
}

/// Calls, rows, errors and answers from memory.
fn counts(rows: &[Row], text: &str) -> [u64; 4] {
    numbers(of(rows, text), ["calls", "rows", "errors", "cache_hits"])
}

fn bound(portal: &str, statement: &str) -> Vec<u8> {
    message(
        b'B',
        format!("{portal}\0{statement}\0\0\0\0\0\0\0").as_bytes(),
    )
}

fn executed(portal: &str, most: u8) -> Vec<u8> {
    let body = [portal.as_bytes(), &[0, 0, 0, 0, most]].concat();
    message(b'E', &body)
}

#[test]
fn each_way_of_asking_is_counted() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "default_pool_size = 2");
    let mut client = weir.client();
    // Simple queries, several in one, one that fails while it runs, one that cannot be read.
    for n in 0..5 {
        client.query(&format!("select {n}, 'secret{n}'"));
        client.query(&format!("SELECT  {n} , 'x' -- secret"));
    }
    client.query("select 1 as a; select n as b from generate_series(1, 3) n");
    for n in [2, 0, 0] {
        client.query(&format!("select 4 / {n} as c"));
    }
    client.query("selec 'secret'");
    // Extended queries: new each time, prepared, pipelined, failing at each message.
    for _ in 0..3 {
        client
            .send(&[parse("", "select 7 as d"), bind(""), execute(), sync()].concat())
            .unwrap();
        client.answer();
    }
    client
        .send(
            &[
                parse("s", "select n as e from generate_series(1, 5) n"),
                sync(),
            ]
            .concat(),
        )
        .unwrap();
    client.answer();
    let run = [bind("s"), execute()].concat();
    client
        .send(&[run.repeat(4), sync(), run.clone(), sync()].concat())
        .unwrap();
    client.answer();
    client.answer();
    for wrong in ["select 1 as f from nowhere", "select 1 / 0 as g"] {
        let group = [parse("", wrong), bind(""), execute()].concat();
        client.send(&[group, run.clone(), sync()].concat()).unwrap();
        assert_eq!(client.answer().status(), Some('I'));
    }
    // A portal that is read in three parts.
    let parts = [
        parse("", "select n as h from generate_series(1, 5) n"),
        bound("p", ""),
        executed("p", 2),
        executed("p", 2),
        executed("p", 2),
        sync(),
    ];
    client.send(&parts.concat()).unwrap();
    client.answer();
    // PREPARE and EXECUTE are the statement that they prepare and execute.
    client.query("prepare q as select n as i from generate_series(1, 2) n where n < 77");
    client.query("execute q");
    client.query("execute q");
    // COPY, in a block.
    client.query("begin");
    client.query("create temp table t (a int, b text) on commit drop");
    client.send(&query("copy t from stdin")).unwrap();
    client
        .send(&[message(b'd', b"1\tsecret\n2\tsecret\n"), message(b'c', b"")].concat())
        .unwrap();
    client.answer();
    client.query("copy t to stdout");
    client.query("insert into t values (1, 'secret'), (2, 'secret'), (3, null)");
    client.query("commit");

    let rows = weir.show("STATEMENTS");
    for (text, expected) in [
        ("select $1, $2", [10, 10, 0, 0]),
        (
            "select $1 as a; select n as b from generate_series($2, $3) n",
            [1, 4, 0, 0],
        ),
        ("select $1 / $2 as c", [3, 1, 2, 0]),
        ("selec $1", [1, 0, 1, 0]),
        ("select $1 as d", [3, 3, 0, 0]),
        (
            "select n as e from generate_series($1, $2) n",
            [5, 25, 0, 0],
        ),
        ("select $1 as f from nowhere", [1, 0, 1, 0]),
        ("select $1 / $2 as g", [1, 0, 1, 0]),
        ("select n as h from generate_series($1, $2) n", [1, 5, 0, 0]),
        (
            "select n as i from generate_series($1, $2) n where n < $3",
            [2, 4, 0, 0],
        ),
        ("begin", [1, 0, 0, 0]),
        ("copy t from stdin", [1, 2, 0, 0]),
        ("copy t to stdout", [1, 2, 0, 0]),
        ("insert into t values ($1, $2), ...", [1, 3, 0, 0]),
        ("commit", [1, 0, 0, 0]),
    ] {
        assert_eq!(counts(&rows, text), expected, "{text}");
    }
    let row = of(&rows, "select $1, $2");
    assert_eq!((&*row["database"], &*row["user"]), ("postgres", "postgres"));
    assert_eq!(row["fingerprint"].len(), 16);
    // RowDescription (6 + 2 times a name of 8 bytes and 19 more), DataRow (7 + 2 times 4 and 1 or more), tag.
    let bytes = number(row, "bytes");
    assert!((900..2000).contains(&bytes), "{bytes}");
    let all = format!("{rows:?}");
    assert!(!all.contains("secret"), "{all}");
    let times: Vec<_> = rows.iter().map(|row| number(row, "total_time")).collect();
    assert!(times.is_sorted_by(|a, b| a >= b));
}

#[test]
fn times_are_those_of_the_statement_and_not_of_the_queue() {
    let pg = shared_postgres();
    let general = "default_pool_size = 1\nquery_wait_timeout = '1s'";
    let weir = Pgweir::start(pg.port, general);
    let mut client = weir.client();
    for _ in 0..19 {
        client.query("select pg_sleep(0.002)");
    }
    client.query("select pg_sleep(0.4)");
    // In a pipeline, each has its own.
    let slow = |time: &str| {
        let text = format!("select {time} as slow, pg_sleep({time})");
        [parse("", &text), bind(""), execute(), sync()].concat()
    };
    client.send(&[slow("0.2"), slow("0.2")].concat()).unwrap();
    client.answer();
    client.answer();
    // Between two statements of a block time passes, and while another one waits for the connection.
    client.query("begin");
    let mut second = weir.client();
    second
        .send(&query("select 'waits'::text as waits"))
        .unwrap();
    let mut third = weir.client();
    std::thread::sleep(std::time::Duration::from_millis(300));
    client.query("select 1 as thinks");
    client.query("commit");
    second.answer();
    client.query("begin");
    third
        .send(&query("select 'in vain'::text as vain"))
        .unwrap();
    assert_eq!(third.answer().code().as_deref(), Some("53300"));
    client.query("commit");

    let rows = weir.show("STATEMENTS");
    let sleeps = of(&rows, "select pg_sleep($1)");
    let [total, mean, p95, wait] =
        numbers(sleeps, ["total_time", "mean_time", "p95_time", "wait_time"]);
    assert!((438_000..2_000_000).contains(&total), "{total}");
    assert_eq!(mean, total / 20);
    assert!((1_900..300_000).contains(&p95), "{p95}");
    assert!(wait < 100_000, "{wait}");
    let slow = number(of(&rows, "select $1 as slow, pg_sleep($2)"), "total_time");
    assert!((399_000..1_000_000).contains(&slow), "{slow}");
    let thinks = number(of(&rows, "select $1 as thinks"), "total_time");
    assert!(thinks < 200_000, "{thinks}");
    let waits = of(&rows, "select $1::text as waits");
    assert!(number(waits, "total_time") < 200_000, "{waits:?}");
    assert!(
        (280_000..2_000_000).contains(&number(waits, "wait_time")),
        "{waits:?}"
    );
    let vain = of(&rows, "select $1::text as vain");
    assert_eq!((number(vain, "calls"), number(vain, "errors")), (1, 1));
    assert!(number(vain, "wait_time") > 900_000, "{vain:?}");
}

/// The statement that brings its server connection down is one to be known.
#[test]
fn what_is_lost_has_failed() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "query_timeout = '300ms'");
    let mut client = weir.client();
    client.query("select 5 as gone, pg_terminate_backend(pg_backend_pid())");
    client.query("select 5 as long, pg_sleep(10)");
    client
        .send(&query("select 5 as left, pg_sleep(10)"))
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(client);
    until("all have ended", || {
        let rows = weir.show("STATEMENTS");
        rows.iter().any(|row| row["query"].contains("left"))
    });
    let rows = weir.show("STATEMENTS");
    for text in [
        "select $1 as gone, pg_terminate_backend(pg_backend_pid())",
        "select $1 as long, pg_sleep($2)",
        "select $1 as left, pg_sleep($2)",
    ] {
        assert_eq!(
            numbers(of(&rows, text), ["calls", "errors"]),
            [1, 1],
            "{text}"
        );
    }
}

#[test]
fn so_many_are_kept_and_no_more() {
    let pg = shared_postgres();
    let general = |most: u32| {
        let users = "stats_users = ['watcher']\n[users.watcher]";
        format!("max_counted_statements = {most}\n{users}")
    };
    let weir = Pgweir::start(pg.port, &general(50));
    let mut client = weir.client();
    for n in 0..400 {
        client.query(&format!("select 1 as c{n}"));
        client.query("select 'often'");
    }
    let rows = weir.show("STATEMENTS");
    assert!((40..=50).contains(&rows.len()), "{}", rows.len());
    assert_eq!(counts(&rows, "select $1"), [400, 400, 0, 0]);

    // Only admins forget.
    let console = |user: &str| weir.connect(user, "pgweir");
    let refused = console("watcher").query("SHOW STATEMENTS RESET");
    assert_eq!(refused.code().as_deref(), Some("42501"));
    assert!(table(&console("watcher").query("SHOW STATEMENTS")).len() > 1);
    let reset = console("postgres").query("SHOW STATEMENTS RESET");
    assert_eq!((reset.code(), reset.tags()), (None, "CZ".to_owned()));
    assert_eq!(weir.show("STATEMENTS"), []);
    client.query("select 'again'");
    assert_eq!(counts(&weir.show("STATEMENTS"), "select $1"), [1, 1, 0, 0]);

    // Off, and on.
    weir.rewrite(pg.port, &general(0));
    weir.reload("configuration reloaded");
    client.query("select 'off'");
    assert_eq!(weir.show("STATEMENTS"), []);
    weir.rewrite(pg.port, &general(10));
    weir.reload("configuration reloaded");
    client.query("select 'on'");
    assert_eq!(counts(&weir.show("STATEMENTS"), "select $1"), [1, 1, 0, 0]);
}

/// Where the server knows the types, and we do not.
fn is_known(one: &str, other: &str) -> bool {
    // There, a constant by itself is another statement if it has another type.
    const ALONE: &[&str] = &[
        "select 1",
        "SELECT 2",
        "select /* x */ 3",
        "select -1",
        "select 'a'",
        "select null",
        "select true",
    ];
    // And these are the same.
    let is_any = |text: &str| text.contains("any (array");
    let is_in = |text: &str| text.contains("where a in (");
    let lists = (is_any(one) && is_in(other)) || (is_in(one) && is_any(other));
    lists || (ALONE.contains(&one) && ALONE.contains(&other))
}

/// What stands for what in pg_stat_statements: statements that are one there are one here, and others are not.
#[test]
fn statements_are_told_apart_as_by_the_server() {
    const TEXTS: &[&str] = &[
        "select 1",
        "SELECT 2",
        "select /* x */ 3",
        "select 'a'",
        "select -1",
        "select 1, 2",
        "select null",
        "select a from t where a = 1",
        "select a from t where a = 2",
        "SELECT a FROM t WHERE a=3 -- x",
        "select a from t where a = -4",
        "select a from t where a > 1",
        "select b from t where a = 1",
        "select a from t where a is null",
        "select a from t where b = 'x'",
        "select a from t where b = E'y\\n'",
        "select a from t where b = $$z$$",
        "select a from t where b = U&'\\0061'",
        "select a from t where a in (1, 2)",
        "select a from t where a in (1, 2, 3)",
        "select a from t where a in (1, 2, 3, 4, 5, 6, 7)",
        "select a from t where not (a in (1, 2))",
        "select a from t where a = any (array[1, 2, 3])",
        "select a from t where a = any (array[1, 2])",
        "select \"a\" from \"t\" where a = 5",
        "select a from t limit 1",
        "select a from t limit 10",
        "select a from t limit 10 offset 5",
        "select a from t order by a",
        "select a from t order by a desc",
        "insert into t values (1, 'x')",
        "insert into t values (2, null)",
        "insert into t (a) values (1)",
        "update t set b = 'x' where a = 1",
        "update t set b = 'y' where a = 2",
        "update t set b = 'y'",
        "delete from t where a = 100",
        "delete from t where a = 101",
        "select count(*) from t where a between 1 and 2",
        "select count(*) from t where a between 3 and 4",
        "select case when a = 1 then 'x' else 'y' end from t",
        "select case when a = 2 then 'z' else 'w' end from t",
        "with x as (select 1 as c) select c from x",
        "with x as (select 2 as c) select c from x",
        "select date '2020-01-01'",
        "select date '2021-01-01'",
        "select a + 1 from t",
        "select a - 1 from t",
        "savepoint s1",
        "savepoint s2",
        "set application_name = 'x'",
        "set application_name = 'y'",
        "select true",
        "select a from t where false",
    ];
    let mut pg = Postgres::start_version(18);
    let mut direct = pg.client();
    direct.query("alter system set shared_preload_libraries = 'pg_stat_statements'");
    drop(direct);
    pg.restart();
    let mut direct = pg.client();
    assert_eq!(
        direct.query("create extension pg_stat_statements").code(),
        None
    );
    direct.query("create table t (a int, b text)");
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let mut client = weir.client();
    client.query("begin");
    // What each text is counted as, on either side.
    let (mut here, mut there) = (BTreeMap::new(), BTreeMap::new());
    for text in TEXTS {
        weir.console().query("SHOW STATEMENTS RESET");
        direct.query("select pg_stat_statements_reset()");
        assert_eq!(client.query(text).code(), None, "{text}");
        let ours = weir.show("STATEMENTS");
        assert_eq!(ours.len(), 1, "{ours:?}");
        here.insert(*text, ours[0]["fingerprint"].clone());
        let sql =
            "select queryid from pg_stat_statements where query not like '%pg_stat_statements%'";
        let theirs = direct.query(sql).rows();
        assert_eq!(theirs.len(), 1, "{text}: {theirs:?}");
        there.insert(*text, theirs[0][0].clone());
    }
    let mut differ = Vec::new();
    for (n, one) in TEXTS.iter().enumerate() {
        for other in &TEXTS[n + 1..] {
            let (ours, theirs) = (here[one] == here[other], there[one] == there[other]);
            if ours != theirs && !is_known(one, other) {
                differ.push(format!("{one} / {other}: {ours} here, {theirs} there"));
            }
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
    client.query("rollback");
}
