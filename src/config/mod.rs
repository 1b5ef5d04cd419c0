//! The configuration as the rest of pgweir sees it: resolved, validated, immutable.
//!
//! `raw` mirrors the file, `resolve` applies defaults and checks, and the result, [`Config`], is
//! shared behind an `Arc`. Nothing here is global: a reload builds a new `Config` and hands it to
//! whoever needs it.

mod cache;
pub mod cli;
mod error;
mod exports;
mod front;
mod hosts;
mod outside;
mod peers;
mod queue;
mod raw;
pub mod reload;
mod resolve;
mod settings;
mod source;
pub mod tls;
mod units;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::auth::secret::Secret;
use crate::dns::DnsSettings;
use crate::pgbouncer;

pub use cache::{
    CacheLimits, CacheRule, CacheSettings, Consistency, FeedSettings, FunctionDeclaration,
    Invalidation, RowSecurity, SharedCache,
};
pub use error::ConfigError;
pub use exports::{Hidden, SentrySettings, TraceSettings};
pub use front::{
    Auth, AuthType, ClientTls, Facility, Http, Listen, Log, LogStyle, Login, ServerTls, SslMode,
    StartupRules, TlsProtocols,
};
pub use hosts::{
    HostLimits, Placed, ReadYourWrites, Reads, Role, RoleSettings, Target, share_a_server,
};
pub use outside::{Nowhere, Outside, System};
pub use peers::{Peer, PeerId, Peering};
pub use queue::{Class, FairBy, OverRate, Priority, Queue};
pub use raw::nearest;
pub use settings::Setting;

/// Name of the pool that serves every database without an entry of its own.
pub const FALLBACK: &str = "*";

/// Everything the file says, with defaults filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the file was read from; reload reads it again.
    pub path: PathBuf,
    pub listen: Listen,
    /// Threads that serve clients, at least 1: the file's 0 is replaced by the number of cores.
    pub workers: usize,
    /// Most clients connected at once, in the whole process (`max_client_conn`).
    pub max_client_conn: usize,
    /// Most server connections at once, in the whole process; 0 is unlimited.
    pub max_server_conn: usize,
    /// When a host that fails is left alone.
    pub host_limits: HostLimits,
    /// Who keeps a server connection that is to be closed loses it when it is in no transaction.
    pub server_fast_close: bool,
    /// Largest message accepted from a client, in bytes (`max_packet_size`).
    pub max_packet_size: usize,
    /// What a client may make pgweir keep for it, in bytes; 0 is unlimited.
    pub max_client_memory: usize,
    /// The same of all clients together.
    pub max_clients_memory: usize,
    /// Statements that each worker keeps statistics of; 0 is none.
    pub max_counted_statements: usize,
    /// Where the process's number is written while it runs.
    pub pidfile: Option<PathBuf>,
    /// As whom the process runs if it was started by root.
    pub user: Option<String>,
    /// How long averages are taken over, and how often they are logged; at least a second.
    pub stats_period: Duration,
    /// How long SUSPEND waits for transactions to end.
    pub suspend_timeout: Duration,
    /// What nobody has used for so long of the names below `"*"` is forgotten.
    pub autodb_idle_timeout: Duration,
    /// Pools that nobody has used for so long are forgotten; zero: never.
    pub pool_idle_timeout: Duration,
    pub startup: StartupRules,
    /// How servers' host names are looked up.
    pub dns: DnsSettings,
    /// How long a drain after SIGTERM or SIGINT may take before clients are cut off.
    pub shutdown_timeout: Duration,
    /// How long clients may stay when another process takes over; zero: as long as they like.
    pub upgrade_timeout: Duration,
    pub log: Log,
    pub sentry: SentrySettings,
    pub traces: TraceSettings,
    pub http: Option<Http>,
    pub client_tls: ClientTls,
    pub auth: Auth,
    pub login: Login,
    /// By the name clients connect to, without the fallback.
    pub databases: BTreeMap<String, Arc<Database>>,
    /// `[pools."*"]`: serves any database name that has no entry of its own.
    pub fallback: Option<Arc<Database>>,
    /// What `[general]` and `[server_tls]` say for all pools; each began as a copy of this.
    pub pool_defaults: Arc<Database>,
    /// `general.peer_id` and `[peers]`.
    pub peering: Peering,
    /// `[cache]`.
    pub cache: CacheLimits,
    pub users: BTreeMap<String, Arc<User>>,
    /// `[applications]`, by `application_name`.
    pub applications: BTreeMap<String, Class>,
    /// The TOML that all this was read from.
    pub source: Source,
    /// What works, but was found odd when it was read.
    pub oddities: Vec<String>,
    /// `pgbouncer.ini`'s settings as they are written, if that is what was read.
    pub pgbouncer: Option<Arc<[(&'static str, String)]>>,
    /// Used for a user that has no entry (looked up with `auth_query`).
    pub default_user: Arc<User>,
    pub admin_users: Vec<String>,
    pub stats_users: Vec<String>,
}

/// A text that may have passwords in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Source(Arc<str>);

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source(..)")
    }
}

/// With a longer time to live, unnoticed writes are worth a note.
const LONG_TTL: Duration = Duration::from_secs(60);

impl Config {
    /// What works, but may not be what was meant.
    pub fn notes(&self) -> Vec<String> {
        let pools = self.databases.values().chain(&self.fallback);
        let remember_longer = pools.filter_map(|pool| {
            let cache = &pool.cache;
            let rules = cache.rules.iter().filter(|r| r.enabled != Some(false));
            let longest = rules.filter_map(|r| r.ttl).chain([cache.ttl]).max();
            let unheard = cache.enabled && cache.invalidation == Invalidation::Ttl;
            longest.filter(|ttl| unheard && *ttl > LONG_TTL).map(|ttl| {
                format!(
                    "pools.{:?}.cache: what is written past pgweir may not be seen for {ttl:?}; \
                     invalidation = \"notify\" or \"replication\" would tell of it",
                    pool.name
                )
            })
        });
        self.oddities
            .iter()
            .cloned()
            .chain(remember_longer)
            .collect()
    }

    /// Reads, resolves and checks a file: PgBouncer's format if its name ends in `.ini`, else TOML.
    ///
    /// # Errors
    /// The file cannot be read, or something in it is wrong: see [`ConfigError::all`].
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        Config::load_as(path, path.extension().is_some_and(|ending| ending == "ini"))
    }

    /// The same, with the format given.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_as(path: &Path, is_ini: bool) -> Result<Config, ConfigError> {
        if is_ini {
            return pgbouncer::load::load(path, &System);
        }
        let text = fs::read_to_string(path).map_err(|error| {
            let problem = format!("cannot read the configuration file: {error}");
            ConfigError::new(path, None, String::new(), &problem)
        })?;
        Config::parse_with(&text, path, &System)
    }

    /// Resolves and checks a text by itself, without looking at the machine (see [`Nowhere`]).
    /// `path` is only for messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        Config::parse_with(text, path, &Nowhere)
    }

    /// Resolves and checks a text, asking `outside` for what is not in it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse_with(
        text: &str,
        path: &Path,
        outside: &dyn Outside,
    ) -> Result<Config, ConfigError> {
        let source = source::Source::parse(text)
            .map_err(|error| ConfigError::new(path, error.line, String::new(), &error.message))?;
        let mut problems = error::Problems::new(path, &source);
        let file = raw::File::read(source.root(), &mut problems);
        // What was read only in part would fail later checks that have nothing to say.
        let mut problems = problems.or_stop()?;
        let mut config = resolve::resolve(file, path, outside, &mut problems);
        problems.or_stop()?;
        config.source = Source(text.into());
        Ok(config)
    }

    /// Reads the file again that it was read from.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn reload(&self) -> Result<Config, ConfigError> {
        Config::load_as(&self.path, self.pgbouncer.is_some())
    }

    /// The same with some of PgBouncer's settings changed, as by SET at the console.
    ///
    /// # Errors
    /// Why it cannot be so.
    pub fn with_settings(&self, changes: &[(String, String)]) -> Result<Config, String> {
        let text = pgbouncer::set::changed(&self.source.0, changes)?;
        let changed = Config::parse_with(&text, &self.path, &System);
        let mut config = changed.map_err(|error| error.problem)?;
        config.pgbouncer.clone_from(&self.pgbouncer);
        // More changes may follow.
        config.source = self.source.clone();
        Ok(config)
    }

    /// Whether a pool has a host of this name.
    pub fn has_host(&self, name: &str) -> bool {
        let pools = self.databases.values().chain(&self.fallback);
        let peers = self.peering.others().map(|(_, peer)| &peer.host);
        let mut hosts = pools.flat_map(|pool| pool.hosts()).chain(peers);
        hosts.any(|host| matches!(host, Host::Tcp(known) if known == name))
    }

    /// The entry that serves clients which ask for `name`.
    pub fn database(&self, name: &str) -> Option<Arc<Database>> {
        self.databases.get(name).or(self.fallback.as_ref()).cloned()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    Session,
    Transaction,
    Statement,
}

/// What to do with a statement whose effect on the session cannot be replayed elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStatePolicy {
    /// Keep the server connection with the client until the state is gone.
    Pin,
    /// Refuse the statement with an error that names it.
    Reject,
    /// Let it through and release as usual; the state may be lost or seen by others.
    Allow,
}

/// How a client listens in transaction and statement mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenChannels {
    /// By the one connection of the pool that listens for all of its clients.
    Share,
    /// By a server connection that stays with it.
    Pin,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Host {
    /// Host name or IP address.
    Tcp(String),
    /// Directory that holds `.s.PGSQL.PORT`; beginning with `@`, a name in the abstract namespace.
    Unix(PathBuf),
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Host::Tcp(name) => f.write_str(name),
            Host::Unix(directory) => directory.display().fmt(f),
        }
    }
}

/// Which of several hosts a new server connection goes to (`load_balance_hosts`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn.
    RoundRobin,
    /// The first, as long as it can be connected to.
    Disable,
    /// The one with the fewest connections for its weight.
    LeastOutstanding,
    /// Of two that are drawn by weight, the one with fewer.
    RandomOfTwo,
}

/// Where a password comes from that changes while pgweir runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The first line that a command prints.
    Command {
        /// The program and its arguments; at least one word.
        command: Vec<String>,
        /// How long it is good; zero: until the server refuses it.
        refresh: Duration,
    },
    /// The first line of a file.
    File(PathBuf),
}

/// One `[pools.NAME]` entry.
#[derive(Debug, Clone)]
pub struct Database {
    pub name: String,
    pub host: Host,
    /// Further hosts with the same port, to be used like the first.
    pub more_hosts: Vec<Host>,
    pub load_balance_hosts: Balance,
    pub port: u16,
    /// Instead of `host` and `port`: servers with roles, if there are any.
    pub placed: Vec<Placed>,
    pub roles: RoleSettings,
    /// Name on the server; `None`: the name that the client gave.
    pub dbname: Option<String>,
    /// Forced server user; `None`: the client's own.
    pub user: Option<String>,
    /// Password of the forced user.
    pub password: Option<Secret>,
    /// Where it comes from instead, if it changes while pgweir runs.
    pub password_source: Option<PasswordSource>,
    pub pool_size: usize,
    pub min_pool_size: usize,
    pub reserve_pool_size: usize,
    pub reserve_pool_timeout: Duration,
    /// Server connections over all users of this database; 0 is unlimited.
    pub max_db_connections: usize,
    /// Clients of this database; 0 is unlimited.
    pub max_db_client_connections: usize,
    pub pool_mode: PoolMode,
    pub session_state: SessionStatePolicy,
    pub listen_channels: ListenChannels,
    /// Most bytes of notifications that wait for one client that listens.
    pub listen_queue_size: usize,
    pub server_tls: ServerTls,
    pub server: ServerSettings,
    pub timeouts: Timeouts,
    /// Most clients waiting for a server connection of one pool; 0 is unlimited.
    pub max_queue: usize,
    pub queue: Queue,
    /// Prepared statements kept on one server connection; 0 turns the tracking off.
    pub max_prepared_statements: usize,
    /// Runs once on every new server connection.
    pub connect_query: Option<String>,
    /// Instead of `[auth]`'s, for clients of this database.
    pub auth_user: Option<String>,
    pub auth_query: Option<String>,
    pub auth_dbname: Option<String>,
    /// Startup parameters of server connections: what holds where a client says nothing.
    pub parameters: Vec<(String, String)>,
    pub cache: CacheSettings,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    pub lifetime: Duration,
    pub idle_timeout: Duration,
    /// An idle server connection older than this is checked before it is used.
    pub check_delay: Duration,
    /// `None`: an empty query.
    pub check_query: Option<String>,
    pub reset_query: Option<String>,
    /// Run the reset query in transaction mode too, after every transaction.
    pub reset_query_always: bool,
    pub connect_timeout: Duration,
    /// How long logins may fail before waiting clients are told instead of kept.
    pub login_retry: Duration,
    /// Hand out the connection that was idle longest instead of the one used last.
    pub round_robin: bool,
}

/// Zero (`Duration::ZERO`) turns a timeout off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// One statement.
    pub query: Duration,
    pub transaction: Duration,
    pub idle_transaction: Duration,
    pub client_idle: Duration,
    pub client_login: Duration,
    /// Waiting for a server connection.
    pub query_wait: Duration,
    /// After so long a client that waits is told why.
    pub query_wait_notify: Duration,
    /// From the CancelRequest of an expired statement to dropping its server connection.
    pub cancel_wait: Duration,
    /// A client that does not read its answer holds a server connection at most this long.
    pub client_write: Duration,
}

/// One `[users.NAME]` entry; `None` inherits from the database.
#[derive(Debug, Clone, Default)]
pub struct User {
    pub name: String,
    pub secret: Option<Secret>,
    /// It is in `auth.file`.
    pub listed: bool,
    pub pool_mode: Option<PoolMode>,
    pub pool_size: Option<usize>,
    pub reserve_pool_size: Option<usize>,
    /// Server connections of this user; 0 is unlimited.
    pub max_user_connections: usize,
    /// Client connections of this user; 0 is unlimited.
    pub max_user_client_connections: usize,
    pub query_timeout: Option<Duration>,
    pub transaction_timeout: Option<Duration>,
    pub idle_transaction_timeout: Option<Duration>,
    pub client_idle_timeout: Option<Duration>,
    pub query_wait_timeout: Option<Duration>,
    pub class: Class,
}

#[cfg(test)]
mod tests;
