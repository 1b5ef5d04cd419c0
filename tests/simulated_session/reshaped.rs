//! A client that knows what the rows of its statement look like gets no others, on whichever server
//! connection, and however the answers to what we ask there are cut.

use pgweir::config::SessionStatePolicy;
use pgweir::session::client::ClientState;
use pgweir::session::detached;
use pgweir::session::link::{Exchange, Link, Rules};
use pgweir::session::reported::Reported;
use pgweir::session::server::ServerState;
use pgweir::session::settings::Settings;
use pgweir::session::statement::Registry;

use crate::backend::message;
use crate::script::{bind, execute, parse, sync};
use crate::{drain, feed};

/// RowDescription of so many columns of type text.
fn columns(count: u8) -> Vec<u8> {
    let column = [
        b'c', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 255, 255, 255, 255, 255, 255, 0, 0,
    ];
    let body = [&[0, count][..], &column.repeat(count.into())].concat();
    message(b'T', &body)
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

fn rules(registry: &Registry) -> Rules<'_> {
    Rules {
        registry,
        session_state: SessionStatePolicy::Pin,
        statements_only: false,
        cache: None,
        max_packet_size: 1 << 20,
        no_simple_queries: false,
        counted: None,
    }
}

struct Session {
    client: ClientState,
    x: Exchange,
    registry: Registry,
}

impl Session {
    /// The server says so, and gets what follows from it: gives the types of those messages.
    fn hears(&mut self, server: &mut ServerState, says: &[u8]) -> String {
        let rules = rules(&self.registry);
        feed(&mut self.x.down, &mut says.to_vec(), usize::MAX);
        let mut link = Link {
            client: &mut self.client,
            server,
            x: &mut self.x,
            rules,
        };
        link.answers().expect("in step");
        link.requests().expect("no violation");
        let mut sent = Vec::new();
        drain(&mut self.x.up, &mut sent, usize::MAX);
        types(&sent)
    }

    /// The client asks, and gets this server connection.
    fn asks(&mut self, server: &mut ServerState, what: Vec<Vec<u8>>) -> String {
        feed(&mut self.x.up, &mut what.concat(), usize::MAX);
        let rules = rules(&self.registry);
        detached::requests(&mut self.client, &mut self.x, rules).expect("no violation");
        let mut link = Link {
            client: &mut self.client,
            server,
            x: &mut self.x,
            rules,
        };
        link.attached();
        self.hears(server, b"")
    }
}

/// The types of these messages, one after the other.
fn types(mut messages: &[u8]) -> String {
    let mut types = String::new();
    while let [tag, a, b, c, d, ..] = *messages {
        types.push(tag.into());
        messages = &messages[u32::from_be_bytes([a, b, c, d]) as usize + 1..];
    }
    types
}

#[test]
fn rows_of_another_shape_are_refused_however_the_answers_are_cut() {
    let settings = Settings::default().with("application_name", "SET application_name TO 'a';");
    let reported = Reported::new(vec![("TimeZone".into(), "UTC".into())]);
    let mut session = Session {
        client: ClientState::new(settings.clone(), reported.clone()),
        x: Exchange::new(4096, 4096),
        registry: Registry::default(),
    };
    let mut one = ServerState::new(reported.clone(), 10);
    one.settings = Some(settings);
    let describe = message(b'D', b"Ss\0");
    let sent = session.asks(&mut one, vec![parse("s", "select"), describe, sync()]);
    assert_eq!(sent, "PDS");
    let described = [
        message(b'1', b""),
        message(b't', &[0, 0]),
        columns(1),
        ready(),
    ];
    session.hears(&mut one, &described.concat());
    assert!(one.is_idle());
    session.x.detach();

    // Another one, which has neither its settings nor the statement: what it says of the settings comes by itself.
    let mut other = ServerState::new(reported, 10);
    let sent = session.asks(&mut other, vec![bind("s"), execute(), sync()]);
    assert_eq!(sent, "QPDH", "it is asked what the rows look like now");
    let replayed = [message(b'C', b"SET\0"), ready()].concat();
    assert_eq!(
        session.hears(&mut other, &replayed),
        "",
        "not before that is known"
    );
    assert_eq!(session.hears(&mut other, &message(b'1', b"")), "");
    assert_eq!(session.hears(&mut other, &message(b't', &[0, 0])), "");
    // What cannot be parsed takes the place of the Bind.
    assert_eq!(session.hears(&mut other, &columns(2)), "PES");
    let error = message(b'E', b"SERROR\0VERROR\0C42601\0Mno\0\0");
    session.hears(&mut other, &[error, ready()].concat());
    let mut received = Vec::new();
    drain(&mut session.x.down, &mut received, usize::MAX);
    let text = String::from_utf8_lossy(&received);
    assert!(
        text.contains("cached plan must not change result type"),
        "{text}"
    );
}
