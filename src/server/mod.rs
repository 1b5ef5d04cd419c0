//! A connection to a PostgreSQL server: how it is made ([`connect`], [`auth`], [`password`]), what pgweir says on
//! it for itself ([`dialogue`]), and how its running query is cancelled ([`cancel`]). Of several servers, which
//! one a connection goes to ([`endpoints`], [`role`]), and when one is left alone ([`hosts`], [`breaker`]).

pub mod auth;
pub mod breaker;
pub mod cancel;
pub mod connect;
pub mod dialogue;
pub mod endpoints;
pub mod hosts;
pub mod password;
pub mod role;
pub mod seen;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::config::Host;
use crate::dns::Resolver;
use crate::net::stream::{Stream, Tls};
use crate::pool::budget::Permit;
use crate::protocol::startup::Replication;
use crate::session::reported::Reported;
use crate::session::server::ServerState;
use crate::worker::Home;
use connect::{Address, Endpoint, Established};
use hosts::{HostState, Open};

/// What a server connection is doing, as `SHOW SERVERS` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// Logging in.
    New,
    Idle,
    /// Lent to a client.
    Active,
    /// Between clients, being cleaned or checked.
    Tested,
    /// It listens for clients; see [`crate::channels`].
    Listening,
}

impl Activity {
    pub fn label(self) -> &'static str {
        match self {
            Activity::New => "new",
            Activity::Idle => "idle",
            Activity::Active => "active",
            Activity::Tested => "tested",
            Activity::Listening => "listening",
        }
    }

    fn from_u8(n: u8) -> Activity {
        match n {
            0 => Activity::New,
            1 => Activity::Idle,
            2 => Activity::Active,
            3 => Activity::Tested,
            _ => Activity::Listening,
        }
    }
}

/// What others may know of a server connection while somebody uses it.
#[derive(Debug)]
pub struct ServerInfo {
    /// From the same counter as clients' numbers.
    pub id: u64,
    pub database: Arc<str>,
    pub user: Arc<str>,
    /// As it is named; `peer` is one of its addresses.
    pub host: Host,
    pub peer: Address,
    pub local: Address,
    pub tls: Tls,
    pub replication: Replication,
    /// One of those that a pool has for reads, beside the ones to its primary.
    pub reads: bool,
    pub backend_pid: i32,
    /// Of its socket.
    pub fd: i32,
    pub connected: SystemTime,
    activity: AtomicU8,
    /// Number of the client that it is lent to; 0 for none.
    client: AtomicU64,
    prepared: AtomicU64,
    closing: AtomicBool,
    forsaken: AtomicBool,
    cancels: AtomicUsize,
}

impl ServerInfo {
    /// A cancel request is sent to it, until what this gives is dropped.
    pub fn begin_cancel(self: &Arc<ServerInfo>) -> CancelUnderWay {
        self.cancels.fetch_add(1, Ordering::Release);
        CancelUnderWay(Arc::clone(self))
    }

    /// Cancel requests that are under way to it.
    pub fn cancels(&self) -> usize {
        self.cancels.load(Ordering::Acquire)
    }

    /// Between clients, only because cancel requests are still under way to it.
    pub fn waits_for_cancels(&self) -> bool {
        self.activity() == Activity::Tested && self.cancels() > 0
    }

    /// It is to be closed when it becomes free (`close_needed`).
    pub fn set_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Another server has taken the place of its: it is not waited for any longer.
    pub fn forsake(&self) {
        self.set_closing();
        self.forsaken.store(true, Ordering::Relaxed);
    }

    pub fn is_forsaken(&self) -> bool {
        self.forsaken.load(Ordering::Relaxed)
    }

    /// Whether it goes to an address that its host's name no longer has.
    pub fn is_left_behind(&self, resolver: &Resolver) -> bool {
        match (&self.host, &self.peer) {
            (Host::Tcp(name), Address::Tcp(address)) => resolver.has_left(name, address.ip()),
            _ => false,
        }
    }

    pub fn set_activity(&self, activity: Activity, client: u64) {
        self.activity.store(activity as u8, Ordering::Relaxed);
        self.client.store(client, Ordering::Relaxed);
    }

    pub fn activity(&self) -> Activity {
        Activity::from_u8(self.activity.load(Ordering::Relaxed))
    }

    pub fn client(&self) -> u64 {
        self.client.load(Ordering::Relaxed)
    }

    pub fn set_prepared(&self, count: usize) {
        self.prepared.store(count as u64, Ordering::Relaxed);
    }

    pub fn prepared(&self) -> u64 {
        self.prepared.load(Ordering::Relaxed)
    }
}

/// A cancel request that may still hit what runs on a server connection.
#[derive(Debug)]
pub struct CancelUnderWay(Arc<ServerInfo>);

impl Drop for CancelUnderWay {
    fn drop(&mut self) {
        self.0.cancels.fetch_sub(1, Ordering::Release);
    }
}

/// A server connection that has logged in. Whoever has the box has the connection.
#[derive(Debug)]
pub struct Server {
    pub stream: Stream,
    pub state: ServerState,
    pub info: Arc<ServerInfo>,
    /// The reactor that `stream` is registered with.
    pub home: Home,
    pub endpoint: Arc<Endpoint>,
    pub cancel_key: Arc<[u8]>,
    pub created: Instant,
    /// When it was last used or checked.
    pub checked: Instant,
    /// Connections made before this generation of the pool are closed instead of reused.
    pub generation: u64,
    /// Ends with the connection, whoever drops it.
    permit: Permit,
    /// It counts where new ones go to the host with the fewest.
    open: Option<Open>,
}

impl Server {
    pub fn new(
        established: Established,
        info: ServerInfo,
        endpoint: Arc<Endpoint>,
        max_prepared_statements: usize,
        generation: u64,
        permit: Permit,
    ) -> Server {
        let parameters = established
            .parameters
            .into_iter()
            .map(|(n, v)| (n.into(), v.into()))
            .collect();
        let now = Instant::now();
        Server {
            stream: established.stream,
            state: ServerState::new(Reported::new(parameters), max_prepared_statements),
            info: Arc::new(info),
            home: Home::Control,
            endpoint,
            cancel_key: established.cancel_key.into(),
            created: now,
            checked: now,
            generation,
            permit,
            open: None,
        }
    }

    /// One that another process has made.
    #[allow(clippy::too_many_arguments)] // each is a field
    pub fn moved(
        stream: Stream,
        state: ServerState,
        info: Arc<ServerInfo>,
        endpoint: Arc<Endpoint>,
        cancel_key: Vec<u8>,
        created: Instant,
        generation: u64,
        permit: Permit,
    ) -> Server {
        Server {
            stream,
            state,
            info,
            home: Home::Control,
            endpoint,
            cancel_key: cancel_key.into(),
            created,
            checked: Instant::now(),
            generation,
            permit,
            open: None,
        }
    }

    /// It counts as one of the connections to this host from now on.
    pub fn count_for(&mut self, host: &Arc<HostState>) {
        self.open = Some(host.count_open());
    }

    /// Closes it, and gives what it was allowed by.
    pub fn into_permit(self) -> Permit {
        self.permit
    }

    /// A cancel request for this connection has been sent and may still arrive.
    pub fn is_being_cancelled(&self) -> bool {
        self.info.cancels() > 0
    }

    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.created)
    }

    /// Registers the socket where it is used from now on.
    ///
    /// # Errors
    /// The connection is lost then.
    pub fn move_to(&mut self, home: Home) -> std::io::Result<()> {
        if self.home != home {
            self.stream.rehome()?;
            self.home = home;
        }
        Ok(())
    }
}

/// For a new [`ServerInfo`].
pub struct Identity {
    pub id: u64,
    pub database: Arc<str>,
    pub user: Arc<str>,
    pub host: Host,
    pub replication: Replication,
    pub reads: bool,
}

/// How a connection was made.
pub struct Made {
    pub peer: Address,
    pub local: Address,
    pub tls: Tls,
    pub backend_pid: i32,
    /// Of its socket.
    pub fd: i32,
    pub connected: SystemTime,
}

impl ServerInfo {
    pub fn new(identity: Identity, established: &Established) -> ServerInfo {
        let made = Made {
            peer: established.peer.clone(),
            local: established.local.clone(),
            tls: established.stream.tls(),
            backend_pid: established.backend_pid,
            fd: established.stream.fd(),
            connected: SystemTime::now(),
        };
        ServerInfo::of(identity, made, Activity::New)
    }

    pub fn of(identity: Identity, made: Made, activity: Activity) -> ServerInfo {
        ServerInfo {
            id: identity.id,
            database: identity.database,
            user: identity.user,
            host: identity.host,
            peer: made.peer,
            local: made.local,
            tls: made.tls,
            backend_pid: made.backend_pid,
            fd: made.fd,
            connected: made.connected,
            replication: identity.replication,
            reads: identity.reads,
            activity: AtomicU8::new(activity as u8),
            client: AtomicU64::new(0),
            prepared: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            forsaken: AtomicBool::new(false),
            cancels: AtomicUsize::new(0),
        }
    }
}
