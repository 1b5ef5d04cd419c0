//! What is dealt with without a server connection, and what is left to one.

use super::*;
use crate::session::reported::Reported;
use crate::session::settings::Settings;

struct Session {
    client: ClientState,
    x: Exchange,
    registry: Registry,
}

fn session_with(client_encoding: &str, server_encoding: &str) -> Session {
    let reported = [
        ("client_encoding", client_encoding),
        ("server_encoding", server_encoding),
        ("standard_conforming_strings", "on"),
    ];
    let reported = reported.map(|(n, v)| (n.into(), v.into()));
    Session {
        client: ClientState::new(Settings::default(), Reported::new(reported.to_vec())),
        x: Exchange::new(16 * 1024, 0),
        registry: Registry::default(),
    }
}

fn session() -> Session {
    session_with("UTF8", "UTF8")
}

impl Session {
    fn send(&mut self, bytes: &[u8]) {
        self.x.up.reserve(bytes.len() + 1);
        self.x.up.space()[..bytes.len()].copy_from_slice(bytes);
        self.x.up.filled(bytes.len());
    }

    fn asks(&mut self, listens: bool) -> Asks {
        asks(&mut self.client, &mut self.x, &self.registry, listens)
    }

    /// The types of what it was answered.
    fn answered(&mut self) -> String {
        let bytes = self.x.down.pending().to_vec();
        self.x.down.written(bytes.len());
        let (mut rest, mut tags) = (&bytes[..], String::new());
        while let Ok(Some(header)) = frame::header(rest) {
            tags.push(char::from(header.tag));
            rest = &rest[header.total..];
        }
        tags
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag][..], &length, body].concat()
}

fn query(text: &str) -> Vec<u8> {
    message(b'Q', format!("{text}\0").as_bytes())
}

fn parse(text: &str) -> Vec<u8> {
    message(b'P', format!("s\0{text}\0\0\0").as_bytes())
}

fn bind() -> Vec<u8> {
    message(b'B', b"\0s\0\0\0\0\0\0\0")
}

const DESCRIBE: &[u8] = b"D\0\0\0\x06P\0";
const EXECUTE: &[u8] = b"E\0\0\0\x09\0\0\0\0\0";
const CLOSE: &[u8] = b"C\0\0\0\x06P\0";

#[test]
fn simple_queries() {
    for (text, listens, ours) in [
        ("listen a", false, true),
        ("listen a", true, true),
        ("unlisten a", true, true),
        ("unlisten *", true, true),
        // Nothing to be ended: the server says the same.
        ("unlisten a", false, false),
        ("unlisten *", false, false),
        ("listen a; select 1", true, false),
        ("select 1", true, false),
        ("update t set n = 1", true, false),
    ] {
        let mut session = session();
        session.send(&query(text));
        let found = session.asks(listens);
        assert_eq!(matches!(found, Asks::Listening(..)), ours, "{text}");
        let Asks::Listening(_, owed) = found else {
            assert_eq!(found, Asks::Else, "{text}");
            continue;
        };
        answer(&mut session.client, &mut session.x, owed, &Ok(Vec::new()));
        assert_eq!(session.answered(), "CZ");
        assert!(session.x.up.is_empty(), "{text}");
    }
    let long = format!("unlisten {}", "x".repeat(64));
    let mut session = session();
    session.send(&query(&long));
    assert_eq!(
        session.asks(true),
        Asks::Else,
        "the server has a notice for it"
    );
}

#[test]
fn the_answer_is_the_servers() {
    let mut session = session();
    session.send(&query("listen a"));
    let Asks::Listening(_, owed) = session.asks(false) else {
        panic!("it is one");
    };
    let refusal = crate::channels::Refusal {
        code: "42601".to_owned(),
        message: "no".to_owned(),
        fault: None,
    };
    answer(&mut session.client, &mut session.x, owed, &Err(refusal));
    assert_eq!(session.answered(), "EZ");
    session.send(&query("listen a"));
    let Asks::Listening(_, owed) = session.asks(false) else {
        panic!("it is one");
    };
    let notice = message(b'N', b"\0");
    answer(&mut session.client, &mut session.x, owed, &Ok(notice));
    assert_eq!(session.answered(), "NCZ");
}

/// Cut at every byte: nothing is given up before it is sure that it is something else.
#[test]
fn extended_queries_in_pieces() {
    for (middle, answers) in [
        (vec![EXECUTE], "2CZ"),
        (vec![DESCRIBE, EXECUTE], "2nCZ"),
        (vec![DESCRIBE, EXECUTE, CLOSE], "2nC3Z"),
    ] {
        let mut session = session();
        session.send(&parse("listen a"));
        assert_eq!(session.asks(false), Asks::Answered);
        assert_eq!(session.answered(), "1");
        assert!(session.client.in_group && session.client.may_listen);
        let all = [&bind(), &middle.concat(), encode::SYNC].concat();
        let head = bind().len();
        session.send(&all[..head]);
        for byte in &all[head..] {
            assert_eq!(session.asks(false), Asks::More);
            session.send(&[*byte]);
        }
        let Asks::Listening(Listening::Listen(name), owed) = session.asks(false) else {
            panic!("it is complete");
        };
        assert_eq!(name.name, "a");
        answer(&mut session.client, &mut session.x, owed, &Ok(Vec::new()));
        assert_eq!(session.answered(), answers);
        assert!(session.x.up.is_empty() && !session.client.in_group);
    }
}

#[test]
fn pipelines_are_a_servers() {
    let limited = b"E\0\0\0\x09\0\0\0\0\x01";
    let one_value = message(b'B', b"\0s\0\0\0\0\x01\0\0\0\x01x\0\0");
    let (bind, flush) = (bind(), encode::FLUSH);
    for messages in [
        [
            &bind[..],
            EXECUTE,
            &[&bind[..], EXECUTE].concat(),
            encode::SYNC,
        ],
        [&bind, EXECUTE, flush, &[]],
        [&bind, limited, encode::SYNC, &[]],
        [&one_value, EXECUTE, encode::SYNC, &[]],
        [&bind, flush, &[], &[]],
    ] {
        let mut session = session();
        session.send(&parse("listen a"));
        assert_eq!(session.asks(false), Asks::Answered);
        session.send(&messages.concat());
        assert_eq!(session.asks(false), Asks::Else, "{messages:?}");
    }
}

#[test]
fn a_format_for_no_values_is_none() {
    let mut session = session();
    session.send(&parse("listen a"));
    assert_eq!(session.asks(false), Asks::Answered);
    let bind = message(b'B', b"\0s\0\0\x01\0\x01\0\0\0\0");
    session.send(&[&bind, EXECUTE, encode::SYNC].concat());
    assert!(matches!(session.asks(false), Asks::Listening(..)));
}

#[test]
fn descriptions_need_no_server() {
    let mut session = session();
    session.send(&[parse("listen a"), message(b'D', b"Ss\0")].concat());
    assert_eq!(session.asks(false), Asks::Answered);
    assert_eq!(session.asks(false), Asks::Answered);
    assert_eq!(session.answered(), "1tn");
    session.send(&message(b'D', b"Snobody\0"));
    assert_eq!(session.asks(false), Asks::Else);
}

#[test]
fn what_only_a_server_can_judge() {
    // A name that is taken.
    let mut one = session();
    one.send(&[parse("listen a"), parse("listen b")].concat());
    assert_eq!(one.asks(false), Asks::Answered);
    assert_eq!(one.asks(false), Asks::Else);
    // Parameters that it does not have.
    let mut one = session();
    one.send(&message(b'P', b"s\0listen a\0\0\x01\0\0\0\x17"));
    assert_eq!(one.asks(false), Asks::Else);
    for (client, server, name, ours) in [
        ("UTF8", "UTF8", "\u{e4}", true),
        ("UTF8", "LATIN1", "a", true),
        ("UTF8", "LATIN1", "\u{e4}", false),
        ("LATIN1", "UTF8", "a", false),
        ("SQL_ASCII", "SQL_ASCII", "a", false),
    ] {
        let mut session = session_with(client, server);
        session.send(&query(&format!("listen {name}")));
        let found = session.asks(false);
        let found = matches!(found, Asks::Listening(..));
        assert_eq!(found, ours, "{client} {server} {name}");
    }
}
