//! What is shown of the query cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::page::{Page, seconds};
use super::table::{self, Counter};
use crate::admin::console::Console;
use crate::cache::counters::{BYPASSES, Counters};
use crate::cache::pool::PoolCache;
use crate::cache::space::{Invalidations, Space};
use crate::pool::Pool;

/// The labels of [`BYPASSES`].
pub(super) const BYPASS_REASONS: [&str; BYPASSES.len()] = {
    let mut reasons = [""; BYPASSES.len()];
    let mut n = 0;
    while n < reasons.len() {
        reasons[n] = BYPASSES[n].1;
        n += 1;
    }
    reasons
};

/// A counter of a pool's cache.
type CacheCounter = (&'static Counter<2>, fn(&Counters) -> &AtomicU64);

static COUNTERS: &[CacheCounter] = &[
    (&table::CACHE_HITS, |c| &c.hits),
    (&table::CACHE_HITS_IN_BLOCK, |c| &c.hits_in_block),
    (&table::CACHE_STALE_HITS, |c| &c.stale_hits),
    (&table::CACHE_ERROR_HITS, |c| &c.error_hits),
    (&table::CACHE_MISSES, |c| &c.misses),
    (&table::CACHE_JOINED, |c| &c.joined),
    (&table::CACHE_STORED, |c| &c.stored),
    (&table::CACHE_OVERTAKEN, |c| &c.overtaken),
    (&table::CACHE_UNFIT, |c| &c.unfit),
    (&table::CACHE_OUTDATED, |c| &c.outdated),
    (&table::CACHE_EXPIRED, |c| &c.expired),
];

/// Invalidations by what caused them.
type Cause = (&'static str, fn(&Invalidations) -> &AtomicU64);

const CAUSES: &[Cause] = &[
    ("tables", |i| &i.relations),
    ("unknown", |i| &i.everything),
    ("flush", |i| &i.flushes),
    ("in_doubt", |i| &i.in_doubt),
];

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn up(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// `millis` of a lag.
fn lag(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

/// Nothing where no pool has a cache.
pub(super) fn render(console: &Console, pools: &[Arc<Pool>], page: &mut Page) {
    let caches = console.pools().caches();
    let with_cache = pools.iter().filter_map(|pool| {
        let cache = pool.settings().cache.clone()?;
        Some((pool, cache))
    });
    let with_cache: Vec<_> = with_cache.collect();
    if with_cache.is_empty() {
        return;
    }
    for (pool, cache) in &with_cache {
        of_pool(pool, cache, page);
    }
    for space in caches.spaces() {
        of_space(&space, console.now(), page);
    }
    render_shared(console, page);
    let (entries, bytes) = caches.store().usage();
    page.gauge(&table::CACHE_ENTRIES, [], entries as f64);
    page.gauge(&table::CACHE_SIZE, [], bytes as f64);
    let max = caches.store().max_size();
    page.gauge(&table::CACHE_MAX_SIZE, [], max as f64);
}

fn of_pool(pool: &Pool, cache: &PoolCache, page: &mut Page) {
    let (database, user): (&str, &str) = (&pool.database, &pool.user);
    let counters = &cache.counters;
    for (counter, value) in COUNTERS {
        page.counter(counter, [database, user], read(value(counters)));
    }
    let age = seconds(read(&counters.age_at_hit) * 1000);
    page.seconds(&table::CACHE_HIT_AGE, [database, user], age);
    let fill = seconds(read(&counters.fill_micros));
    page.seconds(&table::CACHE_FILL, [database, user], fill);
    for (why, reason) in BYPASSES {
        let bypassed = counters.bypassed(why);
        page.counter(&table::CACHE_BYPASSES, [database, user, reason], bypassed);
    }
}

fn of_space(space: &Space, now: u64, page: &Page) {
    let (database, follow) = ([&*space.name], &space.follow);
    if follow.is_demanded() {
        let counters = &follow.counters;
        page.counter(&table::FEED_LOSSES, database, read(&counters.losses));
        page.counter(&table::FEED_EVENTS, database, read(&counters.events));
        page.gauge(&table::FEED_UP, database, up(follow.allows(now)));
        if let Some(behind) = follow.lag(now) {
            page.gauge(&table::FEED_LAG, database, lag(behind));
        }
    }
    for (cause, value) in CAUSES {
        let of = [&*space.name, *cause];
        let value = read(value(&space.invalidations));
        page.counter(&table::CACHE_INVALIDATIONS, of, value);
    }
}

fn render_shared(console: &Console, page: &Page) {
    let Some(tier) = &console.pools().shared().tier else {
        return;
    };
    let now = console.now();
    for (what, value) in tier.counters.all() {
        page.counter(&table::SHARED, [what], value);
    }
    let openings = tier.breaker.openings();
    page.counter(&table::SHARED, ["breaker_openings"], openings);
    let followed = tier.is_connected() && tier.follow.allows(now);
    page.gauge(&table::SHARED_UP, [], up(followed));
    if let Some(behind) = tier.follow.lag(now) {
        page.gauge(&table::SHARED_LAG, [], lag(behind));
    }
}
