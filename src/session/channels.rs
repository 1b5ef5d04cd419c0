//! `LISTEN` and `UNLISTEN` of a client that has no server connection, and needs none for them (see
//! [`crate::channels`]).
//!
//! Only what is a whole implicit transaction of its own is dealt with: a simple query of one such
//! statement, or Bind to Sync of one. Everything else (a pipeline, a transaction block) is a server
//! connection's, which then stays with the client.

use std::sync::Arc;

use super::client::ClientState;
use super::link::Exchange;
use super::statement::{Registry, Source, Statement, Traits};
use crate::cache::request::{self, What};
use crate::channels::Reply;
use crate::protocol::encode::{self, Severity};
use crate::protocol::frame::{self, HEADER};
use crate::protocol::frontend::{self, Target};
use crate::protocol::sqlstate::SqlState;
use crate::sql::{self, ChannelName, Class, Effect, Listening};

/// A longer request is no `LISTEN`.
const REQUEST_MAX: usize = 8 * 1024;

/// What the client's next message is.
#[derive(Debug, PartialEq, Eq)]
pub enum Asks {
    /// Nothing of ours.
    Else,
    /// It may be, when more has come.
    More,
    /// It is answered.
    Answered,
    Listening(Listening, Owed),
}

/// A request that is to be answered, and is still among what the client has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owed {
    pub listens: bool,
    /// A simple query.
    simple: bool,
    describes: bool,
    closes: bool,
    /// Bytes.
    length: usize,
}

/// What the client's next message asks for, which is at least as complete as [`super::detached`]
/// waits for. `listens`: the client listens to something already.
pub fn asks(
    client: &mut ClientState,
    x: &mut Exchange,
    registry: &Registry,
    listens: bool,
) -> Asks {
    match x.up.unscanned().first() {
        Some(b'Q') => simple(client, x, listens),
        Some(b'P') => parse(client, x, registry),
        Some(b'B') if client.may_listen => bound(client, x, listens),
        Some(b'D') if client.may_listen => describe(client, x),
        _ => Asks::Else,
    }
}

/// Whether the next message may be one that [`asks`] would deal with: at a glance.
pub fn may_ask(client: &ClientState, bytes: &[u8]) -> bool {
    match bytes.first() {
        Some(b'Q') => bytes.get(HEADER..).is_some_and(sql::may_listen),
        Some(b'P') => {
            let body = message(bytes).and_then(|(_, body, _)| frontend::parse(body));
            body.is_some_and(|parse| sql::may_listen(parse.query))
        }
        Some(b'B' | b'D') => client.may_listen,
        _ => false,
    }
}

fn simple(client: &ClientState, x: &Exchange, listens: bool) -> Asks {
    let bytes = x.up.unscanned();
    if !bytes.get(HEADER..).is_some_and(sql::may_listen) {
        return Asks::Else;
    }
    let Some((b'Q', body, length)) = message(bytes) else {
        return Asks::Else;
    };
    let listening = frontend::query_text(body).and_then(|text| read(client, text));
    let owed = Owed {
        listens: matches!(listening, Some(Listening::Listen(_))),
        simple: true,
        describes: false,
        closes: false,
        length,
    };
    asked(listening, owed, listens)
}

/// Who listens to nothing has nothing to end: the server answers that as well. It also has to say
/// something about a name that is too long; what has been ended is seen by its answer.
fn asked(listening: Option<Listening>, owed: Owed, listens: bool) -> Asks {
    const NAME_MAX: usize = 63;
    match listening {
        Some(Listening::Unlisten(name)) if name.written.len() > NAME_MAX => Asks::Else,
        Some(listening) if owed.listens || listens => Asks::Listening(listening, owed),
        _ => Asks::Else,
    }
}

/// A short message that is complete.
fn message(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let header = frame::header(bytes).ok()??;
    let short = header.total <= REQUEST_MAX;
    let body = bytes.get(HEADER..header.total).filter(|_| short)?;
    Some((header.tag, body, header.total))
}

/// What a text asks for, if it is sure that the server would understand the same.
fn read(client: &ClientState, text: &[u8]) -> Option<Listening> {
    let seen = &client.seen;
    // Channels and payloads are passed on as they are.
    if seen.get("client_encoding") != Some("UTF8") {
        return None;
    }
    let listening = sql::lone_listening(text, seen.standard_conforming_strings())?;
    let plain = match &listening {
        Listening::Listen(ChannelName { name, .. })
        | Listening::Unlisten(ChannelName { name, .. }) => name.is_ascii(),
        Listening::UnlistenAll => true,
    };
    // Another encoding of the server's may fold and cut other letters than ASCII in its own way.
    (plain || seen.get("server_encoding") == Some("UTF8")).then_some(listening)
}

/// Parse of such a statement: nothing about it depends on a server connection.
fn parse(client: &mut ClientState, x: &mut Exchange, registry: &Registry) -> Asks {
    let Some((b'P', body, length)) = message(x.up.unscanned()) else {
        return Asks::Else;
    };
    let Some(message) = frontend::parse(body).filter(|m| sql::may_listen(m.query)) else {
        return Asks::Else;
    };
    let (name, query, types) = (message.name, message.query, message.types);
    let taken = !name.is_empty() && client.statement(name).is_some();
    if taken || types != [0, 0] || read(client, query).is_none() {
        return Asks::Else;
    }
    let strings = client.seen.standard_conforming_strings();
    let Class::Special(statements) = sql::classify(query, strings) else {
        return Asks::Else;
    };
    let source = Source::Parse {
        query: query.into(),
        types: types.into(),
    };
    let traits = Traits {
        effects: Some(statements.into()),
        ..Traits::default()
    };
    // Under a name of ours, so that a server connection that is to run it after all is given it first.
    let statement = registry.private(source, true, traits);
    client.set_statement(name, statement);
    x.tally.client_parses += 1;
    x.up.skip(length);
    client.in_group = true;
    x.down.insert().extend_from_slice(encode::PARSE_COMPLETE);
    Asks::Answered
}

/// What a client's statement asks for, if it is one of ours.
fn statement_listening(client: &ClientState, name: &[u8]) -> Option<Listening> {
    match &client.statement(name)?.source {
        Source::Parse { query, types } if **types == [0, 0] => read(client, query),
        _ => None,
    }
}

/// Whether executing the statement may begin to listen, or end it.
pub(super) fn is_about_channels(statement: &Statement) -> bool {
    let effects = statement.effects.as_deref().unwrap_or_default();
    let mut effects = effects.iter().flat_map(|s| &s.effects);
    effects.any(|e| matches!(e, Effect::Listen { .. } | Effect::Unlisten { .. }))
}

fn describe(client: &mut ClientState, x: &mut Exchange) -> Asks {
    /// ParameterDescription of no parameters.
    const NO_PARAMETERS: &[u8] = b"t\0\0\0\x06\0\0";
    let Some((b'D', body, length)) = message(x.up.unscanned()) else {
        return Asks::Else;
    };
    let Some(Target::Statement(name)) = frontend::target(body) else {
        return Asks::Else;
    };
    if statement_listening(client, name).is_none() {
        return Asks::Else;
    }
    x.up.skip(length);
    client.in_group = true;
    let out = x.down.insert();
    out.extend_from_slice(NO_PARAMETERS);
    out.extend_from_slice(encode::NO_DATA);
    Asks::Answered
}

/// Bind to Sync.
fn bound(client: &ClientState, x: &mut Exchange, listens: bool) -> Asks {
    let bytes = x.up.unscanned();
    let Some((b'B', body, _)) = message(bytes) else {
        return Asks::Else;
    };
    let Some(names) = frontend::bind_names(body) else {
        return Asks::Else;
    };
    let listening = statement_listening(client, names.statement);
    if listening.is_none() || !has_no_values(&body[names.consumed..]) {
        return Asks::Else;
    }
    let request = request::request(bytes);
    let Some((
        What::Bound {
            describes, closes, ..
        },
        length,
    )) = request.map(|r| (r.what, r.length))
    else {
        return match may_be_completed(bytes) {
            true => {
                x.up.reserve(REQUEST_MAX);
                Asks::More
            }
            false => Asks::Else,
        };
    };
    let owed = Owed {
        listens: matches!(listening, Some(Listening::Listen(_))),
        simple: false,
        describes,
        closes,
        length,
    };
    asked(listening, owed, listens)
}

/// Of what follows the names in a Bind. One format for all values is allowed without any (asyncpg).
fn has_no_values(rest: &[u8]) -> bool {
    match rest {
        [0, 0, values @ ..] | [0, 1, _, _, values @ ..] => values.starts_with(&[0, 0]),
        _ => false,
    }
}

/// Whether what has come so far is the beginning of Bind, Describe, Execute, Close and Sync, of which
/// more will come: nobody answers before that.
fn may_be_completed(mut bytes: &[u8]) -> bool {
    let start = bytes.len();
    while let Some(&tag) = bytes.first() {
        let header = frame::header(bytes);
        if !b"BDEC".contains(&tag) && (tag != b'S' || !matches!(header, Ok(None))) {
            return false;
        }
        match header {
            Ok(Some(header)) if bytes.len() >= header.total => bytes = &bytes[header.total..],
            Ok(_) => break,
            Err(_) => return false,
        }
    }
    start < REQUEST_MAX
}

/// Answers a request that was found by [`asks`]: as the server has, or that it is done.
pub fn answer(client: &mut ClientState, x: &mut Exchange, owed: Owed, reply: &Reply) {
    x.up.skip(owed.length);
    client.in_group = false;
    x.tally.queries += 1;
    x.tally.transactions += 1;
    let out = x.down.insert();
    if owed.simple {
        // A simple query ends the unnamed statement.
        client.end_unnamed();
    } else {
        out.extend_from_slice(encode::BIND_COMPLETE);
    }
    if owed.describes {
        out.extend_from_slice(encode::NO_DATA);
    }
    match reply {
        Ok(notices) => {
            out.extend_from_slice(notices);
            let tag = if owed.listens { "LISTEN" } else { "UNLISTEN" };
            encode::command_complete(out, tag);
            if owed.closes {
                out.extend_from_slice(encode::CLOSE_COMPLETE);
            }
        }
        Err(refusal) => {
            let code = SqlState::new(&refusal.code);
            encode::error(out, Severity::Error, code, &refusal.message, None);
        }
    }
    encode::ready_for_query(out, b'I');
}

/// The channel's name as it is kept.
pub fn channel(name: &ChannelName) -> Arc<str> {
    name.name.as_str().into()
}

#[cfg(test)]
mod tests;
