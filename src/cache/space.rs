//! One database on one server, whichever pools lead there: what its writes invalidate.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::Oid;
use super::flight::Flights;
use super::follow::Follow;
use super::mark::Mark;
use super::outbox::{Outbox, SCHEMA};
use super::planted::{Bug, is_planted};

/// So long a relation stays pending after the connection of a committing transaction was lost: its
/// server process may still be at the commit.
const DOUBT: Duration = Duration::from_secs(30);

/// Something that transactions hold.
type Unfollowed = Weak<dyn std::any::Any + Send + Sync>;

#[derive(Debug)]
pub struct Space {
    /// For people: `dbname at host:port`.
    pub name: Box<str>,
    /// What other instances are to be told, if there are any.
    outbox: Option<Arc<Outbox>>,
    whole: Arc<Mark>,
    relations: RwLock<HashMap<Oid, Arc<Mark>, foldhash::fast::RandomState>>,
    /// Counts what may have changed the schema.
    schema: AtomicU64,
    doubts: Mutex<Vec<(Instant, Vec<Arc<Mark>>)>>,
    /// Held by transactions whose writes are not followed.
    unfollowed: Mutex<Vec<Unfollowed>>,
    neighbours: Mutex<Vec<Weak<Space>>>,
    pub flights: Flights,
    /// Writes made elsewhere.
    pub follow: Follow,
    pub invalidations: Invalidations,
}

/// How often which kind of write has invalidated something.
#[derive(Debug, Default)]
pub struct Invalidations {
    pub relations: AtomicU64,
    pub everything: AtomicU64,
    pub flushes: AtomicU64,
    pub in_doubt: AtomicU64,
}

impl Space {
    pub fn new(name: String) -> Arc<Space> {
        Space::shared(name, None)
    }

    /// One whose changes other instances are told of.
    pub fn shared(name: String, outbox: Option<Arc<Outbox>>) -> Arc<Space> {
        Arc::new(Space {
            name: name.into(),
            whole: Mark::shared(0, outbox.clone()),
            outbox,
            relations: RwLock::default(),
            schema: AtomicU64::new(1),
            doubts: Mutex::default(),
            unfollowed: Mutex::default(),
            neighbours: Mutex::default(),
            flights: Flights::default(),
            follow: Follow::default(),
            invalidations: Invalidations::default(),
        })
    }

    /// The mark of the database as a whole: every answer depends on it.
    pub fn whole(&self) -> &Arc<Mark> {
        &self.whole
    }

    /// The mark of a relation, the same for as long as the process lives.
    pub fn mark(&self, oid: Oid) -> Arc<Mark> {
        if let Some(mark) = self.relations.read().get(&oid) {
            return Arc::clone(mark);
        }
        let mut relations = self.relations.write();
        let mark = relations.entry(oid).or_insert_with(|| {
            let mark = Mark::shared(oid, self.outbox.clone());
            // Under the lock, so that `cover` finds either the mark or its relation.
            mark.set_covered(self.follow.is_covered(oid));
            mark
        });
        Arc::clone(mark)
    }

    /// The feed reports changes of these, and of no others.
    pub fn cover(&self, oids: HashSet<Oid, foldhash::fast::RandomState>) {
        let relations = self.relations.write();
        for (oid, mark) in relations.iter() {
            mark.set_covered(oids.contains(oid));
        }
        self.follow.set_covered(oids);
    }

    /// The feed says that this has changed elsewhere.
    pub fn changed_elsewhere(&self, oid: Oid) {
        self.follow.counters.events.fetch_add(1, Ordering::Relaxed);
        // Without a mark nothing depends on it; a fill that takes one later reads what is there now.
        if let Some(mark) = self.relations.read().get(&oid)
            && !is_planted(Bug::Deaf)
        {
            mark.bump();
        }
    }

    /// The feed says that the schema has changed elsewhere.
    pub fn schema_changed_elsewhere(&self) {
        let count = &self.follow.counters.schema_events;
        count.fetch_add(1, Ordering::Relaxed);
        self.schema_may_change();
        self.flush();
    }

    /// All relations that were ever read or written through pgweir.
    pub fn relations(&self) -> Vec<Arc<Mark>> {
        self.relations.read().values().cloned().collect()
    }

    /// A number that changes whenever the schema may have changed.
    pub fn schema(&self) -> u64 {
        self.schema.load(Ordering::SeqCst)
    }

    pub fn schema_may_change(&self) {
        self.schema.fetch_add(1, Ordering::SeqCst);
        if let Some(outbox) = &self.outbox {
            outbox.push(SCHEMA);
        }
    }

    /// Other instances must be told of a write before it is acknowledged.
    pub fn is_strict(&self) -> bool {
        self.outbox
            .as_ref()
            .is_some_and(|outbox| outbox.is_strict())
    }

    /// Relations that are being written, and 0 if everything may be.
    pub fn pending(&self) -> Vec<Oid> {
        let relations = self.relations.read();
        let pending = relations.values().filter(|m| m.is_pending());
        let whole = std::iter::once(&self.whole).filter(|m| m.is_pending());
        pending.chain(whole).map(|m| m.oid).collect()
    }

    /// Whether a relation is being written.
    pub fn is_pending(&self, oid: Oid) -> bool {
        match oid {
            0 => self.whole.is_pending(),
            oid => self
                .relations
                .read()
                .get(&oid)
                .is_some_and(|m| m.is_pending()),
        }
    }

    pub fn outbox(&self) -> Option<&Arc<Outbox>> {
        self.outbox.as_ref()
    }

    /// Another instance has changed this, perhaps.
    pub fn changed_by_peer(&self, oid: Oid) {
        if is_planted(Bug::Deaf) {
            return;
        }
        match oid {
            0 => self.whole.bump_from_peer(),
            SCHEMA => {
                self.schema.fetch_add(1, Ordering::SeqCst);
                self.whole.bump_from_peer();
            }
            oid => {
                if let Some(mark) = self.relations.read().get(&oid) {
                    mark.bump_from_peer();
                }
            }
        }
    }

    /// Those of the same server that are not this one.
    pub fn set_neighbours(&self, neighbours: Vec<Weak<Space>>) {
        *self.neighbours.lock() = neighbours;
    }

    pub fn flush_neighbours(&self) {
        let neighbours = self.neighbours.lock();
        neighbours
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|s| s.flush());
    }

    /// Everything that is remembered of this database is outdated from now on.
    pub fn flush(&self) {
        self.invalidations.flushes.fetch_add(1, Ordering::Relaxed);
        self.whole.bump();
    }

    /// A connection was lost while these may have been committed.
    pub fn doubt(&self, marks: Vec<Arc<Mark>>) {
        self.invalidations.in_doubt.fetch_add(1, Ordering::Relaxed);
        marks.iter().for_each(|m| m.bump());
        self.doubts.lock().push((Instant::now() + DOUBT, marks));
    }

    /// Nothing is remembered before the last of the transactions is over that hold this: their
    /// writes are not followed.
    pub fn wait_for(&self, held: Unfollowed) {
        self.whole.begin();
        self.unfollowed.lock().push(held);
    }

    /// Whether a write may still be committed, or have been, though nobody is left who would hear of it.
    pub fn is_in_doubt(&self) -> bool {
        // Whatever is not followed holds the whole pending, too.
        let unfollowed = self.unfollowed.lock().len();
        let mut relations = self
            .pending()
            .into_iter()
            .filter(|oid| *oid != self.whole.oid);
        !self.doubts.lock().is_empty()
            || relations.next().is_some()
            || self.whole.times_pending() > unfollowed
    }

    /// Ends the doubts that are old enough. To be called from time to time.
    pub fn settle_doubts(&self, now: Instant) {
        self.unfollowed.lock().retain(|held| {
            let over = held.strong_count() == 0;
            if over {
                self.whole.bump();
                self.whole.end();
            }
            !over
        });
        self.doubts.lock().retain(|(until, marks)| {
            if now < *until {
                return true;
            }
            marks.iter().for_each(|m| {
                m.bump();
                m.end();
            });
            false
        });
    }
}
