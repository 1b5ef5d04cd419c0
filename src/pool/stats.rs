//! Counters of one pool, a shard for each worker so that nobody shares a cache line.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::session::link::Tally;

/// One worker's part. Written by that worker only.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Shard {
    pub assignments: Counter,
    pub transactions: Counter,
    pub queries: Counter,
    pub errors: Counter,
    pub received: Counter,
    pub sent: Counter,
    pub transaction_micros: Counter,
    pub query_micros: Counter,
    pub wait_micros: Counter,
    pub client_parses: Counter,
    pub server_parses: Counter,
    pub binds: Counter,
    pub logins: Counter,
    pub timeouts: Counter,
    pub cancels: Counter,
    pub pins: Counter,
    pub discards: Counter,
}

/// A number that only grows. One writer at a time, so no read-modify-write instruction is needed;
/// where two threads do write, a count may be lost, never made up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, n: u64) {
        if n > 0 {
            let now = self.0.load(Ordering::Relaxed);
            self.0.store(now + n, Ordering::Relaxed);
        }
    }

    #[inline]
    pub fn add_time(&self, time: Duration) {
        self.add(time.as_micros() as u64);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Shard {
    #[inline]
    pub fn take(&self, tally: &mut Tally) {
        self.queries.add(u64::from(tally.queries));
        self.transactions.add(u64::from(tally.transactions));
        self.errors.add(u64::from(tally.errors));
        self.client_parses.add(u64::from(tally.client_parses));
        self.server_parses.add(u64::from(tally.server_parses));
        self.binds.add(u64::from(tally.binds));
        *tally = Tally::default();
    }
}

/// The sum of all shards.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    pub assignments: u64,
    pub transactions: u64,
    pub queries: u64,
    pub errors: u64,
    pub received: u64,
    pub sent: u64,
    pub transaction_micros: u64,
    pub query_micros: u64,
    pub wait_micros: u64,
    pub client_parses: u64,
    pub server_parses: u64,
    pub binds: u64,
    pub logins: u64,
    pub timeouts: u64,
    pub cancels: u64,
    pub pins: u64,
    pub discards: u64,
}

impl Totals {
    pub fn add(&mut self, shard: &Shard) {
        self.assignments += shard.assignments.get();
        self.transactions += shard.transactions.get();
        self.queries += shard.queries.get();
        self.errors += shard.errors.get();
        self.received += shard.received.get();
        self.sent += shard.sent.get();
        self.transaction_micros += shard.transaction_micros.get();
        self.query_micros += shard.query_micros.get();
        self.wait_micros += shard.wait_micros.get();
        self.client_parses += shard.client_parses.get();
        self.server_parses += shard.server_parses.get();
        self.binds += shard.binds.get();
        self.logins += shard.logins.get();
        self.timeouts += shard.timeouts.get();
        self.cancels += shard.cancels.get();
        self.pins += shard.pins.get();
        self.discards += shard.discards.get();
    }
}
