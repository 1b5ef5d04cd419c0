//! Prepared statements: one identity for all clients of a pool that mean the same statement.
//!
//! A client's name for a statement is private to it. What a server connection holds is known by
//! the identity's own name, `pgweir_N`. The text is kept once, however many clients use it.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::memory::Together;
use crate::cache::memo::Slot;
use crate::sql;
use crate::statement_stats::text_key;

mod known;
mod record;

pub use known::Known;
pub use record::StatementRecord;

/// How the statement comes into being on a server connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A Parse message; parameter count and types as on the wire.
    Parse { query: Box<[u8]>, types: Box<[u8]> },
    /// SQL `PREPARE`, already under our name.
    Sql { text: Box<[u8]> },
}

impl Source {
    fn text_key(&self) -> u64 {
        match self {
            Source::Parse { query: text, .. } | Source::Sql { text } => text_key(text),
        }
    }

    fn weight(&self) -> usize {
        match self {
            Source::Parse { query, types } => query.len() + types.len(),
            Source::Sql { text } => text.len(),
        }
    }
}

/// A prepared statement, wherever it is prepared.
#[derive(Debug)]
pub struct Statement {
    pub id: u64,
    /// On server connections; empty if it must be sent as the unnamed statement.
    pub name: Box<[u8]>,
    pub source: Source,
    /// What executing it does to the session; `None` for nothing.
    pub effects: Option<Arc<[sql::Statement]>>,
    /// Statements that it names (`EXECUTE`) and that must be there when it runs.
    pub needs: Vec<Arc<Statement>>,
    /// A statement that executing it prepares (`PREPARE`), and the client's name for that one.
    pub makes: Option<(String, Arc<Statement>)>,
    /// Given instead of EmptyQueryResponse: the query was replaced by an empty one.
    pub answer: Option<&'static str>,
    parse_environment: u64,
    /// Other clients have it, too.
    shared: bool,
    /// New Parse messages of the same text must not find it any more.
    stale: AtomicBool,
    /// Some server has accepted its Parse.
    proven: AtomicBool,
    /// A hash of the result's description as clients have been told it.
    shape: OnceLock<u64>,
    /// Prepared afresh it would have another shape.
    reshaped: AtomicBool,
    /// What its text is found by in the statistics.
    pub text_key: u64,
    /// What the cache has judged of it.
    pub judged: Slot,
    /// How often clients know it. While any does, its text counts as theirs.
    known: AtomicUsize,
    together: Arc<Together>,
}

impl Statement {
    /// Whether what this client does to it is felt by others.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// The schema has changed under it: whoever parses the text again gets a new statement.
    pub fn retire(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    pub fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// Whether a Parse of it can be answered without asking a server.
    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed) && !self.is_stale()
    }

    /// Takes note of the result's description (the body of RowDescription; empty for NoData).
    /// `false` if it is not what it was: clients that know the old one must not get rows of the new.
    pub fn note_shape(&self, description: &[u8]) -> bool {
        let mut hasher = foldhash::quality::FixedState::with_seed(0x7368_6170).build_hasher();
        hasher.write(description);
        let now = hasher.finish();
        let same = *self.shape.get_or_init(|| now) == now;
        if !same {
            self.reshaped.store(true, Ordering::Relaxed);
            self.retire();
        }
        same
    }

    pub fn has_known_shape(&self) -> bool {
        self.shape.get().is_some()
    }

    pub fn is_reshaped(&self) -> bool {
        self.reshaped.load(Ordering::Relaxed)
    }

    /// Whether a Parse of this text by such a session means this statement.
    pub fn means(&self, query: &[u8], types: &[u8], parse_environment: u64) -> bool {
        self.parse_environment == parse_environment
            && !self.is_stale()
            && matches!(&self.source, Source::Parse { query: q, types: t }
                if **q == *query && **t == *types)
    }

    /// Bytes that it takes, about.
    pub fn weight(&self) -> usize {
        size_of::<Statement>() + self.source.weight()
    }
}

/// What is to be known of a statement when it is made.
#[derive(Debug, Default)]
pub struct Traits {
    pub effects: Option<Arc<[sql::Statement]>>,
    pub needs: Vec<Arc<Statement>>,
    pub makes: Option<(String, Arc<Statement>)>,
    pub answer: Option<&'static str>,
}

/// All shared statements of one pool.
#[derive(Debug)]
pub struct Registry {
    next_id: AtomicU64,
    together: Arc<Together>,
    inner: Mutex<Inner>,
}

/// Texts that were parsed once as the unnamed statement; at the second time they get a name.
const SEEN_SLOTS: usize = 1024;

#[derive(Debug)]
struct Inner {
    shared: HashMap<u64, Weak<Statement>, foldhash::fast::RandomState>,
    /// The dead are swept out when the map has grown to this.
    sweep_at: usize,
    seen: Box<[u64]>,
    hasher: foldhash::quality::RandomState,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::numbered_from(1, Arc::default())
    }
}

impl Registry {
    /// Its statements' numbers begin with `first`: statements that come from another process keep
    /// theirs. Memory is counted with that of all other pools.
    pub fn numbered_from(first: u64, together: Arc<Together>) -> Registry {
        Registry {
            next_id: AtomicU64::new(first),
            together,
            inner: Mutex::new(Inner {
                shared: HashMap::default(),
                sweep_at: 256,
                seen: vec![0; SEEN_SLOTS].into(),
                hasher: foldhash::quality::RandomState::default(),
            }),
        }
    }
}

impl Registry {
    /// The memory of all clients.
    pub fn together(&self) -> &Arc<Together> {
        &self.together
    }

    /// The shared statement for this text, if the text may be shared: made at its first Parse
    /// under a name, or at its second as the unnamed statement. `None`: the caller makes a private
    /// one.
    pub fn shared(
        &self,
        named: bool,
        query: &[u8],
        types: &[u8],
        parse_environment: u64,
    ) -> Option<Arc<Statement>> {
        let mut inner = self.inner.lock();
        let hash = inner.hash(query, types, parse_environment);
        if let Some(found) = inner.shared.get(&hash).and_then(Weak::upgrade) {
            if found.means(query, types, parse_environment) {
                return Some(found);
            }
            if !found.is_stale() {
                // Two texts with one hash: the first keeps it.
                return None;
            }
        }
        let slot = hash as usize % SEEN_SLOTS;
        if !named && inner.seen[slot] != hash {
            inner.seen[slot] = hash;
            return None;
        }
        let source = Source::Parse {
            query: query.into(),
            types: types.into(),
        };
        let made = Arc::new(Statement {
            shared: true,
            ..self.make(source, parse_environment, true, Traits::default())
        });
        inner.insert(hash, Arc::downgrade(&made));
        Some(made)
    }

    /// The shared statement for this text, if there is one already.
    pub fn find(&self, query: &[u8], types: &[u8], environment: u64) -> Option<Arc<Statement>> {
        let inner = self.inner.lock();
        let hash = inner.hash(query, types, environment);
        let found = inner.shared.get(&hash).and_then(Weak::upgrade)?;
        found.means(query, types, environment).then_some(found)
    }

    /// A statement that nobody else will find.
    pub fn private(&self, source: Source, named: bool, traits: Traits) -> Arc<Statement> {
        Arc::new(self.make(source, 0, named, traits))
    }

    /// A copy of a shared statement for one client alone.
    pub fn twin(&self, of: &Statement) -> Arc<Statement> {
        Arc::new(self.make(
            of.source.clone(),
            of.parse_environment,
            true,
            Traits::default(),
        ))
    }

    /// A SQL `PREPARE` under a name of ours; `text` makes the full text from the name.
    pub fn sql(
        &self,
        effects: Option<Arc<[sql::Statement]>>,
        text: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Arc<Statement> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let name = server_name(id);
        let source = Source::Sql {
            text: text(&name).into(),
        };
        Arc::new(Statement {
            id,
            text_key: source.text_key(),
            known: AtomicUsize::new(0),
            together: Arc::clone(&self.together),
            source,
            name,
            effects,
            needs: Vec::new(),
            makes: None,
            answer: None,
            parse_environment: 0,
            shared: false,
            stale: AtomicBool::new(false),
            proven: AtomicBool::new(false),
            shape: OnceLock::new(),
            reshaped: AtomicBool::new(false),
            judged: Slot::default(),
        })
    }

    fn make(
        &self,
        source: Source,
        parse_environment: u64,
        named: bool,
        traits: Traits,
    ) -> Statement {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Statement {
            id,
            text_key: source.text_key(),
            name: if named {
                server_name(id)
            } else {
                Box::default()
            },
            known: AtomicUsize::new(0),
            together: Arc::clone(&self.together),
            source,
            effects: traits.effects,
            needs: traits.needs,
            makes: traits.makes,
            answer: traits.answer,
            parse_environment,
            shared: false,
            stale: AtomicBool::new(false),
            proven: AtomicBool::new(false),
            shape: OnceLock::new(),
            reshaped: AtomicBool::new(false),
            judged: Slot::default(),
        }
    }

    /// The schema changed: every text that is parsed from now on gets a fresh statement.
    pub fn schema_changed(&self) {
        for (_, statement) in self.inner.lock().shared.drain() {
            if let Some(statement) = statement.upgrade() {
                statement.retire();
            }
        }
    }

    /// Those that some client or server connection holds.
    pub fn all(&self) -> Vec<Arc<Statement>> {
        let inner = self.inner.lock();
        let alive = inner.shared.values().filter_map(Weak::upgrade);
        alive.collect()
    }

    /// Statements that some client or server connection holds, and the bytes of their texts.
    pub fn usage(&self) -> (usize, usize) {
        let alive = self.all().into_iter();
        alive.fold((0, 0), |(n, bytes), s| (n + 1, bytes + s.weight()))
    }
}

/// What all names of ours on server connections begin with. Names of clients never reach a server
/// as they are if they begin like this.
pub const OUR_NAMES: &[u8] = b"pgweir_";

fn server_name(id: u64) -> Box<[u8]> {
    format!("pgweir_{id}").into_bytes().into()
}

impl Inner {
    fn hash(&self, query: &[u8], types: &[u8], parse_environment: u64) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(query);
        hasher.write(types);
        hasher.write_u64(parse_environment);
        // Zero marks an empty slot of `seen`.
        hasher.finish() | 1
    }

    fn insert(&mut self, hash: u64, statement: Weak<Statement>) {
        if self.shared.len() >= self.sweep_at {
            self.shared.retain(|_, s| s.strong_count() > 0);
            self.sweep_at = 256.max(self.shared.len() * 2);
        }
        self.shared.insert(hash, statement);
    }
}

#[cfg(test)]
mod tests;
