//! Letting a client in: who it is, where it wants to go, whether there is room, what it is told.
//!
//! Runs on the control runtime; when all is said, the socket moves to a relay worker.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::cancels::Cancels;
use super::directory::Directory;
use super::elsewhere::Turns;
use super::hashing::Hashing;
use super::info::ClientInfo;
use super::startup::{self, OpenError, Opening};
use super::task::{ClientParts, Surroundings};
use super::users::Users;
use super::whom::Whom;
use crate::admin::console::{Console, ConsoleUser};
use crate::config::{Config, Timeouts};
use crate::handover::take::Forward;
use crate::listener::Accepted;
use crate::net::stream::Stream;
use crate::net::tls_server::TlsServer;
use crate::peering::Peers;
use crate::pool::Pool;
use crate::pool::budget::Permit;
use crate::pool::registry::Pools;
use crate::protocol::encode;
use crate::protocol::sqlstate;
use crate::protocol::startup::{Replication, Startup};
use crate::server::connect::Address;
use crate::session::client::ClientState;
use crate::session::reported::Reported;
use crate::telemetry::events::{Login, Timeout};
use crate::telemetry::refusals::Reason;
use crate::worker::{Home, Workers};

mod cancel;
mod demand;
mod entering;
mod gate;
mod greeting;
mod half_open;
mod limits;
mod lines;
mod prove;
mod refusal;
mod replication;
mod settle;
mod within;

use entering::{asked_for, console_user, enter, operator};
pub use gate::Gate;
use gate::Presence;
pub use limits::ClientLimits;
use prove::{pass_on, prove};
use refusal::{Refusal, say_no, unwelcome};
pub use settle::{own_timeouts, settle, settle_again};
use within::within;

/// How long after the deadline of its login a client may take to read why it is refused.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a login needs to know; shared by all of them.
#[derive(Debug)]
pub struct Door {
    pub config: ArcSwap<Config>,
    pub tls: ArcSwapOption<TlsServer>,
    pub pools: Arc<Pools>,
    pub directory: Arc<Directory>,
    pub cancels: Cancels,
    pub peers: Peers,
    pub workers: Arc<Workers>,
    pub users: Users,
    pub console: Arc<Console>,
    pub surroundings: Arc<Surroundings>,
    /// No new logins: the process is shutting down.
    pub draining: AtomicBool,
    pub hashing: Hashing,
    /// Bounds questions to those who judge passwords elsewhere.
    pub turns: Turns,
    /// For the salts of users that do not exist.
    pub mock_key: [u8; 32],
    pub limits: ClientLimits,
    /// What SET at the console has changed since the configuration was read.
    pub set: Mutex<Vec<(String, String)>>,
    /// Connections that are not logged in yet.
    pub arriving: AtomicUsize,
    pub gate: Gate,
    /// A process that wants to take over.
    pub successors: mpsc::Sender<UnixStream>,
    /// The process that we are taking over from, as long as it is there.
    pub before: ArcSwapOption<Forward>,
}

impl Door {
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn count_login(&self, outcome: Login) {
        self.pools.shared().events.logins.count(outcome);
    }

    /// Connections that are not logged in yet.
    pub fn arriving(&self) -> usize {
        self.arriving.load(Ordering::Acquire)
    }
}

/// Sees one connection through its login; when this returns, a worker or the console has it, or it
/// is closed.
pub async fn admit(door: Arc<Door>, accepted: Accepted) {
    let config = door.config.load_full();
    let limit = config.pool_defaults.timeouts.client_login;
    let (peer, knocking) = (accepted.peer.clone(), accepted.peer.clone());
    let id = door.pools.shared().new_id();
    let deadline = (!limit.is_zero()).then(|| Instant::now() + limit);
    let (presence, evicted) = match gate::enter(&door, &config, &accepted, id) {
        Ok(entered) => entered,
        Err(refusal) => {
            door.count_login(refusal.outcome);
            turned_away(&config, id, &peer, &refusal.message);
            let mut stream = Stream::Plain(accepted.socket);
            let said = say_no(&mut stream, &refusal);
            let _ = within(Some(Instant::now() + LAST_WORDS), said).await;
            return;
        }
    };
    let login = async {
        let opened = within(deadline, open(&door, &config, accepted, presence, id)).await;
        if opened.is_err() {
            door.count_login(Login::Timeout);
            let here = door.pools.shared().events_at(Home::Control);
            here.timeouts.count(Timeout::ClientLogin);
            tracing::info!(client = id, %peer, reason = "client_login_timeout", age = limit.as_secs(),
                "login failed");
        }
        let (stream, arrival) = match opened.ok().flatten() {
            Some(Opened::Client(stream, arrival)) => (stream, arrival),
            Some(Opened::Cancel(request)) => {
                // It has limits of its own.
                let (door, config) = (Arc::clone(&door), Arc::clone(&config));
                tokio::spawn(async move { cancel::serve(&door, &config, request).await });
                return;
            }
            None => return,
        };
        let (whom, began) = (Whom::of(&arrival), Instant::now());
        whom.attempt(&config.log, stream.is_tls(), arrival.startup.replication);
        let admitted = log_in(&door, &config, stream, arrival, deadline).await;
        let outcome = admitted.as_ref().err().map(|(_, refusal)| refusal.outcome);
        door.count_login(outcome.unwrap_or(Login::Success));
        if let Err((mut stream, refusal)) = admitted {
            whom.refused(&config.log, &refusal, began.elapsed());
            say_no(&mut stream, &refusal).await;
        }
    };
    let _counted = Arriving::new(&door.arriving);
    // A client that does not even read what it is told is not waited for.
    let login = within(deadline.map(|d| d + LAST_WORDS), login);
    tokio::select! {
        _ = login => {}
        Ok(()) = evicted => {
            door.count_login(Login::Limit);
            tracing::info!(client = id, peer = %knocking, reason = "max_half_open", "login failed");
        }
    }
}

/// A connection that is not logged in yet; counted as long as this exists.
struct Arriving<'a>(&'a AtomicUsize);

impl Arriving<'_> {
    fn new(count: &AtomicUsize) -> Arriving<'_> {
        count.fetch_add(1, Ordering::AcqRel);
        Arriving(count)
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Up to the startup message; `None` if there is nothing more to do.
async fn open(
    door: &Arc<Door>,
    config: &Config,
    accepted: Accepted,
    presence: Option<Presence>,
    id: u64,
) -> Option<Opened> {
    let (proxy, began) = (accepted.peer.clone(), Instant::now());
    let accepted = match startup::unwrap(accepted, &config.listen.proxy_protocol).await {
        Ok(accepted) => accepted,
        Err(error) => {
            door.count_login(Login::Gone);
            not_opened(config, id, &proxy, &error, began);
            return None;
        }
    };
    if !gate::is_welcome(door, config, &accepted.peer, id) {
        door.count_login(Login::Network);
        return None;
    }
    let tls = door.tls.load_full();
    let peer_uid = accepted.socket.peer_uid();
    let opened = startup::open(accepted.socket, tls.as_deref(), config.client_tls.mode).await;
    match opened {
        Ok(Opening::Startup(stream, startup)) => {
            if let Some(presence) = &presence {
                presence.spoke();
            }
            let arrival = Arrival {
                id,
                startup,
                tls,
                peer: accepted.peer,
                local: accepted.local,
                peer_uid,
                presence,
            };
            Some(Opened::Client(stream, arrival))
        }
        Ok(Opening::Cancel {
            stream,
            pid,
            secret,
        }) => Some(Opened::Cancel(cancel::Arrived {
            id,
            pid,
            secret,
            peer: accepted.peer,
            local: accepted.local,
            stream,
        })),
        Ok(Opening::HandOver(stream)) => {
            settle::hand_over(door, stream, peer_uid);
            None
        }
        Err(error) => {
            door.count_login(error.outcome());
            not_opened(config, id, &accepted.peer, &error, began);
            None
        }
    }
}

/// It has not even been listened to.
fn turned_away(config: &Config, id: u64, peer: &Address, reason: &str) {
    if config.log.disconnections {
        tracing::info!(client = id, %peer, reason, age = 0, "login failed");
    }
}

/// It has not come to a startup message. Of who only looks whether somebody listens there would be a line every few
/// seconds, so of those there is none.
fn not_opened(config: &Config, id: u64, peer: &Address, error: &OpenError, began: Instant) {
    if error.is_silence() || !config.log.disconnections {
        tracing::debug!(client = id, %peer, %error, "connection closed before login");
        return;
    }
    let age = began.elapsed().as_secs();
    tracing::info!(client = id, %peer, reason = %error, age, "login failed");
}

/// What a connection is for.
enum Opened {
    Client(Stream, Arrival),
    Cancel(cancel::Arrived),
}

/// A client that has said what it wants.
struct Arrival {
    id: u64,
    startup: Startup,
    tls: Option<Arc<TlsServer>>,
    peer: Address,
    local: Address,
    /// Of the operating system's user at the other end of a Unix socket.
    peer_uid: Option<u32>,
    /// `None`: over a Unix socket.
    presence: Option<Presence>,
}

/// Whether this is the name of the console's database.
fn is_console(database: &str) -> bool {
    matches!(database, "pgweir" | "pgbouncer")
}

async fn log_in(
    door: &Arc<Door>,
    config: &Config,
    mut stream: Stream,
    arrival: Arrival,
    deadline: Option<Instant>,
) -> Result<(), (Stream, Refusal)> {
    let checked = within(deadline, check(door, config, &mut stream, &arrival)).await;
    let late = |_| {
        let code = sqlstate::PROTOCOL_VIOLATION;
        let here = door.pools.shared().events_at(Home::Control);
        here.timeouts.count(Timeout::ClientLogin);
        Err(Refusal::new(code, "client_login_timeout").counted_as(Login::Timeout))
    };
    match checked.unwrap_or_else(late) {
        Ok(Admission::Console(user)) => {
            let welcome = greeting::of_console();
            if stream.write_all(&welcome).await.is_ok() {
                let console = Arc::clone(&door.console);
                let info = Arc::new(operator(&arrival, stream.tls()));
                tokio::spawn(crate::admin::console::serve(stream, user, info, console));
            }
            Ok(())
        }
        Ok(Admission::Client(entry)) => {
            // The client may be gone, or not read until its time is over and nobody comes back here.
            let entered = door.directory.guard(&entry.info);
            let message = &config.startup.message;
            let out = greeting::introduction(&entry.info, &entry.reported, message);
            if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() {
                return Ok(());
            }
            entered.stays();
            settle(door, entry.into_parts(stream));
            Ok(())
        }
        Ok(Admission::Replication(entry)) => {
            replication::settle(door, config, stream, *entry).await;
            Ok(())
        }
        Err(refusal) => Err((stream, refusal)),
    }
}

enum Admission {
    Console(ConsoleUser),
    Client(Box<Entry>),
    Replication(Box<replication::Entry>),
}

/// A client that is let in.
struct Entry {
    info: Arc<ClientInfo>,
    pool: Arc<Pool>,
    state: ClientState,
    reported: Reported,
    permit: Permit,
    own_timeouts: Option<Arc<Timeouts>>,
}

impl Entry {
    fn into_parts(self, stream: Stream) -> ClientParts {
        ClientParts {
            stream,
            state: self.state,
            info: self.info,
            pool: self.pool,
            permit: self.permit,
            own_timeouts: self.own_timeouts,
            wrote_at: None,
            server: None,
            unread: Vec::new(),
        }
    }
}

async fn check(
    door: &Arc<Door>,
    config: &Config,
    stream: &mut Stream,
    arrival: &Arrival,
) -> Result<Admission, Refusal> {
    let startup = &arrival.startup;
    if let Some(unknown) = &startup.negotiate {
        let mut out = Vec::new();
        encode::negotiate_protocol_version(&mut out, startup.minor, unknown);
        let sent = stream.write_all(&out).await;
        sent.map_err(|e| Refusal::new(sqlstate::CONNECTION_FAILURE, e.to_string()))?;
    }
    if is_console(&startup.database) {
        replication::refuse_console(startup)?;
        if demand::is_ourselves(arrival) {
            return Ok(Admission::Console(ConsoleUser {
                name: startup.user.clone(),
                is_admin: true,
            }));
        }
        prove(door, config, stream, arrival, "").await?;
        return console_user(config, &startup.user).map(Admission::Console);
    }
    if door.draining.load(Ordering::Relaxed) {
        return Err(Refusal::new(
            sqlstate::ADMIN_SHUTDOWN,
            "server shutting down",
        ));
    }
    let Some(database) = config.database(&startup.database) else {
        // Only who proves to be somebody is told what there is and what not.
        prove(door, config, stream, arrival, &startup.database).await?;
        let message = format!("no such database: {}", startup.database);
        return Err(Refusal::new(sqlstate::INVALID_CATALOG_NAME, message));
    };
    if door.pools.is_disabled(&startup.database) {
        let message = format!("database does not allow connections: {}", startup.database);
        return Err(Refusal::new(sqlstate::PROTOCOL_VIOLATION, message));
    }
    // Room first: a full house should not cost a password check.
    let permit = door
        .limits
        .enter(config, &database, &startup.database, &startup.user)
        .inspect_err(|_| door.pools.shared().refusals.count(Reason::ClientLimit))?;
    let proved = prove(door, config, stream, arrival, &startup.database).await?;
    let pool = door.pools.get(&startup.database, &database, &startup.user);
    if database.user.is_none() {
        pass_on(&pool, proved);
    }
    let parameters = asked_for(config, arrival);
    if startup.replication != Replication::None {
        let tls = stream.tls();
        // Boxed: its state is large, and every login would carry room for it.
        let replication = replication::admit(door, arrival, pool, permit, parameters, tls);
        let entry = Box::pin(replication).await?;
        return Ok(Admission::Replication(Box::new(entry)));
    }
    // It may have to wait for a server connection to hear what it is to be told.
    let welcome = in_time(&pool, pool.welcome(&parameters)).await?;
    let (settings, reported) = welcome.map_err(unwelcome)?;
    pool.shard(Home::Control).logins.add(1);
    let info = enter(door, arrival, &parameters, &pool, stream.tls())?;
    let own_timeouts = own_timeouts(config, &database, &pool, &startup.user);
    Ok(Admission::Client(Box::new(Entry {
        info,
        pool,
        state: ClientState::new(settings, reported.clone()),
        reported,
        permit,
        own_timeouts,
    })))
}

/// Runs what may have to wait for a server connection, within `query_wait_timeout`.
async fn in_time<T>(pool: &Pool, step: impl Future<Output = T>) -> Result<T, Refusal> {
    let limit = pool.settings().timeouts.query_wait;
    let until = (!limit.is_zero()).then(|| Instant::now() + limit);
    within(until, step).await.map_err(|_| {
        pool.note_timeout(Home::Control, Timeout::QueryWait);
        let waited =
            format!("query_wait_timeout: no server connection became free within {limit:?}");
        Refusal::new(sqlstate::TOO_MANY_CONNECTIONS, waited).counted_as(Login::QueryWaitTimeout)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F>(_: fn(Arc<Door>, Accepted) -> F) -> usize {
        size_of::<F>()
    }

    /// Thousands may log in at the same moment: what each takes is what the process grows by.
    #[test]
    fn a_login_takes_little_memory() {
        // Without optimization, what is moved is there twice.
        let most = if cfg!(debug_assertions) { 16 } else { 4 } * 1024;
        assert!(size(admit) <= most, "{} bytes", size(admit));
    }
}
