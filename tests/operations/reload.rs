//! What happens while it runs: a new configuration, a broken one, a drain.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::operate::*;
use crate::support::*;

const DONE: &str = "configuration reloaded";
const FAILED: &str = "reload failed, nothing has changed";

#[test]
fn what_can_change_does() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1\nquery_timeout = 0");
    let mut client = weir.client();
    let mut second = weir.client();
    // With one connection the second has to wait; with two it has not.
    client.query("begin");
    second.send(&query("select 1")).unwrap();
    until("it waits", || weir.count("postgres", "cl_waiting") == 1);
    assert_eq!(refusal(weir.port, "amy", "postgres").0, "28000");
    let alias = format!(
        "[pools.alias]\nhost = '127.0.0.1'\nport = {}\ndbname = 'postgres'\nuser = 'postgres'\n\
         [users.amy]",
        pg.port
    );
    weir.rewrite(
        pg.port,
        &format!("default_pool_size = 2\nquery_timeout = '300ms'\n{alias}"),
    );
    weir.reload(DONE);
    assert_eq!(second.answer().value(), "1");
    assert_eq!(client.query("commit").tags(), "CZ");
    // Clients that were there follow the new timeout; new users and pools are known.
    let answer = client.query("select pg_sleep(5)");
    assert_eq!(
        (answer.code().as_deref(), answer.status()),
        (Some("57014"), Some('I'))
    );
    let mut amy = weir.connect("amy", "alias");
    assert_eq!(amy.query("select current_user").value(), "postgres");
    // And gone again: the client is told when it asks for something.
    weir.rewrite(pg.port, "default_pool_size = 2");
    weir.reload(DONE);
    assert_eq!(refusal(weir.port, "amy", "alias").0, "28000");
    // Below "*" the name still exists, with another server user: amy's pool is not that one.
    let answer = amy.query("select 1");
    assert_eq!(
        (answer.code().as_deref(), answer.status()),
        (Some("57P01"), None)
    );
    assert_eq!(client.query("select 1").value(), "1");
    weir.assert_quiet();
}

#[test]
fn a_pool_that_is_gone_lets_go_of_everybody() {
    let pg = shared_postgres();
    let file = |port, pools: &str| {
        let text = configuration(port, pg.port, "[log]\nlevel = 'info'");
        let (head, rest) = text.split_once("[pools.\"*\"]").unwrap();
        let users = &rest[rest.find("[users").unwrap()..];
        format!("{head}{pools}{users}")
    };
    let one = |name: &str| {
        let port = pg.port;
        format!(
            "[pools.{name}]\nhost = '127.0.0.1'\nport = {port}\ndbname = 'postgres'\npool_size = 1\n"
        )
    };
    let weir = Pgweir::start(pg.port, "");
    weir.rewrite_all(&file(weir.port, &(one("a") + &one("b"))));
    weir.reload(DONE);
    let mut busy = weir.connect("postgres", "a");
    let mut waiting = weir.connect("postgres", "a");
    let mut other = weir.connect("postgres", "b");
    busy.query("begin");
    waiting.send(&query("select 1")).unwrap();
    until("it waits", || weir.count("a", "cl_waiting") == 1);
    weir.rewrite_all(&file(weir.port, &one("b")));
    weir.reload(DONE);
    assert_eq!(
        waiting.answer().code().as_deref(),
        Some("57P01"),
        "not left waiting"
    );
    // A transaction that runs may end.
    assert_eq!(busy.query("select 1").value(), "1");
    assert_eq!(busy.query("commit").tags(), "CZ");
    assert_eq!(busy.query("select 1").code().as_deref(), Some("57P01"));
    assert_eq!(refusal(weir.port, "postgres", "a").0, "3D000");
    assert_eq!(other.query("select 1").value(), "1");
    until("its server connections are closed", || {
        weir.show("SERVERS").iter().all(|r| r["database"] == "b")
    });
}

#[test]
fn another_forced_user_takes_over() {
    let pg = Postgres::start();
    pg.client()
        .query("create role one login; create role two login");
    let forced = |user: &str| {
        let port = pg.port;
        format!(
            "[pools.app]\nhost = '127.0.0.1'\nport = {port}\ndbname = 'postgres'\nuser = '{user}'"
        )
    };
    let weir = Pgweir::start(pg.port, &forced("one"));
    let mut client = weir.connect("postgres", "app");
    assert_eq!(client.query("select current_user").value(), "one");
    weir.rewrite(pg.port, &forced("two"));
    weir.reload(DONE);
    // Not quietly the old user.
    assert_eq!(
        client.query("select current_user").code().as_deref(),
        Some("57P01")
    );
    let mut client = weir.connect("postgres", "app");
    assert_eq!(client.query("select current_user").value(), "two");
    until("the old one is gone", || {
        weir.show("SERVERS").iter().all(|r| r["user"] == "two")
    });
}

#[test]
fn what_needs_a_restart_is_named() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "max_packet_size = '1MB'");
    let text = configuration(
        weir.port,
        pg.port,
        "max_packet_size = '2MB'\nlisten_backlog = 7",
    );
    let text = text.replace("workers = 2", "workers = 3");
    weir.rewrite_all(&text.replace(
        &format!("listen_port = {}", weir.port),
        &format!("listen_port = {}", free_port()),
    ));
    weir.reload(DONE);
    let keys = [
        "listen_port",
        "listen_backlog",
        "workers",
        "max_packet_size",
    ];
    for key in keys {
        let warning = format!("general.{key} cannot change while pgweir runs");
        until(&warning, || weir.log().contains(&warning));
    }
    // It says what it does.
    let rows = weir.show("CONFIG");
    let of = |key: &str| rows.iter().find(|r| r["key"] == key).unwrap();
    assert_eq!(of("max_packet_size")["value"], "1048576");
    assert_eq!(of("listen_port")["value"], weir.port.to_string());
    assert!(keys.iter().all(|key| of(key)["changeable"] == "no"));
    assert_eq!(weir.client().query("select 1").value(), "1");
}

#[test]
fn a_broken_file_changes_nothing() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "default_pool_size = 3");
    let mut client = weir.client();
    client.query("select 1");
    for (bad, key) in [
        ("default_pool_size = 0", "general.default_pool_size"),
        ("default_pool_sise = 9", "default_pool_sise"),
        ("query_timeout = 5 5", "expected"),
    ] {
        weir.rewrite(pg.port, bad);
        weir.reload(FAILED);
        let log = weir.log();
        let line = log.lines().rev().find(|l| l.contains(FAILED)).unwrap();
        // The seventh line of the file is the first of ours.
        assert!(line.contains("pgweir.toml:8"), "{line}");
        assert!(log.contains(key), "{log}");
    }
    fs::remove_file(weir.config_path()).unwrap();
    weir.reload(FAILED);
    assert_eq!(weir.show("DATABASES")[0]["pool_size"], "3");
    assert_eq!(client.query("select 1").value(), "1");
}

/// A mistake that is found only when the whole file has been read and understood: a certificate that is none.
#[test]
fn a_file_that_cannot_be_applied_changes_nothing_either() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "default_pool_size = 3");
    let mut console = weir.console();
    assert_eq!(console.query("SET default_pool_size = 4").tags(), "CZ");
    let size = || weir.show("DATABASES")[0]["pool_size"].clone();
    assert_eq!(size(), "4");
    let scratch = Scratch::new("certificate");
    let file = scratch.0.join("none.pem");
    fs::write(&file, "no certificate").unwrap();
    let tls = format!(
        "default_pool_size = 5\n[client_tls]\nsslmode = 'prefer'\ncert_file = '{0}'\nkey_file = '{0}'",
        file.display()
    );
    weir.rewrite(pg.port, &tls);
    weir.reload(FAILED);
    assert!(weir.log().contains("none.pem"), "{}", weir.log());
    assert_eq!(size(), "4");
    // What SET has said is not forgotten when more is said.
    assert_eq!(console.query("SET query_timeout = 7").tags(), "CZ");
    assert_eq!(size(), "4");
    assert_eq!(weir.client().query("select 1").value(), "1");
}

/// What cannot be opened is found out before anything else has changed.
#[test]
fn a_log_that_cannot_be_opened_changes_nothing_either() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "");
    let mut client = weir.client();
    assert_eq!(client.query("select 1").value(), "1");
    // Nobody is there.
    weir.rewrite(free_port(), "[log]\nfile = '/nonexistent/pgweir.log'");
    weir.reload(FAILED);
    weir.console().query("RECONNECT");
    assert_eq!(client.query("select 2").value(), "2");
    assert_eq!(weir.client().query("select 3").value(), "3");
}

/// Connections that have begun by another query are not those that are wanted now.
#[test]
fn another_connect_query_is_for_all_connections() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let mut client = weir.client();
    let zone = client.query("show timezone").value();
    let pool = format!(
        "default_pool_size = 1\n[pools.postgres]\nhost = '127.0.0.1'\nport = {}\n\
         connect_query = \"set timezone to 'Asia/Tokyo'\"",
        pg.port
    );
    weir.rewrite(pg.port, &pool);
    weir.reload(DONE);
    assert_ne!(zone, "Asia/Tokyo");
    assert_eq!(client.query("show timezone").value(), "Asia/Tokyo");
}

#[test]
fn what_is_logged_can_change() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "[log]\nlevel = 'info'\ndisconnections = false");
    drop(weir.client());
    until("it is gone", || weir.show("CLIENTS").is_empty());
    assert!(!weir.log().contains("client gone"));
    weir.rewrite(
        pg.port,
        "[log]\nlevel = 'info,pgweir=debug'\ndisconnections = true",
    );
    weir.reload(DONE);
    drop(weir.client());
    until("it is said", || {
        weir.log().contains("client unexpected eof")
    });
    let mut stranger = weir.client();
    stranger.key = Some((1, vec![0; 4]));
    stranger.cancel();
    until("debug lines", || weir.log().contains("DEBUG"));
    weir.rewrite(pg.port, "[log]\nlevel = 'info,pgweir=loud'");
    weir.reload(FAILED);
    assert!(weir.log().contains("log.level"));
}

#[test]
fn a_drain_lets_transactions_end() {
    let pg = shared_postgres();
    for by_console in [false, true] {
        let mut weir = Pgweir::start(pg.port, "default_pool_size = 1");
        let (mut idle, mut busy, mut queued) = (weir.client(), weir.client(), weir.client());
        busy.query("begin");
        queued.send(&query("select 7")).unwrap();
        until("it waits", || weir.count("postgres", "cl_waiting") == 1);
        match by_console {
            false => weir.signal("-INT"),
            true => drop(weir.console().query("SHUTDOWN WAIT_FOR_SERVERS")),
        }
        let words = Answer(last_words(&mut idle));
        assert_eq!(words.code().as_deref(), Some("57P01"));
        until("nobody listens", || Wire::raw(weir.port).is_err());
        assert_eq!(busy.query("select 1").value(), "1");
        assert_eq!(busy.query("commit").tags(), "CZ");
        assert_eq!(
            Answer(last_words(&mut busy)).code().as_deref(),
            Some("57P01")
        );
        // What was asked for before is answered.
        assert_eq!(queued.answer().value(), "7");
        assert_eq!(
            Answer(last_words(&mut queued)).code().as_deref(),
            Some("57P01")
        );
        assert_eq!(weir.wait_exit().code(), Some(0));
        assert!(!weir.log().contains("panicked"));
    }
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let pg = shared_postgres();
    let mut weir = Pgweir::start(pg.port, "shutdown_timeout = '500ms'");
    let mut busy = weir.client();
    busy.query("begin");
    let began = Instant::now();
    weir.signal("-TERM");
    let words = Answer(last_words(&mut busy));
    assert_eq!(words.code().as_deref(), Some("57P01"));
    assert!(weir.wait_exit().success());
    let took = began.elapsed();
    assert!((500..20_000).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let pg = shared_postgres();
    for (first, second) in [
        ("-TERM", Some("-TERM")),
        ("-INT", Some("-TERM")),
        ("-QUIT", None),
    ] {
        let mut weir = Pgweir::start(pg.port, "shutdown_timeout = '60s'");
        let mut busy = weir.client();
        busy.query("begin");
        let began = Instant::now();
        weir.signal(first);
        if let Some(second) = second {
            until("it drains", || weir.log().contains("shutting down"));
            weir.signal(second);
        }
        assert_eq!(weir.wait_exit().code(), Some(0), "{first}");
        assert!(began.elapsed() < Duration::from_secs(30));
        assert!(last_words(&mut busy).len() <= 1);
    }
}

/// What a client is told whose server connection must not wait for it.
fn told_to_go(client: &mut Wire) {
    let words = last_words(client);
    let answer = Answer(words);
    assert_eq!(answer.code().as_deref(), Some("57P01"), "{answer:?}");
    assert_eq!(error_text(&answer), "database configuration changed");
    assert_eq!(answer.tags(), "E");
}

#[test]
fn with_fast_close_nobody_keeps_a_server_that_is_to_be_closed() {
    let pg = shared_postgres();
    let general = |fast, more| {
        format!("pool_mode = 'session'\nserver_fast_close = {fast}\nserver_lifetime = 3000{more}")
    };
    let weir = Pgweir::start(pg.port, &general(false, ""));
    let pid = |client: &mut Wire| client.query("select pg_backend_pid()").value();
    let mut patient = weir.client();
    let before = pid(&mut patient);
    assert_eq!(weir.console().query("RECONNECT").tags(), "CZ");
    assert!(!patient.answers_within(Duration::from_millis(400)));
    assert_eq!(
        pid(&mut patient),
        before,
        "without it, to the session's end"
    );
    // It holds from the reload on, for those that are left over as well.
    weir.rewrite(pg.port, &general(true, ""));
    weir.reload(DONE);
    told_to_go(&mut patient);

    let (mut idle, mut busy, mut away) = (weir.client(), weir.client(), weir.client());
    pid(&mut idle);
    away.query("select 1");
    busy.query("begin");
    let before = pid(&mut busy);
    assert_eq!(weir.console().query("RECONNECT").tags(), "CZ");
    told_to_go(&mut idle);
    told_to_go(&mut away);
    // A transaction is not cut short.
    assert!(!busy.answers_within(Duration::from_millis(400)));
    assert_eq!(pid(&mut busy), before);
    assert_eq!(busy.query("commit").tags(), "CZ");
    told_to_go(&mut busy);

    // The same after a reload that moves the pool.
    let mut client = weir.client();
    pid(&mut client);
    let text = configuration(weir.port, pg.port, &general(true, ""));
    weir.rewrite_all(&text.replace("[pools.\"*\"]", "[pools.\"*\"]\napplication_name = 'x'"));
    weir.reload(DONE);
    told_to_go(&mut client);
    assert_eq!(weir.client().query("show application_name").value(), "x");
    weir.assert_quiet();
}

#[test]
fn fast_close_in_transaction_mode_is_for_those_who_keep_a_server() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "server_fast_close = true");
    let (mut pinned, mut free) = (weir.client(), weir.client());
    pinned.query("begin; listen news; commit");
    let before = free.query("select pg_backend_pid()").value();
    assert_eq!(weir.console().query("RECONNECT").tags(), "CZ");
    told_to_go(&mut pinned);
    assert!(!free.answers_within(Duration::from_millis(400)));
    assert_ne!(free.query("select pg_backend_pid()").value(), before);
    weir.assert_quiet();
}
