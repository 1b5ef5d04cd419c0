//! What others may know of a client, and how they reach its task.
//!
//! A client's task is the only one that touches its sockets and state. Others set a bit of
//! [`Control`] and wake it.

use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

use super::cancel_key::CancelKey;
use crate::net::stream::Tls;
use crate::protocol::startup::Replication;
use crate::server::connect::Address;

/// Logs something about a client, with who it is: `log_client!(warn, info, error, "...")`.
macro_rules! log_client {
    ($level:ident, $info:expr, $($said:tt)+) => {{
        let info: &$crate::client::info::ClientInfo = &$info;
        tracing::$level!(client = info.id, database = %info.database, user = %info.user,
            application = info.application_name.as_deref().unwrap_or_default(),
            peer = %info.peer, $($said)+)
    }};
}
pub(crate) use log_client;

/// Time since the process started; cheap to keep in an atomic.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    #[inline]
    pub fn millis(self, now: Instant) -> u64 {
        now.saturating_duration_since(self.0).as_millis() as u64
    }

    #[inline]
    pub fn now(self) -> Now {
        let instant = Instant::now();
        let micros = instant.saturating_duration_since(self.0).as_micros() as u64;
        Now { instant, micros }
    }
}

/// A moment, in both of the forms that are needed: a task reads the clock once each time it runs,
/// because reading it and computing with [`Instant`]s cost more than what is decided by it.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub instant: Instant,
    /// Microseconds since the process started.
    pub micros: u64,
}

impl Now {
    /// As [`Clock::millis`].
    #[inline]
    pub fn millis(self) -> u64 {
        self.micros / 1000
    }
}

/// No deadline is set.
pub const NEVER: u64 = u64::MAX;

/// Requests to a client's task, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Control {
    /// Cancel the running query.
    Cancel = 1,
    /// Close the connection now.
    Kill = 2,
    /// Close the connection at the end of the transaction.
    Drain = 4,
    /// The deadline has passed.
    Deadline = 8,
    /// Close the connection when it is in no transaction, if its server connection is to be closed.
    Vacate = 16,
    /// Move to another process at the end of the transaction.
    HandOver = 32,
    /// Its server connection is not waited for any longer.
    Forsake = 64,
    /// A channel that it listens to has something for it.
    Notify = 128,
}

/// As `SHOW CLIENTS` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Idle,
    Waiting,
    Active,
}

impl State {
    pub fn label(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Waiting => "waiting",
            State::Active => "active",
        }
    }
}

#[derive(Debug)]
pub struct ClientInfo {
    /// From the same counter as servers' numbers.
    pub id: u64,
    pub key: CancelKey,
    pub database: Arc<str>,
    pub user: Arc<str>,
    pub application_name: Option<Arc<str>>,
    pub peer: Address,
    pub local: Address,
    pub tls: Tls,
    pub replication: Replication,
    pub connected: SystemTime,
    /// Of its socket.
    fd: AtomicI32,
    live: Live,
}

/// What changes while the client is served, side by side in memory: with many clients, fetching a
/// cache line costs more than all that is done with it.
#[derive(Debug)]
struct Live {
    /// [`Clock::millis`] at which the task wants to be woken.
    deadline: AtomicU64,
    /// [`Clock::millis`] since which the state holds.
    since: AtomicU64,
    /// Number of the server connection that it has; 0 for none.
    server: AtomicU64,
    prepared: AtomicU32,
    /// Cancel requests that a server has not taken yet.
    cancels: AtomicU16,
    control: AtomicU8,
    state: AtomicU8,
    waker: OnceLock<Waker>,
}

/// What is fixed about a client.
#[derive(Debug)]
pub struct ClientIdentity {
    pub id: u64,
    pub key: CancelKey,
    pub database: Arc<str>,
    pub user: Arc<str>,
    pub application_name: Option<Arc<str>>,
    pub peer: Address,
    pub local: Address,
    pub tls: Tls,
    pub replication: Replication,
}

impl ClientInfo {
    pub fn new(identity: ClientIdentity) -> ClientInfo {
        ClientInfo::connected_at(identity, SystemTime::now())
    }

    /// Of a client that has been there since `connected`.
    pub fn connected_at(identity: ClientIdentity, connected: SystemTime) -> ClientInfo {
        ClientInfo {
            id: identity.id,
            key: identity.key,
            database: identity.database,
            user: identity.user,
            application_name: identity.application_name,
            peer: identity.peer,
            local: identity.local,
            tls: identity.tls,
            replication: identity.replication,
            connected,
            fd: AtomicI32::new(-1),
            live: Live {
                deadline: AtomicU64::new(NEVER),
                since: AtomicU64::new(0),
                server: AtomicU64::new(0),
                prepared: AtomicU32::new(0),
                cancels: AtomicU16::new(0),
                control: AtomicU8::new(0),
                state: AtomicU8::new(State::Idle as u8),
                waker: OnceLock::new(),
            },
        }
    }

    /// The same client for a new task.
    pub fn again(&self) -> ClientInfo {
        let identity = ClientIdentity {
            id: self.id,
            key: self.key.clone(),
            database: Arc::clone(&self.database),
            user: Arc::clone(&self.user),
            application_name: self.application_name.clone(),
            peer: self.peer.clone(),
            local: self.local.clone(),
            tls: self.tls,
            replication: self.replication,
        };
        ClientInfo::connected_at(identity, self.connected)
    }

    /// How long it has been connected.
    pub fn age(&self) -> Duration {
        self.connected.elapsed().unwrap_or_default()
    }

    /// The task introduces itself. A spawned task has one waker for all its life.
    pub fn set_waker(&self, waker: &Waker) {
        self.live.waker.get_or_init(|| waker.clone());
    }

    pub fn request(&self, control: Control) {
        self.request_all(&[control]);
    }

    /// Something has changed that the task looks at by itself.
    pub fn wake(&self) {
        self.request_all(&[]);
    }

    /// Several at once: the task does not see one without the others.
    pub fn request_all(&self, controls: &[Control]) {
        let all = controls.iter().fold(0, |all, c| all | *c as u8);
        self.live.control.fetch_or(all, Ordering::Release);
        if let Some(waker) = self.live.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Whether there may be a request; costs a load.
    #[inline]
    pub fn has_request(&self) -> bool {
        self.live.control.load(Ordering::Relaxed) != 0
    }

    /// Takes the request, if it was made.
    pub fn take(&self, control: Control) -> bool {
        self.live
            .control
            .fetch_and(!(control as u8), Ordering::AcqRel)
            & control as u8
            != 0
    }

    /// The request stays.
    pub fn is_requested(&self, control: Control) -> bool {
        self.live.control.load(Ordering::Acquire) & control as u8 != 0
    }

    /// The task sends a cancel request to a server. `None`: there are too many already.
    pub fn begin_cancel(self: &Arc<ClientInfo>) -> Option<CancelBegun> {
        let one_more = |n: u16| n.checked_add(1);
        let counter = &self.live.cancels;
        let counted = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.ok().map(|_| CancelBegun(Arc::clone(self)))
    }

    /// Whether a cancel request has been made that no server has taken, and that has not been dropped
    /// because nothing is running.
    pub fn is_being_cancelled(&self) -> bool {
        self.is_requested(Control::Cancel) || self.live.cancels.load(Ordering::Relaxed) > 0
    }

    #[inline]
    pub fn set_deadline(&self, at: u64) {
        self.live.deadline.store(at, Ordering::Relaxed);
    }

    #[inline]
    pub fn deadline(&self) -> u64 {
        self.live.deadline.load(Ordering::Relaxed)
    }

    #[inline]
    pub fn set_state(&self, state: State, server: u64, now: u64) {
        self.live.state.store(state as u8, Ordering::Relaxed);
        self.live.server.store(server, Ordering::Relaxed);
        self.live.since.store(now, Ordering::Relaxed);
    }

    pub fn state(&self) -> State {
        match self.live.state.load(Ordering::Relaxed) {
            0 => State::Idle,
            1 => State::Waiting,
            _ => State::Active,
        }
    }

    pub fn server(&self) -> u64 {
        self.live.server.load(Ordering::Relaxed)
    }

    pub fn since(&self) -> u64 {
        self.live.since.load(Ordering::Relaxed)
    }

    pub fn set_prepared(&self, count: usize) {
        self.live
            .prepared
            .store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// The descriptor of its socket; -1 if it is not known.
    pub fn fd(&self) -> i32 {
        self.fd.load(Ordering::Relaxed)
    }

    pub fn set_fd(&self, fd: i32) {
        self.fd.store(fd, Ordering::Relaxed);
    }

    pub fn prepared(&self) -> u32 {
        self.live.prepared.load(Ordering::Relaxed)
    }
}

/// A cancel request of a client that is on its way to a server.
#[derive(Debug)]
pub struct CancelBegun(Arc<ClientInfo>);

impl Drop for CancelBegun {
    fn drop(&mut self) {
        self.0.live.cancels.fetch_sub(1, Ordering::Relaxed);
    }
}
