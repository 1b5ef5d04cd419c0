//! Combinations that cannot work, found before anything is opened.

mod cache;
mod reads;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::error::Problems;
use crate::config::outside::Outside;
use crate::config::{
    AuthType, Config, Database, FALLBACK, Host, PoolMode, ServerTls, SslMode, User,
};
use crate::net::unix;

/// Names of the console's database.
const RESERVED: [&str; 2] = ["pgweir", "pgbouncer"];
/// `sun_path` in `sockaddr_un` holds 108 bytes, one of them the final NUL (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// A way of finding out who a client is, its feature, and whether this build has it.
type Optional = (AuthType, &'static str, bool);

/// Which of the ways that this build lacks are `wanted`, and how to get them.
pub(super) fn missing(wanted: impl Fn(AuthType) -> bool) -> impl Iterator<Item = String> {
    let optional = [
        (AuthType::Ldap, "ldap", cfg!(feature = "ldap")),
        (AuthType::Pam, "pam", cfg!(feature = "pam")),
    ];
    missing_of(optional, wanted)
}

fn missing_of(
    optional: [Optional; 2],
    wanted: impl Fn(AuthType) -> bool,
) -> impl Iterator<Item = String> {
    let missing = optional.into_iter();
    let missing = missing.filter(move |(kind, _, built)| !built && wanted(*kind));
    missing.map(|(_, feature, _)| {
        format!(
            "\"{feature}\" needs a pgweir that was built with it, and this one was not: \
             cargo build --release --features {feature}"
        )
    })
}

/// Smallest `listen_queue_size`.
const MIN_LISTEN_QUEUE: usize = 32 * 1024;

/// Largest `max_counted_statements`: making room among them is to take no more than a moment.
const MOST_STATEMENTS: usize = 10_000;

/// Adds a problem for each combination that cannot work.
pub(super) fn check(config: &Config, outside: &dyn Outside, problems: &mut Problems<'_>) {
    let mut checks = Checks {
        config,
        outside,
        problems,
    };
    checks.general();
    checks.shared_cache();
    checks.log();
    checks.client_tls();
    checks.auth();
    checks.server_tls(&["server_tls"], &config.pool_defaults.server_tls);
    for pool in pools(config) {
        checks.pool(pool);
    }
    for (name, user) in &config.users {
        checks.user(name, user);
    }
}

/// Whether the operating system takes the path of a Unix socket.
pub(super) fn socket_path(problems: &mut Problems<'_>, key: &[&str], dir: &Path, port: u16) {
    let path = unix::socket_in(dir, port);
    if unix::is_abstract(&path) && !cfg!(target_os = "linux") {
        problems.add(key, "sockets in the abstract namespace are for Linux only");
    }
    let length = path.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        problems.add(
            key,
            format!(
                "the socket's path would have {length} bytes, and the operating system allows \
                 {MAX_SOCKET_PATH}: use a directory with a shorter path"
            ),
        );
    }
}

/// Every pool, the fallback too.
fn pools(config: &Config) -> impl Iterator<Item = &Arc<Database>> {
    config.databases.values().chain(&config.fallback)
}

struct Checks<'a, 's> {
    config: &'a Config,
    outside: &'a dyn Outside,
    problems: &'a mut Problems<'s>,
}

impl Checks<'_, '_> {
    fn general(&mut self) {
        let config = self.config;
        let listen = &config.listen;
        if config.max_client_conn == 0 {
            self.problems.add(
                &["general", "max_client_conn"],
                "must be at least 1, or nobody can connect",
            );
        }
        if config.stats_period < Duration::from_secs(1) {
            self.problems
                .add(&["general", "stats_period"], "must be at least 1 second");
        }
        if config.max_counted_statements > MOST_STATEMENTS {
            self.problems.add(
                &["general", "max_counted_statements"],
                format!("must be at most {MOST_STATEMENTS}; 0 is none"),
            );
        }
        if config.workers > 1024 {
            self.problems.add(
                &["general", "workers"],
                "must be at most 1024; 0 is one for each core",
            );
        }
        if listen.backlog == 0 {
            self.problems
                .add(&["general", "listen_backlog"], "must be at least 1");
        }
        if let Some(dir) = &listen.unix_socket_dir {
            socket_path(
                self.problems,
                &["general", "unix_socket_dir"],
                dir,
                listen.port,
            );
        }
        self.readable(&["general"], "resolv_conf", config.dns.resolv_conf.as_ref());
        let none = config.databases.is_empty() && config.fallback.is_none();
        if none && !self.problems.is_written(&["pools"]) {
            self.problems.add(
                &["pools"],
                "there is no pool: add a section such as [pools.app] with host and port, or \
                 [pools.\"*\"] for any database",
            );
        }
    }

    fn log(&mut self) {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        let level = &self.config.log.level;
        // A filter takes a bare word that is no level for the name of a module, and logs nothing.
        let is_known = |part: &str| {
            part.contains('=') || LEVELS.iter().any(|known| known.eq_ignore_ascii_case(part))
        };
        let parses = tracing_subscriber::EnvFilter::builder()
            .with_regex(false)
            .parse(level)
            .is_ok();
        if !parses || !level.split(',').map(str::trim).all(is_known) {
            self.problems.add(
                &["log", "level"],
                format!(
                    "{level:?} is no level ({}) or filter such as \"info,pgweir::client=debug\"",
                    LEVELS.join(", ")
                ),
            );
        }
    }

    fn client_tls(&mut self) {
        let tls = &self.config.client_tls;
        let section = ["client_tls"];
        self.key_pair(&section, tls.key_file.as_ref(), tls.cert_file.as_ref());
        self.readable(&section, "ca_file", tls.ca_file.as_ref());
        if tls.mode != SslMode::Disable && tls.key_file.is_none() && tls.cert_file.is_none() {
            self.problems.add(
                &["client_tls", "sslmode"],
                "needs key_file and cert_file in [client_tls], or \"disable\" for no TLS",
            );
        }
        if tls.mode >= SslMode::VerifyCa && tls.ca_file.is_none() {
            self.problems.add(
                &["client_tls", "sslmode"],
                "needs ca_file in [client_tls], to check client certificates against",
            );
        }
    }

    fn server_tls(&mut self, section: &[&str], tls: &ServerTls) {
        self.key_pair(section, tls.key_file.as_ref(), tls.cert_file.as_ref());
        self.readable(section, "ca_file", tls.ca_file.as_ref());
        if tls.mode >= SslMode::VerifyCa && tls.ca_file.is_none() {
            let key = [section, &["sslmode"]].concat();
            self.problems.add(
                &key,
                format!(
                    "\"{}\" needs ca_file, to check the server's certificate against; \
                     \"require\" encrypts without a check",
                    tls.mode.as_str()
                ),
            );
        }
    }

    fn key_pair(&mut self, section: &[&str], key: Option<&PathBuf>, cert: Option<&PathBuf>) {
        let lone = match (key, cert) {
            (Some(_), None) => Some(("key_file", "cert_file")),
            (None, Some(_)) => Some(("cert_file", "key_file")),
            _ => None,
        };
        if let Some((given, missing)) = lone {
            self.problems.add(
                &[section, &[given]].concat(),
                format!("needs {missing} too: a key and its certificate go together"),
            );
        }
        self.readable(section, "key_file", key);
        self.readable(section, "cert_file", cert);
    }

    fn readable(&mut self, section: &[&str], key: &str, path: Option<&PathBuf>) {
        let Some(path) = path else { return };
        if let Err(error) = self.outside.check_readable(path) {
            self.problems.add(
                &[section, &[key]].concat(),
                format!("cannot read {path:?}: {error}"),
            );
        }
    }

    fn auth(&mut self) {
        let config = self.config;
        let auth_type = config.auth.auth_type;
        for missing in missing(|kind| kind == auth_type) {
            self.problems.add(&["auth", "type"], missing);
        }
        if auth_type == AuthType::Ldap && config.auth.ldap.is_none() {
            // What is written, but wrong, has been reported.
            if !self.problems.is_written(&["auth", "ldap_options"]) {
                self.problems.add(
                    &["auth", "type"],
                    "\"ldap\" needs auth.ldap_options, which say where the directory is",
                );
            }
        }
        // It is the name of a file.
        let service = &config.auth.pam_service;
        if service.is_empty() || service.contains(['/', '\0']) {
            self.problems.add(
                &["auth", "pam_service"],
                "must be the name of a file in /etc/pam.d",
            );
        }
        match auth_type {
            AuthType::Plain | AuthType::Ldap | AuthType::Pam => {
                let tls = config.client_tls.mode != SslMode::Disable;
                let refused = !tls && !config.auth.allow_cleartext;
                if refused && config.listen.unix_socket_dir.is_none() {
                    self.problems.add(
                        &["auth", "type"],
                        format!(
                            "\"{}\" is refused without encryption: set client_tls.sslmode or \
                             general.unix_socket_dir, or use \"scram-sha-256\"",
                            auth_type.as_str()
                        ),
                    );
                }
            }
            AuthType::Hba if config.auth.hba_file.is_none() => {
                self.problems.add(
                    &["auth", "type"],
                    "\"hba\" needs auth.hba_file, the file with the rules",
                );
            }
            AuthType::Cert if config.client_tls.mode < SslMode::VerifyCa => {
                self.problems.add(
                    &["auth", "type"],
                    "\"cert\" needs client certificates: set client_tls.sslmode = \"verify-full\" \
                     and client_tls.ca_file",
                );
            }
            _ => {}
        }
        if let Some(name) = &config.auth.dbname
            && config.database(name).is_none()
        {
            self.problems.add(
                &["auth", "dbname"],
                format!("{name:?} is not in [pools]; name a pool, or leave it out"),
            );
        }
        self.auth_query(&config.users);
    }

    fn auth_query(&mut self, users: &BTreeMap<String, Arc<User>>) {
        let auth = &self.config.auth;
        let key = &["auth", "user"];
        match (&auth.query, &auth.user) {
            (None, None) => {}
            (None, Some(_)) => self.problems.add(
                key,
                "is of no use without auth.query, for example \"SELECT usename, passwd FROM \
                 pg_catalog.pg_shadow WHERE usename = $1\"",
            ),
            (Some(_), None) => self.problems.add(
                &["auth", "query"],
                "needs auth.user, the user who runs it, with a password in [users]",
            ),
            (Some(query), Some(name)) => {
                if !query.contains("$1") {
                    self.problems.add(
                        &["auth", "query"],
                        "must use $1, which stands for the user to look up",
                    );
                }
                // A password that could not be fetched has been reported. Where the server wants
                // none, none is needed.
                let written = self.problems.is_written(&["users", name, "password"]);
                let listed = users.get(name).is_some_and(|user| user.listed);
                if !(users.contains_key(name) && (written || listed)) && auth.file.is_none() {
                    self.problems.add(
                        key,
                        format!("{name:?} needs a password: set users.{name}.password"),
                    );
                }
            }
        }
    }

    fn pool(&mut self, pool: &Database) {
        let name = pool.name.as_str();
        self.cache(pool);
        self.one_cache(pool);
        self.reads(pool);
        if RESERVED.contains(&name) {
            self.problems.add(
                &["pools", name],
                "this name is reserved for the console; choose another and set dbname",
            );
        }
        if name.is_empty() {
            self.problems.add(
                &["pools", name],
                "a pool needs a name; \"*\" stands for any database",
            );
        }
        if pool.port == 0 {
            self.problems
                .add(&["pools", name, "port"], "must be from 1 to 65535");
        }
        let key = if pool.placed.is_empty() {
            "host"
        } else {
            "hosts"
        };
        for server in pool.servers() {
            if let Host::Unix(directory) = &server.host {
                socket_path(self.problems, &["pools", name, key], directory, server.port);
            }
        }
        if pool.user.is_none() && self.config.auth.auth_type == AuthType::Any {
            self.problems.add(
                &["pools", name, "user"],
                "auth.type = \"any\" lets everybody in, so each pool must say as whom: set user",
            );
        }
        self.pool_sizes(pool);
        self.statement_mode(&["pools", name], Some(pool.pool_mode));
        // What is not written here is [server_tls], which has been checked.
        if self.problems.is_written(&["pools", name, "server_tls"]) {
            self.server_tls(&["pools", name, "server_tls"], &pool.server_tls);
        }
    }

    fn pool_sizes(&mut self, pool: &Database) {
        let name = pool.name.as_str();
        if pool.pool_size == 0 {
            self.problems.add(
                &self.origin(name, "pool_size", "default_pool_size"),
                "must be at least 1",
            );
        } else if pool.min_pool_size > pool.pool_size {
            let problem = format!(
                "must be at most pool_size; pool {name:?} has min_pool_size {} and pool_size {}",
                pool.min_pool_size, pool.pool_size
            );
            let key = self.origin(name, "min_pool_size", "min_pool_size");
            self.problems.add(&key, problem);
        }
        if pool.max_db_connections != 0 && pool.min_pool_size > pool.max_db_connections {
            let problem = format!(
                "must be at most max_db_connections, which is {} for pool {name:?}",
                pool.max_db_connections
            );
            let key = self.origin(name, "min_pool_size", "min_pool_size");
            self.problems.add(&key, problem);
        }
        if pool.server.connect_timeout == Duration::ZERO {
            self.problems.add(
                &self.origin(name, "server_connect_timeout", "server_connect_timeout"),
                "must be more than 0: a server that does not answer would hold its place for ever",
            );
        }
        if pool.listen_queue_size < MIN_LISTEN_QUEUE {
            self.problems.add(
                &self.origin(name, "listen_queue_size", "listen_queue_size"),
                "must be at least \"32KiB\": one notification may have 8 kB",
            );
        }
    }

    /// Where a pool has a value from: its own section, or else `[general]`.
    fn origin<'k>(&self, pool: &'k str, key: &'k str, general: &'k str) -> Vec<&'k str> {
        let own = vec!["pools", pool, key];
        match self.problems.is_written(&own) || !self.problems.is_written(&["general", general]) {
            true => own,
            false => vec!["general", general],
        }
    }

    /// A statement is the whole transaction there, so nothing can time out between two.
    fn statement_mode(&mut self, section: &[&str], mode: Option<PoolMode>) {
        if mode != Some(PoolMode::Statement) {
            return;
        }
        for name in ["transaction_timeout", "idle_transaction_timeout"] {
            let key = [section, &[name]].concat();
            if self.problems.is_written(&key) {
                self.problems.add(
                    &key,
                    "has no effect with pool_mode = \"statement\", which has no transactions of \
                     more than one statement; use query_timeout",
                );
            }
        }
    }

    fn user(&mut self, name: &str, user: &User) {
        if name.is_empty() || name == FALLBACK {
            self.problems.add(
                &["users", name],
                "must be the name of one user; values for all go in [general]",
            );
        }
        if user.pool_size == Some(0) {
            self.problems
                .add(&["users", name, "pool_size"], "must be at least 1");
        }
        self.statement_mode(&["users", name], user.pool_mode);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_in_is_named_with_the_way_to_get_it() {
        let built = [
            (AuthType::Ldap, "ldap", false),
            (AuthType::Pam, "pam", true),
        ];
        let said: Vec<_> = missing_of(built, |_| true).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("cargo build --release --features ldap"));
        assert_eq!(missing_of(built, |kind| kind == AuthType::Pam).count(), 0);
    }
}
