//! Limits, operators, and what is left when one end goes.

use std::time::{Duration, Instant};

use super::support::ini::Ini;
use super::support::operate::{shared_postgres, until};
use super::support::{Message, Pgweir, Postgres, Wire, kill, message, query, startup};
use super::{
    LOGICAL, PHYSICAL, assert_gone, end_of, kinds, pairs, position, refused, replication, senders,
    stream,
};

#[test]
fn when_one_end_goes_the_other_does() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "");
    // The client, with and without a word, while the server streams and while it does not.
    for streams in [true, false] {
        for speaks in [true, false] {
            let mut wire = replication(&weir, PHYSICAL);
            if streams {
                stream(&mut wire, &position(&pg));
            }
            if speaks {
                wire.send(&message(b'X', b"")).unwrap();
            }
            drop(wire);
            assert_gone(&weir, &pg);
        }
    }
    // The sender.
    let mut idle = replication(&weir, LOGICAL);
    let mut streams = replication(&weir, PHYSICAL);
    stream(&mut streams, &position(&pg));
    until("both are there", || senders(&pg) == "2");
    pg.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'walsender'",
    );
    assert_eq!(end_of(&mut idle).0, "57P01");
    let (code, text) = end_of(&mut streams);
    assert_eq!(code, "57P01", "{text}");
    assert_gone(&weir, &pg);
    // A server that dies says nothing; the client is told where it can be.
    let mut idle = replication(&weir, LOGICAL);
    let pid: u32 = idle
        .query("select pg_backend_pid()")
        .value()
        .parse()
        .unwrap();
    kill("-KILL", pid);
    let (code, text) = end_of(&mut idle);
    assert_eq!(
        (&*code, &*text),
        ("08006", "server closed the connection unexpectedly")
    );
}

#[test]
fn operators_end_it() {
    let pg = Postgres::start();
    let mut weir = Pgweir::start(pg.port, "");
    let streaming = || {
        let mut wire = replication(&weir, PHYSICAL);
        stream(&mut wire, &position(&pg));
        wire
    };
    let mut killed = streaming();
    let id = weir.show("CLIENTS")[0]["id"].clone();
    weir.console().query(&format!("KILL_CLIENT {id}"));
    let (code, text) = end_of(&mut killed);
    assert_eq!((&*code, &*text), ("57P01", "admin forced disconnect"));
    assert_gone(&weir, &pg);

    // What is to be replaced is closed now: there is no end to wait for.
    let mut replaced = streaming();
    let mut console = weir.console();
    console.query("RECONNECT");
    assert_eq!(console.query("WAIT_CLOSE").code(), None);
    let (code, text) = end_of(&mut replaced);
    assert_eq!(
        (&*code, &*text),
        ("57P01", "database configuration changed")
    );

    let mut killed = streaming();
    console.query("KILL postgres");
    assert_eq!(end_of(&mut killed).1, "admin forced disconnect");
    console.query("RESUME postgres");
    console.query("DISABLE postgres");
    let (_, text) = refused(weir.port, &pairs(&[PHYSICAL]));
    assert_eq!(text, "database does not allow connections: postgres");
    console.query("ENABLE postgres");
    let (code, _) = refused(
        weir.port,
        &[("user", "postgres"), ("database", "pgweir"), PHYSICAL],
    );
    assert_eq!(code, "0A000");

    // PAUSE waits for those that are there, and those that come wait for RESUME.
    let there = streaming();
    console.send(&query("PAUSE")).unwrap();
    assert!(!console.answers_within(Duration::from_millis(200)));
    let mut comes = Wire::raw(weir.port).unwrap();
    comes.send(&startup(3 << 16, &pairs(&[LOGICAL]))).unwrap();
    assert!(!comes.answers_within(Duration::from_millis(300)));
    drop(there);
    assert_eq!(console.answer().code(), None);
    console.query("RESUME");
    assert_eq!(comes.answer().status(), Some('I'));
    drop(comes);
    assert_gone(&weir, &pg);

    // A drain waits for a command, not for a stream.
    let mut streams = streaming();
    let mut commands = replication(&weir, LOGICAL);
    commands.send(&query("select pg_sleep(1)")).unwrap();
    until("it runs", || {
        pg.sql("select count(*) from pg_stat_activity where query like 'select pg_sleep(1)'")
            == Some("1".to_owned())
    });
    weir.signal("-INT");
    assert_eq!(end_of(&mut streams).1, "server shutting down");
    assert_eq!(commands.answer().status(), Some('I'));
    assert_eq!(end_of(&mut commands).1, "server shutting down");
    assert!(weir.wait_exit().success());
    until("the senders are gone", || senders(&pg) == "0");
}

#[test]
fn it_counts_in_its_pool_and_idle_connections_make_room() {
    let pg = shared_postgres();
    let general = "default_pool_size = 2\nquery_wait_timeout = \"1s\"";
    let weir = Pgweir::start(pg.port, general);
    let mut ordinary = [weir.client(), weir.client()];
    for wire in &mut ordinary {
        wire.query("begin");
    }
    // All are in use.
    let (code, text) = refused(weir.port, &pairs(&[LOGICAL]));
    assert_eq!(code, "53300");
    assert!(text.starts_with("query_wait_timeout"), "{text}");
    let began = Instant::now();
    let mut waits = Wire::raw(weir.port).unwrap();
    waits.send(&startup(3 << 16, &pairs(&[LOGICAL]))).unwrap();
    until("it waits", || weir.count("postgres", "cl_waiting") == 1);
    ordinary[0].query("commit");
    assert_eq!(waits.answer().status(), Some('I'), "{:?}", began.elapsed());
    ordinary[1].query("commit");
    assert!(
        weir.log().contains("evicted for pool_size"),
        "{}",
        weir.log()
    );
    // Now one is idle; it makes room for another.
    let second = replication(&weir, PHYSICAL);
    assert_eq!(weir.count("postgres", "sv_active"), 2);
    assert_eq!(weir.count("postgres", "sv_idle"), 0);
    let answer = ordinary[0].query("select 1");
    assert_eq!(answer.code().as_deref(), Some("53300"));
    drop((waits, second));
    // Nothing of it is used again.
    assert_eq!(ordinary[0].query("select 1").value(), "1");
    until("all senders are gone", || {
        kinds(&weir, "SERVERS").is_empty()
    });
}

#[test]
fn limits_beyond_the_pool_hold() {
    let pg = shared_postgres();
    let weir = Pgweir::start(
        pg.port,
        "max_user_connections = 1\nmax_client_conn = 2\nquery_wait_timeout = \"5s\"",
    );
    // The ordinary connection that is idle is closed for it, though it is another pool's.
    let mut other = Wire::connect(weir.port, "postgres", "template1");
    other.query("select 1");
    let first = replication(&weir, LOGICAL);
    assert_eq!(weir.show("SERVERS").len(), 1);
    let (code, text) = refused(weir.port, &pairs(&[LOGICAL]));
    assert_eq!(code, "53300");
    assert!(text.contains("max_client_conn"), "{text}");
    drop((first, other));
    until("room", || {
        Wire::try_connect_with(weir.port, &pairs(&[LOGICAL])).is_ok()
    });
}

/// Nothing that limits queries, transactions or idle clients ends a stream.
#[test]
fn timeouts_do_not_apply() {
    let pg = Postgres::start();
    let weir = Pgweir::start(
        pg.port,
        "query_timeout = \"300ms\"\ntransaction_timeout = \"300ms\"\nclient_idle_timeout = \"300ms\"\n\
         idle_transaction_timeout = \"300ms\"\nserver_lifetime = \"300ms\"\nserver_idle_timeout = \"300ms\"",
    );
    let mut streams = replication(&weir, PHYSICAL);
    stream(&mut streams, &position(&pg));
    let mut idle = replication(&weir, LOGICAL);
    std::thread::sleep(Duration::from_millis(1500));
    pg.sql("create table t as select 1");
    assert_eq!(streams.read_message().unwrap().tag, b'd');
    assert_eq!(idle.query("select pg_sleep(0.5), 7").rows()[0][1], "7");
}

#[test]
fn its_command_can_be_cancelled() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "");
    let mut wire = replication(&weir, LOGICAL);
    let began = Instant::now();
    wire.send(&query("select pg_sleep(60)")).unwrap();
    while !wire.answers_within(Duration::from_millis(100)) {
        assert!(began.elapsed() < Duration::from_secs(30));
        wire.cancel();
    }
    assert_eq!(wire.answer().code().as_deref(), Some("57014"));
    assert_eq!(wire.query("select 2").value(), "2");
}

#[test]
fn a_client_that_does_not_read_is_not_waited_for() {
    let pg = Postgres::start();
    let weir = Pgweir::start(
        pg.port,
        "client_write_timeout = \"1s\"\ntcp_socket_buffer = 4096",
    );
    let from = position(&pg);
    pg.sql("create table t as select repeat('x', 100) t from generate_series(1, 200000)");
    let mut wire = replication(&weir, PHYSICAL);
    stream(&mut wire, &from);
    until("it is closed", || {
        weir.log().contains("client_write_timeout")
    });
    assert_gone(&weir, &pg);
    // One that reads slowly is served.
    let mut wire = replication(&weir, PHYSICAL);
    stream(&mut wire, &from);
    for _ in 0..4 {
        let _: Message = wire.read_message().unwrap();
        std::thread::sleep(Duration::from_millis(400));
    }
}

/// Bytes that are no messages, from the client.
#[test]
fn nonsense_is_refused() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "max_packet_size = \"1KiB\"");
    for nonsense in [&b"Q\0\0\0\x01"[..], &message(b'Q', &[b'x'; 5000])] {
        let mut wire = replication(&weir, LOGICAL);
        wire.send(nonsense).unwrap();
        assert_eq!(end_of(&mut wire).0, "08P01");
    }
    let ini = Ini::start(pg.port, "disable_pqexec = 1", "");
    let mut wire = Wire::try_connect_with(ini.port, &pairs(&[LOGICAL])).unwrap();
    wire.send(&query("IDENTIFY_SYSTEM")).unwrap();
    assert_eq!(end_of(&mut wire).1, "PQexec disallowed");
}

/// Its connection is of no use to those who wait for an ordinary one, and does not keep them waiting.
#[test]
fn others_are_told_of_an_outage_beside_it() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "query_wait_timeout = \"20s\"");
    pg.sql("create database closed");
    let closed = [("user", "postgres"), ("database", "closed")];
    let _streams = Wire::try_connect_with(weir.port, &[closed[0], closed[1], LOGICAL]).unwrap();
    pg.sql("alter database closed allow_connections false");
    let began = Instant::now();
    let (code, text) = refused(weir.port, &closed);
    assert_eq!(code, "55000", "{text}");
    assert!(began.elapsed() < Duration::from_secs(10));
}
