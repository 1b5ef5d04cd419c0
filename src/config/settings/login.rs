//! `[login]`.

use super::{Key, join, live, seconds};
use crate::net::network::Network;

pub(super) const KEYS: &[Key] = &[
    live("login", "max_failures", |c| {
        c.login.rules.user_failures.to_string()
    }),
    live("login", "max_address_failures", |c| {
        c.login.rules.address_failures.to_string()
    }),
    live("login", "failure_window", |c| seconds(c.login.rules.window)),
    live("login", "backoff", |c| seconds(c.login.rules.backoff)),
    live("login", "max_backoff", |c| {
        seconds(c.login.rules.max_backoff)
    }),
    live("login", "max_half_open", |c| {
        c.login.max_half_open.to_string()
    }),
    live("login", "allow", |c| networks(&c.login.allow)),
    live("login", "deny", |c| networks(&c.login.deny)),
];

fn networks(networks: &[Network]) -> String {
    join(networks.iter().map(Network::to_string))
}
