//! PgBouncer's settings (`[pgbouncer]` of its file), in its own order: the defaults, and what each is
//! called here.

/// How a value is written there, and so how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number; where it is yes or no, 0 is no.
    Flag,
    Count,
    /// Bytes.
    Size,
    /// Seconds, with a fraction or without.
    Seconds,
    Millis,
    Text,
    /// Names with commas.
    List,
    /// Octal digits.
    Mode,
    /// One of these words, in any case.
    Words(&'static [&'static str]),
}

/// What becomes of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The same as this key of a section.
    Key(&'static str, &'static str),
    /// The same, where an empty value is no value.
    Unless(&'static str, &'static str),
    /// It needs looking at the others; the converter has a function for it.
    Own,
    /// It changes nothing here, for this reason.
    Nothing(&'static str),
}

#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    pub default: &'static str,
    /// Takes effect with RELOAD.
    pub changeable: bool,
    pub kind: Kind,
    pub meaning: Meaning,
}

pub const SSL_MODES: Kind = Kind::Words(&[
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
]);
pub const POOL_MODES: Kind = Kind::Words(&["session", "transaction", "statement"]);
pub const AUTH_TYPES: Kind = Kind::Words(&[
    "any",
    "trust",
    "plain",
    "md5",
    "scram-sha-256",
    "cert",
    "hba",
    "pam",
    "ldap",
]);

/// What cannot be known before the setting is looked at.
pub const AUTH_QUERY: &str = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END \
     FROM pg_authid WHERE rolname=$1 AND rolcanlogin";

use Kind::{Count, Flag, List, Millis, Mode, Seconds, Size, Text};
use Meaning::{Key, Nothing, Own, Unless};

const fn live(name: &'static str, default: &'static str, kind: Kind, meaning: Meaning) -> Setting {
    Setting {
        name,
        default,
        changeable: true,
        kind,
        meaning,
    }
}

const fn fixed(name: &'static str, default: &'static str, kind: Kind, meaning: Meaning) -> Setting {
    Setting {
        changeable: false,
        ..live(name, default, kind, meaning)
    }
}

/// All of them, by name, as SHOW CONFIG lists them.
pub const SETTINGS: &[Setting] = &[
    live("admin_users", "", List, Key("general", "admin_users")),
    live(
        "application_name_add_host",
        "0",
        Flag,
        Key("general", "application_name_add_host"),
    ),
    live("auth_dbname", "", Text, Unless("auth", "dbname")),
    live("auth_file", "", Text, Unless("auth", "file")),
    live("auth_hba_file", "", Text, Unless("auth", "hba_file")),
    live("auth_ident_file", "", Text, Unless("auth", "ident_file")),
    live(
        "auth_ldap_options",
        "",
        Text,
        Unless("auth", "ldap_options"),
    ),
    live("auth_query", AUTH_QUERY, Text, Own),
    live("auth_type", "md5", AUTH_TYPES, Key("auth", "type")),
    live("auth_user", "", Text, Own),
    live(
        "autodb_idle_timeout",
        "3600",
        Seconds,
        Key("general", "autodb_idle_timeout"),
    ),
    live(
        "cancel_wait_timeout",
        "10",
        Seconds,
        Key("general", "cancel_wait_timeout"),
    ),
    live(
        "client_idle_timeout",
        "0",
        Seconds,
        Key("general", "client_idle_timeout"),
    ),
    live(
        "client_login_timeout",
        "60",
        Seconds,
        Key("general", "client_login_timeout"),
    ),
    live(
        "client_tls13_ciphers",
        "",
        Text,
        Key("client_tls", "tls13_ciphers"),
    ),
    live("client_tls_ca_file", "", Text, Key("client_tls", "ca_file")),
    live(
        "client_tls_cert_file",
        "",
        Text,
        Key("client_tls", "cert_file"),
    ),
    live(
        "client_tls_ciphers",
        "default",
        Text,
        Key("client_tls", "ciphers"),
    ),
    live("client_tls_dheparams", "auto", Text, Own),
    live(
        "client_tls_ecdhcurve",
        "auto",
        Text,
        Key("client_tls", "ecdhcurve"),
    ),
    live(
        "client_tls_key_file",
        "",
        Text,
        Key("client_tls", "key_file"),
    ),
    live("client_tls_protocols", "secure", Text, Own),
    live(
        "client_tls_sslmode",
        "disable",
        SSL_MODES,
        Key("client_tls", "sslmode"),
    ),
    live("conffile", "", Text, Own),
    live(
        "default_pool_size",
        "20",
        Count,
        Key("general", "default_pool_size"),
    ),
    fixed(
        "disable_pqexec",
        "0",
        Flag,
        Key("general", "disable_pqexec"),
    ),
    live("dns_max_ttl", "15", Seconds, Key("general", "dns_max_ttl")),
    live(
        "dns_nxdomain_ttl",
        "15",
        Seconds,
        Key("general", "dns_nxdomain_ttl"),
    ),
    live(
        "dns_zone_check_period",
        "0",
        Seconds,
        Key("general", "dns_zone_check_period"),
    ),
    live(
        "idle_transaction_timeout",
        "0",
        Seconds,
        Key("general", "idle_transaction_timeout"),
    ),
    live(
        "ignore_startup_parameters",
        "",
        List,
        Key("general", "ignore_startup_parameters"),
    ),
    fixed(
        "job_name",
        "pgbouncer",
        Text,
        Nothing("it names a service of Windows"),
    ),
    fixed("listen_addr", "", List, Key("general", "listen_addr")),
    fixed(
        "listen_backlog",
        "128",
        Count,
        Key("general", "listen_backlog"),
    ),
    fixed("listen_port", "6432", Count, Key("general", "listen_port")),
    live("log_connections", "1", Flag, Key("log", "connections")),
    live(
        "log_disconnections",
        "1",
        Flag,
        Key("log", "disconnections"),
    ),
    live("log_pooler_errors", "1", Flag, Key("log", "pooler_errors")),
    live("log_stats", "1", Flag, Key("log", "stats")),
    live("logfile", "", Text, Unless("log", "file")),
    live(
        "login_notify_message",
        "",
        Text,
        Key("general", "login_notify_message"),
    ),
    live(
        "max_client_conn",
        "100",
        Count,
        Key("general", "max_client_conn"),
    ),
    live(
        "max_db_client_connections",
        "0",
        Count,
        Key("general", "max_db_client_connections"),
    ),
    live(
        "max_db_connections",
        "0",
        Count,
        Key("general", "max_db_connections"),
    ),
    live(
        "max_packet_size",
        "2147483647",
        Size,
        Key("general", "max_packet_size"),
    ),
    live(
        "max_prepared_statements",
        "200",
        Count,
        Key("general", "max_prepared_statements"),
    ),
    live(
        "max_user_client_connections",
        "0",
        Count,
        Key("general", "max_user_client_connections"),
    ),
    live(
        "max_user_connections",
        "0",
        Count,
        Key("general", "max_user_connections"),
    ),
    live("min_pool_size", "0", Count, Key("general", "min_pool_size")),
    live("peer_id", "0", Count, Key("general", "peer_id")),
    fixed("pidfile", "", Text, Unless("general", "pidfile")),
    fixed(
        "pkt_buf",
        "4096",
        Size,
        Nothing("buffers grow as they must and are given back"),
    ),
    live(
        "pool_idle_timeout",
        "0",
        Seconds,
        Key("general", "pool_idle_timeout"),
    ),
    live(
        "pool_mode",
        "session",
        POOL_MODES,
        Key("general", "pool_mode"),
    ),
    live(
        "query_timeout",
        "0",
        Seconds,
        Key("general", "query_timeout"),
    ),
    live(
        "query_wait_notify",
        "5",
        Seconds,
        Key("general", "query_wait_notify"),
    ),
    live(
        "query_wait_timeout",
        "120",
        Seconds,
        Key("general", "query_wait_timeout"),
    ),
    live(
        "reserve_pool_size",
        "0",
        Count,
        Key("general", "reserve_pool_size"),
    ),
    live(
        "reserve_pool_timeout",
        "5",
        Seconds,
        Key("general", "reserve_pool_timeout"),
    ),
    fixed("resolv_conf", "", Text, Unless("general", "resolv_conf")),
    live(
        "sbuf_loopcnt",
        "5",
        Count,
        Nothing("no client is served for long while others wait"),
    ),
    live(
        "scram_iterations",
        "4096",
        Count,
        Key("auth", "scram_iterations"),
    ),
    live(
        "server_check_delay",
        "30",
        Seconds,
        Key("general", "server_check_delay"),
    ),
    live("server_check_query", "<empty>", Text, Own),
    live(
        "server_connect_timeout",
        "15",
        Seconds,
        Key("general", "server_connect_timeout"),
    ),
    live(
        "server_fast_close",
        "0",
        Flag,
        Key("general", "server_fast_close"),
    ),
    live(
        "server_idle_timeout",
        "600",
        Seconds,
        Key("general", "server_idle_timeout"),
    ),
    live(
        "server_lifetime",
        "3600",
        Seconds,
        Key("general", "server_lifetime"),
    ),
    live(
        "server_login_retry",
        "15",
        Seconds,
        Key("general", "server_login_retry"),
    ),
    live(
        "server_reset_query",
        "DISCARD ALL",
        Text,
        Key("general", "server_reset_query"),
    ),
    live(
        "server_reset_query_always",
        "0",
        Flag,
        Key("general", "server_reset_query_always"),
    ),
    live(
        "server_round_robin",
        "0",
        Flag,
        Key("general", "server_round_robin"),
    ),
    live(
        "server_tls13_ciphers",
        "",
        Text,
        Key("server_tls", "tls13_ciphers"),
    ),
    live("server_tls_ca_file", "", Text, Key("server_tls", "ca_file")),
    live(
        "server_tls_cert_file",
        "",
        Text,
        Key("server_tls", "cert_file"),
    ),
    live(
        "server_tls_ciphers",
        "default",
        Text,
        Key("server_tls", "ciphers"),
    ),
    live(
        "server_tls_key_file",
        "",
        Text,
        Key("server_tls", "key_file"),
    ),
    live("server_tls_protocols", "secure", Text, Own),
    live(
        "server_tls_sslmode",
        "prefer",
        SSL_MODES,
        Key("server_tls", "sslmode"),
    ),
    fixed(
        "service_name",
        "",
        Text,
        Nothing("it names a service of Windows"),
    ),
    fixed("so_reuseport", "0", Flag, Key("general", "so_reuseport")),
    live(
        "stats_period",
        "60",
        Seconds,
        Key("general", "stats_period"),
    ),
    live("stats_users", "", List, Key("general", "stats_users")),
    live(
        "suspend_timeout",
        "10",
        Seconds,
        Key("general", "suspend_timeout"),
    ),
    live("syslog", "0", Flag, Key("log", "syslog")),
    live(
        "syslog_facility",
        "daemon",
        Text,
        Key("log", "syslog_facility"),
    ),
    live(
        "syslog_ident",
        "pgbouncer",
        Text,
        Key("log", "syslog_ident"),
    ),
    live(
        "tcp_defer_accept",
        "1",
        Count,
        Nothing("a connection costs next to nothing before it has spoken"),
    ),
    live("tcp_keepalive", "1", Flag, Key("general", "tcp_keepalive")),
    live("tcp_keepcnt", "0", Count, Key("general", "tcp_keepcnt")),
    live("tcp_keepidle", "0", Seconds, Key("general", "tcp_keepidle")),
    live(
        "tcp_keepintvl",
        "0",
        Seconds,
        Key("general", "tcp_keepintvl"),
    ),
    live(
        "tcp_socket_buffer",
        "0",
        Size,
        Key("general", "tcp_socket_buffer"),
    ),
    live(
        "tcp_user_timeout",
        "0",
        Millis,
        Key("general", "tcp_user_timeout"),
    ),
    fixed(
        "track_extra_parameters",
        "IntervalStyle",
        List,
        Nothing("every setting of a session is followed"),
    ),
    live(
        "transaction_timeout",
        "0",
        Seconds,
        Key("general", "transaction_timeout"),
    ),
    fixed(
        "unix_socket_dir",
        "/tmp",
        Text,
        Key("general", "unix_socket_dir"),
    ),
    fixed(
        "unix_socket_group",
        "",
        Text,
        Unless("general", "unix_socket_group"),
    ),
    fixed(
        "unix_socket_mode",
        "0777",
        Mode,
        Key("general", "unix_socket_mode"),
    ),
    fixed("user", "", Text, Unless("general", "user")),
    live("verbose", "0", Count, Own),
];

/// By its name.
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| s.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every setting has its line in docs/pgbouncer.md, which says what the table says.
    #[test]
    fn the_documentation_has_them_all() {
        let doc = include_str!("../../docs/pgbouncer.md");
        for setting in SETTINGS {
            let line = doc
                .lines()
                .find(|line| line.starts_with(&format!("| `{}` |", setting.name)));
            let line = line.unwrap_or_else(|| panic!("{} is not there", setting.name));
            match setting.meaning {
                Key(section, key) | Unless(section, key) => {
                    assert!(line.contains(&format!("`[{section}] {key}`")), "{line}");
                }
                Nothing(_) => assert!(line.contains("no effect"), "{line}"),
                Own => {}
            }
            let reload = if setting.changeable {
                "| yes |"
            } else {
                "| no |"
            };
            assert!(line.ends_with(reload), "{line}");
        }
    }
}
