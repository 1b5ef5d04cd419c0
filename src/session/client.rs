//! What a client has that outlives its transactions.

use std::collections::HashMap;
use std::sync::Arc;

use super::channels::is_about_channels;
use super::fault::Fault;
use super::memory::{Share, Together};
use super::pins::Pins;
use super::reported::Reported;
use super::settings::Settings;
use super::statement::{Known, Statement};
use crate::protocol::sqlstate::SqlState;

type Statements = HashMap<Box<[u8]>, Known, foldhash::fast::RandomState>;

/// What a named statement takes in the map, about.
const NAMED: usize = 48;

/// What the client must do before it is served again, when it has no server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detached {
    #[default]
    Ready,
    /// After an error of ours in an extended query: nothing is answered until Sync.
    SkippingToSync,
    /// Its server connection was lost inside a transaction: everything but the end of that
    /// transaction is refused, as the server would.
    FailedTransaction,
    /// Both.
    FailedSkippingToSync,
    /// It has parsed or bound the statement that will end the transaction.
    FailedEnding,
    /// That statement has been executed; Sync makes it ready.
    FailedEnded,
}

/// Kept small: most clients are idle most of the time.
#[derive(Debug)]
pub struct ClientState {
    /// What holds now, inside a transaction perhaps.
    pub settings: Settings,
    /// What held at the end of the last transaction.
    pub committed: Settings,
    /// What the startup message asked for; `RESET` goes back to it.
    pub startup: Settings,
    /// Settings at each open savepoint, oldest first.
    pub savepoints: Option<Box<Vec<(String, Settings)>>>,
    /// The reported parameters that the client was told.
    pub seen: Reported,
    statements: Option<Box<Statements>>,
    /// Bytes of the texts of [`Self::statements`], which others may have, too.
    texts: usize,
    /// Bytes of what they are known by.
    names: usize,
    share: Share,
    /// What the unnamed statement is to this client, or was if [`ClientState::unnamed_gone`].
    pub unnamed: Option<Known>,
    /// A simple query has ended the unnamed statement; the next Parse will often make the same again.
    pub unnamed_gone: bool,
    /// A setting that matters to parsing holds for the present transaction only: what is parsed now
    /// is nobody else's.
    pub local_environment: bool,
    /// What the present transaction has set, or is about to, decides what names mean in it.
    pub names_unsure: bool,
    /// It has prepared a `LISTEN` or `UNLISTEN`.
    pub may_listen: bool,
    /// Without a server connection, it has been answered a part of an extended query whose Sync has not
    /// come.
    pub in_group: bool,
    pub pins: Pins,
    pub detached: Detached,
    /// Why its transaction has failed, until it was told.
    pub failure: Option<&'static Failure>,
}

/// What became of a transaction that the client did not end.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub why: Fault,
    pub code: SqlState,
    pub message: &'static str,
}

impl ClientState {
    pub fn new(startup: Settings, seen: Reported) -> ClientState {
        ClientState {
            settings: startup.clone(),
            committed: startup.clone(),
            startup,
            savepoints: None,
            seen,
            statements: None,
            texts: 0,
            names: 0,
            share: Share::default(),
            unnamed: None,
            unnamed_gone: false,
            local_environment: false,
            names_unsure: false,
            may_listen: false,
            in_group: false,
            pins: Pins::default(),
            detached: Detached::Ready,
            failure: None,
        }
    }

    /// In no transaction, and in the middle of nothing else.
    pub fn is_at_rest(&self) -> bool {
        self.detached == Detached::Ready
            && self.failure.is_none()
            && self.savepoints.is_none()
            && !self.local_environment
    }

    /// The statement that this client knows by `name`; empty for the unnamed one.
    #[inline]
    pub fn statement(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        if name.is_empty() {
            return self.unnamed.as_deref().filter(|_| !self.unnamed_gone);
        }
        Some(&**self.statements.as_ref()?.get(name)?)
    }

    pub fn set_statement(&mut self, name: &[u8], statement: Arc<Statement>) {
        self.may_listen |= is_about_channels(&statement);
        if name.is_empty() {
            self.unnamed = Some(statement.into());
            self.unnamed_gone = false;
        } else {
            self.texts += statement.weight();
            self.names += NAMED + name.len();
            let statements = self.statements.get_or_insert_default();
            if let Some(before) = statements.insert(name.into(), statement.into()) {
                self.lighten(name, &before);
            }
        }
    }

    pub fn remove_statement(&mut self, name: &[u8]) {
        if name.is_empty() {
            self.unnamed = None;
        } else if let Some(statements) = &mut self.statements
            && let Some(removed) = statements.remove(name)
        {
            self.lighten(name, &removed);
        }
    }

    fn lighten(&mut self, name: &[u8], statement: &Statement) {
        self.texts -= statement.weight();
        self.names -= NAMED + name.len();
    }

    fn settings_weight(&self) -> usize {
        let other = (!self.settings.same(&self.committed)).then(|| self.committed.weight());
        self.settings.weight() + other.unwrap_or_default()
    }

    /// Bytes that its statements and settings take, about, if they were its alone.
    pub fn weight(&self) -> usize {
        let unnamed = self.unnamed.as_ref().map_or(0, |s| s.weight());
        self.texts + unnamed + self.names + self.settings_weight()
    }

    /// Has all of it counted. Statements count by themselves.
    pub fn share(&mut self, of: &Arc<Together>) {
        self.share.set(of, self.names + self.settings_weight());
    }

    /// A simple query ends the unnamed statement (PostgreSQL docs, "Extended Query").
    #[inline]
    pub fn end_unnamed(&mut self) {
        self.unnamed_gone = true;
    }

    /// `DEALLOCATE ALL`.
    pub fn forget_statements(&mut self) {
        self.statements = None;
        self.texts = 0;
        self.names = 0;
    }

    /// All named statements.
    pub fn named_statements(&self) -> impl Iterator<Item = (&[u8], &Arc<Statement>)> {
        let named = self.statements.iter().flat_map(|s| s.iter());
        named.map(|(name, statement)| (&**name, &**statement))
    }

    /// How many named statements the client has.
    pub fn statement_count(&self) -> usize {
        self.statements.as_ref().map_or(0, |s| s.len())
    }
}
