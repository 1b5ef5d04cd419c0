//! Single flight: of many clients that miss on one key at once, one asks the server and the others
//! wait for what it gets.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

use super::entry::Entry;
use super::key::Key;
use super::mark::Snapshot;
use super::space::Space;

/// The fills that are under way for one database.
#[derive(Debug, Default)]
pub struct Flights(Mutex<HashMap<u128, Arc<Flight>, foldhash::fast::RandomState>>);

/// A fill that others can wait for.
#[derive(Debug)]
pub struct Flight {
    key: Box<[u8]>,
    /// What the one who asks the server went by.
    snapshot: Snapshot,
    /// Its reply will have the result's description.
    describes: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Flying(Vec<Waker>),
    Landed(Arc<Entry>),
    Failed,
}

/// What has become of a flight.
#[derive(Debug)]
pub enum News {
    NotYet,
    Landed(Arc<Entry>),
    /// The one who asked got nothing that can be shared.
    Failed,
}

/// What to do about a miss.
#[derive(Debug)]
pub enum Part {
    /// Ask the server, for the others, too.
    Lead(Lead),
    /// Somebody has asked already.
    Wait(Arc<Flight>),
    /// Ask the server for oneself: what was asked already may be older than this request.
    Alone,
}

/// The duty to tell those who wait; dropped, it tells them of a failure.
#[derive(Debug)]
pub struct Lead {
    space: Arc<Space>,
    hash: u128,
    flight: Arc<Flight>,
}

impl Flights {
    /// `snapshot` is of this very moment.
    pub fn part(
        space: &Arc<Space>,
        key: &Key,
        snapshot: &Snapshot,
        describes: bool,
        waker: &Waker,
    ) -> Part {
        let mut flights = space.flights.0.lock();
        if let Some(flight) = flights.get(&key.hash()) {
            // What held when it was asked holds now: the answer is as good as one asked for now.
            let same = flight.key[..] == *key.bytes() && flight.snapshot.same(snapshot);
            let described = flight.describes || !describes;
            if same && described && flight.join(waker) {
                return Part::Wait(Arc::clone(flight));
            }
            return Part::Alone;
        }
        let flight = Arc::new(Flight {
            key: key.bytes().into(),
            snapshot: snapshot.clone(),
            describes,
            state: Mutex::new(State::Flying(Vec::new())),
        });
        flights.insert(key.hash(), Arc::clone(&flight));
        Part::Lead(Lead {
            space: Arc::clone(space),
            hash: key.hash(),
            flight,
        })
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Flight {
    fn join(&self, waker: &Waker) -> bool {
        match &mut *self.state.lock() {
            State::Flying(waiting) => {
                waiting.push(waker.clone());
                true
            }
            _ => false,
        }
    }

    pub fn news(&self) -> News {
        match &*self.state.lock() {
            State::Flying(_) => News::NotYet,
            State::Landed(entry) => News::Landed(Arc::clone(entry)),
            State::Failed => News::Failed,
        }
    }
}

impl Lead {
    /// Gives those who wait what they wait for.
    pub fn land(self, entry: &Arc<Entry>) {
        self.tell(State::Landed(Arc::clone(entry)));
    }

    fn tell(&self, outcome: State) {
        self.space.flights.0.lock().remove(&self.hash);
        let before = {
            let mut state = self.flight.state.lock();
            if !matches!(*state, State::Flying(_)) {
                return;
            }
            std::mem::replace(&mut *state, outcome)
        };
        if let State::Flying(waiting) = before {
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // Once landed, there is nobody left to tell; but the place may be another's by then.
        if matches!(*self.flight.state.lock(), State::Flying(_)) {
            self.tell(State::Failed);
        }
    }
}

#[cfg(test)]
mod tests;
