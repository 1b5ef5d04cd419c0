//! A client with a server connection: relaying, and giving the connection back.

use std::task::{Context, Poll};

use super::abandon::{Fate, lost_by};
use super::io_steps::Fill;
use super::{ClientTask, End, Phase, Step, rules, told};
use crate::client::info::{Control, Now, State, log_client};
use crate::config::{PoolMode, SessionStatePolicy};
use crate::pool::recycle::Work;
use crate::protocol::sqlstate::{self, SqlState};
use crate::session::fault::Fault;
use crate::session::link::{Leash, Link};
use crate::session::pins::Pins;
use crate::session::upstream::Progress;

/// Runs `$body` with a [`Link`] named `$link` of an attached client; gives `None` if it is not
/// attached.
macro_rules! with_link {
    ($task:expr, |$link:ident| $body:expr) => {
        match $task.active.as_mut() {
            Some(active) => match &mut active.phase {
                Phase::Attached(server) => {
                    #[allow(unused_mut)]
                    let mut $link = Link {
                        client: &mut $task.state,
                        server: &mut server.state,
                        x: &mut active.x,
                        rules: rules(
                            &$task.pool,
                            active.settings.as_deref(),
                            &$task.context,
                            $task.worker.home(),
                        ),
                    };
                    Some($body)
                }
                _ => None,
            },
            None => None,
        }
    };
}

impl ClientTask {
    /// Moves what can be moved in both directions.
    pub(super) fn step_attached(&mut self, cx: &mut Context<'_>, now: Now) -> Step {
        if self.info.has_request()
            && let Some(step) = self.attached_request(now)
        {
            return step;
        }
        self.tell_time(now);
        while self.answer_in_block(now) {}
        // Client to server.
        let progress = match self.leaves_to_listen() || self.waits_for_cancel() {
            true => Progress::Held,
            false => match with_link!(self, |link| link.requests()) {
                Some(Ok(progress)) => progress,
                Some(Err(violation)) => return Step::end(End::Violation(violation)),
                None => return Step::Again,
            },
        };
        match self.flush_up(cx, now) {
            Poll::Ready(Err(error)) => return self.server_gone(Some(error)),
            Poll::Ready(Ok(())) => {
                if progress == Progress::Terminate {
                    return Step::end(End::Terminated);
                }
                if let Some(step) = self.after_requests(now) {
                    return step;
                }
                if self.info.has_request()
                    && let Some(step) = self.notify_kept(cx)
                {
                    return step;
                }
            }
            Poll::Pending => {}
        }
        // Server to client; not read faster than the client takes it.
        let mut waits = true;
        // A short answer of our own goes out together with the server's that is to follow.
        let flushed = if self.may_hold_back() {
            Poll::Ready(Ok(()))
        } else {
            self.flush_down(cx)
        };
        match flushed {
            Poll::Ready(Ok(())) => {
                self.unblock();
                match self.receive(cx, now) {
                    Poll::Ready(step @ Step::Again) => {
                        // The answer goes out before anything else is done.
                        match self.flush_down(cx) {
                            Poll::Ready(Err(error)) => return Step::end(End::from_write(error)),
                            Poll::Ready(Ok(())) => self.unblock(),
                            Poll::Pending => self.block(),
                        }
                        return step;
                    }
                    Poll::Ready(step) => return step,
                    Poll::Pending => {}
                }
            }
            Poll::Ready(Err(error)) => return Step::end(End::from_write(error)),
            Poll::Pending => self.block(),
        }
        // More from the client, also to notice that it has gone.
        match self.fill_up_if_ready(cx) {
            Poll::Ready(Ok(Fill::Bytes)) => waits = false,
            Poll::Ready(Ok(Fill::Eof)) => return Step::end(End::Eof),
            Poll::Ready(Err(error)) => return Step::end(End::from_read(error)),
            Poll::Ready(Ok(Fill::Full)) | Poll::Pending => {}
        }
        if waits { Step::Wait } else { Step::Again }
    }

    fn may_hold_back(&self) -> bool {
        self.active.as_ref().is_some_and(|active| {
            let owed = match &active.phase {
                Phase::Attached(server) => !server.state.backlog.is_empty(),
                _ => false,
            };
            let held = active.hold_down.is_some() || active.write_by.is_some();
            owed && !held && active.x.down.pending_len() <= 4096
        })
    }

    /// Reads from the server and looks at what it says.
    fn receive(&mut self, cx: &mut Context<'_>, now: Now) -> Poll<Step> {
        match self.fill_down(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(Fill::Bytes)) => {}
            Poll::Ready(Ok(Fill::Eof)) => return Poll::Ready(self.server_gone(None)),
            Poll::Ready(Err(error)) => return Poll::Ready(self.server_gone(Some(error))),
            Poll::Ready(Ok(Fill::Full)) => return Poll::Pending,
        }
        match with_link!(self, |link| link.answers()) {
            Some(Err(violation)) => {
                log_client!(warn, self.info, pool = ?self.pool, error = %violation,
                    "server connection out of step");
                let message = "protocol violation by the server";
                self.fails(message);
                Poll::Ready(self.abandon(
                    Fault::ServerLost,
                    sqlstate::PROTOCOL_VIOLATION,
                    message,
                    Fate::Discard("protocol violation"),
                ))
            }
            _ => {
                self.note_answers();
                self.note_write();
                self.hold_until_told();
                self.settle_fill(now);
                self.next_of_pipeline(now);
                Poll::Ready(Step::Again)
            }
        }
    }

    /// A write that has ended is acknowledged when other instances know of it, where they must.
    #[inline]
    fn hold_until_told(&mut self) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        let Phase::Attached(server) = &mut active.phase else {
            return;
        };
        if server.state.writes.take_ended()
            && let Some(tier) = &self.pool.shared().tier
        {
            active.hold_down = Some(tier.told());
        }
    }

    /// Statements that the client has sent in advance each have their own time.
    fn next_of_pipeline(&mut self, now: Now) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        let Phase::Attached(server) = &active.phase else {
            return;
        };
        if active.x.tally.queries == 0 || server.state.backlog.is_empty() {
            return;
        }
        // What was being cancelled is over. As long as the request may still arrive, it is ours that hits the next.
        active.cancelling = None;
        if !server.is_being_cancelled() {
            active.x.cancel_text = None;
        }
        let shard = self.pool.shard(self.worker.home());
        shard.take(&mut active.x.tally);
        if let Some(began) = active.statement_began.replace(now.micros) {
            shard.times.query.observe(now.micros.saturating_sub(began));
            told::statement_over(active, &self.info, began, now);
        }
        if let Some(began) = &mut active.server_began {
            let served = now.micros.saturating_sub(*began);
            shard.times.server.observe(served);
            *began = now.micros;
        }
        self.set_running_deadline(now.micros);
    }

    /// All complete requests are sent. Gives the server connection back if nothing is owed on it.
    fn after_requests(&mut self, now: Now) -> Option<Step> {
        let active = self.active.as_mut()?;
        let Phase::Attached(server) = &mut active.phase else {
            return Some(Step::Again);
        };
        if let Some(error) = active.x.replay_error.take() {
            let end = End::Fatal(
                Fault::Setting,
                SqlState::new(&error.code),
                format!(
                    "a setting of this session can no longer be made: {}",
                    error.message
                ),
            );
            return Some(Step::end(end));
        }
        let quiet = server.state.backlog.is_empty() && !active.x.group.open && !active.x.retry;
        if !quiet || active.x.up.in_message() {
            if active.statement_began.is_none() {
                self.statement_begins(now);
            }
            return None;
        }
        if !server.state.is_idle() {
            if active.statement_began.is_some() {
                self.statement_ends(now, false);
            }
            return self.statement_mode_violation();
        }
        if !active.x.up.unscanned().is_empty()
            && active.x.leash != Leash::Used
            && !self.leaves_to_listen()
        {
            // The rest of a large request is on its way.
            return None;
        }
        let active = self.active.as_ref()?;
        if active.statement_began.is_none() && active.began.is_none() {
            // Pinned or in session mode, and nothing new: it stays as it is.
            return self.leave_if_asked();
        }
        self.transaction_over(now)
    }

    fn transaction_over(&mut self, now: Now) -> Option<Step> {
        let active = self.active.as_mut()?;
        let settings = active.settings.as_deref()?;
        let (mode, policy) = (settings.mode, settings.session_state);
        let always = settings.database.server.reset_query_always;
        if active.x.is_unsure() && self.waits_for_cancel() {
            return None;
        }
        let active = self.active.as_mut()?;
        if !active.x.ask_values.is_empty() {
            with_link!(self, |link| link.ask_for_values());
            return Some(Step::Again);
        }
        if !active.x.channels_done.is_empty() {
            self.note_channels(policy != SessionStatePolicy::Allow);
        }
        let active = self.active.as_mut()?;
        let asks =
            active.x.probe && policy != SessionStatePolicy::Allow && mode != PoolMode::Session;
        if asks {
            with_link!(self, |link| link.ask_for_pins());
            return Some(Step::Again);
        }
        self.statement_ends(now, true);
        let active = self.active.as_mut()?;
        let Phase::Attached(server) = &mut active.phase else {
            return Some(Step::Again);
        };
        if std::mem::take(&mut active.x.settings_unknown) {
            server.state.settings = None;
        }
        let keeps = mode == PoolMode::Session
            || (policy != SessionStatePolicy::Allow && !self.state.pins.is_empty());
        if keeps {
            self.note_pin(mode);
            self.set_idle_deadline(now);
            return self.leave_if_asked().or_else(|| self.stay());
        }
        Some(self.release(now, always))
    }

    fn note_pin(&mut self, mode: PoolMode) {
        if mode != PoolMode::Session {
            self.pool.shard(self.worker.home()).pins.add(1);
            let here = self.pool.shared().events_at(self.worker.home());
            self.state.pins.iter().for_each(|pin| here.pins.count(pin));
            if self.pins_told != self.state.pins {
                self.pins_told = self.state.pins;
                let pins: Vec<_> = self.state.pins.iter().map(|p| p.label()).collect();
                log_client!(info, self.info, reason = pins.join(","), "client is pinned");
            }
        }
    }

    fn statement_mode_violation(&mut self) -> Option<Step> {
        let settings = self.active.as_ref()?.settings.as_deref()?;
        if settings.mode != PoolMode::Statement {
            return None;
        }
        let message = "transaction blocks not allowed in statement pooling mode".to_owned();
        let code = sqlstate::PROTOCOL_VIOLATION;
        Some(Step::end(End::Fatal(Fault::StatementMode, code, message)))
    }

    /// The connection goes back to the pool.
    fn release(&mut self, now: Now, reset: bool) -> Step {
        let home = self.worker.home();
        self.pins_told = Pins::default();
        let Some(server) = self.unlink(now) else {
            return Step::Again;
        };
        let lender = self.lender();
        if reset {
            lender.recycle(server, Work::Reset);
        } else {
            lender.release(server, home, now.instant);
        }
        Step::Again
    }

    /// Client and server go separate ways; the client is detached.
    pub(super) fn unlink(&mut self, now: Now) -> Option<Box<crate::server::Server>> {
        // What was under way may be committed yet, or have been.
        self.note_write();
        self.count_lost(now);
        let active = self.active.as_mut()?;
        told::statement_cut_off(active, &self.info, now);
        told::transaction_cut_off(active, &self.context, &self.info, now);
        let phase = std::mem::replace(&mut active.phase, Phase::Detached);
        active.x.detach();
        active.fill = None;
        self.state.in_group = false;
        if let Some(buffer) = active.x.down.give_back() {
            self.worker.give_buffer(buffer);
        }
        active.began = None;
        active.urgent = false;
        active.write_by = None;
        active.statement_began = None;
        active.server_began = None;
        active.cancelling = None;
        self.set_idle_deadline(now);
        match phase {
            Phase::Attached(server) => {
                server.info.set_prepared(server.state.prepared_count());
                self.info.set_prepared(self.state.statement_count());
                Some(server)
            }
            Phase::Waiting(ticket) => {
                self.lender().cancel_wait(ticket, self.worker.home());
                None
            }
            Phase::Detached
            | Phase::Joined(_)
            | Phase::Looking(_)
            | Phase::Listening(_)
            | Phase::Throttled => None,
        }
    }

    fn attached_request(&mut self, now: Now) -> Option<Step> {
        if self.info.is_requested(Control::Kill) {
            return Some(Step::end(End::Killed));
        }
        if self.info.is_requested(Control::Cancel) {
            // Before the request is gone: who has made it waits for the end of both.
            let begun = self.info.begin_cancel();
            self.info.take(Control::Cancel);
            if begun.is_some() {
                self.send_cancel(begun);
            }
        }
        if self.info.take(Control::Forsake)
            && let Some(step) = self.forsaken()
        {
            return Some(step);
        }
        if self.is_expired(now) {
            return self.deadline_passed(now);
        }
        None
    }

    fn server_gone(&mut self, error: Option<std::io::Error>) -> Step {
        let words = self.active.as_mut().and_then(|a| a.x.last_words.take());
        self.lender().forget_answers();
        self.fails("server connection lost");
        log_client!(warn, self.info, pool = ?self.pool, error = ?error, last_words = ?words,
            "server connection lost");
        match words {
            Some(words) => self.abandon(
                lost_by(&words.code),
                SqlState::new(&words.code),
                &words.message,
                Fate::Discard("server closed the connection"),
            ),
            None => self.abandon(
                Fault::ServerLost,
                sqlstate::CONNECTION_FAILURE,
                "server closed the connection unexpectedly",
                Fate::Discard("server conn crashed?"),
            ),
        }
    }

    fn statement_begins(&mut self, now: Now) {
        if let Some(active) = self.active.as_mut() {
            active.statement_began = Some(now.micros);
            if active.began.is_none() {
                // The next transaction on a connection that was kept.
                active.began = Some(now.micros);
                active.settings = Some(self.pool.settings_now());
                told::begins_kept(active, &self.context);
            }
        }
        let server = self.info.server();
        self.info.set_state(State::Active, server, now.millis());
        self.set_running_deadline(now.micros);
    }

    /// Takes the time; between statements of a transaction the client may idle only so long.
    fn statement_ends(&mut self, now: Now, transaction_too: bool) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        let shard = self.pool.shard(self.worker.home());
        if let Some(began) = active.statement_began.take() {
            shard.times.query.observe(now.micros.saturating_sub(began));
            told::statement_over(active, &self.info, began, now);
            active.x.told.forget_all();
        }
        if let Some(began) = active.server_began.take() {
            shard.times.server.observe(now.micros.saturating_sub(began));
        }
        active.cancelling = None;
        active.x.cancel_text = None;
        shard.take(&mut active.x.tally);
        if transaction_too {
            if let Some(began) = active.began.take() {
                let micros = now.micros.saturating_sub(began);
                shard.times.transaction.observe(micros);
                told::transaction_over(active, &self.context, &self.info, began, now);
            }
        } else {
            self.set_idle_in_transaction_deadline(now);
        }
    }
}
