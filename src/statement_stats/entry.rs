//! What one worker has counted of one statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Owner;
use super::times::Times;
use crate::pool::stats::Counter;

/// Written by one worker, read by whoever wants to know.
#[derive(Debug)]
pub struct Entry {
    pub(super) fingerprint: u64,
    pub(super) owner: Owner,
    pub(super) text: Arc<str>,
    /// Of the table when it was made.
    pub(super) epoch: u64,
    /// It is in the table no more.
    pub(super) gone: AtomicBool,
    pub(super) calls: Counter,
    pub(super) micros: Counter,
    pub(super) rows: Counter,
    pub(super) bytes: Counter,
    pub(super) hits: Counter,
    pub(super) wait_micros: Counter,
    pub(super) errors: Counter,
    pub(super) times: Times,
}

/// One time that a statement was run, or a part of that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// From being sent on to the end of its answer.
    pub micros: u64,
    /// Before it was sent on.
    pub wait_micros: u64,
    pub rows: u64,
    /// Of its answer.
    pub bytes: u64,
    pub failed: bool,
    /// It was answered from memory.
    pub hit: bool,
    /// It goes on where an earlier part has stopped, which was the call.
    pub continues: bool,
}

impl Entry {
    pub(super) fn new(fingerprint: u64, owner: Owner, text: Arc<str>, epoch: u64) -> Entry {
        Entry {
            fingerprint,
            owner,
            text,
            epoch,
            gone: AtomicBool::new(false),
            calls: Counter::default(),
            micros: Counter::default(),
            rows: Counter::default(),
            bytes: Counter::default(),
            hits: Counter::default(),
            wait_micros: Counter::default(),
            errors: Counter::default(),
            times: Times::default(),
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn add(&self, outcome: Outcome) {
        self.micros.add(outcome.micros);
        self.wait_micros.add(outcome.wait_micros);
        self.rows.add(outcome.rows);
        self.bytes.add(outcome.bytes);
        self.hits.add(u64::from(outcome.hit));
        self.errors.add(u64::from(outcome.failed));
        if !outcome.continues {
            self.calls.add(1);
            self.times.add(outcome.micros);
        }
    }
}
