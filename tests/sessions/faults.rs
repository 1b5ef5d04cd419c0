//! What goes wrong: peers that break the protocol, servers that die, clients that stall, limits
//! that are reached. Each ends in a correct error or a closed connection, in time, and leaves no
//! server connection behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;

#[test]
fn garbage_before_the_login_is_closed_in_time() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "client_login_timeout = 2");
    let huge = vec![b'x'; 10 << 20];
    let packets: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 8],
        [&3u32.to_be_bytes()[..], b"abcd"].concat(),
        [&i32::MAX.to_be_bytes()[..], b"abcd"].concat(),
        [&(10u32 << 20).to_be_bytes()[..], &huge].concat(),
        startup(2 << 16, &[("user", "postgres")]),
        startup(3 << 16, &[("database", "postgres")]),
        // A packet that never ends.
        b"\0\0\0\x20\0\x03\0\0user".to_vec(),
    ];
    for packet in packets {
        let mut wire = Wire::raw(weir.port).unwrap();
        let began = Instant::now();
        // It may be closed while we still write.
        let _ = wire.send(&packet);
        let answer = wire.answer();
        assert_eq!(answer.status(), None, "{:?}", &packet[..8]);
        assert!(began.elapsed() < Duration::from_secs(12));
    }
    assert_eq!(weir.client().query("select 1").value(), "1");
    weir.assert_quiet();
}

#[test]
fn garbage_after_the_login_is_a_protocol_violation() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "max_packet_size = 1000000");
    let bad = [
        b"Q\0\0\0\x03".to_vec(),
        b"Q\0\0\0\0".to_vec(),
        b"Q\xff\xff\xff\xff".to_vec(),
        b"Q\x7f\xff\xff\xff".to_vec(),
        message(b'~', b"x"),
        message(b'Q', b"no terminator"),
        message(b'P', b"cut"),
        message(b'B', b"cut"),
        message(b'D', b"Xx\0"),
        message(b'E', b"cut"),
    ];
    for bytes in bad {
        for in_transaction in [false, true] {
            let mut wire = weir.client();
            if in_transaction {
                assert_eq!(wire.query("begin").status(), Some('T'));
            }
            wire.send(&bytes).unwrap();
            let answer = wire.answer();
            assert_eq!(answer.code().as_deref(), Some("08P01"), "{bytes:?}");
            assert_eq!(answer.status(), None, "{bytes:?}");
        }
    }
    weir.assert_quiet();
}

#[test]
fn a_client_may_send_one_byte_at_a_time_or_everything_at_once() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "");
    let mut script = query("select 1");
    for part in [
        parse("s", "select 2"),
        bind("s"),
        describe_portal(),
        execute(),
        sync(),
        bind("s"),
        execute(),
        sync(),
        query("select 3; select 4"),
        query(""),
    ] {
        script.extend(part);
    }
    let expected: Vec<String> = ["TDCZ", "12TDCZ", "2DCZ", "TDCTDCZ", "IZ"]
        .map(String::from)
        .into();
    for step in [1, 2, 3, 7, script.len()] {
        let mut wire = weir.client();
        for bytes in script.chunks(step) {
            wire.send(bytes).unwrap();
            if step < 7 {
                thread::sleep(Duration::from_micros(200));
            }
        }
        let got: Vec<String> = (0..5).map(|_| wire.answer().tags()).collect();
        assert_eq!(got, expected, "in steps of {step}");
    }
    weir.assert_quiet();
}

#[test]
fn a_server_that_dies_costs_one_error_and_not_the_connection() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 2");
    let kill = |weir: &Pgweir| {
        let mut wire = pg.client();
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where pid <> pg_backend_pid() and backend_type = 'client backend'";
        wire.query(sql);
        let _ = weir;
    };
    // While it runs a statement.
    let mut wire = weir.client();
    wire.send(&query("select pg_sleep(20)")).unwrap();
    thread::sleep(Duration::from_millis(300));
    kill(&weir);
    let answer = wire.answer();
    assert_eq!(answer.code().as_deref(), Some("57P01"));
    assert_eq!(answer.status(), Some('I'));
    assert_eq!(wire.query("select 1").value(), "1");
    // Between the statements of a transaction: nothing may run as if it were another one.
    wire.query("create table t (x int)");
    assert_eq!(
        wire.query("begin; insert into t values (1)").status(),
        Some('T')
    );
    kill(&weir);
    thread::sleep(Duration::from_millis(200));
    let answer = wire.query("insert into t values (2)");
    assert!(answer.code().is_some());
    assert_eq!(answer.status(), Some('E'));
    assert_eq!(
        wire.query("insert into t values (3)").code().as_deref(),
        Some("25P02")
    );
    assert_eq!(wire.query("commit").tags(), "CZ");
    assert_eq!(wire.query("select count(*) from t").value(), "0");
    // A COMMIT that comes next is no success; a ROLLBACK is.
    for (end, code) in [("commit", Some("08006")), ("rollback", None)] {
        wire.query("begin; insert into t values (4)");
        kill(&weir);
        thread::sleep(Duration::from_millis(200));
        assert_eq!(wire.query(end).code().as_deref(), code);
        assert_eq!(wire.query("rollback").status(), Some('I'));
        assert_eq!(wire.query("select count(*) from t").value(), "0");
    }
    // Between Parse and Bind.
    wire.send(&[parse("p", "select 7"), sync()].concat())
        .unwrap();
    assert_eq!(wire.answer().tags(), "1Z");
    kill(&weir);
    thread::sleep(Duration::from_millis(200));
    wire.send(&[bind("p"), execute(), sync()].concat()).unwrap();
    assert_eq!(wire.answer().value(), "7");
    weir.assert_quiet();
}

#[test]
fn copy_that_is_broken_off_frees_its_server() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let mut wire = weir.client();
    wire.query("create table c (x int)");
    // By CopyFail.
    wire.send(&query("copy c from stdin")).unwrap();
    wire.send(&message(b'd', b"1\n")).unwrap();
    wire.send(&message(b'f', b"no more\0")).unwrap();
    assert_eq!(wire.answer().code().as_deref(), Some("57014"));
    // By bad data, with more data on its way.
    wire.send(&query("copy c from stdin")).unwrap();
    for _ in 0..1000 {
        wire.send(&message(b'd', b"nonsense\n")).unwrap();
    }
    wire.send(&message(b'c', b"")).unwrap();
    assert_eq!(wire.answer().code().as_deref(), Some("22P02"));
    assert_eq!(wire.query("select count(*) from c").value(), "0");
    // By going away.
    wire.send(&query("copy c from stdin")).unwrap();
    wire.send(&message(b'd', b"1\n")).unwrap();
    thread::sleep(Duration::from_millis(100));
    drop(wire);
    let mut other = weir.client();
    assert_eq!(other.query("select count(*) from c").value(), "0");
    weir.assert_quiet();
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1\nclient_write_timeout = 1");
    let mut wire = weir.client();
    wire.send(&query(
        "select repeat('x', 1000) from generate_series(1, 200000)",
    ))
    .unwrap();
    // Another one gets the only connection when the first is given up.
    let began = Instant::now();
    let mut other = weir.client();
    assert_eq!(other.query("select 1").value(), "1");
    assert!(began.elapsed() < Duration::from_secs(30));
    weir.assert_quiet();
}

#[test]
fn a_client_that_leaves_leaves_nothing_behind() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    for sql in [
        "begin",
        "select pg_sleep(30)",
        "begin; select pg_advisory_lock(1)",
        "listen x",
    ] {
        let mut wire = weir.client();
        wire.send(&query(sql)).unwrap();
        thread::sleep(Duration::from_millis(200));
        drop(wire);
        let mut next = weir.client();
        let began = Instant::now();
        let locks = "select count(*) from pg_locks where locktype = 'advisory'";
        assert_eq!(next.query(locks).value(), "0", "after {sql}");
        assert_eq!(
            next.query("select count(*) from pg_listening_channels()")
                .value(),
            "0"
        );
        assert!(began.elapsed() < Duration::from_secs(20), "after {sql}");
    }
    weir.assert_quiet();
}

#[test]
fn timeouts_are_enforced_and_the_client_goes_on() {
    let pg = Postgres::start();
    let weir = Pgweir::start(
        pg.port,
        "query_timeout = 1\nidle_transaction_timeout = 1\ndefault_pool_size = 1",
    );
    let mut wire = weir.client();
    // Whatever the client sets.
    wire.query("set statement_timeout = 0");
    let began = Instant::now();
    let answer = wire.query("select pg_sleep(20)");
    assert_eq!(answer.code().as_deref(), Some("57014"));
    assert_eq!(answer.status(), Some('I'));
    assert!(began.elapsed() < Duration::from_secs(12));
    assert_eq!(wire.query("select 1").value(), "1");
    // In a transaction the transaction fails, as with PostgreSQL's own timeout.
    wire.query("begin");
    assert_eq!(wire.query("select pg_sleep(20)").status(), Some('E'));
    assert_eq!(wire.query("rollback").status(), Some('I'));
    // Idle in a transaction: the server goes back, the client is told at its next statement.
    wire.query("begin");
    let mut other = weir.client();
    let began = Instant::now();
    assert_eq!(other.query("select 1").value(), "1");
    assert!(began.elapsed() < Duration::from_secs(15));
    let answer = wire.query("select 1");
    assert_eq!(answer.code().as_deref(), Some("25P03"));
    assert_eq!(answer.status(), Some('E'));
    assert_eq!(wire.query("rollback").status(), Some('I'));
    weir.assert_quiet();
}

#[test]
fn waiting_is_bounded_in_number_and_time() {
    let pg = Postgres::start();
    let weir = Pgweir::start(
        pg.port,
        "default_pool_size = 1\nmax_queue = 1\nquery_wait_timeout = 3",
    );
    let mut holder = weir.client();
    let (mut first, mut second) = (weir.client(), weir.client());
    holder.query("begin");
    first.send(&query("select 1")).unwrap();
    thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    let refused = second.query("select 1");
    assert_eq!(refused.code().as_deref(), Some("53300"));
    assert!(began.elapsed() < Duration::from_secs(2), "at once");
    assert_eq!(first.answer().code().as_deref(), Some("53300"));
    // Before query_wait_notify, which looks at the time, too.
    assert!(began.elapsed() < Duration::from_millis(4500), "in time");
    holder.query("commit");
    assert_eq!(first.query("select 1").value(), "1");
    assert_eq!(second.query("select 1").value(), "1");
    weir.assert_quiet();
}

#[test]
fn a_cancel_hits_its_own_query_only() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 4");
    let stop = Arc::new(AtomicBool::new(false));
    let port = weir.port;
    let bystanders: Vec<_> = (0..8)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut wire = Wire::connect(port, "postgres", "postgres");
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(wire.query("select pg_sleep(0.002), 5").code(), None);
                }
            })
        })
        .collect();
    let mut wire = weir.client();
    let mut watch = pg.client();
    for n in 0..40 {
        // Sometimes the cancel comes when the query is over.
        let sql = if n % 2 == 0 {
            "select pg_sleep(20)"
        } else {
            "select 1"
        };
        wire.send(&query(sql)).unwrap();
        if n % 2 == 0 {
            watch.wait_for("select count(*) from pg_stat_activity where query = 'select pg_sleep(20)' and state = 'active'", "1");
        }
        wire.cancel();
        let answer = wire.answer();
        if n % 2 == 0 {
            assert_eq!(answer.code().as_deref(), Some("57014"));
        }
        assert_eq!(answer.status(), Some('I'));
    }
    stop.store(true, Ordering::Relaxed);
    for bystander in bystanders {
        bystander.join().unwrap();
    }
    weir.assert_quiet();
}

#[test]
fn a_restart_of_the_server_costs_each_client_one_error_at_most() {
    let mut pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 20");
    let stop = Arc::new(AtomicBool::new(false));
    let after = Arc::new(AtomicBool::new(false));
    let served_after = Arc::new(AtomicUsize::new(0));
    let port = weir.port;
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let (stop, after, served) = (stop.clone(), after.clone(), served_after.clone());
            thread::spawn(move || {
                let mut wire = Wire::connect(port, "postgres", "postgres");
                let mut errors = 0;
                let mut counted = false;
                while !stop.load(Ordering::Relaxed) {
                    let answer = wire.query("select 1");
                    match answer.status() {
                        Some('I') if answer.code().is_none() => {
                            if after.load(Ordering::Relaxed) && !counted {
                                counted = true;
                                served.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        Some('I') => errors += 1,
                        other => panic!("the connection was lost: {other:?} {:?}", answer.code()),
                    }
                    thread::sleep(Duration::from_millis(5));
                }
                errors
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(500));
    pg.restart();
    after.store(true, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(20);
    while served_after.load(Ordering::Relaxed) < 200 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    stop.store(true, Ordering::Relaxed);
    let errors: Vec<i32> = clients.into_iter().map(|c| c.join().unwrap()).collect();
    assert_eq!(served_after.load(Ordering::Relaxed), 200);
    assert!(errors.iter().all(|e| *e <= 1), "{errors:?}");
    weir.assert_quiet();
}

#[test]
fn a_server_that_refuses_logins_is_reported_with_its_own_words() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "");
    let error = match Wire::try_connect(weir.port, "postgres", "nowhere") {
        Err(error) => error.to_string(),
        Ok(_) => panic!("there is no such database"),
    };
    assert!(error.contains("3D000"), "{error}");
    assert_eq!(weir.client().query("select 1").value(), "1");
}

#[test]
fn sigint_lets_transactions_finish_and_refuses_new_logins() {
    let pg = Postgres::start();
    let mut weir = Pgweir::start(pg.port, "shutdown_timeout = 10");
    let mut busy = weir.client();
    let mut idle = weir.client();
    busy.query("create table d (x int)");
    busy.query("begin");
    kill("-INT", weir.child.id());
    thread::sleep(Duration::from_millis(300));
    assert_eq!(idle.answer().code().as_deref(), Some("57P01"));
    assert!(Wire::raw(weir.port).is_err(), "nobody listens");
    assert_eq!(busy.query("insert into d values (1)").status(), Some('T'));
    assert_eq!(busy.query("commit").status(), Some('I'));
    assert_eq!(busy.answer().code().as_deref(), Some("57P01"));
    let began = Instant::now();
    assert!(weir.child.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(pg.client().query("select count(*) from d").value(), "1");
}

/// What a SQL-level prepared statement does happens when it is executed.
#[test]
fn an_advisory_lock_taken_by_execute_keeps_the_server() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 2");
    let mut wire = weir.client();
    assert_eq!(
        wire.query("prepare p as select pg_advisory_lock(1)").code(),
        None
    );
    assert_eq!(wire.query("execute p").code(), None);
    let held =
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    for _ in 0..10 {
        assert_eq!(wire.query(held).value(), "1");
        assert_eq!(weir.client().query(held).value(), "0");
    }
}

/// A text that is read otherwise by another session must not be replayed there as it is.
#[test]
fn a_replayed_setting_is_no_way_to_run_sql() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 2");
    let mut wire = weir.client();
    wire.query("create table victim (x int)");
    wire.query("set standard_conforming_strings = off");
    wire.query(r"set a.b = 'x\'; drop table victim; --'");
    let mut other = weir.client();
    for _ in 0..5 {
        other.query("begin");
        assert_eq!(wire.query("show a.b").value(), "x'; drop table victim; --");
        other.query("commit");
        assert_eq!(wire.query("select count(*) from victim").value(), "0");
    }
}
