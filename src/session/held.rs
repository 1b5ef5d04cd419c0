//! Gets a server connection to hold the prepared statements that the client believes to be there.

use std::sync::Arc;

use super::backlog::{Expect, Naming};
use super::detached::ends_transaction;
use super::link::Link;
use super::statement::{Source, Statement};
use crate::protocol::encode;
use crate::protocol::frame::Header;

impl Link<'_> {
    /// Gets the server to hold `statement`, whose Parse is the next message of the client.
    pub(super) fn prepare(&mut self, header: Header, statement: &Arc<Statement>, naming: Naming) {
        self.x.up.skip(header.total);
        if statement.name.is_empty() {
            self.server.unnamed = statement.id;
        } else if self.server.holds(statement) {
            self.x.tally.statement_hits += 1;
            self.answer_parse(statement, naming);
            return;
        } else {
            self.make_room(statement);
        }
        self.send_parse(statement);
        let entry = Expect::Parse(Arc::clone(statement), naming);
        self.server.backlog.push(entry);
    }

    /// Whether the server would refuse to parse it because the transaction has failed, if it were
    /// asked.
    pub(super) fn fails_here(&mut self, statement: &Statement) -> bool {
        self.server.status == b'E'
            && self.server.holds(statement)
            && !matches!(&statement.source, Source::Parse { query, .. } if ends_transaction(query))
    }

    fn make_room(&mut self, statement: &Arc<Statement>) {
        let left = &mut self.server.close_later;
        if let Some(at) = left.iter().position(|name| *name == statement.name) {
            // An outdated one of this name is still there.
            let name = left.swap_remove(at);
            encode::close_statement(self.x.up.insert(), &name);
            self.server.backlog.push(Expect::Closed(name));
        }
        self.x.tally.statement_misses += 1;
        if let Some(evicted) = self.server.hold(statement) {
            self.x.tally.statement_evictions += 1;
            encode::close_statement(self.x.up.insert(), &evicted.name);
            self.server
                .backlog
                .push(Expect::Closed(evicted.name.clone()));
        }
    }

    fn send_parse(&mut self, statement: &Statement) {
        if let Source::Parse { query, types } = &statement.source {
            self.x.tally.server_parses += 1;
            encode::parse(self.x.up.insert(), &statement.name, query, types);
        }
    }

    /// Prepares what the client believes to be there already.
    pub(super) fn ensure_held(&mut self, statement: &Arc<Statement>, in_group: bool) {
        for needed in &statement.needs {
            self.ensure_held(needed, in_group);
        }
        if statement.name.is_empty() {
            if self.server.unnamed != statement.id {
                self.server.unnamed = statement.id;
                self.send_parse(statement);
                self.server
                    .backlog
                    .push(Expect::Parsed(Arc::clone(statement)));
            }
            return;
        }
        if self.server.holds(statement) {
            self.x.tally.statement_hits += 1;
            return;
        }
        self.make_room(statement);
        match &statement.source {
            Source::Parse { .. } => {
                self.send_parse(statement);
                self.server
                    .backlog
                    .push(Expect::Parsed(Arc::clone(statement)));
                if !in_group {
                    // If this fails, the server must not skip the query behind it.
                    self.x.up.insert().extend_from_slice(encode::SYNC);
                    self.server.backlog.push(Expect::QuietSync);
                }
            }
            Source::Sql { text } if in_group => {
                // A simple query would end the transaction that the group runs in.
                let out = self.x.up.insert();
                encode::parse(out, b"", text, b"\0\0");
                encode::bind_head(out, b"", b"", 6);
                out.extend_from_slice(&[0; 6]);
                out.extend_from_slice(b"E\0\0\0\x09\0\0\0\0\0");
                self.server.unnamed = 0;
                for _ in 0..3 {
                    let step = Expect::Step(Arc::clone(statement));
                    self.server.backlog.push(step);
                }
            }
            Source::Sql { text } => {
                encode::query(self.x.up.insert(), text);
                self.server.unnamed = 0;
                self.server
                    .backlog
                    .push(Expect::Prepared(Arc::clone(statement)));
            }
        }
    }

    /// A client may know what the result looks like and not ask again. Where the statement must be
    /// prepared anew, the server is asked first; `false` with `hold` set means that it was, and
    /// without, that the result looks different now.
    pub(super) fn shape_is_known_to_hold(&mut self, statement: &Arc<Statement>) -> bool {
        let unnamed = statement.name.is_empty();
        if unnamed || !statement.has_known_shape() || self.server.holds(statement) {
            return true;
        }
        if statement.is_reshaped() {
            return false;
        }
        self.ensure_held(statement, true);
        let out = self.x.up.insert();
        encode::describe_statement(out, &statement.name);
        out.extend_from_slice(encode::FLUSH);
        self.server
            .backlog
            .push(Expect::Shape(Arc::clone(statement)));
        self.x.group.open = true;
        self.x.hold = true;
        false
    }
}
