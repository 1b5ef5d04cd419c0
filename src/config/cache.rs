//! What may be remembered, where, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::auth::secret::Secret;

/// How pgweir hears of writes that do not go through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalidation {
    /// Not at all: the time to live bounds how old an answer can be.
    Ttl,
    /// Triggers notify it.
    Notify,
    /// It reads the server's write-ahead log.
    Replication,
}

/// What the cache does about tables with row-level security.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowSecurity {
    /// Not remember them.
    Refuse,
    /// Remember them by role and settings, which is what policies decide by.
    Key,
}

/// What all pools' remembered answers may take together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes.
    pub max_size: usize,
    /// An answer that nobody has asked for in this time is dropped; zero: never.
    pub idle_timeout: Duration,
    pub shared: Option<SharedCache>,
}

/// When other instances honour a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Soon after it is acknowledged: within `max_lag`.
    Bounded,
    /// Before it is acknowledged; every answer from memory is checked in Redis first.
    Strict,
}

/// `[cache.shared]`: what several instances share in Redis or Valkey.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedCache {
    /// `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, or `rediss://` for TLS.
    pub url: String,
    pub consistency: Consistency,
    /// How long ago a write of another instance may have been acknowledged that is not known here.
    pub max_lag: Duration,
    /// For one question.
    pub timeout: Duration,
    /// Bytes from which on an entry is compressed.
    pub compress_above: usize,
    /// What all keys begin with.
    pub prefix: String,
    /// After this silence an instance is taken to be dead.
    pub member_timeout: Duration,
}

impl std::fmt::Debug for SharedCache {
    /// Without the URL, in which there may be a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedCache")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// `[pools.NAME.cache]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    pub enabled: bool,
    /// How long an answer may be given.
    pub ttl: Duration,
    /// How much longer it may be given while somebody gets a new one.
    pub stale_while_revalidate: Duration,
    /// Bytes of one answer; larger ones are not remembered.
    pub max_entry_size: usize,
    /// How old the knowledge of the server's catalogs may get, for changes made elsewhere.
    pub catalog_refresh: Duration,
    /// How pgweir hears of writes made elsewhere.
    pub invalidation: Invalidation,
    pub feed: FeedSettings,
    pub row_security: RowSecurity,
    /// The first that fits a statement decides.
    pub rules: Vec<CacheRule>,
    /// By name, with or without schema.
    pub functions: BTreeMap<String, FunctionDeclaration>,
    /// By name, with or without schema: what the triggers of the table write beside it.
    pub tables: BTreeMap<String, Vec<String>>,
}

/// The connection over which pgweir hears of writes made elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSettings {
    /// As whom pgweir logs in for it; `None`: the pool's forced user.
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// How long ago a write made elsewhere may have been committed that is not known yet.
    pub max_lag: Duration,
    /// Of the notifications.
    pub channel: String,
    pub publication: String,
    /// Bytes of WAL that the server may have to keep for the slot.
    pub max_wal: usize,
}

/// One of `rules`: what it does not say is as for the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRule {
    /// Fits if one of these is among the tables that the statement names; empty: any.
    pub tables: Vec<String>,
    /// A regular expression that the statement's text must match.
    pub query: Option<String>,
    /// Fits these users only; empty: all.
    pub users: Vec<String>,
    /// Fits clients that logged in with one of these; empty: all.
    pub application_names: Vec<String>,
    pub enabled: Option<bool>,
    pub ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    /// How long an error may be given that the data is the reason of; zero: it is not remembered.
    pub errors: Duration,
    /// Although nothing is remembered, those who ask while the same is being asked for share the
    /// answer.
    pub coalesce: bool,
}

/// What a function does that the server's catalogs do not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionDeclaration {
    /// All tables that it reads: its result depends on nothing else.
    pub reads: Option<Vec<String>>,
    /// All tables that it writes.
    pub writes: Option<Vec<String>>,
}
