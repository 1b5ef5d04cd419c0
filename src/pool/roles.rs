//! Servers with roles: each is asked from time to time what it is, and a pool leaves those that are no
//! longer what it wants. (New connections are asked, too: see [`check`].)

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::Pool;
use super::budget::Permit;
use crate::config::Target;
use crate::protocol::startup::Replication;
use crate::server::auth::Credentials;
use crate::server::connect::{self, ConnectError, LoginRequest};
use crate::server::dialogue::DialogueError;
use crate::server::endpoints::{Endpoints, Member};
use crate::server::hosts::{Standing, Watch};
use crate::server::password::Passwords;
use crate::server::role::{self, Found};
use crate::server::{Identity, Server, ServerInfo};

/// A server that is silent so often in a row is down.
const MISSES: u32 = 3;
/// Shortest time that a server has to answer.
const SHORTEST_LIMIT: Duration = Duration::from_millis(100);

/// Whether a new connection goes to a server that its pool can use. Pools that use all do not ask.
///
/// # Errors
/// The server cannot be asked; it is not written to then.
pub(super) async fn check(
    endpoints: &Endpoints,
    member: &Member,
    server: &mut Server,
) -> Result<bool, ConnectError> {
    if endpoints.target() == Target::Any {
        return Ok(true);
    }
    let lost = |why: String| ConnectError::Lost(std::io::Error::other(why));
    let limit = Some(member.endpoint.connect_timeout).filter(|limit| !limit.is_zero());
    let sent = Instant::now();
    let asked = timeout(limit.unwrap_or(Duration::MAX), ask(server)).await;
    let found = asked.map_err(|_| lost("the server does not say what it is".to_owned()))?;
    let found = found.map_err(|error| lost(error.to_string()))?;
    endpoints.learn(member, found, sent);
    let fits = endpoints.serves(member);
    if !fits {
        let standing = member.state.standing().label();
        tracing::debug!(server = server.info.id, host = %member.endpoint.host, standing,
            "not what is wanted");
    }
    Ok(fits)
}

async fn ask(server: &mut Server) -> Result<Found, DialogueError> {
    let rows = server.simple(role::QUESTION).await?;
    role::read(&rows).ok_or(DialogueError::Unexpected(b'D'))
}

impl Pool {
    /// Sees that its servers are watched, and acts on what has been found out.
    pub(super) fn tend_roles(self: &Arc<Pool>) {
        let endpoints = self.endpoints.load_full();
        if endpoints.target() == Target::Any {
            return;
        }
        for member in endpoints.all() {
            if let Some(watch) = member.state.watch() {
                let watcher = Watcher::new(self, member, watch);
                self.shared.control.spawn(watcher.run());
            }
        }
        let serving = endpoints.serving();
        if self.serving.swap(serving, Ordering::Relaxed) != serving {
            self.leave_others(&endpoints);
            if self.is_for_reads() && !endpoints.any_serves(|_| true) {
                // The primary is there for those who wait.
                let wakers = self.core.lock().fail_waiters();
                wakers.into_iter().for_each(std::task::Waker::wake);
            }
            // Those who wait may have waited for this.
            self.health.lock().retry_now(Instant::now());
            self.connect_more();
        }
    }

    /// Connections to servers that are not what the pool wants are closed as they become free; those to
    /// one whose place another has taken are not waited for.
    fn leave_others(&self, endpoints: &Endpoints) {
        let servers = self.servers.all();
        for server in servers.iter().filter(|server| self.has(server)) {
            let Some(member) = endpoints.of(&server.host, &server.peer) else {
                continue;
            };
            let down = member.state.standing() == Standing::Down;
            // The primary takes the place of a replica that is down.
            if endpoints.is_replaced(member) || (down && self.is_for_reads()) {
                server.forsake();
            } else if !endpoints.may_serve(member) {
                server.set_closing();
            }
        }
        self.close_idle(
            |s, _| s.info.is_closing(),
            0,
            "the server's role has changed",
        );
    }
}

/// Asks one server again and again, for all pools that have it, as long as one does.
struct Watcher {
    pool: Weak<Pool>,
    member: Arc<Member>,
    watch: Watch,
    login: Login,
    connection: Option<Server>,
    /// In a row.
    misses: u32,
}

/// What the watcher logs in with: the pool is not kept alive for it.
struct Login {
    identity: [Arc<str>; 2],
    dbname: String,
    parameters: Vec<(String, String)>,
    credentials: Credentials,
    passwords: Option<Arc<Passwords>>,
}

impl Login {
    fn of(pool: &Pool) -> Login {
        let settings = pool.settings();
        let dbname = settings.database.dbname.clone();
        Login {
            identity: [Arc::clone(&pool.database), Arc::clone(&pool.user)],
            dbname: dbname.unwrap_or_else(|| pool.database.to_string()),
            parameters: settings.database.parameters.clone(),
            credentials: pool.credentials.lock().clone(),
            passwords: pool.passwords(),
        }
    }

    async fn connect(&self, member: &Member) -> Result<Server, ConnectError> {
        let [database, user] = &self.identity;
        let connect = |credentials: Credentials| async move {
            let request = LoginRequest {
                user,
                database: &self.dbname,
                application_name: None,
                replication: Replication::None,
                parameters: &self.parameters,
                credentials: &credentials,
                protocol_minor: 0,
            };
            connect::connect(&member.endpoint, &request).await
        };
        let established = match &self.passwords {
            Some(passwords) => passwords.connect_with(connect).await?,
            None => connect(self.credentials.clone()).await?,
        };
        let identity = Identity {
            id: 0,
            database: Arc::clone(database),
            user: Arc::clone(user),
            host: member.endpoint.host.clone(),
            replication: Replication::None,
            reads: false,
        };
        let info = ServerInfo::new(identity, &established);
        // It is nobody's connection, and no limit is for it.
        let permit = Permit::unconditional(&Vec::new().into());
        let endpoint = Arc::clone(&member.endpoint);
        Ok(Server::new(established, info, endpoint, 0, 0, permit))
    }
}

impl Watcher {
    fn new(pool: &Arc<Pool>, member: &Arc<Member>, watch: Watch) -> Watcher {
        Watcher {
            pool: Arc::downgrade(pool),
            member: Arc::clone(member),
            watch,
            login: Login::of(pool),
            connection: None,
            misses: 0,
        }
    }

    /// Until the pool is gone, or has other servers; another pool may take over then.
    async fn run(mut self) {
        loop {
            let Some((endpoints, interval)) = self.assignment() else {
                return;
            };
            let limit = interval.max(SHORTEST_LIMIT);
            let had_connection = self.connection.is_some();
            // Before the question is: a connection may have to be made first.
            let sent = Instant::now();
            match timeout(limit, self.ask()).await {
                Ok(Ok(found)) => {
                    self.misses = 0;
                    endpoints.learn(&self.member, found, sent);
                }
                Ok(Err(Silence::Refused(error))) => {
                    // It lives, and is what it was, as far as anybody can tell.
                    self.misses = 0;
                    let host = &self.member.endpoint.host;
                    tracing::debug!(%host, %error, "the server cannot be asked what it is");
                }
                Ok(Err(Silence::Gone)) if had_connection => {
                    // A new connection tells more than the end of an old one.
                    self.connection = None;
                    continue;
                }
                // Nobody is there to be waited for.
                Ok(Err(Silence::Gone)) => self.missed(MISSES),
                Err(_) => {
                    self.connection = None;
                    self.missed(self.misses + 1);
                    continue;
                }
            }
            sleep(interval).await;
        }
    }

    fn assignment(&mut self) -> Option<(Arc<Endpoints>, Duration)> {
        let pool = self.pool.upgrade().filter(|pool| !pool.is_closed())?;
        let endpoints = pool.endpoints.load_full();
        let state = self.watch.host();
        let member = endpoints.all().find(|m| Arc::ptr_eq(&m.state, state));
        let member = member.filter(|_| endpoints.target() != Target::Any)?;
        if !Arc::ptr_eq(member, &self.member) || self.connection.is_none() {
            self.member = Arc::clone(member);
            self.login = Login::of(&pool);
        }
        let interval = pool.settings().database.roles.probe_interval;
        Some((Arc::clone(&endpoints), interval))
    }

    fn missed(&mut self, misses: u32) {
        self.misses = misses.min(MISSES);
        if self.misses >= MISSES {
            self.member.state.fell_silent();
        }
    }

    async fn ask(&mut self) -> Result<Found, Silence> {
        let mut server = match self.connection.take() {
            Some(server) => server,
            None => self.login.connect(&self.member).await.map_err(silence)?,
        };
        let found = match ask(&mut server).await {
            Ok(found) => found,
            Err(error @ DialogueError::Server { .. }) => {
                return Err(Silence::Refused(error.to_string()));
            }
            Err(_) => return Err(Silence::Gone),
        };
        self.connection = Some(server);
        Ok(found)
    }
}

/// Why a server has not said what it is.
enum Silence {
    /// It has said something else.
    Refused(String),
    Gone,
}

fn silence(error: ConnectError) -> Silence {
    match error {
        ConnectError::Resolve { .. }
        | ConnectError::Connect { .. }
        | ConnectError::Timeout { .. }
        | ConnectError::Lost(_) => Silence::Gone,
        // It is starting up, or going down.
        ConnectError::Server(e) if e.code.starts_with("57P") => Silence::Gone,
        error => Silence::Refused(error.to_string()),
    }
}
