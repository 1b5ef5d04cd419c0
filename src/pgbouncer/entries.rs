//! The keys of entries in `[databases]`, `[users]` and `[peers]`.

use super::settings::Kind::{self, Count, Seconds, Text};
use super::settings::POOL_MODES;

/// A key of `[databases]`, `[users]` or `[peers]`: there, and here.
#[derive(Debug)]
pub struct EntryKey {
    pub name: &'static str,
    pub kind: Kind,
    /// `None`: the converter has its own way with it.
    pub key: Option<&'static str>,
}

const fn entry(name: &'static str, kind: Kind, key: &'static str) -> EntryKey {
    EntryKey {
        name,
        kind,
        key: Some(key),
    }
}

pub const DATABASE_KEYS: &[EntryKey] = &[
    entry("dbname", Text, "dbname"),
    EntryKey {
        name: "host",
        kind: Text,
        key: None,
    },
    entry("port", Count, "port"),
    entry("user", Text, "user"),
    entry("password", Text, "password"),
    entry("auth_user", Text, "auth_user"),
    entry("auth_query", Text, "auth_query"),
    entry("auth_dbname", Text, "auth_dbname"),
    entry("pool_size", Count, "pool_size"),
    entry("min_pool_size", Count, "min_pool_size"),
    entry("reserve_pool_size", Count, "reserve_pool_size"),
    entry("reserve_pool", Count, "reserve_pool_size"),
    entry("connect_query", Text, "connect_query"),
    entry("pool_mode", POOL_MODES, "pool_mode"),
    entry("query_wait_timeout", Seconds, "query_wait_timeout"),
    entry(
        "load_balance_hosts",
        Kind::Words(&["round-robin", "disable"]),
        "load_balance_hosts",
    ),
    entry("max_db_connections", Count, "max_db_connections"),
    entry(
        "max_db_client_connections",
        Count,
        "max_db_client_connections",
    ),
    entry("server_lifetime", Seconds, "server_lifetime"),
    entry("client_encoding", Text, "client_encoding"),
    entry("datestyle", Text, "datestyle"),
    entry("timezone", Text, "timezone"),
    entry("application_name", Text, "application_name"),
];

pub const USER_KEYS: &[EntryKey] = &[
    entry("pool_size", Count, "pool_size"),
    entry("reserve_pool_size", Count, "reserve_pool_size"),
    entry("pool_mode", POOL_MODES, "pool_mode"),
    entry("max_user_connections", Count, "max_user_connections"),
    entry(
        "max_user_client_connections",
        Count,
        "max_user_client_connections",
    ),
    entry("query_timeout", Seconds, "query_timeout"),
    EntryKey {
        name: "query_wait_timeout",
        kind: Seconds,
        key: None,
    },
    entry(
        "idle_transaction_timeout",
        Seconds,
        "idle_transaction_timeout",
    ),
    entry("transaction_timeout", Seconds, "transaction_timeout"),
    entry("client_idle_timeout", Seconds, "client_idle_timeout"),
];

pub const PEER_KEYS: &[EntryKey] = &[
    entry("host", Text, "host"),
    entry("port", Count, "port"),
    entry("pool_size", Count, "pool_size"),
];
