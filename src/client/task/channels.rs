//! A client that listens by the pool's listening connection: asking for it, and being given what has
//! come, when it is in no transaction and all that it has asked for is answered.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::io_steps::Fill;
use super::{ClientTask, End, Phase, Step};
use crate::channels::subscriber::{Deafness, Subscriber};
use crate::channels::{Asked, Ears, Refusal, Reply, listener};
use crate::client::info::{Control, Now};
use crate::protocol::sqlstate;
use crate::session::channels::{self, Asks, Owed};
use crate::session::client::Detached;
use crate::session::fault::Fault;
use crate::session::link::ChannelChange;
use crate::sql::{ChannelName, Listening};

/// So many bytes of notifications are given at once, about.
const AT_ONCE: usize = 64 * 1024;

/// A `LISTEN` that the server has not acknowledged.
#[derive(Debug)]
pub(super) struct Asking {
    asked: Asked,
    channel: Arc<str>,
    owed: Owed,
}

impl ClientTask {
    /// Deals with the client's next message, if it is about channels and nothing else.
    pub(super) fn ask_for_channels(&mut self, cx: &mut Context<'_>, now: Now) -> Option<Step> {
        let listens = self.ears.is_some();
        let active = self.active.as_mut()?;
        let registry = &self.pool.statements;
        match channels::asks(&mut self.state, &mut active.x, registry, listens) {
            Asks::Else => None,
            Asks::Answered => Some(Step::Again),
            Asks::More => Some(match self.fill_up(cx) {
                Poll::Ready(Ok(Fill::Bytes)) => Step::Again,
                Poll::Ready(Ok(Fill::Eof | Fill::Full)) => Step::end(End::Eof),
                Poll::Ready(Err(error)) => Step::end(End::from_read(error)),
                Poll::Pending => Step::Wait,
            }),
            Asks::Listening(Listening::Listen(name), owed) => Some(self.listen(name, owed, now)),
            Asks::Listening(Listening::Unlisten(name), owed) => {
                self.unlisten(Some(&name.name));
                self.answer_channels(owed, &Ok(Vec::new()), now);
                Some(Step::Again)
            }
            Asks::Listening(Listening::UnlistenAll, owed) => {
                self.unlisten(None);
                self.answer_channels(owed, &Ok(Vec::new()), now);
                Some(Step::Again)
            }
        }
    }

    /// The server connection is to be given back before the client's next message is looked at: it has
    /// only just been asked whether it holds anything, the client has not waited for that, and what it
    /// wants next needs no server connection.
    pub(super) fn leaves_to_listen(&self) -> bool {
        let Some(active) = self.active.as_ref().filter(|a| a.x.asked_itself) else {
            return false;
        };
        let Phase::Attached(server) = &active.phase else {
            return false;
        };
        let shares = active.settings.as_ref().is_some_and(|s| s.shares_channels);
        shares
            && self.state.pins.is_empty()
            && server.state.is_idle()
            && !active.x.group.open
            && !active.x.retry
            && !active.x.up.in_message()
            && channels::may_ask(&self.state, active.x.up.unscanned())
    }

    fn listen(&mut self, name: ChannelName, owed: Owed, now: Now) -> Step {
        let limit = self.pool.settings().database.listen_queue_size;
        let ears = self.ears.get_or_insert_with(|| {
            let subscriber = Subscriber::new(&self.info, limit);
            Box::new(Ears::new(self.pool.channels(), subscriber))
        });
        let channel = channels::channel(&name);
        let asked = ears.listen(&channel, name.written);
        if asked.needs_listener {
            let control = &self.pool.shared().control;
            control.spawn(listener::run(Arc::clone(&self.pool)));
        }
        let asking = Asking {
            asked,
            channel,
            owed,
        };
        self.wait_in(Phase::Listening(Box::new(asking)), now);
        Step::Again
    }

    /// Until the server has acknowledged it.
    pub(super) fn step_listening(&mut self, cx: &mut Context<'_>, now: Now) -> Step {
        let Some(active) = self.active.as_mut() else {
            return Step::Idle;
        };
        let Phase::Listening(asking) = &mut active.phase else {
            return Step::Again;
        };
        let reply = match Pin::new(&mut asking.asked.answer).poll(cx) {
            Poll::Ready(reply) => reply,
            Poll::Pending => return self.watch_while_listening(cx, now),
        };
        let owed = asking.owed;
        let reply = reply.unwrap_or_else(|_| {
            Err(Refusal {
                code: sqlstate::CONNECTION_FAILURE.as_str().to_owned(),
                message: "the listening connection was lost".to_owned(),
                fault: Some(Fault::ServerLost),
            })
        });
        self.set_detached(now);
        self.answer_channels(owed, &reply, now);
        self.close_idle_ears();
        Step::Again
    }

    fn watch_while_listening(&mut self, cx: &mut Context<'_>, now: Now) -> Step {
        let Some(Phase::Listening(asking)) = self.active.as_ref().map(|a| &a.phase) else {
            return Step::Again;
        };
        let abandoned = (asking.asked.is_new).then(|| Arc::clone(&asking.channel));
        if self.info.has_request()
            && let Some(step) = self.joined_request(now)
        {
            // The client is told that it does not listen.
            if let Some(channel) = abandoned {
                self.unlisten(Some(&channel));
            }
            return step;
        }
        self.watch_while_joined(cx)
    }

    fn answer_channels(&mut self, owed: Owed, reply: &Reply, now: Now) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        active.paid = false;
        channels::answer(&mut self.state, &mut active.x, owed, reply);
        let shard = self.pool.shard(self.worker.home());
        shard.take(&mut active.x.tally);
        if let Err(refusal) = reply
            && let Some(why) = refusal.fault
        {
            self.note_fault(why);
        }
        self.set_idle_deadline(now);
    }

    fn unlisten(&mut self, channel: Option<&str>) {
        if let Some(ears) = &self.ears {
            ears.unlisten(channel);
            self.close_idle_ears();
        }
    }

    /// Who listens to nothing any more is as if it never had, unless there is something to be told.
    fn close_idle_ears(&mut self) {
        if self.ears.as_deref().is_some_and(Ears::are_idle) {
            self.ears = None;
        }
    }

    /// What a server connection has done about channels holds for those, too, that the client does not
    /// listen to by it. Those that it `keeps` listening to need not be told twice.
    pub(super) fn note_channels(&mut self, keeps: bool) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        for change in std::mem::take(&mut active.x.channels_done) {
            match change {
                ChannelChange::Listen(channel) => {
                    if let Some(ears) = self.ears.as_ref().filter(|_| keeps) {
                        ears.retire(&channel);
                        self.close_idle_ears();
                    }
                }
                ChannelChange::Unlisten(channel) => self.unlisten(channel.as_deref()),
            }
        }
    }

    /// Why a client that listens cannot go on, if it cannot.
    fn deafness(&self) -> Option<End> {
        let subscriber = self.ears.as_ref()?.subscriber();
        if self.state.seen.get("client_encoding") != Some("UTF8") {
            let text = "client_encoding was changed while listening: notifications are in UTF8";
            return Some(End::Fatal(
                Fault::Notifications,
                sqlstate::FEATURE_NOT_SUPPORTED,
                text.to_owned(),
            ));
        }
        Some(match subscriber.deafness()? {
            Deafness::Lost => End::Fatal(
                Fault::ServerLost,
                sqlstate::ADMIN_SHUTDOWN,
                "the listening connection to the server was lost: notifications may have been missed"
                    .to_owned(),
            ),
            Deafness::Overflow => End::Fatal(
                Fault::Notifications,
                sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
                format!(
                    "too many notifications wait for this client (listen_queue_size = {})",
                    subscriber.limit()
                ),
            ),
        })
    }

    /// The same, for a client without a server connection.
    pub(super) fn detached_deafness(&self) -> Option<End> {
        let outside = matches!(
            self.state.detached,
            Detached::Ready | Detached::SkippingToSync
        );
        let asked = self.info.is_requested(Control::Notify);
        (outside && asked).then(|| self.deafness()).flatten()
    }

    /// Gives what has come to a client without a server connection, whose answers have all gone out.
    /// Says whether there was anything.
    pub(super) fn notify_detached(&mut self) -> bool {
        let at_rest = self.state.detached == Detached::Ready && !self.state.in_group;
        at_rest && self.info.is_requested(Control::Notify) && self.notify()
    }

    /// Gives what has come to a client that keeps its server connection, between two transactions.
    pub(super) fn notify_kept(&mut self, cx: &mut Context<'_>) -> Option<Step> {
        if !self.info.is_requested(Control::Notify) || !self.is_quiet() {
            return None;
        }
        if let Some(end) = self.deafness() {
            return Some(Step::end(end));
        }
        match self.flush_down(cx) {
            Poll::Ready(Ok(())) => {
                self.notify();
                None
            }
            Poll::Ready(Err(error)) => Some(Step::end(End::from_write(error))),
            Poll::Pending => None,
        }
    }

    /// Attached, and in the middle of nothing in either direction.
    fn is_quiet(&self) -> bool {
        let Some(active) = &self.active else {
            return false;
        };
        let Phase::Attached(server) = &active.phase else {
            return false;
        };
        let (up, down) = (&active.x.up, &active.x.down);
        server.state.is_idle()
            && active.began.is_none()
            && active.statement_began.is_none()
            && !active.x.group.open
            && !active.x.retry
            && !self.state.in_group
            && !up.in_message()
            && !down.in_message()
            && down.unscanned().is_empty()
    }

    fn notify(&mut self) -> bool {
        self.info.take(Control::Notify);
        let (Some(active), Some(ears)) = (&mut self.active, &self.ears) else {
            return false;
        };
        let out = active.x.down.insert();
        let before = out.len();
        let all = ears.subscriber().take(AT_ONCE, out);
        let given = out.len() > before;
        match all {
            false => self.info.request(Control::Notify),
            true => self.close_idle_ears(),
        }
        given
    }
}
