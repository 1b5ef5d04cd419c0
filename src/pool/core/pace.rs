//! How fast waiters are served: what a newcomer may expect.

use std::time::{Duration, Instant};

/// So many waiters must have been served without a break before anything is expected.
const ENOUGH: u32 = 64;
/// How much the latest interval counts.
const SHARE: f64 = 1.0 / 64.0;

/// Forgets everything when nobody waits.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When a waiter was served last.
    last: Option<Instant>,
    /// Between one and the next, in seconds, on average.
    interval: f64,
    seen: u32,
}

impl Pace {
    /// A waiter was served; `waiting` others are left.
    pub fn served(&mut self, waiting: usize, now: Instant) {
        if waiting == 0 {
            *self = Pace::default();
            return;
        }
        if let Some(last) = self.last {
            let latest = now.saturating_duration_since(last).as_secs_f64();
            self.seen = self.seen.saturating_add(1);
            // At first, the mean of all.
            let share = SHARE.max(1.0 / f64::from(self.seen));
            self.interval += (latest - self.interval) * share;
        }
        self.last = Some(now);
    }

    /// How long it takes until as many are served, and one more; `None`: too little is known.
    pub fn expected(&self, ahead: usize) -> Option<Duration> {
        let seconds = self.interval * (ahead as f64 + 1.0);
        (self.seen >= ENOUGH).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}
