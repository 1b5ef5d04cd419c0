//! Making server connections: how many at once, how long to wait after a failure, and when to
//! tell waiting clients that there is no hope.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::budget::Permit;
use super::{Pool, roles};
use crate::protocol::startup::Replication;
use crate::server::auth::Credentials;
use crate::server::connect::{ConnectError, LoginRequest};
use crate::server::endpoints::wanted;
use crate::server::{Activity, Identity, Server, ServerInfo};
use crate::worker::Home;

const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// How the last attempts went.
#[derive(Debug, Default)]
pub struct Health {
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    attempts: u32,
    next_attempt: Instant,
    error: Arc<ConnectError>,
}

/// What waiting clients are told.
#[derive(Debug, Clone)]
pub struct Outage {
    /// SQLSTATE of the server's refusal, or 08006.
    pub code: String,
    pub message: String,
}

enum Verdict {
    /// Go ahead.
    Try,
    /// Not yet; clients keep waiting.
    Later,
    /// Not yet, and clients are to be told.
    Tell,
}

impl Health {
    /// There is new hope for a login that was refused: the next attempt is made at once.
    pub(super) fn retry_refused(&mut self, now: Instant) {
        if let Some(failing) = &mut self.failing
            && !failing.error.is_transient()
        {
            failing.next_attempt = failing.next_attempt.min(now);
        }
    }

    /// A server is there that was not before.
    pub(super) fn retry_now(&mut self, now: Instant) {
        if let Some(failing) = &mut self.failing {
            failing.next_attempt = failing.next_attempt.min(now);
        }
    }

    fn verdict(&self, now: Instant, patience: Duration) -> Verdict {
        match &self.failing {
            Some(f) if now < f.next_attempt => {
                if !f.error.is_transient() || now.saturating_duration_since(f.since) > patience {
                    Verdict::Tell
                } else {
                    Verdict::Later
                }
            }
            _ => Verdict::Try,
        }
    }

    fn failed(&mut self, now: Instant, error: Arc<ConnectError>) -> (Instant, u32, Duration) {
        let (since, attempts) = match &self.failing {
            Some(f) => (f.since, f.attempts.saturating_add(1)),
            None => (now, 1),
        };
        let next_attempt = match &*error {
            // The host is left alone by all pools; its backoff is jittered already.
            ConnectError::LeftAlone { until, .. } => *until,
            _ => {
                let doubled = FIRST_DELAY * 2u32.saturating_pow(attempts.min(10) - 1);
                now + jitter(doubled.min(LONGEST_DELAY), now)
            }
        };
        self.failing = Some(Failing {
            since,
            attempts,
            next_attempt,
            error,
        });
        (since, attempts, next_attempt.saturating_duration_since(now))
    }
}

/// Between 75 % and 125 %, so that the pools of a process do not knock all at once. The clock's
/// low digits are random enough for that.
fn jitter(delay: Duration, now: Instant) -> Duration {
    let noise = now.elapsed().subsec_nanos() ^ (delay.subsec_nanos().rotate_left(7));
    delay.mul_f64(0.75 + f64::from(noise % 1024) / 2048.0)
}

impl Pool {
    /// Starts as many logins as waiting clients need and limits allow, after those who wait for a
    /// connection of their own have got their places.
    pub fn connect_more(self: &Arc<Pool>) {
        self.give_places();
        let now = Instant::now();
        let patience = self.settings.load().database.server.login_retry;
        let minimum = self.minimum();
        let verdict = self.health.lock().verdict(now, patience);
        match verdict {
            Verdict::Try => {
                let n = self.core.lock().start_connecting(now, minimum);
                for _ in 0..n {
                    let pool = Arc::clone(self);
                    self.shared
                        .control
                        .spawn(async move { pool.connect_one().await });
                }
            }
            Verdict::Later => {}
            Verdict::Tell => self.tell_waiters(),
        }
    }

    fn tell_waiters(&self) {
        // A pool that has connections still serves, only more slowly.
        let wakers = {
            let mut core = self.core.lock();
            let counts = core.counts(Instant::now());
            // What is one client's own serves nobody else.
            if counts.lent > counts.own {
                return;
            }
            core.fail_waiters()
        };
        wakers.into_iter().for_each(|w| w.wake());
    }

    /// Why clients cannot be served.
    pub fn outage(&self) -> Option<Outage> {
        if self.is_closed() {
            return Some(Outage {
                code: "57P01".to_owned(),
                message: "database configuration changed".to_owned(),
            });
        }
        let health = self.health.lock();
        let failing = health.failing.as_ref()?;
        Some(match failing.error.cause() {
            ConnectError::Server(e) | ConnectError::PasswordRefused(e) => Outage {
                code: e.code.clone(),
                message: e.message.clone(),
            },
            error => Outage {
                code: "08006".to_owned(),
                message: format!("server login has been failing, cached error: {error}"),
            },
        })
    }

    /// Whether the server answers, as far as is known.
    pub fn is_reachable(&self) -> bool {
        let unreachable = |f: &Failing| {
            f.error.is_transient() && !matches!(f.error.cause(), ConnectError::PasswordRefused(_))
        };
        if !self.health.lock().failing.as_ref().is_some_and(unreachable) {
            return true;
        }
        let counts = self.counts();
        counts.idle + counts.lent > 0
    }

    /// So many connections are wanted even if nobody waits. One when the server is out of reach:
    /// otherwise, with clients sent elsewhere for that reason, nobody would notice its return.
    pub(super) fn minimum(&self) -> usize {
        if self.is_closed() || self.shared.retiring.load(Ordering::Relaxed) {
            return 0;
        }
        let least = usize::from(!self.is_reachable());
        self.settings.load().min_size.max(least)
    }

    async fn connect_one(self: Arc<Pool>) {
        let permit = match Permit::acquire(&self.budgets) {
            Ok(permit) => permit,
            Err(budget) => {
                tracing::debug!(pool = ?self, limit = budget.name, "no server connection allowed");
                self.core.lock().connect_failed();
                return self.give_places();
            }
        };
        match self.log_in(permit, Replication::None, &[]).await {
            Ok(server) => {
                let failing = self.health.lock().failing.take();
                if let Some(failing) = failing {
                    tracing::info!(pool = ?self, attempts = failing.attempts,
                        outage = ?failing.since.elapsed(), "connected to the server again");
                }
                let index = Home::Control.index(self.shared.workers);
                let woken = self
                    .core
                    .lock()
                    .connected(index, Box::new(server), Instant::now());
                if let Some(waker) = woken {
                    waker.wake();
                }
            }
            Err(error) => self.connecting_failed(error),
        }
    }

    fn connecting_failed(self: &Arc<Pool>, error: ConnectError) {
        self.core.lock().connect_failed();
        self.give_places();
        let error = Arc::new(error);
        let now = Instant::now();
        let (since, attempts, delay) = self.health.lock().failed(now, Arc::clone(&error));
        // Retries go on as long as the outage; the log says so less and less often.
        if attempts.is_power_of_two() {
            tracing::warn!(pool = ?self, %error, attempts, retry_in = ?delay,
                "cannot connect to server");
        }
        let patience = self.settings.load().database.server.login_retry;
        if !error.is_transient() || now.saturating_duration_since(since) > patience {
            self.tell_waiters();
        }
    }

    /// Makes the connection that listens for clients. It is none of `pool_size`, and the limits beyond
    /// the pool count it but do not refuse it.
    pub(crate) async fn log_in_to_listen(&self) -> Result<Server, ConnectError> {
        let permit = Permit::unconditional(&self.budgets);
        let encoding = [("client_encoding".to_owned(), "UTF8".to_owned())];
        self.log_in(permit, Replication::None, &encoding).await
    }

    /// Makes a connection, with further startup parameters behind the pool's own.
    pub(super) async fn log_in(
        &self,
        permit: Permit,
        replication: Replication,
        parameters: &[(String, String)],
    ) -> Result<Server, ConnectError> {
        let generation = self.generation.load(Ordering::Relaxed);
        let settings = self.settings.load_full();
        let endpoints = self.endpoints.load_full();
        let database = settings.database.dbname.as_deref();
        let parameters = [&settings.database.parameters[..], parameters].concat();
        let request = LoginRequest {
            user: &self.user,
            database: database.unwrap_or(&self.database),
            application_name: None,
            replication,
            parameters: &parameters,
            credentials: &Credentials::None,
            protocol_minor: 0,
        };
        let endpoints = &endpoints;
        let connect = |credentials: Credentials| {
            let request = request.clone();
            async move {
                let request = LoginRequest {
                    credentials: &credentials,
                    ..request
                };
                endpoints.connect(&request).await
            }
        };
        let prepared = settings.database.max_prepared_statements;
        let mut permit = permit;
        let mut tries = endpoints.count();
        let (mut server, member) = loop {
            let (established, member) = match self.passwords() {
                Some(passwords) => passwords.connect_with(connect).await?,
                None => {
                    let credentials = self.credentials.lock().clone();
                    connect(credentials).await?
                }
            };
            let identity = Identity {
                id: self.shared.new_id(),
                database: Arc::clone(&self.database),
                user: Arc::clone(&self.user),
                host: member.endpoint.host.clone(),
                replication,
                reads: self.is_for_reads(),
            };
            let info = ServerInfo::new(identity, &established);
            let endpoint = Arc::clone(&member.endpoint);
            let mut server = Server::new(established, info, endpoint, prepared, generation, permit);
            // A WAL sender is not asked: it cannot answer, and does not write.
            let fits = replication != Replication::None
                || roles::check(endpoints, &member, &mut server).await?;
            if fits {
                server.count_for(&member.state);
                break (server, member);
            }
            // It is known now, so that the next attempt passes it over.
            permit = server.into_permit();
            tries -= 1;
            if tries == 0 {
                return Err(ConnectError::NoServer(wanted(endpoints.target())));
            }
        };
        // A WAL sender understands little SQL, or none.
        if let Some(query) = &settings.database.connect_query
            && replication == Replication::None
        {
            server
                .simple(query)
                .await
                .map_err(|e| ConnectError::Lost(std::io::Error::other(e.to_string())))?;
        }
        server.info.set_activity(Activity::Idle, 0);
        self.servers.enter(&server.info);
        if !endpoints.may_serve(&member) {
            // It was found out while this was being made.
            server.info.set_closing();
        }
        if settings.log.connections {
            let info = &server.info;
            tracing::info!(server = info.id, database = %info.database, user = %info.user,
                peer = %info.peer, local = %info.local, "new connection to server");
        }
        Ok(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::connect::AuthError;

    #[test]
    fn new_credentials_are_tried_at_once_but_a_dead_server_is_not_stormed() {
        let now = Instant::now();
        let refused = ConnectError::Auth(AuthError::UnsupportedSasl("X".to_owned()));
        let lost = ConnectError::Lost(std::io::ErrorKind::ConnectionReset.into());
        for (error, at_once) in [(refused, true), (lost, false)] {
            let mut health = Health::default();
            health.failed(now, Arc::new(error));
            let verdict = |h: &Health| h.verdict(now, Duration::from_secs(15));
            assert!(!matches!(verdict(&health), Verdict::Try));
            health.retry_refused(now);
            assert_eq!(matches!(verdict(&health), Verdict::Try), at_once);
        }
    }
}
