//! Statistics of statements: what was asked how often, and what it took.
//!
//! Statements that differ in their constants only are one ([`normal`]); parameters are never looked at. Each
//! worker has a table of its own ([`recorder`]), in which an [`entry`] is counted on by that worker alone, without
//! a lock; who wants to see them adds the workers' entries up ([`top`]). A table keeps so many statements and
//! forgets those that are used least.
//!
//! Nothing here may hold up a client: what cannot be had at once is not counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::worker::Home;

pub mod entry;
pub mod normal;
pub mod recorder;
pub mod top;

mod recent;
mod skeleton;
mod times;

use entry::Entry;
use normal::looked_at;
use recorder::Recorder;

/// Whose statements: those of one pool.
#[derive(Debug, Clone)]
pub struct Owner {
    pub database: Arc<str>,
    pub user: Arc<str>,
    id: u64,
}

impl Owner {
    pub fn new(database: &Arc<str>, user: &Arc<str>) -> Owner {
        let id = hash(database.as_bytes()) ^ hash(user.as_bytes()).rotate_left(32);
        Owner {
            database: Arc::clone(database),
            user: Arc::clone(user),
            id,
        }
    }
}

/// The same for all instances of one version of pgweir.
fn hash(bytes: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = foldhash::quality::FixedState::with_seed(0x7374_6174).build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// What a text is found by. Of a long one, only the beginning counts.
pub fn text_key(text: &[u8]) -> u64 {
    hash(looked_at(text))
}

/// What all workers' tables have in common.
#[derive(Debug, Default)]
struct Common {
    /// Statements that each keeps; 0 for none.
    most: AtomicUsize,
    /// How often all was forgotten.
    epoch: AtomicU64,
    /// Statements that had to make room for others.
    evicted: AtomicU64,
}

/// The statistics of all statements.
#[derive(Debug)]
pub struct Statements {
    common: Arc<Common>,
    recorders: Box<[Recorder]>,
}

/// Where the statements of one client are counted.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    pub recorder: &'a Recorder,
    pub owner: &'a Owner,
}

impl Statements {
    pub fn new(workers: usize) -> Statements {
        let common = Arc::default();
        let recorders = (0..workers).map(|_| Recorder::new(Arc::clone(&common)));
        Statements {
            recorders: recorders.collect(),
            common,
        }
    }

    /// How many are kept, by each worker; 0 turns it off and forgets them.
    pub fn set_most(&self, most: usize) {
        self.common.most.store(most, Ordering::Relaxed);
        if most == 0 {
            self.reset();
        }
    }

    /// Where the worker at `home` counts statements of `owner`, if they are to be counted.
    #[inline]
    pub fn counted<'a>(&'a self, home: Home, owner: &'a Owner) -> Option<Counted<'a>> {
        let Home::Worker(number) = home else {
            return None;
        };
        let recorder = self.recorders.get(usize::from(number))?;
        (self.common.most.load(Ordering::Relaxed) > 0).then_some(Counted { recorder, owner })
    }

    /// Forgets all. What is running counts from now on.
    pub fn reset(&self) {
        self.common.epoch.fetch_add(1, Ordering::Relaxed);
        for recorder in &self.recorders {
            recorder.unlist();
        }
    }

    /// Statements that were forgotten because others were used more.
    pub fn evicted(&self) -> u64 {
        self.common.evicted.load(Ordering::Relaxed)
    }
}

impl Counted<'_> {
    /// The entry of a statement with this text; `None` if it cannot be had now, and for a text without a
    /// statement in it.
    #[inline]
    pub fn find_text(&self, text: recorder::Text<'_>) -> Option<Arc<Entry>> {
        self.recorder.find_text(self.owner, text)
    }

    /// The same of a text that is asked for only if its `key` is not known (see [`text_key`]).
    #[inline]
    pub fn find<'t>(
        &self,
        key: u64,
        text: impl FnOnce() -> recorder::Text<'t>,
    ) -> Option<Arc<Entry>> {
        self.recorder.find(self.owner, key, text)
    }
}

#[cfg(test)]
mod tests;
