//! Deadlines. A client's task writes when it wants to be woken; a coarse sweep over all clients
//! wakes it. So no timer is armed for a query.

use std::time::Duration;

use super::abandon::Fate;
use super::{ClientTask, End, Phase, Step};
use crate::client::info::{Control, NEVER, Now, State};
use crate::config::Timeouts;
use crate::pool::recycle::Work;
use crate::protocol::encode;
use crate::protocol::sqlstate;
use crate::session::client::Failure;
use crate::session::fault::Fault;
use crate::telemetry::events::Timeout;

/// Why a running statement is being cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    Statement,
}

static IDLE_IN_TRANSACTION: Failure = Failure {
    why: Fault::IdleTransactionTimeout,
    code: sqlstate::IDLE_IN_TRANSACTION_TIMEOUT,
    message: "idle transaction timeout: the transaction was rolled back (idle_transaction_timeout)",
};
static TRANSACTION: Failure = Failure {
    why: Fault::TransactionTimeout,
    code: sqlstate::TRANSACTION_TIMEOUT,
    message: "transaction timeout: the transaction was rolled back (transaction_timeout)",
};
pub(super) const STATEMENT: &str = "query timeout: the statement was cancelled (query_timeout)";

/// So long after a moment in [`Now::micros`], as [`Now::millis`].
fn deadline(from: u64, after: Duration) -> u64 {
    if after.is_zero() {
        return NEVER;
    }
    (from + after.as_micros() as u64) / 1000
}

impl ClientTask {
    /// The limits of the transaction, or the present ones where there is none.
    pub(super) fn limit(&self, which: impl Fn(&Timeouts) -> Duration) -> Duration {
        if let Some(own) = &self.own_timeouts {
            return which(own);
        }
        let settings = self.active.as_ref().and_then(|a| a.settings.as_deref());
        match settings {
            Some(settings) => which(&settings.timeouts),
            None => which(&self.pool.settings().timeouts),
        }
    }

    pub(super) fn set_idle_deadline(&mut self, now: Now) {
        let limit = self.limit(|t| t.client_idle);
        let at = deadline(now.micros, limit);
        if let Some(Phase::Attached(server)) = self.active.as_ref().map(|a| &a.phase) {
            let server = server.info.id;
            self.info.set_state(State::Idle, server, now.millis());
            self.set_attached_deadline(at);
        } else {
            self.info.set_state(State::Idle, 0, now.millis());
            self.info.set_deadline(at);
        }
    }

    pub(super) fn set_wait_deadline(&self, now: Now) {
        self.info.set_state(State::Waiting, 0, now.millis());
        let limit = deadline(now.micros, self.limit(|t| t.query_wait));
        let notice = deadline(now.micros, self.limit(|t| t.query_wait_notify));
        self.info.set_deadline(limit.min(notice));
    }

    /// A client that waits for a server connection is told so; says whether its time is not over yet.
    pub(super) fn notify_waiting(&mut self, now: Now) -> bool {
        let since = self.info.since() * 1000;
        let limit = deadline(since, self.limit(|t| t.query_wait));
        if now.millis() >= limit {
            return false;
        }
        let Some(active) = self.active.as_mut() else {
            return false;
        };
        let text = "No server connection available in postgres backend, client being queued";
        encode::notice(active.x.down.insert(), "00000", text, None);
        active.urgent = true;
        self.info.set_deadline(limit);
        true
    }

    pub(super) fn set_throttled_deadline(&self, now: Now, wait: Duration) {
        self.info.set_state(State::Waiting, 0, now.millis());
        self.info.set_deadline(deadline(now.micros, wait));
    }

    /// While another client asks for what this one wants, its statement's time runs.
    pub(super) fn set_joined_deadline(&self, now: Now) {
        self.info.set_state(State::Waiting, 0, now.millis());
        let limit = self.limit(|t| t.query);
        self.info.set_deadline(deadline(now.micros, limit));
    }

    fn transaction_deadline(&self) -> u64 {
        let began = self.active.as_ref().and_then(|a| a.began);
        let limit = self.limit(|t| t.transaction);
        began.map_or(NEVER, |began| deadline(began, limit))
    }

    /// For a statement that began at that many [`Now::micros`].
    pub(super) fn set_running_deadline(&mut self, began: u64) {
        let statement = deadline(began, self.limit(|t| t.query));
        self.set_attached_deadline(statement.min(self.transaction_deadline()));
    }

    pub(super) fn set_idle_in_transaction_deadline(&mut self, now: Now) {
        let idle = deadline(now.micros, self.limit(|t| t.idle_transaction));
        self.set_attached_deadline(idle.min(self.transaction_deadline()));
    }

    /// With a server connection, a client has two: this one, and that of what it has not taken yet.
    fn set_attached_deadline(&mut self, at: u64) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        active.other_deadline = at;
        self.info
            .set_deadline(active.write_by.unwrap_or(NEVER).min(at));
    }

    /// The client does not take its answer: it may hold the server only so long.
    pub(super) fn block(&mut self) {
        let limit = self.limit(|t| t.client_write);
        if let Some(active) = self.active.as_mut()
            && active.write_by.is_none()
            // Or else it is not the client that is waited for.
            && active.hold_down.is_none()
        {
            let at = deadline(self.context.clock.now().micros, limit);
            active.write_by = Some(at);
            self.info.set_deadline(self.info.deadline().min(at));
        }
    }

    #[inline]
    pub(super) fn unblock(&mut self) {
        if let Some(active) = self.active.as_mut()
            && active.write_by.take().is_some()
        {
            self.info.set_deadline(active.other_deadline);
        }
    }

    /// The sweep has found the deadline passed. What it has found may be the deadline of what the client did before,
    /// which has been moved meanwhile; if it has not, the sweep will say so again.
    pub(super) fn is_expired(&self, now: Now) -> bool {
        self.info.take(Control::Deadline) && now.millis() >= self.info.deadline()
    }

    /// The deadline has passed while the client has a server connection.
    pub(super) fn deadline_passed(&mut self, now: Now) -> Option<Step> {
        let millis = now.millis();
        let active = self.active.as_mut()?;
        let Phase::Attached(server) = &active.phase else {
            return None;
        };
        let quiet = server.state.backlog.is_empty();
        // A request of which a part has come, or what was not followed by a Sync, is no idleness.
        let up = &active.x.up;
        let unfinished = active.x.group.open || up.in_message() || !up.unscanned().is_empty();
        let idle = quiet && active.statement_began.is_none();
        let in_transaction = server.state.status != b'I';
        if active.write_by.is_some_and(|at| at <= millis) {
            self.note_timeout(Timeout::ClientWrite);
            return Some(Step::end(End::SlowReader));
        }
        if quiet && !idle && !unfinished {
            // It has ended just now, and that is still to be noted.
            return None;
        }
        if idle && !in_transaction {
            self.note_timeout(Timeout::ClientIdle);
            return Some(Step::end(End::ClientIdleTimeout));
        }
        if self.transaction_deadline() <= millis {
            self.note_timeout(Timeout::Transaction);
            let work = if quiet { Work::RollBack } else { Work::Cancel };
            return Some(self.end_transaction(&TRANSACTION, work));
        }
        if idle {
            self.note_timeout(Timeout::IdleTransaction);
            return Some(self.end_transaction(&IDLE_IN_TRANSACTION, Work::RollBack));
        }
        let active = self.active.as_mut()?;
        if quiet {
            // Nothing runs that could be cancelled; what has been parsed and not executed must not be.
            let begun = active.x.group.open || active.x.up.half_forwarded() || in_transaction;
            self.note_timeout(Timeout::Query);
            let fate = match begun {
                true => Fate::Discard("query_timeout in the middle of a request"),
                false => Fate::Recycle(Work::Check),
            };
            return Some(self.abandon(
                Fault::QueryTimeout,
                sqlstate::QUERY_CANCELED,
                STATEMENT,
                fate,
            ));
        }
        if active.cancelling.is_some() {
            // It did not stop in time.
            self.note_timeout(Timeout::CancelWait);
            let fate = Fate::Discard("cancel_wait_timeout");
            let code = sqlstate::QUERY_CANCELED;
            return Some(self.abandon(Fault::QueryTimeout, code, STATEMENT, fate));
        }
        active.cancelling = Some(Expired::Statement);
        active.x.cancel_text = Some(STATEMENT);
        self.note_timeout(Timeout::Query);
        self.send_cancel(None);
        let limit = self.limit(|t| t.cancel_wait);
        self.set_attached_deadline(deadline(now.micros, limit));
        None
    }

    fn end_transaction(&mut self, failure: &'static Failure, work: Work) -> Step {
        let fate = Fate::Recycle(work);
        let step = self.abandon(failure.why, failure.code, failure.message, fate);
        if self.state.failure.is_some() {
            self.state.failure = Some(failure);
        }
        step
    }
}
