//! When to stop asking somebody who does not answer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// So many failures one after the other open it.
const FAILURES: u32 = 5;
/// Milliseconds for which it is open then, which double with each failure that follows.
const FIRST: u64 = 500;
const LONGEST: u64 = 10_000;

/// Closed, everything goes through; open, nothing; and after a while one attempt.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: AtomicU32,
    /// Milliseconds on the process's clock.
    open_until: AtomicU64,
    openings: AtomicU64,
}

impl Breaker {
    /// Whether an attempt may be made.
    pub fn allows(&self, now: u64) -> bool {
        let until = self.open_until.load(Ordering::Relaxed);
        if now < until {
            return false;
        }
        if self.failures.load(Ordering::Relaxed) < FAILURES {
            return true;
        }
        // Half open: the one who moves the time on makes the attempt.
        let next = now + self.rest();
        self.open_until
            .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    fn rest(&self) -> u64 {
        let more = self
            .failures
            .load(Ordering::Relaxed)
            .saturating_sub(FAILURES);
        FIRST.saturating_mul(1 << more.min(10)).min(LONGEST)
    }

    pub fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.open_until.store(0, Ordering::Relaxed);
    }

    pub fn failed(&self, now: u64) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= FAILURES {
            self.open_until.store(now + self.rest(), Ordering::Relaxed);
            if failures == FAILURES {
                self.openings.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES
    }

    /// How often it has opened.
    pub fn openings(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_and_lets_one_through_now_and_then() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES {
            breaker.failed(0);
            assert!(breaker.allows(0) && !breaker.is_open());
        }
        breaker.failed(0);
        assert!(breaker.is_open() && !breaker.allows(FIRST - 1));
        assert!(breaker.allows(FIRST), "half open");
        assert!(!breaker.allows(FIRST), "one is enough");
        breaker.failed(FIRST);
        assert!(!breaker.allows(FIRST + 2 * FIRST - 1), "twice as long");
        assert!(breaker.allows(FIRST + 2 * FIRST));
        breaker.succeeded();
        assert!(breaker.allows(0) && !breaker.is_open());
        assert_eq!(breaker.openings(), 1);
    }
}
