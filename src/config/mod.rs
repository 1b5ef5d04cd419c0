//! The configuration as the rest of pgweir sees it: resolved, validated, immutable.
//!
//! `raw` mirrors the file, `resolve` applies defaults and checks, and the result, [`Config`], is
//! shared behind an `Arc`. Nothing here is global: a reload builds a new `Config` and hands it to
//! whoever needs it.

pub mod cli;
mod error;
mod outside;
mod raw;
pub mod reload;
mod resolve;
mod settings;
mod source;
mod units;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::auth::hba::{Hba, IdentMaps};
use crate::auth::secret::Secret;
use crate::pgbouncer;

pub use error::ConfigError;
pub use outside::{Nowhere, Outside, System};
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
    /// Largest message accepted from a client, in bytes (`max_packet_size`).
    pub max_packet_size: usize,
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
    /// How long a drain after SIGTERM or SIGINT may take before clients are cut off.
    pub shutdown_timeout: Duration,
    pub log: Log,
    pub http: Option<Http>,
    pub client_tls: ClientTls,
    pub auth: Auth,
    /// By the name clients connect to, without the fallback.
    pub databases: BTreeMap<String, Arc<Database>>,
    /// `[pools."*"]`: serves any database name that has no entry of its own.
    pub fallback: Option<Arc<Database>>,
    /// What `[general]` and `[server_tls]` say for all pools; each began as a copy of this.
    pub pool_defaults: Arc<Database>,
    /// `[cache]`.
    pub cache: CacheLimits,
    pub users: BTreeMap<String, Arc<User>>,
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

    /// The entry that serves clients which ask for `name`.
    pub fn database(&self, name: &str) -> Option<Arc<Database>> {
        self.databases.get(name).or(self.fallback.as_ref()).cloned()
    }
}

/// Where clients reach us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Resolved TCP addresses; empty means no TCP listener. `*` is `0.0.0.0` and `::`, which can
    /// both be bound only if the second is for IPv6 alone (`IPV6_V6ONLY`).
    pub tcp: Vec<SocketAddr>,
    /// 0 lets the operating system choose, for tests.
    pub port: u16,
    /// Directory of the Unix socket `.s.PGSQL.PORT`; `None` means no Unix listener.
    pub unix_socket_dir: Option<PathBuf>,
    pub unix_socket_mode: u32,
    /// Of the Unix socket's file.
    pub unix_socket_group: Option<String>,
    pub backlog: u32,
    /// Several processes may listen on one port (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// Bytes that the kernel keeps for a TCP connection each way, clients' and servers'.
    pub tcp_socket_buffer: Option<usize>,
    pub tcp_keepalive: bool,
    pub tcp_keepidle: Option<Duration>,
    pub tcp_keepintvl: Option<Duration>,
    pub tcp_keepcnt: Option<u32>,
    pub tcp_user_timeout: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A tracing-subscriber filter, for example `info` or `info,pgweir::client=debug`.
    pub level: String,
    pub connections: bool,
    pub disconnections: bool,
    /// What pgweir itself refuses, as its clients are told.
    pub pooler_errors: bool,
    /// A line each `stats_period`.
    pub stats: bool,
    pub style: LogStyle,
    /// `None`: standard error.
    pub file: Option<PathBuf>,
    /// Also to the system's log.
    pub syslog: bool,
    pub syslog_ident: String,
    pub syslog_facility: Facility,
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// Fields with names.
    Text,
    /// PgBouncer's lines, for what reads those.
    PgBouncer,
}

/// `syslog_facility` (syslog(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Facility {
    Auth,
    Authpriv,
    Daemon,
    User,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

/// What is done about what clients ask for when they log in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartupRules {
    /// Parameters that are taken note of by nobody, in lower case.
    pub ignored: Vec<String>,
    /// The client's address is put behind its application's name.
    pub add_host: bool,
    /// A notice for everybody.
    pub message: String,
    /// Who sends a simple query is closed.
    pub no_simple_queries: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    pub listen: SocketAddr,
}

/// `sslmode`, with libpq's meanings (PostgreSQL docs, 34.19 "SSL Support").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    pub mode: SslMode,
    pub protocols: TlsProtocols,
    pub key_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    pub mode: SslMode,
    pub protocols: TlsProtocols,
    pub ca_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
}

/// Versions of TLS that may be used; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsProtocols {
    pub tls12: bool,
    pub tls13: bool,
}

impl TlsProtocols {
    /// For rustls, the best first.
    pub fn versions(self) -> Vec<&'static rustls::SupportedProtocolVersion> {
        let all = [
            (self.tls13, &rustls::version::TLS13),
            (self.tls12, &rustls::version::TLS12),
        ];
        all.into_iter()
            .filter(|(on, _)| *on)
            .map(|(_, v)| v)
            .collect()
    }
}

/// How a client must prove who it is (`auth_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthType {
    /// No proof; the user must exist.
    Trust,
    /// Any user name, no proof; the database must force a server user.
    Any,
    /// Cleartext password, refused unless the connection is TLS or a Unix socket.
    Plain,
    /// MD5, or SCRAM when the stored secret is a SCRAM verifier (as PgBouncer and PostgreSQL do).
    Md5,
    ScramSha256,
    /// A client certificate whose CN is the user name.
    Cert,
    /// As the first rule of `hba_file` says that fits.
    Hba,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    pub auth_type: AuthType,
    /// Users and passwords, as in PgBouncer's `userlist.txt`.
    pub file: Option<PathBuf>,
    /// Passwords in clear are taken over TCP without TLS, too.
    pub allow_cleartext: bool,
    /// Rules by connection, in PostgreSQL's `pg_hba.conf` format.
    pub hba_file: Option<PathBuf>,
    pub hba: Arc<Hba>,
    /// Maps that the rules name.
    pub ident_file: Option<PathBuf>,
    pub ident: Arc<IdentMaps>,
    /// Of SCRAM verifiers that are made from passwords.
    pub scram_iterations: NonZeroU32,
    /// Looks up users that the file does not list; `$1` is the user name. `None`: no look-up.
    pub query: Option<String>,
    /// The user as whom `query` runs; must be in `[users]`.
    pub user: Option<String>,
    /// Database where `query` runs; default: the one that the client asked for.
    pub dbname: Option<String>,
    /// How long a looked-up secret may be reused.
    pub query_ttl: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    Session,
    Transaction,
    Statement,
}

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

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Host name or IP address.
    Tcp(String),
    /// Directory that holds `.s.PGSQL.PORT`.
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
}

impl Database {
    /// All hosts; at least one.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        std::iter::once(&self.host).chain(&self.more_hosts)
    }

    /// The hosts, as in the file.
    pub fn host_names(&self) -> String {
        let names: Vec<String> = self.hosts().map(Host::to_string).collect();
        names.join(",")
    }
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
    /// Name on the server; `None`: the name that the client gave.
    pub dbname: Option<String>,
    /// Forced server user; `None`: the client's own.
    pub user: Option<String>,
    /// Password of the forced user.
    pub password: Option<Secret>,
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
    pub server_tls: ServerTls,
    pub server: ServerSettings,
    pub timeouts: Timeouts,
    /// Most clients waiting for a server connection of one pool; 0 is unlimited.
    pub max_queue: usize,
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
}

#[cfg(test)]
mod tests;
