//! What the open transaction of a server connection has written.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Oid;
use super::mark::Mark;
use super::planted::{Bug, is_planted};
use super::space::Space;

/// Belongs to the server connection, because the transaction does: a client may be gone before it
/// is over.
///
/// Dropped with a commit under way, the outcome is in doubt, and counts as a commit.
#[derive(Debug, Default)]
pub struct Writes {
    space: Option<Arc<Space>>,
    marks: Vec<Arc<Mark>>,
    /// So many of the marks are pending.
    published: usize,
    /// Something was sent that may commit, so what comes behind it may be committed, too.
    exposed: bool,
    /// The schema may have changed.
    schema: bool,
    /// So may have roles.
    everywhere: bool,
    /// So many of the marks other instances have been told of, where they must be.
    leased: usize,
    /// It has ended with changes that others are to be told of first.
    ended: bool,
    /// What [`Space::schema`] was when the first of them was noted.
    schema_before: u64,
}

/// What a statement may change.
#[derive(Debug, Clone)]
pub enum Change {
    Relations(Box<[Arc<Mark>]>),
    /// It cannot be told what; with `schema` perhaps even tables and functions themselves.
    Everything {
        schema: bool,
    },
    /// The same, and roles, which all databases of the server have in common.
    Everywhere,
}

impl Writes {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// A statement that does this is about to be forwarded.
    pub fn note(&mut self, space: &Arc<Space>, change: &Change) {
        if self.marks.is_empty() {
            self.space = Some(Arc::clone(space));
            self.schema_before = space.schema();
        }
        if is_planted(Bug::NoInvalidation) {
            return;
        }
        match change {
            Change::Relations(marks) => marks.iter().for_each(|m| self.add(m)),
            Change::Everywhere => {
                self.everywhere = true;
                self.note(space, &Change::Everything { schema: true });
            }
            Change::Everything { schema } => {
                self.add(space.whole());
                if *schema && !self.schema {
                    self.schema = true;
                    space.schema_may_change();
                }
            }
        }
    }

    fn add(&mut self, mark: &Arc<Mark>) {
        if !self.marks.iter().any(|m| Arc::ptr_eq(m, mark)) {
            self.marks.push(Arc::clone(mark));
        }
    }

    pub fn is_exposed(&self) -> bool {
        self.exposed
    }

    /// What is about to be forwarded may commit what was noted.
    pub fn publish(&mut self) {
        self.exposed = true;
        if is_planted(Bug::TooEarly) {
            self.marks.drain(..).for_each(|m| m.bump());
        }
        for mark in &self.marks[self.published..] {
            mark.begin();
        }
        self.published = self.marks.len();
    }

    /// What others must be told is pending before anything more is forwarded, where they must be
    /// told; it counts as told then.
    #[inline]
    pub fn to_lease(&mut self) -> Option<(Arc<Space>, Vec<Oid>)> {
        if self.leased >= self.published {
            return None;
        }
        let space = self.space.as_ref().filter(|space| space.is_strict())?;
        let new = self.marks[self.leased..self.published].iter();
        let oids = new.map(|mark| mark.oid).collect();
        self.leased = self.published;
        if is_planted(Bug::NoLease) {
            return None;
        }
        Some((Arc::clone(space), oids))
    }

    /// Whether it has just ended with changes that others must be told of before the client is.
    #[inline]
    pub fn take_ended(&mut self) -> bool {
        std::mem::take(&mut self.ended)
    }

    /// The transaction is over; what was published may have been committed.
    pub fn end(&mut self) {
        self.exposed = false;
        let Some(space) = self.space.take() else {
            return;
        };
        // The rest was rolled back: nothing was sent that could have committed it.
        self.marks.truncate(self.published);
        if self.marks.is_empty() {
            self.schema = false;
            return;
        }
        let whole = self.marks.iter().any(|m| Arc::ptr_eq(m, space.whole()));
        if self.schema {
            // Before anything is settled: who finds nothing pending must find this.
            space.schema_may_change();
        } else if !whole && space.schema() != self.schema_before {
            // It may have been judged by a schema that was another one when it ran.
            space.whole().bump();
        }
        let counter = if whole {
            &space.invalidations.everything
        } else {
            &space.invalidations.relations
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if std::mem::take(&mut self.everywhere) {
            space.flush_neighbours();
        }
        self.marks.iter().for_each(|m| m.bump());
        self.marks.iter().for_each(|m| m.end());
        self.marks.clear();
        self.published = 0;
        self.leased = 0;
        self.schema = false;
        self.ended = space.is_strict();
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        let Some(space) = self.space.take() else {
            return;
        };
        if self.schema {
            space.schema_may_change();
        }
        // What was never published was never committed: the server rolls it back.
        self.marks.truncate(self.published);
        if self.marks.is_empty() {
            return;
        }
        if self.everywhere {
            space.flush_neighbours();
        }
        let whole = self.marks.iter().any(|m| Arc::ptr_eq(m, space.whole()));
        if !whole && space.schema() != self.schema_before {
            // It may have been judged by a schema that was another one when it ran.
            space.whole().begin();
            self.marks.push(Arc::clone(space.whole()));
        }
        space.doubt(std::mem::take(&mut self.marks));
    }
}

#[cfg(test)]
mod tests {
    use super::super::mark::{Marks, Snapshot};
    use super::*;
    use std::time::{Duration, Instant};

    fn relations(space: &Space, oids: &[u32]) -> Change {
        Change::Relations(oids.iter().map(|o| space.mark(*o)).collect())
    }

    fn reads(space: &Space, oids: &[u32]) -> Marks {
        let own = oids.iter().map(|o| space.mark(*o));
        std::iter::once(Arc::clone(space.whole()))
            .chain(own)
            .collect()
    }

    #[test]
    fn a_write_counts_from_its_publication_to_its_end() {
        let space = Space::new("d".to_owned());
        let (a, b) = (reads(&space, &[1]), reads(&space, &[2]));
        let (on_a, on_b) = (Snapshot::take(&a).unwrap(), Snapshot::take(&b).unwrap());
        let mut writes = Writes::default();
        writes.note(&space, &relations(&space, &[1, 1]));
        assert!(on_a.holds(), "an open transaction changes nothing yet");
        writes.publish();
        assert!(!on_a.holds() && on_b.holds());
        writes.note(&space, &relations(&space, &[2]));
        assert!(on_b.holds() && writes.is_exposed());
        writes.end();
        assert!(
            on_a.is_outdated() && on_b.holds(),
            "what was not published was rolled back"
        );
        writes.note(&space, &relations(&space, &[2]));
        writes.end();
        assert!(on_b.holds() && !writes.is_exposed());
        assert!(Snapshot::take(&a).is_some() && Snapshot::take(&b).is_some());
        // Nothing is left over for the next transaction.
        let (on_a, on_b) = (Snapshot::take(&a).unwrap(), Snapshot::take(&b).unwrap());
        writes.end();
        drop(writes);
        assert!(on_a.holds() && on_b.holds());
    }

    #[test]
    fn everything_is_every_relation_and_perhaps_the_schema() {
        let space = Space::new("d".to_owned());
        let a = reads(&space, &[1]);
        let schema = space.schema();
        let mut writes = Writes::default();
        writes.note(&space, &Change::Everything { schema: false });
        writes.publish();
        assert!(Snapshot::take(&a).is_none());
        writes.end();
        assert_eq!(space.schema(), schema);
        writes.note(&space, &Change::Everything { schema: true });
        let during = space.schema();
        assert_ne!(during, schema);
        writes.publish();
        writes.end();
        assert_ne!(
            space.schema(),
            during,
            "what was read meanwhile is outdated, too"
        );
    }

    #[test]
    fn a_lost_connection_leaves_a_doubt_if_a_commit_was_under_way() {
        let space = Space::new("d".to_owned());
        let a = reads(&space, &[1]);
        let before = Snapshot::take(&a).unwrap();
        let mut writes = Writes::default();
        writes.note(&space, &relations(&space, &[1]));
        drop(writes);
        assert!(before.holds(), "no commit was sent");
        let mut writes = Writes::default();
        writes.note(&space, &relations(&space, &[1]));
        writes.publish();
        drop(writes);
        assert!(before.is_outdated() && space.is_in_doubt());
        assert!(Snapshot::take(&a).is_none());
        space.settle_doubts(Instant::now());
        assert!(Snapshot::take(&a).is_none());
        space.settle_doubts(Instant::now() + Duration::from_secs(60));
        assert!(Snapshot::take(&a).is_some() && !space.is_in_doubt());
        // What another process does is not this one's doubt; a write is, until it is over.
        let held: Arc<dyn std::any::Any + Send + Sync> = Arc::new(());
        space.wait_for(Arc::downgrade(&held));
        assert!(!space.is_in_doubt());
        writes = Writes::default();
        writes.note(&space, &Change::Everything { schema: false });
        writes.publish();
        assert!(space.is_in_doubt());
        writes.end();
        assert!(!space.is_in_doubt());
    }

    /// What is done where a write is over is done where it may be.
    #[test]
    fn a_doubt_reaches_as_far_as_a_write() {
        let (space, other) = (Space::new("d".to_owned()), Space::new("e".to_owned()));
        space.set_neighbours(vec![Arc::downgrade(&other)]);
        let near = reads(&other, &[1]);
        let before = Snapshot::take(&near).unwrap();
        let mut writes = Writes::default();
        writes.note(&space, &Change::Everywhere);
        writes.publish();
        drop(writes);
        assert!(before.is_outdated(), "a role may have changed");
        // Judged by a schema that was another one when it ran.
        let space = Space::new("d".to_owned());
        let untouched = reads(&space, &[7]);
        let before = Snapshot::take(&untouched).unwrap();
        let mut writes = Writes::default();
        writes.note(&space, &relations(&space, &[1]));
        space.schema_may_change();
        writes.publish();
        drop(writes);
        assert!(before.is_outdated());
        assert!(Snapshot::take(&untouched).is_none());
        space.settle_doubts(Instant::now() + Duration::from_secs(60));
        assert!(Snapshot::take(&untouched).is_some());
    }

    #[test]
    fn a_schema_that_changed_meanwhile_makes_a_write_one_of_everything() {
        let space = Space::new("d".to_owned());
        let other = reads(&space, &[7]);
        let before = Snapshot::take(&other).unwrap();
        let mut writes = Writes::default();
        writes.note(&space, &relations(&space, &[1]));
        space.schema_may_change();
        writes.publish();
        writes.end();
        assert!(before.is_outdated());
    }
}
