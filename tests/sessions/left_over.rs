//! What one request, transaction or client leaves behind must not be the next one's.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;

/// What somebody else finds on the only server connection.
fn tenant(weir: &Pgweir) -> String {
    let mut next = weir.client();
    next.query("select coalesce(current_setting('app.tenant', true), '')")
        .value()
}

/// Settings that nobody has followed, made before a transaction that times out.
#[test]
fn a_setting_made_by_a_procedure_is_not_the_next_clients() {
    let pg = Postgres::start();
    let general = "default_pool_size = 1\nidle_transaction_timeout = '100ms'";
    let weir = Pgweir::start(pg.port, general);
    let set = "do $$ begin perform set_config('app.tenant', '42', false); end $$";
    // The next transaction begins while it is being asked what has been left behind, most of the times.
    for _ in 0..8 {
        let mut client = weir.client();
        assert_eq!(client.query(set).code(), None);
        assert_eq!(client.query("begin").status(), Some('T'));
        thread::sleep(Duration::from_millis(300));
        assert_eq!(tenant(&weir), "");
        assert_eq!(client.query("select 1").code().as_deref(), Some("25P03"));
    }
}

/// A setting whose value is only known by asking, and a client that goes before anybody has.
#[test]
fn a_setting_that_was_not_asked_for_is_not_the_next_clients() {
    let pg = Postgres::start();
    let general = "default_pool_size = 1\nidle_transaction_timeout = '300ms'";
    let weir = Pgweir::start(pg.port, general);
    let set = query("select set_config('app.tenant', lower('X'), false)");
    for leaves in [true, false] {
        let mut client = weir.client();
        client
            .send(&[set.clone(), query("begin")].concat())
            .unwrap();
        assert_eq!(client.answer().code(), None);
        assert_eq!(client.answer().status(), Some('T'));
        if leaves {
            drop(client);
            assert_eq!(tenant(&weir), "", "it has left");
        } else {
            thread::sleep(Duration::from_millis(600));
            assert_eq!(tenant(&weir), "", "its time was over");
        }
    }
}

/// What no DISCARD ALL ends goes with its connection, also where a transaction's time was over.
#[test]
fn a_library_that_a_client_has_loaded_is_not_the_next_clients() {
    let pg = Postgres::start();
    let general = "default_pool_size = 1\nidle_transaction_timeout = '100ms'";
    let weir = Pgweir::start(pg.port, general);
    let mut client = weir.client();
    assert_eq!(client.query("load 'auto_explain'").code(), None);
    let pid = client.query("select pg_backend_pid()").value();
    client.query("begin");
    thread::sleep(Duration::from_millis(300));
    let next = weir.client().query("select pg_backend_pid()").value();
    assert_ne!(next, pid);
}

/// The second statement that takes too long is stopped as the first was.
#[test]
fn a_statement_behind_one_that_was_cancelled_has_its_own_time() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "query_timeout = '500ms'");
    let mut client = weir.client();
    let long = [
        parse("", "select pg_sleep(20)"),
        bind(""),
        execute(),
        sync(),
    ]
    .concat();
    let began = Instant::now();
    client.send(&long.repeat(3)).unwrap();
    for _ in 0..3 {
        assert_eq!(client.answer().code().as_deref(), Some("57014"));
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    weir.assert_quiet();
}

/// A cancel request that comes too late hits nothing.
#[test]
fn what_comes_after_a_statement_that_timed_out_is_not_cancelled() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "query_timeout = '300ms'");
    let clients: Vec<_> = (0..8)
        .map(|n| {
            let mut client = weir.client();
            thread::spawn(move || {
                for round in 0..10 {
                    // The sweep comes every 50 ms.
                    let sleep = 0.3 + 0.0075 * f64::from(n) + 0.001 * f64::from(round);
                    client.query("begin");
                    client.query(&format!("select pg_sleep({sleep})"));
                    let after = client.query("select 1").code();
                    assert!(
                        matches!(after.as_deref(), None | Some("25P02")),
                        "{after:?}"
                    );
                    client.query("rollback");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|c| c.join().unwrap());
    weir.assert_quiet();
}

/// Answers of such sizes end where the client's buffers are about full.
fn sizes() -> impl Iterator<Item = usize> {
    (1..=48).map(|n| n * 12 * 1024)
}

/// Who has taken his answer late is no slow reader ever after.
#[test]
fn an_answer_taken_late_is_forgotten() {
    let pg = Postgres::start();
    let general = "default_pool_size = 50\nquery_timeout = '700ms'\ntcp_socket_buffer = 65536";
    let weir = Pgweir::start(pg.port, general);
    let clients: Vec<_> = sizes()
        .map(|size| {
            let mut client = weir.client();
            thread::spawn(move || {
                client.query("begin");
                let wide = query(&format!("select repeat('x', {size})"));
                client.send(&wide).unwrap();
                thread::sleep(Duration::from_millis(200));
                let wide = client.answer();
                assert_eq!(wide.tags(), "TDCZ", "{size}");
                let late = client.query("select pg_sleep(3)");
                assert_eq!(
                    late.code().as_deref(),
                    Some("57014"),
                    "{size} {}",
                    late.tags()
                );
            })
        })
        .collect();
    let bad = clients.into_iter().filter_map(|c| c.join().err()).count();
    assert_eq!(bad, 0, "{}", weir.log());
    weir.assert_quiet();
}

/// What has been answered goes out before anybody is told to go.
#[test]
fn a_shutdown_cuts_off_no_answer() {
    let pg = Postgres::start();
    let general = "default_pool_size = 50\nshutdown_timeout = 10\ntcp_socket_buffer = 65536";
    let mut weir = Pgweir::start(pg.port, general);
    let mut clients: Vec<_> = sizes().map(|size| (size, weir.client())).collect();
    for (size, client) in &mut clients {
        let wide = query(&format!("select repeat('x', {size})"));
        client.send(&wide).unwrap();
    }
    thread::sleep(Duration::from_millis(300));
    kill("-INT", weir.child.id());
    thread::sleep(Duration::from_millis(300));
    for (size, client) in &mut clients {
        let answer = client.answer();
        assert_eq!(answer.value().len(), *size);
        // Who still has not taken the rest may miss the last word.
        let last = client.answer().code();
        assert!(matches!(last.as_deref(), None | Some("57P01")), "{size}");
    }
    assert!(weir.child.wait().unwrap().success());
}

/// A group without its Sync is told, too, behind one that is complete.
#[test]
fn a_lost_server_is_told_for_each_group() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let mut client = weir.client();
    let one = [
        parse("", "select pg_sleep(20)"),
        bind(""),
        execute(),
        sync(),
    ]
    .concat();
    let open = [parse("", "select 2"), bind(""), execute()].concat();
    client.send(&[one, open].concat()).unwrap();
    thread::sleep(Duration::from_millis(300));
    let mut killer = pg.client();
    killer.query("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(20)' and pid <> pg_backend_pid()");
    let first = client.answer();
    assert!(first.code().is_some(), "{}", first.tags());
    client.send(&sync()).unwrap();
    let second = client.answer();
    assert!(second.code().is_some(), "{}", second.tags());
    assert_eq!(client.query("select 3").value(), "3");
}

/// Who sends a request slowly, or without its end, is not idle.
#[test]
fn a_request_that_is_not_complete_is_no_idleness() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "query_timeout = '500ms'\ndefault_pool_size = 1");
    // It has sent what the server has answered, and no Sync.
    let mut client = weir.client();
    let flush = message(b'H', b"");
    client
        .send(&[parse("", "select 1"), flush].concat())
        .unwrap();
    thread::sleep(Duration::from_millis(1200));
    client.send(&sync()).unwrap();
    assert_eq!(client.answer().code().as_deref(), Some("57014"));
    assert_eq!(client.query("select 2").value(), "2");
    // Half of a long one.
    let long = query(&format!("select length('{}')", "x".repeat(200_000)));
    client.send(&long[..100_000]).unwrap();
    thread::sleep(Duration::from_millis(1200));
    client.send(&long[100_000..]).unwrap();
    assert_eq!(client.answer().value(), "200000");
    weir.assert_quiet();
}

/// Runs without a Sync: its transaction is not over, and who goes then has not committed it.
#[test]
fn what_was_not_followed_by_a_sync_is_not_committed() {
    let pg = Postgres::start();
    let general = "default_pool_size = 1\ntransaction_timeout = '500ms'";
    let weir = Pgweir::start(pg.port, general);
    let mut admin = pg.client();
    admin.query("create table t (n int)");
    let group = [parse("", "insert into t values (1)"), bind(""), execute()].concat();
    let whole = [parse("", "select 1"), bind(""), execute(), sync()].concat();
    let flush = message(b'H', b"");
    let cases = [
        ("alone", group.clone()),
        ("behind another one", [whole, group.clone()].concat()),
        ("answered", [group, flush].concat()),
    ];
    for stays in [false, true] {
        for (case, messages) in &cases {
            let mut client = weir.client();
            client.send(messages).unwrap();
            thread::sleep(Duration::from_millis(200));
            if stays {
                // Its time is over.
                thread::sleep(Duration::from_millis(600));
                client.send(&sync()).unwrap();
            } else {
                drop(client);
            }
            // Another client's transaction is its own, whatever it does in it.
            let mut next = weir.client();
            assert_eq!(next.query("select 1").code(), None);
            next.query("begin");
            next.query("rollback");
            let there = admin.query("select count(*) from t").value();
            assert_eq!(there, "0", "{case}, stays: {stays}");
        }
    }
}

/// The server undoes it with the transaction, and so must what is believed of the connection.
#[test]
fn a_setting_in_a_transaction_that_is_cut_off_is_not_believed() {
    let pg = Postgres::start();
    let general = "default_pool_size = 1\nidle_transaction_timeout = '100ms'";
    let weir = Pgweir::start(pg.port, general);
    pg.client().query("create role plain; create schema s1");
    for (set, show, expected) in [
        ("set search_path = s1", "show search_path", "s1"),
        ("set role plain", "select current_user", "plain"),
    ] {
        for stays in [false, true] {
            let mut other = weir.client();
            other.query(set);
            let mut client = weir.client();
            client.query("begin");
            client.query(set);
            if stays {
                thread::sleep(Duration::from_millis(300));
            } else {
                drop(client);
            }
            assert_eq!(other.query(show).value(), expected, "stays: {stays}");
        }
    }
}
