//! Answers from memory, on a real server: given when they are right, and only then.

use std::time::Duration;

use crate::cached::Cached;
use crate::support::operate::until;
use crate::support::{Pgweir, Postgres, Wire, bind, describe_portal, execute, parse, query, sync};

#[test]
fn a_repeated_read_comes_from_memory_and_a_write_is_seen_at_once() {
    let cached = Cached::start();
    let (mut reader, mut writer) = (cached.client(), cached.client());
    let sql = "select n from plain where id = 1";
    assert_eq!(
        cached.ask(&mut reader, sql),
        (vec![vec!["10".into()]], false)
    );
    assert_eq!(
        cached.ask(&mut reader, sql),
        (vec![vec!["10".into()]], true)
    );
    assert_eq!(
        cached.ask(&mut writer, sql),
        (vec![vec!["10".into()]], true)
    );
    writer.query("update plain set n = 11 where id = 1");
    assert_eq!(
        cached.ask(&mut reader, sql),
        (vec![vec!["11".into()]], false)
    );
    assert_eq!(
        cached.ask(&mut writer, sql),
        (vec![vec!["11".into()]], true)
    );
    // The very same bytes as from the server.
    let direct = cached.pg.client().query(sql);
    let from_memory = reader.query(sql);
    let bytes = |a: &crate::support::Answer| -> Vec<(u8, Vec<u8>)> {
        a.0.iter().map(|m| (m.tag, m.body.clone())).collect()
    };
    assert_eq!(bytes(&direct), bytes(&from_memory));
    cached.weir.assert_quiet();
}

/// Reads, and a write that changes what they see.
const TOUCHING: &[(&str, &str)] = &[
    ("select * from plain", "insert into plain values (100, 1)"),
    (
        "select * from plain",
        "with x as (delete from plain where id = 100 returning id) select * from x",
    ),
    ("select count(*) from plain", "copy plain from stdin"),
    (
        "select * from upper_view",
        "update plain set n = n + 1 where id = 1",
    ),
    ("table plain", "update simple_view set n = n + 1"),
    ("select * from part", "insert into part_1 values (1, 1)"),
    ("select * from part_1", "insert into part values (1, 2)"),
    (
        "select * from part_2a",
        "update part set k = 12 where v = 2",
    ),
    ("select * from parent", "insert into child values (1, 2)"),
    ("select * from child", "update parent set a = a + 1"),
    ("select * from orders", "delete from customers where id = 1"),
    ("select * from lines", "delete from customers where id = 2"),
    (
        "select customer from orders where id = 30",
        "update customers set id = 33 where id = 3",
    ),
    ("select * from lines", "truncate customers cascade"),
    ("select * from audit", "insert into watched values (1)"),
    ("select * from audit", "select log_something('x')"),
    (
        "select * from plain",
        "do $$ begin update plain set n = 0; end $$",
    ),
    ("select * from plain", "call bump()"),
    ("select * from mat", "refresh materialized view mat"),
    ("select * from ruled_log", "insert into ruled values (1)"),
    (
        "select * from plain",
        "begin; update plain set n = n + 1; commit",
    ),
    (
        "select * from plain",
        "prepare p as update plain set n = n + 1; execute p; deallocate p",
    ),
    (
        "select * from plain",
        "explain analyze update plain set n = n + 1",
    ),
    (
        "select * from plain",
        "merge into plain using (values (1)) v (i) on id = i when matched then update set n = 77",
    ),
    (
        "select * from plain",
        "insert into plain values (1, 5) on conflict (id) do update set n = excluded.n + 5",
    ),
    (
        "select * from plain",
        "alter table plain add column if not exists extra int default 5",
    ),
    (
        "select * from upper_view",
        "create or replace view simple_view as select id, n + 1000 as n from plain",
    ),
    (
        "select * from other.plain",
        "set search_path to other; insert into plain values (5, 5); reset search_path",
    ),
    (
        "select * from defaulted",
        "insert into defaulted default values",
    ),
    (
        "select * from audit",
        "insert into defaulted default values",
    ),
    ("select * from audit", "insert into numbers (n) values (1)"),
    (
        "select * from audit",
        "insert into defaulting (id) values (1)",
    ),
    ("select * from audit", "insert into split_1 values (1)"),
];

#[test]
fn every_kind_of_write_is_seen() {
    let cached = Cached::start();
    let (mut reader, mut writer) = (cached.client(), cached.client());
    let mut direct = cached.pg.client();
    for (read, write) in TOUCHING {
        cached.wait_ready(&mut reader);
        cached.assert_hit(&mut reader, read);
        let before = cached.ask(&mut reader, read).0;
        if write.starts_with("copy") {
            writer.send(&query(write)).unwrap();
            writer
                .send(&crate::support::message(b'd', b"200\t1\n"))
                .unwrap();
            writer.send(&crate::support::message(b'c', b"")).unwrap();
            assert_eq!(writer.answer().code(), None, "{write}");
        } else {
            let answer = writer.query(write);
            assert_eq!(answer.code(), None, "{write}");
        }
        let (after, hit) = cached.ask(&mut reader, read);
        assert!(!hit, "{read} after {write}");
        assert_eq!(after, direct.query(read).rows(), "{read} after {write}");
        assert_ne!(after, before, "{write} changes nothing that {read} sees");
    }
    cached.weir.assert_quiet();
}

#[test]
fn arguments_of_what_is_executed_may_write() {
    let cached = Cached::start();
    let (mut reader, mut writer) = (cached.client(), cached.client());
    let read = "select count(*) from audit";
    let prepared = writer.query("prepare p(int) as select $1 from plain");
    assert_eq!(prepared.code(), None);
    cached.assert_hit(&mut reader, read);
    assert_eq!(writer.query("execute p(next_id())").code(), None);
    assert_eq!(
        cached.ask(&mut reader, read),
        (vec![vec!["1".into()]], false)
    );
    cached.wait_ready(&mut reader);
    cached.assert_hit(&mut reader, read);
    assert_eq!(writer.query("execute p(abs(1))").code(), None);
    cached.assert_hit(&mut reader, read);
}

#[test]
fn constraints_of_domains_may_write() {
    let cached = Cached::start();
    let (mut reader, mut writer) = (cached.client(), cached.client());
    let domains = writer.query(
        "create function checked(int) returns bool language plpgsql as $$
         begin insert into audit values ('checked'); return true; end $$;
         create domain checked_int int check (checked(value));
         create domain checked_twice checked_int",
    );
    assert_eq!(domains.code(), None);
    let read = "select count(*) from audit";
    for (written, write) in ["select 1::checked_int", "select 1::checked_twice"]
        .iter()
        .enumerate()
    {
        cached.wait_ready(&mut reader);
        cached.assert_hit(&mut reader, read);
        assert_eq!(writer.query(write).code(), None);
        let expected = vec![vec![(written + 1).to_string()]];
        assert_eq!(cached.ask(&mut reader, read), (expected, false), "{write}");
    }
    // What has nothing to do with them changes nothing.
    cached.wait_ready(&mut reader);
    cached.assert_hit(&mut reader, read);
    assert_eq!(writer.query("select now()").code(), None);
    cached.assert_hit(&mut reader, read);
}

/// Before PostgreSQL 15, what partitions have of their parent's triggers counts as internal.
#[test]
fn triggers_of_a_partitioned_table_are_those_of_its_partitions() {
    let cached = Cached::of_version(13);
    let (mut reader, mut writer) = (cached.client(), cached.client());
    let read = "select count(*) from audit";
    cached.assert_hit(&mut reader, read);
    let written = writer.query("insert into split_1 values (1)");
    assert_eq!(written.code(), None);
    assert_eq!(
        cached.ask(&mut reader, read),
        (vec![vec!["1".into()]], false)
    );
}

/// What a transaction sets for itself decides about its writes as well.
#[test]
fn names_mean_what_the_transaction_has_set() {
    let cached = Cached::start();
    let (mut reader, mut writer) = (cached.client(), cached.client());
    reader.query("set search_path to other");
    let read = "select count(*) from plain";
    let insert = "insert into plain values (1, 1)";
    let mut written = 0;
    for texts in [
        &["begin", "set local search_path to other", insert, "commit"][..],
        &["begin; set local search_path to other", insert, "commit"],
        &[
            "begin",
            "select set_config('search_path', 'other', true)",
            insert,
            "commit",
        ],
        &["set search_path to other; insert into plain values (1, 1)"],
        &[
            "prepare p as select set_config('search_path', 'other', true)",
            "begin",
            "execute p",
            insert,
            "commit",
        ],
        &["begin", "set search_path to other", insert, "commit"],
    ] {
        cached.wait_ready(&mut cached.client());
        cached.assert_hit(&mut reader, read);
        for text in texts {
            assert_eq!(writer.query(text).code(), None, "{text}");
        }
        written += 1;
        assert_eq!(reader.query(read).value(), written.to_string(), "{texts:?}");
        writer.query("reset search_path");
    }
    // The next transaction is followed again.
    cached.assert_hit(&mut reader, read);
    writer.query("insert into customers values (9, 'x')");
    cached.assert_hit(&mut reader, read);
    // What is sent without waiting for the answer.
    let messages = [query("set search_path to other"), query(insert)];
    writer.send(&messages.concat()).unwrap();
    for _ in 0..2 {
        assert_eq!(writer.answer().code(), None);
    }
    assert_eq!(reader.query(read).value(), (written + 1).to_string());
    cached.weir.assert_quiet();
}

/// The server passes over schemas of the path that the role may not use.
#[test]
fn names_mean_what_the_role_may_see() {
    let cached = Cached::with("[users.low]\npassword = 'x'", "");
    let mut owner = cached.client();
    for sql in [
        "create schema priv",
        "create table priv.plain (like public.plain)",
        "grant select on customers to amy",
        "create role app",
        "create role low login noinherit in role app",
        "create schema inside",
        "create table inside.plain (like public.plain)",
        "grant usage on schema inside to app",
        "grant all on inside.plain to app",
        "alter role low set search_path = inside, public",
    ] {
        assert_eq!(owner.query(sql).code(), None, "{sql}");
    }
    cached.wait_ready(&mut owner);
    let count = "select count(*) from plain";
    let number = |n: &str| vec![vec![n.to_owned()]];
    let ready = |client: &mut Wire, user: &str| {
        until("the catalogs are known to this pool", || {
            client.query("select count(*) from public.plain");
            cached.row(user)["state"] == "ready"
        });
    };
    // The pool's own role.
    let mut amy = cached.weir.connect("amy", "postgres");
    ready(&mut amy, "amy");
    cached.assert_hit(&mut owner, count);
    for sql in [
        "set search_path = priv, public",
        "insert into plain values (50, 50)",
    ] {
        assert_eq!(amy.query(sql).code(), None, "{sql}");
    }
    assert_eq!(cached.ask(&mut owner, count), (number("4"), false));
    assert_eq!(amy.query(count).value(), "4");
    let hits = || cached.row("amy")["hits"].clone();
    let before = hits();
    assert_eq!(amy.query(count).value(), "4");
    assert_ne!(hits(), before, "what is sure is remembered");
    owner.query("insert into plain values (51, 51)");
    assert_eq!(amy.query(count).value(), "5");
    // Another role: what it may use is not known.
    let mut other = cached.client();
    cached.assert_hit(&mut owner, count);
    for sql in [
        "set search_path = priv, public",
        "set role amy",
        "insert into plain values (52, 52)",
    ] {
        assert_eq!(other.query(sql).code(), None, "{sql}");
    }
    assert_eq!(cached.ask(&mut owner, count), (number("6"), false));
    cached.assert_never(&mut other, count);
    cached.assert_hit(&mut other, "select count(*) from customers");
    // A role that may use more than the pool's own, with the path that both have from the beginning.
    let inside = "select count(*) from inside.plain";
    let mut low = cached.weir.connect("low", "postgres");
    ready(&mut low, "low");
    cached.assert_hit(&mut owner, inside);
    for sql in ["set role app", "insert into plain values (1, 1)"] {
        assert_eq!(low.query(sql).code(), None, "{sql}");
    }
    assert_eq!(cached.ask(&mut owner, inside), (number("1"), false));
    // A role that is none.
    low.query("set role none");
    assert_eq!(low.query("select current_user::text").value(), "low");
    cached.weir.assert_quiet();
}

#[test]
fn writes_elsewhere_leave_it_alone() {
    let cached = Cached::start();
    let (mut reader, mut writer) = (cached.client(), cached.client());
    let read = "select * from plain where id < 3";
    cached.assert_hit(&mut reader, read);
    for write in [
        "insert into other.plain values (9, 9)",
        "update customers set name = 'x'",
        // Its foreign key has triggers that are those of its parent.
        "insert into visits_1 values (4)",
        "begin; insert into other.plain values (8, 8); rollback",
        "begin; update plain set n = 0; rollback",
        "select nextval('seq'), random(), pg_sleep(0), set_config('a.b', 'c', false)",
        "select * from plain for update",
        "insert into defaulted (id, n) select 1, 1 where false",
    ] {
        for statement in write.split("; ") {
            let answer = writer.query(statement);
            assert_eq!(answer.code(), None, "{statement}");
        }
        let may = write.contains("defaulted");
        assert!(
            cached.ask(&mut reader, read).1 || may,
            "{write}: {:?}",
            cached.why(write)
        );
        cached.wait_ready(&mut reader);
        cached.assert_hit(&mut reader, read);
    }
}

#[test]
fn what_changes_by_itself_is_never_remembered() {
    let cached = Cached::start();
    let mut client = cached.client();
    for sql in [
        "select now()",
        "select current_date, n from plain",
        "select random() from plain",
        "select clock_timestamp()",
        "select nextval('seq')",
        "select pg_backend_pid()",
        "select txid_current()",
        "select * from pg_class limit 1",
        "select * from information_schema.tables limit 1",
        "select 'now'::timestamptz",
        "select timestamp 'today'",
        "select * from timed_view",
        "select * from view_on_timed_view",
        "select * from secured",
        "select * from view_on_secured",
        "select stable_reader()",
        "select volatile_thing()",
        "select age(timestamp '2020-01-01')",
        "select * from seq",
        "select 1 <~> 2",
        "select odd_agg(n) from plain",
        "select (p).by_column from plain p",
        "select p.by_column from plain p",
        "select * from plain for share",
        "select * from plain tablesample bernoulli (100)",
        "select 'plain'::regclass",
        "select current_setting('work_mem')",
        "select 1; select 2",
        "show search_path",
        "explain select 1",
    ] {
        cached.assert_never(&mut client, sql);
    }
    // Functions that may do anything were called.
    cached.wait_ready(&mut client);
    for sql in [
        "select 1",
        "select lower('A'), n + 1, n || 'x' from plain where n between 1 and 5 and n in (1, 2)",
        "select to_char(date '2020-01-01', 'YYYY'), extract(year from date '2020-01-01')",
        "select count(*), sum(n), max(n), string_agg(n::text, ',' order by n) from plain",
        "with recursive c (n) as (select 1 union all select n + 1 from c where n < 5) select * from c",
        "select * from customers c left join orders o on o.customer = c.id order by 1, 2, 3",
        "select immutable_thing(n) from plain",
        "select current_user, session_user, current_database(), current_setting('my.own', true)",
        "select jsonb_build_object('a', n) -> 'a' from plain",
        "select * from generate_series(1, 3)",
        "select 'happy'::mood, array[1, 2]::int[]",
        "select row_number() over (partition by n order by id) from plain",
        "select case when exists (select 1 from other.plain) then 1 else 2 end",
        "select * from upper_view u join mat m on m.id = u.id",
    ] {
        cached.assert_hit(&mut client, sql);
    }
}

#[test]
fn each_role_and_each_setting_has_its_own() {
    let cached = Cached::start();
    let mut postgres = cached.client();
    let who = "select current_user::text, n from plain where id = 1";
    cached.assert_hit(&mut postgres, who);
    let mut amy = cached.weir.connect("amy", "postgres");
    assert_eq!(amy.query(who).rows()[0][0], "amy");
    until("amy's cache is ready", || {
        amy.query(who);
        cached.row("amy")["state"] == "ready"
    });
    for _ in 0..3 {
        assert_eq!(amy.query(who).rows()[0][0], "amy");
        assert_eq!(postgres.query(who).rows()[0][0], "postgres");
    }
    postgres.query("set role amy");
    for _ in 0..3 {
        assert_eq!(postgres.query(who).rows()[0][0], "amy");
    }
    postgres.query("reset role");
    assert_eq!(postgres.query(who).rows()[0][0], "postgres");
    // The same text means another table, another form.
    let count = "select count(*) from plain";
    let here = postgres.query(count).value();
    postgres.query("set search_path to other");
    let there = postgres.query(count).value();
    assert_ne!(here, there);
    for _ in 0..2 {
        assert_eq!(postgres.query(count).value(), there);
    }
    postgres.query("insert into plain values (7, 7)");
    assert_ne!(postgres.query(count).value(), there);
    postgres.query("reset search_path");
    assert_eq!(postgres.query(count).value(), here);
    let when = "select timestamptz '2020-01-01 00:00 UTC', date '2020-02-01'";
    let mut seen = Vec::new();
    for settings in [
        "set timezone to 'Asia/Tokyo'",
        "set timezone to 'UTC'",
        "set datestyle to 'German'",
        "set datestyle to 'ISO'",
    ] {
        postgres.query(settings);
        let first = postgres.query(when).rows();
        assert_eq!(postgres.query(when).rows(), first);
        seen.push(first);
    }
    assert_ne!(seen[0], seen[1]);
    assert_ne!(seen[1], seen[2]);
    assert_eq!(seen[1], seen[3]);
}

fn run(client: &mut Wire, messages: &[Vec<u8>]) -> (String, Vec<Vec<String>>) {
    client.send(&messages.concat()).unwrap();
    let answer = client.answer();
    (answer.tags(), answer.rows())
}

#[test]
fn the_extended_protocol_hits_as_well() {
    let cached = Cached::start();
    let mut client = cached.client();
    let sql = "select n from plain where id = 2";
    let unnamed = [
        parse("", sql),
        bind(""),
        describe_portal(),
        execute(),
        sync(),
    ];
    // The unnamed statement gets a name at its second time, and is proven by then.
    let expected = run(&mut client, &unnamed);
    assert_eq!(expected.0, "12TDCZ");
    for _ in 0..2 {
        assert_eq!(run(&mut client, &unnamed), expected);
    }
    let before = cached.count("hits");
    assert_eq!(run(&mut client, &unnamed), expected);
    assert_eq!(cached.count("hits"), before + 1);
    // Named, described and not described.
    assert_eq!(run(&mut client, &[parse("s", sql), sync()]).0, "1Z");
    let plain = [bind("s"), execute(), sync()];
    assert_eq!(
        run(&mut client, &plain),
        ("2DCZ".to_owned(), expected.1.clone())
    );
    assert_eq!(cached.count("hits"), before + 2);
    client.query("update plain set n = 21 where id = 2");
    let fresh = run(&mut client, &plain);
    assert_eq!(fresh.1, vec![vec!["21".to_owned()]]);
    assert_eq!(run(&mut client, &plain), fresh);
    // What was asked for without a description does not serve one who wants it.
    assert_eq!(run(&mut client, &unnamed).0, "12TDCZ");
    assert_eq!(run(&mut client, &unnamed).1, fresh.1);
    // Two statements before one Sync go past it, and a row limit does.
    let hits = cached.count("hits");
    let two = [bind("s"), execute(), bind("s"), execute(), sync()];
    assert_eq!(run(&mut client, &two).0, "2DC2DCZ");
    let limited = crate::support::message(b'E', b"\0\0\0\0\x01");
    assert_eq!(run(&mut client, &[bind("s"), limited, sync()]).0, "2DsZ");
    assert_eq!(cached.count("hits"), hits);
    cached.weir.assert_quiet();
}

#[test]
fn transactions_read_from_the_server() {
    let cached = Cached::start();
    let (mut one, mut two) = (cached.client(), cached.client());
    let read = "select n from plain where id = 1";
    cached.assert_hit(&mut one, read);
    two.query("begin");
    two.query("update plain set n = 500 where id = 1");
    assert_eq!(two.query(read).value(), "500", "its own write");
    assert_eq!(cached.ask(&mut one, read), (vec![vec!["10".into()]], true));
    two.query("commit");
    assert_eq!(one.query(read).value(), "500");
    // In the extended protocol, CommandComplete comes before the commit.
    cached.assert_hit(&mut one, read);
    let write = [
        parse("", "update plain set n = 501 where id = 1"),
        bind(""),
        execute(),
        crate::support::message(b'H', b""),
    ];
    two.send(&write.concat()).unwrap();
    for expected in [b'1', b'2', b'C'] {
        assert_eq!(two.read_message().unwrap().tag, expected);
    }
    // Not yet committed: the old row is right, but it must not be remembered beyond.
    for _ in 0..3 {
        assert_eq!(one.query(read).value(), "500");
    }
    two.send(&sync()).unwrap();
    assert_eq!(two.answer().status(), Some('I'));
    assert_eq!(one.query(read).value(), "501");
    cached.weir.assert_quiet();
}

#[test]
fn one_asks_for_all() {
    let cached = Cached::start();
    let mut direct = cached.pg.client();
    let slow = "select slow(n) from plain where id = 1";
    let mut clients: Vec<Wire> = (0..12).map(|_| cached.client()).collect();
    for client in &mut clients {
        client.send(&query(slow)).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.answer().value(), "10");
    }
    assert_eq!(
        direct.query("select last_value from calls").value(),
        "2",
        "called once"
    );
    assert_eq!(cached.count("joined"), 11);
    // Who fails wakes them all, and nothing is remembered.
    let failing = "select slow(n) / (n - 10) from plain where id = 1";
    for client in &mut clients {
        client.send(&query(failing)).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.answer().code().as_deref(), Some("22012"));
    }
    assert_eq!(clients[0].query(failing).code().as_deref(), Some("22012"));
    // One that waits can be cancelled, or leave.
    let other = "select slow(n) + 1 from plain where id = 1";
    for client in &mut clients[..4] {
        client.send(&query(other)).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    clients[2].cancel();
    assert_eq!(clients[2].answer().code().as_deref(), Some("57014"));
    let gone = clients.remove(3);
    drop(gone);
    assert_eq!(clients[0].answer().value(), "11");
    assert_eq!(clients[1].answer().value(), "11");
    assert_eq!(clients[2].query("select 1").value(), "1");
    cached.weir.assert_quiet();
}

#[test]
fn a_read_that_a_write_overtakes_is_not_remembered() {
    let cached = Cached::start();
    let (mut reader, mut writer) = (cached.client(), cached.client());
    let slow = "select slow(n) from plain where id = 1";
    reader.send(&query(slow)).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    writer.query("update plain set n = 12 where id = 1");
    // Its snapshot is from before the write.
    assert_eq!(reader.answer().value(), "10");
    assert_eq!(cached.count("overtaken"), 1);
    assert_eq!(writer.query(slow).value(), "12");
    assert_eq!(reader.query(slow).value(), "12");
}

#[test]
fn temporary_tables_and_pins_go_past_it() {
    let cached = Cached::start();
    let (mut one, mut two) = (cached.client(), cached.client());
    let read = "select count(*) from plain";
    let real = two.query(read).value();
    one.query("create temporary table plain (x int)");
    for _ in 0..3 {
        assert_eq!(one.query(read).value(), "0");
        assert_eq!(two.query(read).value(), real);
    }
    one.query("drop table pg_temp.plain");
    assert_eq!(one.query(read).value(), real);
}

#[test]
fn a_lost_connection_is_a_doubt() {
    let cached = Cached::start();
    let (mut one, mut two) = (cached.client(), cached.client());
    let read = "select n from plain where id = 1";
    cached.assert_hit(&mut one, read);
    let lost = two.query(
        "update plain set n = 1000 where id = 1; select pg_terminate_backend(pg_backend_pid())",
    );
    assert!(lost.code().is_some());
    for _ in 0..3 {
        assert!(
            !cached.ask(&mut one, read).1,
            "nobody knows whether it was committed"
        );
    }
    // Other tables go on.
    cached.assert_hit(&mut one, "select count(*) from customers");
}

#[test]
fn another_pool_of_the_same_database_is_followed() {
    let pg = Postgres::start();
    pg.client()
        .query("create table t (n int); insert into t values (1)");
    let pool = |name: &str, cache: &str| {
        format!(
            "[pools.{name}]\nhost = '127.0.0.1'\nport = {}\ndbname = 'postgres'\n{cache}\n",
            pg.port
        )
    };
    // It leads there by a list, and to another one.
    let placed = format!(
        "[pools.placed]\ndbname = 'postgres'\n\
         hosts = [{{ host = '127.0.0.1', port = {} }}, {{ host = '127.0.0.1', port = 1, role = 'replica' }}]\n",
        pg.port
    );
    let pools =
        pool("cached", "[pools.cached.cache]\nenabled = true") + &pool("plain", "") + &placed;
    let weir = Pgweir::start(pg.port, &pools);
    let mut reader = weir.connect("postgres", "cached");
    let hits = || -> u64 {
        let rows = weir.show("CACHE");
        let row = rows.iter().find(|r| r["database"] == "cached").unwrap();
        row["hits"].parse().unwrap()
    };
    until("it is ready", || {
        reader.query("select n from t");
        hits() > 0
    });
    // One by its entry, one below "*".
    for database in ["plain", "postgres", "placed"] {
        let mut writer = weir.connect("postgres", database);
        for _ in 0..3 {
            writer.query("update t set n = n + 1");
            let now = writer.query("select n from t").value();
            assert_eq!(reader.query("select n from t").value(), now, "{database}");
        }
    }
}

/// What a pool gives its sessions from the beginning counts as what they set themselves.
#[test]
fn pools_with_other_parameters_have_answers_of_their_own() {
    let pg = Postgres::start();
    let mut admin = pg.client();
    for sql in [
        "create schema one",
        "create schema two",
        "create table one.t as select 'one' as n",
        "create table two.t as select 'two' as n",
        "create table public.moment as select timestamptz '2020-01-01 00:00:00Z' as at",
    ] {
        assert_eq!(admin.query(sql).code(), None, "{sql}");
    }
    let pool = |name: &str, own: &str| {
        format!(
            "[pools.{name}]\nhost = '127.0.0.1'\nport = {}\ndbname = 'postgres'\n{own}\n\
             [pools.{name}.cache]\nenabled = true\n",
            pg.port
        )
    };
    let pools = pool(
        "a",
        "timezone = 'UTC'\nconnect_query = 'set search_path = one'",
    ) + &pool(
        "b",
        "timezone = 'Asia/Tokyo'\nconnect_query = 'set search_path = one'",
    ) + &pool(
        "c",
        "timezone = 'UTC'\nconnect_query = 'set search_path = two'",
    );
    let weir = Pgweir::start(pg.port, &pools);
    let hits = |name: &str| -> u64 {
        let rows = weir.show("CACHE");
        let row = rows.iter().find(|r| r["database"] == name);
        row.map_or(0, |row| row["hits"].parse().unwrap())
    };
    let questions = ["select n from t", "select at from public.moment"];
    for (name, table, moment) in [
        ("a", "one", "2020-01-01 00:00:00+00"),
        ("b", "one", "2020-01-01 09:00:00+09"),
        ("c", "two", "2020-01-01 00:00:00+00"),
    ] {
        let mut client = weir.connect("postgres", name);
        until("they are remembered", || {
            let answers = questions.map(|sql| client.query(sql).value());
            assert_eq!(answers, [table, moment], "{name}");
            hits(name) > 3
        });
    }
    let top = weir.show("CACHE TOP");
    let of = |sql: &str| top.iter().filter(|r| r["statement"] == sql).count();
    assert_eq!(questions.map(of), [3, 3], "{top:?}");
}

#[test]
fn roles_are_those_of_all_databases() {
    let pg = Postgres::start();
    let mut admin = pg.client();
    for sql in [
        "create role readers",
        "create role amy login in role readers",
        "create database second",
    ] {
        assert_eq!(admin.query(sql).code(), None, "{sql}");
    }
    let mut second = Wire::connect(pg.port, "postgres", "second");
    second.query("create table t (n int); insert into t values (1); grant select on t to readers");
    let pool = |name: &str| {
        format!(
            "[pools.{name}]\nhost = '127.0.0.1'\nport = {}\n[pools.{name}.cache]\nenabled = true\n",
            pg.port
        )
    };
    let config = pool("postgres") + &pool("second") + "[users.amy]\n";
    let weir = Pgweir::start(pg.port, &config);
    let mut amy = weir.connect("amy", "second");
    let hits = || -> u64 {
        let rows = weir.show("CACHE");
        let row = rows.iter().find(|r| r["user"] == "amy").unwrap();
        row["hits"].parse().unwrap()
    };
    until("it is remembered", || {
        assert_eq!(amy.query("select n from t").value(), "1");
        hits() > 0
    });
    let revoked = weir.client().query("revoke readers from amy");
    assert_eq!(revoked.code(), None);
    let refused = amy.query("select n from t");
    assert_eq!(refused.code().as_deref(), Some("42501"));
}

#[test]
fn a_server_that_crashed_may_have_lost_what_was_remembered() {
    let mut cached = Cached::start();
    let mut client = cached.client();
    let mut direct = cached.pg.client();
    direct.query("create unlogged table fleeting (n int)");
    drop(direct);
    cached.weir.console().query("CACHE FLUSH");
    until("the table is known", || {
        client.query("insert into fleeting values (1)");
        cached.wait_ready(&mut client);
        cached.ask(&mut client, "select count(*) from fleeting");
        cached.ask(&mut client, "select count(*) from fleeting").1
    });
    cached.pg.signal("-QUIT");
    cached.pg.restart();
    until("the server is back", || {
        client.query("select 2 where random() < 0").code().is_none()
    });
    assert_eq!(client.query("select count(*) from fleeting").value(), "0");
}

const SECURED: &str = "
create role bob login;
create role trusted login bypassrls;
create table tenants (id int primary key, owner text);
create table rows_of (tenant int, what text);
create table members (tenant int, name text);
create table odd_policy (n int);
insert into tenants values (1, 'amy'), (2, 'bob');
insert into rows_of values (1, 'of one'), (2, 'of two');
insert into members values (1, 'amy'), (2, 'bob');
alter table tenants enable row level security;
alter table rows_of enable row level security;
alter table odd_policy enable row level security;
create policy p on tenants using (owner = current_user);
create policy p on rows_of for select using (
    tenant = nullif(current_setting('app.tenant', true), '')::int
    or exists (select from members m where m.tenant = rows_of.tenant and m.name = current_user));
create policy p on odd_policy using (n > extract(epoch from now()));
create view through as select what from rows_of;
grant select on all tables in schema public to amy, bob, trusted";

#[test]
fn row_security_in_the_key_keeps_roles_and_tenants_apart() {
    let cached = Cached::with(
        "row_security = 'key'\n[users.bob]\npassword = 'x'\n[users.trusted]\npassword = 'x'",
        "",
    );
    assert_eq!(cached.pg.client().query(SECURED).code(), None);
    let mut owner = cached.client();
    owner.query("create table something (n int)"); // the catalogs are read again
    cached.wait_ready(&mut owner);
    let list = |answer: Vec<Vec<String>>| -> Vec<String> { answer.into_iter().flatten().collect() };
    let sql = "select what from rows_of order by 1";
    for round in 0..3 {
        for (user, tenant, expected) in [
            ("amy", "", &["of one"][..]),
            ("bob", "", &["of two"]),
            ("amy", "2", &["of one", "of two"]),
            ("bob", "3", &["of two"]),
            ("trusted", "", &["of one", "of two"]),
        ] {
            let mut client = cached.weir.connect(user, "postgres");
            if !tenant.is_empty() {
                client.query(&format!("set app.tenant = '{tenant}'"));
            }
            until("the catalogs are known to this pool", || {
                client.query("select count(*) from members");
                cached.row(user)["state"] == "ready"
            });
            let before: u64 = cached.row(user)["hits"].parse().unwrap();
            for _ in 0..2 {
                assert_eq!(list(client.query(sql).rows()), expected, "{user} {tenant}");
                let through = client.query("select what from through order by 1");
                // The view is read with its owner's rights, and the owner sees everything.
                assert_eq!(list(through.rows()), ["of one", "of two"]);
            }
            let after: u64 = cached.row(user)["hits"].parse().unwrap();
            assert!(
                after >= before + 2,
                "{user} {tenant} in round {round}: not remembered"
            );
        }
    }
    // What a policy reads counts as what the statement reads.
    let mut amy = cached.weir.connect("amy", "postgres");
    assert_eq!(list(amy.query(sql).rows()), ["of one"]);
    owner.query("insert into members values (2, 'amy')");
    assert_eq!(list(amy.query(sql).rows()), ["of one", "of two"]);
    owner.query("alter policy p on rows_of using (false)");
    assert!(amy.query(sql).rows().is_empty());
    // A policy that tells the time is none to remember by.
    let why = &cached.why("select * from odd_policy")[0];
    assert_eq!(why["cacheable"], "no", "{why:?}");
}

#[test]
fn blocks_that_only_read_get_what_is_remembered() {
    let cached = Cached::start();
    let (mut one, mut two) = (cached.client(), cached.client());
    let read = "select n from plain where id = 1";
    let other = "select n from plain where id = 2";
    // By name, for the extended protocol.
    one.send(&[parse("s", read), sync()].concat()).unwrap();
    assert_eq!(one.answer().code(), None);
    let in_block = |client: &mut Wire, sql: &str| -> (String, bool) {
        let before = cached.count("hits_in_block");
        let answer = client.query(sql);
        assert_eq!((answer.code(), answer.status()), (None, Some('T')), "{sql}");
        (answer.value(), cached.count("hits_in_block") > before)
    };
    let bound = |client: &mut Wire, portal: &str| -> (String, bool) {
        let before = cached.count("hits_in_block");
        let name = [portal.as_bytes(), b"\0"].concat();
        let bind = [&name[..], b"s\0", &[0; 6]].concat();
        let run = [&name[..], &[0; 4]].concat();
        let messages = [
            crate::support::message(b'B', &bind),
            crate::support::message(b'E', &run),
            sync(),
        ];
        client.send(&messages.concat()).unwrap();
        let answer = client.answer();
        assert_eq!((answer.code(), answer.tags()), (None, "2DCZ".to_owned()));
        (answer.value(), cached.count("hits_in_block") > before)
    };
    for begin in [
        "begin",
        "START TRANSACTION READ WRITE, ISOLATION LEVEL READ COMMITTED",
        "begin transaction read only",
    ] {
        cached.assert_hit(&mut one, read);
        bound(&mut one, "");
        one.query(begin);
        assert_eq!(in_block(&mut one, read), ("10".into(), true), "{begin}");
        assert_eq!(bound(&mut one, ""), ("10".into(), true), "{begin}");
        assert_eq!(
            bound(&mut one, "named"),
            ("10".into(), false),
            "it stays open"
        );
        // What is missed is not kept, and changes nothing.
        assert!(!in_block(&mut one, other).1);
        assert_eq!(in_block(&mut one, read), ("10".into(), true), "{begin}");
        // What another commits is seen inside as well.
        two.query("update plain set n = 11 where id = 1");
        assert_eq!(in_block(&mut one, read), ("11".into(), false), "{begin}");
        two.query("update plain set n = 10 where id = 1");
        assert_eq!(two.query(read).value(), "10");
        assert_eq!(one.query("commit").status(), Some('I'));
    }
    // Whatever else a block does or asks for, it goes past the memory.
    for first in [
        "begin isolation level repeatable read",
        "begin; select 1",
        "start transaction isolation level serializable read only",
        "begin read only, isolation level repeatable read",
        "begin;;set transaction isolation level repeatable read",
        "begin;;set local search_path to other",
        "begin;;set datestyle to german",
        "begin;;savepoint s",
        "begin;;lock table plain in share mode",
        "begin;;select * from plain where id = 2 for update",
        "begin;;update plain set n = n where id = 2",
        "begin;;select pg_advisory_xact_lock(7)",
        "begin;;select volatile_thing()",
        "begin;;declare c cursor for select 1",
        "begin;;begin",
        "set default_transaction_isolation to 'repeatable read';;begin",
    ] {
        let mut client = cached.client();
        cached.assert_hit(&mut client, read);
        for statement in first.split(";;") {
            assert_eq!(client.query(statement).code(), None, "{statement}");
        }
        let before = cached.count("hits");
        for _ in 0..2 {
            client.query(read);
        }
        assert_eq!(cached.count("hits"), before, "{first}");
        client.query("rollback");
        cached.assert_hit(&mut cached.client(), read);
    }
    cached.weir.assert_quiet();
}

/// Answers from memory are calls like others in the statistics of statements.
#[test]
fn answers_from_memory_are_counted_by_statement() {
    let cached = Cached::start();
    let mut client = cached.client();
    cached.assert_hit(&mut client, "select n from plain where id = 1");
    cached.weir.console().query("SHOW STATEMENTS RESET");
    for id in [1, 1, 1, 2] {
        client.query(&format!("select n from plain where id = {id}"));
    }
    let extended = [
        parse("", "select id from plain where n = 10"),
        bind(""),
        describe_portal(),
        execute(),
        sync(),
    ];
    for _ in 0..20 {
        client.send(&extended.concat()).unwrap();
        assert_eq!(client.answer().code(), None);
    }
    client.query("begin");
    client.query("select n from plain where id = 1");
    client.query("commit");
    let rows = cached.weir.show("STATEMENTS");
    let of = |text: &str, columns: [&str; 3]| -> Vec<u64> {
        let row = rows.iter().find(|row| row["query"] == text).unwrap();
        let values = columns.iter().map(|column| row[*column].parse().unwrap());
        values.collect()
    };
    let simple = "select n from plain where id = $1";
    assert_eq!(of(simple, ["calls", "rows", "errors"]), [5, 5, 0]);
    assert_eq!(of(simple, ["cache_hits", "errors", "wait_time"])[0], 4);
    let extended = of(
        "select id from plain where n = $1",
        ["calls", "cache_hits", "rows"],
    );
    assert_eq!(extended[0], 20);
    // A statement is not looked for before it has come again.
    assert!((15..20).contains(&extended[1]), "{extended:?}");
    assert!(extended[2] >= 20, "{extended:?}");
    let each = rows
        .iter()
        .map(|row| row["cache_hits"].parse::<u64>().unwrap());
    assert_eq!(each.sum::<u64>(), extended[1] + 4);
}
