//! What a client has only while it is not idle.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{cached, channels, shared, timeouts};
use crate::cache::key::Key;
use crate::client::info::NEVER;
use crate::pool::Pool;
use crate::pool::core::Ticket;
use crate::pool::settings::PoolSettings;
use crate::server::Server;
use crate::session::link::Exchange;

/// Bytes read at once from a client.
const UP_BUFFER: usize = 16 * 1024;

/// What a client has only while it is not idle.
#[derive(Debug)]
pub struct Active {
    pub(super) x: Exchange,
    pub(super) phase: Phase,
    /// Whose server connection it has, had last, or waits for, where that is not its own pool.
    pub(super) lender: Option<Arc<Pool>>,
    /// The pool's settings as they were when the transaction began; `None` while idle.
    pub(super) settings: Option<Arc<PoolSettings>>,
    /// When the present wait or transaction began ([`Now::micros`]).
    pub(super) began: Option<u64>,
    /// When the statement that runs began ([`Now::micros`]).
    pub(super) statement_began: Option<u64>,
    /// When all of what the server works on had been sent to it ([`Now::micros`]).
    pub(super) server_began: Option<u64>,
    /// The running statement is being cancelled, for this reason.
    pub(super) cancelling: Option<timeouts::Expired>,
    /// Until when the client may take what it has not taken yet, as [`Now::millis`]: it cannot take more at the moment.
    pub(super) write_by: Option<u64>,
    /// The deadline of whatever else goes on, as [`Now::millis`].
    pub(super) other_deadline: u64,
    /// It waits, and has been told so: that goes out at once.
    pub(super) urgent: bool,
    /// Of the request that was looked for in memory last.
    pub(super) key: Key,
    /// The answer that is on its way is to be kept.
    pub(super) fill: Option<Box<cached::Fill>>,
    /// What another client has asked for has failed: ask for oneself.
    pub(super) alone: bool,
    /// The present request counts towards its user's rate already.
    pub(super) paid: bool,
    /// Nothing is forwarded to the server before this is there.
    pub(super) hold_up: Option<oneshot::Receiver<()>>,
    /// Nothing is passed to the client before this is there.
    pub(super) hold_down: Option<oneshot::Receiver<()>>,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// No server connection; see `session::detached`.
    Detached,
    Waiting(Ticket),
    /// Another client has asked for the same.
    Joined(Box<cached::Waiting>),
    /// Other instances' answers are looked at.
    Looking(Box<shared::Looking>),
    /// The server has not acknowledged its LISTEN.
    Listening(Box<channels::Asking>),
    /// Its user or application has asked too often: its time comes later.
    Throttled,
    Attached(Box<Server>),
}

impl Default for Active {
    fn default() -> Active {
        Active {
            // What the server says is read into a buffer that the client gets with it.
            x: Exchange::new(UP_BUFFER, 0),
            phase: Phase::Detached,
            lender: None,
            settings: None,
            began: None,
            statement_began: None,
            server_began: None,
            cancelling: None,
            write_by: None,
            other_deadline: NEVER,
            urgent: false,
            key: Key::default(),
            fill: None,
            alone: false,
            paid: false,
            hold_up: None,
            hold_down: None,
        }
    }
}

impl Active {
    /// For the next client.
    pub fn clear(&mut self) {
        self.x.clear();
        self.phase = Phase::Detached;
        self.lender = None;
        self.settings = None;
        self.began = None;
        self.statement_began = None;
        self.server_began = None;
        self.cancelling = None;
        self.write_by = None;
        self.other_deadline = NEVER;
        self.urgent = false;
        self.fill = None;
        self.alone = false;
        self.paid = false;
        self.hold_up = None;
        self.hold_down = None;
    }
}
