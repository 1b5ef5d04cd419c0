//! Places: room for a connection that is made for one client and closed with it, as replication
//! needs. A place counts as a connection from the moment that it is given.
//!
//! Whoever waits for one goes before those who wait for any connection: there are few of them, and
//! an idle connection is closed to make room.

use std::time::{Duration, Instant};

use super::{Core, Slot, Ticket, drop_stale};

/// A place that was given.
#[derive(Debug)]
pub struct GivenPlace<S, W> {
    /// Whom to wake.
    pub waker: W,
    /// Idle connections that are to be closed for it.
    pub evicted: Vec<S>,
}

/// What has become of a wait for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It must be given back with [`Core::give_back_place`].
    Given,
    /// There will be none; the pool knows why.
    Failed,
    NotYet,
}

impl<S, W: Clone> Core<S, W> {
    /// A place in the queue for a place in the pool, which [`Core::give_place`] gives; `None` if the
    /// queue is full.
    pub fn wait_for_place(&mut self, now: Instant, waker: &W) -> Option<Ticket> {
        if self.is_queue_full() {
            return None;
        }
        let ticket = self.new_slot(Slot::WaitingForPlace {
            waker: waker.clone(),
            since: now,
        });
        drop_stale(&mut self.places, &self.slots, self.waiting_for_place);
        self.places.push_back(ticket);
        self.waiting_for_place += 1;
        Some(ticket)
    }

    /// Gives the one that has waited longest its place, if there is room or idle connections can
    /// make some.
    pub fn give_place(&mut self, now: Instant) -> Option<GivenPlace<S, W>> {
        if self.held || self.waiting_for_place == 0 {
            return None;
        }
        let since = self.oldest_for_place()?;
        let mut allowed = self.limits.size;
        let waited = now.saturating_duration_since(since);
        if self.limits.reserve > 0 && waited >= self.limits.reserve_timeout {
            allowed += self.limits.reserve;
        }
        let total = self.idle_count + self.lent + self.connecting;
        let excess = (total + 1).saturating_sub(allowed);
        if excess > self.idle_count {
            return None;
        }
        let evicted = (0..excess).filter_map(|_| self.take_oldest_idle());
        let evicted = evicted.collect();
        let ticket = self.places.pop_front()?;
        let (_, slot) = &mut self.slots[ticket.slot as usize];
        let Slot::WaitingForPlace { waker, .. } = std::mem::replace(slot, Slot::Place) else {
            // oldest_for_place leaves one that waits in front.
            return None;
        };
        self.waiting_for_place -= 1;
        self.lent += 1;
        self.own += 1;
        Some(GivenPlace { waker, evicted })
    }

    /// What has become of the wait. Unless [`Place::NotYet`], the ticket is used up.
    pub fn take_place(&mut self, ticket: Ticket) -> Place {
        match self.slot(ticket) {
            Some(Slot::WaitingForPlace { .. }) => return Place::NotYet,
            Some(Slot::Place | Slot::Failed) => {}
            _ => return Place::Failed,
        }
        match self.free_slot(ticket) {
            Slot::Place => Place::Given,
            _ => Place::Failed,
        }
    }

    /// The connection in it is closed, or was never made.
    pub fn give_back_place(&mut self) {
        self.lent -= 1;
        self.own -= 1;
    }

    /// Somebody waits for a place: a connection that becomes free should be closed.
    #[inline]
    pub fn wants_place(&self) -> bool {
        self.waiting_for_place > 0 && !self.held
    }

    /// There will be no places any more. Gives whom to wake.
    pub fn fail_places(&mut self) -> Vec<W> {
        let mut wakers = Vec::new();
        while self.oldest_for_place().is_some() {
            let Some(ticket) = self.places.pop_front() else {
                break;
            };
            let (_, slot) = &mut self.slots[ticket.slot as usize];
            if let Slot::WaitingForPlace { waker, .. } = std::mem::replace(slot, Slot::Failed) {
                self.waiting_for_place -= 1;
                wakers.push(waker);
            }
        }
        wakers
    }

    pub(super) fn longest_wait_for_place(&mut self, now: Instant) -> Duration {
        let since = self.oldest_for_place();
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// When the oldest one began to wait. Drops cancelled tickets before it.
    fn oldest_for_place(&mut self) -> Option<Instant> {
        while let Some(&ticket) = self.places.front() {
            if let Some(Slot::WaitingForPlace { since, .. }) = self.slot(ticket) {
                return Some(*since);
            }
            self.places.pop_front();
        }
        None
    }

    fn take_oldest_idle(&mut self) -> Option<S> {
        let lists = self.idle.iter_mut().filter(|list| !list.is_empty());
        let list = lists.min_by_key(|list| list.front().map(|idle| idle.since))?;
        self.idle_count -= 1;
        list.pop_front().map(|idle| idle.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::core::{Checkout, Limits};

    fn core(size: usize, reserve: usize) -> Core<u32, u32> {
        let limits = Limits {
            size,
            reserve,
            reserve_timeout: Duration::from_secs(5),
            max_queue: 2,
            patience: Duration::from_millis(5),
            max_connecting: 8,
            round_robin: false,
        };
        Core::new(limits, 1)
    }

    /// Makes so many idle connections, from 1 up.
    fn fill(core: &mut Core<u32, u32>, count: u32, now: Instant) {
        assert_eq!(core.start_connecting(now, count as usize), count as usize);
        for server in 1..=count {
            core.connected(0, server, now + Duration::from_millis(server.into()));
        }
    }

    #[test]
    fn room_is_given_at_once_and_counts() {
        let (mut core, t) = (core(2, 0), Instant::now());
        let first = core.wait_for_place(t, &1).unwrap();
        let given = core.give_place(t).unwrap();
        assert_eq!((given.waker, given.evicted.len()), (1, 0));
        assert_eq!(core.take_place(first), Place::Given);
        let counts = core.counts(t);
        assert_eq!((counts.lent, counts.own, counts.waiting), (1, 1, 0));
        // Nothing is connected on its account, and only one place is left.
        assert_eq!(core.start_connecting(t, 5), 1);
        core.connect_failed();
        core.give_back_place();
        assert_eq!(core.start_connecting(t, 5), 2);
    }

    #[test]
    fn the_connection_that_was_idle_longest_makes_room() {
        let (mut core, t) = (core(2, 0), Instant::now());
        fill(&mut core, 2, t);
        core.wait_for_place(t, &9).unwrap();
        assert_eq!(core.give_place(t).unwrap().evicted, [1]);
        assert!(core.give_place(t).is_none());
        // One more place: the other, too; then nothing is left to close.
        core.wait_for_place(t, &10).unwrap();
        assert_eq!(core.give_place(t).unwrap().evicted, [2]);
        let last = core.wait_for_place(t, &11).unwrap();
        assert!(core.give_place(t).is_none());
        assert!(core.wants_place());
        assert_eq!(core.take_place(last), Place::NotYet);
        core.give_back_place();
        assert_eq!(core.give_place(t).unwrap().waker, 11);
    }

    #[test]
    fn a_pool_over_its_size_shrinks_to_it() {
        let (mut core, t) = (core(3, 0), Instant::now());
        fill(&mut core, 3, t);
        let limits = Limits {
            size: 2,
            ..core.limits
        };
        core.set_limits(limits);
        core.wait_for_place(t, &9).unwrap();
        assert_eq!(core.give_place(t).unwrap().evicted, [1, 2]);
    }

    #[test]
    fn the_reserve_is_for_those_who_have_waited() {
        let (mut core, t) = (core(1, 1), Instant::now());
        core.wait_for_place(t, &1).unwrap();
        assert!(core.give_place(t).is_some());
        core.wait_for_place(t, &2).unwrap();
        assert!(core.give_place(t).is_none());
        assert!(core.give_place(t + Duration::from_secs(5)).is_some());
    }

    #[test]
    fn nothing_is_given_while_it_is_held_or_to_who_has_left() {
        let (mut core, t) = (core(1, 0), Instant::now());
        core.hold(true, t);
        let gone = core.wait_for_place(t, &1).unwrap();
        core.wait_for_place(t, &2).unwrap();
        assert!(core.wait_for_place(t, &3).is_none(), "the queue is full");
        assert!(matches!(
            core.checkout(0, t, &3, |_| true),
            Checkout::Refused
        ));
        assert!(core.give_place(t).is_none() && !core.wants_place());
        core.hold(false, t);
        assert_eq!(core.cancel(gone), None);
        assert_eq!(core.give_place(t).unwrap().waker, 2);
        assert_eq!(core.counts(t).waiting, 0);
    }

    #[test]
    fn a_place_that_was_given_and_not_taken_comes_back() {
        let (mut core, t) = (core(1, 0), Instant::now());
        let ticket = core.wait_for_place(t, &1).unwrap();
        assert!(core.give_place(t).is_some());
        assert_eq!(core.cancel(ticket), None);
        assert!(core.counts(t).is_empty());
        let told = core.wait_for_place(t, &2).unwrap();
        assert_eq!(core.fail_places(), [2]);
        assert_eq!(core.take_place(told), Place::Failed);
        assert_eq!(core.counts(t).waiting, 0);
    }
}
