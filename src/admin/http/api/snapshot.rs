//! How things stand: pools, hosts, the cache, and the newest sample. Bounded, however many pools there
//! are, and computed at most once a second, however many ask.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use parking_lot::Mutex;
use serde::Serialize;

use super::super::reply::written;
use super::super::sampler::{self, COLUMNS, Sample};
use super::super::site::Site;
use crate::admin::console::Console;
use crate::client::info::State;
use crate::pool::Pool;
use crate::pool::registry::pausing::Holds;
use crate::server::hosts::Standing;

/// So many pools and hosts are shown: the busiest.
const POOLS_MAX: usize = 200;
const HOSTS_MAX: usize = 100;
/// As long as that it is given again.
const FRESH: Duration = Duration::from_millis(900);

/// The newest snapshot, as JSON.
#[derive(Debug, Default)]
pub(in crate::admin::http) struct Snapshots(Mutex<Option<(Instant, Bytes)>>);

impl Snapshots {
    pub fn get(&self, site: &Site) -> Bytes {
        // Who comes meanwhile waits, and gets the same.
        let mut newest = self.0.lock();
        if let Some((at, json)) = &*newest
            && at.elapsed() < FRESH
        {
            return json.clone();
        }
        let json = written(&Snapshot::of(site));
        *newest = Some((Instant::now(), json.clone()));
        json
    }
}

#[derive(Serialize)]
struct Snapshot {
    version: &'static str,
    pid: u32,
    uptime_seconds: u64,
    /// "active", "paused", "suspended" or "shutting down".
    state: &'static str,
    /// Names of what is in the sample.
    columns: [&'static str; COLUMNS.len()],
    sample: Sample,
    pools: Vec<PoolRow>,
    /// Of how many.
    pools_total: usize,
    hosts: Vec<HostRow>,
    hosts_total: usize,
    /// `None`: no pool remembers answers.
    cache: Option<CacheRow>,
    /// Number of the newest event.
    last_event: u64,
}

#[derive(Serialize)]
struct PoolRow {
    database: String,
    user: String,
    mode: &'static str,
    clients: u64,
    clients_active: u64,
    waiting: usize,
    longest_wait_ms: u64,
    servers_active: usize,
    servers_idle: usize,
    servers_connecting: usize,
    /// Most server connections.
    size: usize,
    paused: bool,
    disabled: bool,
    /// Why it cannot reach its server, if it cannot.
    trouble: Option<String>,
    queries: u64,
    transactions: u64,
    errors: u64,
    query_micros: u64,
    wait_micros: u64,
    assignments: u64,
    /// What was answered from memory, and what could have been; `None`: it remembers nothing.
    hits: Option<u64>,
    misses: Option<u64>,
}

#[derive(Serialize)]
struct HostRow {
    host: String,
    port: u16,
    role: &'static str,
    lag_seconds: Option<f64>,
    breaker: &'static str,
    failures: u32,
    opened: u64,
    connecting: u32,
}

#[derive(Serialize)]
struct CacheRow {
    entries: u64,
    bytes: u64,
    max_bytes: u64,
}

impl Snapshot {
    fn of(site: &Site) -> Snapshot {
        let console = &site.console;
        let newest = site.history.lock().newest();
        let state = match (console.is_draining(), sampler::held(console.pools().held())) {
            (true, _) => "shutting down",
            (_, held) => held.unwrap_or("active"),
        };
        let (pools, pools_total) = pools(console);
        let mut hosts = hosts(console);
        let hosts_total = hosts.len();
        hosts.truncate(HOSTS_MAX);
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_seconds: console.now() / 1000,
            state,
            columns: COLUMNS,
            sample: newest.unwrap_or_else(|| sampler::sample(console)),
            cache: cache(console),
            pools,
            pools_total,
            hosts,
            hosts_total,
            last_event: console.journal().last(),
        }
    }
}

/// Clients of a pool.
#[derive(Default, Clone, Copy)]
struct Crowd {
    all: u64,
    active: u64,
}

impl Crowd {
    fn add(&mut self, state: State) {
        self.all += 1;
        self.active += u64::from(state == State::Active);
    }
}

type Names<'a> = (&'a str, &'a str);

fn pools(console: &Console) -> (Vec<PoolRow>, usize) {
    let clients = console.directory().all();
    let mut by_user: HashMap<Names<'_>, Crowd> = HashMap::new();
    let mut by_database: HashMap<&str, Crowd> = HashMap::new();
    for client in &clients {
        let (database, user) = (&*client.database, &*client.user);
        by_user
            .entry((database, user))
            .or_default()
            .add(client.state());
        by_database.entry(database).or_default().add(client.state());
    }
    let crowd = |pool: &Pool| {
        // With a forced server user all clients of a database share the pool.
        let found = match pool.settings().database.user.is_some() {
            true => by_database.get(&*pool.database),
            false => by_user.get(&(&*pool.database, &*pool.user)),
        };
        found.copied().unwrap_or_default()
    };
    let mut all = console.pools().all();
    let total = all.len();
    if total > POOLS_MAX {
        all.sort_by_cached_key(|pool| {
            let counts = pool.counts();
            Reverse((counts.waiting, counts.lent, crowd(pool).all, counts.idle))
        });
        all.truncate(POOLS_MAX);
        all.sort_by(|a, b| (&a.database, &a.user).cmp(&(&b.database, &b.user)));
    }
    let holds = console.pools().holds();
    let rows = all.iter().map(|pool| pool_row(pool, crowd(pool), &holds));
    (rows.collect(), total)
}

fn pool_row(pool: &Pool, crowd: Crowd, holds: &Holds) -> PoolRow {
    let (counts, totals, settings) = (pool.counts(), pool.totals(), pool.settings());
    let counters = settings.cache.as_ref().map(|cache| &cache.counters);
    let trouble = match pool.is_reachable() {
        true => None,
        false => pool.outage().map(|outage| outage.message),
    };
    PoolRow {
        database: pool.database.to_string(),
        user: pool.user.to_string(),
        mode: settings.mode.as_str(),
        clients: crowd.all,
        clients_active: crowd.active,
        waiting: counts.waiting,
        longest_wait_ms: counts.longest_wait.as_millis() as u64,
        servers_active: counts.lent,
        servers_idle: counts.idle,
        servers_connecting: counts.connecting,
        size: settings.database.pool_size,
        paused: holds.of(&pool.database).is_some(),
        disabled: holds.disabled().any(|name| *name == *pool.database),
        trouble,
        queries: totals.queries,
        transactions: totals.transactions,
        errors: totals.errors,
        query_micros: totals.query_micros,
        wait_micros: totals.wait_micros,
        assignments: totals.assignments,
        hits: counters.map(|c| c.hits.load(Ordering::Relaxed)),
        misses: counters.map(|c| c.misses.load(Ordering::Relaxed)),
    }
}

fn hosts(console: &Console) -> Vec<HostRow> {
    let rows = console.pools().hosts().into_iter();
    let rows = rows.map(|row| HostRow {
        lag_seconds: match row.standing {
            Standing::Replica { lag } => Some(lag.as_secs_f64()),
            _ => None,
        },
        role: row.standing.label(),
        breaker: row.breaker.label(),
        failures: row.failures,
        opened: row.opened,
        connecting: row.connecting,
        host: row.host,
        port: row.port,
    });
    rows.collect()
}

fn cache(console: &Console) -> Option<CacheRow> {
    let pools = console.pools().all();
    let remembers = |pool: &Arc<Pool>| {
        pool.settings()
            .cache
            .as_ref()
            .is_some_and(|c| c.rules.enabled)
    };
    if !pools.iter().any(remembers) {
        return None;
    }
    let caches = console.pools().caches();
    let (entries, bytes) = caches.store().usage();
    Some(CacheRow {
        entries,
        bytes,
        max_bytes: caches.store().max_size(),
    })
}
