//! More clients than can be served: who comes first, and who is told at once.

use std::time::{Duration, Instant};

use crate::support::operate::*;
use crate::support::*;

/// Clients of any name, on one connection of `postgres`.
fn weir(pg_port: u16, pool: &str, rest: &str) -> Pgweir {
    let pool = format!(
        "[pools.one]\nhost = '127.0.0.1'\nport = {pg_port}\ndbname = 'postgres'\nuser = 'postgres'\n\
         pool_size = 1\n{pool}\n"
    );
    let users = ["amy", "bob", "cat"].map(|user| match rest.contains(&format!("[users.{user}]")) {
        true => String::new(),
        false => format!("[users.{user}]\n"),
    });
    Pgweir::start(pg_port, &format!("{pool}{rest}\n{}", users.concat()))
}

fn connect(weir: &Pgweir, user: &str, application: &str) -> Wire {
    let pairs = [
        ("user", user),
        ("database", "one"),
        ("application_name", application),
    ];
    Wire::try_connect_with(weir.port, &pairs).unwrap()
}

/// Asks, and waits for the connection that somebody else has.
fn line_up(weir: &Pgweir, clients: &[(&str, &str)], sql: &str) -> Vec<Wire> {
    let before = weir.count("one", "cl_waiting");
    let mut wires = Vec::new();
    for (user, application) in clients {
        let mut wire = connect(weir, user, application);
        wire.send(&query(sql)).unwrap();
        wires.push(wire);
        let waiting = before + wires.len() as u64;
        until("it waits", || weir.count("one", "cl_waiting") == waiting);
    }
    wires
}

fn refused(weir: &Pgweir, reason: &str) -> u64 {
    let rows = weir.show("REFUSALS");
    let row = rows.iter().find(|row| row["reason"] == reason).unwrap();
    row["count"].parse().unwrap()
}

/// The order in which they were served.
fn order(wires: &mut [Wire]) -> Vec<u64> {
    let answers = wires.iter_mut().map(|wire| wire.answer().value());
    answers.map(|value| value.parse().unwrap()).collect()
}

#[test]
fn background_work_waits_behind_and_critical_work_goes_first() {
    let pg = shared_postgres();
    pg.client()
        .query("create sequence if not exists by_priority");
    let rest = "[users.amy]\npriority = 'critical'\n[users.bob]\npriority = 'background'\n\
                [applications.nightly]\npriority = 'background'";
    let weir = weir(pg.port, "", rest);
    let mut holder = connect(&weir, "cat", "");
    holder.query("begin");
    let clients = [
        ("bob", "psql"),
        ("cat", "nightly"),
        ("cat", "psql"),
        ("cat", "psql"),
        ("amy", "psql"),
        ("amy", "psql"),
    ];
    let mut wires = line_up(&weir, &clients, "select nextval('by_priority')");
    holder.query("commit");
    assert_eq!(order(&mut wires), [5, 6, 3, 4, 1, 2]);
    weir.assert_quiet();
}

#[test]
fn those_who_share_a_pool_take_turns() {
    let pg = shared_postgres();
    pg.client().query("create sequence if not exists by_turns");
    for (by, one, other) in [
        ("user", ("amy", "x"), ("bob", "x")),
        ("application_name", ("amy", "x"), ("amy", "y")),
    ] {
        pg.client().query("alter sequence by_turns restart");
        let weir = weir(pg.port, &format!("queue_fair_by = '{by}'"), "");
        let mut holder = connect(&weir, "cat", "");
        holder.query("begin");
        let clients = [one, one, one, one, other, other];
        let mut wires = line_up(&weir, &clients, "select nextval('by_turns')");
        holder.query("commit");
        assert_eq!(order(&mut wires), [1, 3, 5, 6, 2, 4], "{by}");
    }
}

#[test]
fn one_users_waiting_clients_are_bounded_by_themselves() {
    let pg = shared_postgres();
    let weir = weir(pg.port, "max_user_queue = 2", "");
    let mut holder = connect(&weir, "cat", "");
    holder.query("begin");
    let mut wires = line_up(&weir, &[("amy", ""), ("amy", "")], "select 1");
    let mut third = connect(&weir, "amy", "");
    let answer = third.query("select 1");
    assert_eq!(answer.code().as_deref(), Some("53300"));
    assert!(error_text(&answer).contains("(max_user_queue = 2)"));
    assert_eq!(refused(&weir, "user_queue"), 1);
    wires.extend(line_up(&weir, &[("bob", "")], "select 1"));
    holder.query("commit");
    for wire in &mut wires {
        assert_eq!(wire.answer().value(), "1");
    }
    // It is still there, and has its turn.
    assert_eq!(third.query("select 2").value(), "2");
    weir.assert_quiet();
}

#[test]
fn who_would_wait_too_long_is_told_at_once() {
    let pg = shared_postgres();
    let rest = "[users.amy]\nquery_wait_timeout = '300ms'";
    let weir = weir(pg.port, "early_refusal = true", rest);
    let mut hasty = connect(&weir, "amy", "");
    let mut crowd: Vec<Wire> = (0..150).map(|_| connect(&weir, "bob", "")).collect();
    for wire in &mut crowd {
        wire.send(&query("select pg_sleep(0.02)")).unwrap();
    }
    // 80 are served, and it is known how fast; the others will take more than a second.
    for wire in &mut crowd[..80] {
        assert_eq!(wire.answer().status(), Some('I'));
    }
    let began = Instant::now();
    let answer = hasty.query("select 1");
    assert!(began.elapsed() < Duration::from_millis(250), "at once");
    assert_eq!(answer.code().as_deref(), Some("53300"));
    let text = error_text(&answer);
    assert!(
        text.contains("expected within query_wait_timeout"),
        "{text}"
    );
    assert_eq!(refused(&weir, "expected_wait"), 1);
    // Who has more patience waits.
    for wire in &mut crowd[80..] {
        assert_eq!(wire.answer().status(), Some('I'));
    }
    assert_eq!(hasty.query("select 1").value(), "1");
}

#[test]
fn a_rate_holds_over_all_clients_of_a_user() {
    let pg = shared_postgres();
    let rest = "[users.amy]\nmax_queries_per_second = 10\nquery_burst = 2\n[users.bob]\n\
                max_queries_per_second = 10\nquery_burst = 2";
    let weir = weir(pg.port, "over_rate = 'refuse'", rest);
    let mut clients = [connect(&weir, "amy", ""), connect(&weir, "amy", "")];
    assert_eq!(clients[0].query("select 1").value(), "1");
    assert_eq!(clients[1].query("select 1").value(), "1");
    let answer = clients[0].query("select 1");
    assert_eq!(answer.code().as_deref(), Some("53400"));
    assert_eq!(answer.status(), Some('I'));
    assert_eq!(refused(&weir, "rate"), 1);
    // Others are not held up, and after a while they are let through again.
    assert_eq!(connect(&weir, "bob", "").query("select 1").value(), "1");
    std::thread::sleep(Duration::from_millis(150));
    // What belongs to one transaction counts once.
    assert_eq!(clients[1].query("begin").status(), Some('T'));
    for _ in 0..5 {
        assert_eq!(clients[1].query("select 1").value(), "1");
    }
    assert_eq!(clients[1].query("commit").status(), Some('I'));
    weir.assert_quiet();
}

#[test]
fn above_the_rate_queries_wait_and_can_be_cancelled() {
    let pg = shared_postgres();
    let rest = "[applications.slow]\nmax_queries_per_second = 5\nquery_burst = 1\n\
                [users.bob]\nquery_wait_timeout = '250ms'";
    let weir = weir(pg.port, "", rest);
    let mut client = connect(&weir, "amy", "slow");
    let began = Instant::now();
    for _ in 0..4 {
        assert_eq!(client.query("select 1").value(), "1");
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(590), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Reserves the next turns; who cannot wait for so long is told.
    let mut others: Vec<Wire> = (0..3).map(|_| connect(&weir, "amy", "slow")).collect();
    for other in &mut others {
        other.send(&query("select 2")).unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    let mut hasty = connect(&weir, "bob", "slow");
    assert_eq!(hasty.query("select 1").code().as_deref(), Some("53400"));
    client.send(&query("select 3")).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    client.cancel();
    assert_eq!(client.answer().code().as_deref(), Some("57014"));
    for other in &mut others {
        assert_eq!(other.answer().value(), "2");
    }
    assert_eq!(connect(&weir, "amy", "").query("select 4").value(), "4");
    weir.assert_quiet();
}
