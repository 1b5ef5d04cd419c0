//! What is remembered, how often it was asked for, and why other things are not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Table, columns, s};
use crate::admin::console::Console;
use crate::cache::counters::{BYPASSES, Counters};
use crate::cache::judged::{Doing, Judged};
use crate::cache::pool::{PoolCache, TEXT};
use crate::cache::writes::Change;
use crate::pool::Pool;
use crate::shared::TierCounters;

/// Rows of the tables that could go on for ever.
const ROWS_MAX: usize = 100;
/// Characters of a statement that are shown.
const TEXT_MAX: usize = 200;

fn caches(console: &Console) -> Vec<(Arc<Pool>, Arc<PoolCache>)> {
    let pools = console.pools().all().into_iter();
    let with_cache = pools.filter_map(|pool| {
        let cache = pool.settings().cache.clone()?;
        Some((pool, cache))
    });
    with_cache.collect()
}

/// What to read of a pool's counters.
type Read = fn(&Counters) -> &AtomicU64;

const COUNTERS: &[(&str, Read)] = &[
    ("hits", |c| &c.hits),
    ("hits_in_block", |c| &c.hits_in_block),
    ("stale_hits", |c| &c.stale_hits),
    ("misses", |c| &c.misses),
    ("joined", |c| &c.joined),
    ("stored", |c| &c.stored),
    ("overtaken", |c| &c.overtaken),
    ("unfit", |c| &c.unfit),
    ("outdated", |c| &c.outdated),
    ("expired", |c| &c.expired),
    ("error_hits", |c| &c.error_hits),
];

/// `SHOW CACHE`: one row a pool, and one for what they share.
pub(in crate::admin) fn pools(console: &Console) -> Table {
    let mut names = vec![("database", 's'), ("user", 's'), ("state", 's')];
    names.extend(COUNTERS.iter().map(|(name, _)| (*name, 'q')));
    names.extend(BYPASSES.iter().map(|(_, name)| match *name {
        "pending" => ("bypass_pending", 'q'),
        "off" => ("bypass_off", 'q'),
        "protocol" => ("bypass_protocol", 'q'),
        "date_word" => ("bypass_date_word", 'q'),
        "statement" => ("bypass_statement", 'q'),
        "feed" => ("bypass_feed", 'q'),
        "cold" => ("bypass_cold", 'q'),
        "not_followed" => ("bypass_not_followed", 'q'),
        _ => ("bypass_refused", 'q'),
    }));
    names.extend([
        ("catalog_loads", 'q'),
        ("entries", 'q'),
        ("bytes", 'q'),
        ("max_bytes", 'q'),
    ]);
    let mut rows = Vec::new();
    for (pool, cache) in caches(console) {
        let state = match (cache.rules.enabled, cache.is_ready()) {
            (false, _) => "follows writes",
            (true, true) => "ready",
            (true, false) => "bypassed",
        };
        let mut row = vec![s(&pool.database), s(&pool.user), s(state)];
        let value = |(_, read): &(&str, Read)| s(read(&cache.counters).load(Ordering::Relaxed));
        row.extend(COUNTERS.iter().map(value));
        row.extend(
            BYPASSES
                .iter()
                .map(|(why, _)| s(cache.counters.bypassed(*why))),
        );
        row.extend([s(cache.loads()), None, None, None]);
        rows.push(row);
    }
    let caches = console.pools().caches();
    let store = caches.store();
    store.maintain();
    let (entries, bytes) = store.usage();
    let mut all = vec![None; names.len() - 3];
    all[0] = s("(all)");
    all.extend([s(entries), s(bytes), s(store.max_size())]);
    rows.push(all);
    Table {
        columns: columns(&names),
        rows,
    }
}

/// `SHOW CACHE TABLES`: relations that were read or written, with how often they have changed.
pub(in crate::admin) fn tables(console: &Console) -> Table {
    let caches = caches(console);
    let mut spaces: BTreeMap<&str, &PoolCache> = BTreeMap::new();
    for (_, cache) in &caches {
        let known = spaces.entry(&cache.space.name).or_insert(cache);
        if !known.is_ready() {
            *known = cache;
        }
    }
    let mut rows = Vec::new();
    for (name, cache) in spaces {
        let whole = cache.space.whole();
        rows.push(vec![
            s(name),
            s("(all)"),
            s(0),
            s(whole.version()),
            s(whole.is_pending()),
        ]);
        let mut marks = cache.space.relations();
        marks.sort_by_key(|m| std::cmp::Reverse(m.version()));
        for mark in marks.iter().take(ROWS_MAX) {
            let relation = cache.relation_name(mark.oid);
            let row = [
                Some(name.to_owned()),
                relation,
                s(mark.oid),
                s(mark.version()),
                s(mark.is_pending()),
            ];
            rows.push(row.to_vec());
        }
    }
    Table {
        columns: columns(&[
            ("database", 's'),
            ("table", 's'),
            ("oid", 'q'),
            ("invalidations", 'q'),
            ("pending", 's'),
        ]),
        rows,
    }
}

/// `SHOW CACHE FEEDS`: how writes made elsewhere are heard of.
pub(in crate::admin) fn feeds(console: &Console) -> Table {
    let now = console.now();
    let spaces = console.pools().caches().spaces();
    let mut kinds = BTreeMap::new();
    for (pool, cache) in caches(console) {
        let of_cache = &pool.settings().database.cache;
        if of_cache.enabled {
            kinds.insert(cache.space.name.clone(), of_cache.invalidation.as_str());
        }
    }
    let rows = spaces.iter().map(|space| {
        let follow = &space.follow;
        let state = match (follow.is_demanded(), follow.allows(now)) {
            (false, _) => "none",
            (true, true) => "followed",
            (true, false) => "bypassed",
        };
        let count = |counter: &AtomicU64| s(counter.load(Ordering::Relaxed));
        vec![
            s(&space.name),
            s(kinds.get(&space.name).unwrap_or(&"ttl")),
            s(state),
            follow.lag(now).and_then(|lag| s(lag as f64 / 1000.0)),
            s(follow.coverage()),
            count(&follow.counters.events),
            count(&follow.counters.schema_events),
            count(&follow.counters.losses),
            follow.trouble().map(|why| why.to_string()),
        ]
    });
    Table {
        columns: columns(&[
            ("database", 's'),
            ("invalidation", 's'),
            ("state", 's'),
            ("lag", 'N'),
            ("tables", 'q'),
            ("events", 'q'),
            ("schema_events", 'q'),
            ("losses", 'q'),
            ("trouble", 's'),
        ]),
        rows: rows.collect(),
    }
}

/// `SHOW CACHE SHARED`: what several instances share; no row without it.
pub(in crate::admin) fn shared(console: &Console) -> Table {
    let mut names = vec![
        ("state", 's'),
        ("breaker", 's'),
        ("lag", 'N'),
        ("owed", 'q'),
    ];
    let counted = TierCounters::default().all();
    names.extend(counted.map(|(name, _)| (name, 'q')));
    names.extend([("openings", 'q'), ("losses", 'q'), ("trouble", 's')]);
    let now = console.now();
    let rows = console.pools().shared().tier.iter().map(|tier| {
        let state = match tier.is_connected() && tier.follow.allows(now) {
            true => "connected",
            false => "bypassed",
        };
        let breaker = if tier.breaker.is_open() {
            "open"
        } else {
            "closed"
        };
        let spaces = console.pools().caches().spaces();
        let owed = spaces.iter().filter_map(|s| s.outbox()).map(|o| o.len());
        let lag = tier.follow.lag(now);
        let mut row = vec![
            s(state),
            s(breaker),
            lag.and_then(|lag| s(lag as f64 / 1000.0)),
            s(owed.sum::<usize>()),
        ];
        row.extend(tier.counters.all().map(|(_, value)| s(value)));
        row.push(s(tier.breaker.openings()));
        row.push(s(tier.follow.counters.losses.load(Ordering::Relaxed)));
        row.push(tier.follow.trouble().map(|why| why.to_string()));
        row
    });
    let rows = rows.collect();
    Table {
        columns: columns(&names),
        rows,
    }
}

/// `SHOW CACHE TOP`: what is given most often.
pub(in crate::admin) fn top(console: &Console) -> Table {
    let now = console.now();
    // There may be millions: no more are held on to than could be among the first.
    let mut entries = Vec::new();
    let keep = |entries: &mut Vec<_>| {
        entries.sort_by_key(|(hits, _)| std::cmp::Reverse(*hits));
        entries.truncate(ROWS_MAX);
    };
    for entry in console.pools().caches().store().all() {
        entries.push((entry.hits(), entry));
        if entries.len() >= 10 * ROWS_MAX {
            keep(&mut entries);
        }
    }
    keep(&mut entries);
    let rows = entries.iter().map(|(_, entry)| {
        let parts = parts(&entry.key);
        let text = parts.get(TEXT).copied().unwrap_or_default();
        vec![
            s(shown(parts.first().copied().unwrap_or_default())),
            s(shown(parts.get(1).copied().unwrap_or_default())),
            s(entry.hits()),
            s(entry.weight()),
            s(now.saturating_sub(entry.filled) as f64 / 1000.0),
            s(entry.snapshot.holds()),
            s(shown(text)),
        ]
    });
    Table {
        columns: columns(&[
            ("database", 's'),
            ("user", 's'),
            ("hits", 'q'),
            ("bytes", 'q'),
            ("age", 'N'),
            ("valid", 's'),
            ("statement", 's'),
        ]),
        rows: rows.collect(),
    }
}

/// The parts of a key.
fn parts(mut key: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = key.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((part, rest)) = rest.split_at_checked(length) else {
            break;
        };
        parts.push(part);
        key = rest;
    }
    parts
}

/// On one line, and not too long.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(TEXT_MAX).collect()
}

/// `SHOW CACHE DECISIONS`: what was decided about which statement.
pub(in crate::admin) fn decisions(console: &Console) -> Table {
    let mut rows = Vec::new();
    for (pool, cache) in caches(console) {
        let mut decisions = cache.decisions();
        decisions.sort_by_key(|(_, j)| std::cmp::Reverse(j.refused.load(Ordering::Relaxed)));
        for (text, judged) in decisions.iter().take(ROWS_MAX) {
            let mut row = vec![s(&pool.database), s(&pool.user)];
            row.extend(decision(&cache, judged));
            row.push(s(shown(text)));
            rows.push(row);
        }
    }
    let mut names = vec![("database", 's'), ("user", 's')];
    names.extend(DECISION);
    names.push(("statement", 's'));
    Table {
        columns: columns(&names),
        rows,
    }
}

const DECISION: [(&str, char); 6] = [
    ("cacheable", 's'),
    ("reason", 's'),
    ("explanation", 's'),
    ("reads", 's'),
    ("writes", 's'),
    ("refused", 'q'),
];

fn decision(cache: &PoolCache, judged: &Judged) -> [Option<String>; 6] {
    let name = |oid: u32| cache.relation_name(oid).unwrap_or_else(|| oid.to_string());
    let (cacheable, reason, explanation, reads) = match &judged.read {
        Ok(plan) if !cache.space.follow.covers(&plan.marks) => {
            let missing = plan.marks.iter().filter(|m| m.oid != 0 && !m.is_covered());
            let missing: Vec<String> = missing.map(|m| name(m.oid)).collect();
            let why = format!(
                "changes of {} made elsewhere are not reported",
                missing.join(", ")
            );
            ("no", Some("not_followed".to_owned()), Some(why), None)
        }
        Ok(plan) => {
            let reads = plan
                .marks
                .iter()
                .filter(|m| m.oid != 0)
                .map(|m| name(m.oid));
            (
                "yes",
                None,
                None,
                Some(reads.collect::<Vec<_>>().join(", ")),
            )
        }
        Err(refusal) => ("no", s(refusal.label()), s(refusal), None),
    };
    let writes = judged.doings.iter().map(|doing| match doing {
        Doing::Changes(Change::Relations(marks)) => {
            let names = marks.iter().map(|m| name(m.oid));
            names.collect::<Vec<_>>().join(", ")
        }
        Doing::Changes(Change::Everywhere) => "everything, everywhere".to_owned(),
        Doing::Changes(Change::Everything { .. }) => "everything".to_owned(),
        Doing::Executes(name) => format!("whatever {name} does"),
    });
    let writes: Vec<String> = writes.collect();
    [
        s(cacheable),
        reason,
        explanation,
        reads,
        (!writes.is_empty()).then(|| writes.join("; ")),
        s(judged.refused.load(Ordering::Relaxed)),
    ]
}

/// `SHOW CACHE FOR 'sql'`: what would be decided, by each pool.
pub(in crate::admin) fn explain(console: &Console, sql: &str) -> Table {
    let rows = caches(console).into_iter().map(|(pool, cache)| {
        let judged = cache.explain(sql.as_bytes());
        let mut row = vec![s(&pool.database), s(&pool.user)];
        row.extend(decision(&cache, &judged));
        row
    });
    let mut names = vec![("database", 's'), ("user", 's')];
    names.extend(DECISION);
    Table {
        columns: columns(&names),
        rows: rows.collect(),
    }
}
