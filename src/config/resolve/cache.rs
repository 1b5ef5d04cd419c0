//! `[pools.NAME.cache]`.

use std::time::Duration;

use super::{set, set_text};
use crate::config::raw;
use crate::config::{CacheRule, CacheSettings, FunctionDeclaration};

pub(super) fn settings(cache: &mut CacheSettings, raw: raw::PoolCache) {
    set(&mut cache.enabled, raw.enabled);
    set(&mut cache.ttl, raw.ttl);
    set(
        &mut cache.stale_while_revalidate,
        raw.stale_while_revalidate,
    );
    set(&mut cache.max_entry_size, raw.max_entry_size.map(|s| s.0));
    set(&mut cache.catalog_refresh, raw.catalog_refresh);
    set(&mut cache.invalidation, raw.invalidation);
    set(&mut cache.row_security, raw.row_security);
    set_text(&mut cache.feed.user, raw.feed_user);
    set(&mut cache.feed.max_lag, raw.feed_max_lag);
    set(&mut cache.feed.channel, raw.feed_channel);
    set(&mut cache.feed.publication, raw.feed_publication);
    set(&mut cache.feed.max_wal, raw.feed_max_wal.map(|s| s.0));
    let list = |list: Option<crate::config::units::List>| list.map(|l| l.0).unwrap_or_default();
    let rules = raw.rules.into_iter().flatten();
    cache.rules.extend(rules.map(|rule| CacheRule {
        tables: list(rule.tables),
        query: rule.query,
        users: list(rule.users),
        application_names: list(rule.application_names),
        enabled: rule.enabled,
        ttl: rule.ttl.map(Duration::from),
        stale_while_revalidate: rule.stale_while_revalidate.map(Duration::from),
        errors: rule.errors.map(Duration::from).unwrap_or_default(),
        coalesce: rule.coalesce.unwrap_or_default(),
    }));
    for (name, function) in raw.functions.into_iter().flatten() {
        let declared = FunctionDeclaration {
            reads: function.reads.map(|l| l.0),
            writes: function.writes.map(|l| l.0),
        };
        cache.functions.insert(name, declared);
    }
    for (name, table) in raw.tables.into_iter().flatten() {
        cache.tables.insert(name, table.writes.0);
    }
}
