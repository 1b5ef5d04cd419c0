//! Numbers of a pool, for those who look.

use std::time::{Duration, Instant};

use super::{Core, Slot};

/// Numbers for `SHOW POOLS` and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub idle: usize,
    pub lent: usize,
    /// Of those that are lent: the connections that are one client's own, and places for such.
    pub own: usize,
    pub connecting: usize,
    /// For a connection or for a place.
    pub waiting: usize,
    pub longest_wait: Duration,
}

impl Counts {
    /// No connection, and nobody who wants one.
    pub fn is_empty(&self) -> bool {
        self.idle + self.lent + self.connecting + self.waiting == 0
    }
}

impl<S, W: Clone> Core<S, W> {
    pub fn counts(&mut self, now: Instant) -> Counts {
        Counts {
            idle: self.idle_count,
            lent: self.lent,
            own: self.own,
            connecting: self.connecting,
            waiting: self.waiting + self.waiting_for_place,
            longest_wait: self.longest_wait(now).max(self.longest_wait_for_place(now)),
        }
    }

    /// How long the one has waited for a connection that has waited longest.
    pub(super) fn longest_wait(&mut self, now: Instant) -> Duration {
        let plain = (0..self.queues.len())
            .filter_map(|home| self.oldest(home))
            .min();
        let claimed = match self.fair.waiting() {
            0 => None,
            _ => self.oldest_claim(),
        };
        let since = plain.into_iter().chain(claimed).min();
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Who has waited longest need not be the next.
    fn oldest_claim(&self) -> Option<Instant> {
        let claims = self.slots.iter().filter_map(|(_, slot)| match slot {
            Slot::Waiting {
                since,
                claim: Some(_),
                ..
            } => Some(*since),
            _ => None,
        });
        claims.min()
    }
}
