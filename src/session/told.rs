//! What the client's present request asks for, kept for the log and for traces. Nothing is kept unless one
//! of them wants it.

use std::sync::Arc;

use super::statement::{Source, Statement};
use crate::sql::{self, TraceParent};

/// Kept of a text for each byte that may be shown: what is left out of it makes it shorter.
const SPARE: usize = 2;
/// More is not kept, whatever may be shown.
const KEPT_MAX: usize = 64 * 1024;

/// What the present request asks for.
#[derive(Debug, Default)]
pub struct Told {
    /// Bytes of a statement that may be shown; `None`: nothing is wanted.
    shown: Option<usize>,
    /// A comment may say to which trace the transaction belongs.
    traced: bool,
    text: Vec<u8>,
    statement: Option<Arc<Statement>>,
    standard_strings: bool,
    /// Statements of which only the first is kept: they were sent without waiting for answers.
    count: u32,
    /// Of the transaction.
    pub parent: Option<TraceParent>,
    /// Answers to it from the cache.
    pub hits: u32,
    /// How long the transaction waited for its server connection.
    wait_micros: u64,
    /// The log has been told so.
    wait_taken: bool,
}

impl Told {
    /// A transaction begins.
    pub fn begin(&mut self, shown: Option<usize>, traced: bool, wait_micros: u64) {
        self.shown = shown;
        self.traced = traced;
        self.parent = None;
        self.hits = 0;
        self.wait_micros = wait_micros;
        self.wait_taken = false;
        self.forget();
    }

    /// A transaction begins on a connection that was kept. Its first request has been looked at by then, so what is
    /// known of that stays.
    pub fn begin_kept(&mut self, shown: Option<usize>, traced: bool) {
        self.shown = shown;
        self.traced = traced;
        self.wait_micros = 0;
        self.wait_taken = false;
    }

    /// A transaction is over: the next one on this connection has a trace of its own.
    pub fn over(&mut self) {
        self.parent = None;
        self.hits = 0;
        self.forget();
    }

    /// How long the transaction waited for its server connection.
    pub fn transaction_wait(&self) -> u64 {
        self.wait_micros
    }

    /// The same for its first statement; 0 for the others.
    pub fn take_wait(&mut self) -> u64 {
        match std::mem::replace(&mut self.wait_taken, true) {
            true => 0,
            false => self.wait_micros,
        }
    }

    /// The next statement is another one.
    pub fn forget(&mut self) {
        self.text.clear();
        self.statement = None;
        self.count = 0;
    }

    /// Nothing is wanted any more.
    pub fn end(&mut self) {
        self.shown = None;
        self.traced = false;
        self.forget();
    }

    #[inline]
    pub(super) fn wants_texts(&self) -> bool {
        self.shown.is_some() || self.traced
    }

    /// A text is about to be sent.
    #[inline]
    pub(super) fn text(&mut self, text: &[u8], standard_strings: bool) {
        if self.wants_texts() {
            self.keep(text, standard_strings);
        }
    }

    fn keep(&mut self, text: &[u8], standard_strings: bool) {
        if self.traced && self.parent.is_none() {
            self.parent = sql::traceparent(text);
        }
        self.count = self.count.saturating_add(1);
        if let (1, Some(shown)) = (self.count, self.shown) {
            let kept = shown.saturating_mul(SPARE).min(KEPT_MAX).min(text.len());
            self.text.extend_from_slice(&text[..kept]);
            self.standard_strings = standard_strings;
        }
    }

    /// A statement that was prepared before is about to be bound.
    #[inline]
    pub(super) fn bound(&mut self, statement: &Arc<Statement>, standard_strings: bool) {
        // Mostly of a Parse just before.
        if self.shown.is_some() && self.text.is_empty() {
            self.count += 1;
            if self.count == 1 {
                self.statement = Some(Arc::clone(statement));
                self.standard_strings = standard_strings;
            }
        }
    }

    /// The statement without its constants, and how many others were sent with it.
    pub fn shown(&self) -> (String, u32) {
        let text = match self.statement.as_ref().map(|s| &s.source) {
            Some(Source::Parse { query, .. }) => query,
            Some(Source::Sql { text }) => text,
            None => &self.text[..],
        };
        let most = self.shown.unwrap_or(0);
        let kept = text.len().min(most.saturating_mul(SPARE).min(KEPT_MAX));
        let text = sql::without_constants(&text[..kept], self.standard_strings, most);
        (text, self.count.saturating_sub(1))
    }
}
