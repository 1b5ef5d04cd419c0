//! Errors of our own in place of an answer.

use super::{ClientTask, Step};
use crate::protocol::encode::{self, Severity};
use crate::protocol::sqlstate::{self, SqlState};
use crate::session::client::Detached;
use crate::session::fault::Fault;

impl ClientTask {
    /// Answers the request that could not be served, and skips it; the client goes on.
    pub(super) fn refuse(&mut self, why: Fault, code: SqlState, message: &str) {
        self.note_fault(why);
        self.count_refused();
        let Some(active) = &mut self.active else {
            return;
        };
        let up = &mut active.x.up;
        let simple = matches!(up.unscanned().first(), Some(b'Q' | b'F'));
        if simple && let Ok(Some(header)) = crate::protocol::frame::header(up.unscanned()) {
            up.skip(header.total);
        }
        let out = active.x.down.insert();
        encode::error(out, Severity::Error, code, message, None);
        if simple {
            encode::ready_for_query(out, b'I');
        } else {
            self.state.detached = Detached::SkippingToSync;
        }
    }

    /// The client has cancelled what no server has been asked for yet.
    pub(super) fn refuse_cancelled(&mut self) {
        let text = "canceling statement due to user request";
        self.refuse(Fault::Cancelled, sqlstate::QUERY_CANCELED, text);
    }

    pub(super) fn refuse_for_outage(&mut self) -> Step {
        let (code, message) = match self.pool.outage() {
            Some(outage) => (outage.code, outage.message),
            None => ("08006".to_owned(), "no server connection".to_owned()),
        };
        let why = match self.pool.is_closed() {
            true => Fault::DatabaseGone,
            false => Fault::Outage,
        };
        self.refuse(why, SqlState::new(&code), &message);
        Step::Again
    }
}
