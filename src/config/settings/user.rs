//! `[users.NAME]`.

use super::super::User;
use super::{NamedKey, named, optional, optional_seconds};

/// What `[users.NAME]` has, but for the password.
pub(in crate::config) const USER_KEYS: &[NamedKey<User>] = &[
    named("pool_mode", |u| {
        u.pool_mode
            .map_or(String::new(), |mode| mode.as_str().to_owned())
    }),
    named("pool_size", |u| optional(u.pool_size)),
    named("reserve_pool_size", |u| optional(u.reserve_pool_size)),
    named("max_user_connections", |u| {
        u.max_user_connections.to_string()
    }),
    named("max_user_client_connections", |u| {
        u.max_user_client_connections.to_string()
    }),
    named("query_timeout", |u| optional_seconds(u.query_timeout)),
    named("transaction_timeout", |u| {
        optional_seconds(u.transaction_timeout)
    }),
    named("idle_transaction_timeout", |u| {
        optional_seconds(u.idle_transaction_timeout)
    }),
    named("client_idle_timeout", |u| {
        optional_seconds(u.client_idle_timeout)
    }),
    named("query_wait_timeout", |u| {
        optional_seconds(u.query_wait_timeout)
    }),
    named("priority", |u| {
        u.class
            .priority
            .map_or(String::new(), |p| p.as_str().to_owned())
    }),
    named("max_queries_per_second", |u| {
        u.class.max_queries_per_second.to_string()
    }),
    named("query_burst", |u| u.class.query_burst.to_string()),
];
