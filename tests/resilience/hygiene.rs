//! Clients that do not read, and peers that are gone: each is cleaned up in a stated time.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::crowd::{Crowd, at_rest, memory};
use crate::support::operate::until;
use crate::support::proxy::{Fate, Proxy, Way};
use crate::support::*;

const LARGE: &str = "select repeat('x', 1000) from generate_series(1, 200000)";

/// A dozen clients ask for much and read nothing: the others are served, and the memory comes back.
#[test]
fn slow_readers_are_cut_off_and_cost_no_memory() {
    let pg = Postgres::start();
    let lines = "default_pool_size = 4\nclient_write_timeout = 1\nquery_wait_timeout = 60";
    let weir = Pgweir::start(pg.port, lines);
    // What the first ones need stays with the allocator.
    slow_readers(&weir, 12);
    let before = memory(&weir);
    slow_readers(&weir, 24);
    at_rest(&weir, &pg);
    let grown = memory(&weir).saturating_sub(before);
    // Each of their answers has 200 MB. What the allocator keeps goes up and down by 20 on a busy machine.
    assert!(grown < 64 << 20, "{grown} bytes more");
}

/// Twelve, until so many in all have been cut off.
fn slow_readers(weir: &Pgweir, in_all: usize) {
    let mut slow: Vec<Wire> = (0..12).map(|_| weir.client()).collect();
    for wire in &mut slow {
        wire.send(&query(LARGE)).unwrap();
    }
    let crowd = Crowd::gather(weir.port, 4);
    until("all are cut off", || {
        weir.log().matches("client_write_timeout").count() == in_all
    });
    crowd.all_are_served();
    crowd.leave().only(&[]);
}

/// Without client_write_timeout the kernel gives up a client whose window stays shut.
#[test]
fn tcp_user_timeout_ends_a_client_that_takes_nothing() {
    let pg = Postgres::start();
    let lines = "default_pool_size = 1\nclient_write_timeout = 0\ntcp_user_timeout = 1";
    let weir = Pgweir::start(pg.port, lines);
    let proxy = Proxy::start(weir.port);
    let mut gone = Wire::connect(proxy.port, "postgres", "postgres");
    gone.send(&query(LARGE)).unwrap();
    proxy.set(Way::Back, Fate::Stalled);
    let mut next = weir.client();
    let began = Instant::now();
    assert_eq!(next.query("select 1").value(), "1");
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    drop((next, gone, proxy));
    at_rest(&weir, &pg);
}

/// The same for a server that takes nothing: who sends to it is told.
#[test]
fn tcp_user_timeout_ends_a_server_that_takes_nothing() {
    let pg = Postgres::start();
    let proxy = Proxy::start(pg.port);
    let weir = Pgweir::start(proxy.port, "default_pool_size = 1\ntcp_user_timeout = 1");
    let mut wire = weir.client();
    wire.query("create table t (x text)");
    wire.send(&query("copy t from stdin")).unwrap();
    assert_eq!(wire.read_message().unwrap().tag, b'G');
    proxy.set(Way::There, Fate::Stalled);
    let row = message(b'd', &[&[b'x'; 60_000][..], b"\n"].concat());
    // More than all buffers on the way take.
    let mut sender = Wire {
        stream: wire.stream.try_clone().unwrap(),
        key: None,
        port: wire.port,
    };
    let sending = thread::spawn(move || {
        for _ in 0..500 {
            if sender.send(&row).is_err() {
                return;
            }
        }
        let _ = sender.send(&message(b'c', b""));
    });
    let began = Instant::now();
    let answer = wire.answer();
    assert_eq!(
        answer.code().as_deref(),
        Some("08006"),
        "{:?}",
        answer.tags()
    );
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    drop(wire);
    sending.join().unwrap();
    proxy.heal();
    drop(proxy);
    weir.assert_quiet();
}

/// A client that does not even read its greeting is off the list when its time to log in is over.
#[test]
fn a_greeting_that_nobody_reads_leaves_nobody_on_the_list() {
    let pg = Postgres::start();
    let long = "x".repeat(8 << 20);
    let lines = format!("client_login_timeout = 1\nlogin_notify_message = \"{long}\"");
    let weir = Pgweir::start(pg.port, &lines);
    let wires: Vec<Wire> = (0..5)
        .map(|_| {
            let mut wire = Wire::raw(weir.port).unwrap();
            let pairs = [("user", "postgres"), ("database", "postgres")];
            wire.send(&startup(3 << 16, &pairs)).unwrap();
            wire
        })
        .collect();
    let listed = || {
        let clients = weir.show("CLIENTS");
        let clients = clients.iter().filter(|c| c["database"] == "postgres");
        clients.count()
    };
    until("they are on the list", || listed() == 5);
    until("they are off the list", || listed() == 0);
    drop(wires);
    at_rest(&weir, &pg);
}

/// A client that goes without a word in the middle of something leaves nothing of it to the next one, who
/// gets the same server connection or another.
#[test]
fn the_next_client_finds_nothing_of_one_that_went_in_the_middle() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    weir.client().query("create table t (x text)");
    let half = |message: Vec<u8>| message[..message.len() / 2].to_vec();
    let row = message(b'd', &[b'x'; 1_000_000]);
    let copy = query("copy t from stdin");
    // Unnamed; one parameter of a million bytes, as text.
    let length = 1_000_000u32.to_be_bytes();
    let value = [b'x'; 1_000_000];
    let head = b"\0\0\0\0\0\x01".as_slice();
    let bind = message(b'B', &[head, &length, &value, b"\0\0"].concat());
    let insert = parse("", "insert into t values ($1)");
    let lives: [&[Vec<u8>]; 6] = [
        &[query("begin")],
        &[query("begin"), query("insert into t values ('left')")],
        &[query("begin; select broken")],
        &[query("select pg_sleep(20)")],
        &[copy, half(row)],
        &[[insert, half(bind)].concat()],
    ];
    for (n, life) in lives.into_iter().enumerate() {
        let mut gone = weir.client();
        let (last, before) = life.split_last().unwrap();
        for request in before {
            gone.send(request).unwrap();
            // ReadyForQuery, or CopyInResponse.
            while !matches!(gone.read_message().unwrap().tag, b'Z' | b'G') {}
        }
        gone.send(last).unwrap();
        // It is under way, or even over.
        thread::sleep(Duration::from_millis(100));
        drop(gone);
        let mut next = weir.client();
        let began = Instant::now();
        let answer = next.query("select count(*) from t");
        assert_eq!(answer.status(), Some('I'), "{n}: {answer:?}");
        assert_eq!(answer.value(), "0", "{n}");
        // What cannot be made clean is not waited for.
        assert!(began.elapsed() < Duration::from_secs(5), "{n}");
    }
    at_rest(&weir, &pg);
}

/// Idle connections beyond a limit that was lowered are closed, though nobody asks for one.
#[test]
fn a_pool_that_is_made_smaller_shrinks() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 6");
    let mut wires: Vec<Wire> = (0..6).map(|_| weir.client()).collect();
    for wire in &mut wires {
        wire.query("begin");
    }
    for wire in &mut wires[..4] {
        wire.query("commit");
    }
    assert_eq!(weir.show("SERVERS").len(), 6);
    weir.rewrite(pg.port, "default_pool_size = 3");
    weir.reload("configuration reloaded");
    // Two are in a transaction and stay.
    until("it has shrunk", || weir.show("SERVERS").len() == 3);
    for wire in &mut wires {
        assert_eq!(wire.query("commit").status(), Some('I'));
        assert_eq!(wire.query("select 1").value(), "1");
    }
    assert!(weir.show("SERVERS").len() <= 3);
    drop(wires);
    at_rest(&weir, &pg);
}

/// One client's part in what `SHOW REFUSALS` says.
fn refused_for_memory(weir: &Pgweir) -> String {
    let mut rows = weir.show("REFUSALS").into_iter();
    let row = rows.find(|row| row["reason"] == "memory");
    row.expect("a row for each reason")["count"].clone()
}

/// Statements, settings, a long message: who has too many, or sends too much, is told and closed. What it had is
/// given back, and nobody else notices.
#[test]
fn what_a_client_has_kept_for_it_is_bounded() {
    let pg = Postgres::start();
    let lines = "default_pool_size = 2\nmax_client_memory = '1MB'\nmax_clients_memory = '3MB'";
    let weir = Pgweir::start(pg.port, lines);
    let crowd = Crowd::gather(weir.port, 2);
    let long = |n: usize| format!("select {n} /* {} */", "x".repeat(30_000));
    let prepare = |client: &mut Wire, n: usize| {
        let mut request = parse(&format!("s{n}"), &long(n));
        request.extend(sync());
        client.send(&request).unwrap();
        client.answer()
    };
    let most = |client: &mut Wire| {
        (0..1000)
            .find(|n| prepare(client, *n).code().is_some())
            .expect("an end")
    };
    // Others have the same ones: each client is told of its own.
    for _ in 0..2 {
        let mut hoarder = weir.client();
        assert!((25..35).contains(&most(&mut hoarder)));
        assert!(hoarder.read_message().is_err(), "closed");
    }
    // Closing them makes room.
    let mut tidy = weir.client();
    for n in 0..100 {
        assert_eq!(prepare(&mut tidy, n).code(), None, "{n}");
        let mut request = message(b'C', format!("Ss{n}\0").as_bytes());
        request.extend(sync());
        tidy.send(&request).unwrap();
        assert_eq!(tidy.answer().code(), None);
    }
    let mut setter = weir.client();
    let refused = (0..1000).find_map(|n| {
        setter
            .query(&format!("set a.b{n} = '{}'", "x".repeat(10_000)))
            .code()
    });
    assert_eq!(refused.as_deref(), Some("53200"));
    // Before it has all come.
    let mut talker = weir.client();
    let whole = parse("", &"x".repeat(2 << 20));
    talker.send(&whole[..64 << 10]).unwrap();
    let told = talker.answer();
    assert_eq!(told.code().as_deref(), Some("53200"), "{told:?}");
    assert_eq!(refused_for_memory(&weir), "4");
    crowd.all_are_served();
    crowd.leave().only(&[]);
    drop(tidy);
    at_rest(&weir, &pg);
}

/// None has too much, but all together have: who asks for more is told, and when others leave there is room.
#[test]
fn what_all_clients_have_kept_for_them_is_bounded() {
    let pg = Postgres::start();
    let lines = "default_pool_size = 2\nmax_clients_memory = '1MB'";
    let weir = Pgweir::start(pg.port, lines);
    let mut shared: Vec<Wire> = (0..20).map(|_| weir.client()).collect();
    let prepare = |client: &mut Wire, n: usize| {
        let text = format!("select {n} /* {} */", "x".repeat(100_000));
        let mut request = parse(&format!("s{n}"), &text);
        request.extend(sync());
        client.send(&request).unwrap();
        client.answer()
    };
    // The same statement counts once: 2 MB if it did not.
    for client in &mut shared {
        assert_eq!(prepare(client, 0).code(), None);
    }
    let mut hoarder = weir.client();
    for n in 1..6 {
        assert_eq!(prepare(&mut hoarder, n).code(), None, "{n}");
    }
    let mut next = weir.client();
    let refused = (6..20).find_map(|n| prepare(&mut next, n).code().map(|code| (n, code)));
    let (n, code) = refused.expect("an end");
    assert!((9..12).contains(&n), "{n}");
    assert_eq!(code, "53200");
    // Queries need nothing kept.
    assert_eq!(shared[1].query("select 1").value(), "1");
    // Closing it has made room.
    for n in 6..9 {
        assert_eq!(prepare(&mut hoarder, n).code(), None, "{n}");
    }
    drop((hoarder, shared));
    at_rest(&weir, &pg);
}
