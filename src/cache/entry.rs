//! A remembered reply: the server's own frames, and what they depend on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::mark::Snapshot;
use super::packed::Generations;
use super::rules::Life;
use crate::session::recording::Ending;

/// Beside its bytes, an entry costs this much memory: itself, its counters, its place in the store's
/// tables and queues. `tests/cache_memory.rs` holds it to what is measured.
pub const OVERHEAD: usize = 512;

#[derive(Debug)]
pub struct Entry {
    pub key: Box<[u8]>,
    /// RowDescription, if it was asked for.
    pub description: Option<Box<[u8]>>,
    /// DataRows and CommandComplete or ErrorResponse.
    pub rows: Box<[u8]>,
    pub ending: Ending,
    pub snapshot: Snapshot,
    /// By which it can be checked whether other instances have changed something.
    pub generations: Option<Generations>,
    /// Milliseconds on the process's clock.
    pub filled: u64,
    /// From then on it is not given any more, except while somebody gets a new one.
    pub expires: u64,
    /// From then on not even then.
    pub stale_until: u64,
    hits: AtomicU64,
    /// The moment until which somebody is taken to be getting a new one.
    renewing: AtomicU64,
}

/// Somebody who was told to get a new one is given this long, in milliseconds.
const RENEWAL: u64 = 10_000;

/// Whether an entry can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    Fresh,
    /// Its time is over, but somebody is getting a new one.
    Stale,
    Over,
}

impl Entry {
    pub fn new(
        key: Box<[u8]>,
        description: Option<Box<[u8]>>,
        rows: Box<[u8]>,
        snapshot: Snapshot,
        times: [u64; 3],
    ) -> Entry {
        let [filled, expires, stale_until] = times;
        Entry {
            key,
            description,
            rows,
            ending: Ending::Complete,
            snapshot,
            generations: None,
            filled,
            expires,
            stale_until,
            hits: AtomicU64::new(0),
            renewing: AtomicU64::new(0),
        }
    }

    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        let description = self.description.as_ref().map_or(0, |d| d.len());
        let generations = self.generations.as_ref().map_or(0, |g| g.len() * 16);
        let answer = description + self.rows.len();
        OVERHEAD + self.key.len() + answer + self.snapshot.weight() + generations
    }

    /// Whether it is all that is asked for by a request that wants a description, or none.
    pub fn is_enough(&self, describes: bool) -> bool {
        // Where binding has failed, nothing is described.
        let never = self.ending == Ending::Error { bound: false };
        !describes || self.description.is_some() || never
    }

    /// Asked by one who will get a new one if it is [`Age::Over`], and whose own rules may be stricter than those
    /// by which it was kept.
    #[inline]
    pub fn age(&self, now: u64, life: &Life) -> Age {
        let millis = |time: Duration| time.as_millis() as u64;
        let (ttl, stale) = life.of(self.ending);
        let expires = self.expires.min(self.filled.saturating_add(millis(ttl)));
        if now < expires {
            return Age::Fresh;
        }
        if now >= self.stale_until.min(expires.saturating_add(millis(stale))) {
            return Age::Over;
        }
        let renewing = self.renewing.load(Ordering::Relaxed);
        let taken = now >= renewing
            && self
                .renewing
                .compare_exchange(
                    renewing,
                    now + RENEWAL,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if taken { Age::Over } else { Age::Stale }
    }

    pub fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::mark::{Marks, Snapshot};
    use super::*;

    #[test]
    fn one_renews_while_the_others_get_the_old_one() {
        let marks: Marks = Vec::new().into();
        let snapshot = Snapshot::take(&marks).unwrap();
        let entry = Entry::new(
            Box::default(),
            None,
            Box::default(),
            snapshot,
            [0, 100, 50_000],
        );
        let life = life(100, 50_000);
        assert_eq!(entry.age(99, &life), Age::Fresh);
        assert_eq!(entry.age(100, &life), Age::Over);
        assert_eq!(entry.age(101, &life), Age::Stale);
        // That one has failed.
        assert_eq!(entry.age(101 + RENEWAL, &life), Age::Over);
        assert_eq!(entry.age(102 + RENEWAL, &life), Age::Stale);
        assert_eq!(entry.age(50_000, &life), Age::Over);
    }

    fn life(ttl: u64, stale: u64) -> Life {
        Life {
            ttl: Duration::from_millis(ttl),
            stale: Duration::from_millis(stale),
            errors: Duration::ZERO,
            passing: false,
        }
    }

    /// Two pools, users or applications with other rules have the same answers.
    #[test]
    fn who_wants_younger_answers_gets_no_older_ones() {
        let marks: Marks = Vec::new().into();
        let snapshot = Snapshot::take(&marks).unwrap();
        let times = [1000, 61_000, 61_000];
        let entry = Entry::new(Box::default(), None, Box::default(), snapshot, times);
        assert_eq!(entry.age(5999, &life(5000, 0)), Age::Fresh);
        assert_eq!(entry.age(6000, &life(5000, 0)), Age::Over);
        assert_eq!(entry.age(6000, &life(3_600_000, 0)), Age::Fresh);
        assert_eq!(entry.age(61_000, &life(3_600_000, 9000)), Age::Over);
    }
}
