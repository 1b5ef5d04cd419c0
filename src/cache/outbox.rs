//! What has changed here, and other instances have not been told yet.
//!
//! A change is put in before its commit is acknowledged to anybody. As long as it is in here, what
//! the shared tier has of the relation may be older than an acknowledged commit, and is not looked
//! at.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Oid;
use super::mark::Mark;

/// Stands for the schema, among relations.
pub const SCHEMA: Oid = Oid::MAX;

/// Of one database.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    /// Rung when there is something to be sent.
    bell: Arc<Notify>,
    /// It must be sent before a write is acknowledged.
    strict: bool,
}

#[derive(Debug, Default)]
struct State {
    queued: BTreeSet<Oid>,
    /// Being sent.
    taken: BTreeSet<Oid>,
}

impl Outbox {
    pub fn new(bell: Arc<Notify>, strict: bool) -> Outbox {
        Outbox {
            state: Mutex::default(),
            bell,
            strict,
        }
    }

    pub fn is_strict(&self) -> bool {
        self.strict
    }

    pub fn push(&self, oid: Oid) {
        let new = self.state.lock().queued.insert(oid);
        if new {
            self.bell.notify_one();
        }
    }

    /// Whether one of these, or everything, is still to be told.
    pub fn owes(&self, marks: &[Arc<Mark>]) -> bool {
        let state = self.state.lock();
        if state.queued.is_empty() && state.taken.is_empty() {
            return false;
        }
        let owed = |oid: Oid| state.queued.contains(&oid) || state.taken.contains(&oid);
        owed(SCHEMA) || marks.iter().any(|m| owed(m.oid))
    }

    /// What is to be sent now, with what could not be sent before. [`Outbox::sent`] must be called
    /// when it has arrived.
    pub fn take(&self) -> Vec<Oid> {
        let mut state = self.state.lock();
        let queued = std::mem::take(&mut state.queued);
        state.taken.extend(queued);
        state.taken.iter().copied().collect()
    }

    pub fn sent(&self) {
        self.state.lock().taken.clear();
    }

    /// How many relations are still to be told.
    pub fn len(&self) -> usize {
        let state = self.state.lock();
        state.queued.len() + state.taken.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_sent_is_owed_until_it_is() {
        let outbox = Outbox::new(Arc::default(), false);
        let marks = |oids: &[Oid]| oids.iter().map(|o| Mark::new(*o)).collect::<Vec<_>>();
        assert!(!outbox.owes(&marks(&[0, 1])));
        outbox.push(1);
        assert!(outbox.owes(&marks(&[0, 1])) && !outbox.owes(&marks(&[0, 2])));
        assert_eq!(outbox.take(), [1]);
        assert!(outbox.owes(&marks(&[1])), "it has not arrived");
        outbox.push(2);
        // The first time failed.
        assert_eq!(outbox.take(), [1, 2]);
        outbox.push(2);
        outbox.sent();
        assert!(outbox.owes(&marks(&[2])) && !outbox.owes(&marks(&[1])));
        outbox.push(SCHEMA);
        assert!(outbox.owes(&marks(&[7])));
    }
}
