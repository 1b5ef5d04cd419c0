//! How often something may happen: so many times a second, and so many at once.
//!
//! The generic cell rate algorithm (ITU-T I.371), which is a token bucket in one number, so that no lock is
//! needed. Pure: time is an argument.

use std::sync::atomic::{AtomicU64, Ordering};

/// Times are in microseconds since any moment.
#[derive(Debug)]
pub struct Bucket {
    per_second: u32,
    burst: u32,
    /// When all that was allowed will have had its time, in nanoseconds.
    reserved: AtomicU64,
}

/// It would have to wait for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverRate;

const SECOND: u64 = 1_000_000_000;

impl Bucket {
    /// Both at least 1.
    pub fn new(per_second: u32, burst: u32) -> Bucket {
        Bucket {
            per_second: per_second.max(1),
            burst: burst.max(1),
            reserved: AtomicU64::new(0),
        }
    }

    pub fn is_like(&self, per_second: u32, burst: u32) -> bool {
        (self.per_second, self.burst) == (per_second.max(1), burst.max(1))
    }

    /// Takes one; gives when it may be used, which is `now` or later.
    ///
    /// # Errors
    /// That would be later than by `patience`; nothing is taken.
    pub fn take(&self, now: u64, patience: u64) -> Result<u64, OverRate> {
        let each = SECOND / u64::from(self.per_second);
        let span = each * u64::from(self.burst);
        let now_nanos = now.saturating_mul(1000);
        let latest = now_nanos.saturating_add(patience.saturating_mul(1000));
        let mut reserved = self.reserved.load(Ordering::Relaxed);
        loop {
            let new = reserved.max(now_nanos).saturating_add(each);
            let at = new.saturating_sub(span).max(now_nanos);
            if at > latest {
                return Err(OverRate);
            }
            let taken = self.reserved.compare_exchange_weak(
                reserved,
                new,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match taken {
                Ok(_) => return Ok(at.div_ceil(1000)),
                Err(other) => reserved = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_then_one_after_the_other() {
        let bucket = Bucket::new(10, 3);
        let now = 5_000_000;
        for _ in 0..3 {
            assert_eq!(bucket.take(now, u64::MAX), Ok(now));
        }
        assert_eq!(bucket.take(now, 99_999), Err(OverRate));
        assert_eq!(bucket.take(now, 100_000), Ok(now + 100_000));
        assert_eq!(bucket.take(now, u64::MAX), Ok(now + 200_000));
        // Two seconds later all is there again, and no more.
        let later = now + 2_000_000;
        for _ in 0..3 {
            assert_eq!(bucket.take(later, 0), Ok(later));
        }
        assert_eq!(bucket.take(later, 0), Err(OverRate));
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_rate_and_burst(
            per_second in 1u32..2000, burst in 1u32..100,
            gaps in prop::collection::vec(0u64..20_000, 1..500)
        ) {
            let bucket = Bucket::new(per_second, burst);
            let (mut now, mut at) = (1_000_000, Vec::new());
            for gap in gaps {
                now += gap;
                at.extend(bucket.take(now, 500_000));
            }
            at.sort_unstable();
            for (n, first) in at.iter().enumerate() {
                let within = at[n..].iter().take_while(|t| **t <= first + 1_000_000).count();
                prop_assert!(within as u64 <= u64::from(per_second) + u64::from(burst) + 1);
            }
        }
    }
}
