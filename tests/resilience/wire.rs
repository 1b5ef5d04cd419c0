//! A network that fails, on the side of the server and on that of the clients.

use std::io::Read;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use crate::rounds;
use crate::support::crowd::{Crowd, at_rest, memory};
use crate::support::operate::until;
use crate::support::proxy::{Fate, Proxy, Way};
use crate::support::*;

/// Slow, byte by byte, or both: nobody notices more than the time.
#[test]
fn a_slow_network_is_only_slow() {
    let pg = Postgres::start();
    let servers = Proxy::start(pg.port);
    let weir = Pgweir::start(servers.port, "default_pool_size = 4");
    let clients = Proxy::start(weir.port);
    let crowd = Crowd::gather(clients.port, 8);
    for proxy in [&servers, &clients] {
        for way in [Way::There, Way::Back] {
            for fate in [
                Fate::Late(Duration::from_millis(20)),
                Fate::Drip(Duration::from_micros(50)),
            ] {
                proxy.set(way, fate);
                // Over it connections are made, too: a client's, and those to the server.
                assert_eq!(weir.console().query("RECONNECT").tags(), "CZ");
                let mut new = Wire::connect(clients.port, "postgres", "postgres");
                assert_eq!(new.query("select 7").value(), "7");
                crowd.all_are_served();
                proxy.heal();
            }
        }
    }
    crowd.leave().only(&[]);
    at_rest(&weir, &pg);
}

/// More than the buffers on the way take: it is written in parts, and comes in parts.
#[test]
fn what_is_large_comes_whole_over_a_slow_network() {
    let pg = Postgres::start();
    let servers = Proxy::start(pg.port);
    let lines = "default_pool_size = 1\ntcp_socket_buffer = 65536";
    let weir = Pgweir::start(servers.port, lines);
    let clients = Proxy::start(weir.port);
    let mut wire = Wire::connect(clients.port, "postgres", "postgres");
    let text: String = (0..100_000).map(|n| n.to_string()).collect();
    for proxy in [&servers, &clients] {
        for way in [Way::There, Way::Back] {
            proxy.set(way, Fate::Late(Duration::from_millis(1)));
        }
        // There and back.
        let echo = wire.query(&format!("select '{text}'"));
        assert!(echo.value() == text, "{}", echo.tags());
        let many = "select repeat('x', n % 100) || n from generate_series(1, 10000) n";
        let rows = wire.query(many).rows();
        assert_eq!(rows.len(), 10_000);
        for (row, n) in rows.iter().zip(1..) {
            assert_eq!(row[0], "x".repeat(n % 100) + &n.to_string());
        }
        proxy.heal();
    }
    drop(wire);
    at_rest(&weir, &pg);
}

/// All connections to the server are reset, again and again.
#[test]
fn resets_towards_the_server_cost_one_error_each() {
    let pg = Postgres::start();
    let proxy = Proxy::start(pg.port);
    let weir = Pgweir::start(proxy.port, "default_pool_size = 4");
    let crowd = Crowd::gather(weir.port, 12);
    for _ in 0..20 * rounds() {
        proxy.reset_all();
        thread::sleep(Duration::from_millis(100));
    }
    crowd.all_are_served();
    let seen = crowd.leave();
    seen.only(&["08006"]);
    let errors: u64 = seen.errors.values().sum();
    assert!(errors <= 80 * u64::from(rounds()), "{seen:?}");
    at_rest(&weir, &pg);
}

/// Answers that never come, while nobody says that the connection is dead.
#[test]
fn a_half_open_server_connection_is_given_up_in_time() {
    let pg = Postgres::start();
    let proxy = Proxy::start(pg.port);
    let lines = "default_pool_size = 4\nquery_timeout = 1\ncancel_wait_timeout = 1\n\
                 query_wait_timeout = 2\nserver_connect_timeout = 1\nserver_login_retry = 1";
    let weir = Pgweir::start(proxy.port, lines);
    for (way, fate) in [(Way::Back, Fate::Lost), (Way::There, Fate::Stalled)] {
        let crowd = Crowd::gather(weir.port, 8);
        proxy.set(way, fate);
        thread::sleep(Duration::from_millis(2500));
        proxy.heal();
        // What was lost does not come again: those connections stay dead until they are given up.
        crowd.all_are_served();
        let seen = crowd.leave();
        seen.only(&["57014", "53300", "08006"]);
        assert!(
            seen.errors.contains_key("57014"),
            "{way:?} {fate:?}: {seen:?}"
        );
        assert!(
            seen.longest < Duration::from_secs(6),
            "{way:?} {fate:?}: {seen:?}"
        );
    }
    // The server has sessions of the lost connections until it notices.
    proxy.reset_all();
    at_rest(&weir, &pg);
}

/// An answer that ends at any of its bytes: the client gets an error or an end, never half an answer
/// for a whole one.
#[test]
fn an_answer_may_end_at_any_byte() {
    let pg = Postgres::start();
    let proxy = Proxy::start(pg.port);
    let weir = Pgweir::start(proxy.port, "default_pool_size = 1");
    let mut wire = weir.client();
    let answer = wire.query("select 'some text', 7");
    let length = answer
        .0
        .iter()
        .map(|m| m.body.len() as u64 + 5)
        .sum::<u64>();
    let login = login_length(&weir, &proxy, &mut wire);
    let mut told = 0;
    for cut in 0..=length {
        for fate in [Fate::Cut(login + cut), Fate::Reset(login + cut)] {
            proxy.reset_all();
            proxy.set(Way::Back, fate);
            let answer = wire.query("select 'some text', 7");
            match (answer.status(), answer.code().as_deref()) {
                (Some('I'), None) => {
                    assert_eq!(cut, length, "{answer:?}");
                    assert_eq!(answer.rows(), [["some text", "7"]]);
                }
                (Some('I'), Some("08006")) => told += 1,
                // In the middle of a message nothing can be said any more.
                (None, None) => wire = weir.client_while(&proxy),
                other => panic!("at {cut}: {other:?} {answer:?}"),
            }
        }
    }
    assert!(told > 10, "{told}");
    proxy.heal();
    assert_eq!(wire.query("select 1").value(), "1");
    drop(wire);
    at_rest(&weir, &pg);
}

/// A message too large to be kept until it is whole ends in its middle: what is left out cannot be made up
/// for, and an error put in its place would be taken for a part of it.
#[test]
fn a_message_that_ends_in_its_middle_ends_the_connection() {
    const LENGTH: usize = 1_000_000;
    let pg = Postgres::start();
    let proxy = Proxy::start(pg.port);
    let weir = Pgweir::start(proxy.port, "default_pool_size = 1");
    for reset in [false, true] {
        proxy.heal();
        weir.console().query("RECONNECT");
        let mut wire = weir.client();
        let limit = LENGTH as u64 / 2;
        let fate = if reset {
            Fate::Reset(limit)
        } else {
            Fate::Cut(limit)
        };
        proxy.set(Way::Back, fate);
        let request = query(&format!("select repeat('x', {LENGTH})"));
        wire.send(&request).unwrap();
        assert_eq!(wire.read_message().unwrap().tag, b'T');
        let mut rest = Vec::new();
        // An end or a reset, after what has come so far.
        let _ = wire.stream.read_to_end(&mut rest);
        // Type, length, number of columns, length of the value.
        let (head, value) = rest.split_at(5 + 2 + 4);
        assert_eq!(head[0], b'D');
        assert!(value.len() < LENGTH, "it was not cut");
        let others = value.iter().position(|byte| *byte != b'x');
        assert_eq!(others, None, "something else in the middle of a row");
    }
    proxy.heal();
    let mut wire = weir.client();
    assert_eq!(wire.query("select 1").value(), "1");
    drop(wire);
    at_rest(&weir, &pg);
}

/// How many bytes the server sends before a query's answer.
fn login_length(weir: &Pgweir, proxy: &Proxy, wire: &mut Wire) -> u64 {
    // The smallest at which an empty query is answered; it needs so many bytes itself.
    const EMPTY: u64 = 5 + 6;
    let (mut low, mut high) = (0, 4096);
    while low + 1 < high {
        let middle = (low + high) / 2;
        proxy.heal();
        until("it is healthy", || wire.query("").code().is_none());
        weir.console().query("RECONNECT");
        proxy.set(Way::Back, Fate::Cut(middle));
        let answer = wire.query("");
        if answer.status().is_none() {
            *wire = weir.client_while(proxy);
        }
        match answer.tags() == "IZ" {
            true => high = middle,
            false => low = middle,
        }
    }
    proxy.heal();
    until("it is healthy", || wire.query("").code().is_none());
    high - EMPTY
}

impl Pgweir {
    /// A new client needs to hear of the server what it reports; that is known.
    fn client_while(&self, proxy: &Proxy) -> Wire {
        proxy.heal();
        self.client()
    }
}

/// A login at the server that ends at any of its bytes is one that failed.
#[test]
fn a_login_at_the_server_may_end_at_any_byte() {
    let pg = Postgres::start();
    let proxy = Proxy::start(pg.port);
    let weir = Pgweir::start(proxy.port, "default_pool_size = 1\nserver_login_retry = 0");
    let mut wire = weir.client();
    let login = login_length(&weir, &proxy, &mut wire);
    assert!(login > 100);
    // All of them, if there is time; always the first ones and the last.
    let step = if rounds() > 1 { 1 } else { 23 };
    let cuts = (0..8)
        .chain((8..login).step_by(step))
        .chain(login - 6..login);
    for cut in cuts {
        weir.console().query("RECONNECT");
        proxy.set(Way::Back, Fate::Cut(cut));
        let answer = wire.query("select 1");
        assert_eq!(
            answer.code().as_deref(),
            Some("08006"),
            "at {cut}: {answer:?}"
        );
        assert_eq!(answer.status(), Some('I'));
        proxy.heal();
        until("the server is there again", || {
            wire.query("select 1").code().is_none()
        });
    }
    drop(wire);
    at_rest(&weir, &pg);
}

/// Clients whose first packets end at any byte, by an end or by a reset.
#[test]
fn a_clients_login_may_end_at_any_byte() {
    let pg = Postgres::start();
    // Fewer than there are going to be.
    let weir = Pgweir::start(pg.port, "max_client_conn = 20");
    weir.client();
    let pairs = [("user", "postgres"), ("database", "postgres")];
    let packet = [startup(3 << 16, &pairs), query("select 1")].concat();
    for length in 0..=packet.len() {
        for resets in [false, true] {
            let mut wire = Wire::raw(weir.port).unwrap();
            wire.send(&packet[..length]).unwrap();
            if resets {
                let socket = socket2::SockRef::from(&wire.stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                continue;
            }
            wire.stream.shutdown(Shutdown::Write).unwrap();
            // All that it says, up to the end.
            while wire.read_message().is_ok() {}
        }
    }
    assert_eq!(weir.client().query("select 1").value(), "1");
    at_rest(&weir, &pg);
}

/// Clients that are cut off at their login while it waits: for a connection to the server, or for an answer on
/// one. When the time of the login is over, all that it had is there for others.
#[test]
fn a_login_that_is_cut_off_while_it_waits_gives_everything_back() {
    const CLIENTS: usize = 3;
    let pg = Postgres::start();
    let servers = Proxy::start(pg.port);
    let lines = "client_login_timeout = 1\nquery_wait_timeout = 10\nmax_client_conn = 3\n\
                 default_pool_size = 1\nmax_queue = 3";
    let weir = Pgweir::start(servers.port, lines);
    // The server must be asked what comes of this.
    let pairs = [
        ("user", "postgres"),
        ("database", "postgres"),
        ("DateStyle", "German"),
    ];
    // Columns of SHOW POOLS: cl_waiting and sv_tested.
    let busy = || weir.pool(3) + weir.pool(11);
    for has_connection in [false, true] {
        servers.set(Way::Back, Fate::Stalled);
        let cut_off: Vec<Wire> = (0..CLIENTS)
            .map(|_| {
                let mut wire = Wire::raw(weir.port).unwrap();
                wire.send(&startup(3 << 16, &pairs)).unwrap();
                wire
            })
            .collect();
        until("they wait", || busy() == CLIENTS);
        drop(cut_off);
        until("they are given up", || busy() == 0);
        servers.heal();
        // All of them at once.
        let mut next: Vec<Wire> = (0..CLIENTS).map(|_| weir.client()).collect();
        for wire in &mut next {
            assert_eq!(wire.query("select 1").value(), "1", "{has_connection}");
        }
        drop(next);
        until("they are gone", || {
            let clients = weir.show("CLIENTS");
            clients.iter().all(|c| c["database"] != "postgres")
        });
    }
    at_rest(&weir, &pg);
}

/// Clients that are cut off anywhere, a hundred times: the next ones are served, and the memory that
/// it took is there again.
#[test]
fn clients_that_are_cut_off_leave_nothing_behind() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 4");
    let proxy = Proxy::start(weir.port);
    // What the first ones need for good.
    Crowd::gather(weir.port, 16).leave().only(&[]);
    let before = memory(&weir);
    let crowd = Crowd::gather(proxy.port, 16);
    for n in 0..50 * u64::from(rounds()) {
        match n % 5 {
            0 => proxy.reset_all(),
            1 => proxy.set(Way::There, Fate::Reset(200 + n % 97)),
            2 => proxy.set(Way::Back, Fate::Cut(600 + n * 13 % 301)),
            3 => proxy.set(Way::Back, Fate::Reset(n * 31 % 1000)),
            _ => proxy.set(Way::There, Fate::Cut(n * 17 % 300)),
        }
        thread::sleep(Duration::from_millis(30));
        proxy.heal();
    }
    crowd.all_are_served();
    // They were cut off; but those who are there are served, and never with another's answer.
    let seen = crowd.leave();
    assert!(seen.errors.is_empty(), "{seen:?}");
    assert!(seen.dropped > 10, "{seen:?}");
    at_rest(&weir, &pg);
    let grown = memory(&weir).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
}

/// A client that is gone while nobody says so holds its server no longer than its timeouts say.
#[test]
fn a_client_that_vanishes_loses_its_server() {
    let pg = Postgres::start();
    let lines = "default_pool_size = 1\nidle_transaction_timeout = 1";
    let weir = Pgweir::start(pg.port, lines);
    let proxy = Proxy::start(weir.port);
    let mut gone = Wire::connect(proxy.port, "postgres", "postgres");
    assert_eq!(gone.query("begin").status(), Some('T'));
    proxy.set(Way::There, Fate::Lost);
    proxy.set(Way::Back, Fate::Lost);
    drop(gone);
    let mut next = weir.client();
    let began = Instant::now();
    assert_eq!(next.query("select 1").value(), "1");
    assert!(began.elapsed() < Duration::from_secs(4));
    drop((next, proxy));
    at_rest(&weir, &pg);
}
