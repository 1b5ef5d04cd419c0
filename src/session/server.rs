//! What a server connection has that outlives the clients it serves.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use super::backlog::{Backlog, Expect};
use super::reported::Reported;
use super::settings::Settings;
use super::statement::Statement;
use crate::cache::writes::Writes;

/// Which side streams COPY data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Copy {
    #[default]
    No,
    /// The client to the server.
    In,
    /// The server to the client.
    Out,
    /// Streaming replication.
    Both,
}

#[derive(Debug)]
pub struct ServerState {
    /// What is set on the session; `None` when a statement may have set what we cannot know.
    pub settings: Option<Settings>,
    pub reported: Reported,
    /// Reported right after login.
    pub baseline: Reported,
    prepared: LruCache<u64, Arc<Statement>, foldhash::fast::RandomState>,
    /// Identity of what is prepared as the unnamed statement; 0 for none of ours.
    pub unnamed: u64,
    /// Names of statements that are there but that we do not count on any more.
    pub close_later: Vec<Box<[u8]>>,
    /// Of the last ReadyForQuery: `I`, `T` or `E`.
    pub status: u8,
    pub backlog: Backlog,
    pub copy: Copy,
    /// The server skips everything until a Sync that has not been sent yet.
    pub skipping: bool,
    /// What the open transaction has written.
    pub writes: Writes,
    /// The open transaction block, if there is one, has begun at READ COMMITTED and has done nothing
    /// since but reads that may be remembered. Kept for pools with a cache only.
    pub only_reads: bool,
}

impl ServerState {
    /// Right after login.
    pub fn new(reported: Reported, max_prepared_statements: usize) -> ServerState {
        let capacity = NonZeroUsize::new(max_prepared_statements).unwrap_or(NonZeroUsize::MIN);
        ServerState {
            settings: Some(Settings::default()),
            baseline: reported.clone(),
            reported,
            prepared: LruCache::with_hasher(capacity, foldhash::fast::RandomState::default()),
            unnamed: 0,
            close_later: Vec::new(),
            status: b'I',
            backlog: Backlog::default(),
            copy: Copy::No,
            skipping: false,
            writes: Writes::default(),
            only_reads: false,
        }
    }

    /// Nothing is outstanding and no transaction is open.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.status == b'I' && self.backlog.is_empty() && !self.skipping && self.copy == Copy::No
    }

    /// Nothing is outstanding in a transaction block that has not failed.
    pub fn is_at_rest_in_block(&self) -> bool {
        self.status == b'T' && self.backlog.is_empty() && !self.skipping && self.copy == Copy::No
    }

    /// Whether a named statement is prepared here; marks it as used.
    #[inline]
    pub fn holds(&mut self, statement: &Statement) -> bool {
        self.prepared.get(&statement.id).is_some()
    }

    /// Notes that `statement` is being prepared; gives the one that must make room for it.
    pub fn hold(&mut self, statement: &Arc<Statement>) -> Option<Arc<Statement>> {
        self.prepared
            .push(statement.id, Arc::clone(statement))
            .filter(|(id, _)| *id != statement.id)
            .map(|(_, evicted)| evicted)
    }

    /// Preparing it failed, or it was deallocated.
    pub fn drop_held(&mut self, statement: &Statement) {
        self.prepared.pop(&statement.id);
        if self.unnamed == statement.id {
            self.unnamed = 0;
        }
    }

    /// It is there but must be prepared afresh.
    pub fn evict(&mut self, statement: &Statement) {
        if self.prepared.pop(&statement.id).is_some() {
            self.close_later.push(statement.name.clone());
        }
    }

    /// `DISCARD ALL` or `DEALLOCATE ALL` ran here.
    pub fn forget_statements(&mut self) {
        self.prepared.clear();
        self.close_later.clear();
        self.unnamed = 0;
    }

    /// What is prepared here, what was used last coming last.
    pub fn prepared(&self) -> impl Iterator<Item = &Arc<Statement>> {
        self.prepared.iter().rev().map(|(_, statement)| statement)
    }

    pub fn prepared_count(&self) -> usize {
        self.prepared.len()
    }

    /// The entry that the next answer belongs to.
    #[inline]
    pub fn head(&self) -> Option<&Expect> {
        self.backlog.head()
    }
}
