//! What is worth storing: where almost nothing is asked for twice, an answer must have been asked for
//! before.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Requests between two looks at how useful it was.
const PERIOD: u64 = 4096;
/// Fewer hits than one of so many misses are a waste.
const MISSES_A_HIT: u64 = 8;
const SLOTS: usize = 1 << 16;

#[derive(Debug)]
pub struct Admission {
    hits: AtomicU64,
    misses: AtomicU64,
    is_choosy: AtomicBool,
    /// Keys that were asked for, by a part of their hash; another part is the place.
    seen: Box<[AtomicU32]>,
}

impl Default for Admission {
    fn default() -> Admission {
        Admission {
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            is_choosy: AtomicBool::new(false),
            seen: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
        }
    }
}

impl Admission {
    #[inline]
    pub fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is of no use to look for a request: where almost nothing is asked for twice, only
    /// what was asked for before is stored, and this was not. It counts as a miss, and is known from
    /// now on, unless another takes its place.
    #[inline]
    pub fn is_new(&self, hash: u128) -> bool {
        if !self.is_choosy.load(Ordering::Relaxed) {
            return false;
        }
        // Zero is an empty slot.
        let tag = (hash >> 96) as u32 | 1;
        let slot = &self.seen[hash as usize % SLOTS];
        let new = slot.load(Ordering::Relaxed) != tag;
        if new {
            slot.store(tag, Ordering::Relaxed);
            self.miss();
        }
        new
    }

    /// A request was looked for in vain.
    #[inline]
    pub fn miss(&self) {
        let misses = self.misses.fetch_add(1, Ordering::Relaxed) + 1;
        if misses >= PERIOD {
            let hits = self.hits.swap(0, Ordering::Relaxed);
            self.misses.store(0, Ordering::Relaxed);
            let wasted = hits * MISSES_A_HIT < misses;
            self.is_choosy.store(wasted, Ordering::Relaxed);
        }
    }

    /// Whether it stores only what was asked for before.
    pub fn is_choosy(&self) -> bool {
        self.is_choosy.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u128 {
        u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    #[test]
    fn it_becomes_choosy_where_storing_is_a_waste_and_back() {
        let admission = Admission::default();
        for n in 1..PERIOD {
            assert!(!admission.is_new(hash(n)));
            admission.miss();
        }
        admission.miss();
        assert!(admission.is_choosy());
        let new = hash(1_000_000);
        assert!(admission.is_new(new), "asked for once");
        assert!(!admission.is_new(new), "asked for again");
        for n in 0..2 * PERIOD {
            admission.hit();
            admission.is_new(hash(2_000_000 + n));
        }
        assert!(!admission.is_choosy());
        assert!(!admission.is_new(hash(5_000_000)));
    }
}
