//! The file as it is written: one struct per section, a field per key, `None` for what is absent.
//!
//! Types and ranges of single values are checked here, and so are unknown keys; what the values
//! mean together is [`super::resolve`]'s business. Every mistake is collected, not only the first.

mod argv;
mod fields;
mod secret;
mod unknown;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::error::Problems;
use super::units::{Count, FileMode, Interval, List, Port, Size};
use super::{
    AuthType, Balance, Consistency, Facility, FairBy, Invalidation, ListenChannels, LogStyle,
    OverRate, PoolMode, Priority, ReadYourWrites, Reads, Role, RowSecurity, SessionStatePolicy,
    SslMode, Target,
};
pub(super) use argv::Argv;
pub(super) use fields::fields;
pub(super) use secret::SecretSource;
pub use unknown::nearest;

/// The whole file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub general: General,
    /// The pool keys of `[general]` and all of `[server_tls]`.
    pub pool_defaults: PoolKeys,
    pub server_tls: ServerTls,
    pub log: Log,
    pub http: Option<Http>,
    pub client_tls: ClientTls,
    pub auth: Auth,
    pub login: Login,
    pub cache: CacheLimits,
    /// `[pools.NAME.cache]` of a pool is in [`Pool`].
    pub pools: BTreeMap<String, Pool>,
    pub peers: BTreeMap<String, Peer>,
    pub users: BTreeMap<String, User>,
    pub applications: BTreeMap<String, Application>,
}

/// `[general]`, without the keys that a pool may override.
#[derive(Debug, Default, Deserialize)]
pub(super) struct General {
    pub listen_addr: Option<List>,
    pub listen_port: Option<Port>,
    pub unix_socket_dir: Option<PathBuf>,
    pub unix_socket_mode: Option<FileMode>,
    pub unix_socket_group: Option<String>,
    pub listen_backlog: Option<Count>,
    pub so_reuseport: Option<bool>,
    pub peer_id: Option<Count>,
    pub tcp_socket_buffer: Option<Size>,
    pub tcp_keepalive: Option<bool>,
    pub tcp_keepidle: Option<Interval>,
    pub tcp_keepintvl: Option<Interval>,
    pub tcp_keepcnt: Option<Count>,
    pub tcp_user_timeout: Option<Interval>,
    pub proxy_protocol: Option<List>,
    pub workers: Option<Count>,
    pub max_client_conn: Option<Count>,
    pub max_server_conn: Option<Count>,
    pub host_max_connecting: Option<Count>,
    pub host_failures: Option<Count>,
    pub host_max_delay: Option<Interval>,
    pub server_fast_close: Option<bool>,
    pub max_packet_size: Option<Size>,
    pub max_client_memory: Option<Size>,
    pub max_clients_memory: Option<Size>,
    pub shutdown_timeout: Option<Interval>,
    pub upgrade_timeout: Option<Interval>,
    pub pidfile: Option<PathBuf>,
    pub user: Option<String>,
    pub stats_period: Option<Interval>,
    pub suspend_timeout: Option<Interval>,
    pub autodb_idle_timeout: Option<Interval>,
    pub pool_idle_timeout: Option<Interval>,
    pub ignore_startup_parameters: Option<List>,
    pub application_name_add_host: Option<bool>,
    pub login_notify_message: Option<String>,
    pub disable_pqexec: Option<bool>,
    pub dns_max_ttl: Option<Interval>,
    pub dns_nxdomain_ttl: Option<Interval>,
    pub dns_zone_check_period: Option<Interval>,
    pub resolv_conf: Option<PathBuf>,
    pub query_wait_notify: Option<Interval>,
    pub client_login_timeout: Option<Interval>,
    pub admin_users: Option<List>,
    pub stats_users: Option<List>,
    pub default_pool_size: Option<Count>,
    pub max_user_connections: Option<Count>,
    pub max_user_client_connections: Option<Count>,
}

/// The keys that `[general]` and every `[pools.NAME]` have in common.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PoolKeys {
    pub pool_mode: Option<PoolMode>,
    pub session_state: Option<SessionStatePolicy>,
    pub listen_channels: Option<ListenChannels>,
    pub listen_queue_size: Option<Size>,
    pub min_pool_size: Option<Count>,
    pub reserve_pool_size: Option<Count>,
    pub reserve_pool_timeout: Option<Interval>,
    pub max_db_connections: Option<Count>,
    pub max_db_client_connections: Option<Count>,
    pub max_queue: Option<Count>,
    pub max_user_queue: Option<Count>,
    pub queue_fair_by: Option<FairBy>,
    pub early_refusal: Option<bool>,
    pub over_rate: Option<OverRate>,
    pub max_prepared_statements: Option<Count>,
    pub server_lifetime: Option<Interval>,
    pub server_idle_timeout: Option<Interval>,
    pub server_check_delay: Option<Interval>,
    pub server_check_query: Option<String>,
    pub server_reset_query: Option<String>,
    pub server_reset_query_always: Option<bool>,
    pub server_connect_timeout: Option<Interval>,
    pub server_login_retry: Option<Interval>,
    pub server_round_robin: Option<bool>,
    pub query_timeout: Option<Interval>,
    pub transaction_timeout: Option<Interval>,
    pub idle_transaction_timeout: Option<Interval>,
    pub client_idle_timeout: Option<Interval>,
    pub query_wait_timeout: Option<Interval>,
    pub cancel_wait_timeout: Option<Interval>,
    pub client_write_timeout: Option<Interval>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Log {
    pub level: Option<String>,
    pub connections: Option<bool>,
    pub disconnections: Option<bool>,
    pub pooler_errors: Option<bool>,
    pub stats: Option<bool>,
    pub style: Option<LogStyle>,
    pub file: Option<PathBuf>,
    pub syslog: Option<bool>,
    pub syslog_ident: Option<String>,
    pub syslog_facility: Option<Facility>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Http {
    pub listen: Option<String>,
    pub ready_without_servers: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ClientTls {
    pub sslmode: Option<SslMode>,
    pub protocols: Option<List>,
    pub key_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub ciphers: Option<String>,
    pub tls13_ciphers: Option<String>,
    pub ecdhcurve: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ServerTls {
    pub sslmode: Option<SslMode>,
    pub protocols: Option<List>,
    pub ca_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub ciphers: Option<String>,
    pub tls13_ciphers: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Auth {
    #[serde(rename = "type")]
    pub auth_type: Option<AuthType>,
    pub file: Option<PathBuf>,
    pub allow_cleartext: Option<bool>,
    pub hba_file: Option<PathBuf>,
    pub ident_file: Option<PathBuf>,
    pub scram_iterations: Option<Count>,
    pub ldap_options: Option<SecretSource>,
    pub pam_service: Option<String>,
    pub query: Option<String>,
    pub user: Option<String>,
    pub dbname: Option<String>,
    pub query_ttl: Option<Interval>,
}

/// `[login]`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Login {
    pub max_failures: Option<Count>,
    pub max_address_failures: Option<Count>,
    pub failure_window: Option<Interval>,
    pub backoff: Option<Interval>,
    pub max_backoff: Option<Interval>,
    pub max_half_open: Option<Count>,
    pub allow: Option<List>,
    pub deny: Option<List>,
}

/// `[cache]`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CacheLimits {
    pub max_size: Option<Size>,
    pub idle_timeout: Option<Interval>,
    pub shared: Option<SharedCache>,
}

/// `[cache.shared]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SharedCache {
    pub url: SecretSource,
    pub consistency: Option<Consistency>,
    pub max_lag: Option<Interval>,
    pub timeout: Option<Interval>,
    pub compress_above: Option<Size>,
    pub prefix: Option<String>,
    pub member_timeout: Option<Interval>,
}

/// `[pools.NAME.cache]`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PoolCache {
    pub enabled: Option<bool>,
    pub ttl: Option<Interval>,
    pub stale_while_revalidate: Option<Interval>,
    pub max_entry_size: Option<Size>,
    pub catalog_refresh: Option<Interval>,
    pub invalidation: Option<Invalidation>,
    pub row_security: Option<RowSecurity>,
    pub feed_user: Option<String>,
    pub feed_password: Option<SecretSource>,
    pub feed_max_lag: Option<Interval>,
    pub feed_channel: Option<String>,
    pub feed_publication: Option<String>,
    pub feed_max_wal: Option<Size>,
    pub rules: Option<Vec<CacheRule>>,
    pub functions: Option<BTreeMap<String, Function>>,
    pub tables: Option<BTreeMap<String, Table>>,
}

/// One of `[[pools.NAME.cache.rules]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CacheRule {
    pub tables: Option<List>,
    pub query: Option<String>,
    pub users: Option<List>,
    pub application_names: Option<List>,
    pub enabled: Option<bool>,
    pub ttl: Option<Interval>,
    pub stale_while_revalidate: Option<Interval>,
    pub errors: Option<Interval>,
    pub coalesce: Option<bool>,
}

/// `[pools.NAME.cache.functions.FUNCTION]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Function {
    pub reads: Option<List>,
    pub writes: Option<List>,
}

/// `[pools.NAME.cache.tables.TABLE]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub writes: List,
}

/// `[pools.NAME]`.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub own: PoolOwn,
    pub keys: PoolKeys,
    pub server_tls: ServerTls,
    pub cache: PoolCache,
}

/// The keys that only `[pools.NAME]` has.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PoolOwn {
    pub host: Option<List>,
    pub load_balance_hosts: Option<Balance>,
    pub port: Option<Port>,
    pub hosts: Option<Vec<PoolHost>>,
    pub target: Option<Target>,
    pub probe_interval: Option<Interval>,
    pub max_lag: Option<Interval>,
    pub reads: Option<Reads>,
    pub read_your_writes: Option<ReadYourWrites>,
    pub dbname: Option<String>,
    pub user: Option<String>,
    pub password: Option<SecretSource>,
    pub password_command: Option<Argv>,
    pub password_file: Option<PathBuf>,
    pub password_refresh: Option<Interval>,
    pub pool_size: Option<Count>,
    pub connect_query: Option<String>,
    pub auth_user: Option<String>,
    pub auth_query: Option<String>,
    pub auth_dbname: Option<String>,
    pub client_encoding: Option<String>,
    pub datestyle: Option<String>,
    pub timezone: Option<String>,
    pub application_name: Option<String>,
    pub priority: Option<Priority>,
}

/// One of `hosts`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolHost {
    pub host: String,
    pub port: Option<Port>,
    pub role: Option<Role>,
    pub weight: Option<Count>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct User {
    pub password: Option<SecretSource>,
    pub pool_mode: Option<PoolMode>,
    pub pool_size: Option<Count>,
    pub reserve_pool_size: Option<Count>,
    pub max_user_connections: Option<Count>,
    pub max_user_client_connections: Option<Count>,
    pub query_timeout: Option<Interval>,
    pub transaction_timeout: Option<Interval>,
    pub idle_transaction_timeout: Option<Interval>,
    pub client_idle_timeout: Option<Interval>,
    pub query_wait_timeout: Option<Interval>,
    pub priority: Option<Priority>,
    pub max_queries_per_second: Option<Count>,
    pub query_burst: Option<Count>,
}

/// `[applications.NAME]`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Application {
    pub priority: Option<Priority>,
    pub max_queries_per_second: Option<Count>,
    pub query_burst: Option<Count>,
}

/// `[peers.ID]`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Peer {
    pub host: Option<String>,
    pub port: Option<Port>,
    pub pool_size: Option<Count>,
}

impl File {
    /// Reads every section; what is wrong goes to `problems` and counts as absent.
    pub fn read(root: &DeTable<'_>, problems: &mut Problems<'_>) -> File {
        unknown::report(root, problems);
        let mut reader = Reader { problems };
        let mut file = File::default();
        let section = |name: &'static str| root.get(name).map(|value| ([name], value));

        if let Some((key, value)) = section("general") {
            file.general = reader.section(&key, value);
            file.pool_defaults = reader.section(&key, value);
        }
        if let Some((key, value)) = section("server_tls") {
            file.server_tls = reader.section(&key, value);
        }
        if let Some((key, value)) = section("log") {
            file.log = reader.section(&key, value);
        }
        if let Some((key, value)) = section("http") {
            file.http = Some(reader.section(&key, value));
        }
        if let Some((key, value)) = section("client_tls") {
            file.client_tls = reader.section(&key, value);
        }
        if let Some((key, value)) = section("auth") {
            file.auth = reader.section(&key, value);
        }
        if let Some((key, value)) = section("login") {
            file.login = reader.section(&key, value);
        }
        if let Some((key, value)) = section("cache") {
            file.cache = reader.section(&key, value);
        }
        for (name, value) in entries(root, "pools") {
            file.pools.insert(name.to_owned(), reader.pool(name, value));
        }
        for (name, value) in entries(root, "peers") {
            let peer = reader.section(&["peers", name], value);
            file.peers.insert(name.to_owned(), peer);
        }
        for (name, value) in entries(root, "users") {
            let user = reader.section(&["users", name], value);
            file.users.insert(name.to_owned(), user);
        }
        for (name, value) in entries(root, "applications") {
            let application = reader.section(&["applications", name], value);
            file.applications.insert(name.to_owned(), application);
        }
        file
    }
}

/// The named tables inside a section; [`unknown::report`] has said so if it is no table.
fn entries<'a, 'i>(
    root: &'a DeTable<'i>,
    section: &str,
) -> impl Iterator<Item = (&'a str, &'a Spanned<DeValue<'i>>)> {
    let table = root
        .get(section)
        .and_then(|value| value.get_ref().as_table());
    let entries = table.into_iter().flat_map(|table| table.iter());
    entries.map(|(name, value)| (name.get_ref().as_ref(), value))
}

struct Reader<'a, 's> {
    problems: &'a mut Problems<'s>,
}

impl Reader<'_, '_> {
    fn pool(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Pool {
        let key = ["pools", name];
        let inner = |name: &str| value.get_ref().as_table().and_then(|table| table.get(name));
        let (tls, cache) = (inner("server_tls"), inner("cache"));
        Pool {
            own: self.section(&key, value),
            keys: self.section(&key, value),
            server_tls: tls
                .map(|value| self.section(&["pools", name, "server_tls"], value))
                .unwrap_or_default(),
            cache: cache
                .map(|value| self.section(&["pools", name, "cache"], value))
                .unwrap_or_default(),
        }
    }

    /// Reads the fields of `T` out of a table, passing over the keys of its other half.
    ///
    /// serde stops at the first mistake: the value at fault is reported and taken out, and the
    /// rest is tried again.
    fn section<T>(&mut self, key: &[&str], value: &Spanned<DeValue<'_>>) -> T
    where
        T: DeserializeOwned + Default,
    {
        // Not a table: `unknown::report` has said so.
        let Some(table) = value.get_ref().as_table() else {
            return T::default();
        };
        let mut table = table.clone();
        loop {
            let whole = Spanned::new(value.span(), DeValue::Table(table.clone()));
            let error = match T::deserialize(ValueDeserializer::from(whole)) {
                Ok(section) => return section,
                Err(error) => error,
            };
            let culprit = error.span().and_then(|span| {
                let mut entries = table.iter();
                let (name, _) = entries.find(|(_, value)| {
                    value.span().start <= span.start && span.end <= value.span().end
                })?;
                Some(name.get_ref().clone().into_owned())
            });
            let Some(culprit) = culprit else {
                self.problems.add(key, error.message());
                return T::default();
            };
            let path: Vec<&str> = key.iter().copied().chain([culprit.as_str()]).collect();
            self.problems.add(&path, error.message());
            table.remove(culprit.as_str());
        }
    }
}

#[cfg(test)]
mod tests;
