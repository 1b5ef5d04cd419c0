//! What is counted and timed of a pool, and which pools' times are shown one by one. Anybody may make pools, if the configuration lets any name pass,
//! and a histogram has many lines: those that come when there are enough already are shown together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::{Pool, Shared};
use crate::pool::stats::{Times, Totals};
use crate::session::fault::Fault;
use crate::telemetry::events::{Here, Timeout};
use crate::worker::Home;

/// So many pools have histograms of their own.
pub const NAMED_MAX: usize = 100;

/// What a process knows of it.
#[derive(Debug, Default)]
pub struct Series {
    named: Arc<AtomicUsize>,
    /// Of pools that had none of their own and are gone: a sum must not become less.
    gone: Mutex<Times>,
}

/// Its pool has histograms of its own, as long as it exists: it does not lose them to others, nor get them
/// later, because all sums would jump then.
#[derive(Debug)]
pub struct Named(Arc<AtomicUsize>);

impl Drop for Named {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Series {
    pub(super) fn name(&self) -> Option<Named> {
        let one_more = |named: usize| (named < NAMED_MAX).then_some(named + 1);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        let named = self.named.fetch_update(set, get, one_more);
        named.ok().map(|_| Named(Arc::clone(&self.named)))
    }

    /// A pool leaves the list.
    pub(super) fn retire(&self, pool: &Pool) {
        if !pool.has_own_series() {
            self.gone.lock().merge(&pool.times());
        }
    }

    /// Of the pools that are gone. For a true sum nobody may take one off the list meanwhile.
    pub(super) fn gone(&self) -> Times {
        *self.gone.lock()
    }
}

impl Shared {
    /// What the code on `home` counts there.
    pub fn events_at(&self, home: Home) -> &Here {
        self.events.at(home.index(self.workers))
    }
}

impl Pool {
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.add_totals(&mut totals);
        totals
    }

    /// Adds this pool's counters to those of others.
    pub fn add_totals(&self, totals: &mut Totals) {
        self.shards.iter().for_each(|s| totals.add(s));
    }

    /// How long things took for its clients.
    pub fn times(&self) -> Times {
        let mut times = Times::default();
        self.shards.iter().for_each(|s| s.add_times(&mut times));
        times
    }

    pub fn has_own_series(&self) -> bool {
        self.named.is_some()
    }

    /// A limit of time was over for one of its clients.
    pub fn note_timeout(&self, home: Home, which: Timeout) {
        self.shard(home).timeouts.add(1);
        self.shared.events_at(home).timeouts.count(which);
    }

    /// One of its clients is given an error that no server has sent.
    pub fn note_fault(&self, home: Home, why: Fault) {
        self.shared.events_at(home).faults.count(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_come_back() {
        let series = Series::default();
        let mut named: Vec<_> = (0..NAMED_MAX).map(|_| series.name()).collect();
        assert!(named.iter().all(Option::is_some));
        assert!(series.name().is_none());
        named.pop();
        assert!(series.name().is_some());
    }
}
