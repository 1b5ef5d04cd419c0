//! A client that has no server connection: what can be answered without one.
//!
//! A Sync with nothing before it, closing a statement, COPY data that comes too late, and a
//! transaction whose server connection was lost, until the client ends it.

use std::sync::Arc;

use super::client::{ClientState, Detached};
use super::fault::Fault;
use super::link::{Exchange, Rules};
use super::memory;
use super::statement::{Source, Statement};
use super::upstream::ClientViolation;
use crate::protocol::encode::{self, Severity};
use crate::protocol::frame::{self, HEADER, Header};
use crate::protocol::frontend::{self, Target};
use crate::protocol::sqlstate;

/// What the server says in a transaction that has failed.
pub(super) const ABORTED: &str =
    "current transaction is aborted, commands ignored until end of transaction block";

/// So much of a request must have arrived before a server connection is asked for.
const REQUEST_BEGINNING: usize = 64 * 1024;

/// What the client's next message needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// More bytes.
    Bytes,
    Server,
    /// It says good-bye.
    Terminate,
}

/// Deals with the client's messages up to the first that needs a server connection.
///
/// # Errors
/// [`ClientViolation`]: the client is to be told and closed.
pub fn requests(
    client: &mut ClientState,
    x: &mut Exchange,
    rules: Rules<'_>,
) -> Result<Wants, ClientViolation> {
    loop {
        if x.up.in_message() {
            return Ok(Wants::Bytes);
        }
        let Some(header) = frame::header(x.up.unscanned())? else {
            return Ok(Wants::Bytes);
        };
        rules.check(header)?;
        let wants = match client.detached {
            Detached::Ready if b"QPBDEF".contains(&header.tag) && !enough(x, header) => {
                return Ok(Wants::Bytes);
            }
            Detached::Ready if header.tag == b'P' => {
                if parse_known(client, x, header, rules) {
                    continue;
                }
                Some(Wants::Server)
            }
            Detached::Ready => ready(client, x, header)?,
            Detached::SkippingToSync => skipping(client, x, header),
            _ => failed(client, x, header)?,
        };
        if let Some(wants) = wants {
            return Ok(wants);
        }
    }
}

/// A server connection is not held for a client that is still sending: a message of usual size is
/// waited for, of a large one the beginning.
fn enough(x: &mut Exchange, header: Header) -> bool {
    let wanted = header.total.min(REQUEST_BEGINNING);
    let have = x.up.unscanned().len() >= wanted;
    if !have {
        x.up.reserve(wanted);
    }
    have
}

/// Waits for the rest of a message that must be seen whole.
fn whole(x: &mut Exchange, header: Header) -> bool {
    let complete = x.up.unscanned().len() >= header.total;
    if !complete {
        x.up.reserve(header.total);
    }
    complete
}

/// Answers Parse messages that need no server connection, for a client that has one.
pub fn parses_known(client: &mut ClientState, x: &mut Exchange, rules: Rules<'_>) {
    loop {
        let header = frame::header(x.up.unscanned());
        let parse = header.ok().flatten().filter(|header| header.tag == b'P');
        if !parse.is_some_and(|header| parse_known(client, x, header, rules)) {
            return;
        }
    }
}

/// A Parse of a statement that some server has accepted needs no server connection: it will be
/// prepared where it is used.
fn parse_known(
    client: &mut ClientState,
    x: &mut Exchange,
    header: Header,
    rules: Rules<'_>,
) -> bool {
    let bytes = x.up.unscanned();
    let Some(message) = bytes.get(HEADER..header.total).and_then(frontend::parse) else {
        return false;
    };
    let (query, types, name) = (message.query, message.types, message.name);
    let environment = client.settings.parse_environment();
    if name.is_empty() {
        // One that was sent as the unnamed statement proper is to get a name at its second Parse.
        let usable = |s: &Arc<Statement>| {
            !s.name.is_empty() && s.is_proven() && s.means(query, types, environment)
        };
        if !client.unnamed.as_deref().is_some_and(usable) {
            match rules.registry.find(query, types, environment) {
                Some(statement) if statement.is_proven() => client.unnamed = Some(statement.into()),
                _ => return false,
            }
        }
        client.unnamed_gone = false;
    } else {
        if client.statement(name).is_some() {
            return false;
        }
        match rules.registry.find(query, types, environment) {
            Some(statement) if statement.is_proven() => {
                let more = name.len() + statement.weight();
                if memory::admit(client, &mut x.unread, x.up.beyond(), &rules, more).is_err() {
                    // It is told when it has a server connection.
                    return false;
                }
                client.set_statement(name, statement);
            }
            _ => return false,
        }
    }
    x.tally.client_parses += 1;
    client.in_group = true;
    x.up.skip(header.total);
    x.down.insert().extend_from_slice(encode::PARSE_COMPLETE);
    true
}

fn ready(
    client: &mut ClientState,
    x: &mut Exchange,
    header: Header,
) -> Result<Option<Wants>, ClientViolation> {
    match header.tag {
        b'X' => return Ok(Some(Wants::Terminate)),
        b'Q' | b'B' | b'D' | b'E' | b'F' => return Ok(Some(Wants::Server)),
        b'S' => {
            x.up.skip(header.total);
            client.in_group = false;
            encode::ready_for_query(x.down.insert(), b'I');
        }
        // Nothing is outstanding, and COPY data belongs to a COPY that has failed.
        b'H' | b'd' | b'c' | b'f' => x.up.skip(header.total),
        b'C' => {
            if header.total > 8 * 1024 {
                return Err(ClientViolation::new("name in message is too long"));
            }
            if !whole(x, header) {
                return Ok(Some(Wants::Bytes));
            }
            let body = &x.up.unscanned()[HEADER..header.total];
            match frontend::target(body) {
                Some(Target::Statement(name)) => client.remove_statement(name),
                // There is no portal outside of a transaction.
                Some(Target::Portal(_)) => {}
                None => return Err(ClientViolation::new("malformed Close message")),
            }
            x.up.skip(header.total);
            client.in_group = true;
            x.down.insert().extend_from_slice(encode::CLOSE_COMPLETE);
        }
        tag => {
            return Err(ClientViolation::new(format!(
                "invalid frontend message type {tag}"
            )));
        }
    }
    Ok(None)
}

fn skipping(client: &mut ClientState, x: &mut Exchange, header: Header) -> Option<Wants> {
    match header.tag {
        b'X' => return Some(Wants::Terminate),
        b'S' => {
            client.detached = Detached::Ready;
            client.in_group = false;
            encode::ready_for_query(x.down.insert(), b'I');
        }
        _ => {}
    }
    x.up.skip(header.total);
    None
}

/// Inside a transaction that was lost with its server connection.
fn failed(
    client: &mut ClientState,
    x: &mut Exchange,
    header: Header,
) -> Result<Option<Wants>, ClientViolation> {
    if header.tag == b'X' {
        return Ok(Some(Wants::Terminate));
    }
    if header.tag == b'S' {
        x.up.skip(header.total);
        let ended = client.detached == Detached::FailedEnded;
        client.in_group = false;
        client.detached = if ended {
            Detached::Ready
        } else {
            Detached::FailedTransaction
        };
        encode::ready_for_query(x.down.insert(), if ended { b'I' } else { b'E' });
        return Ok(None);
    }
    if client.detached == Detached::FailedSkippingToSync || !b"QPBDEF".contains(&header.tag) {
        x.up.skip(header.total);
        return Ok(None);
    }
    if header.total > 64 * 1024 {
        // Too long for a ROLLBACK.
        x.up.skip(header.total);
        refuse(client, x, header.tag);
        return Ok(None);
    }
    if !whole(x, header) {
        return Ok(Some(Wants::Bytes));
    }
    let body = &x.up.unscanned()[HEADER..header.total];
    // A COMMIT of who does not know yet must fail: few applications see that "ROLLBACK" is the answer.
    let unaware = client.failure.is_some() && message_is(client, header.tag, body, commits);
    let ends = !unaware && message_is(client, header.tag, body, ends_transaction);
    x.up.skip(header.total);
    if !ends {
        refuse(client, x, header.tag);
        return Ok(None);
    }
    client.failure = None;
    let out = x.down.insert();
    match header.tag {
        b'Q' => {
            client.detached = Detached::Ready;
            encode::command_complete(out, "ROLLBACK");
            encode::ready_for_query(out, b'I');
        }
        b'P' => {
            client.detached = Detached::FailedEnding;
            out.extend_from_slice(encode::PARSE_COMPLETE);
        }
        b'B' => {
            client.detached = Detached::FailedEnding;
            out.extend_from_slice(encode::BIND_COMPLETE);
        }
        b'D' => out.extend_from_slice(encode::NO_DATA),
        _ => {
            client.detached = Detached::FailedEnded;
            encode::command_complete(out, "ROLLBACK");
        }
    }
    Ok(None)
}

/// Whether the message is part of a statement for which `is` holds.
fn message_is(client: &ClientState, tag: u8, body: &[u8], is: fn(&[u8]) -> bool) -> bool {
    match tag {
        b'Q' => frontend::query_text(body).is_some_and(is),
        b'P' => frontend::parse(body).is_some_and(|p| is(p.query)),
        b'B' => frontend::bind_names(body).is_some_and(|names| {
            client.detached == Detached::FailedEnding
                || client
                    .statement(names.statement)
                    .is_some_and(|s| match &s.source {
                        Source::Parse { query, .. } => is(query),
                        Source::Sql { .. } => false,
                    })
        }),
        b'D' | b'E' => client.detached == Detached::FailedEnding,
        _ => false,
    }
}

/// COMMIT, ROLLBACK, END or ABORT, but not to a savepoint and not of a prepared transaction.
pub(super) fn ends_transaction(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    let mut words = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|w| !w.is_empty());
    let first = words.next().unwrap_or_default();
    matches!(first, "commit" | "rollback" | "end" | "abort")
        && !words.any(|w| matches!(w, "to" | "prepared"))
}

/// COMMIT or END, as above.
fn commits(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let begins = |word: &[u8]| {
        let start = text.get(..word.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    ends_transaction(text) && !begins(b"rollback") && !begins(b"abort")
}

fn refuse(client: &mut ClientState, x: &mut Exchange, tag: u8) {
    let out = x.down.insert();
    let failure = client.failure.take();
    let (why, code, message) = match failure {
        Some(failure) => (failure.why, failure.code, failure.message),
        None => (
            Fault::FailedTransaction,
            sqlstate::IN_FAILED_TRANSACTION,
            ABORTED,
        ),
    };
    x.faults.push(why);
    encode::error(out, Severity::Error, code, message, None);
    if matches!(tag, b'Q' | b'F') {
        encode::ready_for_query(out, b'E');
    } else {
        client.detached = Detached::FailedSkippingToSync;
    }
}
