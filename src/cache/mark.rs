//! Versions and pending writes: what makes an entry valid, and a fill.
//!
//! The rules are those of a sequence lock that many may hold. Before anything is forwarded that may
//! commit a write, each relation that it touches is *pending*; when the transaction is over, the
//! relation's *version* goes up, and only then it is no longer pending. Whoever finds that nothing
//! is pending, and afterwards the version that he knows, knows that between the two no commit can
//! have been acknowledged, and none been under way at the first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::Oid;
use super::outbox::Outbox;

/// One relation of a database, or the database as a whole.
#[derive(Debug, Default)]
pub struct Mark {
    /// 0 for the database.
    pub oid: Oid,
    version: AtomicU64,
    pending: AtomicU32,
    /// A feed reports its changes; see [`super::follow`].
    covered: AtomicBool,
    /// Where other instances are told of changes.
    outbox: Option<Arc<Outbox>>,
}

impl Mark {
    pub fn new(oid: Oid) -> Arc<Mark> {
        Arc::new(Mark {
            oid,
            ..Mark::default()
        })
    }

    /// One of which other instances are told.
    pub(super) fn shared(oid: Oid, outbox: Option<Arc<Outbox>>) -> Arc<Mark> {
        Arc::new(Mark {
            oid,
            outbox,
            ..Mark::default()
        })
    }

    /// Something is about to be forwarded that may commit a change of it.
    pub fn begin(&self) {
        self.pending.fetch_add(1, Ordering::SeqCst);
    }

    /// It has changed, perhaps.
    pub fn bump(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
        if let Some(outbox) = &self.outbox {
            outbox.push(self.oid);
        }
    }

    /// Another instance has changed it, perhaps.
    pub fn bump_from_peer(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// After [`Mark::begin`] and, if it may have changed, [`Mark::bump`].
    pub fn end(&self) {
        let before = self.pending.fetch_sub(1, Ordering::SeqCst);
        // The lease ends when nobody writes any longer, which is now.
        if let Some(outbox) = self.outbox.as_ref().filter(|o| o.is_strict())
            && before == 1
        {
            outbox.push(self.oid);
        }
    }

    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// By how many.
    pub fn times_pending(&self) -> usize {
        self.pending.load(Ordering::SeqCst) as usize
    }

    pub fn is_pending(&self) -> bool {
        self.pending.load(Ordering::SeqCst) > 0
    }

    pub fn is_covered(&self) -> bool {
        self.covered.load(Ordering::SeqCst)
    }

    /// Whoever is no longer covered has changed, perhaps.
    pub(super) fn set_covered(&self, covered: bool) {
        if self.covered.swap(covered, Ordering::SeqCst) && !covered {
            self.bump();
        }
    }

    /// The version, if nothing was pending before it was looked at. The order matters: see the
    /// module's text.
    #[inline]
    fn settled(&self) -> Option<u64> {
        let pending = self.pending.load(Ordering::SeqCst);
        let version = self.version.load(Ordering::SeqCst);
        (pending == 0).then_some(version)
    }
}

/// The marks of everything that an answer depends on.
pub type Marks = Arc<[Arc<Mark>]>;

/// Marks, and their versions at a moment at which nothing was pending on them.
#[derive(Debug, Clone)]
pub struct Snapshot {
    marks: Marks,
    versions: Box<[u64]>,
}

impl Snapshot {
    /// `None` if a write is pending on one of them.
    pub fn take(marks: &Marks) -> Option<Snapshot> {
        let versions: Option<Box<[u64]>> = marks.iter().map(|m| m.settled()).collect();
        Some(Snapshot {
            marks: Arc::clone(marks),
            versions: versions?,
        })
    }

    /// Whether nothing has changed since, and nothing is about to.
    #[inline]
    pub fn holds(&self) -> bool {
        let mut both = self.marks.iter().zip(&self.versions);
        both.all(|(mark, version)| mark.settled() == Some(*version))
    }

    /// Whether something has changed for good, so that it can never hold again.
    pub fn is_outdated(&self) -> bool {
        let mut both = self.marks.iter().zip(&self.versions);
        both.any(|(mark, version)| mark.version() != *version)
    }

    /// Whether both were taken of the same things in the same state.
    pub fn same(&self, other: &Snapshot) -> bool {
        let marks = self.marks.iter().zip(other.marks.iter());
        self.versions == other.versions && marks.into_iter().all(|(a, b)| Arc::ptr_eq(a, b))
    }

    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Bytes of memory, beside those of the marks, which are shared.
    pub fn weight(&self) -> usize {
        self.versions.len() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_write_forbids_and_a_finished_one_outdates() {
        let marks: Marks = vec![Mark::new(1), Mark::new(2)].into();
        let before = Snapshot::take(&marks).unwrap();
        assert!(before.holds());
        marks[1].begin();
        assert!(!before.holds() && !before.is_outdated());
        assert!(Snapshot::take(&marks).is_none());
        // Rolled back: nothing has changed.
        marks[1].end();
        assert!(before.holds());
        marks[1].begin();
        marks[1].bump();
        assert!(!before.holds() && before.is_outdated());
        marks[1].end();
        assert!(!before.holds());
        assert!(Snapshot::take(&marks).unwrap().holds());
    }

    #[test]
    fn writers_side_by_side() {
        let marks: Marks = vec![Mark::new(1)].into();
        marks[0].begin();
        marks[0].begin();
        marks[0].bump();
        marks[0].end();
        assert!(Snapshot::take(&marks).is_none(), "one is still at it");
        marks[0].bump();
        marks[0].end();
        assert!(Snapshot::take(&marks).is_some());
    }
}
