//! Whether a statement is worth looking for: where its answers are hardly ever asked for twice,
//! looking for each costs more than it saves, so that only some are looked for.

use std::sync::atomic::{AtomicU32, Ordering};

/// Requests looked for between two judgements.
const PERIOD: u32 = 1024;
/// The same while few are looked for, so that a change is noticed as soon.
const COLD_PERIOD: u32 = PERIOD / ONE_OF;
/// Fewer hits than one of so many are not worth it.
const ASKED_A_HIT: u32 = 64;
/// Of those that are not worth it, one of so many is looked for.
const ONE_OF: u32 = 8;

/// Of one statement. Counts may be lost to races; nothing depends on single ones.
#[derive(Debug, Default)]
pub struct Worth {
    asked: AtomicU32,
    hits: AtomicU32,
    /// Zero where all are looked for; otherwise counts those that come.
    cold: AtomicU32,
}

impl Worth {
    /// Whether this request is to be looked for.
    #[inline]
    pub fn is_looked_for(&self) -> bool {
        let cold = self.cold.load(Ordering::Relaxed);
        if cold > 0 {
            let next = if cold == ONE_OF { 1 } else { cold + 1 };
            self.cold.store(next, Ordering::Relaxed);
            if next != 1 {
                return false;
            }
        }
        let asked = self.asked.load(Ordering::Relaxed) + 1;
        self.asked.store(asked, Ordering::Relaxed);
        let period = if cold > 0 { COLD_PERIOD } else { PERIOD };
        if asked >= period {
            let hits = self.hits.swap(0, Ordering::Relaxed);
            self.asked.store(0, Ordering::Relaxed);
            let is_cold = hits * ASKED_A_HIT < asked;
            self.cold.store(u32::from(is_cold), Ordering::Relaxed);
        }
        true
    }

    #[inline]
    pub fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub fn is_cold(&self) -> bool {
        self.cold.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_for(worth: &Worth, requests: u32, hits: bool) -> u32 {
        let each = (0..requests).filter(|_| {
            let looked = worth.is_looked_for();
            if looked && hits {
                worth.hit();
            }
            looked
        });
        each.count() as u32
    }

    #[test]
    fn what_is_never_hit_is_seldom_looked_for_until_it_is_hit_again() {
        let worth = Worth::default();
        assert_eq!(looked_for(&worth, PERIOD, false), PERIOD);
        assert!(worth.is_cold());
        assert_eq!(looked_for(&worth, 800, false), 100);
        assert!(worth.is_cold());
        // It takes no longer than it took to find it cold.
        looked_for(&worth, 2 * PERIOD, true);
        assert!(!worth.is_cold());
        assert_eq!(looked_for(&worth, 3 * PERIOD, true), 3 * PERIOD);
        // A hit now and then is worth it.
        for _ in 0..100 {
            looked_for(&worth, 50, false);
            looked_for(&worth, 1, true);
        }
        assert!(!worth.is_cold());
    }
}
