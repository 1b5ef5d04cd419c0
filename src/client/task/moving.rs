//! Going on in another process (see [`crate::handover`]): when a client can leave this one, and how
//! one that has come begins.

use super::abandon::Fate;
use super::{ClientTask, End, Phase, Step};
use crate::client::info::Control;
use crate::net::stream::{Socket, Stream};
use crate::pool::Pool;
use crate::pool::budget::Permit;
use crate::protocol::sqlstate;
use crate::server::Server;
use crate::session::client::ClientState;
use crate::session::fault::Fault;
use crate::session::settings::Settings;
use crate::{client::info::ClientInfo, config::Timeouts};
use std::sync::Arc;
use std::time::Instant;

/// All that a client is, apart from where it runs.
#[derive(Debug)]
pub struct ClientParts {
    pub stream: Stream,
    pub state: ClientState,
    pub info: Arc<ClientInfo>,
    pub pool: Arc<Pool>,
    /// Counts against the limits on clients as long as it exists.
    pub permit: Permit,
    /// Of the user that it has logged in as, where the pool is another user's.
    pub own_timeouts: Option<Arc<Timeouts>>,
    /// When its last write was over, at the latest, as far as its reads must see it.
    pub wrote_at: Option<Instant>,
    /// Lent to it by the pool, and in no transaction.
    pub server: Option<Box<Server>>,
    /// What it has sent and nobody has looked at.
    pub unread: Vec<u8>,
}

impl ClientTask {
    /// Whether it is to move when it comes to rest.
    pub(super) fn may_move(&self) -> bool {
        let server = match self.active.as_ref().map(|a| &a.phase) {
            Some(Phase::Attached(server)) => Some(&server.stream),
            _ => None,
        };
        // The new process would begin to listen too late.
        self.info.is_requested(Control::HandOver)
            && self.ears.is_none()
            && !self.stream.is_tls()
            && server.is_none_or(|stream| !stream.is_tls())
    }

    /// A client that is in no transaction goes, though it holds a server: to another process, or
    /// because this one shuts down, or because its server connection is to be closed and must not
    /// wait for it (`server_fast_close`).
    pub(super) fn leave_if_asked(&mut self) -> Option<Step> {
        if !self.info.has_request() {
            return None;
        }
        if self.moves() {
            return Some(Step::Moved);
        }
        if self.info.is_requested(Control::Drain) && !self.may_move() {
            return Some(Step::end(End::ShuttingDown));
        }
        if !self.info.take(Control::Vacate) {
            return None;
        }
        let Phase::Attached(server) = &self.active.as_ref()?.phase else {
            return None;
        };
        let outdated = server.info.is_closing();
        outdated.then_some(Step::end(End::DatabaseGone))
    }

    /// Another server has taken the place of this client's, which may be silent for ever.
    pub(super) fn forsaken(&mut self) -> Option<Step> {
        let Phase::Attached(server) = &self.active.as_ref()?.phase else {
            return None;
        };
        if !server.info.is_forsaken() {
            return None;
        }
        let message = "another server has taken the place of the one that this transaction was on";
        self.fails("the server's role has changed");
        let fate = Fate::Discard("the server's role has changed");
        let code = sqlstate::CONNECTION_FAILURE;
        Some(self.abandon(Fault::ServerLost, code, message, fate))
    }

    /// Leaves this process, if it is asked to and in the middle of nothing; says whether it has.
    pub(super) fn moves(&mut self) -> bool {
        if !self.may_move() || !self.state.is_at_rest() {
            return false;
        }
        if let Some(active) = &self.active {
            let (up, down) = (&active.x.up, &active.x.down);
            let rests = match &active.phase {
                Phase::Detached | Phase::Waiting(_) => true,
                Phase::Attached(server) => {
                    let quiet = server.state.is_idle() && !server.is_being_cancelled();
                    // One to a replica is no pool's that the other process knows.
                    quiet && active.began.is_none() && active.lender.is_none()
                }
                Phase::Joined(_) | Phase::Looking(_) | Phase::Listening(_) | Phase::Throttled => {
                    false
                }
            };
            if !rests || !down.is_empty() || up.pending_len() > 0 || up.in_message() {
                return false;
            }
        }
        let unread = self.active.as_ref().map(|a| a.x.up.unscanned().to_vec());
        let server = self.unlink(self.context.clock.now());
        self.become_idle();
        let Some(permit) = self.permit.take() else {
            return false;
        };
        let nothing = ClientState::new(Settings::default(), self.state.seen.clone());
        self.done = true;
        self.context.farewell.moves(ClientParts {
            stream: std::mem::replace(&mut self.stream, Stream::Plain(Socket::Gone)),
            state: std::mem::replace(&mut self.state, nothing),
            info: Arc::clone(&self.info),
            pool: Arc::clone(&self.pool),
            permit,
            own_timeouts: self.own_timeouts.take(),
            wrote_at: self.wrote_at,
            server,
            unread: unread.unwrap_or_default(),
        });
        true
    }

    /// Begins with what a client has brought from where it was before.
    pub(super) fn unpack(&mut self, server: Option<Box<Server>>, unread: &[u8]) {
        if server.is_none() && unread.is_empty() {
            return;
        }
        let mut active = self.worker.take_active();
        active.x.up.unread(unread);
        if let Some(server) = server {
            active.x.down.lend(|| self.worker.take_buffer());
            active.settings = Some(self.pool.settings_now());
            active.phase = Phase::Attached(server);
        }
        self.active = Some(active);
    }
}
