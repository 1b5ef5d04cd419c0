//! Counting what has happened, where the counters are not at hand.

use super::active::Active;
use super::{ClientTask, Phase};
use crate::client::info::Now;
use crate::pool::Pool;
use crate::session::fault::Fault;
use crate::session::server::Copy;
use crate::telemetry::events::Retry;
use crate::worker::Home;

impl Active {
    /// Bytes have been sent to the server. When all of a request is there, its time begins.
    #[inline]
    pub(super) fn note_sent(&mut self, now: Now) {
        let Phase::Attached(server) = &self.phase else {
            return;
        };
        let more = self.x.group.open || self.x.up.in_message();
        if self.server_began.is_none() && !more && server.state.copy != Copy::In {
            self.server_began = Some(now.micros);
        }
    }

    /// The server has answered. If it waits for data of a COPY, those are a part of the request.
    #[inline]
    pub(super) fn note_answered(&mut self) {
        if let Phase::Attached(server) = &self.phase
            && server.state.copy == Copy::In
        {
            self.server_began = None;
        }
    }

    /// What the session has said in a server's place.
    #[inline]
    pub(super) fn note_faults(&mut self, pool: &Pool, home: Home) {
        if !self.x.faults.is_empty() {
            let faults = self.x.faults.drain(..);
            faults.for_each(|why| pool.note_fault(home, why));
        }
    }
}

impl ClientTask {
    /// What the server has said. Errors, by class, and what was done again are rare.
    #[inline]
    pub(super) fn note_answers(&mut self) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        active.note_answered();
        if active.x.tally.errors > 0 {
            let shard = self.pool.shard(self.worker.home());
            let here = self.pool.shared().events_at(self.worker.home());
            let tally = &mut active.x.tally;
            shard
                .errors
                .add(u64::from(std::mem::take(&mut tally.errors)));
            (0..std::mem::take(&mut tally.retries))
                .for_each(|_| here.retries.count(Retry::Statement));
            let classes = active.x.error_classes.drain(..);
            classes.for_each(|class| here.errors.count(class));
            active.note_faults(&self.pool, self.worker.home());
        }
    }

    /// The client is about to be given an error of ours.
    pub(super) fn note_fault(&self, why: Fault) {
        self.pool.note_fault(self.worker.home(), why);
    }

    pub(super) fn note_retry(&self, why: Retry) {
        let here = self.pool.shared().events_at(self.worker.home());
        here.retries.count(why);
    }
}
