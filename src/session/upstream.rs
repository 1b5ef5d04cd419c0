//! Client to server: each message of the client becomes what this server connection must see.
//!
//! Most messages leave as they came. Names of prepared statements are naming by the pool's own,
//! statements that the server does not hold are prepared first, and SQL that touches session state
//! is noted in the backlog, to take effect when the server has confirmed it.

use std::sync::Arc;

use super::backlog::{Closed, Expect, Naming};
use super::link::{Leash, Link};
use super::memory;
use super::server::Copy;
use super::special::is_unsettling;
use super::statement::OUR_NAMES;
use crate::protocol::encode;
use crate::protocol::frame::{self, HEADER, Header};
use crate::protocol::frontend::{self, Target};
use crate::protocol::sqlstate::{self, SqlState};

/// A Parse must be seen whole, because its name is naming; a longer one is refused.
const PARSE_MAX: usize = 64 * 1024 * 1024;
/// Names in Bind, Describe, Close and Execute.
const NAMES_MAX: usize = 8 * 1024;
/// A group of messages up to this size is kept, in case it must be sent again.
const GROUP_MAX: usize = 16 * 1024;

/// The client broke the protocol; its connection is closed with this error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientViolation {
    pub code: SqlState,
    pub message: String,
}

impl ClientViolation {
    pub fn new(message: impl Into<String>) -> ClientViolation {
        ClientViolation {
            code: sqlstate::PROTOCOL_VIOLATION,
            message: message.into(),
        }
    }
}

impl From<frame::BadLength> for ClientViolation {
    fn from(bad: frame::BadLength) -> ClientViolation {
        ClientViolation::new(bad.to_string())
    }
}

/// Whether all that can be sent now has been dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More bytes from the client are needed.
    Starved,
    /// An answer of the server is needed first.
    Held,
    /// The client says good-bye.
    Terminate,
}

impl Link<'_> {
    /// Deals with what the client has sent, as far as it can be sent on.
    ///
    /// # Errors
    /// [`ClientViolation`]: the client is to be told and closed.
    pub fn requests(&mut self) -> Result<Progress, ClientViolation> {
        if self.x.retry {
            self.begin_retry();
        }
        loop {
            if self.x.hold {
                return Ok(Progress::Held);
            }
            if self.x.up.in_message() {
                return Ok(Progress::Starved);
            }
            let Some(header) = frame::header(self.x.up.unscanned())? else {
                return Ok(Progress::Starved);
            };
            self.rules.check(header)?;
            if header.tag == b'X' {
                return Ok(Progress::Terminate);
            }
            if self.server.skipping && header.tag != b'S' {
                // The server would ignore it as well.
                self.x.up.skip(header.total);
                continue;
            }
            if self.must_wait(header.tag) {
                self.ask_for_answers();
                return Ok(Progress::Held);
            }
            if !self.x.group.open && self.settle_settings() {
                continue;
            }
            if self.x.leash != Leash::None && self.is_at_its_end(header) {
                return Ok(Progress::Held);
            }
            self.x.flushed = false;
            let before = self.x.up.unscanned().len();
            if !self.request(header)? {
                return Ok(Progress::Starved);
            }
            if self.x.leash == Leash::OneRequest && self.x.up.unscanned().len() < before {
                self.x.leash = Leash::Used;
            }
        }
    }

    /// Whether what is outstanding decides how a message of this type is to be read: pipelined
    /// behind a `SET`, a `PREPARE` or a rollback of such, for example.
    #[inline]
    fn must_wait(&mut self, tag: u8) -> bool {
        if self.server.backlog.is_empty() || !matches!(tag, b'Q' | b'P' | b'B' | b'D' | b'C') {
            return false;
        }
        if !self.client.settings.same(&self.client.committed) && self.server.backlog.runs() {
            // They may be rolled back by what looks like nothing special.
            self.server.backlog.unsettle();
        }
        !self.server.backlog.is_settled() && self.server.copy == Copy::No
    }

    /// Without a Sync the server may keep its answers to itself.
    fn ask_for_answers(&mut self) {
        let last = self.server.backlog.iter().next_back();
        if !self.x.flushed && !last.is_some_and(Expect::ends_with_ready) {
            self.x.up.insert().extend_from_slice(encode::FLUSH);
            self.x.flushed = true;
        }
    }

    /// The group is sent again: its bytes go back to where they came from.
    fn begin_retry(&mut self) {
        self.x.retry = false;
        if self.x.leash == Leash::Used {
            self.x.leash = Leash::OneRequest;
        }
        let bytes = std::mem::take(&mut self.x.group.bytes);
        self.x.up.unread(&bytes);
        self.x.told.is_sent_again();
        // A second failure of the same kind is the client's to see.
        self.x.group.retried = true;
    }

    /// One message; `false` if more of it is needed.
    #[inline]
    fn request(&mut self, header: Header) -> Result<bool, ClientViolation> {
        match header.tag {
            b'Q' => return self.on_query(header),
            b'P' => return self.on_parse(header),
            b'B' => return self.on_bind(header),
            b'D' | b'C' | b'E' | b'S' | b'H' => {
                let Some(body) = self.small_body(header)? else {
                    return Ok(false);
                };
                self.remember(header, body);
                match header.tag {
                    b'D' => self.on_describe(header, body)?,
                    b'C' => self.on_close(header, body)?,
                    b'E' => self.on_execute(header, body)?,
                    b'S' => self.on_sync(header),
                    _ => self.x.up.keep(header.total),
                }
            }
            b'F' => {
                self.note_anything();
                self.x.told.is_sent();
                self.server.backlog.push(Expect::Function);
                self.x.up.keep(header.total);
            }
            b'd' | b'c' | b'f' => {
                // Outside of COPY the server would ignore it.
                if matches!(self.server.copy, Copy::In | Copy::Both)
                    || !self.server.backlog.is_empty()
                {
                    self.x.up.keep(header.total);
                } else {
                    self.x.up.skip(header.total);
                }
                if header.tag != b'd' && self.server.copy == Copy::In {
                    // Syncs count again from here on.
                    self.server.copy = Copy::No;
                } else if header.tag != b'd' && !self.server.backlog.is_empty() {
                    self.x.copies_ended += 1;
                }
            }
            tag => {
                return Err(ClientViolation::new(format!(
                    "invalid frontend message type {tag}"
                )));
            }
        }
        Ok(true)
    }

    /// The body of a message that carries names only, as offsets into the lane.
    fn small_body(&mut self, header: Header) -> Result<Option<Body>, ClientViolation> {
        if header.total > NAMES_MAX {
            return Err(ClientViolation::new("name in message is too long"));
        }
        Ok(self.whole(header))
    }

    /// Whether `more` bytes may be kept for the client.
    pub(super) fn admit(&mut self, more: usize) -> Result<(), ClientViolation> {
        let grown = self.x.up.beyond();
        memory::admit(self.client, &mut self.x.unread, grown, &self.rules, more)
    }

    fn whole(&mut self, header: Header) -> Option<Body> {
        if self.x.up.unscanned().len() < header.total {
            self.x.up.reserve(header.total);
            return None;
        }
        Some(Body {
            start: HEADER,
            end: header.total,
        })
    }

    /// Keeps an extended-query message in case its group must be sent again.
    fn remember(&mut self, header: Header, body: Body) {
        let group = &mut self.x.group;
        if !group.open {
            if header.tag == b'S' {
                return;
            }
            group.open = true;
            group.bytes.clear();
            group.describes = false;
            group.repeatable =
                self.server.status == b'I' && self.server.backlog.is_empty() && !group.retried;
        }
        if !group.repeatable {
            return;
        }
        let message = &self.x.up.unscanned()[..body.end];
        if group.bytes.len() + message.len() > GROUP_MAX {
            group.repeatable = false;
            group.bytes.clear();
            return;
        }
        group.describes |= matches!(header.tag, b'D' | b'P');
        group.bytes.extend_from_slice(message);
    }

    fn on_sync(&mut self, header: Header) {
        self.x.up.keep(header.total);
        self.x.group.open = false;
        self.client.in_group = false;
        if self.server.copy == Copy::In {
            // In COPY IN the server ignores it (PostgreSQL docs, "COPY Operations").
            return;
        }
        self.server.skipping = false;
        self.x.told.is_sent();
        self.server.backlog.push(Expect::Sync);
    }

    fn on_parse(&mut self, header: Header) -> Result<bool, ClientViolation> {
        if header.total > PARSE_MAX {
            return Err(ClientViolation {
                code: sqlstate::PROGRAM_LIMIT_EXCEEDED,
                message: format!("Parse message of {} bytes is too large", header.total - 1),
            });
        }
        let Some(body) = self.whole(header) else {
            self.admit(header.total)?;
            return Ok(false);
        };
        let Some(message) = frontend::parse(body.of(self.x.up.unscanned())) else {
            return Err(malformed("Parse"));
        };
        if !message.name.is_empty()
            && self.client.statement(message.name).is_some()
            && !self.server.backlog.is_empty()
            && self.server.copy == Copy::No
        {
            // Whatever made that name may fail yet, be it by being skipped.
            self.server.backlog.unsettle();
            return Ok(true);
        }
        self.remember(header, body);
        self.note_parse(body);
        let environment = self.client.settings.parse_environment();
        let Some(message) = frontend::parse(body.of(self.x.up.unscanned())) else {
            return Err(malformed("Parse"));
        };
        // The same text again as the unnamed statement: nothing to look up.
        if message.name.is_empty()
            && let Some(known) = &self.client.unnamed
            && !known.name.is_empty()
            && known.means(message.query, message.types, environment)
        {
            let statement = Arc::clone(known);
            if !(self.client.local_environment && statement.is_shared()) {
                if self.fails_here(&statement) {
                    self.client.end_unnamed();
                    self.x.up.skip(header.total);
                    self.reject_in_failed_transaction();
                    return Ok(true);
                }
                let gone = std::mem::take(&mut self.client.unnamed_gone);
                let naming = if gone {
                    Naming::Unnamed(None)
                } else {
                    Naming::Same
                };
                self.prepare(header, &statement, naming);
                return Ok(true);
            }
        }
        self.on_new_parse(header, body)
    }

    fn on_bind(&mut self, header: Header) -> Result<bool, ClientViolation> {
        let bytes = self.x.up.unscanned();
        let have = bytes.len().min(header.total);
        let Some(names) = frontend::bind_names(&bytes[HEADER..have]) else {
            if have == header.total || have > NAMES_MAX {
                return Err(malformed("Bind"));
            }
            self.x.up.reserve(header.total.min(NAMES_MAX + 1));
            return Ok(false);
        };
        let consumed = names.consumed;
        let portal: Box<[u8]> = names.portal.into();
        let statement = self.client.statement(names.statement).cloned();
        let name = match &statement {
            Some(s) if !(self.client.local_environment && s.is_shared()) => Box::default(),
            _ => names.statement.into(),
        };
        if have == header.total {
            self.remember(
                header,
                Body {
                    start: 0,
                    end: have,
                },
            );
        } else {
            self.remember_not();
        }
        self.x.tally.binds += 1;
        let Some(mut statement) = statement else {
            self.bind_unknown(header, &name);
            return Ok(true);
        };
        if self.client.local_environment && statement.is_shared() {
            // Others must not get what is planned now.
            statement = self.rules.registry.twin(&statement);
            self.client.set_statement(&name, Arc::clone(&statement));
        }
        if !self.shape_is_known_to_hold(&statement) {
            if self.x.hold {
                // This message is looked at again when the answer is there.
                self.forget_last(have);
                return Ok(true);
            }
            self.x.up.skip(header.total);
            self.reject_outdated();
            return Ok(true);
        }
        self.note_statement(&statement);
        self.ensure_held(&statement, true);
        self.note_portal(portal.clone(), &statement);
        if statement.name.is_empty() {
            self.x.up.keep(header.total);
        } else {
            let rest = header.total - HEADER - consumed;
            encode::bind_head(self.x.up.insert(), &portal, &statement.name, rest);
            self.x.up.skip(HEADER + consumed);
            self.x.up.keep(rest);
        }
        self.server.backlog.push(Expect::Bind(Some(statement)));
        Ok(true)
    }

    /// The client has no statement of that name.
    fn bind_unknown(&mut self, header: Header, name: &[u8]) {
        if name.is_empty() || name.starts_with(OUR_NAMES) {
            self.x.up.skip(header.total);
            self.reject_unknown(&String::from_utf8_lossy(name));
        } else {
            // The server will say so.
            self.x.judged = None;
            self.note_anything();
            self.x.up.keep(header.total);
            self.server.backlog.push(Expect::Bind(None));
        }
    }

    /// Takes the message that was remembered last out of the group again.
    fn forget_last(&mut self, length: usize) {
        let bytes = &mut self.x.group.bytes;
        let keep = bytes.len().saturating_sub(length);
        if self.x.group.repeatable {
            bytes.truncate(keep);
        }
        self.x.tally.binds -= 1;
    }

    /// A message too large to be kept is under way.
    fn remember_not(&mut self) {
        self.x.group.open = true;
        self.x.group.repeatable = false;
        self.x.group.bytes.clear();
    }

    fn on_describe(&mut self, header: Header, body: Body) -> Result<(), ClientViolation> {
        let bytes = body.of(self.x.up.unscanned());
        match frontend::target(bytes).ok_or_else(|| malformed("Describe"))? {
            Target::Portal(_) => {
                self.x.up.keep(header.total);
                self.server.backlog.push(Expect::Describe(None));
            }
            Target::Statement(name) => match self.client.statement(name).cloned() {
                Some(statement) => {
                    self.ensure_held(&statement, true);
                    if statement.name.is_empty() {
                        self.x.up.keep(header.total);
                    } else {
                        self.x.up.skip(header.total);
                        encode::describe_statement(self.x.up.insert(), &statement.name);
                    }
                    self.server.backlog.push(Expect::Describe(Some(statement)));
                }
                None if name.is_empty() || name.starts_with(OUR_NAMES) => {
                    let name = String::from_utf8_lossy(name).into_owned();
                    self.x.up.skip(header.total);
                    self.reject_unknown(&name);
                }
                None => {
                    self.x.up.keep(header.total);
                    self.server.backlog.push(Expect::Describe(None));
                }
            },
        }
        Ok(())
    }

    fn on_close(&mut self, header: Header, body: Body) -> Result<(), ClientViolation> {
        let bytes = body.of(self.x.up.unscanned());
        match frontend::target(bytes).ok_or_else(|| malformed("Close"))? {
            Target::Portal(name) => {
                self.x.counting.close(name);
                self.x.up.keep(header.total);
                self.server.backlog.push(Expect::ClosePortal);
            }
            Target::Statement(name) => {
                let name: Box<[u8]> = name.into();
                let closed = self.client.statement(&name).cloned();
                self.client.remove_statement(&name);
                self.x.up.skip(header.total);
                self.answer_close(closed.map(|statement| Box::new(Closed { name, statement })));
            }
        }
        Ok(())
    }

    fn on_execute(&mut self, header: Header, body: Body) -> Result<(), ClientViolation> {
        let bytes = body.of(self.x.up.unscanned());
        let portal = frontend::execute_portal(bytes).ok_or_else(|| malformed("Execute"))?;
        let run = self.x.counting.execute(portal);
        let statement = if self.x.portals.is_empty() {
            None
        } else {
            let found = self.x.portals.iter().find(|(name, _)| **name == *portal);
            found.map(|(_, statement)| Arc::clone(statement))
        };
        self.x.up.keep(header.total);
        let parts = statement.as_ref().and_then(|s| s.effects.as_deref());
        let unsettling = parts.is_some_and(|parts| parts.iter().any(is_unsettling));
        self.server.backlog.push(Expect::Execute(statement, run));
        if unsettling {
            self.server.backlog.unsettle();
        }
        Ok(())
    }
}

/// Where the body of the next message is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body {
    start: usize,
    end: usize,
}

impl Body {
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start..self.end]
    }
}

pub(super) fn malformed(what: &str) -> ClientViolation {
    ClientViolation::new(format!("malformed {what} message"))
}
