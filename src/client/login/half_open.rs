//! Connections that have not logged in yet, and which of them goes when there are too many: the oldest
//! that has not said yet what it wants, or else one that takes very long; if there is none, the new one is
//! refused. So neither those who only hold connections open keep others out, nor does a crowd of honest
//! clients end its own logins.
//!
//! Pure: time is an argument. Generic over what ends a connection.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A login that has taken longer than this may have to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// By number; numbers grow, so the first is the oldest.
#[derive(Debug)]
pub struct HalfOpen<E> {
    /// They have not said yet what they want.
    silent: BTreeMap<u64, E>,
    /// They are logging in, since then.
    busy: BTreeMap<u64, (Instant, E)>,
}

/// What becomes of a new connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry<E> {
    /// It is in; the other one, if any, has to go.
    In(Option<E>),
    Refused,
}

impl<E> Default for HalfOpen<E> {
    fn default() -> HalfOpen<E> {
        HalfOpen {
            silent: BTreeMap::new(),
            busy: BTreeMap::new(),
        }
    }
}

impl<E> HalfOpen<E> {
    /// A new connection, where there may be `limit`; 0 is unlimited. It must leave.
    pub fn enter(&mut self, id: u64, end: E, limit: usize, now: Instant) -> Entry<E> {
        let mut evicted = None;
        if limit > 0 && self.count() >= limit {
            evicted = self.make_room(now);
            if evicted.is_none() {
                return Entry::Refused;
            }
        }
        self.silent.insert(id, end);
        Entry::In(evicted)
    }

    fn make_room(&mut self, now: Instant) -> Option<E> {
        if let Some((_, end)) = self.silent.pop_first() {
            return Some(end);
        }
        let (_, (since, _)) = self.busy.first_key_value()?;
        if now.saturating_duration_since(*since) <= PATIENCE {
            return None;
        }
        self.busy.pop_first().map(|(_, (_, end))| end)
    }

    /// It has said what it wants.
    pub fn spoke(&mut self, id: u64, now: Instant) {
        if let Some(end) = self.silent.remove(&id) {
            self.busy.insert(id, (now, end));
        }
    }

    /// It has shown who it is, or is gone.
    pub fn leave(&mut self, id: u64) {
        if self.silent.remove(&id).is_none() {
            self.busy.remove(&id);
        }
    }

    fn count(&self) -> usize {
        self.silent.len() + self.busy.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_oldest_that_has_said_nothing_goes_first() {
        let (mut all, t) = (HalfOpen::default(), Instant::now());
        for id in 1..=3 {
            assert_eq!(all.enter(id, id, 3, t), Entry::In(None));
        }
        all.spoke(1, t);
        assert_eq!(all.enter(4, 4, 3, t), Entry::In(Some(2)));
        assert_eq!(all.enter(5, 5, 3, t), Entry::In(Some(3)));
        assert_eq!(all.count(), 3);
    }

    #[test]
    fn who_is_logging_in_stays_and_new_ones_are_refused() {
        let (mut all, t) = (HalfOpen::default(), Instant::now());
        for id in 1..=2 {
            all.enter(id, id, 2, t);
            all.spoke(id, t + Duration::from_secs(id));
        }
        assert_eq!(all.enter(3, 3, 2, t + PATIENCE), Entry::Refused);
        // But not for ever.
        let late = t + PATIENCE + Duration::from_millis(1500);
        assert_eq!(all.enter(4, 4, 2, late), Entry::In(Some(1)));
        all.leave(2);
        all.leave(4);
        assert_eq!(all.count(), 0);
    }

    proptest! {
        #[test]
        fn there_are_never_more_than_may_be(
            ops in prop::collection::vec((0u8..3, 0u64..50, 0u16..5000), 1..300)
        ) {
            let (mut all, mut now) = (HalfOpen::default(), Instant::now());
            let mut there = std::collections::BTreeSet::new();
            for (next, (what, which, millis)) in ops.into_iter().enumerate() {
                now += Duration::from_millis(millis.into());
                match what {
                    0 => {
                        let id = next as u64;
                        if let Entry::In(evicted) = all.enter(id, id, 5, now) {
                            there.insert(id);
                            prop_assert!(evicted.is_none_or(|id| there.remove(&id)));
                        }
                    }
                    1 => all.spoke(which, now),
                    _ => {
                        all.leave(which);
                        there.remove(&which);
                    }
                }
                prop_assert!(all.count() <= 5);
                prop_assert_eq!(all.count(), there.len());
            }
        }
    }
}
