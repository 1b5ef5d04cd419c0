//! LISTEN by the pool's listening connection, when things go wrong or there is much to do.

use std::time::{Duration, Instant};

use super::listen::*;
use crate::support::operate::*;
use crate::support::proxy::{Fate, Proxy, Way};
use crate::support::*;

/// The listening connection's server process.
const LISTENER: &str = "select pid from pg_stat_activity where query ilike 'listen%' \
                        or query = 'SELECT 1' limit 1";

#[test]
fn a_slow_reader_is_ended() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 2\nlisten_queue_size = '64kB'");
    let (mut slow, mut busy, mut quick) = (weir.client(), weir.client(), weir.client());
    for client in [&mut slow, &mut busy, &mut quick] {
        ok(client, "listen flood");
    }
    busy.query("begin");
    let flood = "select count(pg_notify('flood', repeat('x', 7000) || n)) \
                 from generate_series(1, 2000) n";
    let reader = std::thread::spawn(move || {
        for n in 1..=2000 {
            let (_, payload) = notification(&mut quick);
            assert_eq!(payload.trim_start_matches('x'), n.to_string());
        }
        quick
    });
    let mut direct = pg.client();
    direct.query(flood);
    let mut quick = match reader.join() {
        Ok(quick) => quick,
        Err(_) => panic!("{}", weir.log()),
    };
    assert_eq!(quick.query("select 1").value(), "1");
    // The one that is in a transaction is told at its end.
    assert_eq!(busy.query("select 1").value(), "1");
    busy.send(&query("commit")).unwrap();
    let words = busy.answer();
    assert_eq!(words.tags(), "CZ");
    let words = Answer(last_words(&mut busy));
    assert_eq!(words.code().as_deref(), Some("53400"), "{words:?}");
    assert!(error_text(&words).contains("listen_queue_size"));
    until("the other is gone", || {
        channels(&weir) == [pair("flood", "1")]
    });
    drop(slow);
    weir.assert_quiet();
}

#[test]
fn the_loss_of_the_listening_connection_is_told() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 2");
    let mut direct = pg.client();
    let (mut idle, mut busy, mut other) = (weir.client(), weir.client(), weir.client());
    ok(&mut idle, "listen a");
    ok(&mut busy, "listen a");
    busy.query("begin");
    let pid = direct.query(LISTENER).value();
    direct.query(&format!("select pg_terminate_backend({pid})"));
    let words = Answer(last_words(&mut idle));
    assert_eq!(words.code().as_deref(), Some("57P01"), "{words:?}");
    assert!(error_text(&words).contains("may have been missed"));
    assert_eq!(busy.query("select 1").value(), "1", "not inside");
    assert_eq!(busy.query("commit").tags(), "CZ");
    let words = Answer(last_words(&mut busy));
    assert_eq!(words.code().as_deref(), Some("57P01"), "{words:?}");
    // Others go on, and a new connection is made when it is wanted.
    assert_eq!(other.query("select 2").value(), "2");
    ok(&mut other, "listen a");
    direct.query("notify a, 'again'");
    assert_eq!(notification(&mut other), pair("a", "again"));
    weir.assert_quiet();
}

#[test]
fn a_silent_listening_connection_is_noticed() {
    let pg = Postgres::start();
    let proxy = Proxy::start(pg.port);
    let weir = Pgweir::start(
        proxy.port,
        "server_check_delay = '1s'\nserver_connect_timeout = '2s'",
    );
    let mut client = weir.client();
    ok(&mut client, "listen a");
    // It is silent for long without harm.
    std::thread::sleep(Duration::from_secs(4));
    silent(&mut client);
    proxy.set(Way::Back, Fate::Lost);
    let words = Answer(last_words(&mut client));
    assert_eq!(words.code().as_deref(), Some("57P01"), "{words:?}");
}

#[test]
fn without_a_listening_connection_the_client_is_told_and_stays() {
    let pg = Postgres::start();
    let proxy = Proxy::start(pg.port);
    let weir = Pgweir::start(
        proxy.port,
        "server_login_retry = '1s'\nquery_timeout = '5s'",
    );
    let mut client = weir.client();
    assert_eq!(client.query("select 1").value(), "1");
    proxy.refuse();
    for request in [query("listen a"), extended("", "listen a")] {
        client.send(&request).unwrap();
        let answer = client.answer();
        assert_eq!(answer.code().as_deref(), Some("08006"), "{answer:?}");
        assert_eq!(answer.status(), Some('I'));
        assert!(channels(&weir).is_empty());
    }
    assert_eq!(client.query("select 1").value(), "1", "it stays");
    proxy.heal();
    ok(&mut client, "listen a");
    pg.client().query("notify a, 'now'");
    assert_eq!(notification(&mut client), pair("a", "now"));
}

#[test]
fn a_listen_that_is_given_up_leaves_nothing() {
    let pg = Postgres::start();
    let proxy = Proxy::start(pg.port);
    let weir = Pgweir::start(proxy.port, "query_timeout = '2s'");
    let (mut keeper, mut client, mut gone) = (weir.client(), weir.client(), weir.client());
    ok(&mut keeper, "listen kept");
    ok(&mut client, "listen mine");
    proxy.set(Way::Back, Fate::Late(Duration::from_millis(1500)));
    client.send(&query("listen a")).unwrap();
    until("it asks", || channels(&weir).len() == 3);
    client.cancel();
    let answer = client.answer();
    assert_eq!(answer.code().as_deref(), Some("57014"), "{answer:?}");
    assert_eq!(channels(&weir).len(), 2);
    gone.send(&query("listen b")).unwrap();
    until("it asks", || channels(&weir).len() == 3);
    drop(gone);
    until("it is gone", || channels(&weir).len() == 2);
    // The name that it had before stays.
    client.send(&query("listen mine")).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    client.cancel();
    assert_eq!(client.answer().code().as_deref(), Some("57014"));
    proxy.set(Way::Back, Fate::Late(Duration::from_secs(4)));
    client.send(&extended("", "listen c")).unwrap();
    let answer = client.answer();
    assert_eq!(answer.code().as_deref(), Some("57014"), "query_timeout");
    assert_eq!(answer.status(), Some('I'));
    proxy.heal();
    let mut direct = pg.client();
    direct.wait_for(
        "select count(*) from pg_stat_activity where query = 'UNLISTEN \"c\"'",
        "1",
    );
    for channel in ["a", "b", "c", "kept", "mine"] {
        direct.query(&format!("notify {channel}, 'x'"));
    }
    assert_eq!(notification(&mut keeper), pair("kept", "x"));
    assert_eq!(notification(&mut client), pair("mine", "x"));
    assert_eq!(client.query("select 1").tags(), "TDCZ");
}

#[test]
fn the_listening_connection_ends_when_nobody_needs_it() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "server_idle_timeout = '1s'");
    let mut client = weir.client();
    let mut direct = pg.client();
    ok(&mut client, "listen a");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(direct.query(OURS).value(), "1", "it is needed");
    ok(&mut client, "unlisten a");
    direct.wait_for(OURS, "0");
    ok(&mut client, "listen a");
    direct.query("notify a, 'x'");
    assert_eq!(notification(&mut client), pair("a", "x"));
    // An operator's KILL closes it with everything else.
    drop(weir);
    let weir = Pgweir::start(pg.port, "");
    let mut client = weir.client();
    ok(&mut client, "listen a");
    weir.console().query("KILL postgres");
    direct.wait_for(OURS, "0");
    assert_eq!(
        Answer(last_words(&mut client)).code().as_deref(),
        Some("57P01")
    );
}

#[test]
fn what_listened_is_not_given_to_the_next() {
    let pg = Postgres::start();
    let weir = Pgweir::start(
        pg.port,
        "default_pool_size = 1\nidle_transaction_timeout = '300ms'",
    );
    let mut client = weir.client();
    client.query("begin; listen a; commit");
    client.query("begin");
    let words = Answer(last_words(&mut client));
    assert_eq!(words.code().as_deref(), Some("57P01"), "{words:?}");
    let mut next = weir.client();
    let count = "select count(*) from pg_listening_channels()";
    assert_eq!(next.query(count).value(), "0");
    weir.assert_quiet();
}

#[test]
fn ten_thousand_notifications_come_in_order_under_load() {
    const COUNT: usize = 10_000;
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 3");
    let sender = {
        let mut wire = weir.client();
        move || {
            for n in 0..COUNT / 10 {
                let first = n * 10;
                let answer = wire.query(&format!(
                    "select pg_notify('load', g::text) from generate_series({first}, {first} + 9) g"
                ));
                assert_eq!(answer.status(), Some('I'));
            }
        }
    };
    let listeners = (0..8).map(|n| {
        let mut wire = weir.client();
        ok(&mut wire, "listen load");
        std::thread::spawn(move || listen_under_load(wire, n, COUNT))
    });
    let listeners: Vec<_> = listeners.collect();
    let sender = std::thread::spawn(sender);
    sender.join().unwrap();
    for listener in listeners {
        listener.join().unwrap();
    }
    until("nobody listens", || weir.show("CHANNELS").is_empty());
    weir.assert_quiet();
}

/// Half of them ask for something all the time.
fn listen_under_load(mut wire: Wire, n: usize, count: usize) {
    let began = Instant::now();
    let (mut next, mut owed, mut in_block) = (0, 0, false);
    while next < count {
        assert!(began.elapsed() < Duration::from_secs(60), "{next}");
        if n.is_multiple_of(2) && owed == 0 {
            let sql = match in_block {
                _ if n == 0 => "select 1",
                false => "begin; select 1",
                true => "commit",
            };
            wire.send(&query(sql)).unwrap();
            owed = 1;
        }
        let message = wire.read_message().unwrap();
        match message.tag {
            b'A' => {
                assert!(!in_block, "not inside a transaction");
                assert_eq!(told(&message), pair("load", &next.to_string()));
                next += 1;
            }
            b'Z' => {
                owed = 0;
                in_block = message.body == b"T";
            }
            b'T' | b'D' | b'C' => {}
            _ => panic!("{message:?}"),
        }
    }
    while owed > 0 {
        owed -= usize::from(wire.read_message().unwrap().tag == b'Z');
    }
}
