//! Statements in the statistics, where no link sees them: what was answered from memory, what was not served,
//! and what was lost.

use std::sync::Arc;

use super::{ClientTask, Phase};
use crate::cache::request::{self, What};
use crate::client::info::Now;
use crate::session::counted::entry_of;
use crate::statement_stats::entry::{Entry, Outcome};
use crate::statement_stats::recorder::Text;

impl ClientTask {
    /// For what begins and ends from now on.
    #[inline]
    pub(super) fn tell_time(&mut self, now: Now) {
        if let Some(active) = &mut self.active {
            active.x.counting.now = now.micros;
        }
    }

    /// The entry of the next request, if it is one simple query, or one that executes one statement.
    pub(super) fn asked_entry(&self) -> Option<Arc<Entry>> {
        let counted = self.pool.counted(self.worker.home())?;
        let active = self.active.as_ref()?;
        let request = request::request(active.x.up.unscanned())?;
        match request.what {
            What::Query { text } => {
                let reported = &self.state.seen;
                counted.find_text(Text { text, reported })
            }
            What::Bound { statement, .. } => {
                let statement = self.state.statement(statement)?;
                entry_of(counted, statement, &self.state.seen)
            }
        }
    }

    /// One of these has ended.
    pub(super) fn count(&self, entry: Option<Arc<Entry>>, outcome: Outcome) {
        if let (Some(entry), Some(counted)) = (entry, self.pool.counted(self.worker.home())) {
            counted.recorder.add(&entry, outcome);
        }
    }

    /// It waits for a server connection no longer; what it asked for will be refused.
    pub(super) fn note_vain_wait(&mut self, now: Now) {
        if let Some(active) = &mut self.active
            && let Some(began) = active.began
        {
            active.x.counting.waited = now.micros.saturating_sub(began);
        }
    }

    /// The next request is about to be refused.
    pub(super) fn count_refused(&mut self) {
        let entry = self.asked_entry();
        let Some(active) = &mut self.active else {
            return;
        };
        active.x.counting.asked_at = None;
        let outcome = Outcome {
            wait_micros: std::mem::take(&mut active.x.counting.waited),
            failed: true,
            ..Outcome::default()
        };
        self.count(entry, outcome);
    }

    /// The server connection is about to be given up: what runs has failed.
    #[inline]
    pub(super) fn count_lost(&mut self, now: Now) {
        let Some(active) = &mut self.active else {
            return;
        };
        if let Phase::Attached(server) = &mut active.phase
            && !server.state.backlog.is_empty()
        {
            let counted = self.pool.counted(self.worker.home());
            active.x.counting.now = now.micros;
            active.x.counting.lose(&mut server.state.backlog, counted);
        }
    }
}
