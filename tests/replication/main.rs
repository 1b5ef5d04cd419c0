//! Replication connections through pgweir to PostgreSQL 15.
//!
//! * `tools`: PostgreSQL's own programs, a subscription, a driver;
//! * `logins`: who is let in, and what the sender is told;
//! * `ends`: limits, operators, and what is left when one end goes.

#[path = "../support/mod.rs"]
mod support;

mod ends;
mod logins;
mod tools;

use support::operate::{error_text, last_words, until};
use support::{Answer, Pgweir, Postgres, Wire, query, startup};

const PHYSICAL: (&str, &str) = ("replication", "yes");
const LOGICAL: (&str, &str) = ("replication", "database");

fn pairs<'a>(extra: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("user", "postgres"), ("database", "postgres")][..], extra].concat()
}

fn replication(weir: &Pgweir, kind: (&str, &str)) -> Wire {
    Wire::try_connect_with(weir.port, &pairs(&[kind])).unwrap()
}

/// How a login with these parameters is refused.
#[track_caller]
fn refused(port: u16, pairs: &[(&str, &str)]) -> (String, String) {
    let mut wire = Wire::raw(port).unwrap();
    wire.send(&startup(3 << 16, pairs)).unwrap();
    let answer = wire.answer();
    assert_eq!(answer.status(), None, "it was let in: {answer:?}");
    (answer.code().unwrap_or_default(), error_text(&answer))
}

/// Begins to stream; the server says what it has at any time from then on.
fn stream(wire: &mut Wire, from: &str) {
    wire.send(&query(&format!("START_REPLICATION PHYSICAL {from}")))
        .unwrap();
    assert_eq!(wire.read_message().unwrap().tag, b'W');
}

fn position(pg: &Postgres) -> String {
    pg.sql("select pg_current_wal_flush_lsn()").unwrap()
}

/// Senders that the server has.
fn senders(pg: &Postgres) -> String {
    let sql = "select count(*) from pg_stat_activity where backend_type = 'walsender'";
    pg.sql(sql).unwrap()
}

/// The `replication` column of `SHOW CLIENTS` or `SERVERS`, of those that are no ordinary ones.
fn kinds(weir: &Pgweir, show: &str) -> Vec<String> {
    let rows = weir.show(show).into_iter();
    let mut kinds: Vec<String> = rows.map(|row| row["replication"].clone()).collect();
    kinds.retain(|kind| kind != "none");
    kinds.sort();
    kinds
}

/// Neither of the two ends has left anything behind.
#[track_caller]
fn assert_gone(weir: &Pgweir, pg: &Postgres) {
    until("the client is gone", || kinds(weir, "CLIENTS").is_empty());
    until("its server connection is gone", || {
        kinds(weir, "SERVERS").is_empty()
    });
    until("the sender is gone", || senders(pg) == "0");
    weir.assert_quiet();
}

/// The error with which a connection ends.
fn end_of(wire: &mut Wire) -> (String, String) {
    let answer = Answer(last_words(wire));
    assert_eq!(
        answer.0.iter().filter(|m| m.tag == b'E').count(),
        1,
        "it is told once"
    );
    (answer.code().unwrap_or_default(), error_text(&answer))
}
