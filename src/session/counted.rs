//! Statements on a link, for the statistics: which one each answer belongs to, and what it took.

use std::sync::Arc;

use super::backlog::Backlog;
use super::link::Link;
use super::reported::Reported;
use super::statement::{Source, Statement};
use crate::cache::analysis::prepared_body;
use crate::statement_stats::Counted;
use crate::statement_stats::entry::{Entry, Outcome};
use crate::statement_stats::recorder::Text;

/// A statement that was sent on and whose end is outstanding.
#[derive(Debug, Default)]
pub struct Run {
    /// `None` if it is not counted.
    entry: Option<Arc<Entry>>,
    began: u64,
    /// See [`Outcome::continues`].
    continues: bool,
}

/// Named portals whose statements are counted at a time; what else is executed is not.
const PORTALS_MAX: usize = 64;
/// Longest name of one, in bytes.
const NAME_MAX: usize = 256;

/// What a portal has in it.
#[derive(Debug)]
struct Bound {
    entry: Option<Arc<Entry>>,
    executed: bool,
}

/// What has been seen of the statements that run. Times are in microseconds of the process's clock.
#[derive(Debug, Default)]
pub struct Counting {
    /// As late as it is.
    pub now: u64,
    /// How long the next statement to end has waited for the server connection.
    pub waited: u64,
    /// When the request was made that is to be answered without a server connection.
    pub asked_at: Option<u64>,
    /// When the last statement ended.
    ended_at: u64,
    /// Those that have ended since the server was last read from.
    ended: Vec<(Run, Outcome)>,
    unnamed: Option<Bound>,
    portals: Vec<(Box<[u8]>, Bound)>,
    /// Of the answer that is coming in.
    bytes: u64,
    rows: u64,
    /// Rows of the statements before, where several are run as one.
    rows_before: u64,
    failed: bool,
}

impl Counting {
    /// A message of so many bytes goes to the client.
    #[inline]
    pub fn pass(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// A row goes to the client.
    #[inline]
    pub fn row(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.rows += 1;
    }

    /// One statement is complete, and says what it did. (`tag` is the body of CommandComplete, or empty.)
    #[inline]
    pub fn complete(&mut self, tag: &[u8]) {
        self.rows_before += self.rows.max(tagged_rows(tag));
        self.rows = 0;
    }

    /// What runs has failed.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// A portal is made of a statement.
    fn bind(&mut self, portal: &[u8], entry: Option<Arc<Entry>>) {
        let bound = Bound {
            entry,
            executed: false,
        };
        if portal.is_empty() {
            self.unnamed = Some(bound);
            return;
        }
        self.close(portal);
        let is_kept = self.portals.len() < PORTALS_MAX && portal.len() <= NAME_MAX;
        if bound.entry.is_some() && is_kept {
            self.portals.push((portal.into(), bound));
        }
    }

    /// A portal is about to be closed.
    pub fn close(&mut self, portal: &[u8]) {
        match portal.is_empty() {
            true => self.unnamed = None,
            false => self.portals.retain(|(name, _)| **name != *portal),
        }
    }

    /// A portal is about to be executed.
    #[inline]
    pub fn execute(&mut self, portal: &[u8]) -> Run {
        let bound = if portal.is_empty() {
            self.unnamed.as_mut()
        } else {
            let mut named = self.portals.iter_mut();
            named
                .find(|(name, _)| **name == *portal)
                .map(|(_, bound)| bound)
        };
        let Some(bound) = bound else {
            return Run::default();
        };
        Run {
            entry: bound.entry.clone(),
            began: self.now,
            continues: std::mem::replace(&mut bound.executed, true),
        }
    }

    /// It has been answered.
    #[inline]
    pub fn end(&mut self, run: Run) {
        self.complete(b"");
        let outcome = Outcome {
            rows: self.rows_before,
            bytes: self.bytes,
            failed: self.failed,
            continues: run.continues,
            ..Outcome::default()
        };
        self.forget_answer();
        if run.entry.is_some() {
            self.ended.push((run, outcome));
        }
    }

    fn forget_answer(&mut self) {
        self.bytes = 0;
        self.rows = 0;
        self.rows_before = 0;
        self.failed = false;
    }

    /// All that has come from the server has been looked at: counts those that have ended. Several that have come
    /// at once share the time.
    #[inline]
    pub fn settle(&mut self, counted: Option<Counted<'_>>) {
        let Some((first, _)) = self.ended.first() else {
            return;
        };
        let micros = self.now.saturating_sub(first.began.max(self.ended_at));
        let each = micros / self.ended.len() as u64;
        for (run, mut outcome) in self.ended.drain(..) {
            outcome.micros = each;
            outcome.wait_micros = std::mem::take(&mut self.waited);
            if let (Some(counted), Some(entry)) = (counted, &run.entry) {
                counted.recorder.add(entry, outcome);
            }
        }
        self.ended_at = self.now;
    }

    /// The server connection is given up in the middle of things: what runs has failed.
    pub fn lose(&mut self, backlog: &mut Backlog, counted: Option<Counted<'_>>) {
        if let Some(run) = backlog.take_run() {
            self.fail();
            self.end(run);
            self.settle(counted);
        }
    }

    /// The transaction is over.
    pub fn end_portals(&mut self) {
        self.unnamed = None;
        self.portals.clear();
    }

    /// Nothing runs, and nothing will.
    pub fn clear(&mut self) {
        self.end_portals();
        self.ended.clear();
        self.forget_answer();
        self.waited = 0;
        self.asked_at = None;
    }
}

/// The number at the end of a command's tag; 0 if there is none.
pub fn tagged_rows(tag: &[u8]) -> u64 {
    let tag = tag.strip_suffix(b"\0").unwrap_or(tag);
    let digits = tag.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let digits = &tag[tag.len() - digits..];
    let add = |n: u64, digit: &u8| n.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    digits.iter().fold(0, add)
}

/// The entry of what a session with these parameters has prepared.
pub fn entry_of(
    counted: Counted<'_>,
    statement: &Statement,
    reported: &Reported,
) -> Option<Arc<Entry>> {
    counted.find(statement.text_key, || {
        let text = match &statement.source {
            Source::Parse { query, .. } => query,
            Source::Sql { text } => {
                let strings = reported.standard_conforming_strings();
                prepared_body(text, strings).unwrap_or(text)
            }
        };
        Text { text, reported }
    })
}

impl Link<'_> {
    fn run(&self, entry: Option<Arc<Entry>>) -> Run {
        Run {
            entry,
            began: self.x.counting.now,
            continues: false,
        }
    }

    /// A simple query is about to be sent.
    #[inline]
    pub(super) fn run_of_text(&self, text: &[u8]) -> Run {
        let Some(counted) = self.rules.counted else {
            return Run::default();
        };
        let reported = &self.server.reported;
        self.run(counted.find_text(Text { text, reported }))
    }

    /// So is a simple query that executes a statement which was prepared by another one.
    pub(super) fn run_of_statement(&self, statement: &Statement) -> Run {
        self.run(self.entry_of(statement))
    }

    #[inline]
    fn entry_of(&self, statement: &Statement) -> Option<Arc<Entry>> {
        let counted = self.rules.counted?;
        entry_of(counted, statement, &self.server.reported)
    }

    /// A Bind is about to be sent.
    pub(super) fn note_portal(&mut self, portal: Box<[u8]>, statement: &Arc<Statement>) {
        if self.rules.counted.is_some() {
            let entry = self.entry_of(statement);
            self.x.counting.bind(&portal, entry);
        }
        if !self.x.portals.is_empty() {
            self.x.portals.retain(|(name, _)| *name != portal);
        }
        if statement.effects.is_some() || statement.answer.is_some() {
            self.x.portals.push((portal, Arc::clone(statement)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_end_with_their_rows() {
        for (tag, rows) in [
            (&b"SELECT 12\0"[..], 12),
            (b"INSERT 0 7", 7),
            (b"CREATE TABLE\0", 0),
            (b"", 0),
            (b"COPY 99999999999999999999", u64::MAX),
        ] {
            assert_eq!(tagged_rows(tag), rows);
        }
    }
}
