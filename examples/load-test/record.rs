//! What users report, gathered without them waiting for each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::client::Failure;
use crate::work::Kind;

/// Users share a lock with an eighth of the others.
const SHARDS: usize = 8;
/// Longest time that is told apart from longer ones, in microseconds.
const LONGEST: u64 = 600_000_000;

/// Times in microseconds, to a thousandth.
pub type Times = Histogram<u32>;

/// An empty set of times.
pub fn times() -> Times {
    // Only a lower bound of 0, an upper one below 2, or more than five digits are refused.
    Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds are right")
}

/// What has happened since it was last taken.
pub struct Tally {
    pub kinds: Vec<Times>,
    pub logins: Times,
    /// How late users came to ask, after their time to think was over: the load generator's doing.
    pub late: Times,
}

impl Tally {
    fn new() -> Tally {
        Tally {
            kinds: Kind::ALL.iter().map(|_| times()).collect(),
            logins: times(),
            late: times(),
        }
    }

    /// All kinds together.
    pub fn all(&self) -> Times {
        let mut sum = times();
        for kind in &self.kinds {
            add(&mut sum, kind);
        }
        sum
    }

    fn absorb(&mut self, other: &Tally) {
        for (mine, others) in self.kinds.iter_mut().zip(&other.kinds) {
            add(mine, others);
        }
        add(&mut self.logins, &other.logins);
        add(&mut self.late, &other.late);
    }

    fn reset(&mut self) {
        self.kinds.iter_mut().for_each(Times::reset);
        self.logins.reset();
        self.late.reset();
    }
}

fn add(to: &mut Times, more: &Times) {
    to.add(more).expect("all have the same bounds");
}

/// The last second's answers.
pub struct Second {
    pub times: Times,
    pub failed: u64,
}

struct Shard {
    tally: Tally,
    second: Times,
}

/// Failures by what they are counted as, with how often, and the first one in full.
pub type Failures = BTreeMap<String, (u64, String)>;

#[derive(Default)]
struct Failed {
    all: Failures,
    in_second: u64,
}

pub struct Recorder {
    shards: Vec<Mutex<Shard>>,
    failed: Mutex<Failed>,
    online: AtomicI64,
}

impl Recorder {
    pub fn new() -> Recorder {
        let shard = || Shard {
            tally: Tally::new(),
            second: times(),
        };
        Recorder {
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            failed: Mutex::default(),
            online: AtomicI64::new(0),
        }
    }

    pub fn answered(&self, user: usize, kind: Kind, took: Duration) {
        let mut shard = self.shards[user % SHARDS].lock();
        shard.tally.kinds[kind as usize].saturating_record(micros(took));
        shard.second.saturating_record(micros(took));
    }

    pub fn logged_in(&self, user: usize, took: Duration) {
        self.online.fetch_add(1, Ordering::Relaxed);
        let mut shard = self.shards[user % SHARDS].lock();
        shard.tally.logins.saturating_record(micros(took));
    }

    pub fn gone(&self) {
        self.online.fetch_sub(1, Ordering::Relaxed);
    }

    /// Users that are logged in.
    pub fn online(&self) -> usize {
        self.online.load(Ordering::Relaxed).try_into().unwrap_or(0)
    }

    pub fn late(&self, user: usize, by: Duration) {
        let mut shard = self.shards[user % SHARDS].lock();
        shard.tally.late.saturating_record(micros(by));
    }

    pub fn failed(&self, what: &str, failure: &Failure) {
        let mut failed = self.failed.lock();
        failed.in_second += 1;
        let entry = failed
            .all
            .entry(format!("{what}: {}", failure.label()))
            .or_insert_with(|| (0, format!("{failure:?}")));
        entry.0 += 1;
    }

    /// Everything since the last call; begins anew.
    pub fn take(&self) -> Tally {
        let mut sum = Tally::new();
        for shard in &self.shards {
            let mut shard = shard.lock();
            sum.absorb(&shard.tally);
            shard.tally.reset();
        }
        sum
    }

    /// The same for failures, which no phase may lose.
    pub fn take_failures(&self) -> Failures {
        std::mem::take(&mut self.failed.lock().all)
    }

    /// What the time series is made of.
    pub fn take_second(&self) -> Second {
        let mut sum = times();
        for shard in &self.shards {
            let mut shard = shard.lock();
            add(&mut sum, &shard.second);
            shard.second.reset();
        }
        let failed = std::mem::take(&mut self.failed.lock().in_second);
        Second { times: sum, failed }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(LONGEST).max(1)
}

/// How many, and what is told of them in tables; in milliseconds, NaN for none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spread {
    pub count: u64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl From<&Times> for Spread {
    fn from(times: &Times) -> Spread {
        if times.is_empty() {
            return Spread {
                count: 0,
                p50: f64::NAN,
                p95: f64::NAN,
                p99: f64::NAN,
                max: f64::NAN,
            };
        }
        let at = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
        Spread {
            count: times.len(),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: times.max() as f64 / 1000.0,
        }
    }
}
