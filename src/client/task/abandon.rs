//! Taking its server connection away from a client in the middle of things.

use super::{ClientTask, End, Phase, Step};
use crate::pool::recycle::Work;
use crate::protocol::encode::{self, Severity};
use crate::protocol::sqlstate::{self, SqlState};
use crate::session::backlog::Expect;
use crate::session::client::{Detached, Failure};
use crate::session::fault::Fault;
use crate::session::pins::Pin;

/// The server connection is lost to the client; what becomes of it otherwise.
pub(super) enum Fate {
    Discard(&'static str),
    Recycle(Work),
}

/// DISCARD ALL ends nothing of that: a loaded library, a dblink connection.
pub(super) const UNDISCARDABLE: &str = "session state that cannot be reset";

/// What a client is told whose server connection listened for it.
const DEAF: &str = "the server connection that listened for this client is gone: notifications may have been missed";

/// What a client is told that asks for more in a transaction whose server connection is gone.
const fn lost(why: Fault) -> Failure {
    Failure {
        why,
        code: sqlstate::CONNECTION_FAILURE,
        message: "the server connection of this transaction was lost",
    }
}

static LOST: Failure = lost(Fault::ServerLost);
static LOST_AS_TOO_LONG: Failure = lost(Fault::TransactionTimeout);
static LOST_AS_IDLE: Failure = lost(Fault::IdleTransactionTimeout);

/// Why a server closes a connection that has said this last. Its own limits on transactions are no outage.
pub(super) fn lost_by(code: &str) -> Fault {
    match SqlState::new(code) {
        sqlstate::TRANSACTION_TIMEOUT => Fault::TransactionTimeout,
        sqlstate::IDLE_IN_TRANSACTION_TIMEOUT => Fault::IdleTransactionTimeout,
        _ => Fault::ServerLost,
    }
}

impl ClientTask {
    /// Takes the server connection away from the client in the middle of things, and answers
    /// everything that it had asked for with an error.
    pub(super) fn abandon(
        &mut self,
        why: Fault,
        code: SqlState,
        message: &str,
        fate: Fate,
    ) -> Step {
        let Some(active) = self.active.as_mut() else {
            return Step::Again;
        };
        let group_open = active.x.group.open;
        let unspeakable = active.x.down.half_forwarded();
        let listened = self.state.pins.contains(Pin::Listen);
        let Phase::Attached(server) = &mut active.phase else {
            return Step::Again;
        };
        let ours = |e: &Expect| matches!(e, Expect::Probe | Expect::Values | Expect::Replay);
        let asked = || server.state.backlog.iter().any(ours);
        let forever =
            self.state.pins.contains(Pin::Forever) || server.state.backlog.may_pin_forever();
        let unsent = active.x.up.half_forwarded() || active.x.up.pending_len() > 0;
        let unsure = active.x.is_unsure() || !self.state.pins.is_empty() || asked();
        let in_transaction = server.state.status != b'I';
        // How many answers the client still waits for, each ended by ReadyForQuery.
        let visible = || server.state.backlog.iter().filter(|e| e.is_visible());
        let owed = visible().filter(|e| e.ends_with_ready()).count();
        // A group that was to be sent again is a whole one.
        let again = |e: &&Expect| matches!(e, Expect::RetrySync);
        let again = usize::from(active.x.retry) + server.state.backlog.iter().filter(again).count();
        let owed = owed + again;
        let in_group = group_open || (owed == 0 && visible().next().is_some());
        active.x.up.drop_pending();
        active.x.down.drop_unread();
        if let Some(server) = self.unlink(self.context.clock.now()) {
            let lender = self.lender();
            match fate {
                Fate::Discard(why) => lender.discard(server, why),
                Fate::Recycle(_) if forever => lender.discard(server, UNDISCARDABLE),
                // Whatever were said to it now would be a part of that message, or end that transaction.
                Fate::Recycle(_) if unsent || group_open => {
                    lender.discard(server, "in the middle of a client's request");
                }
                // What it holds for this client must not be the next one's.
                Fate::Recycle(work) if unsure => lender.recycle(server, work.max(Work::Reset)),
                Fate::Recycle(work) => lender.recycle(server, work),
            }
        }
        self.state.pins = Default::default();
        self.state.settings = self.state.committed.clone();
        self.state.savepoints = None;
        if unspeakable {
            // It is told nothing, but has no answer either.
            self.note_fault(why);
            return Step::end(End::ServerLost);
        }
        if listened {
            // It must not wait for what will never come.
            let code = sqlstate::ADMIN_SHUTDOWN;
            return Step::end(End::Fatal(why, code, DEAF.to_owned()));
        }
        let told = owed + usize::from(in_group);
        (0..told).for_each(|_| self.note_fault(why));
        self.answer_owed(code, message, owed, in_group, in_transaction);
        if in_transaction && told == 0 {
            // Nobody was waiting: the next statement is told.
            self.state.failure = Some(match why {
                Fault::TransactionTimeout => &LOST_AS_TOO_LONG,
                Fault::IdleTransactionTimeout => &LOST_AS_IDLE,
                _ => &LOST,
            });
        }
        Step::Again
    }

    fn answer_owed(
        &mut self,
        code: SqlState,
        message: &str,
        owed: usize,
        in_group: bool,
        in_transaction: bool,
    ) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        let out = active.x.down.insert();
        let status = if in_transaction { b'E' } else { b'I' };
        for _ in 0..owed {
            encode::error(out, Severity::Error, code, message, None);
            encode::ready_for_query(out, status);
        }
        if in_group {
            // Its Sync is still to come.
            encode::error(out, Severity::Error, code, message, None);
        }
        self.state.detached = match (in_transaction, in_group) {
            (false, false) => Detached::Ready,
            (false, true) => Detached::SkippingToSync,
            (true, false) => Detached::FailedTransaction,
            (true, true) => Detached::FailedSkippingToSync,
        };
    }
}
