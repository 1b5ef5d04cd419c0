//! No read that goes to a replica is older than what its client has written.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::routing::{PORT, Pair, TO_REPLICAS, routed, weir};
use crate::support::operate::until;
use crate::support::{Pgweir, Postgres, Wire, query};

/// Writes a number and reads it again at once, over and over; gives how often what was read was older.
fn write_and_read(port: u16, client: u64, stop: &AtomicBool, stale: &AtomicU64) {
    let mut wire = Wire::connect(port, "postgres", "postgres");
    for n in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let write = format!("update t set b = {n} where a = {client}");
        assert_eq!(wire.query(&write).code(), None);
        for _ in 0..3 {
            let read = wire.query(&format!("select b from t where a = {client}"));
            assert_eq!(read.code(), None, "{read:?}");
            if read.value() != n.to_string() {
                stale.fetch_add(1, Ordering::Relaxed);
            }
            if client.is_multiple_of(2) {
                // Longer than a probe takes to come round.
                thread::sleep(Duration::from_millis(60));
            }
        }
    }
}

#[test]
fn nobody_reads_what_is_older_than_what_it_has_written() {
    const CLIENTS: u64 = 12;
    let numbers = "insert into t select n, 0 from generate_series(0, 11) n";
    let pair = Pair::start(&format!(
        "create table t (a int primary key, b int); {numbers}"
    ));
    let weir = weir(
        &pair.primary,
        &pair.standby,
        "reads = \"auto\"\nmax_lag = 0",
    );
    pair.wait_for(&mut weir.client(), PORT, "replica");
    let before = routed(&weir, TO_REPLICAS);
    let (stop, stale) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let crowd: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (stop, stale, port) = (Arc::clone(&stop), Arc::clone(&stale), weir.port);
            thread::spawn(move || write_and_read(port, client, &stop, &stale))
        })
        .collect();
    for _ in 0..4 {
        pair.standby.client().query("select pg_wal_replay_pause()");
        thread::sleep(Duration::from_millis(400));
        pair.standby.client().query("select pg_wal_replay_resume()");
        thread::sleep(Duration::from_millis(600));
    }
    stop.store(true, Ordering::Relaxed);
    crowd.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(stale.load(Ordering::Relaxed), 0);
    let to_replicas = routed(&weir, TO_REPLICAS) - before;
    assert!(to_replicas > 0, "the replica has had none of it");
    weir.assert_quiet();
}

/// Of two replicas only one has what was written: a connection to the other one does not serve who has written it.
#[test]
fn a_replica_that_lacks_a_write_is_passed_over_where_another_has_it() {
    let primary = Postgres::start();
    let mut at_primary = primary.client();
    at_primary.query("create table t (a int)");
    at_primary.query("insert into t values (0)");
    let (near, far) = (primary.standby(), primary.standby());
    let host = |pg: &Postgres| format!("{{ host = \"127.0.0.1\", port = {} }}", pg.port);
    let hosts = [&primary, &near, &far].map(host).join(", ");
    let weir = Pgweir::start(
        primary.port,
        &format!(
            "[pools.postgres]\nhosts = [{hosts}]\nprobe_interval = \"100ms\"\nreads = \"auto\"\nmax_lag = 0\n"
        ),
    );
    // As many connections to each of them as there are clients.
    let mut clients: Vec<Wire> = (0..4).map(|_| weir.client()).collect();
    let read = "select a, inet_server_port() from t";
    let ports = [near.port.to_string(), far.port.to_string()];
    let mut seen = BTreeSet::new();
    until("both replicas serve", || {
        for wire in &mut clients {
            wire.send(&query(read)).unwrap();
        }
        let answers = clients.iter_mut().map(|wire| wire.answer().rows());
        seen.extend(answers.map(|rows| rows[0][1].clone()));
        ports.iter().all(|port| seen.contains(port))
    });
    far.client().query("select pg_wal_replay_pause()");
    let mut near_has_served = false;
    for number in 1..7 {
        for wire in &mut clients {
            assert_eq!(
                wire.query(&format!("update t set a = {number}")).code(),
                None
            );
            for _ in 0..3 {
                let row = &wire.query(read).rows()[0];
                assert_eq!(row[0], number.to_string(), "from {}", row[1]);
                near_has_served |= row[1] == ports[0];
                // Longer than a probe takes to come round.
                thread::sleep(Duration::from_millis(60));
            }
        }
    }
    assert!(near_has_served, "nothing came from the replica that had it");
    weir.assert_quiet();
}

#[test]
fn a_write_keeps_a_clients_reads_on_the_primary_and_an_applications_if_wanted() {
    let pair = Pair::start("create table t (a int); insert into t values (0)");
    let connect = |weir: &Pgweir, name: &str| {
        let pairs = [
            ("user", "postgres"),
            ("database", "postgres"),
            ("application_name", name),
        ];
        Wire::try_connect_with(weir.port, &pairs).unwrap()
    };
    let read = "select a, inet_server_port() from t";
    for (rule, expected) in [
        ("client", "replica"),
        ("application", "primary"),
        ("off", "replica"),
    ] {
        let lines = format!("reads = \"auto\"\nmax_lag = 0\nread_your_writes = \"{rule}\"");
        let weir = weir(&pair.primary, &pair.standby, &lines);
        let mut writer = connect(&weir, "one");
        let mut same = connect(&weir, "one");
        let mut other = connect(&weir, "two");
        for wire in [&mut writer, &mut same, &mut other] {
            pair.wait_for(wire, read, "replica");
        }
        pair.standby.client().query("select pg_wal_replay_pause()");
        assert_eq!(writer.query("update t set a = a + 1").code(), None);
        let own = if rule == "off" { "replica" } else { "primary" };
        for _ in 0..20 {
            assert_eq!(pair.place(&mut writer, read), own, "{rule}");
            assert_eq!(pair.place(&mut same, read), expected, "{rule}");
            assert_eq!(pair.place(&mut other, read), "replica", "{rule}");
            thread::sleep(Duration::from_millis(20));
        }
        pair.standby.client().query("select pg_wal_replay_resume()");
        // As soon as it has what was written.
        for wire in [&mut writer, &mut same] {
            pair.wait_for(wire, read, "replica");
        }
        weir.assert_quiet();
    }
}

/// Nobody has taken notes of writes while reads did not go elsewhere.
#[test]
fn what_was_written_before_reads_went_elsewhere_is_read() {
    let pair = Pair::start("create table t (a int); insert into t values (0)");
    let weir = weir(&pair.primary, &pair.standby, "reads = \"off\"");
    let mut wire = weir.client();
    pair.standby.client().query("select pg_wal_replay_pause()");
    assert_eq!(wire.query("update t set a = 1").code(), None);
    let off = fs::read_to_string(weir.config_path()).unwrap();
    weir.rewrite_all(&off.replace("reads = \"off\"", "reads = \"auto\"\nmax_lag = 0"));
    weir.reload("configuration reloaded");
    for _ in 0..60 {
        let read = wire.query("/* pgweir: replica */ select a from t");
        assert_eq!(read.value(), "1");
        thread::sleep(Duration::from_millis(20));
    }
    pair.standby.client().query("select pg_wal_replay_resume()");
    pair.wait_for(&mut wire, PORT, "replica");
    weir.assert_quiet();
}

#[test]
fn a_read_only_transaction_that_comes_to_write_has_written() {
    let mut pair = Pair::start("create table t (a int); insert into t values (0)");
    let lines = "reads = \"auto\"\nmax_lag = 0";
    let weir = weir(&pair.primary, &pair.standby, lines);
    let mut wire = weir.client();
    pair.wait_for(&mut wire, PORT, "replica");
    let delay = "alter system set recovery_min_apply_delay = '3s'";
    assert_eq!(pair.standby.client().query(delay).code(), None);
    pair.standby.crash();
    // Who has asked it at that moment is told so.
    until("it is missed", || wire.query(PORT).code().is_none());
    pair.wait_for(&mut wire, PORT, "primary");
    for sql in [
        "begin read only",
        "set transaction read write",
        "update t set a = 1",
        "commit",
    ] {
        assert_eq!(wire.query(sql).code(), None, "{sql}");
    }
    pair.standby.recover();
    pair.wait_for(&mut weir.client(), PORT, "replica");
    for _ in 0..20 {
        assert_eq!(wire.query("select a from t").value(), "1");
        std::thread::sleep(Duration::from_millis(50));
    }
    pair.wait_for(&mut wire, PORT, "replica");
    weir.assert_quiet();
}

#[test]
fn after_a_failover_reads_are_made_where_the_writes_are() {
    let pair = Pair::start("create table t (a int); insert into t values (0)");
    let weir = weir(
        &pair.primary,
        &pair.standby,
        "reads = \"auto\"\nmax_lag = 0",
    );
    let mut wire = weir.client();
    pair.wait_for(&mut wire, PORT, "replica");
    pair.standby.promote();
    // The old primary is there, and no replica of the new one.
    let hinted = "/* pgweir: primary */ select inet_server_port()";
    pair.wait_for(&mut wire, hinted, "replica");
    for number in 1..50 {
        let written = wire.query(&format!("update t set a = {number}"));
        assert_eq!(written.code(), None, "{written:?}");
        assert_eq!(wire.query("select a from t").value(), number.to_string());
    }
    assert_eq!(pair.standby.client().query("select a from t").value(), "49");
    weir.assert_quiet();
}
