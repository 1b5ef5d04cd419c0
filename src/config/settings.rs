//! The keys of a configuration as names and values: the one table behind `SHOW CONFIG` and behind
//! the comparison at reload. Passwords are not in it.

mod exports;
mod log;
mod login;
mod user;

pub(super) use user::USER_KEYS;

use std::path::PathBuf;
use std::time::Duration;

use super::outside::{Outside, System};
use super::resolve::defaults;
use super::{Config, Database, PasswordSource, PeerId, TlsProtocols};

/// A row of `SHOW CONFIG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// PgBouncer's name for the key, or one in its manner.
    pub key: String,
    /// In PgBouncer's units: durations in seconds (`tcp_user_timeout` in milliseconds), sizes in
    /// bytes, `1` and `0` for yes and no.
    pub value: String,
    pub default: String,
    /// Whether a reload can change it.
    pub changeable: bool,
}

impl Config {
    /// Every setting of the process and every default for pools and users, for `SHOW CONFIG`.
    pub fn settings(&self) -> Vec<Setting> {
        let default = defaults::config(&self.path, System.cores());
        let process = keys().map(|key| Setting {
            key: key.shown(),
            value: (key.value)(self),
            default: (key.value)(&default),
            changeable: key.live,
        });
        let pools = POOL_KEYS.iter().map(|key| Setting {
            key: key.shown(),
            value: (key.value)(&self.pool_defaults),
            default: (key.value)(&default.pool_defaults),
            changeable: true,
        });
        process.chain(pools).collect()
    }
}

/// A key of the process.
pub(super) struct Key {
    pub section: &'static str,
    pub name: &'static str,
    /// A reload can change it.
    pub live: bool,
    pub value: fn(&Config) -> String,
}

impl Key {
    /// PgBouncer has one section, so the others become a prefix: `auth.type` is `auth_type`.
    fn shown(&self) -> String {
        shown(self.section, self.name)
    }
}

fn shown(section: &str, name: &str) -> String {
    match section {
        "general" => name.to_owned(),
        _ => format!("{section}_{name}"),
    }
}

/// A key that every pool has, with its default in `[general]` or `[server_tls]`.
pub(super) struct PoolKey {
    /// Where its default is.
    pub section: &'static str,
    pub name: &'static str,
    pub value: fn(&Database) -> String,
}

impl PoolKey {
    fn shown(&self) -> String {
        shown(self.section, self.name)
    }

    /// Its path below `pools.NAME`.
    pub fn path_in_pool(&self) -> String {
        match (self.section, self.name) {
            ("general", "default_pool_size") => "pool_size".to_owned(),
            ("general", name) => name.to_owned(),
            (section, name) => format!("{section}.{name}"),
        }
    }
}

/// A key by its name in `[pools.NAME]` or `[users.NAME]`.
pub(super) struct NamedKey<T> {
    pub name: &'static str,
    pub value: fn(&T) -> String,
}

const fn live(section: &'static str, name: &'static str, value: fn(&Config) -> String) -> Key {
    Key {
        section,
        name,
        live: true,
        value,
    }
}

/// A key that takes a restart to change.
const fn fixed(section: &'static str, name: &'static str, value: fn(&Config) -> String) -> Key {
    Key {
        section,
        name,
        live: false,
        value,
    }
}

const fn general(name: &'static str, value: fn(&Database) -> String) -> PoolKey {
    PoolKey {
        section: "general",
        name,
        value,
    }
}

const fn server_tls(name: &'static str, value: fn(&Database) -> String) -> PoolKey {
    PoolKey {
        section: "server_tls",
        name,
        value,
    }
}

const fn named<T>(name: &'static str, value: fn(&T) -> String) -> NamedKey<T> {
    NamedKey { name, value }
}

/// Every key of the process.
pub(super) fn keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter()
        .chain(log::KEYS)
        .chain(exports::KEYS)
        .chain(login::KEYS)
}

const KEYS: &[Key] = &[
    fixed("general", "listen_addr", |c| {
        join(c.listen.tcp.iter().map(|addr| addr.ip().to_string()))
    }),
    fixed("general", "listen_port", |c| c.listen.port.to_string()),
    fixed("general", "unix_socket_dir", |c| {
        file(&c.listen.unix_socket_dir)
    }),
    fixed("general", "unix_socket_mode", |c| {
        format!("{:04o}", c.listen.unix_socket_mode)
    }),
    fixed("general", "unix_socket_group", |c| {
        text(&c.listen.unix_socket_group)
    }),
    fixed("general", "so_reuseport", |c| flag(c.listen.reuse_port)),
    live("general", "tcp_socket_buffer", |c| {
        c.listen.tcp_socket_buffer.unwrap_or(0).to_string()
    }),
    fixed("general", "pidfile", |c| file(&c.pidfile)),
    fixed("general", "user", |c| text(&c.user)),
    live("general", "stats_period", |c| seconds(c.stats_period)),
    live("general", "suspend_timeout", |c| seconds(c.suspend_timeout)),
    live("general", "autodb_idle_timeout", |c| {
        seconds(c.autodb_idle_timeout)
    }),
    live("general", "pool_idle_timeout", |c| {
        seconds(c.pool_idle_timeout)
    }),
    live("general", "ignore_startup_parameters", |c| {
        join(c.startup.ignored.iter())
    }),
    live("general", "application_name_add_host", |c| {
        flag(c.startup.add_host)
    }),
    live("general", "login_notify_message", |c| {
        c.startup.message.clone()
    }),
    fixed("general", "disable_pqexec", |c| {
        flag(c.startup.no_simple_queries)
    }),
    live("general", "dns_max_ttl", |c| seconds(c.dns.limits.max_ttl)),
    live("general", "dns_nxdomain_ttl", |c| {
        seconds(c.dns.limits.nothing)
    }),
    live("general", "dns_zone_check_period", |c| {
        seconds(c.dns.zone_check_period)
    }),
    fixed("general", "resolv_conf", |c| file(&c.dns.resolv_conf)),
    live("general", "query_wait_notify", |c| {
        seconds(c.pool_defaults.timeouts.query_wait_notify)
    }),
    fixed("general", "listen_backlog", |c| {
        c.listen.backlog.to_string()
    }),
    live("general", "tcp_keepalive", |c| flag(c.listen.tcp_keepalive)),
    live("general", "tcp_keepidle", |c| {
        seconds(c.listen.tcp_keepidle.unwrap_or_default())
    }),
    live("general", "tcp_keepintvl", |c| {
        seconds(c.listen.tcp_keepintvl.unwrap_or_default())
    }),
    live("general", "tcp_keepcnt", |c| {
        c.listen.tcp_keepcnt.unwrap_or_default().to_string()
    }),
    live("general", "tcp_user_timeout", |c| {
        let timeout = c.listen.tcp_user_timeout.unwrap_or_default();
        timeout.as_millis().to_string()
    }),
    live("general", "proxy_protocol", |c| {
        join(c.listen.proxy_protocol.iter().map(|n| n.to_string()))
    }),
    fixed("general", "workers", |c| c.workers.to_string()),
    live("general", "max_client_conn", |c| {
        c.max_client_conn.to_string()
    }),
    live("general", "peer_id", |c| {
        c.peering.id.map_or(0, PeerId::get).to_string()
    }),
    live("general", "host_max_connecting", |c| {
        c.host_limits.max_connecting.to_string()
    }),
    live("general", "host_failures", |c| {
        c.host_limits.failures.to_string()
    }),
    live("general", "host_max_delay", |c| {
        seconds(c.host_limits.max_delay)
    }),
    live("general", "server_fast_close", |c| {
        flag(c.server_fast_close)
    }),
    live("general", "max_server_conn", |c| {
        c.max_server_conn.to_string()
    }),
    fixed("general", "max_packet_size", |c| {
        c.max_packet_size.to_string()
    }),
    live("general", "max_client_memory", |c| {
        c.max_client_memory.to_string()
    }),
    live("general", "max_clients_memory", |c| {
        c.max_clients_memory.to_string()
    }),
    live("general", "max_counted_statements", |c| {
        c.max_counted_statements.to_string()
    }),
    live("general", "shutdown_timeout", |c| {
        seconds(c.shutdown_timeout)
    }),
    live("general", "upgrade_timeout", |c| seconds(c.upgrade_timeout)),
    live("general", "admin_users", |c| join(c.admin_users.iter())),
    live("general", "stats_users", |c| join(c.stats_users.iter())),
    live("general", "client_login_timeout", |c| {
        seconds(c.pool_defaults.timeouts.client_login)
    }),
    live("general", "max_user_connections", |c| {
        c.default_user.max_user_connections.to_string()
    }),
    live("general", "max_user_client_connections", |c| {
        c.default_user.max_user_client_connections.to_string()
    }),
    fixed("http", "listen", |c| {
        let http = c.http.as_ref();
        http.map_or(String::new(), |http| http.listen.to_string())
    }),
    live("http", "names", |c| {
        join(c.http.iter().flat_map(|http| http.names.iter().cloned()))
    }),
    live("http", "ready_without_servers", |c| {
        let http = c.http.as_ref();
        flag(http.is_some_and(|http| http.ready_without_servers))
    }),
    live("client_tls", "sslmode", |c| {
        c.client_tls.mode.as_str().to_owned()
    }),
    live("client_tls", "protocols", |c| {
        protocols(c.client_tls.protocols)
    }),
    live("client_tls", "key_file", |c| file(&c.client_tls.key_file)),
    live("client_tls", "cert_file", |c| file(&c.client_tls.cert_file)),
    live("client_tls", "ca_file", |c| file(&c.client_tls.ca_file)),
    live("client_tls", "ciphers", |c| {
        c.client_tls.choice.ciphers.text.clone()
    }),
    live("client_tls", "tls13_ciphers", |c| {
        c.client_tls.choice.tls13_ciphers.text.clone()
    }),
    live("client_tls", "ecdhcurve", |c| {
        c.client_tls.choice.ecdhcurve.text.clone()
    }),
    live("auth", "type", |c| c.auth.auth_type.as_str().to_owned()),
    live("auth", "file", |c| file(&c.auth.file)),
    live("auth", "allow_cleartext", |c| flag(c.auth.allow_cleartext)),
    live("auth", "hba_file", |c| file(&c.auth.hba_file)),
    live("auth", "ident_file", |c| file(&c.auth.ident_file)),
    live("auth", "scram_iterations", |c| {
        c.auth.scram_iterations.to_string()
    }),
    live("auth", "ldap_options", |c| {
        let options = c.auth.ldap.as_ref();
        options.map_or(String::new(), |options| options.shown().to_owned())
    }),
    live("auth", "pam_service", |c| c.auth.pam_service.clone()),
    live("auth", "query", |c| text(&c.auth.query)),
    live("auth", "user", |c| text(&c.auth.user)),
    live("auth", "dbname", |c| text(&c.auth.dbname)),
    live("auth", "query_ttl", |c| seconds(c.auth.query_ttl)),
    fixed("cache", "max_size", |c| c.cache.max_size.to_string()),
    fixed("cache", "idle_timeout", |c| seconds(c.cache.idle_timeout)),
    // Without the URL, in which there may be a password; nothing of it changes while pgweir runs.
    fixed("cache", "shared", |c| format!("{:?}", c.cache.shared)),
];

pub(super) const POOL_KEYS: &[PoolKey] = &[
    general("pool_mode", |d| d.pool_mode.as_str().to_owned()),
    general("session_state", |d| d.session_state.as_str().to_owned()),
    general("listen_channels", |d| d.listen_channels.as_str().to_owned()),
    general("listen_queue_size", |d| d.listen_queue_size.to_string()),
    general("default_pool_size", |d| d.pool_size.to_string()),
    general("min_pool_size", |d| d.min_pool_size.to_string()),
    general("reserve_pool_size", |d| d.reserve_pool_size.to_string()),
    general("reserve_pool_timeout", |d| seconds(d.reserve_pool_timeout)),
    general("max_db_connections", |d| d.max_db_connections.to_string()),
    general("max_db_client_connections", |d| {
        d.max_db_client_connections.to_string()
    }),
    general("max_queue", |d| d.max_queue.to_string()),
    general("max_user_queue", |d| d.queue.max_user.to_string()),
    general("queue_fair_by", |d| d.queue.fair_by.as_str().to_owned()),
    general("early_refusal", |d| flag(d.queue.early_refusal)),
    general("over_rate", |d| d.queue.over_rate.as_str().to_owned()),
    general("max_prepared_statements", |d| {
        d.max_prepared_statements.to_string()
    }),
    general("server_lifetime", |d| seconds(d.server.lifetime)),
    general("server_idle_timeout", |d| seconds(d.server.idle_timeout)),
    general("server_check_delay", |d| seconds(d.server.check_delay)),
    general("server_check_query", |d| text(&d.server.check_query)),
    general("server_reset_query", |d| text(&d.server.reset_query)),
    general("server_reset_query_always", |d| {
        flag(d.server.reset_query_always)
    }),
    general("server_connect_timeout", |d| {
        seconds(d.server.connect_timeout)
    }),
    general("server_login_retry", |d| seconds(d.server.login_retry)),
    general("server_round_robin", |d| flag(d.server.round_robin)),
    general("query_timeout", |d| seconds(d.timeouts.query)),
    general("transaction_timeout", |d| seconds(d.timeouts.transaction)),
    general("idle_transaction_timeout", |d| {
        seconds(d.timeouts.idle_transaction)
    }),
    general("client_idle_timeout", |d| seconds(d.timeouts.client_idle)),
    general("query_wait_timeout", |d| seconds(d.timeouts.query_wait)),
    general("cancel_wait_timeout", |d| seconds(d.timeouts.cancel_wait)),
    general("client_write_timeout", |d| seconds(d.timeouts.client_write)),
    server_tls("sslmode", |d| d.server_tls.mode.as_str().to_owned()),
    server_tls("protocols", |d| protocols(d.server_tls.protocols)),
    server_tls("ca_file", |d| file(&d.server_tls.ca_file)),
    server_tls("key_file", |d| file(&d.server_tls.key_file)),
    server_tls("cert_file", |d| file(&d.server_tls.cert_file)),
    server_tls("ciphers", |d| d.server_tls.choice.ciphers.text.clone()),
    server_tls("tls13_ciphers", |d| {
        d.server_tls.choice.tls13_ciphers.text.clone()
    }),
];

/// What only `[pools.NAME]` has, but for the password.
pub(super) const POOL_OWN_KEYS: &[NamedKey<Database>] = &[
    named("host", Database::plain_host_names),
    named("load_balance_hosts", |d| {
        d.load_balance_hosts.as_str().to_owned()
    }),
    named("port", |d| d.port.to_string()),
    named("hosts", |d| match d.placed.is_empty() {
        true => String::new(),
        false => format!("{:?}", d.placed),
    }),
    named("target", |d| {
        let target = d.roles.target;
        target.map_or(String::new(), |target| target.as_str().to_owned())
    }),
    named("probe_interval", |d| seconds(d.roles.probe_interval)),
    named("max_lag", |d| seconds(d.roles.max_lag)),
    named("reads", |d| d.roles.reads.as_str().to_owned()),
    named("read_your_writes", |d| {
        d.roles.read_your_writes.as_str().to_owned()
    }),
    named("dbname", |d| text(&d.dbname)),
    named("user", |d| text(&d.user)),
    named("password_command", |d| match &d.password_source {
        Some(PasswordSource::Command { command, .. }) => format!("{command:?}"),
        _ => String::new(),
    }),
    named("password_file", |d| match &d.password_source {
        Some(PasswordSource::File(path)) => path.display().to_string(),
        _ => String::new(),
    }),
    named("password_refresh", |d| match &d.password_source {
        Some(PasswordSource::Command { refresh, .. }) => seconds(*refresh),
        _ => String::new(),
    }),
    named("connect_query", |d| text(&d.connect_query)),
    named("auth_user", |d| text(&d.auth_user)),
    named("auth_query", |d| text(&d.auth_query)),
    named("auth_dbname", |d| text(&d.auth_dbname)),
    named("client_encoding", |d| parameter(d, "client_encoding")),
    named("datestyle", |d| parameter(d, "datestyle")),
    named("timezone", |d| parameter(d, "timezone")),
    named("application_name", |d| parameter(d, "application_name")),
    named("priority", |d| d.queue.priority.as_str().to_owned()),
    named("cache.enabled", |d| flag(d.cache.enabled)),
    named("cache.ttl", |d| seconds(d.cache.ttl)),
    named("cache.stale_while_revalidate", |d| {
        seconds(d.cache.stale_while_revalidate)
    }),
    named("cache.max_entry_size", |d| {
        d.cache.max_entry_size.to_string()
    }),
    named("cache.catalog_refresh", |d| {
        seconds(d.cache.catalog_refresh)
    }),
    named("cache.invalidation", |d| {
        d.cache.invalidation.as_str().to_owned()
    }),
    named("cache.row_security", |d| {
        d.cache.row_security.as_str().to_owned()
    }),
    named("cache.feed_user", |d| text(&d.cache.feed.user)),
    named("cache.feed_max_lag", |d| seconds(d.cache.feed.max_lag)),
    named("cache.feed_channel", |d| d.cache.feed.channel.clone()),
    named("cache.feed_publication", |d| {
        d.cache.feed.publication.clone()
    }),
    named("cache.feed_max_wal", |d| d.cache.feed.max_wal.to_string()),
    // Whether they have changed is all that anybody asks.
    named("cache.rules", |d| format!("{:?}", d.cache.rules)),
    named("cache.functions", |d| format!("{:?}", d.cache.functions)),
    named("cache.tables", |d| format!("{:?}", d.cache.tables)),
];

fn protocols(protocols: TlsProtocols) -> String {
    let names = [("tlsv1.2", protocols.tls12), ("tlsv1.3", protocols.tls13)];
    join(names.iter().filter(|(_, on)| *on).map(|(name, _)| *name))
}

fn parameter(database: &Database, name: &str) -> String {
    let mut all = database.parameters.iter();
    let found = all.find(|(n, _)| n == name);
    found.map_or(String::new(), |(_, value)| value.clone())
}

fn seconds(duration: Duration) -> String {
    duration.as_secs_f64().to_string()
}

fn flag(value: bool) -> String {
    u8::from(value).to_string()
}

fn text(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}

fn file(path: &Option<PathBuf>) -> String {
    let path = path.as_ref();
    path.map_or(String::new(), |path| path.display().to_string())
}

fn optional(value: Option<usize>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

fn optional_seconds(value: Option<Duration>) -> String {
    value.map_or(String::new(), seconds)
}

fn join(values: impl Iterator<Item = impl AsRef<str>>) -> String {
    let values: Vec<String> = values.map(|value| value.as_ref().to_owned()).collect();
    values.join(",")
}

#[cfg(test)]
mod tests;
