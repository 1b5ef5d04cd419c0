//! A session in a form that another process understands: what a client and a server connection have
//! between transactions. Taken down here ([`Told::client`], [`Told::server`]), put together again
//! there ([`Known`]).
//!
//! Statements are many clients' and their texts can be long: each is taken down once, and mentioned
//! by its number from then on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::client::ClientState;
use super::pins::Pins;
use super::reported::Reported;
use super::server::ServerState;
use super::settings::Settings;
use super::statement::{Registry, Statement, StatementRecord};

/// Names, and what goes with them.
type Pairs = Vec<(String, String)>;

/// A [`ClientState`] between transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// Those that were not taken down before; each comes after what it mentions.
    new_statements: Vec<StatementRecord>,
    settings: Pairs,
    committed: Pairs,
    startup: Pairs,
    seen: Pairs,
    statements: Vec<(ByteBuf, u64)>,
    unnamed: Option<u64>,
    unnamed_gone: bool,
    pins: u8,
}

/// A [`ServerState`] of which nothing is owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    new_statements: Vec<StatementRecord>,
    settings: Option<Pairs>,
    reported: Pairs,
    baseline: Pairs,
    /// What was used last comes last.
    prepared: Vec<u64>,
    unnamed: u64,
    close_later: Vec<ByteBuf>,
}

/// A record mentions a statement that was never told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a statement is mentioned that is not known")]
pub struct UnknownStatement;

/// Numbers of the statements of one pool that the other process has been told of.
#[derive(Debug, Default)]
pub struct Told(HashSet<u64>);

impl Told {
    fn statement(&mut self, statement: &Arc<Statement>, into: &mut Vec<StatementRecord>) {
        if !self.0.insert(statement.id) {
            return;
        }
        for mentioned in statement.mentions() {
            self.statement(mentioned, into);
        }
        into.push(statement.record());
    }

    /// `None` if the client is in the middle of something.
    pub fn client(&mut self, state: &ClientState) -> Option<ClientRecord> {
        if !state.is_at_rest() {
            return None;
        }
        let mut new = Vec::new();
        let mut named: Vec<_> = state.named_statements().collect();
        named.sort_by_key(|(name, _)| *name);
        let all = named.iter().map(|(_, statement)| *statement);
        for statement in all.chain(state.unnamed.as_deref()) {
            self.statement(statement, &mut new);
        }
        Some(ClientRecord {
            new_statements: new,
            settings: of_settings(&state.settings),
            committed: of_settings(&state.committed),
            startup: of_settings(&state.startup),
            seen: of_reported(&state.seen),
            statements: named
                .into_iter()
                .map(|(name, statement)| (ByteBuf::from(name), statement.id))
                .collect(),
            unnamed: state.unnamed.as_ref().map(|s| s.id),
            unnamed_gone: state.unnamed_gone,
            pins: state.pins.bits(),
        })
    }

    /// `None` if something is owed on the connection.
    pub fn server(&mut self, state: &ServerState) -> Option<ServerRecord> {
        if !state.is_idle() {
            return None;
        }
        let mut new = Vec::new();
        for statement in state.prepared() {
            self.statement(statement, &mut new);
        }
        Some(ServerRecord {
            new_statements: new,
            settings: state.settings.as_ref().map(of_settings),
            reported: of_reported(&state.reported),
            baseline: of_reported(&state.baseline),
            prepared: state.prepared().map(|s| s.id).collect(),
            unnamed: state.unnamed,
            close_later: state
                .close_later
                .iter()
                .map(|name| ByteBuf::from(&**name))
                .collect(),
        })
    }
}

fn of_settings(settings: &Settings) -> Pairs {
    let entries = settings.entries().iter();
    let pairs = entries.map(|e| (e.name.to_string(), e.replay.to_string()));
    pairs.collect()
}

fn of_reported(reported: &Reported) -> Pairs {
    let entries = reported.entries();
    entries.map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// What has been read of one pool's sessions. Clients that are alike share what is alike about them,
/// as they did where they come from.
#[derive(Debug, Default)]
pub struct Known {
    statements: HashMap<u64, Arc<Statement>>,
    settings: HashMap<Pairs, Settings>,
    reported: HashMap<Pairs, Reported>,
}

impl Known {
    fn take_in(
        &mut self,
        new: Vec<StatementRecord>,
        registry: &Registry,
    ) -> Result<(), UnknownStatement> {
        for record in new {
            let id = record.id;
            let statement = registry.adopt(record, |id| self.statements.get(&id).cloned());
            let statement = statement.ok_or(UnknownStatement)?;
            self.statements.insert(id, statement);
        }
        Ok(())
    }

    fn statement(&self, id: u64) -> Result<Arc<Statement>, UnknownStatement> {
        self.statements.get(&id).cloned().ok_or(UnknownStatement)
    }

    fn settings(&mut self, pairs: Pairs) -> Settings {
        let made = self.settings.entry(pairs).or_insert_with_key(|pairs| {
            let none = Settings::default();
            pairs.iter().fold(none, |s, (n, replay)| s.with(n, replay))
        });
        made.clone()
    }

    fn reported(&mut self, pairs: Pairs) -> Reported {
        let made = self.reported.entry(pairs).or_insert_with_key(|pairs| {
            let entries = pairs.iter();
            let entries = entries.map(|(n, v)| (n.as_str().into(), v.as_str().into()));
            Reported::new(entries.collect())
        });
        made.clone()
    }

    /// # Errors
    /// [`UnknownStatement`].
    pub fn client(
        &mut self,
        record: ClientRecord,
        registry: &Registry,
    ) -> Result<ClientState, UnknownStatement> {
        self.take_in(record.new_statements, registry)?;
        let (startup, seen) = (self.settings(record.startup), self.reported(record.seen));
        let mut state = ClientState::new(startup, seen);
        state.settings = self.settings(record.settings);
        state.committed = self.settings(record.committed);
        for (name, id) in record.statements {
            state.set_statement(&name, self.statement(id)?);
        }
        if let Some(id) = record.unnamed {
            state.set_statement(b"", self.statement(id)?);
        }
        state.share(registry.together());
        state.unnamed_gone = record.unnamed_gone;
        state.pins = Pins::from_bits(record.pins);
        Ok(state)
    }

    /// # Errors
    /// [`UnknownStatement`].
    pub fn server(
        &mut self,
        record: ServerRecord,
        registry: &Registry,
        max_prepared_statements: usize,
    ) -> Result<ServerState, UnknownStatement> {
        self.take_in(record.new_statements, registry)?;
        let baseline = self.reported(record.baseline);
        let mut state = ServerState::new(baseline, max_prepared_statements);
        state.reported = self.reported(record.reported);
        state.settings = record.settings.map(|pairs| self.settings(pairs));
        state.unnamed = record.unnamed;
        let names = record.close_later.into_iter();
        state.close_later = names.map(|name| name.into_vec().into()).collect();
        for id in record.prepared {
            // The other process may have been allowed more.
            if let Some(evicted) = state.hold(&self.statement(id)?) {
                state.close_later.push(evicted.name.clone());
            }
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests;
