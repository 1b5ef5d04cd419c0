//! Writes that do not go through pgweir: heard of by notifications or from the write-ahead log, and
//! never for longer unknown than the bound.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::operate::{Row, until};
use crate::support::{Pgweir, Postgres, Wire, kill};

const SCHEMA: &str = "
create table plain (id int primary key, n bigint);
insert into plain values (1, 0), (2, 0), (3, 0), (4, 0);
create view seen as select * from plain;
create table part (k int, v int) partition by list (k);
create table part_1 partition of part for values in (1);
create table part_2 partition of part for values in (2);
insert into part values (1, 0), (2, 0);
create table up (id int primary key);
create table down (id int, up int references up on delete cascade);
insert into up values (1), (2);
insert into down values (10, 1), (20, 2);
create table busy (n bigint);
create table calm (n bigint);
create table rare (n bigint);
insert into busy values (0);
insert into calm values (0);
insert into rare values (0);
create table uncovered (n int);
insert into uncovered values (1);
create unlogged table unlogged (n int);
create materialized view mat as select sum(n) as n from plain;
create role feeder login replication;
";

/// `feed_max_lag`, in seconds.
pub const LAG: f64 = 1.0;

pub struct Followed {
    pg: Postgres,
    weir: Pgweir,
    pub outside: Wire,
}

fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_pgweir"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn install(kind: &str) -> String {
    let tables = [
        "plain", "part", "part_1", "part_2", "up", "down", "busy", "calm", "rare",
    ];
    match kind {
        "notify" => {
            let mut arguments = vec!["cache", "install-triggers", "--schema", "public"];
            tables.iter().for_each(|t| arguments.extend(["--table", t]));
            printed(&arguments)
        }
        _ => {
            let mut arguments = vec!["cache", "install-publication", "--replica-identity-full"];
            tables.iter().for_each(|t| arguments.extend(["--table", t]));
            printed(&arguments)
        }
    }
}

impl Followed {
    fn start(kind: &str, version: u32) -> Followed {
        Followed::with(kind, version, "", &[])
    }

    pub fn with(kind: &str, version: u32, more: &str, variables: &[(&str, &str)]) -> Followed {
        let pg = Postgres::start_version(version);
        let mut outside = pg.client();
        for sql in [SCHEMA, &install(kind), &install(kind)] {
            let answer = outside.query(sql);
            assert_eq!(answer.code(), None, "{answer:?}\n{sql}");
        }
        let config = format!(
            "[pools.postgres]\nhost = '127.0.0.1'\nport = {}\n[pools.postgres.cache]\n\
             enabled = true\nttl = '10m'\ninvalidation = '{kind}'\nfeed_user = 'feeder'\n\
             feed_max_lag = '{LAG}s'\n{more}\n",
            pg.port
        );
        let weir = Pgweir::start_with(pg.port, &config, variables);
        let followed = Followed { pg, weir, outside };
        followed.wait("followed");
        followed
    }

    pub fn port(&self) -> u16 {
        self.pg.port
    }

    /// Server processes of the feed.
    pub fn processes(&mut self) -> Vec<u32> {
        let sql = "select pid from pg_stat_activity where application_name = 'pgweir cache feed'";
        let rows = self.outside.query(sql).rows();
        rows.iter().map(|row| row[0].parse().unwrap()).collect()
    }

    fn feed(&self) -> Row {
        self.weir.show("CACHE FEEDS").remove(0)
    }

    fn cache(&self, column: &str) -> u64 {
        let rows = self.weir.show("CACHE");
        let row = rows.iter().find(|r| r["user"] == "postgres");
        row.unwrap()[column].parse().unwrap()
    }

    /// Until the feed is in that state, with the catalogs known.
    fn wait(&self, state: &str) {
        let mut client = self.weir.client();
        until("the feed's state", || {
            client.query("select n from plain where id = 4");
            let ready = self
                .weir
                .show("CACHE")
                .iter()
                .any(|r| r["state"] == "ready");
            ready && self.feed()["state"] == state
        });
    }

    fn ask(&self, client: &mut Wire, sql: &str) -> (String, bool) {
        let before = self.cache("hits");
        let answer = client.query(sql);
        assert_eq!(answer.code(), None, "{sql}");
        (answer.value(), self.cache("hits") > before)
    }

    /// Asks until the answer comes from memory.
    #[track_caller]
    fn warm(&self, client: &mut Wire, sql: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.ask(client, sql).1 {
            let why = self
                .weir
                .show(&format!("CACHE FOR '{}'", sql.replace('\'', "''")));
            let feed = self.feed();
            assert!(
                Instant::now() < deadline,
                "{sql}: {why:?} {feed:?}\n{}",
                self.weir.log()
            );
        }
    }

    /// What is done outside is seen within the bound, and was remembered before.
    #[track_caller]
    fn assert_seen(&mut self, client: &mut Wire, read: &str, write: &str, expected: &str) {
        self.warm(client, read);
        assert_eq!(self.outside.query(write).code(), None, "{write}");
        thread::sleep(Duration::from_secs_f64(LAG));
        assert_eq!(self.ask(client, read).0, expected, "{read} after {write}");
    }
}

fn changes_are_seen(kind: &str, version: u32) {
    let mut followed = Followed::start(kind, version);
    let mut client = followed.weir.client();
    for (read, write, expected) in [
        (
            "select n from plain where id = 1",
            "update plain set n = 7 where id = 1",
            "7",
        ),
        (
            "select n from seen where id = 1",
            "with x as (update plain set n = 8 where id = 1 returning 1) select 1 from x",
            "8",
        ),
        (
            "select count(*) from plain",
            "begin; insert into plain values (9, 0); commit",
            "5",
        ),
        ("select sum(v) from part", "update part_2 set v = 5", "5"),
        ("select v from part_2", "update part set v = 6", "6"),
        (
            "select count(*) from down",
            "delete from up where id = 1",
            "1",
        ),
        ("select count(*) from part_1", "truncate part", "0"),
        // The schema, by the event trigger.
        (
            "select count(*) from seen",
            "create or replace view seen as select * from plain where id < 3",
            "2",
        ),
    ] {
        if version < 14 && kind == "replication" && write.starts_with("create") {
            // No messages in the stream: found when the catalogs are read again.
            continue;
        }
        followed.assert_seen(&mut client, read, write, expected);
    }
    // What is written through pgweir is seen at once, and the trigger is no unknown one.
    followed.warm(
        &mut client,
        "select v from part_2 where k = 0 union all select 1",
    );
    let flushes = invalidations(&followed);
    client.query("insert into plain values (20, 20)");
    assert_eq!(
        followed.ask(&mut client, "select count(*) from plain").0,
        "6"
    );
    assert_eq!(invalidations(&followed), flushes);
    // What is not reported is not remembered, and it is said why.
    for (sql, table) in [
        ("select count(*) from uncovered", "uncovered"),
        ("select count(*) from unlogged, plain", "unlogged"),
    ] {
        for _ in 0..3 {
            assert!(!followed.ask(&mut client, sql).1, "{sql}");
        }
        let why = &followed.weir.show(&format!("CACHE FOR '{sql}'"))[0];
        assert_eq!(why["reason"], "not_followed", "{why:?}");
        assert!(why["explanation"].contains(table), "{why:?}");
    }
    assert!(followed.cache("bypass_not_followed") >= 6);
    if version >= 14 || kind == "notify" {
        followed.outside.query("update plain set n = 1");
        followed.assert_seen(
            &mut client,
            "select n from mat",
            "refresh materialized view mat",
            "6",
        );
    }
    followed.weir.assert_quiet();
}

/// How often everything of the database was outdated.
fn invalidations(followed: &Followed) -> String {
    let rows = followed.weir.show("CACHE TABLES");
    let whole = rows.into_iter().find(|r| r["table"] == "(all)");
    whole.unwrap()["invalidations"].clone()
}

#[test]
fn notifications_tell_of_changes() {
    changes_are_seen("notify", 15);
}

#[test]
fn the_log_tells_of_changes() {
    changes_are_seen("replication", 15);
}

#[test]
fn notifications_tell_of_changes_in_other_versions() {
    changes_are_seen("notify", 13);
    changes_are_seen("notify", 18);
}

#[test]
fn the_log_tells_of_changes_in_other_versions() {
    changes_are_seen("replication", 13);
    changes_are_seen("replication", 18);
}

/// What logical replication writes fires no triggers of statements.
#[test]
fn what_a_subscription_writes_is_not_followed_by_notifications() {
    let publisher = Postgres::start();
    let mut upstream = publisher.client();
    for sql in [
        "create table busy (n bigint)",
        "create table part_1 (k int, v int)",
        "create publication p for table busy, part_1",
    ] {
        assert_eq!(upstream.query(sql).code(), None, "{sql}");
    }
    let mut followed = Followed::start("notify", 15);
    let mut client = followed.weir.client();
    let reads = ["busy", "part", "part_1"].map(|t| format!("select count(*) from {t}"));
    for read in &reads {
        followed.warm(&mut client, read);
    }
    let subscribe = format!(
        "create subscription s connection 'host=127.0.0.1 port={} user=postgres dbname=postgres' \
         publication p with (copy_data = false)",
        publisher.port
    );
    assert_eq!(followed.outside.query(&subscribe).code(), None);
    thread::sleep(Duration::from_secs_f64(LAG));
    let why = |sql: &str| followed.weir.show(&format!("CACHE FOR '{sql}'")).remove(0);
    for read in &reads {
        until("the catalogs are known", || {
            client.query(read);
            why(read)["reason"] != "no_catalog"
        });
        assert_eq!(why(read)["reason"], "not_followed", "{read}");
    }
    upstream.query("insert into busy values (1); insert into part_1 values (1, 1)");
    for (read, expected) in reads.iter().zip(["2", "3", "2"]) {
        until("it has arrived", || client.query(read).value() == expected);
    }
    // The others are.
    followed.warm(&mut client, "select count(*) from part_2");
    followed.warm(&mut client, "select count(*) from calm");
    followed.outside.query("drop subscription s");
}

fn a_lost_feed_bypasses(kind: &str) {
    let mut followed = Followed::start(kind, 15);
    let mut client = followed.weir.client();
    let read = "select n from plain where id = 1";
    for round in 1..=3 {
        followed.warm(&mut client, read);
        let losses: u64 = followed.feed()["losses"].parse().unwrap();
        // In one go, so that the feed cannot be back before the write.
        followed.outside.query(&format!(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where application_name = 'pgweir cache feed'; update plain set n = {round} where id = 1"
        ));
        until("the loss is noticed", || {
            followed.feed()["losses"].parse::<u64>().unwrap() > losses
        });
        assert_eq!(followed.ask(&mut client, read).0, round.to_string());
        followed.wait("followed");
        assert_eq!(followed.ask(&mut client, read).0, round.to_string());
    }
    followed.weir.assert_quiet();
}

/// While nobody listened, a view has become another one.
fn a_schema_that_changed_in_a_gap_is_looked_at(kind: &str) {
    let mut followed = Followed::start(kind, 15);
    let mut client = followed.weir.client();
    followed
        .outside
        .query("create view seen as select n from plain");
    let read = "select sum(n) from seen";
    followed.wait("followed");
    followed.warm(&mut client, read);
    let losses: u64 = followed.feed()["losses"].parse().unwrap();
    followed.outside.query(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where application_name = 'pgweir cache feed'; \
         create or replace view seen as select n from plain union all select n from busy",
    );
    until("the loss is noticed", || {
        followed.feed()["losses"].parse::<u64>().unwrap() > losses
    });
    followed.wait("followed");
    followed.warm(&mut client, read);
    assert_eq!(client.query("update busy set n = n + 1000").code(), None);
    let there = followed.outside.query(read).value();
    assert_eq!(followed.ask(&mut client, read).0, there);
}

#[test]
fn a_view_redefined_in_a_gap_of_notifications_is_looked_at() {
    a_schema_that_changed_in_a_gap_is_looked_at("notify");
}

#[test]
fn a_view_redefined_in_a_gap_of_the_stream_is_looked_at() {
    a_schema_that_changed_in_a_gap_is_looked_at("replication");
}

#[test]
fn notifications_lost_are_a_bypass() {
    a_lost_feed_bypasses("notify");
}

#[test]
fn a_stream_lost_is_a_bypass() {
    a_lost_feed_bypasses("replication");
}

fn a_silent_feed_bypasses(kind: &str) {
    let mut followed = Followed::start(kind, 15);
    let mut client = followed.weir.client();
    let read = "select n from plain where id = 1";
    followed.warm(&mut client, read);
    let processes = followed.processes();
    assert!(!processes.is_empty());
    processes.iter().for_each(|pid| kill("-STOP", *pid));
    followed
        .outside
        .query("update plain set n = 99 where id = 1");
    thread::sleep(Duration::from_secs_f64(LAG));
    // Nothing was heard, and nothing is given.
    assert_eq!(followed.ask(&mut client, read), ("99".to_owned(), false));
    assert_eq!(followed.feed()["state"], "bypassed");
    assert!(followed.cache("bypass_feed") > 0);
    processes.iter().for_each(|pid| kill("-CONT", *pid));
    followed.wait("followed");
    followed.warm(&mut client, read);
    assert_eq!(followed.ask(&mut client, read).0, "99");
    assert_eq!(followed.feed()["losses"], "0", "it was only late");
}

#[test]
fn silent_notifications_are_a_bypass() {
    a_silent_feed_bypasses("notify");
}

#[test]
fn a_silent_stream_is_a_bypass() {
    a_silent_feed_bypasses("replication");
}

#[test]
fn the_server_does_not_keep_its_log_for_ever() {
    let mut followed = Followed::with("replication", 15, "feed_max_wal = '4MB'", &[]);
    // A slot cannot move on while a transaction is open that began before.
    let mut open = followed.pg.client();
    open.query("begin; update uncovered set n = 2");
    for _ in 0..8 {
        let sql = "select pg_logical_emit_message(false, 'x', repeat('x', 1000000))";
        assert_eq!(followed.outside.query(sql).code(), None);
        followed.outside.query("select pg_switch_wal(); checkpoint");
    }
    until("the slot is dropped", || {
        followed.feed()["trouble"].contains("feed_max_wal")
    });
    let slots = "select count(*) from pg_replication_slots where active and restart_lsn is not null \
                 and confirmed_flush_lsn is not null";
    until("no slot is left", || {
        followed.outside.query(slots).value() == "0"
    });
    assert!(
        followed
            .weir
            .log()
            .contains("the replication slot is dropped")
    );
    let mut client = followed.weir.client();
    let read = "select n from plain where id = 1";
    for _ in 0..3 {
        assert!(!followed.ask(&mut client, read).1);
    }
    // When the transaction is over, so is the trouble.
    open.query("commit");
    followed.wait("followed");
    followed.warm(&mut client, read);
    // Nothing stays behind when pgweir is gone.
    drop(followed.weir);
    until("the slot is gone", || {
        let sql = "select count(*) from pg_replication_slots";
        followed.outside.query(sql).value() == "0"
    });
}

#[test]
fn no_table_is_published_that_could_not_be_updated_then() {
    let pg = Postgres::start();
    let mut client = pg.client();
    client.query(SCHEMA);
    let installed = client.query(&printed(&["cache", "install-publication"]));
    assert_eq!(installed.code(), None);
    let published = "select tablename from pg_publication_tables order by 1";
    assert_eq!(client.query(published).rows(), [["plain"], ["up"]]);
    for table in ["down", "part", "uncovered", "unlogged"] {
        let delete = client.query(&format!("delete from {table}"));
        assert_eq!(delete.code(), None, "{table}");
    }
}

#[test]
fn what_is_missing_is_said() {
    let mut followed = Followed::start("replication", 15);
    followed.outside.query("drop publication pgweir_cache");
    until("it is said", || {
        followed.feed()["trouble"].contains("there is no publication")
    });
    assert_eq!(followed.feed()["state"], "bypassed");
    followed.outside.query(&install("replication"));
    followed.wait("followed");
    // One that does not tell everything is not enough.
    followed
        .outside
        .query("alter publication pgweir_cache set (publish = 'insert')");
    until("it is said", || {
        followed.feed()["trouble"].contains("must publish")
    });
    let removed = followed.outside.query(&printed(&["cache", "remove"]));
    assert_eq!(removed.code(), None);
}

/// Written more and less often: what is written seldom is remembered for long.
const TABLES: [&str; 3] = ["busy", "calm", "rare"];

/// Readers through pgweir, writers past it: gives what was too old, and how many hits there were.
fn check(kind: &str, bug: &str, seconds: u64) -> (Vec<String>, u64) {
    let followed = Followed::with(kind, 15, "", &[("PGWEIR_PLANTED_BUG", bug)]);
    let faults = std::sync::Mutex::new(Vec::new());
    // By table: when which version was acknowledged.
    let start = Instant::now();
    let history: [std::sync::Mutex<Vec<(f64, i64)>>; 3] = Default::default();
    let sent: [AtomicI64; 3] = Default::default();
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for row in 0..3 {
            let mut writer = followed.pg.client();
            let (history, sent, stop) = (&history[row], &sent[row], &stop);
            scope.spawn(move || {
                for version in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    sent.store(version, Ordering::SeqCst);
                    let sql = format!("update {} set n = {version}", TABLES[row]);
                    assert_eq!(writer.query(&sql).code(), None);
                    let at = start.elapsed().as_secs_f64();
                    history.lock().unwrap().push((at, version));
                    let pause = [30, 200, 1500][row];
                    thread::sleep(Duration::from_millis(pause));
                }
            });
        }
        for reader in 0..4 {
            let mut client = followed.weir.client();
            let (history, sent, stop, reads, faults) = (&history, &sent, &stop, &reads, &faults);
            scope.spawn(move || {
                for n in reader.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let row = n % 3;
                    let asked = start.elapsed().as_secs_f64();
                    let sql = format!("select n from {} where {} > 0", TABLES[row], 1 + n / 3 % 2);
                    let got: i64 = client.query(&sql).value().parse().unwrap();
                    let newest = sent[row].load(Ordering::SeqCst);
                    let history = history[row].lock().unwrap();
                    let before = history.iter().rev().find(|(at, _)| *at < asked - LAG);
                    let oldest = before.map_or(0, |(_, version)| *version);
                    if got < oldest || got > newest {
                        let mut faults = faults.lock().unwrap();
                        faults.push(format!("{sql}: {got} is not in {oldest}..={newest}"));
                        stop.store(true, Ordering::Relaxed);
                    }
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while start.elapsed() < Duration::from_secs(seconds) && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let hits = followed.cache("hits");
    println!(
        "{kind}: {} reads, {hits} hits",
        reads.load(Ordering::Relaxed)
    );
    (faults.into_inner().unwrap(), hits)
}

#[test]
fn no_answer_is_older_than_the_bound() {
    for kind in ["notify", "replication"] {
        let (faults, hits) = check(kind, "", 8);
        assert!(faults.is_empty(), "{kind}: {faults:?}");
        assert!(hits > 100, "{kind}: {hits} hits");
    }
}

#[test]
fn a_deaf_feed_is_found() {
    for kind in ["notify", "replication"] {
        let (faults, _) = check(kind, "deaf", 60);
        assert!(!faults.is_empty(), "{kind}");
    }
}
