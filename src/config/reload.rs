//! What a reload changes: compares two configurations key by key, and keeps what a running process
//! cannot change.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::dotted;
use super::settings::{POOL_KEYS, POOL_OWN_KEYS, USER_KEYS, keys};
use super::{Config, Database, FALLBACK, Http, Listen, User};

/// The keys whose values differ, as dotted paths such as `general.query_timeout`. A pool or user
/// that is new or gone is named by its section, for example `pools.app`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReloadReport {
    /// Take effect at once.
    pub applied: Vec<String>,
    /// Keep their old values until the process is started again.
    pub needs_restart: Vec<String>,
}

/// Compares two configurations. A pool that follows a default of `[general]` is not named when the
/// default changes.
pub fn diff(old: &Config, new: &Config) -> ReloadReport {
    let mut report = ReloadReport::default();
    for key in keys() {
        if (key.value)(old) != (key.value)(new) {
            let path = dotted(&[key.section, key.name]);
            match key.live {
                true => report.applied.push(path),
                false => report.needs_restart.push(path),
            }
        }
    }
    for key in POOL_KEYS {
        if (key.value)(&old.pool_defaults) != (key.value)(&new.pool_defaults) {
            report.applied.push(dotted(&[key.section, key.name]));
        }
    }
    diff_pools(old, new, &mut report.applied);
    diff_users(old, new, &mut report.applied);
    diff_peers(old, new, &mut report.applied);
    diff_applications(old, new, &mut report.applied);
    report
}

fn diff_pools(old: &Config, new: &Config, changed: &mut Vec<String>) {
    let names = |config: &Config| -> BTreeSet<String> {
        let fallback = config.fallback.iter().map(|_| FALLBACK.to_owned());
        config.databases.keys().cloned().chain(fallback).collect()
    };
    for name in names(old).union(&names(new)) {
        let path = dotted(&["pools", name]);
        match (pool(old, name), pool(new, name)) {
            (Some(was), Some(is)) => {
                let differing = pool_changes(was, is, old, new);
                changed.extend(differing.iter().map(|key| format!("{path}.{key}")));
            }
            _ => changed.push(path),
        }
    }
}

fn pool<'a>(config: &'a Config, name: &str) -> Option<&'a Arc<Database>> {
    match name {
        FALLBACK => config.fallback.as_ref(),
        _ => config.databases.get(name),
    }
}

fn pool_changes(was: &Database, is: &Database, old: &Config, new: &Config) -> Vec<String> {
    let mut changed = Vec::new();
    for key in POOL_OWN_KEYS {
        if (key.value)(was) != (key.value)(is) {
            changed.push(key.name.to_owned());
        }
    }
    if was.password != is.password {
        changed.push("password".to_owned());
    }
    if was.cache.feed.password != is.cache.feed.password {
        changed.push("cache.feed_password".to_owned());
    }
    for key in POOL_KEYS {
        let (before, after) = ((key.value)(was), (key.value)(is));
        let follows =
            before == (key.value)(&old.pool_defaults) && after == (key.value)(&new.pool_defaults);
        if before != after && !follows {
            changed.push(key.path_in_pool());
        }
    }
    changed
}

fn diff_users(old: &Config, new: &Config, changed: &mut Vec<String>) {
    let names: BTreeSet<&String> = old.users.keys().chain(new.users.keys()).collect();
    for name in names {
        let path = dotted(&["users", name]);
        match (old.users.get(name), new.users.get(name)) {
            (Some(was), Some(is)) => {
                let differing = user_changes(was, is, &old.default_user, &new.default_user);
                changed.extend(differing.iter().map(|key| format!("{path}.{key}")));
            }
            _ => changed.push(path),
        }
    }
}

/// A peer is named as a whole.
fn diff_peers(old: &Config, new: &Config, changed: &mut Vec<String>) {
    let (old, new) = (&old.peering.peers, &new.peering.peers);
    let ids: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let differing = ids.into_iter().filter(|id| old.get(id) != new.get(id));
    changed.extend(differing.map(|id| dotted(&["peers", &id.to_string()])));
}

/// An application is named as a whole, too.
fn diff_applications(old: &Config, new: &Config, changed: &mut Vec<String>) {
    let (old, new) = (&old.applications, &new.applications);
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let differing = names.into_iter().filter(|n| old.get(*n) != new.get(*n));
    changed.extend(differing.map(|name| dotted(&["applications", name])));
}

fn user_changes(was: &User, is: &User, old: &User, new: &User) -> Vec<&'static str> {
    let mut changed = Vec::new();
    if was.secret != is.secret {
        changed.push("password");
    }
    for key in USER_KEYS {
        let (before, after) = ((key.value)(was), (key.value)(is));
        let follows = before == (key.value)(old) && after == (key.value)(new);
        if before != after && !follows {
            changed.push(key.name);
        }
    }
    changed
}

/// Puts the old values of the keys that need a restart into a new configuration, so that it says
/// what the process really does.
pub fn keep_fixed(old: &Config, new: &mut Config) {
    let fixed = old.listen.clone();
    new.listen = Listen {
        tcp: fixed.tcp,
        port: fixed.port,
        unix_socket_dir: fixed.unix_socket_dir,
        unix_socket_mode: fixed.unix_socket_mode,
        unix_socket_group: fixed.unix_socket_group,
        reuse_port: fixed.reuse_port,
        tcp_socket_buffer: new.listen.tcp_socket_buffer,
        backlog: fixed.backlog,
        tcp_keepalive: new.listen.tcp_keepalive,
        tcp_keepidle: new.listen.tcp_keepidle,
        tcp_keepintvl: new.listen.tcp_keepintvl,
        tcp_keepcnt: new.listen.tcp_keepcnt,
        tcp_user_timeout: new.listen.tcp_user_timeout,
        proxy_protocol: new.listen.proxy_protocol.clone(),
    };
    new.cache = old.cache.clone();
    new.workers = old.workers;
    new.pidfile.clone_from(&old.pidfile);
    new.user.clone_from(&old.user);
    new.log.style = old.log.style;
    new.startup.no_simple_queries = old.startup.no_simple_queries;
    new.max_packet_size = old.max_packet_size;
    new.http = old.http.as_ref().map(|was| Http {
        listen: was.listen,
        ready_without_servers: new
            .http
            .as_ref()
            .map_or(was.ready_without_servers, |is| is.ready_without_servers),
    });
    new.dns.resolv_conf.clone_from(&old.dns.resolv_conf);
}

#[cfg(test)]
mod tests;
