//! From what the file says ([`super::raw`]) to what the rest of pgweir uses ([`Config`]): defaults
//! first, the file's values over them, then the checks of what cannot work together.
//!
//! Nothing here touches the machine except through [`Outside`].

mod cache;
mod check;
pub(super) mod defaults;
mod files;
mod hosts;
mod listen;
mod login;
mod password;
mod peers;
mod queue;
mod tls;
mod userlist;

use std::net::Ipv6Addr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::error::Problems;
use super::outside::Outside;
use super::raw::{self, File, SecretSource};
use super::units::List;
use super::{
    Auth, Config, Database, FALLBACK, Host, Http, Invalidation, Log, SharedCache, StartupRules,
    User,
};
use crate::auth::secret::Secret;
use crate::dns::DnsSettings;

/// Smallest `max_packet_size`: room for a startup packet, an authentication message or an error.
const MIN_PACKET_SIZE: usize = 1024;

/// Builds the configuration. It may be used only if nothing was added to `problems`.
pub(super) fn resolve(
    file: File,
    path: &Path,
    outside: &dyn Outside,
    problems: &mut Problems<'_>,
) -> Config {
    let mut resolver = Resolver {
        outside,
        problems,
        oddities: Vec::new(),
    };
    let mut config = defaults::config(path, outside.cores());
    resolver.process(&mut config, &file.general);
    resolver.host_limits(&mut config.host_limits, &file.general);
    resolver.listen(&mut config.listen, &file.general);
    log(&mut config.log, file.log);
    startup(&mut config.startup, &file.general);
    dns(&mut config.dns, &file.general);
    config.http = file.http.map(|http| resolver.http(http));
    resolver.client_tls(&mut config.client_tls, file.client_tls);
    if let Some(count) = &file.auth.scram_iterations {
        match NonZeroU32::new(count.0) {
            Some(count) => config.auth.scram_iterations = count,
            None => resolver
                .problems
                .add(&["auth", "scram_iterations"], "must be at least 1"),
        }
    }
    let mut raw_auth = file.auth;
    config.auth.ldap = raw_auth
        .ldap_options
        .take()
        .and_then(|source| resolver.ldap_options(source));
    auth(&mut config.auth, raw_auth);
    resolver.login(&mut config.login, file.login);
    set(&mut config.cache.max_size, file.cache.max_size.map(|s| s.0));
    set(&mut config.cache.idle_timeout, file.cache.idle_timeout);
    config.cache.shared = file.cache.shared.and_then(|raw| resolver.shared_cache(raw));

    let default_user = User {
        max_user_connections: file.general.max_user_connections.map_or(0, usize::from),
        max_user_client_connections: file
            .general
            .max_user_client_connections
            .map_or(0, usize::from),
        ..User::default()
    };
    for (name, user) in file.users {
        let user = resolver.user(&default_user, &name, user);
        config.users.insert(name, Arc::new(user));
    }
    for (name, raw) in file.applications {
        let class = resolver.class(["applications", &name], raw.into());
        config.applications.insert(name, class);
    }
    resolver.user_list(&mut config, &default_user);
    resolver.rules(&mut config);
    config.default_user = Arc::new(default_user);

    let mut defaults = Database::clone(&config.pool_defaults);
    set(&mut defaults.pool_size, file.general.default_pool_size);
    set(
        &mut defaults.timeouts.client_login,
        file.general.client_login_timeout,
    );
    set(
        &mut defaults.timeouts.query_wait_notify,
        file.general.query_wait_notify,
    );
    pool_keys(&mut defaults, file.pool_defaults);
    resolver.server_tls(&["server_tls"], &mut defaults.server_tls, file.server_tls);
    let default_size = defaults.pool_size;
    config.peering = resolver.peering(file.general.peer_id, file.peers, default_size);
    for (name, pool) in file.pools {
        let database = Arc::new(resolver.pool(&defaults, &config, &name, pool));
        match name == FALLBACK {
            true => config.fallback = Some(database),
            false => drop(config.databases.insert(name, database)),
        }
    }
    config.pool_defaults = Arc::new(defaults);
    config.oddities.append(&mut resolver.oddities);

    check::check(&config, outside, problems);
    config
}

/// Puts a value of the file over the default.
fn set<T, V: Into<T>>(slot: &mut T, value: Option<V>) {
    if let Some(value) = value {
        *slot = value.into();
    }
}

/// Like [`set`], where an empty text takes the default away.
fn set_text(slot: &mut Option<String>, value: Option<String>) {
    if let Some(value) = value {
        *slot = Some(value).filter(|text| !text.is_empty());
    }
}

/// Like [`set`], where an empty path takes the default away.
fn set_path(slot: &mut Option<PathBuf>, value: Option<PathBuf>) {
    if let Some(value) = value {
        *slot = Some(value).filter(|path| !path.as_os_str().is_empty());
    }
}

/// Like [`set`], where zero leaves the choice to the operating system.
fn set_nonzero<T: Default + PartialEq, V: Into<T>>(slot: &mut Option<T>, value: Option<V>) {
    if let Some(value) = value {
        *slot = Some(value.into()).filter(|value| *value != T::default());
    }
}

fn log(log: &mut Log, raw: raw::Log) {
    set(&mut log.level, raw.level);
    set(&mut log.connections, raw.connections);
    set(&mut log.disconnections, raw.disconnections);
    set(&mut log.pooler_errors, raw.pooler_errors);
    set(&mut log.stats, raw.stats);
    set(&mut log.style, raw.style);
    set_path(&mut log.file, raw.file);
    set(&mut log.syslog, raw.syslog);
    set(&mut log.syslog_ident, raw.syslog_ident);
    set(&mut log.syslog_facility, raw.syslog_facility);
}

fn startup(rules: &mut StartupRules, raw: &raw::General) {
    if let Some(names) = &raw.ignore_startup_parameters {
        rules.ignored = names.0.iter().map(|name| name.to_lowercase()).collect();
    }
    set(&mut rules.add_host, raw.application_name_add_host);
    set(&mut rules.message, raw.login_notify_message.clone());
    set(&mut rules.no_simple_queries, raw.disable_pqexec);
}

fn dns(dns: &mut DnsSettings, raw: &raw::General) {
    set(&mut dns.limits.max_ttl, raw.dns_max_ttl);
    set(&mut dns.limits.nothing, raw.dns_nxdomain_ttl);
    set(&mut dns.zone_check_period, raw.dns_zone_check_period);
    set_path(&mut dns.resolv_conf, raw.resolv_conf.clone());
}

fn auth(auth: &mut Auth, raw: raw::Auth) {
    set(&mut auth.auth_type, raw.auth_type);
    set_path(&mut auth.file, raw.file);
    set(&mut auth.allow_cleartext, raw.allow_cleartext);
    set_path(&mut auth.hba_file, raw.hba_file);
    set_path(&mut auth.ident_file, raw.ident_file);
    set(&mut auth.pam_service, raw.pam_service);
    set_text(&mut auth.query, raw.query);
    set_text(&mut auth.user, raw.user);
    set_text(&mut auth.dbname, raw.dbname);
    set(&mut auth.query_ttl, raw.query_ttl);
}

/// The keys that `[general]` and a pool have in common.
fn pool_keys(pool: &mut Database, raw: raw::PoolKeys) {
    queue::queue(&mut pool.queue, &raw);
    set(&mut pool.pool_mode, raw.pool_mode);
    set(&mut pool.session_state, raw.session_state);
    set(&mut pool.listen_channels, raw.listen_channels);
    set(
        &mut pool.listen_queue_size,
        raw.listen_queue_size.map(|size| size.0),
    );
    set(&mut pool.min_pool_size, raw.min_pool_size);
    set(&mut pool.reserve_pool_size, raw.reserve_pool_size);
    set(&mut pool.reserve_pool_timeout, raw.reserve_pool_timeout);
    set(&mut pool.max_db_connections, raw.max_db_connections);
    set(
        &mut pool.max_db_client_connections,
        raw.max_db_client_connections,
    );
    set(&mut pool.max_queue, raw.max_queue);
    set(
        &mut pool.max_prepared_statements,
        raw.max_prepared_statements,
    );

    let server = &mut pool.server;
    set(&mut server.lifetime, raw.server_lifetime);
    set(&mut server.idle_timeout, raw.server_idle_timeout);
    set(&mut server.check_delay, raw.server_check_delay);
    set_text(&mut server.check_query, raw.server_check_query);
    set_text(&mut server.reset_query, raw.server_reset_query);
    set(
        &mut server.reset_query_always,
        raw.server_reset_query_always,
    );
    set(&mut server.connect_timeout, raw.server_connect_timeout);
    set(&mut server.login_retry, raw.server_login_retry);
    set(&mut server.round_robin, raw.server_round_robin);

    let timeouts = &mut pool.timeouts;
    set(&mut timeouts.query, raw.query_timeout);
    set(&mut timeouts.transaction, raw.transaction_timeout);
    set(&mut timeouts.idle_transaction, raw.idle_transaction_timeout);
    set(&mut timeouts.client_idle, raw.client_idle_timeout);
    set(&mut timeouts.query_wait, raw.query_wait_timeout);
    set(&mut timeouts.cancel_wait, raw.cancel_wait_timeout);
    set(&mut timeouts.client_write, raw.client_write_timeout);
}

/// Resolves what can fail by itself or needs the machine.
struct Resolver<'a, 's> {
    outside: &'a dyn Outside,
    problems: &'a mut Problems<'s>,
    /// What works, but is worth a note.
    oddities: Vec<String>,
}

impl Resolver<'_, '_> {
    fn process(&mut self, config: &mut Config, raw: &raw::General) {
        let workers = raw.workers.map(usize::from);
        set(&mut config.workers, workers.filter(|count| *count > 0));
        set(&mut config.max_client_conn, raw.max_client_conn);
        set(&mut config.max_server_conn, raw.max_server_conn);
        set(&mut config.server_fast_close, raw.server_fast_close);
        set(&mut config.shutdown_timeout, raw.shutdown_timeout);
        set(&mut config.upgrade_timeout, raw.upgrade_timeout);
        set_path(&mut config.pidfile, raw.pidfile.clone());
        set_text(&mut config.user, raw.user.clone());
        set(&mut config.stats_period, raw.stats_period);
        set(&mut config.suspend_timeout, raw.suspend_timeout);
        set(&mut config.autodb_idle_timeout, raw.autodb_idle_timeout);
        set(&mut config.pool_idle_timeout, raw.pool_idle_timeout);
        set(
            &mut config.admin_users,
            raw.admin_users.clone().map(|list| list.0),
        );
        set(
            &mut config.stats_users,
            raw.stats_users.clone().map(|list| list.0),
        );
        set(
            &mut config.max_client_memory,
            raw.max_client_memory.map(|size| size.0),
        );
        set(
            &mut config.max_clients_memory,
            raw.max_clients_memory.map(|size| size.0),
        );
        if let Some(size) = raw.max_packet_size.map(|size| size.0) {
            let largest = config.max_packet_size;
            // "2GiB" is one byte more than there can be, and nobody should have to know that.
            if !(MIN_PACKET_SIZE..=largest + 1).contains(&size) {
                self.problems.add(
                    &["general", "max_packet_size"],
                    "must be from \"1KiB\" to \"2GiB\"",
                );
            }
            config.max_packet_size = size.min(largest);
        }
    }

    fn http(&mut self, raw: raw::Http) -> Http {
        let mut http = defaults::http();
        if let Some(text) = raw.listen {
            match text.parse() {
                Ok(listen) => http.listen = listen,
                Err(_) => self.problems.add(
                    &["http", "listen"],
                    format!(
                        "{text:?} is no address and port such as \"127.0.0.1:9127\" or \
                         \"[::]:9127\"; leave [http] out for no HTTP"
                    ),
                ),
            }
        }
        if let Some(ready) = raw.ready_without_servers {
            http.ready_without_servers = ready;
        }
        http
    }

    fn user(&mut self, default: &User, name: &str, raw: raw::User) -> User {
        let count = |count: Option<super::units::Count>| count.map(usize::from);
        let secret = raw
            .password
            .and_then(|source| self.secret(&["users", name, "password"], source));
        let class = queue::RawClass {
            priority: raw.priority,
            max_queries_per_second: raw.max_queries_per_second,
            query_burst: raw.query_burst,
        };
        let class = self.class(["users", name], class);
        User {
            name: name.to_owned(),
            secret,
            listed: false,
            pool_mode: raw.pool_mode,
            pool_size: count(raw.pool_size),
            reserve_pool_size: count(raw.reserve_pool_size),
            max_user_connections: count(raw.max_user_connections)
                .unwrap_or(default.max_user_connections),
            max_user_client_connections: count(raw.max_user_client_connections)
                .unwrap_or(default.max_user_client_connections),
            query_timeout: raw.query_timeout.map(Duration::from),
            transaction_timeout: raw.transaction_timeout.map(Duration::from),
            idle_transaction_timeout: raw.idle_transaction_timeout.map(Duration::from),
            client_idle_timeout: raw.client_idle_timeout.map(Duration::from),
            query_wait_timeout: raw.query_wait_timeout.map(Duration::from),
            class,
        }
    }

    fn pool(
        &mut self,
        defaults: &Database,
        config: &Config,
        name: &str,
        raw: raw::Pool,
    ) -> Database {
        let mut pool = defaults.clone();
        name.clone_into(&mut pool.name);
        let mut own = raw.own;
        set_text(&mut pool.user, own.user.take());
        self.password(&mut pool, config, &mut own);
        if let Some(List(mut names)) = own.host.clone() {
            if names.is_empty() {
                names.push(String::new());
            }
            let key = ["pools", name, "host"];
            let hosts = names.into_iter().map(|text| self.host(&key, text));
            let mut hosts: Vec<Host> = hosts.collect();
            pool.host = hosts.remove(0);
            pool.more_hosts = hosts;
        }
        set(&mut pool.load_balance_hosts, own.load_balance_hosts);
        set(&mut pool.port, own.port);
        self.placed(&mut pool, name, &mut own);
        set_text(&mut pool.dbname, own.dbname);
        set_text(&mut pool.connect_query, own.connect_query);
        set_text(&mut pool.auth_user, own.auth_user);
        set_text(&mut pool.auth_query, own.auth_query);
        set_text(&mut pool.auth_dbname, own.auth_dbname);
        let parameters = [
            ("client_encoding", own.client_encoding),
            ("datestyle", own.datestyle),
            ("timezone", own.timezone),
            ("application_name", own.application_name),
        ];
        for (parameter, value) in parameters {
            let value = value.filter(|value| !value.is_empty());
            pool.parameters
                .extend(value.map(|value| (parameter.to_owned(), value)));
        }
        set(&mut pool.pool_size, own.pool_size);
        set(&mut pool.queue.priority, own.priority);
        pool_keys(&mut pool, raw.keys);
        let section = ["pools", name, "server_tls"];
        self.server_tls(&section, &mut pool.server_tls, raw.server_tls);
        let mut raw_cache = raw.cache;
        if let Some(source) = raw_cache.feed_password.take() {
            let key = ["pools", name, "cache", "feed_password"];
            pool.cache.feed.password = self.secret(&key, source);
        }
        cache::settings(&mut pool.cache, raw_cache);

        // The same for the one who follows writes made elsewhere.
        let has_feed = pool.cache.invalidation != Invalidation::Ttl;
        let feed = &mut pool.cache.feed;
        if has_feed && feed.password.is_none() {
            feed.password = match &feed.user {
                Some(user) => config.users.get(user).and_then(|user| user.secret.clone()),
                None => pool.password.clone(),
            };
        }
        pool
    }

    fn shared_cache(&mut self, raw: raw::SharedCache) -> Option<SharedCache> {
        let url = self.secret_text(&["cache", "shared"], raw.url)?;
        let mut shared = defaults::shared_cache(url);
        set(&mut shared.consistency, raw.consistency);
        set(&mut shared.max_lag, raw.max_lag);
        set(&mut shared.timeout, raw.timeout);
        set(&mut shared.compress_above, raw.compress_above.map(|s| s.0));
        set(&mut shared.prefix, raw.prefix);
        set(&mut shared.member_timeout, raw.member_timeout);
        Some(shared)
    }

    fn host(&mut self, key: &[&str], text: String) -> Host {
        if text.starts_with(['/', '@']) {
            return Host::Unix(PathBuf::from(text));
        }
        // An IPv6 address may have a zone (RFC 4007), as in fe80::1%eth0.
        let ip = text.split_once('%').map_or(text.as_str(), |(ip, _)| ip);
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_host = !text.is_empty() && text.chars().all(is_name);
        if !is_host && ip.parse::<Ipv6Addr>().is_err() {
            self.problems.add(
                key,
                format!(
                    "{text:?} is no host name, IP address, directory beginning with \"/\" or abstract \
                     name beginning with \"@\"; the port goes in port"
                ),
            );
        }
        Host::Tcp(text)
    }

    /// Fetches a password; `None` means that a problem was added.
    fn secret(&mut self, key: &[&str], source: SecretSource) -> Option<Secret> {
        let text = self.secret_text(key, source)?;
        Some(Secret::from(text.as_str()))
    }

    /// The same for what is not a password, but may have one in it.
    fn secret_text(&mut self, key: &[&str], source: SecretSource) -> Option<String> {
        let fetched = match source {
            SecretSource::Here(text) => return Some(text),
            SecretSource::Env(name) => self
                .outside
                .env(&name)
                .ok_or_else(|| format!("the environment variable {name:?} is not set")),
            SecretSource::File(path) => self
                .outside
                .read(&path)
                .map_err(|error| format!("cannot read {path:?}: {error}")),
        };
        let problem = match fetched.as_deref().map(str::trim) {
            Ok("") => "there is no password in the place that it names",
            Ok(text) => return Some(text.to_owned()),
            Err(problem) => problem,
        };
        self.problems.add(key, problem);
        None
    }
}

#[cfg(test)]
mod tests;
