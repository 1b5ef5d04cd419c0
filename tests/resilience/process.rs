//! pgweir's own process in trouble.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::support::crowd::{Crowd, at_rest};
use crate::support::operate::until;
use crate::support::*;

/// It stands still for ten seconds, longer than timeouts that run meanwhile: who waited for an answer
/// gets it.
#[test]
fn a_process_that_is_stopped_goes_on() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 4");
    let crowd = Crowd::gather(weir.port, 12);
    weir.freeze_for(Duration::from_secs(10));
    crowd.all_are_served();
    let seen = crowd.leave();
    seen.only(&[]);
    assert!(seen.longest >= Duration::from_secs(9), "it did not stop");
    at_rest(&weir, &pg);
}

/// It stands still while an answer arrives that fills its buffer to the last byte, and reads it at once: what
/// the reactor remembers then is not a word from the server, which is as good as before.
#[test]
fn an_answer_that_fills_the_buffer_costs_no_connection() {
    const BUFFER: usize = 1 << 16;
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let mut client = weir.client();
    let backend = |client: &mut Wire| client.query("select pg_backend_pid()").value();
    let ask = |length: usize| query(&format!("select repeat('x', {length}) from pg_sleep(0.5)"));
    // Of the answer, what is not the value.
    let around = {
        let mut client = weir.client();
        client.send(&ask(50_000)).unwrap();
        let answer = client.answer();
        let whole: usize = answer.0.iter().map(|m| 5 + m.body.len()).sum();
        whole - 50_000
    };
    for beside in [0isize, 1, -1, 0] {
        let before = backend(&mut client);
        let length = (BUFFER - around).wrapping_add_signed(beside);
        client.send(&ask(length)).unwrap();
        thread::sleep(Duration::from_millis(200));
        weir.freeze_for(Duration::from_millis(800));
        assert_eq!(client.answer().value().len(), length);
        assert_eq!(backend(&mut client), before, "{beside} beside the buffer");
    }
}

/// No file descriptor is left for clients: who is there is served, though it takes new connections to the
/// server; who comes waits, and gets in when others leave.
#[test]
fn without_descriptors_those_who_are_there_are_served() {
    let pg = Postgres::start();
    let lines = "default_pool_size = 4\nclient_login_timeout = 30\nserver_idle_timeout = 0.2\n\
                 server_login_retry = 1";
    let weir = Pgweir::start_after("ulimit -n 80", pg.port, lines, &[]);
    let mut there: Vec<Wire> = (0..8).map(|_| weir.client()).collect();
    let mut console = weir.console();
    until("no server connection is left", || {
        console.query("SHOW SERVERS").rows().is_empty()
    });
    let rush: Vec<Wire> = (0..100).map(|_| Wire::raw(weir.port).unwrap()).collect();
    until("it has noticed", || {
        weir.log().contains("cannot accept a connection")
    });
    for wire in &mut there {
        wire.send(&query("select pg_sleep(0.1), 7")).unwrap();
    }
    for wire in &mut there {
        let answer = wire.answer();
        assert_eq!(answer.code(), None, "{answer:?}");
    }
    thread::sleep(Duration::from_secs(1));
    let said = weir.log().matches("cannot accept a connection").count();
    assert!(said < 10, "{said} lines about it");
    let mut late = Wire::raw(weir.port).unwrap();
    let pairs = [("user", "postgres"), ("database", "postgres")];
    late.send(&startup(3 << 16, &pairs)).unwrap();
    assert!(!late.answers_within(Duration::from_millis(500)));
    drop(rush);
    assert_eq!(late.answer().status(), Some('I'));
    assert_eq!(late.query("select 1").value(), "1");
    drop((late, there, console));
    at_rest(&weir, &pg);
}

/// Neither the log file nor standard error takes anything any more.
#[test]
fn a_full_disk_for_the_log_stops_nothing() {
    let pg = Postgres::start();
    let lines = "default_pool_size = 4\n[log]\nfile = \"/dev/full\"";
    let weir = Pgweir::start_after("exec 2>/dev/full", pg.port, lines, &[]);
    let crowd = Crowd::gather(weir.port, 8);
    crowd.all_are_served();
    // A reload, which logs too, opens it anew.
    weir.signal("-HUP");
    assert_eq!(weir.console().query("RELOAD").code(), None);
    crowd.all_are_served();
    crowd.leave().only(&[]);
    at_rest(&weir, &pg);
}

/// The wall clock jumps by a day, there and back: nothing that is timed goes by it.
#[test]
fn a_clock_that_jumps_changes_nothing_but_the_times_in_the_log() {
    let library = fs::read_dir("/usr/lib").unwrap().flatten();
    let library = library.map(|e| e.path().join("faketime/libfaketimeMT.so.1"));
    let library = library.into_iter().find(|path| path.exists());
    let library = library.expect("libfaketime: run scripts/test");
    let pg = Postgres::start();
    let clock = Scratch::new("clock");
    let file = clock.0.join("offset");
    let set = |offset: &str| {
        fs::write(clock.0.join("new"), offset).unwrap();
        fs::rename(clock.0.join("new"), &file).unwrap();
    };
    set("+0d");
    let variables = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let lines = "default_pool_size = 4\nquery_timeout = 20\nquery_wait_timeout = 20\n\
                 client_idle_timeout = 20\nserver_lifetime = 600\nserver_idle_timeout = 300";
    let weir = Pgweir::start_after("", pg.port, lines, &variables);
    let mut idle = weir.client();
    let mut busy = weir.client();
    busy.query("begin");
    let servers = |weir: &Pgweir| {
        let rows = weir.show("SERVERS").into_iter();
        rows.map(|row| row["remote_pid"].clone())
            .collect::<Vec<_>>()
    };
    let crowd = Crowd::gather(weir.port, 8);
    let today = last_day(&weir);
    let before = servers(&weir);
    for offset in ["+1d", "-1d", "-20000d", "+0d"] {
        set(offset);
        crowd.all_are_served();
        // A line with the new time, and what the console makes of it.
        weir.console();
        for what in ["CLIENTS", "SERVERS", "STATS", "POOLS", "SOCKETS"] {
            weir.show(what);
        }
        // Deadlines are looked at every 50 ms, idle connections every second.
        thread::sleep(Duration::from_millis(1200));
        crowd.all_are_served();
        let jumped = offset != "+0d";
        until("the log has the new time", || {
            (last_day(&weir) != today) == jumped
        });
    }
    let after = servers(&weir);
    let all_stay = before.iter().all(|pid| after.contains(pid));
    assert!(
        all_stay,
        "one is too old all at once: {before:?}, {after:?}"
    );
    assert_eq!(idle.query("select 1").value(), "1");
    assert_eq!(busy.query("commit").status(), Some('I'));
    drop((idle, busy));
    crowd.leave().only(&[]);
    at_rest(&weir, &pg);
}

/// Of the last line of the log.
fn last_day(weir: &Pgweir) -> String {
    let log = weir.log();
    let line = log.lines().last().unwrap_or_default();
    line.chars().take(10).collect()
}
