//! The metrics of the query cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Key, KeyName, Label, Recorder, SharedString, Unit};

use super::METADATA;
use crate::admin::console::Console;
use crate::cache::counters::{BYPASSES, Counters};
use crate::cache::space::Invalidations;
use crate::pool::Pool;

struct CacheCounter {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    value: fn(&Counters) -> &AtomicU64,
}

const COUNTERS: &[CacheCounter] = &[
    CacheCounter {
        name: "pgweir_cache_hits_total",
        help: "Requests answered from memory.",
        unit: None,
        value: |c| &c.hits,
    },
    CacheCounter {
        name: "pgweir_cache_hits_in_block_total",
        help: "Of the hits, those inside a transaction block.",
        unit: None,
        value: |c| &c.hits_in_block,
    },
    CacheCounter {
        name: "pgweir_cache_stale_hits_total",
        help: "Of the hits, those given while a client was getting a new answer.",
        unit: None,
        value: |c| &c.stale_hits,
    },
    CacheCounter {
        name: "pgweir_cache_error_hits_total",
        help: "Of the hits, those that were errors.",
        unit: None,
        value: |c| &c.error_hits,
    },
    CacheCounter {
        name: "pgweir_cache_misses_total",
        help: "Requests that could be answered from memory, but nothing was there.",
        unit: None,
        value: |c| &c.misses,
    },
    CacheCounter {
        name: "pgweir_cache_joined_total",
        help: "Requests answered with what another client had asked for at the same time.",
        unit: None,
        value: |c| &c.joined,
    },
    CacheCounter {
        name: "pgweir_cache_stored_total",
        help: "Answers stored.",
        unit: None,
        value: |c| &c.stored,
    },
    CacheCounter {
        name: "pgweir_cache_overtaken_total",
        help: "Answers not stored because a table had changed meanwhile.",
        unit: None,
        value: |c| &c.overtaken,
    },
    CacheCounter {
        name: "pgweir_cache_unfit_total",
        help: "Answers not stored because they cannot be given again or are too large.",
        unit: None,
        value: |c| &c.unfit,
    },
    CacheCounter {
        name: "pgweir_cache_outdated_total",
        help: "Entries found outdated by a write.",
        unit: None,
        value: |c| &c.outdated,
    },
    CacheCounter {
        name: "pgweir_cache_expired_total",
        help: "Entries found older than their time to live.",
        unit: None,
        value: |c| &c.expired,
    },
    CacheCounter {
        name: "pgweir_cache_hit_age_milliseconds_total",
        help: "Age of the answers given from memory, summed up.",
        unit: None,
        value: |c| &c.age_at_hit,
    },
    CacheCounter {
        name: "pgweir_cache_fill_microseconds_total",
        help: "Time that it took to get the answers that were stored, summed up.",
        unit: None,
        value: |c| &c.fill_micros,
    },
];

/// Invalidations by what caused them.
type Cause = (&'static str, fn(&Invalidations) -> &AtomicU64);

const CAUSES: &[Cause] = &[
    ("tables", |i| &i.relations),
    ("unknown", |i| &i.everything),
    ("flush", |i| &i.flushes),
    ("in_doubt", |i| &i.in_doubt),
];

pub fn render(console: &Console, pools: &[Arc<Pool>], recorder: &impl Recorder) {
    let caches = console.pools().caches();
    let with_cache = pools.iter().filter_map(|pool| {
        let cache = pool.settings().cache.clone()?;
        Some((pool, cache))
    });
    let with_cache: Vec<_> = with_cache.collect();
    if with_cache.is_empty() {
        return;
    }
    let counter = |name: &'static str, labels: Vec<Label>, value: u64| {
        let key = Key::from_parts(name, labels);
        recorder.register_counter(&key, &METADATA).absolute(value);
    };
    let describe = |name: &'static str, unit: Option<Unit>, help: &'static str| {
        recorder.describe_counter(KeyName::from(name), unit, SharedString::from(help));
    };
    for c in COUNTERS {
        describe(c.name, c.unit, c.help);
    }
    let bypasses = "pgweir_cache_bypasses_total";
    describe(
        bypasses,
        None,
        "Requests not looked for in memory, by reason.",
    );
    for (pool, cache) in &with_cache {
        let labels = || {
            vec![
                Label::new("database", pool.database.to_string()),
                Label::new("user", pool.user.to_string()),
            ]
        };
        for c in COUNTERS {
            let value = (c.value)(&cache.counters).load(Ordering::Relaxed);
            counter(c.name, labels(), value);
        }
        for (why, reason) in BYPASSES {
            let mut labels = labels();
            labels.push(Label::new("reason", reason));
            counter(bypasses, labels, cache.counters.bypassed(why));
        }
    }
    let invalidations = "pgweir_cache_invalidations_total";
    describe(
        invalidations,
        None,
        "Transactions and commands that made entries outdated, by cause.",
    );
    let losses = "pgweir_cache_feed_losses_total";
    describe(
        losses,
        None,
        "How often the feed of writes made elsewhere was lost.",
    );
    let events = "pgweir_cache_feed_events_total";
    describe(
        events,
        None,
        "Changes of a table that the feed has told of.",
    );
    let gauge = |name: &'static str, database: &str, value: f64| {
        let key = Key::from_parts(name, vec![Label::new("database", database.to_owned())]);
        recorder.register_gauge(&key, &METADATA).set(value);
    };
    let (up, lag) = ("pgweir_cache_feed_up", "pgweir_cache_feed_lag_seconds");
    let describe_gauge = |name: &'static str, unit, help: &'static str| {
        recorder.describe_gauge(KeyName::from(name), unit, SharedString::from(help));
    };
    describe_gauge(
        up,
        None,
        "Whether the feed of writes made elsewhere is followed.",
    );
    describe_gauge(
        lag,
        Some(Unit::Seconds),
        "Age of the moment up to which all writes made elsewhere are known.",
    );
    let now = console.now();
    if let Some(tier) = &console.pools().shared().tier {
        let total = "pgweir_cache_shared_total";
        describe(total, None, "What the shared cache has done, by what.");
        let count = |what: &'static str, value| {
            counter(total, vec![Label::new("what", what)], value);
        };
        for (what, value) in tier.counters.all() {
            count(what, value);
        }
        count("breaker_openings", tier.breaker.openings());
        let followed = tier.is_connected() && tier.follow.allows(now);
        let (up, lag) = ("pgweir_cache_shared_up", "pgweir_cache_shared_lag_seconds");
        describe_gauge(up, None, "Whether other instances are heard.");
        describe_gauge(
            lag,
            Some(Unit::Seconds),
            "Age of the moment up to which all writes of other instances are known.",
        );
        let set = |name: &'static str, value: f64| {
            let key = Key::from_name(name);
            recorder.register_gauge(&key, &METADATA).set(value);
        };
        set(up, f64::from(u8::from(followed)));
        if let Some(behind) = tier.follow.lag(now) {
            set(lag, behind as f64 / 1000.0);
        }
    }
    for space in caches.spaces() {
        let follow = &space.follow;
        if follow.is_demanded() {
            let labels = || vec![Label::new("database", space.name.to_string())];
            let read = |c: &AtomicU64| c.load(Ordering::Relaxed);
            counter(losses, labels(), read(&follow.counters.losses));
            counter(events, labels(), read(&follow.counters.events));
            gauge(up, &space.name, f64::from(u8::from(follow.allows(now))));
            if let Some(behind) = follow.lag(now) {
                gauge(lag, &space.name, behind as f64 / 1000.0);
            }
        }
        for (cause, value) in CAUSES {
            let labels = vec![
                Label::new("server_database", space.name.to_string()),
                Label::new("cause", *cause),
            ];
            let value = value(&space.invalidations).load(Ordering::Relaxed);
            counter(invalidations, labels, value);
        }
    }
    let gauge = |name: &'static str, unit: Option<Unit>, help: &'static str, value: f64| {
        recorder.describe_gauge(KeyName::from(name), unit, SharedString::from(help));
        let key = Key::from_parts(name, Vec::<Label>::new());
        recorder.register_gauge(&key, &METADATA).set(value);
    };
    let (entries, bytes) = caches.store().usage();
    gauge(
        "pgweir_cache_entries",
        None,
        "Entries stored.",
        entries as f64,
    );
    gauge(
        "pgweir_cache_size_bytes",
        Some(Unit::Bytes),
        "Memory of the entries.",
        bytes as f64,
    );
    gauge(
        "pgweir_cache_max_size_bytes",
        Some(Unit::Bytes),
        "Most memory of the entries.",
        caches.store().max_size() as f64,
    );
}
