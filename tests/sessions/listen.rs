//! LISTEN by the pool's one listening connection, against clients that speak the protocol byte for
//! byte.

use std::time::Duration;

use crate::support::operate::*;
use crate::support::*;

/// Server connections of pgweir.
pub const OURS: &str = "select count(*) from pg_stat_activity \
                    where backend_type = 'client backend' and pid <> pg_backend_pid()";
/// The next message, which must be a notification: channel and payload.
#[track_caller]
pub fn notification(wire: &mut Wire) -> (String, String) {
    let message = wire.read_message().unwrap();
    told(&message)
}

#[track_caller]
pub fn told(message: &Message) -> (String, String) {
    assert_eq!(char::from(message.tag), 'A', "{message:?}");
    let mut parts = message.body[4..].split(|b| *b == 0);
    let mut part = || String::from_utf8(parts.next().unwrap().to_vec()).unwrap();
    (part(), part())
}

pub fn pair(channel: &str, payload: &str) -> (String, String) {
    (channel.to_owned(), payload.to_owned())
}

/// Nothing comes.
#[track_caller]
pub fn silent(wire: &mut Wire) {
    assert!(!wire.answers_within(Duration::from_millis(200)));
}

#[track_caller]
pub fn ok(wire: &mut Wire, sql: &str) {
    let answer = wire.query(sql);
    assert_eq!(answer.tags(), "CZ", "{sql}: {}", error_text(&answer));
    assert_eq!(answer.status(), Some('I'), "{sql}");
}

/// Who listens to what, as the console says.
pub fn channels(weir: &Pgweir) -> Vec<(String, String)> {
    let rows = weir.show("CHANNELS").into_iter();
    rows.map(|r| (r["channel"].clone(), r["clients"].clone()))
        .collect()
}

pub fn extended(name: &str, sql: &str) -> Vec<u8> {
    [
        parse(name, sql),
        bind(name),
        describe_portal(),
        execute(),
        sync(),
    ]
    .concat()
}

#[test]
fn two_hundred_clients_listen_by_one_connection() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 2");
    let mut clients: Vec<Wire> = (0..200).map(|_| weir.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        ok(client, "listen everybody");
        ok(client, &format!("listen \"only {}\"", n % 10));
        assert_eq!(client.query("select 1").value(), "1");
    }
    let mut direct = pg.client();
    let ours: usize = direct.query(OURS).value().parse().unwrap();
    assert!(ours <= 3, "{ours} server connections");
    assert_eq!(weir.show("CHANNELS").len(), 11);
    direct.query("notify everybody, 'all'");
    direct.query("notify \"only 3\", 'some'");
    direct.query("notify nobody, 'none'");
    direct.query("notify everybody, 'again'");
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(notification(client), pair("everybody", "all"));
        if n % 10 == 3 {
            assert_eq!(notification(client), pair("only 3", "some"));
        }
        assert_eq!(notification(client), pair("everybody", "again"));
        assert_eq!(client.query("select 2").tags(), "TDCZ", "nothing more");
    }
    let ours: usize = direct.query(OURS).value().parse().unwrap();
    assert!(ours <= 3, "{ours} server connections");
    drop(clients);
    until("nobody listens", || weir.show("CHANNELS").is_empty());
    direct.wait_for(
        "select count(*) from pg_stat_activity where query like 'UNLISTEN %'",
        "1",
    );
    weir.assert_quiet();
}

/// Byte for byte what the server itself would say.
#[test]
fn answers_are_those_of_the_server() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let long = "X".repeat(70);
    let long_quoted = format!("\"{}\"", "ü".repeat(40));
    let names = [
        "news",
        "News",
        "\"News\"",
        "\"a \"\"quoted\"\"; name\"",
        "Größe",
        "\"日本語\"",
        &long,
        &long_quoted,
        // Not names, or not as they stand.
        "select",
        "user",
        "left",
        "between",
        "\"\"",
        "a.b",
        "a b",
        "'a'",
        "1",
        "*",
        "U&\"\\0061\"",
    ];
    let (mut direct, mut pooled) = (pg.client(), weir.client());
    // Errors say where in the source they were raised, which does not come along.
    let essence = |answer: &Answer| {
        let each = answer.0.iter().map(|m| match m.tag {
            b'E' => (m.tag, format!("{:?}", (answer.code(), error_text(answer)))),
            _ => (m.tag, text(&m.body)),
        });
        each.collect::<Vec<_>>()
    };
    for name in names {
        for sql in [
            format!("LISTEN {name}"),
            format!("/* x */ listen {name} ;;"),
            format!("UNLISTEN {name}"),
        ] {
            let expected = essence(&direct.query(&sql));
            assert_eq!(essence(&pooled.query(&sql)), expected, "{sql}");
            for wire in [&mut direct, &mut pooled] {
                wire.send(&extended("", &sql)).unwrap();
            }
            let (expected, got) = (direct.answer(), pooled.answer());
            // What the server says when it parses (a name too long, or none at all) comes later.
            let outcome = |answer: &Answer| {
                let all = essence(answer).into_iter();
                all.filter(|(tag, _)| b"EC".contains(tag))
                    .collect::<Vec<_>>()
            };
            assert_eq!(outcome(&got), outcome(&expected), "{sql}");
            assert_eq!(got.status(), Some('I'), "{sql}");
        }
    }
    for name in [
        "News",
        "\"News\"",
        "Größe",
        &long,
        &long_quoted,
        "U&\"\\0061\"",
    ] {
        for wire in [&mut direct, &mut pooled] {
            wire.query(&format!("LISTEN {name}"));
        }
        pg.client().query(&format!("NOTIFY {name}, 'hello'"));
        let expected = notification(&mut direct);
        assert_eq!(notification(&mut pooled), expected, "{name}");
        for wire in [&mut direct, &mut pooled] {
            wire.query("UNLISTEN *");
        }
    }
}

/// Parse and Describe may come long before Bind, as from asyncpg and tokio-postgres.
#[test]
fn prepared_listens_need_no_server_connection() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    // The one connection of the pool is somebody else's.
    let mut holder = weir.client();
    holder.query("begin");
    let mut client = weir.client();
    let flush = message(b'H', b"");
    let describe = message(b'D', b"Ss\0");
    client
        .send(&[parse("s", "LISTEN a"), describe, flush].concat())
        .unwrap();
    for tag in ['1', 't', 'n'] {
        assert_eq!(char::from(client.read_message().unwrap().tag), tag);
    }
    let mut direct = pg.client();
    client
        .send(&[bind("s"), execute(), sync()].concat())
        .unwrap();
    assert_eq!(client.answer().tags(), "2CZ");
    direct.query("notify a, '1'");
    assert_eq!(notification(&mut client), pair("a", "1"));
    // Nothing comes between a Parse and its Sync.
    client
        .send(&[parse("u", "UNLISTEN a"), message(b'H', b"")].concat())
        .unwrap();
    assert_eq!(client.read_message().unwrap().tag, b'1');
    direct.query("notify a, '2'");
    silent(&mut client);
    client.send(&sync()).unwrap();
    assert_eq!(client.answer().tags(), "Z");
    assert_eq!(notification(&mut client), pair("a", "2"));
    // In pieces.
    for byte in [bind("u"), describe_portal(), execute(), sync()].concat() {
        client.send(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.answer().tags(), "2nCZ");
    direct.query("notify a, '3'");
    silent(&mut client);
    // In a pipeline it is a server connection's, which waits for its turn.
    client
        .send(&[bind("s"), execute(), extended("", "select 1")].concat())
        .unwrap();
    silent(&mut client);
    holder.query("commit");
    assert_eq!(client.answer().tags(), "2C12TDCZ");
    assert_eq!(weir.count("postgres", "sv_active"), 1, "it is pinned");
    direct.query("notify a, '4'");
    assert_eq!(notification(&mut client), pair("a", "4"));
    client
        .send(&[bind("u"), execute(), sync()].concat())
        .unwrap();
    assert_eq!(client.answer().tags(), "2CZ");
    weir.assert_quiet();
}

#[test]
fn nothing_is_told_inside_a_transaction() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 2");
    let (mut client, mut direct) = (weir.client(), pg.client());
    ok(&mut client, "listen a");
    assert_eq!(client.query("begin").tags(), "CZ");
    direct.query("notify a, 'in'");
    silent(&mut client);
    assert_eq!(client.query("select 1").tags(), "TDCZ");
    silent(&mut client);
    assert_eq!(client.query("nonsense").tags(), "EZ");
    direct.query("notify a, 'failed'");
    silent(&mut client);
    assert_eq!(client.query("rollback").tags(), "CZ", "only behind it");
    assert_eq!(notification(&mut client), pair("a", "in"));
    assert_eq!(notification(&mut client), pair("a", "failed"));
    // Nor in the middle of an answer.
    client.send(&query("select 1, pg_sleep(0.5)")).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    direct.query("notify a, 'meanwhile'");
    assert_eq!(client.answer().tags(), "TDCZ");
    assert_eq!(notification(&mut client), pair("a", "meanwhile"));
    // Its own.
    assert_eq!(client.query("notify a, 'self'").tags(), "CZ");
    assert_eq!(notification(&mut client), pair("a", "self"));
    weir.assert_quiet();
}

/// A client with a server connection of its own for another reason is told between transactions.
#[test]
fn a_pinned_client_is_told_as_well() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let (mut client, mut direct) = (weir.client(), pg.client());
    ok(&mut client, "listen a");
    client.query("select pg_advisory_lock(1)");
    direct.query("notify a, 'pinned'");
    assert_eq!(notification(&mut client), pair("a", "pinned"));
    client.query("begin");
    direct.query("notify a, 'in'");
    silent(&mut client);
    assert_eq!(client.query("commit").tags(), "CZ");
    assert_eq!(notification(&mut client), pair("a", "in"));
    // What it listens to by its own connection is told once, and ended together with the rest.
    ok(&mut client, "listen a");
    until("that one is enough", || channels(&weir).is_empty());
    direct.query("notify a, 'once'");
    assert_eq!(notification(&mut client), pair("a", "once"));
    silent(&mut client);
    ok(&mut client, "unlisten a");
    direct.query("notify a, 'none'");
    silent(&mut client);
    client.query("select pg_advisory_unlock(1)");
    weir.assert_quiet();
}

#[test]
fn what_ends_a_subscription() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let mut direct = pg.client();
    let mut other = weir.client();
    ok(&mut other, "listen a");
    let reset = "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;";
    for (sql, ends) in [
        ("unlisten a", true),
        ("unlisten *", true),
        ("discard all", true),
        (reset, true),
        ("begin; unlisten a; commit", true),
        ("begin; savepoint s; release s; unlisten *; commit", true),
        ("begin; unlisten a; rollback", false),
        ("unlisten a; select 1/0", false),
        ("begin; unlisten a; select 1/0; commit", false),
        (
            "begin; savepoint s; unlisten a; rollback to s; commit",
            false,
        ),
        ("unlisten b", false),
        ("reset all", false),
        ("discard plans", false),
    ] {
        let mut client = weir.client();
        ok(&mut client, "listen a");
        client.query(sql);
        client.query("rollback");
        direct.query("notify a, 'x'");
        assert_eq!(notification(&mut other), pair("a", "x"), "{sql}");
        if ends {
            silent(&mut client);
            assert_eq!(channels(&weir), [pair("a", "1")], "{sql}");
        } else {
            assert_eq!(notification(&mut client), pair("a", "x"), "{sql}");
        }
    }
    until("they are gone", || channels(&weir) == [pair("a", "1")]);
    weir.assert_quiet();
}

#[test]
fn in_a_block_or_among_others_it_pins() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let mut direct = pg.client();
    for sql in ["begin; listen a; commit", "listen a; select 1"] {
        let mut client = weir.client();
        client.query(sql);
        assert_eq!(weir.count("postgres", "sv_active"), 1, "{sql}");
        assert!(channels(&weir).is_empty(), "{sql}");
        direct.query("notify a, 'x'");
        assert_eq!(notification(&mut client), pair("a", "x"), "{sql}");
        ok(&mut client, "unlisten *");
        weir.assert_quiet();
    }
    let weir = Pgweir::start(pg.port, "default_pool_size = 1\nlisten_channels = 'pin'");
    let mut client = weir.client();
    ok(&mut client, "listen a");
    assert_eq!(weir.count("postgres", "sv_active"), 1);
    // A loss is not passed over in silence either.
    direct.query(&format!(
        "select pg_terminate_backend(pid) {}",
        OURS.trim_start_matches("select count(*) ")
    ));
    let words = Answer(last_words(&mut client));
    assert_eq!(words.code().as_deref(), Some("57P01"), "{words:?}");
    let text = error_text(&words);
    assert!(text.contains("may have been missed"), "{text}");
}

/// In another encoding names and texts would have to be translated.
#[test]
fn clients_with_another_encoding_have_their_own_connection() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let mut client = weir.client();
    client.query("set client_encoding = latin1");
    ok(&mut client, "listen a");
    assert_eq!(weir.count("postgres", "sv_active"), 1);
    pg.client().query("notify a, 'ä'");
    let message = client.read_message().unwrap();
    assert_eq!(message.body[4..], *b"a\0\xe4\0");
    // Who changes it later must not get what it cannot read.
    drop(client);
    let mut client = weir.client();
    ok(&mut client, "listen b");
    client.query("set client_encoding = latin1");
    pg.client().query("notify b, 'ä'");
    let words = Answer(last_words(&mut client));
    assert_eq!(words.code().as_deref(), Some("0A000"), "{words:?}");
}

/// Bytes that wait for a client that does not read are bounded, and the others do not notice.
/// Cancelled, out of time or gone before the server has acknowledged it: nobody listens then.
/// A transaction of a pinned listener that is timed out leaves its LISTEN to nobody.
/// In order and complete, while everybody works.
/// Real drivers, each in its own way of LISTEN.
#[test]
fn drivers_are_notified() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let program = "
import asyncio, asyncpg, os, psycopg
port = os.environ['PORT']
dsn = f'host=127.0.0.1 port={port} user=postgres dbname=postgres'
with psycopg.connect(dsn, autocommit=True) as one, psycopg.connect(dsn, autocommit=True) as other:
    one.execute('LISTEN \"Psycopg\"')
    for n in range(3):
        other.execute(f'NOTIFY \"Psycopg\", $${n}$$')
    one.execute('NOTIFY \"Psycopg\", $$own$$')
    got = [(n.channel, n.payload) for n in one.notifies(timeout=10, stop_after=4)]
    assert got == [('Psycopg', p) for p in ('0', '1', '2', 'own')], got
    one.execute('UNLISTEN *')
    other.execute('NOTIFY \"Psycopg\"')
    assert not list(one.notifies(timeout=0.3))

async def main():
    connect = lambda: asyncpg.connect(host='127.0.0.1', port=port, user='postgres', database='postgres')
    pool = await asyncpg.create_pool(host='127.0.0.1', port=port, user='postgres', database='postgres', min_size=1, max_size=1)
    one, other, got = await connect(), await connect(), asyncio.Queue()
    heard = lambda c, pid, channel, payload: got.put_nowait((channel, payload))
    await one.add_listener('Asyncpg', heard)
    await other.execute('NOTIFY \"Asyncpg\", $$x$$')
    assert await asyncio.wait_for(got.get(), 10) == ('Asyncpg', 'x')
    await one.remove_listener('Asyncpg', heard)
    async with pool.acquire() as pooled:
        await pooled.add_listener('p', heard)
        await other.execute('NOTIFY p, $$pooled$$')
        assert await asyncio.wait_for(got.get(), 10) == ('p', 'pooled')
        await pooled.remove_listener('p', heard)
        await pooled.execute('LISTEN p')
    # The pool has reset it.
    async with pool.acquire() as pooled:
        await pooled.add_listener('q', heard)
        await other.execute('NOTIFY p')
        await other.execute('NOTIFY q, $$q$$')
        assert await asyncio.wait_for(got.get(), 10) == ('q', 'q')
        await pooled.remove_listener('q', heard)
    await pool.close()
asyncio.run(main())
print('well')
";
    assert_eq!(python(weir.port, program), "well");
    assert_eq!(weir.count("postgres", "sv_active"), 0);
    until("nobody listens", || channels(&weir).is_empty());
    weir.assert_quiet();
}

/// LISTEN is nothing that the cache would answer, nor does listening keep a client from it.
#[test]
fn listening_clients_are_answered_from_memory() {
    let pg = Postgres::start();
    let pool = format!(
        "[pools.cached]\nhost = '127.0.0.1'\nport = {}\ndbname = 'postgres'\n\
         [pools.cached.cache]\nenabled = true\nttl = '1m'",
        pg.port
    );
    let weir = Pgweir::start(pg.port, &pool);
    let mut direct = pg.client();
    direct.query("create table kept as select 1 as n");
    let mut client = weir.connect("postgres", "cached");
    ok(&mut client, "listen a");
    let hits = |weir: &Pgweir| {
        let rows = weir.show("CACHE").into_iter();
        rows.map(|r| r["hits"].parse::<u64>().unwrap_or(0))
            .sum::<u64>()
    };
    until("it is remembered", || {
        assert_eq!(client.query("select n from kept").value(), "1");
        hits(&weir) > 0
    });
    direct.query("notify a, 'x'");
    assert_eq!(notification(&mut client), pair("a", "x"));
    assert_eq!(client.query("select n from kept").tags(), "TDCZ");
    ok(&mut client, "listen b");
    ok(&mut client, "unlisten *");
    weir.assert_quiet();
}
