//! A client's task: the spine of pgweir.
//!
//! ```text
//!   idle ── bytes ──> detached ── needs a server ──> waiting ──> attached
//!     ^                  ^                                          │ transaction over
//!     └── nothing left ──┴──────────────────────────────────────────┘
//! ```
//!
//! Written as a `Future` by hand, because its size counts: most clients are idle, and an idle one
//! holds no buffers and no state of a transaction. Those are in [`Active`], which is taken from
//! the worker when bytes arrive and given back when nothing is left to do.
//!
//! Each state has one step; a step does what can be done without waiting and says how to go on.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::info::{ClientInfo, Clock, Control, Now, State};
use crate::channels::Ears;
use crate::config::{PoolMode, SessionStatePolicy, Timeouts};
use crate::net::stream::Stream;
use crate::pool::Pool;
use crate::pool::budget::Permit;
use crate::pool::core::{Granted, Ticket};
use crate::pool::settings::PoolSettings;
use crate::server::{Activity, Server};
use crate::session::client::ClientState;
use crate::session::detached::{self, Wants};
use crate::session::link::{Link, Rules};
use crate::session::pins::Pins;
use crate::telemetry::events::{Retry, Timeout};
use crate::telemetry::traces::Tracer;
use crate::worker::{Home, Worker};

mod abandon;
mod active;
mod asked;
mod attached;
mod block;
mod cached;
mod cancelling;
mod channels;
mod counted;
mod end;
mod io_steps;
mod moving;
mod noting;
mod queued;
mod reading;
mod refusing;
mod shared;
mod timeouts;
mod told;

pub use active::Active;
use active::Phase;
pub use end::End;
use io_steps::Fill;
pub use moving::ClientParts;

/// How a task goes on after a step.
enum Step {
    Again,
    /// Nothing can be done before something happens.
    Wait,
    /// Nothing is left to do: back to idle.
    Idle,
    /// Boxed: it is rare, and a step is handed on several times a query.
    End(Box<End>),
    /// It is no longer this process's.
    Moved,
}

impl Step {
    fn end(end: End) -> Step {
        Step::End(Box::new(end))
    }
}

/// Ends a client's presence in all lists when its task ends, however it ends.
pub trait Farewell: Send + Sync + std::fmt::Debug {
    fn gone(&self, info: &ClientInfo, end: &End);
    /// The client goes on elsewhere: it was asked to ([`Control::HandOver`]).
    fn moves(&self, client: ClientParts);
}

/// A logged-in client.
#[derive(Debug)]
pub struct ClientTask {
    stream: Stream,
    state: ClientState,
    info: Arc<ClientInfo>,
    pool: Arc<Pool>,
    worker: Arc<Worker>,
    context: Arc<Surroundings>,
    active: Option<Box<Active>>,
    /// If it listens to anything by the pool's listening connection.
    ears: Option<Box<Ears>>,
    /// Of the user that it has logged in as, where the pool is another user's.
    own_timeouts: Option<Arc<Timeouts>>,
    /// What the log says it is pinned by.
    pins_told: Pins,
    /// When its last write was over, at the latest, where its reads may go to replicas.
    wrote_at: Option<Instant>,
    /// Taken away when it moves.
    permit: Option<Permit>,
    /// Others can wake it.
    introduced: bool,
    done: bool,
}

/// What is the same for all clients.
#[derive(Debug)]
pub struct Surroundings {
    pub clock: Clock,
    pub max_packet_size: usize,
    /// See [`crate::config::StartupRules`].
    pub no_simple_queries: bool,
    /// If transactions are traced.
    pub tracer: Option<Arc<Tracer>>,
    pub farewell: Box<dyn Farewell>,
}

/// What a task is made of.
pub struct NewClient {
    pub client: ClientParts,
    pub worker: Arc<Worker>,
    pub context: Arc<Surroundings>,
}

impl ClientTask {
    pub fn new(new: NewClient) -> ClientTask {
        let client = new.client;
        let mut task = ClientTask {
            stream: client.stream,
            state: client.state,
            info: client.info,
            pool: client.pool,
            worker: new.worker,
            context: new.context,
            active: None,
            ears: None,
            own_timeouts: client.own_timeouts,
            pins_told: Pins::default(),
            wrote_at: client.wrote_at,
            permit: Some(client.permit),
            introduced: false,
            done: false,
        };
        task.unpack(client.server, &client.unread);
        task
    }

    pub fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// The task is on its worker's thread now.
    ///
    /// # Errors
    /// A socket could not be registered; the client is gone.
    pub fn arrive(&mut self) -> io::Result<()> {
        self.set_idle_deadline(self.context.clock.now());
        if let Some(active) = &mut self.active
            && let Phase::Attached(server) = &mut active.phase
        {
            server.move_to(self.worker.home())?;
        }
        self.info.set_fd(self.stream.fd());
        self.stream.rehome()
    }
}

impl Future for ClientTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        if !task.introduced {
            task.introduced = true;
            task.info.set_waker(cx.waker());
        }
        let now = task.context.clock.now();
        loop {
            match task.step(cx, now) {
                Step::Again => {}
                Step::Wait => return Poll::Pending,
                Step::Idle => {
                    task.become_idle();
                    return Poll::Pending;
                }
                Step::End(end) => {
                    task.finish(&end);
                    return Poll::Ready(());
                }
                Step::Moved => return Poll::Ready(()),
            }
        }
    }
}

impl Drop for ClientTask {
    /// The worker stops, or the task has ended by itself.
    fn drop(&mut self) {
        if !self.done {
            self.finish(&End::Stopped);
        }
        self.worker.left();
    }
}

impl ClientTask {
    fn step(&mut self, cx: &mut Context<'_>, now: Now) -> Step {
        let active = self.active.get_or_insert_with(|| self.worker.take_active());
        match active.phase {
            Phase::Detached => self.step_detached(cx, now),
            Phase::Waiting(ticket) => self.step_waiting(cx, now, ticket),
            Phase::Joined(_) => self.step_joined(cx, now),
            Phase::Looking(_) => self.step_looking(cx, now),
            Phase::Listening(_) => self.step_listening(cx, now),
            Phase::Throttled => self.step_throttled(cx, now),
            Phase::Attached(_) => self.step_attached(cx, now),
        }
    }

    /// Why an idle client must go, if it must.
    fn idle_request(&mut self, now: Now) -> Option<End> {
        // There is nothing to cancel, and no server connection.
        self.info.take(Control::Cancel);
        self.info.take(Control::Vacate);
        self.info.take(Control::Forsake);
        if self.info.is_requested(Control::Kill) {
            return Some(End::Killed);
        }
        if let Some(end) = self.detached_deafness() {
            return Some(end);
        }
        let expired = self.is_expired(now);
        if expired {
            self.note_timeout(Timeout::ClientIdle);
        }
        expired.then_some(End::ClientIdleTimeout)
    }

    fn become_idle(&mut self) {
        if let Some(active) = self.active.take() {
            self.worker.give_active(active);
        }
    }

    /// Answers what needs no server connection, and looks for one when something does.
    fn step_detached(&mut self, cx: &mut Context<'_>, now: Now) -> Step {
        if self.info.has_request()
            && let Some(end) = self.idle_request(now)
        {
            return Step::end(end);
        }
        match self.flush_down(cx) {
            Poll::Ready(Ok(())) => {}
            // More requests are not read before the answers are taken.
            Poll::Pending => return Step::Wait,
            Poll::Ready(Err(error)) => return Step::end(End::from_write(error)),
        }
        if self.info.has_request() {
            // It has what it has been promised.
            if self.info.is_requested(Control::Drain) && !self.may_move() {
                return Step::end(End::ShuttingDown);
            }
            if self.notify_detached() {
                return Step::Again;
            }
        }
        let Some(active) = self.active.as_mut() else {
            return Step::Idle;
        };
        let wants = detached::requests(
            &mut self.state,
            &mut active.x,
            rules(
                &self.pool,
                active.settings.as_deref(),
                &self.context,
                self.worker.home(),
            ),
        );
        active.note_faults(&self.pool, self.worker.home());
        match wants {
            Err(violation) => Step::end(End::Violation(violation)),
            Ok(Wants::Terminate) => Step::end(End::Terminated),
            Ok(Wants::Server) => self.ask(cx, now),
            Ok(Wants::Bytes) if active.x.down.pending_len() > 0 => Step::Again,
            Ok(Wants::Bytes) => match self.fill_up(cx) {
                Poll::Ready(Ok(Fill::Eof)) => Step::end(End::Eof),
                Poll::Ready(Ok(_)) => Step::Again,
                Poll::Ready(Err(error)) => Step::end(End::from_read(error)),
                Poll::Pending if self.info.has_request() && self.moves() => Step::Moved,
                // What comes next wakes the task.
                Poll::Pending => match &self.active {
                    Some(active) if active.x.up.is_empty() => Step::Idle,
                    _ => Step::Wait,
                },
            },
        }
    }

    fn step_waiting(&mut self, cx: &mut Context<'_>, now: Now, ticket: Ticket) -> Step {
        match self.lender().take(ticket) {
            Granted::Server(server) if self.info.take(Control::Cancel) => {
                let home = self.worker.home();
                self.lender().release(server, home, now.instant);
                return self.cancelled_waiting(now);
            }
            Granted::Server(server) => {
                if !self.lender().is_lost(&server) {
                    return self.attach_or_go_on(server, cx, now);
                }
                // Nothing was sent, so another one does as well.
                let lender = self.lender();
                lender.discard(server, "server closed the connection");
                self.note_retry(Retry::LostServer);
                self.set_detached(now);
                return Step::Again;
            }
            Granted::Failed if self.is_lent() => {
                self.count_read(|shard| &shard.reads_nowhere);
                self.note_retry(Retry::Replica);
                return self.checkout_from(None, cx, now);
            }
            Granted::Failed => {
                self.note_vain_wait(now);
                self.drop_fill();
                self.set_detached(now);
                return self.refuse_for_outage();
            }
            Granted::NotYet => {}
        }
        if self.info.has_request()
            && let Some(step) = self.waiting_request(now, ticket)
        {
            return step;
        }
        self.watch_while_waiting(cx, now, ticket)
    }

    /// A client that has gone must not keep its place.
    fn watch_while_waiting(&mut self, cx: &mut Context<'_>, now: Now, ticket: Ticket) -> Step {
        // What is there for it goes out with the server's answer, unless it cannot wait.
        let urgent = self.active.as_ref().is_some_and(|active| active.urgent);
        if (urgent || self.may_move())
            && let Poll::Ready(Err(error)) = self.flush_down(cx)
        {
            self.lender().cancel_wait(ticket, self.worker.home());
            self.drop_fill();
            self.set_detached(now);
            return Step::end(End::from_write(error));
        }
        match self.fill_up_if_ready(cx) {
            Poll::Pending => Step::Wait,
            Poll::Ready(Ok(Fill::Bytes)) => Step::Again,
            Poll::Ready(Ok(Fill::Full)) => Step::Wait,
            Poll::Ready(gone) => {
                self.lender().cancel_wait(ticket, self.worker.home());
                self.drop_fill();
                self.set_detached(now);
                Step::end(gone.map_or_else(End::from_read, |_| End::Eof))
            }
        }
    }

    fn attach(&mut self, mut server: Box<Server>, now: Now) -> Step {
        if server.move_to(self.worker.home()).is_err() {
            self.lender()
                .discard(server, "cannot be moved to its worker");
            self.drop_fill();
            self.set_detached(now);
            return Step::Again;
        }
        let Some(active) = self.active.as_mut() else {
            self.lender()
                .release(server, self.worker.home(), now.instant);
            return Step::Idle;
        };
        let shard = self.pool.shard(self.worker.home());
        shard.assignments.add(1);
        let mut waited = 0;
        if let Some(since) = active.began.replace(now.micros) {
            waited = now.micros.saturating_sub(since);
            shard.times.wait.observe(waited);
            active.x.counting.waited = waited;
        }
        told::begins(active, &self.context, waited);
        active.x.down.lend(|| self.worker.take_buffer());
        server.info.set_activity(Activity::Active, self.info.id);
        self.info
            .set_state(State::Active, server.info.id, now.millis());
        let mut link = Link {
            client: &mut self.state,
            server: &mut server.state,
            x: &mut active.x,
            rules: rules(
                &self.pool,
                active.settings.as_deref(),
                &self.context,
                self.worker.home(),
            ),
        };
        link.attached();
        active.phase = Phase::Attached(server);
        active.statement_began = Some(now.micros);
        self.set_running_deadline(now.micros);
        Step::Again
    }

    fn set_detached(&mut self, now: Now) {
        if let Some(active) = &mut self.active {
            active.phase = Phase::Detached;
            active.began = None;
        }
        self.set_idle_deadline(now);
    }
}

/// `settings` are those of the transaction; without one, none of the rules depends on them.
fn rules<'a>(
    pool: &'a Pool,
    settings: Option<&'a PoolSettings>,
    context: &Surroundings,
    home: Home,
) -> Rules<'a> {
    Rules {
        registry: &pool.statements,
        session_state: settings.map_or(SessionStatePolicy::Pin, |s| s.session_state),
        statements_only: settings.is_some_and(|s| s.mode == PoolMode::Statement),
        cache: settings.and_then(|s| s.cache.as_ref()),
        max_packet_size: context.max_packet_size,
        no_simple_queries: context.no_simple_queries,
        counted: pool.counted(home),
    }
}
