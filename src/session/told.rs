//! What the client's present requests ask for, kept for the log and for traces. Nothing is kept unless one
//! of them wants it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::statement::{Source, Statement};
use crate::sql::{self, TraceParent};

/// Kept of a text for each byte that may be shown: what is left out of it makes it shorter.
const SPARE: usize = 2;
/// More is not kept, whatever may be shown.
const KEPT_MAX: usize = 64 * 1024;

/// Requests without answers whose texts are kept. Of what a client sends still further ahead, nothing is shown.
const REQUESTS_MAX: usize = 16;

/// Up to a Sync, or a simple query.
#[derive(Debug, Default)]
struct Request {
    text: Vec<u8>,
    statement: Option<Arc<Statement>>,
    standard_strings: bool,
    /// Statements, of which only the first is kept.
    count: u32,
}

/// What the present requests ask for.
#[derive(Debug, Default)]
pub struct Told {
    /// Bytes of a statement that may be shown; `None`: nothing is wanted.
    shown: Option<usize>,
    /// A comment may say to which trace the transaction belongs.
    traced: bool,
    /// What is being sent.
    present: Request,
    /// What has been sent, and not been forgotten.
    sent: VecDeque<Request>,
    /// How many requests have been sent of which nothing is kept: those after the others.
    more: usize,
    /// How many requests have been answered since the last were forgotten.
    answered: usize,
    /// Of the transaction.
    pub parent: Option<TraceParent>,
    /// Answers to it from the cache.
    pub hits: u32,
    /// Why the transaction ends otherwise than its client wants.
    failed: Option<&'static str>,
    /// How long the transaction waited for its server connection.
    wait_micros: u64,
    /// The log has been told so.
    wait_taken: bool,
}

impl Request {
    fn clear(&mut self) {
        self.text.clear();
        self.statement = None;
        self.count = 0;
    }

    fn text(&self) -> &[u8] {
        match self.statement.as_ref().map(|s| &s.source) {
            Some(Source::Parse { query, .. }) => query,
            Some(Source::Sql { text }) => text,
            None => &self.text,
        }
    }
}

impl Told {
    /// A transaction begins.
    pub fn begin(&mut self, shown: Option<usize>, traced: bool, wait_micros: u64) {
        self.shown = shown;
        self.traced = traced;
        self.parent = None;
        self.hits = 0;
        self.failed = None;
        self.wait_micros = wait_micros;
        self.wait_taken = false;
        self.forget_all();
    }

    /// A transaction begins on a connection that was kept. Its first request has been looked at by then, so what is
    /// known of that stays.
    pub fn begin_kept(&mut self, shown: Option<usize>, traced: bool) {
        self.shown = shown;
        self.traced = traced;
        self.failed = None;
        self.wait_micros = 0;
        self.wait_taken = false;
    }

    /// A transaction is over: the next one on this connection has a trace of its own.
    pub fn over(&mut self) {
        self.parent = None;
        self.hits = 0;
        self.forget_all();
    }

    /// Something goes wrong with the transaction. What follows from it does not count.
    pub fn fails(&mut self, why: &'static str) {
        self.failed.get_or_insert(why);
    }

    /// Why the transaction has failed, if it has.
    pub fn failure(&self) -> Option<&'static str> {
        self.failed
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

    /// What has been answered is over.
    pub fn forget(&mut self) {
        for _ in 0..std::mem::take(&mut self.answered) {
            let Some(mut request) = self.sent.pop_front() else {
                self.more = self.more.saturating_sub(1);
                continue;
            };
            if self.present.count == 0 {
                // What it has room in is used again.
                request.clear();
                self.present = request;
            }
        }
    }

    /// Nothing waits for an answer. What was counted may differ from that: a Sync that the server ignores in a COPY,
    /// what it skips behind an error.
    pub fn forget_all(&mut self) {
        self.answered = self.sent.len();
        self.forget();
        self.more = 0;
        self.present.clear();
    }

    /// Nothing is wanted any more.
    pub fn end(&mut self) {
        self.shown = None;
        self.traced = false;
        self.forget_all();
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
        let request = &mut self.present;
        request.count = request.count.saturating_add(1);
        if let (1, Some(shown)) = (request.count, self.shown) {
            let kept = shown.saturating_mul(SPARE).min(KEPT_MAX).min(text.len());
            request.text.extend_from_slice(&text[..kept]);
            request.standard_strings = standard_strings;
        }
    }

    /// A statement that was prepared before is about to be bound.
    #[inline]
    pub(super) fn bound(&mut self, statement: &Arc<Statement>, standard_strings: bool) {
        let request = &mut self.present;
        // Mostly of a Parse just before.
        if self.shown.is_some() && request.text.is_empty() {
            request.count += 1;
            if request.count == 1 {
                request.statement = Some(Arc::clone(statement));
                request.standard_strings = standard_strings;
            }
        }
    }

    /// The request has been sent: what comes now belongs to the next one.
    #[inline]
    pub(super) fn is_sent(&mut self) {
        if self.shown.is_some() {
            self.keep_sent();
        }
    }

    fn keep_sent(&mut self) {
        if self.sent.len() < REQUESTS_MAX && self.more == 0 {
            self.sent.push_back(std::mem::take(&mut self.present));
        } else {
            self.more += 1;
            self.present.clear();
        }
    }

    /// It will be sent once more.
    pub(super) fn is_sent_again(&mut self) {
        if self.more > 0 {
            self.more -= 1;
        } else if let Some(mut request) = self.sent.pop_back() {
            request.clear();
            self.present = request;
        }
    }

    /// A request has been answered.
    #[inline]
    pub(super) fn is_answered(&mut self) {
        self.answered += usize::from(self.shown.is_some());
    }

    /// What has been answered, or else what waits for an answer: the first statement without its constants, and
    /// how many others there are.
    pub fn shown(&self) -> (String, u32) {
        let requests = self.sent.iter().take(self.answered.max(1));
        let count = requests.map(|r| r.count).fold(0, u32::saturating_add);
        let (first, count) = match self.sent.front() {
            Some(first) => (first, count),
            None if self.more > 0 => return (String::new(), 0),
            None => (&self.present, self.present.count),
        };
        let text = first.text();
        let most = self.shown.unwrap_or(0);
        let kept = text.len().min(most.saturating_mul(SPARE).min(KEPT_MAX));
        let text = sql::without_constants(&text[..kept], first.standard_strings, most);
        (text, count.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asked for so many statements; what is shown of it.
    fn ask(told: &mut Told, texts: &[&str]) {
        for text in texts {
            told.text(text.as_bytes(), true);
        }
        told.is_sent();
    }

    #[test]
    fn each_answer_goes_with_its_own_request() {
        let mut told = Told::default();
        told.begin(Some(100), false, 0);
        ask(&mut told, &["SELECT 1", "SELECT x"]);
        ask(&mut told, &["SELECT y"]);
        ask(&mut told, &["SELECT z"]);
        assert_eq!(
            told.shown(),
            ("SELECT ?".to_owned(), 1),
            "nothing is answered yet"
        );
        told.is_answered();
        assert_eq!(told.shown(), ("SELECT ?".to_owned(), 1));
        told.forget();
        told.text(b"SELECT later", true);
        told.is_answered();
        told.is_answered();
        assert_eq!(told.shown(), ("SELECT y".to_owned(), 1), "two at once");
        told.forget();
        assert_eq!(told.shown(), ("SELECT later".to_owned(), 0));
    }

    #[test]
    fn what_is_sent_far_ahead_is_counted_and_not_kept() {
        let mut told = Told::default();
        told.begin(Some(100), false, 0);
        for n in 0..REQUESTS_MAX + 3 {
            ask(&mut told, &[&format!("SELECT a{n}")]);
        }
        for n in 0..REQUESTS_MAX {
            told.is_answered();
            assert_eq!(told.shown().0, format!("SELECT a{n}"));
            told.forget();
        }
        // Not the text of a request that came after it.
        for _ in 0..3 {
            ask(&mut told, &["SELECT b"]);
            told.is_answered();
            assert_eq!(told.shown().0, "");
            told.forget();
        }
        assert_eq!((told.more, told.sent.len()), (3, 0));
        for _ in 0..3 {
            told.is_answered();
            told.forget();
        }
        ask(&mut told, &["SELECT c"]);
        assert_eq!(told.shown().0, "SELECT c");
    }

    #[test]
    fn what_is_sent_again_is_one_request() {
        let mut told = Told::default();
        told.begin(Some(100), false, 0);
        ask(&mut told, &["SELECT a"]);
        told.is_sent_again();
        ask(&mut told, &["SELECT a"]);
        told.is_answered();
        assert_eq!(told.shown(), ("SELECT a".to_owned(), 0));
        told.forget();
        assert!(told.sent.is_empty());
    }
}
