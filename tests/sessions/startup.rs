//! The first packets of a connection, compared with what PostgreSQL does with the same ones.

use std::io::Read;

use crate::support::login::{psycopg, refusal, wait_until};
use crate::support::{Answer, Pgweir, Postgres, Wire, startup};

const V3: u32 = 3 << 16;
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

fn both() -> (Postgres, Pgweir) {
    let postgres = Postgres::start();
    let weir = Pgweir::start(postgres.port, "");
    (postgres, weir)
}

/// What a client with these parameters (of user `postgres`) gets, and what it then sees.
fn outcome(port: u16, pairs: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let mut wire = Wire::raw(port).unwrap();
    let pairs = [&[("user", "postgres"), ("database", "postgres")][..], pairs].concat();
    wire.send(&startup(V3, &pairs)).unwrap();
    let answer = wire.answer();
    if answer.status() != Some('I') {
        let (code, text) = refusal(&answer.0);
        return Err(format!("{code} {text}"));
    }
    let names = [
        "DateStyle",
        "TimeZone",
        "geqo",
        "search_path",
        "application_name",
        "work_mem",
    ];
    let mut seen: Vec<_> = names
        .iter()
        .map(|name| wire.query(&format!("SHOW {name}")).value())
        .collect();
    // What the client was told at login agrees.
    let mut told: Vec<_> = answer.0.iter().filter(|m| m.tag == b'S').collect();
    told.retain(|m| names.iter().any(|n| m.body.starts_with(n.as_bytes())));
    let mut told: Vec<_> = told.iter().map(|m| format!("{:?}", m.body)).collect();
    told.sort();
    told.dedup();
    seen.extend(told);
    Ok(seen)
}

#[test]
fn parameters_and_options_mean_what_they_mean_to_postgresql() {
    let (postgres, weir) = both();
    let cases: &[&[(&str, &str)]] = &[
        &[],
        &[("DateStyle", "SQL, DMY"), ("TimeZone", "Europe/Berlin")],
        &[
            ("options", "-c geqo=off -c datestyle=SQL"),
            ("DateStyle", "ISO"),
        ],
        &[("DateStyle", "ISO"), ("options", "-c datestyle=SQL")],
        &[("options", "-c geqo=off"), ("options", "-c work_mem=1MB")],
        &[
            ("options", "-c geqo=off --work-mem=2MB --"),
            ("application_name", "a b'c\\d"),
        ],
        &[("options", "-cgeqo=off   --work_mem=3MB")],
        &[("options", r"-c search_path=a\\b\ c,d")],
        &[("options", r#"-c search_path="A\ b",public"#)],
        &[("options", "-c application_name=")],
        &[("work_mem", "64kB"), ("WORK_MEM", "128kB")],
        &[("replication", "off")],
        &[("replication", "F"), ("geqo", "off")],
        &[("timezone", "nonsense")],
        &[("options", "-c timezone=nonsense")],
        &[("work_mem", "1kB")],
        &[("geqo", "perhaps")],
        &[("no_such_setting", "1")],
        &[("max_connections", "7")],
        &[("search_path", "'; DROP TABLE x; --")],
        &[("options", "nonsense")],
        &[("options", "-c")],
        &[("options", "-c geqo")],
        &[("options", "--geqo")],
        &[("options", "-- x")],
        &[("replication", "maybe")],
        &[("replication", "database"), ("geqo", "off")],
        &[
            ("replication", "database"),
            ("options", "-c replication=on"),
        ],
        &[("datestyle", "german"), ("timezone", "utc")],
    ];
    let plain = outcome(postgres.port, &[]);
    let mut different = Vec::new();
    for case in cases {
        let expected = outcome(postgres.port, case);
        let got = outcome(weir.port, case);
        if got != expected {
            different.push(format!("{case:?}\n  {got:?}\n  {expected:?}"));
        }
        // Nobody else has seen anything of it.
        assert_eq!(outcome(weir.port, &[]), plain, "after {case:?}");
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    weir.assert_quiet();
}

/// The version and the unknown options that a NegotiateProtocolVersion names.
fn negotiated(answer: &Answer) -> Option<(u32, Vec<String>)> {
    let message = answer.0.iter().find(|m| m.tag == b'v')?;
    let number = |at: usize| u32::from_be_bytes(message.body[at..at + 4].try_into().unwrap());
    let names = message.body[8..].split(|b| *b == 0);
    let names = names.filter(|n| !n.is_empty());
    let names: Vec<_> = names
        .map(|n| String::from_utf8(n.to_vec()).unwrap())
        .collect();
    assert_eq!(number(4) as usize, names.len());
    Some((number(0), names))
}

#[test]
fn versions_are_negotiated() {
    let (_postgres, weir) = both();
    // Version and parameters; version and names in the answer; length of the cancel key.
    type Case<'a> = (u32, Pairs<'a>, Option<(u32, &'a [&'a str])>, usize);
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    let cases: &[Case<'_>] = &[
        (V3, &[], None, 4),
        (V3 | 2, &[], None, 32),
        (V3 | 9, &[], Some((V3 | 2, &[])), 32),
        (
            V3 | 9999,
            &[("_pq_.x", "1")],
            Some((V3 | 2, &["_pq_.x"])),
            32,
        ),
        (
            V3,
            &[("_pq_.x", ""), ("_pq_.y", "")],
            Some((V3, &["_pq_.x", "_pq_.y"])),
            4,
        ),
    ];
    for (version, pairs, expected, key) in cases {
        let mut wire = Wire::raw(weir.port).unwrap();
        wire.send(&startup(
            *version,
            &[&[("user", "postgres")], *pairs].concat(),
        ))
        .unwrap();
        let answer = wire.answer();
        assert_eq!(answer.status(), Some('I'), "{answer:?}");
        let expected = expected
            .map(|(version, names)| (version, names.iter().map(|n| (*n).to_owned()).collect()));
        assert_eq!(negotiated(&answer), expected);
        let data = answer.0.iter().find(|m| m.tag == b'K').unwrap();
        assert_eq!(data.body.len(), 4 + key);
    }
    let mut wire = Wire::raw(weir.port).unwrap();
    wire.send(&startup(2 << 16, &[("user", "postgres")]))
        .unwrap();
    assert_eq!(refusal(&wire.answer().0).0, "0A000");
}

#[test]
fn a_new_libpq_speaks_3_2_and_cancels_with_its_long_key() {
    let (_postgres, weir) = both();
    for version in ["3.0", "3.2", "latest"] {
        let login = format!("user=postgres max_protocol_version={version}");
        let program = "
import threading, time
c = psycopg.connect({}, autocommit=True)
other = psycopg.connect({}, autocommit=True)
def cancel():
    busy = \"SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'\"
    while other.execute(busy).fetchone()[0] == 0:
        pass
    c.cancel_safe(timeout=10)
thread = threading.Thread(target=cancel)
thread.start()
try:
    c.execute('SELECT pg_sleep(30)')
except psycopg.errors.QueryCanceled:
    print('canceled', c.execute('SELECT 1').fetchone()[0])
thread.join()";
        let said = psycopg(&weir.conninfo(&login), program);
        assert_eq!(said.as_deref(), Ok("canceled 1"), "{version}");
    }
    weir.assert_quiet();
}

#[test]
fn requests_for_encryption_are_answered_and_counted() {
    let (_postgres, weir) = both();
    let asked = |requests: &[[u8; 8]]| {
        let mut wire = Wire::raw(weir.port).unwrap();
        for request in requests {
            wire.send(request).unwrap();
            let mut answer = [0];
            wire.stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"N");
        }
        wire
    };
    for requests in [
        &[GSSENC_REQUEST][..],
        &[GSSENC_REQUEST, SSL_REQUEST],
        &[SSL_REQUEST, GSSENC_REQUEST],
    ] {
        let mut wire = asked(requests);
        wire.send(&startup(V3, &[("user", "postgres")])).unwrap();
        assert_eq!(wire.answer().status(), Some('I'));
        // One more of either kind is one too many.
        for again in requests {
            let mut wire = asked(requests);
            wire.send(again).unwrap();
            assert_eq!(refusal(&wire.answer().0).0, "08P01");
        }
    }
}

#[test]
fn packets_of_impossible_length_are_refused_at_once() {
    let (_postgres, weir) = both();
    for length in [0u32, 3, 4, 7, 10 << 20, u32::MAX] {
        let mut wire = Wire::raw(weir.port).unwrap();
        wire.send(&length.to_be_bytes()).unwrap();
        let (code, text) = refusal(&wire.answer().0);
        assert_eq!(
            (&*code, &*text),
            ("08P01", "invalid length of startup packet")
        );
    }
}

#[test]
fn a_packet_may_come_in_any_pieces() {
    let (_postgres, weir) = both();
    let packet = startup(V3, &[("user", "postgres"), ("TimeZone", "UTC")]);
    let complete = |wire: &mut Wire| assert_eq!(wire.answer().status(), Some('I'));
    for at in 1..packet.len() {
        let mut wire = Wire::raw(weir.port).unwrap();
        wire.send(&packet[..at]).unwrap();
        wire.send(&packet[at..]).unwrap();
        complete(&mut wire);
    }
    let mut wire = Wire::raw(weir.port).unwrap();
    for byte in packet.chunks(1) {
        wire.send(byte).unwrap();
    }
    complete(&mut wire);
}

/// Whoever has said what it wants is told; others are closed.
#[test]
fn logins_that_take_too_long_end() {
    let postgres = Postgres::start();
    let limit = "unix_socket_dir = \"\"\nclient_login_timeout = \"300ms\"";
    let rest = format!(
        "[pools.\"*\"]\nport = {}\n[users.app]\npassword = \"p\"",
        postgres.port
    );
    let weir = Pgweir::with_config(&format!("{limit}\n{rest}"));
    let mut wire = Wire::raw(weir.port).unwrap();
    wire.send(&startup(V3, &[("user", "app")])).unwrap();
    let answer = wire.answer();
    assert_eq!(answer.tags(), "RE");
    let (code, text) = refusal(&answer.0);
    assert_eq!((&*code, &*text), ("08P01", "client_login_timeout"));
    assert!(
        weir.log().contains("client_login_timeout"),
        "{}",
        weir.log()
    );
    for beginning in [&b""[..], b"\0", &startup(V3, &[])[..8]] {
        let mut wire = Wire::raw(weir.port).unwrap();
        wire.send(beginning).unwrap();
        assert_eq!(wire.answer().tags(), "");
    }
}

#[test]
fn logins_are_logged_if_that_is_wanted() {
    let postgres = Postgres::start();
    for wanted in [true, false] {
        let log = format!("[log]\nlevel = \"info\"\nconnections = {wanted}");
        let weir = Pgweir::start(postgres.port, &log);
        drop(weir.client());
        // A failure is logged in any case, and comes later.
        assert!(Wire::try_connect(weir.port, "nobody", "postgres").is_err());
        wait_until("the failure is logged", || {
            weir.log().contains("login failed")
        });
        let line = |l: &str| l.contains(" login ") && l.contains("user=postgres");
        assert_eq!(weir.log().lines().any(line), wanted, "{}", weir.log());
    }
}
