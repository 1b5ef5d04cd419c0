//! Writes made elsewhere: what a feed of them has told so far, and until when an answer may be
//! given by it.
//!
//! A feed that is followed says of a moment in the past: everything that was committed before it is
//! known here. An answer may be given for as long as that moment is no further away than the bound
//! that the operator chose; when it is, or the feed is lost, the cache is bypassed. Only relations
//! that the feed reports are answered for.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::Oid;
use super::mark::Mark;

/// How a database's feed is doing.
#[derive(Debug, Default)]
pub struct Follow {
    /// Nothing may be given without a feed.
    demanded: AtomicBool,
    /// Milliseconds on the process's clock: nothing may be given from then on.
    until: AtomicU64,
    /// The moment of which everything is known, on the same clock; 0 for none.
    known_at: AtomicU64,
    covered: RwLock<HashSet<Oid, foldhash::fast::RandomState>>,
    pub counters: FollowCounters,
    trouble: Mutex<Option<Arc<str>>>,
}

/// What a feed has done, in numbers.
#[derive(Debug, Default)]
pub struct FollowCounters {
    /// Relations that the feed said had changed; one that changes in two transactions counts twice.
    pub events: AtomicU64,
    /// Changes of the schema that the feed told of.
    pub schema_events: AtomicU64,
    /// How often it was lost after it had been followed.
    pub losses: AtomicU64,
}

impl Follow {
    /// From now on, or no longer, a feed is needed.
    pub fn demand(&self, demanded: bool) {
        self.demanded.store(demanded, Ordering::SeqCst);
    }

    pub fn is_demanded(&self) -> bool {
        self.demanded.load(Ordering::SeqCst)
    }

    /// Whether an answer may be given at this moment.
    #[inline]
    pub fn allows(&self, now: u64) -> bool {
        !self.demanded.load(Ordering::Relaxed) || now < self.until.load(Ordering::SeqCst)
    }

    /// Whether the feed reports changes of these.
    #[inline]
    pub fn covers(&self, marks: &[Arc<Mark>]) -> bool {
        !self.demanded.load(Ordering::Relaxed) || marks.iter().all(|m| m.oid == 0 || m.is_covered())
    }

    /// Everything that was committed before `asked` is known; answers may be given for `bound`
    /// milliseconds from then.
    pub fn known(&self, asked: u64, bound: u64) {
        self.known_at.fetch_max(asked, Ordering::SeqCst);
        self.until.fetch_max(asked + bound, Ordering::SeqCst);
        *self.trouble.lock() = None;
    }

    /// Nothing more is heard; `why` is for people. What is remembered must be flushed.
    pub fn lost(&self, why: &str) {
        if self.until.swap(0, Ordering::SeqCst) > 0 {
            self.counters.losses.fetch_add(1, Ordering::Relaxed);
        }
        *self.trouble.lock() = Some(why.into());
    }

    /// Milliseconds since the moment of which everything is known, if there was one.
    pub fn lag(&self, now: u64) -> Option<u64> {
        match self.known_at.load(Ordering::SeqCst) {
            0 => None,
            at => Some(now.saturating_sub(at)),
        }
    }

    /// Why it is not followed, if that is known.
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.trouble.lock().clone()
    }

    /// How many relations it reports.
    pub fn coverage(&self) -> usize {
        self.covered.read().len()
    }

    pub(super) fn is_covered(&self, oid: Oid) -> bool {
        self.covered.read().contains(&oid)
    }

    pub(super) fn set_covered(&self, oids: HashSet<Oid, foldhash::fast::RandomState>) {
        *self.covered.write() = oids;
    }
}

#[cfg(test)]
mod tests {
    use super::super::space::Space;
    use super::*;

    #[test]
    fn without_a_demand_everything_is_allowed() {
        let space = Space::new("d".to_owned());
        assert!(space.follow.allows(5) && space.follow.covers(&[space.mark(1)]));
        space.follow.demand(true);
        assert!(!space.follow.allows(5) && !space.follow.covers(&[space.mark(1)]));
        assert!(space.follow.covers(&[Arc::clone(space.whole())]));
    }

    #[test]
    fn answers_are_allowed_for_the_bound_and_not_after_a_loss() {
        let follow = Follow::default();
        follow.demand(true);
        follow.known(100, 50);
        assert!(follow.allows(149) && !follow.allows(150));
        // An older moment takes nothing back.
        follow.known(90, 50);
        assert!(follow.allows(149));
        assert_eq!(follow.lag(120), Some(20));
        follow.lost("gone");
        follow.lost("gone");
        assert!(!follow.allows(101));
        assert_eq!(follow.trouble().as_deref(), Some("gone"));
        assert_eq!(follow.counters.losses.load(Ordering::Relaxed), 1);
        follow.known(200, 50);
        assert!(follow.allows(201) && follow.trouble().is_none());
    }

    #[test]
    fn relations_are_covered_before_and_after_they_are_known() {
        let space = Space::new("d".to_owned());
        space.follow.demand(true);
        let one = space.mark(1);
        space.cover([1, 2].into_iter().collect());
        assert!(space.follow.covers(&[one.clone(), space.mark(2)]));
        assert!(!space.follow.covers(&[space.mark(3)]));
        let before = one.version();
        space.cover([2].into_iter().collect());
        assert!(!space.follow.covers(std::slice::from_ref(&one)));
        assert_ne!(one.version(), before, "what was remembered of it is over");
    }
}
