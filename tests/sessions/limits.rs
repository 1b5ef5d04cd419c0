//! Limits on clients and server connections, the queue, and what becomes of server connections
//! with time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::operate::*;
use crate::support::*;

fn pool(name: &str, pg_port: u16, lines: &str) -> String {
    format!("[pools.{name}]\nhost = '127.0.0.1'\nport = {pg_port}\ndbname = 'postgres'\n{lines}\n")
}

/// Opens transactions until no more are to be had at once; gives those that have begun.
fn hold(weir: &Pgweir, user: &str, database: &str, count: usize) -> Vec<Wire> {
    let mut clients: Vec<Wire> = (0..count).map(|_| weir.connect(user, database)).collect();
    for client in &mut clients {
        assert_eq!(client.query("begin").status(), Some('T'));
    }
    clients
}

/// A client that has asked and waits.
fn ask(weir: &Pgweir, user: &str, database: &str, waiting: u64) -> Wire {
    let mut client = weir.connect(user, database);
    client.send(&query("select 1")).unwrap();
    until("it waits", || weir.count(database, "cl_waiting") == waiting);
    client
}

#[test]
fn clients_are_limited_in_all_by_database_and_by_user() {
    let pg = shared_postgres();
    let general = format!(
        "max_client_conn = 5\n{}[users.amy]\nmax_user_client_connections = 1",
        pool(
            "small",
            pg.port,
            "user = 'postgres'\nmax_db_client_connections = 2"
        )
    );
    let weir = Pgweir::start(pg.port, &general);
    let refused = |user: &str, database: &str, limit: &str| {
        let (code, text) = refusal(weir.port, user, database);
        assert_eq!(code, "53300");
        assert!(text.contains(limit), "{text}");
    };
    let amy = weir.connect("amy", "small");
    refused(
        "amy",
        "small",
        "(max_user_client_connections), the limit is 1",
    );
    let _second = weir.connect("postgres", "small");
    refused(
        "postgres",
        "small",
        "(max_db_client_connections), the limit is 2",
    );
    let others: Vec<Wire> = (0..3).map(|_| weir.client()).collect();
    refused("postgres", "postgres", "(max_client_conn), the limit is 5");
    // The console is there when the house is full.
    assert_eq!(weir.show("CLIENTS").len(), 5);
    // Room comes back with those who leave, and with a reload.
    drop(amy);
    until("there is room", || {
        Wire::try_connect(weir.port, "amy", "small").is_ok()
    });
    until("she has left", || weir.show("CLIENTS").len() == 4);
    let _fifth = weir.client();
    refused("postgres", "postgres", "max_client_conn");
    weir.rewrite(
        pg.port,
        &general.replace("max_client_conn = 5", "max_client_conn = 6"),
    );
    weir.reload("configuration reloaded");
    let mut sixth = weir.client();
    assert_eq!(sixth.query("select 1").value(), "1");
    drop(others);
}

#[test]
fn server_connections_are_limited_by_pool_database_user_and_in_all() {
    let pg = shared_postgres();
    pg.client()
        .query("create role lim_one login; create role lim_two login");
    // Which limit, and how many connections it leaves to two users of two databases.
    for (general, lines, most) in [
        ("default_pool_size = 2", "", 8),
        ("max_server_conn = 3", "", 3),
        ("", "max_db_connections = 3", 6),
        ("max_user_connections = 3", "", 6),
    ] {
        let users = "[users.lim_one]\n[users.lim_two]\n";
        let pools = pool("a", pg.port, lines) + &pool("b", pg.port, lines);
        let weir = Pgweir::start(pg.port, &format!("{general}\n{pools}{users}"));
        let mut clients = Vec::new();
        for user in ["lim_one", "lim_two"] {
            for database in ["a", "b"] {
                for _ in 0..5 {
                    let mut client = weir.connect(user, database);
                    client
                        .send(&query("begin; select pg_sleep(0.2); commit"))
                        .unwrap();
                    clients.push(client);
                }
            }
        }
        let mut seen = 0;
        until(general, || {
            seen = seen.max(weir.show("SERVERS").len() as u64);
            assert!(seen <= most, "{seen} under {general} {lines}");
            seen == most
        });
        // All are served in the end: no pool starves beside another's idle connections.
        for client in &mut clients {
            assert_eq!(client.answer().status(), Some('I'), "{general} {lines}");
        }
        drop(clients);
    }
}

#[test]
fn an_idle_connection_elsewhere_makes_room() {
    let pg = shared_postgres();
    let pools = pool("a", pg.port, "") + &pool("b", pg.port, "");
    let weir = Pgweir::start(pg.port, &format!("max_server_conn = 2\n{pools}"));
    drop(hold(&weir, "postgres", "a", 2));
    weir.assert_quiet();
    let began = Instant::now();
    let mut other = weir.connect("postgres", "b");
    assert_eq!(other.query("select 1").value(), "1");
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    assert!(weir.show("SERVERS").len() <= 2);
}

#[test]
fn a_full_queue_refuses_the_newest_and_a_deadline_the_oldest() {
    let pg = shared_postgres();
    let weir = Pgweir::start(
        pg.port,
        "default_pool_size = 1\nmax_queue = 2\nquery_wait_timeout = '3s'",
    );
    let mut newest = weir.client();
    let mut holder = hold(&weir, "postgres", "postgres", 1);
    let began = Instant::now();
    let mut queued: Vec<Wire> = (1..=2)
        .map(|n| ask(&weir, "postgres", "postgres", n))
        .collect();
    let answer = newest.query("select 1");
    assert!(began.elapsed() < Duration::from_millis(2500), "at once");
    assert_eq!(
        (answer.code().as_deref(), answer.status()),
        (Some("53300"), Some('I'))
    );
    assert!(
        error_text(&answer).contains("max_queue = 2"),
        "{}",
        error_text(&answer)
    );
    // The extended protocol is answered at Sync.
    let extended = [parse("", "select 1"), bind(""), execute(), sync()].concat();
    newest.send(&extended).unwrap();
    assert_eq!(newest.answer().tags(), "EZ");
    for client in &mut queued {
        let answer = client.answer();
        assert_eq!(
            (answer.code().as_deref(), answer.status()),
            (Some("53300"), Some('I'))
        );
        assert!(
            error_text(&answer).contains("query_wait_timeout"),
            "{}",
            error_text(&answer)
        );
    }
    let took = began.elapsed();
    assert!((3000..20_000).contains(&took.as_millis()), "{took:?}");
    holder[0].query("commit");
    for client in queued.iter_mut().chain([&mut newest]) {
        assert_eq!(client.query("select 1").value(), "1", "all live on");
    }
    weir.assert_quiet();
}

#[test]
fn first_come_first_served() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let mut setup = weir.client();
    setup.query("create table if not exists turns (n serial, who int); truncate turns");
    let mut holder = hold(&weir, "postgres", "postgres", 1);
    let mut clients = Vec::new();
    for n in 0..12u64 {
        let mut client = weir.client();
        client
            .send(&query(&format!("insert into turns (who) values ({n})")))
            .unwrap();
        until("it waits", || weir.count("postgres", "cl_waiting") == n + 1);
        // Between workers, only what is further apart than a few milliseconds has an order.
        std::thread::sleep(Duration::from_millis(8));
        clients.push(client);
    }
    holder[0].query("commit");
    for client in &mut clients {
        assert_eq!(client.answer().status(), Some('I'));
    }
    let order: Vec<String> = setup
        .query("select who from turns order by n")
        .rows()
        .concat();
    let expected: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    assert_eq!(order, expected);
}

#[test]
fn the_reserve_is_for_those_who_wait_long() {
    let pg = shared_postgres();
    let weir = Pgweir::start(
        pg.port,
        "default_pool_size = 1\nreserve_pool_size = 1\nreserve_pool_timeout = '400ms'",
    );
    let _spare = weir.client();
    let _holder = hold(&weir, "postgres", "postgres", 1);
    let mut waiter = weir.client();
    let began = Instant::now();
    assert_eq!(waiter.query("begin").status(), Some('T'));
    let took = began.elapsed();
    assert!((400..20_000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(weir.show("SERVERS").len(), 2);
    // There is no more than that.
    let mut third = weir.client();
    third.send(&query("select 1")).unwrap();
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(weir.count("postgres", "cl_waiting"), 1);
    waiter.query("commit");
    assert_eq!(third.answer().value(), "1");
}

#[test]
fn the_minimum_is_kept() {
    let pg = Postgres::start();
    let general = pool("forced", pg.port, "user = 'postgres'\nmin_pool_size = 3");
    let weir = Pgweir::start(pg.port, &general);
    // Nobody has come yet.
    until("three stand ready", || weir.count("forced", "sv_idle") == 3);
    let mut admin = pg.client();
    let mut end = || {
        admin.query(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where backend_type = 'client backend' and pid <> pg_backend_pid()",
        )
    };
    let servers = || -> BTreeSet<String> {
        weir.show("SERVERS")
            .iter()
            .map(|r| r["remote_pid"].clone())
            .collect()
    };
    let first = servers();
    end();
    until("three others stand ready", || {
        let now = servers();
        now.len() == 3 && now.is_disjoint(&first)
    });
    // Also without a forced user, once there was a client; and not closed for being idle.
    let weir = Pgweir::start(pg.port, "min_pool_size = 2\nserver_idle_timeout = '100ms'");
    weir.client().query("select 1");
    until("two", || weir.count("postgres", "sv_idle") == 2);
    std::thread::sleep(Duration::from_millis(1300));
    assert_eq!(weir.count("postgres", "sv_idle"), 2);
}

#[test]
fn aliases_force_user_and_database_and_the_star_serves_the_rest() {
    let pg = Postgres::start();
    pg.client().query("create database other");
    pg.client()
        .query("create role forced login; create role amy login");
    let port = pg.port;
    let general = format!(
        "[pools.alias]\nhost = '127.0.0.1'\nport = {port}\ndbname = 'other'\nuser = 'forced'\n\
         [users.amy]\n"
    );
    let weir = Pgweir::start(pg.port, &general);
    let whoami = "select current_user || '@' || current_database()";
    let of = |user: &str, database: &str| weir.connect(user, database).query(whoami).value();
    assert_eq!(of("postgres", "alias"), "forced@other");
    assert_eq!(of("amy", "alias"), "forced@other");
    assert_eq!(of("amy", "other"), "amy@other");
    assert_eq!(of("postgres", "postgres"), "postgres@postgres");
    assert_eq!(refusal(weir.port, "postgres", "missing").0, "3D000");
    // Both users of the alias share its pool.
    let pools = weir.show("POOLS");
    let alias: Vec<_> = pools.iter().filter(|r| r["database"] == "alias").collect();
    assert_eq!(alias.len(), 1);
    assert_eq!(alias[0]["user"], "forced");
}

#[test]
fn connections_end_by_age_and_by_idleness() {
    let pg = shared_postgres();
    let pid = |client: &mut Wire| client.query("select pg_backend_pid()").value();
    let weir = Pgweir::start(pg.port, "server_lifetime = 0");
    let mut client = weir.client();
    let pids: BTreeSet<String> = (0..4).map(|_| pid(&mut client)).collect();
    assert_eq!(pids.len(), 4, "each serves once");
    let weir = Pgweir::start(pg.port, "server_lifetime = '2s'");
    let mut client = weir.client();
    let first = pid(&mut client);
    assert_eq!(pid(&mut client), first);
    // Not in the middle of a transaction.
    client.query("begin");
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        assert_eq!(pid(&mut client), first);
    }
    client.query("commit");
    assert_ne!(pid(&mut client), first);
    let weir = Pgweir::start(pg.port, "server_idle_timeout = '300ms'");
    let mut client = weir.client();
    let first = pid(&mut client);
    until("it is closed", || weir.show("SERVERS").is_empty());
    assert_ne!(pid(&mut client), first);
}

#[test]
fn an_unused_connection_is_checked_first() {
    let pg = Postgres::start();
    let mut admin = pg.client();
    admin.query("create sequence checks");
    let called = |admin: &mut Wire| -> i64 {
        let sql = "select case when is_called then last_value else 0 end from checks";
        admin.query(sql).value().parse().unwrap()
    };
    let check = "server_check_query = \"select nextval('checks')\"";
    // Zero is always; a long delay is never in this test.
    for (delay, checks) in [("0", 3), ("'1h'", 0)] {
        admin.query("select setval('checks', 1, false)");
        let general = format!("default_pool_size = 1\nserver_check_delay = {delay}\n{check}");
        let weir = Pgweir::start(pg.port, &general);
        let mut client = weir.client();
        let before = called(&mut admin);
        for _ in 0..3 {
            assert_eq!(client.query("select 1").value(), "1");
        }
        assert_eq!(called(&mut admin) - before, checks, "delay {delay}");
    }
    // Of several that were idle, only the one that is wanted.
    let general = format!("default_pool_size = 3\nserver_check_delay = '300ms'\n{check}");
    let weir = Pgweir::start(pg.port, &general);
    let mut clients = [weir.client(), weir.client(), weir.client()];
    clients.iter_mut().for_each(|c| drop(c.query("begin")));
    clients.iter_mut().for_each(|c| drop(c.query("commit")));
    let before = called(&mut admin);
    std::thread::sleep(Duration::from_millis(500));
    clients[0].query("select 1");
    assert_eq!(called(&mut admin) - before, 1);
    // One that fails its check is replaced, and the client does not notice.
    let general = "default_pool_size = 1\nserver_check_delay = 0\n\
                   server_check_query = \"select 1/(nextval('checks') % 2)\"";
    admin.query("select setval('checks', 1, true)");
    let weir = Pgweir::start(pg.port, general);
    let mut client = weir.client();
    for _ in 0..4 {
        assert_eq!(client.query("select 1").value(), "1");
    }
    weir.assert_quiet();
}

#[test]
fn the_application_name_is_passed_on() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let named = |name: &str| {
        let pairs = [
            ("user", "postgres"),
            ("database", "postgres"),
            ("application_name", name),
        ];
        Wire::try_connect_with(weir.port, &pairs).unwrap()
    };
    let mut clients = [named("first"), named("second"), weir.client()];
    let seen = "select application_name from pg_stat_activity where pid = pg_backend_pid()";
    for _ in 0..3 {
        let names: Vec<String> = clients.iter_mut().map(|c| c.query(seen).value()).collect();
        assert_eq!(names, ["first", "second", ""]);
    }
    clients[2].query("set application_name = 'third'");
    assert_eq!(clients[0].query(seen).value(), "first");
    assert_eq!(clients[2].query(seen).value(), "third");
}

#[test]
fn names_that_clients_make_up_are_forgotten() {
    let pg = shared_postgres();
    let weir = Pgweir::start(
        pg.port,
        "server_idle_timeout = '100ms'\nautodb_idle_timeout = '1s'",
    );
    let _client = weir.client();
    for n in 0..5 {
        let (code, _) = refusal(weir.port, "postgres", &format!("made_up_{n}"));
        assert_eq!(code, "3D000");
    }
    // The one that has a client stays, though its connections are closed.
    let names = || -> Vec<String> {
        weir.show("POOLS")
            .iter()
            .map(|r| r["database"].clone())
            .collect()
    };
    until("they are forgotten", || {
        weir.show("SERVERS").is_empty() && names() == ["postgres"]
    });
}

#[test]
fn a_startup_parameter_does_not_depend_on_the_client_before() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let style = |port: u16, value: &str| {
        let pairs = [
            ("user", "postgres"),
            ("database", "postgres"),
            ("datestyle", value),
        ];
        let mut wire = Wire::try_connect_with(port, &pairs).unwrap();
        wire.query("show datestyle").value()
    };
    for value in ["german", "ISO", "postgres", "DMY", "ISO"] {
        assert_eq!(style(weir.port, value), style(pg.port, value), "{value}");
    }
}

/// Two writes would be two packets, and twice the work, for each statement of a busy pool.
#[test]
fn what_needs_no_server_is_answered_together_with_the_rest() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let mut client = weir.client();
    let group = [parse("", "select 7"), bind(""), execute(), sync()].concat();
    for _ in 0..3 {
        client.send(&group).unwrap();
        assert_eq!(client.answer().value(), "7");
    }
    let mut busy = weir.client();
    busy.query("begin");
    // The statement is known by now: its ParseComplete needs nobody.
    client.send(&group).unwrap();
    assert!(!client.answers_within(Duration::from_millis(200)));
    busy.query("commit");
    assert_eq!(client.answer().tags(), "12DCZ");
}
