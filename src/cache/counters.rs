//! What the cache of one pool has done, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a request was not looked for in memory, although its text may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Bypass {
    /// A write to something that the answer depends on is being committed.
    Pending,
    /// The session, a rule or a hint turns it off.
    Off,
    /// A row limit, several executions before one Sync, or a message that has not come whole.
    Protocol,
    /// A parameter may be a date relative to now.
    DateWord,
    /// The statement is not one of ours, or does something to the session.
    Statement,
    /// The text itself is refused; see `SHOW CACHE DECISIONS`.
    Refused,
    /// The feed of writes made elsewhere is lost or late.
    Feed,
    /// Answers to this statement are hardly ever asked for twice; only some are looked for.
    Cold,
    /// That feed does not report changes of a relation that the answer depends on.
    NotFollowed,
}

pub const BYPASSES: [(Bypass, &str); 9] = [
    (Bypass::Pending, "pending"),
    (Bypass::Off, "off"),
    (Bypass::Protocol, "protocol"),
    (Bypass::DateWord, "date_word"),
    (Bypass::Statement, "statement"),
    (Bypass::Refused, "refused"),
    (Bypass::Feed, "feed"),
    (Bypass::Cold, "cold"),
    (Bypass::NotFollowed, "not_followed"),
];

#[derive(Debug, Default)]
pub struct Counters {
    pub hits: AtomicU64,
    /// Of the hits, those inside a transaction block.
    pub hits_in_block: AtomicU64,
    /// Of the hits, those whose time to live was over while somebody got a new one.
    pub stale_hits: AtomicU64,
    /// Of the hits, those that were errors.
    pub error_hits: AtomicU64,
    pub misses: AtomicU64,
    /// Waited for another's miss, and got its answer.
    pub joined: AtomicU64,
    pub stored: AtomicU64,
    /// Answers that were not stored, because something changed meanwhile.
    pub overtaken: AtomicU64,
    /// Answers that cannot be given again, or are too large.
    pub unfit: AtomicU64,
    /// Entries that were found outdated by a write.
    pub outdated: AtomicU64,
    /// Entries whose time to live was over.
    pub expired: AtomicU64,
    /// Milliseconds, of all hits together.
    pub age_at_hit: AtomicU64,
    pub fill_micros: AtomicU64,
    bypasses: [AtomicU64; BYPASSES.len()],
}

impl Counters {
    pub fn bypass(&self, why: Bypass) {
        self.bypasses[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn bypassed(&self, why: Bypass) -> u64 {
        self.bypasses[why as usize].load(Ordering::Relaxed)
    }
}

/// Adds one.
#[inline]
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
