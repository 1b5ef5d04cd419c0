//! Asking for a server connection, and waiting until one may be asked for.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use super::{ClientTask, End, Phase, Step};
use crate::client::info::{Control, Now};
use crate::pool::Pool;
use crate::pool::core::fair::Turned;
use crate::pool::core::{Checkout, Ticket};
use crate::pool::overload;
use crate::protocol::sqlstate;
use crate::session::fault::Fault;
use crate::telemetry::events::Timeout;
use crate::telemetry::refusals::Reason;

impl ClientTask {
    pub(super) fn begin_checkout(&mut self, cx: &mut Context<'_>, now: Now) -> Step {
        if self.pool.is_closed() {
            return Step::end(End::DatabaseGone);
        }
        let lender = self.way();
        self.checkout_from(lender, cx, now)
    }

    /// Asks for a connection of this pool, or of its own.
    pub(super) fn checkout_from(
        &mut self,
        lender: Option<Arc<Pool>>,
        cx: &mut Context<'_>,
        now: Now,
    ) -> Step {
        let settings = self.pool.settings_now();
        let ask = settings.overload.as_ref().and_then(|overload| {
            let limit = self.limit(|t| t.query_wait);
            overload.ask(&self.info.user, self.application(), limit)
        });
        let home = self.worker.home();
        let wanted = &self.state.settings;
        let waker = cx.waker();
        let pool = lender.as_ref().unwrap_or(&self.pool);
        let checkout = pool.checkout(home, now.instant, waker, wanted, ask.as_ref());
        let Some(active) = self.active.as_mut() else {
            return Step::Idle;
        };
        active.paid = false;
        active.began = Some(now.micros);
        active.settings = Some(settings);
        active.lender = lender;
        match checkout {
            Ok(Checkout::Ready(server)) => self.attach_or_go_on(server, cx, now),
            Ok(Checkout::Wait(ticket)) => {
                active.phase = Phase::Waiting(ticket);
                self.set_wait_deadline(now);
                self.watch_while_waiting(cx, now, ticket)
            }
            // Where reads have no room, there may be some on the primary.
            Ok(Checkout::Refused) | Err(_) if self.is_lent() => self.checkout_from(None, cx, now),
            Ok(Checkout::Refused) => {
                let limit = self.pool.settings().limits.max_queue;
                let why =
                    format!("too many clients wait for a server connection (max_queue = {limit})");
                self.turn_away(Fault::Queue, &why)
            }
            Err(Turned::Party) => {
                let why = overload::describe(&self.pool.settings().database.queue);
                self.turn_away(Fault::UserQueue, &why)
            }
            Err(Turned::Hopeless(expected)) => {
                let why = format!(
                    "no server connection is expected within query_wait_timeout: the wait would be about {:.1} s",
                    expected.as_secs_f64()
                );
                self.turn_away(Fault::ExpectedWait, &why)
            }
        }
    }

    fn turn_away(&mut self, why: Fault, text: &str) -> Step {
        self.drop_fill();
        self.refuse(why, sqlstate::TOO_MANY_CONNECTIONS, text);
        Step::Again
    }

    /// The name that it has given when it logged in.
    pub(super) fn application(&self) -> &str {
        self.info.application_name.as_deref().unwrap_or_default()
    }

    /// What to do instead of serving the request, if its user or application has asked too often.
    pub(super) fn over_rate(&mut self, cx: &mut Context<'_>, now: Now) -> Option<Step> {
        let settings = self.pool.settings();
        let overload = settings.overload.as_ref()?;
        if self.active.as_ref().is_none_or(|active| active.paid) {
            return None;
        }
        let limit = self.limit(|t| t.query_wait);
        let at = overload.admit(&self.info.user, self.application(), now.micros, limit);
        drop(settings);
        let Ok(at) = at else {
            self.pool.shared().refusals.count(Reason::Rate);
            let text = "too many queries a second (max_queries_per_second)";
            let code = sqlstate::CONFIGURATION_LIMIT_EXCEEDED;
            self.refuse(Fault::Rate, code, text);
            return Some(Step::Again);
        };
        let active = self.active.as_mut()?;
        active.paid = true;
        if at <= now.micros {
            return None;
        }
        active.phase = Phase::Throttled;
        active.settings = Some(self.pool.settings_now());
        active.began = Some(now.micros);
        self.set_throttled_deadline(now, Duration::from_micros(at - now.micros));
        Some(self.watch_while_joined(cx))
    }

    /// Until its time has come.
    pub(super) fn step_throttled(&mut self, cx: &mut Context<'_>, now: Now) -> Step {
        if self.info.is_requested(Control::Kill) {
            self.set_detached(now);
            return Step::end(End::Killed);
        }
        if self.info.take(Control::Cancel) {
            return self.cancelled_waiting(now);
        }
        if self.is_expired(now) {
            self.set_detached(now);
            return Step::Again;
        }
        self.watch_while_joined(cx)
    }

    pub(super) fn waiting_request(&mut self, now: Now, ticket: Ticket) -> Option<Step> {
        if self.moves() {
            return Some(Step::Moved);
        }
        self.info.take(Control::Vacate);
        let killed = self.info.is_requested(Control::Kill);
        let cancelled = self.info.take(Control::Cancel);
        let expired = self.is_expired(now);
        if !(killed || cancelled || expired) {
            return None;
        }
        if expired && !(killed || cancelled) && self.notify_waiting(now) {
            return Some(Step::Again);
        }
        self.lender().cancel_wait(ticket, self.worker.home());
        self.note_vain_wait(now);
        self.drop_fill();
        self.set_detached(now);
        if killed {
            return Some(Step::end(End::Killed));
        }
        if cancelled {
            return Some(self.cancelled_waiting(now));
        }
        self.note_timeout(Timeout::QueryWait);
        let limit = self.limit(|t| t.query_wait);
        self.refuse(
            Fault::QueryWaitTimeout,
            sqlstate::TOO_MANY_CONNECTIONS,
            &format!("query_wait_timeout: no server connection became free within {limit:?}"),
        );
        Some(Step::Again)
    }

    /// The client has asked to be told so instead of being served.
    pub(super) fn cancelled_waiting(&mut self, now: Now) -> Step {
        self.drop_fill();
        self.set_detached(now);
        self.refuse_cancelled();
        Step::Again
    }
}
