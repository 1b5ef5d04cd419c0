//! The answers that a server connection still owes, in order.
//!
//! One entry for each message sent that will be answered. What comes back is attributed to the
//! entry at the head; that is how answers to messages of our own are kept from the client, and how
//! a connection that is out of step is noticed.

use std::collections::VecDeque;
use std::sync::Arc;

use super::counted::Run;
use super::statement::Statement;
use crate::protocol::sqlstate::SqlState;
use crate::sql;

/// What the statements of one simple query do to the session.
#[derive(Debug)]
pub struct Plan {
    pub statements: Vec<sql::Statement>,
    /// How many of them are done.
    pub done: usize,
    /// For each `PREPARE` in turn: the client's name and the statement under our name.
    pub prepares: VecDeque<(String, Arc<Statement>)>,
    /// Prepared statements that it executes.
    pub needs: Vec<Arc<Statement>>,
    /// Given instead of EmptyQueryResponse: the query was replaced by an empty one.
    pub answer: Option<&'static str>,
}

/// A message of the client that was replaced by one that fails, so that the server's transaction
/// takes the failure as it would have taken the real one.
#[derive(Debug)]
pub struct Rejection {
    pub code: SqlState,
    pub message: String,
    /// The routine of the server that would have raised it, where drivers look at that.
    pub routine: Option<&'static str>,
    /// It was a simple query: ReadyForQuery follows by itself.
    pub simple: bool,
}

/// What a Parse has changed about the client's names, so that it can be undone if the server skips
/// it.
#[derive(Debug)]
pub enum Naming {
    /// The unnamed statement is what it was.
    Same,
    /// It is another one than before; what it was, if it was anything.
    Unnamed(Option<Arc<Statement>>),
    /// There is a new name.
    Named(Box<[u8]>),
}

/// A name that the client has closed, and what it meant.
#[derive(Debug)]
pub struct Closed {
    pub name: Box<[u8]>,
    pub statement: Arc<Statement>,
}

/// A message whose answer is outstanding.
#[derive(Debug)]
pub enum Expect {
    // Sent by the client.
    Query(Option<Box<Plan>>, Run),
    Sync,
    Function,
    Parse(Arc<Statement>, Naming),
    /// With the statement, where it is one that we follow.
    Bind(Option<Arc<Statement>>),
    Describe(Option<Arc<Statement>>),
    /// With the statement, if running it does something to the session.
    Execute(Option<Arc<Statement>>, Run),
    ClosePortal,
    Rejected(Box<Rejection>),

    // Sent by the client, answered by us when their turn comes.
    LocalParse(Arc<Statement>, Naming),
    /// With the name that was closed, if there was one.
    LocalClose(Option<Box<Closed>>),

    // Ours; the client never sees the answers.
    /// Brings the session's settings to what the client has.
    Replay,
    /// Asks for state that pins.
    Probe,
    /// A statement that the client believes to be there.
    Parsed(Arc<Statement>),
    /// Asks what a statement's result looks like, before the client gets rows of it.
    Shape(Arc<Statement>),
    /// Asks for the values of settings.
    Values,
    /// The same for a SQL `PREPARE`, as a simple query.
    Prepared(Arc<Statement>),
    /// A Parse, Bind or Execute of ours inside the client's extended query, to prepare this
    /// statement.
    Step(Arc<Statement>),
    Closed(Box<[u8]>),
    /// A Sync of ours.
    QuietSync,
    /// The Sync of a group of messages that will be sent again.
    RetrySync,
}

impl Expect {
    /// Whether the client gets to see the answer.
    #[inline]
    pub fn is_visible(&self) -> bool {
        !matches!(
            self,
            Expect::Replay
                | Expect::Probe
                | Expect::Parsed(_)
                | Expect::Shape(_)
                | Expect::Values
                | Expect::Prepared(_)
                | Expect::Step(_)
                | Expect::Closed(_)
                | Expect::QuietSync
                | Expect::RetrySync
        )
    }

    /// Whether ReadyForQuery ends it, so that an error does not skip past it.
    #[inline]
    pub fn ends_with_ready(&self) -> bool {
        match self {
            Expect::Query(..)
            | Expect::Sync
            | Expect::Function
            | Expect::Replay
            | Expect::Probe
            | Expect::Values
            | Expect::Prepared(_)
            | Expect::QuietSync
            | Expect::RetrySync => true,
            Expect::Rejected(r) => r.simple,
            _ => false,
        }
    }

    /// Whether a Sync ends the skipping that an error starts: a simple query behind an error in an
    /// extended query is skipped by the server, too.
    #[inline]
    pub fn is_sync(&self) -> bool {
        matches!(self, Expect::Sync | Expect::QuietSync | Expect::RetrySync)
    }
}

/// A queue of [`Expect`].
#[derive(Debug, Default)]
pub struct Backlog {
    entries: VecDeque<Expect>,
    /// How many of the entries, counted from the oldest, must be answered before the client's next
    /// request can be read rightly.
    unsettled: usize,
}

impl Backlog {
    #[inline]
    pub fn push(&mut self, expect: Expect) {
        self.entries.push_back(expect);
    }

    /// In place of the head that was just taken.
    pub fn push_front(&mut self, expect: Expect) {
        self.entries.push_front(expect);
        self.unsettled += usize::from(self.unsettled > 0);
    }

    /// What has been sent so far decides what the client's next request means: what a setting is,
    /// which statement has a name.
    pub fn unsettle(&mut self) {
        self.unsettled = self.entries.len();
    }

    #[inline]
    pub fn is_settled(&self) -> bool {
        self.unsettled == 0
    }

    #[inline]
    pub fn head(&self) -> Option<&Expect> {
        self.entries.front()
    }

    #[inline]
    pub fn head_mut(&mut self) -> Option<&mut Expect> {
        self.entries.front_mut()
    }

    #[inline]
    pub fn pop(&mut self) -> Option<Expect> {
        self.unsettled = self.unsettled.saturating_sub(1);
        self.entries.pop_front()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a statement is being run, or is about to be.
    pub fn runs(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|e| matches!(e, Expect::Query(..) | Expect::Execute(..)))
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Expect> {
        self.entries.iter()
    }

    /// The server has entered COPY IN inside an extended query: it will ignore a Sync that was
    /// sent behind the Execute (PostgreSQL docs, "COPY Operations").
    pub fn forget_sync_behind_head(&mut self) {
        if matches!(self.entries.get(1), Some(Expect::Sync)) {
            self.entries.remove(1);
            self.unsettled = self.unsettled.min(self.entries.len());
        }
    }

    /// Whether something is under way that no reset would end, if it has happened by now.
    pub fn may_pin_forever(&self) -> bool {
        let loads = |statements: &[sql::Statement]| {
            let mut effects = statements.iter().flat_map(|s| &s.effects);
            effects.any(|e| matches!(e, sql::Effect::MayPin(sql::PinKind::Load)))
        };
        self.entries.iter().any(|entry| match entry {
            Expect::Query(Some(plan), _) => loads(&plan.statements),
            Expect::Execute(Some(statement), _) => statement.effects.as_deref().is_some_and(loads),
            _ => false,
        })
    }

    /// Takes the statement out that runs, or would have been run next before a Sync.
    pub fn take_run(&mut self) -> Option<Run> {
        let before_sync = self.entries.iter_mut().take_while(|e| !e.is_sync());
        let mut runs = before_sync.filter_map(|entry| match entry {
            Expect::Query(_, run) | Expect::Execute(_, run) => Some(std::mem::take(run)),
            _ => None,
        });
        runs.next()
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.unsettled = 0;
    }
}
