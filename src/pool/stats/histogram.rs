//! How long things took, by bucket: what one worker writes, and the sum over workers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the buckets, in microseconds; the last bucket has none. At most one of them lies
/// between a power of two and the next, which is what makes [`bucket`] short.
pub const BOUNDS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    10_000_000, 60_000_000,
];

/// One more than there are bounds.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// By the number of digits that a number has in binary: the bucket of the smallest such number.
const FIRST: [u8; 65] = {
    let mut first = [0; 65];
    let (mut digits, mut bucket) = (1, 0);
    while digits <= 64 {
        while bucket < BOUNDS.len() && BOUNDS[bucket] < 1 << (digits - 1) {
            bucket += 1;
        }
        first[digits] = bucket as u8;
        digits += 1;
    }
    first
};

#[inline]
fn bucket(micros: u64) -> usize {
    let first = usize::from(FIRST[64 - micros.leading_zeros() as usize]);
    match BOUNDS.get(first) {
        Some(bound) => first + usize::from(micros > *bound),
        None => first,
    }
}

/// Durations, as one thread has seen them. As with [`Counter`](super::Counter), one writer at a time.
///
/// Two cache lines, of which the first has what is written for anything up to 10 ms.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Histogram {
    sum: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Histogram {
    #[inline]
    pub fn observe(&self, micros: u64) {
        let count = &self.buckets[bucket(micros)];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let sum = self.sum.load(Ordering::Relaxed);
        self.sum.store(sum.wrapping_add(micros), Ordering::Relaxed);
    }

    /// Microseconds, of all that was observed.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

/// The sum of [`Histogram`]s.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Distribution {
    /// Microseconds.
    pub sum: u64,
    /// How many in each bucket, not counting those of the buckets before.
    pub buckets: [u64; BUCKETS],
}

impl Distribution {
    pub fn add(&mut self, histogram: &Histogram) {
        self.sum = self.sum.wrapping_add(histogram.sum());
        for (all, one) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *all += one.load(Ordering::Relaxed);
        }
    }

    pub fn merge(&mut self, other: &Distribution) {
        self.sum = self.sum.wrapping_add(other.sum);
        for (all, one) in self.buckets.iter_mut().zip(other.buckets) {
            *all += one;
        }
    }
}

/// What of a pool is measured.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub wait: Distribution,
    pub query: Distribution,
    pub transaction: Distribution,
    pub server: Distribution,
}

impl Times {
    pub fn merge(&mut self, other: &Times) {
        self.wait.merge(&other.wait);
        self.query.merge(&other.query);
        self.transaction.merge(&other.transaction);
        self.server.merge(&other.server);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What [`bucket`] must say, without cleverness.
    fn searched(micros: u64) -> usize {
        BOUNDS.iter().take_while(|bound| micros > **bound).count()
    }

    #[test]
    fn bounds_and_their_neighbours() {
        assert!(BOUNDS.windows(2).all(|pair| pair[0] * 2 <= pair[1]));
        let near = BOUNDS.iter().flat_map(|b| [b - 1, *b, b + 1]);
        for micros in near.chain([0, 1, 2, u64::MAX - 1, u64::MAX]) {
            assert_eq!(bucket(micros), searched(micros), "{micros}");
        }
    }

    proptest! {
        #[test]
        fn any_duration_is_where_it_belongs(digits in 0u32..64, noise: u64) {
            let micros = noise >> digits;
            prop_assert_eq!(bucket(micros), searched(micros));
        }
    }

    #[test]
    fn what_is_observed_is_summed_up() {
        let (one, other) = (Histogram::default(), Histogram::default());
        [0, 100, 101, 70_000_000]
            .into_iter()
            .for_each(|m| one.observe(m));
        other.observe(3_000);
        let mut both = Distribution::default();
        both.add(&one);
        both.add(&other);
        assert_eq!(both.sum, 70_003_201);
        let mut wanted = [0; BUCKETS];
        (wanted[0], wanted[1], wanted[5], wanted[14]) = (2, 1, 1, 1);
        assert_eq!(both.buckets, wanted);
        let mut twice = both;
        twice.merge(&both);
        assert_eq!(
            twice.buckets.iter().sum::<u64>(),
            2 * both.buckets.iter().sum::<u64>()
        );
        assert_eq!(twice.sum, 2 * both.sum);
    }

    /// What each pool has of them for each worker.
    #[test]
    fn two_cache_lines() {
        assert_eq!(size_of::<Histogram>(), 128);
    }
}
