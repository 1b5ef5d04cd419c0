//! What the operator, the session and the statement say about what is remembered.

use std::time::Duration;

use crate::cached::Cached;
use crate::support::operate::until;
use crate::support::*;

fn ask(client: &mut Wire, messages: &[Vec<u8>]) -> Answer {
    client.send(&messages.concat()).unwrap();
    client.answer()
}

fn close_portal() -> Vec<u8> {
    message(b'C', b"P\0")
}

/// With one parameter, as text.
fn bind_text(statement: &str, value: &str) -> Vec<u8> {
    let mut body = [b"\0", statement.as_bytes(), b"\0\0\0\0\x01"].concat();
    body.extend((value.len() as u32).to_be_bytes());
    body.extend(value.bytes());
    body.extend([0, 0]);
    message(b'B', &body)
}

#[test]
fn time_to_live_hints_and_switches() {
    let cached = Cached::with("ttl = '3s'", "");
    let mut client = cached.client();
    let mut direct = cached.pg.client();
    let read = "select n from plain where id = 1";
    cached.assert_hit(&mut client, read);
    // A change made elsewhere is seen when the time is over.
    direct.query("update plain set n = 99 where id = 1");
    assert_eq!(client.query(read).value(), "10");
    until("its time is over", || client.query(read).value() == "99");
    assert!(cached.count("expired") >= 1);
    cached.assert_never(&mut client, &format!("/* pgweir: no-cache */ {read}"));
    let longer = format!("/* pgweir: cache ttl=1h */ {read} and n > 0");
    cached.assert_hit(&mut client, &longer);
    // A comment that differs each time makes no difference.
    assert!(
        cached
            .ask(&mut client, &format!("{read} and n > 0 /* trace 1 */"))
            .1
    );
    client.query("set pgweir.cache = off");
    cached.assert_never(&mut client, read);
    client.query("set pgweir.cache = on");
    cached.assert_hit(&mut client, read);
    client.query("reset pgweir.cache");
    cached.assert_hit(&mut client, read);
    // What an operator says.
    let answer = cached.weir.console().query("CACHE FLUSH TABLE plain");
    assert_eq!(answer.tags(), "CZ");
    assert!(!cached.ask(&mut client, read).1);
    cached.assert_hit(&mut client, read);
    cached.weir.console().query("CACHE FLUSH DATABASE postgres");
    assert!(!cached.ask(&mut client, read).1);
    cached.assert_hit(&mut client, read);
    cached.weir.console().query("CACHE FLUSH");
    assert!(!cached.ask(&mut client, read).1);
    let why = cached.why("select now()");
    assert_eq!(
        (&*why[0]["cacheable"], &*why[0]["reason"]),
        ("no", "stable_function")
    );
    let why = cached.why("select * from simple_view");
    assert_eq!(
        (&*why[0]["cacheable"], &*why[0]["reads"]),
        ("yes", "public.plain")
    );
    let why = cached.why("delete from customers");
    assert!(why[0]["writes"].contains("public.lines"), "{why:?}");
}

#[test]
fn what_the_operator_says_counts() {
    let cache = "rules = [{ tables = ['public.customers'], enabled = false }, \
                 { query = 'mat', users = ['amy'], enabled = false }, { query = 'brief', ttl = '1s' }]\n\
                 functions = { stable_reader = { reads = ['public.plain'] }, \
                 'public.audit_it' = { writes = ['audit'] } }\n\
                 tables = { defaulted = { writes = ['audit'] } }";
    let cached = Cached::with(cache, "");
    let mut client = cached.client();
    cached.assert_never(&mut client, "select * from customers");
    cached.assert_never(&mut client, "select 1 from plain, customers");
    cached.assert_hit(&mut client, "select * from mat");
    let brief = "select n as brief from plain where id = 1";
    cached.assert_hit(&mut client, brief);
    std::thread::sleep(Duration::from_millis(1200));
    assert!(!cached.ask(&mut client, brief).1, "its time is over");
    // A STABLE function is remembered until what it reads has changed.
    cached.assert_hit(&mut client, "select stable_reader()");
    let before = client.query("select stable_reader()").value();
    client.query("insert into plain values (300, 3)");
    assert_ne!(client.query("select stable_reader()").value(), before);
    // A trigger of which is known what it writes makes nothing else forgotten.
    cached.assert_hit(&mut client, "select * from orders");
    cached.assert_hit(&mut client, "select count(*) from audit");
    client.query("insert into watched values (3)");
    assert!(cached.ask(&mut client, "select * from orders").1);
    assert!(!cached.ask(&mut client, "select count(*) from audit").1);
    cached.weir.assert_quiet();
}

#[test]
fn errors_of_the_data_are_remembered_where_a_rule_says_so() {
    let cached = Cached::with("rules = [{ query = 'risky', errors = '1h' }]", "");
    let mut client = cached.client();
    let mut hits = 0;
    let mut assert_hit = |hit: bool, what: &str| {
        let before = std::mem::replace(&mut hits, cached.count("error_hits"));
        assert_eq!(hits, before + u64::from(hit), "{what}");
    };
    let risky = "select 1 / (n - 10) as risky from plain order by id desc";
    let first = client.query(risky);
    // Rows come before it.
    assert_eq!(first.tags(), "TDDEZ");
    assert_eq!(first.code().as_deref(), Some("22012"));
    assert_hit(false, "nobody has asked before");
    let again = client.query(risky);
    assert_eq!(again.0, first.0);
    assert_hit(true, "it is remembered");
    // Bound, described and not, and a portal that is closed behind it.
    ask(&mut client, &[parse("s", risky), sync()]);
    let plain = [bind("s"), execute(), sync()];
    let described = [bind("s"), describe_portal(), execute(), sync()];
    let closing = [bind("s"), execute(), close_portal(), sync()];
    for (messages, tags) in [
        (&plain[..], "2DDEZ"),
        (&described[..], "2TDDEZ"),
        (&closing[..], "2DDEZ"),
    ] {
        assert_eq!(ask(&mut client, messages).tags(), tags);
    }
    assert_hit(true, "the last one, as the one before it was described");
    // A value that cannot be bound: there is nothing to describe, and no BindComplete.
    let typed = "select n as risky from plain where id = $1";
    ask(&mut client, &[parse("t", typed), sync()]);
    let messages = [bind_text("t", "1x"), describe_portal(), execute(), sync()];
    let first = ask(&mut client, &messages);
    assert_eq!(
        (first.tags().as_str(), first.code().as_deref()),
        ("EZ", Some("22P02"))
    );
    assert_eq!(ask(&mut client, &messages).0, first.0);
    assert_hit(true, "a failed Bind");
    assert_eq!(
        ask(&mut client, &[bind_text("t", "1x"), execute(), sync()]).0,
        first.0
    );
    assert_hit(true, "not described");
    // A write is seen at once.
    client.query("update plain set n = 11 where id = 1");
    assert_eq!(client.query(risky).code(), None);
    // Other errors are not remembered, nor these without a rule or inside a block.
    for other in [
        "select 1 / (n - 11) from plain",
        "select no_such_column as risky from plain",
        "select 'x'::int as risky from plain",
    ] {
        for _ in 0..3 {
            assert!(client.query(other).code().is_some());
        }
    }
    client.query("update plain set n = 10 where id = 1");
    for _ in 0..2 {
        assert!(client.query(risky).code().is_some());
    }
    assert_hit(true, "again");
    client.query("begin");
    assert_eq!(client.query(risky).status(), Some('E'));
    client.query("rollback");
    assert_hit(false, "the block has to fail");
    cached.weir.assert_quiet();
}

#[test]
fn those_who_ask_at_once_can_share_what_is_not_remembered() {
    let rules =
        "rules = [{ users = ['postgres'], query = 'slow', enabled = false, coalesce = true }]";
    let cached = Cached::with(rules, "");
    let mut direct = cached.pg.client();
    let slow = "select slow(n) from plain where id = 1";
    // What made the cache ready may have been stored or not.
    let stored = cached.count("stored");
    let mut clients: Vec<Wire> = (0..6).map(|_| cached.client()).collect();
    let calls = |direct: &mut Wire| -> u64 {
        let calls = direct.query("select last_value from calls");
        calls.value().parse().unwrap()
    };
    for (round, joined) in [(1, 5), (2, 10)] {
        let before = calls(&mut direct);
        for client in &mut clients {
            client.send(&query(slow)).unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.answer().value(), "10", "round {round}");
        }
        assert_eq!(calls(&mut direct), before + 1, "asked once a round");
        assert_eq!(cached.count("joined"), joined);
    }
    assert_eq!(cached.count("stored"), stored);
    // Who has written since does not get what was asked for before.
    clients[0].send(&query(slow)).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    clients[1].query("update plain set n = 12 where id = 1");
    assert_eq!(clients[1].query(slow).value(), "12");
    assert_eq!(clients[0].answer().value(), "10");
    cached.weir.assert_quiet();
}
