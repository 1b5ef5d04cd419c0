//! Of the query cache.

use std::sync::Arc;
use std::time::Duration;

use super::{Checks, pools};
use crate::config::{Database, Invalidation, PoolMode, SessionStatePolicy, Target};

/// Shortest `feed_max_lag`: a question and its answer must fit several times.
const SHORTEST_LAG: Duration = Duration::from_millis(100);
/// Longest name of a channel or a publication, in bytes (`NAMEDATALEN` - 1).
const NAME_MAX: usize = 63;

impl Checks<'_, '_> {
    pub(super) fn cache(&mut self, pool: &Database) {
        let key = |name| ["pools", &*pool.name, "cache", name];
        let cache = &pool.cache;
        if !cache.enabled {
            return;
        }
        if pool.pool_mode == PoolMode::Session {
            let problem = "a pool with pool_mode = \"session\" has no cache: what a session has \
                           changed about itself is not known there; use \"transaction\"";
            self.problems.add(&key("enabled"), problem);
        }
        if pool.target() != Target::Any {
            let problem = "cannot be used where servers have roles (hosts, target): what a \
                           replica answers may be older than a write that was heard of";
            self.problems.add(&key("enabled"), problem);
        }
        if pool.session_state == SessionStatePolicy::Allow {
            let problem = "a pool with session_state = \"allow\" has no cache: what one client leaves on a \
                           server connection would be remembered for the others; use \"pin\" or \"reject\"";
            self.problems.add(&key("enabled"), problem);
        }
        if cache.ttl.is_zero() {
            self.problems.add(
                &key("ttl"),
                "must be more than 0; enabled = false is for no cache",
            );
        }
        for (n, rule) in cache.rules.iter().enumerate() {
            if let Some(Err(error)) = rule.query.as_ref().map(|q| regex::Regex::new(q)) {
                let problem = format!("rule {}: query is no regular expression: {error}", n + 1);
                self.problems.add(&key("rules"), problem);
            }
            let off = rule.enabled == Some(false);
            if rule.coalesce && !off {
                let problem = format!(
                    "rule {}: coalesce is for enabled = false; what is remembered is asked for once anyway",
                    n + 1
                );
                self.problems.add(&key("rules"), problem);
            }
            if off && !rule.errors.is_zero() {
                let problem = format!(
                    "rule {}: errors and enabled = false exclude each other",
                    n + 1
                );
                self.problems.add(&key("rules"), problem);
            }
            if rule.ttl.is_some_and(|ttl| ttl.is_zero()) {
                let problem = format!(
                    "rule {}: ttl must be more than 0; enabled = false is for no cache",
                    n + 1
                );
                self.problems.add(&key("rules"), problem);
            }
        }
        self.feed(pool);
        let most = self.config.cache.max_size;
        if cache.max_entry_size > most {
            let problem = format!("must be at most cache.max_size, which is {most} bytes");
            self.problems.add(&key("max_entry_size"), problem);
        }
    }

    /// How the pool hears of writes made elsewhere.
    fn feed(&mut self, pool: &Database) {
        let key = |name| ["pools", &*pool.name, "cache", name];
        let cache = &pool.cache;
        let feed = &cache.feed;
        if cache.invalidation == Invalidation::Ttl {
            return;
        }
        if feed.user.is_none() && pool.user.is_none() {
            let problem = "needs to log in for the feed: set feed_user, or the pool's user";
            self.problems.add(&key("invalidation"), problem);
        }
        if pool.hosts().len() > 1 {
            let problem =
                "needs a single host: which of several a write goes to, nobody could tell";
            self.problems.add(&key("invalidation"), problem);
        }
        if feed.max_lag < SHORTEST_LAG {
            let problem = format!("must be at least {SHORTEST_LAG:?}");
            self.problems.add(&key("feed_max_lag"), problem);
        }
        let names = [
            ("feed_channel", &feed.channel),
            ("feed_publication", &feed.publication),
        ];
        for (name, value) in names {
            if value.is_empty() || value.len() > NAME_MAX || value.contains('\0') {
                let problem = format!("must have 1 to {NAME_MAX} bytes");
                self.problems.add(&key(name), problem);
            }
        }
        let place = |d: &Database| {
            let dbname = d.dbname.clone().unwrap_or_else(|| d.name.clone());
            (d.server_names(), dbname)
        };
        let mut others = pools(self.config).filter(|other| {
            other.name < pool.name && other.cache.enabled && place(other) == place(pool)
        });
        let differs = |other: &&Arc<Database>| {
            let theirs = &other.cache;
            (theirs.invalidation, &theirs.feed) != (cache.invalidation, feed)
        };
        if let Some(other) = others.find(differs) {
            let problem = format!(
                "must be the same as that of pools.{:?}, with all of feed_*: they lead to the same \
                 database",
                other.name
            );
            self.problems.add(&key("invalidation"), problem);
        }
    }

    /// What is written by the pool invalidates what is remembered by one cache.
    pub(super) fn one_cache(&mut self, pool: &Database) {
        let remembering: Vec<_> = pools(self.config)
            .filter(|other| other.cache.enabled && other.shares_a_server_with(pool))
            .collect();
        let mut names: Vec<&str> = match pool.database_there() {
            Some(name) => vec![name],
            None => remembering
                .iter()
                .filter_map(|d| d.database_there())
                .collect(),
        };
        if names.is_empty() {
            // All are for any database.
            names.push("");
        }
        for name in names {
            let there = |d: &&&Arc<Database>| d.database_there().is_none_or(|n| n == name);
            let mut there = remembering.iter().filter(there);
            let Some(first) = there.next() else {
                continue;
            };
            if let Some(other) = there.find(|d| d.server_names() != first.server_names()) {
                let key = match pool.placed.is_empty() {
                    true => "host",
                    false => "hosts",
                };
                let problem = format!(
                    "leads to servers of pools.{:?} and of pools.{:?}, whose caches are of different servers: what \
                     is written here would invalidate the answers of one of them only",
                    first.name, other.name
                );
                self.problems.add(&["pools", &pool.name, key], problem);
                return;
            }
        }
    }

    pub(super) fn shared_cache(&mut self) {
        let Some(shared) = &self.config.cache.shared else {
            return;
        };
        let key = ["cache", "shared"];
        if let Err(error) = redis::Client::open(&*shared.url) {
            let problem = format!(
                "url must be redis://[USER:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS: {error}"
            );
            self.problems.add(&key, problem);
        }
        if shared.max_lag < SHORTEST_LAG {
            let problem = format!("max_lag must be at least {SHORTEST_LAG:?}");
            self.problems.add(&key, problem);
        }
        if shared.timeout.is_zero() {
            self.problems.add(&key, "timeout must be more than 0");
        }
        if shared.member_timeout < shared.max_lag {
            let problem = "member_timeout must be at least max_lag";
            self.problems.add(&key, problem);
        }
        if shared.prefix.is_empty() {
            self.problems.add(&key, "prefix must not be empty");
        }
    }
}
