//! The promise: 64 clients over 4 server connections, each with settings, prepared statements,
//! temporary tables and advisory locks of its own, and none ever sees another's.
//!
//! `PGWEIR_LEAK_SECONDS` sets how long; 10 by default.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;

const CLIENTS: usize = 64;
const ZONES: [&str; 4] = ["UTC", "Asia/Tokyo", "America/Lima", "Europe/Berlin"];

#[test]
fn no_client_ever_sees_anothers_state() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 4\nquery_wait_timeout = 60");
    let mut setup = pg.client();
    for n in 0..CLIENTS {
        let sql = format!("create schema s{n}; create table s{n}.mine as select {n} as n");
        assert_eq!(setup.query(&sql).code(), None);
    }
    let seconds = std::env::var("PGWEIR_LEAK_SECONDS").map_or(10, |s| s.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let port = weir.port;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| thread::spawn(move || client(port, n, end)))
        .collect();
    let rounds: usize = clients.into_iter().map(|c| c.join().unwrap()).sum();
    assert!(rounds > CLIENTS, "only {rounds} rounds in {seconds} s");
    weir.assert_quiet();
    println!("{rounds} rounds by {CLIENTS} clients over 4 server connections");
}

fn client(port: u16, n: usize, end: Instant) -> usize {
    let zone = ZONES[n % ZONES.len()];
    let name = format!("client-{n}");
    let pairs = [
        ("user", "postgres"),
        ("database", "postgres"),
        ("application_name", &*name),
    ];
    let mut wire = Wire::try_connect_with(port, &pairs).unwrap();
    let set = format!(
        "set search_path = s{n}; set timezone = '{zone}'; set work_mem = '{}kB'",
        1024 + n
    );
    assert_eq!(wire.query(&set).code(), None);
    // One name for all clients, another text for each.
    wire.send(&[parse("same", &format!("select n, {n} from mine")), sync()].concat())
        .unwrap();
    assert_eq!(wire.answer().tags(), "1Z");
    let prepare = format!("prepare q as select {n} + n from mine");
    assert_eq!(wire.query(&prepare).code(), None);
    let mut rounds = 0;
    while Instant::now() < end {
        settings(&mut wire, n, zone, &name);
        statements(&mut wire, n);
        rolled_back(&mut wire, zone);
        // Those that pin are rarer: they hold one of the four connections.
        if rounds % 8 == n % 8 {
            pinned(&mut wire, n);
        }
        rounds += 1;
    }
    rounds
}

fn settings(wire: &mut Wire, n: usize, zone: &str, name: &str) {
    assert_eq!(wire.query("show search_path").value(), format!("s{n}"));
    assert_eq!(wire.query("show timezone").value(), zone);
    assert_eq!(wire.query("show application_name").value(), name);
    assert_eq!(wire.query("select n from mine").value(), n.to_string());
    let kb = wire
        .query("select setting from pg_settings where name = 'work_mem'")
        .value();
    assert_eq!(kb, (1024 + n).to_string());
}

fn statements(wire: &mut Wire, n: usize) {
    wire.send(&[bind("same"), describe_portal(), execute(), sync()].concat())
        .unwrap();
    let rows = wire.answer().rows();
    assert_eq!(rows, [[n.to_string(), n.to_string()]]);
    assert_eq!(wire.query("execute q").value(), (2 * n).to_string());
    // One text for all clients, which means another table for each.
    wire.send(&[parse("", "select n from mine"), bind(""), execute(), sync()].concat())
        .unwrap();
    assert_eq!(wire.answer().value(), n.to_string());
}

fn rolled_back(wire: &mut Wire, zone: &str) {
    wire.query("begin; set timezone = 'Australia/Perth'; savepoint a; set timezone = 'Asia/Tokyo'");
    assert_eq!(
        wire.query("rollback to a; show timezone").value(),
        "Australia/Perth"
    );
    wire.query("rollback");
    assert_eq!(wire.query("show timezone").value(), zone);
}

fn pinned(wire: &mut Wire, n: usize) {
    let temp = "select count(*) from pg_class where relnamespace = pg_my_temp_schema()";
    let locks =
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    assert_eq!(wire.query(temp).value(), "0");
    assert_eq!(wire.query(locks).value(), "0");
    assert_eq!(
        wire.query(&format!("create temp table mytemp as select {n} as x"))
            .code(),
        None
    );
    assert_eq!(wire.query("select x from mytemp").value(), n.to_string());
    wire.query(&format!("select pg_advisory_lock({})", 1000 + n));
    assert_eq!(wire.query(locks).value(), "1");
    assert_eq!(wire.query("select x from mytemp").value(), n.to_string());
    assert_eq!(wire.query("drop table mytemp").code(), None);
    assert_eq!(
        wire.query(&format!("select pg_advisory_unlock({})", 1000 + n))
            .value(),
        "t"
    );
}
