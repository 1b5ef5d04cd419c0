//! When connections are made, and how many.

use std::time::Instant;

use super::Core;

impl<S, W: Clone> Core<S, W> {
    /// A connection could not be made.
    pub fn connect_failed(&mut self) {
        self.connecting -= 1;
    }

    /// How many connections to start making now; they count as connecting from here on. `minimum`
    /// is how many there should be even if nobody waits.
    pub fn start_connecting(&mut self, now: Instant, minimum: usize) -> usize {
        if self.held {
            return 0;
        }
        let total = self.idle_count + self.lent + self.connecting;
        let mut allowed = self.limits.size;
        if self.limits.reserve > 0 && self.longest_wait(now) >= self.limits.reserve_timeout {
            allowed += self.limits.reserve;
        }
        let wanted = self
            .waiting
            .saturating_sub(self.connecting)
            .max(minimum.saturating_sub(total));
        let n = wanted
            .min(allowed.saturating_sub(total))
            .min(self.limits.max_connecting.saturating_sub(self.connecting));
        self.connecting += n;
        n
    }

    /// Whether [`Core::start_connecting`] could give more than zero; cheap.
    #[inline]
    pub fn may_connect(&self) -> bool {
        let total = self.idle_count + self.lent + self.connecting;
        !self.held
            && total < self.limits.size + self.limits.reserve
            && self.connecting < self.limits.max_connecting
    }
}
