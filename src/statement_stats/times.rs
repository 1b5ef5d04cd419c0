//! How long something took, how often: in classes, each by half or a third wider than the one before.

use std::sync::atomic::{AtomicU32, Ordering};

/// Up to about half a minute; the last class has all that took longer.
pub const CLASSES: usize = 50;

/// Counted by one thread at a time.
#[derive(Debug)]
pub struct Times([AtomicU32; CLASSES]);

impl Default for Times {
    fn default() -> Times {
        Times(std::array::from_fn(|_| AtomicU32::new(0)))
    }
}

/// 0, 1, 2, 3, 4..5, 6..7, 8..11, 12..15, 16..23 and so on.
fn class(micros: u64) -> usize {
    if micros < 2 {
        return micros as usize;
    }
    let octave = micros.ilog2() as usize;
    let upper_half = micros >> (octave - 1) & 1;
    (2 * octave + upper_half as usize).min(CLASSES - 1)
}

/// The shortest time of a class.
fn begin(class: usize) -> u64 {
    match class {
        0 | 1 => class as u64,
        _ => (2 + (class as u64 & 1)) << (class / 2 - 1),
    }
}

impl Times {
    #[inline]
    pub fn add(&self, micros: u64) {
        let count = &self.0[class(micros)];
        let now = count.load(Ordering::Relaxed);
        count.store(now.saturating_add(1), Ordering::Relaxed);
    }

    pub fn add_to(&self, sums: &mut [u64; CLASSES]) {
        for (sum, count) in sums.iter_mut().zip(&self.0) {
            *sum += u64::from(count.load(Ordering::Relaxed));
        }
    }
}

/// The time that this part of all (0 to 1) did not exceed, about: within a class, times are taken to be spread
/// evenly.
pub fn quantile(counts: &[u64; CLASSES], part: f64) -> u64 {
    let all: u64 = counts.iter().sum();
    let wanted = (all as f64 * part).ceil() as u64;
    let mut before = 0;
    for (class, count) in counts.iter().enumerate() {
        if *count > 0 && before + count >= wanted {
            let (from, to) = (begin(class), begin(class + 1));
            let within = (wanted - before) as f64 / *count as f64;
            return from + ((to - 1 - from) as f64 * within) as u64;
        }
        before += count;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_without_gaps() {
        let mut last = 0;
        for micros in 0..100_000 {
            let class = class(micros);
            assert!(class == last || class == last + 1, "{micros}");
            assert!(
                begin(class) <= micros && micros < begin(class + 1),
                "{micros}"
            );
            last = class;
        }
        assert_eq!(class(u64::MAX), CLASSES - 1);
        assert!(begin(CLASSES - 1) > 25_000_000);
    }

    #[test]
    fn quantiles_are_about_right() {
        let times = Times::default();
        for micros in 1..=10_000 {
            times.add(micros);
        }
        let mut counts = [0; CLASSES];
        times.add_to(&mut counts);
        for (part, expected) in [(0.5, 5000.0), (0.95, 9500.0), (0.99, 9900.0)] {
            let got = quantile(&counts, part) as f64;
            assert!((got / expected - 1.0).abs() < 0.3, "{part}: {got}");
        }
        assert_eq!(quantile(&[0; CLASSES], 0.95), 0);
        let mut one = [0; CLASSES];
        one[class(100)] = 1;
        assert!((96..128).contains(&quantile(&one, 0.95)));
    }
}
