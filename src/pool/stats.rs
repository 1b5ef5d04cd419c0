//! Counters of one pool, a shard for each worker so that nobody shares a cache line.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::session::link::Tally;

mod histogram;

pub use histogram::{BOUNDS, Distribution, Histogram, Times};

/// One worker's part. Written by that worker only.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Shard {
    pub times: Stopwatches,
    pub assignments: Counter,
    pub transactions: Counter,
    pub queries: Counter,
    pub errors: Counter,
    pub received: Counter,
    pub sent: Counter,
    pub server_received: Counter,
    pub server_sent: Counter,
    pub client_parses: Counter,
    pub server_parses: Counter,
    pub binds: Counter,
    /// Of prepared statements with a name, on server connections: found there, prepared there, and closed to
    /// make room for others.
    pub statement_hits: Counter,
    pub statement_misses: Counter,
    pub statement_evictions: Counter,
    pub logins: Counter,
    pub timeouts: Counter,
    pub cancels: Counter,
    pub pins: Counter,
    pub discards: Counter,
    /// Reads that went to a replica, and those that did not: because there was none, or because none was known
    /// to have a write of the client's.
    pub reads_replica: Counter,
    pub reads_nowhere: Counter,
    pub reads_own_write: Counter,
    /// Whatever else was asked of a pool whose reads go to replicas.
    pub not_reads: Counter,
}

/// How long things took.
#[derive(Debug, Default)]
pub struct Stopwatches {
    pub wait: Histogram,
    pub query: Histogram,
    pub transaction: Histogram,
    pub server: Histogram,
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
        self.statement_hits.add(u64::from(tally.statement_hits));
        self.statement_misses.add(u64::from(tally.statement_misses));
        self.statement_evictions
            .add(u64::from(tally.statement_evictions));
        *tally = Tally::default();
    }

    pub fn add_times(&self, times: &mut Times) {
        times.wait.add(&self.times.wait);
        times.query.add(&self.times.query);
        times.transaction.add(&self.times.transaction);
        times.server.add(&self.times.server);
    }
}

/// Counters, and the sums of what is timed.
macro_rules! totals {
    ($($field:ident),+; $($sum:ident: $time:ident),+) => {
        /// The sum of all shards.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct Totals {
            $(pub $field: u64,)+
            $(pub $sum: u64,)+
        }

        impl Totals {
            pub fn add(&mut self, shard: &Shard) {
                $(self.$field += shard.$field.get();)+
                $(self.$sum += shard.times.$time.sum();)+
            }
        }

        impl std::ops::Add for Totals {
            type Output = Totals;

            fn add(self, other: Totals) -> Totals {
                Totals {
                    $($field: self.$field + other.$field,)+
                    $($sum: self.$sum + other.$sum,)+
                }
            }
        }

        impl std::ops::Sub for Totals {
            type Output = Totals;

            /// Counters do not go back, but one may be forgotten with its pool.
            fn sub(self, other: Totals) -> Totals {
                Totals {
                    $($field: self.$field.saturating_sub(other.$field),)+
                    $($sum: self.$sum.saturating_sub(other.$sum),)+
                }
            }
        }
    };
}

totals!(
    assignments,
    transactions,
    queries,
    errors,
    received,
    sent,
    server_received,
    server_sent,
    client_parses,
    server_parses,
    binds,
    statement_hits,
    statement_misses,
    statement_evictions,
    logins,
    timeouts,
    cancels,
    pins,
    discards,
    reads_replica,
    reads_nowhere,
    reads_own_write,
    not_reads;
    transaction_micros: transaction,
    query_micros: query,
    wait_micros: wait
);

impl Totals {
    /// What was done in a period of this length, as PgBouncer logs it.
    pub fn sentence(&self, period: Duration) -> String {
        let second = |n: u64| (n as f64 / period.as_secs_f64().max(0.001)) as u64;
        format!(
            "stats: {} xacts/s, {} queries/s, {} client parses/s, {} server parses/s, {} binds/s, \
             in {} B/s, out {} B/s, xact {} us, query {} us, wait {} us",
            second(self.transactions),
            second(self.queries),
            second(self.client_parses),
            second(self.server_parses),
            second(self.binds),
            second(self.received),
            second(self.sent),
            self.transaction_micros / self.transactions.max(1),
            self.query_micros / self.queries.max(1),
            second(self.wait_micros),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a pool takes for each worker and for the control runtime; docs/observability.md says so.
    #[test]
    fn a_shard_is_small() {
        assert_eq!(size_of::<Shard>(), 768);
    }

    #[test]
    fn a_period_in_words() {
        let totals = Totals {
            transactions: 20,
            queries: 40,
            transaction_micros: 2000,
            query_micros: 2000,
            received: 1000,
            ..Totals::default()
        };
        let sentence = (totals + totals - totals).sentence(Duration::from_secs(10));
        assert_eq!(
            sentence,
            "stats: 2 xacts/s, 4 queries/s, 0 client parses/s, 0 server parses/s, 0 binds/s, \
             in 100 B/s, out 0 B/s, xact 100 us, query 50 us, wait 0 us"
        );
    }
}
