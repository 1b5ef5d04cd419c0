//! Pool modes, and all timeouts: what the client is told, and that it keeps its connection where
//! the protocol allows.

use std::time::{Duration, Instant};

use crate::support::operate::*;
use crate::support::*;

/// The whole answer, or the last words if the connection ends.
fn code(answer: &Answer) -> String {
    answer.code().unwrap_or_default()
}

#[test]
fn session_mode_keeps_state_for_one_client_and_resets_it_for_the_next() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "pool_mode = 'session'\ndefault_pool_size = 1");
    let mut one = weir.client();
    let pid = one.query("select pg_backend_pid()").value();
    for sql in [
        "set search_path = pg_catalog",
        "create temp table mine (x int)",
        "prepare p as select 41 + 1",
        "listen news",
        "select pg_advisory_lock(7)",
        "set custom.setting = 'one'",
    ] {
        assert_eq!(one.query(sql).status(), Some('I'), "{sql}");
    }
    one.send(&[parse("s", "select 5"), sync()].concat())
        .unwrap();
    assert_eq!(one.answer().tags(), "1Z");
    // Nobody else gets the connection meanwhile.
    let mut two = weir.client();
    two.send(&query("select pg_backend_pid()")).unwrap();
    until("it waits", || weir.count("postgres", "cl_waiting") == 1);
    assert_eq!(one.query("execute p").value(), "42");
    assert_eq!(one.query("select count(*) from mine").value(), "0");
    assert_eq!(one.query("show search_path").value(), "pg_catalog");
    one.send(&[bind("s"), execute(), sync()].concat()).unwrap();
    assert_eq!(one.answer().value(), "5");
    drop(one);
    assert_eq!(two.answer().value(), pid, "the same connection");
    assert_eq!(code(&two.query("execute p")), "26000");
    assert_eq!(code(&two.query("select * from mine")), "42P01");
    assert_ne!(two.query("show search_path").value(), "pg_catalog");
    assert_eq!(
        two.query("select current_setting('custom.setting', true)")
            .value(),
        ""
    );
    let state = "select (select count(*) from pg_locks where locktype = 'advisory') \
                 + (select count(*) from pg_listening_channels())";
    assert_eq!(two.query(state).value(), "0");
    two.send(&[parse("s", "select 6"), bind("s"), execute(), sync()].concat())
        .unwrap();
    assert_eq!(two.answer().value(), "6");
    drop(two);
    weir.assert_quiet();
}

#[test]
fn session_mode_obeys_the_reset_query() {
    let pg = shared_postgres();
    for (reset, left) in [("", "1"), ("RESET ALL", "1"), ("DISCARD TEMP", "0")] {
        let general =
            format!("pool_mode = 'session'\ndefault_pool_size = 1\nserver_reset_query = '{reset}'");
        let weir = Pgweir::start(pg.port, &general);
        for _ in 0..2 {
            let mut client = weir.client();
            client.query("create temp table if not exists kept as select 1");
            // The same named statement in each session: it may still be on the server.
            let steps = [parse("s", "select 1"), bind("s"), execute(), sync()].concat();
            client.send(&steps).unwrap();
            let answer = client.answer();
            assert_eq!(answer.code(), None, "{reset}: {}", error_text(&answer));
            client.query("set application_name = 'x'");
            drop(client);
            weir.assert_quiet();
        }
        let mut next = weir.client();
        let count = "select count(*) from pg_class where relname = 'kept' \
                     and relnamespace = pg_my_temp_schema()";
        assert_eq!(next.query(count).value(), left, "{reset}");
    }
}

#[test]
fn server_reset_query_always_cleans_after_each_transaction() {
    let pg = shared_postgres();
    let weir = Pgweir::start(
        pg.port,
        "default_pool_size = 1\nsession_state = 'allow'\nserver_reset_query_always = true",
    );
    let mut one = weir.client();
    one.query("create temp table here (x int)");
    assert_eq!(code(&one.query("select * from here")), "42P01");
    weir.assert_quiet();
}

#[test]
fn statement_mode_refuses_transactions() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "pool_mode = 'statement'\ndefault_pool_size = 1");
    for sql in ["begin", "start transaction", "select 1; begin"] {
        let mut client = weir.client();
        assert_eq!(client.query("select 1").value(), "1");
        client.send(&query(sql)).unwrap();
        // The connection is closed, as PgBouncer does.
        let words = Answer(last_words(&mut client));
        assert_eq!(code(&words), "08P01", "{sql}: {words:?}");
        let text = error_text(&words);
        assert!(text.contains("transaction blocks not allowed"), "{text}");
        // Nor was it told that it is in a transaction.
        assert!(words.0.iter().all(|m| m.tag != b'Z'), "{sql}: {words:?}");
        weir.assert_quiet();
    }
    // A transaction that ends in the same message holds nothing.
    let mut client = weir.client();
    assert_eq!(client.query("begin; select 1; commit").status(), Some('I'));
    assert_eq!(client.query("select 2; select 3").rows(), [["2"], ["3"]]);
    let mut other = weir.client();
    let extended = [parse("", "select 4"), bind(""), execute(), sync()].concat();
    for wire in [&mut client, &mut other] {
        wire.send(&extended).unwrap();
        assert_eq!(wire.answer().value(), "4");
    }
    weir.assert_quiet();
}

#[test]
fn modes_by_pool_and_by_user() {
    let pg = Postgres::start();
    pg.client()
        .query("create role amy login; create role bob login");
    let general = format!(
        "[pools.sticky]\nhost = '127.0.0.1'\nport = {}\ndbname = 'postgres'\n\
         pool_mode = 'session'\npool_size = 1\n\
         [users.amy]\npool_mode = 'session'\npool_size = 1\n\
         [users.bob]\npool_mode = 'statement'",
        pg.port
    );
    let weir = Pgweir::start(pg.port, &general);
    let cases = [
        ("postgres", "sticky", "session"),
        ("amy", "postgres", "session"),
        ("bob", "postgres", "statement"),
        // The user's mode goes before the pool's.
        ("bob", "sticky", "statement"),
        ("postgres", "postgres", "transaction"),
    ];
    for (user, database, mode) in cases {
        let mut client = weir.connect(user, database);
        client.query("select 1");
        let ours = |r: &Row| r["user"] == user && r["database"] == database;
        let row = || weir.show("POOLS").into_iter().find(ours).unwrap();
        assert_eq!(row()["pool_mode"], mode, "{user} {database}");
        let kept = if mode == "session" { "1" } else { "0" };
        // The answer goes out before the connection goes back.
        until(&format!("{user} {database}: {kept} kept"), || {
            row()["sv_active"] == kept
        });
        client.query("begin");
        let alive = client.query("rollback").status() == Some('I');
        assert_eq!(alive, mode != "statement", "{user} {database}");
    }
}

#[test]
fn query_timeout_cancels_and_the_connection_lives() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "default_pool_size = 2\nquery_timeout = '1s'");
    let mut client = weir.client();
    let began = Instant::now();
    let answer = client.query("select pg_sleep(10), 'of query_timeout'");
    assert_eq!((&*code(&answer), answer.status()), ("57014", Some('I')));
    assert!(error_text(&answer).contains("query_timeout"));
    // The server has stopped, too.
    let running = "select count(*) from pg_stat_activity where state = 'active' \
                   and pid <> pg_backend_pid() and query like '%of query_timeout%'";
    assert_eq!(pg.client().query(running).value(), "0");
    assert!(began.elapsed() < Duration::from_secs(9));
    // In a transaction it fails the transaction; in the extended protocol up to Sync.
    client.query("begin");
    let slow = [
        parse("", "select pg_sleep(10)"),
        bind(""),
        execute(),
        sync(),
    ]
    .concat();
    client.send(&slow).unwrap();
    let answer = client.answer();
    assert_eq!((&*code(&answer), answer.status()), ("57014", Some('E')));
    assert_eq!(client.query("rollback").status(), Some('I'));
    client.query("create table if not exists slow (x int)");
    // The time is that of one statement, not of the transaction.
    client.query("begin");
    for _ in 0..4 {
        assert_eq!(client.query("select pg_sleep(0.15)").status(), Some('T'));
    }
    assert_eq!(client.query("commit").status(), Some('I'));
    weir.assert_quiet();
}

#[test]
fn a_client_cannot_stay_longer_than_the_pool_allows() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "query_timeout = '300ms'");
    let slow = "select pg_sleep(10)";
    let assert_cancelled = |answer: Answer, how: &str| {
        assert_eq!(code(&answer), "57014", "{how}");
    };
    let mut client = weir.client();
    for set in [
        "set statement_timeout = 0",
        "set session statement_timeout = '1h'",
    ] {
        assert_eq!(client.query(set).status(), Some('I'));
        assert_cancelled(client.query(slow), set);
    }
    client.query("begin; set local statement_timeout = 0");
    assert_cancelled(client.query(slow), "set local");
    client.query("rollback");
    assert_cancelled(
        client.query(&format!("set statement_timeout = 0; {slow}")),
        "one message",
    );
    client.query("select set_config('statement_timeout', '0', false)");
    assert_cancelled(client.query(slow), "set_config");
    let all = [("user", "postgres"), ("database", "postgres")];
    for (name, value) in [
        ("options", "-c statement_timeout=0"),
        ("statement_timeout", "0"),
    ] {
        let pairs = [all[0], all[1], (name, value)];
        let mut client = Wire::try_connect_with(weir.port, &pairs).unwrap();
        assert_eq!(client.query("show statement_timeout").value(), "0");
        assert_cancelled(client.query(slow), name);
    }
    // It may ask for less.
    client.query("set statement_timeout = '50ms'");
    let answer = client.query(slow);
    assert_eq!(code(&answer), "57014");
    assert!(
        error_text(&answer).contains("statement timeout"),
        "{}",
        error_text(&answer)
    );
    weir.assert_quiet();
}

#[test]
fn a_users_own_timeouts_go_before_the_pools() {
    let pg = shared_postgres();
    let general = "query_timeout = '200ms'\n[users.amy]\n";
    let weir = Pgweir::start(pg.port, general);
    pg.client().query("create role amy login");
    weir.rewrite(pg.port, &format!("{general}query_timeout = '5s'"));
    weir.reload("configuration reloaded");
    let mut amy = weir.connect("amy", "postgres");
    assert_eq!(amy.query("select pg_sleep(0.5)").code(), None);
    assert_eq!(code(&weir.client().query("select pg_sleep(0.5)")), "57014");
}

/// The pool is a forced user's; the limits are those of the user that the client has logged in as.
#[test]
fn timeouts_are_those_of_the_login_user() {
    let pg = shared_postgres();
    let general = "query_timeout = '5s'\n[users.short]\nquery_timeout = '200ms'\n\
                   [pools.forced]\nhost = '127.0.0.1'\nuser = 'postgres'\ndbname = 'postgres'\n";
    let weir = Pgweir::start(pg.port, &format!("{general}port = {}", pg.port));
    let mut short = weir.connect("short", "forced");
    assert_eq!(short.query("select current_user").value(), "postgres");
    assert_eq!(code(&short.query("select pg_sleep(1)")), "57014");
    let mut long = weir.connect("postgres", "forced");
    assert_eq!(long.query("select pg_sleep(0.5)").code(), None);
}

#[test]
fn transaction_timeout_ends_the_transaction() {
    let pg = shared_postgres();
    let weir = Pgweir::start(
        pg.port,
        "default_pool_size = 1\ntransaction_timeout = '400ms'",
    );
    // While a statement runs.
    let mut client = weir.client();
    client.query("begin");
    let answer = client.query("select pg_sleep(10)");
    assert_eq!((&*code(&answer), answer.status()), ("25P04", Some('E')));
    assert_eq!(client.query("commit").status(), Some('I'));
    // While it is busy with short ones.
    client.query("begin");
    let began = Instant::now();
    let answer = loop {
        let answer = client.query("select pg_sleep(0.05)");
        if answer.code().is_some() {
            break answer;
        }
        assert!(began.elapsed() < Duration::from_secs(9));
    };
    assert_eq!((&*code(&answer), answer.status()), ("25P04", Some('E')));
    client.query("rollback");
    assert_eq!(client.query("select 1").value(), "1");
    // A single statement is a transaction, too.
    let answer = client.query("select pg_sleep(10)");
    assert_eq!((&*code(&answer), answer.status()), ("25P04", Some('I')));
    weir.assert_quiet();
}

#[test]
fn idle_in_transaction_is_rolled_back_and_told() {
    let pg = shared_postgres();
    let weir = Pgweir::start(
        pg.port,
        "default_pool_size = 1\nidle_transaction_timeout = '300ms'",
    );
    let mut client = weir.client();
    let mut other = weir.client();
    client.query("create table if not exists idle (x int); truncate idle");
    client.query("begin; insert into idle values (1)");
    // The one connection is free again, without a word from the client.
    assert_eq!(other.query("select count(*) from idle").value(), "0");
    let answer = client.query("insert into idle values (2)");
    assert_eq!((&*code(&answer), answer.status()), ("25P03", Some('E')));
    assert_eq!(code(&client.query("select 1")), "25P02");
    assert_eq!(client.query("rollback").status(), Some('I'));
    assert_eq!(client.query("select count(*) from idle").value(), "0");
    // COMMIT must not look as if it had worked.
    client.query("begin; insert into idle values (3)");
    until("it is rolled back", || {
        weir.count("postgres", "sv_active") == 0
    });
    let answer = client.query("commit");
    let tag = answer
        .0
        .iter()
        .find(|m| m.tag == b'C')
        .map(|m| text(&m.body));
    assert!(
        code(&answer) == "25P03" || tag.unwrap().starts_with("ROLLBACK"),
        "{answer:?}"
    );
    client.query("rollback");
    assert_eq!(client.query("select count(*) from idle").value(), "0");
    weir.assert_quiet();
}

#[test]
fn idle_clients_are_closed() {
    let pg = shared_postgres();
    for mode in ["transaction", "session"] {
        let general = format!("pool_mode = '{mode}'\nclient_idle_timeout = '300ms'");
        let weir = Pgweir::start(pg.port, &general);
        let mut client = weir.client();
        client.query("select 1");
        // Being idle in a transaction is something else.
        let mut busy = weir.client();
        busy.query("begin");
        let words = Answer(last_words(&mut client));
        assert_eq!(
            (&*code(&words), words.tags()),
            ("57P05", "E".into()),
            "{mode}"
        );
        assert_eq!(busy.query("select 1").status(), Some('T'));
        let answer = busy.query("select pg_sleep(0.5)");
        assert_eq!(answer.code(), None, "nor is a long statement");
        busy.query("commit");
        weir.assert_quiet();
    }
}

#[test]
fn a_login_has_its_time() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "client_login_timeout = '2s'");
    let mut silent = Wire::raw(weir.port).unwrap();
    let began = Instant::now();
    assert_eq!(last_words(&mut silent).len(), 0);
    assert!(began.elapsed() < Duration::from_secs(20));
    until("it is logged", || {
        weir.log().contains("client_login_timeout")
    });
    let mut client = weir.client();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(client.query("select 1").value(), "1", "only logins");
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    // It accepts, and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    let weir = Pgweir::start(
        port,
        "server_connect_timeout = '300ms'\nserver_login_retry = 0",
    );
    let began = Instant::now();
    let (code, text) = refusal(weir.port, "postgres", "postgres");
    assert_eq!(code, "08006", "{text}");
    assert!(began.elapsed() < Duration::from_secs(9));
    weir.assert_quiet();
}
