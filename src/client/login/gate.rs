//! What is looked at before a client's password is: whether it may come from where it comes from, how many
//! are at the door already, and whether it has guessed wrong too often.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::half_open::{Entry, HalfOpen};
use super::{Arrival, Door, Refusal};
use crate::auth::attempts::{Attempt, Attempts};
use crate::client::auth::{AuthError, Proof};
use crate::config::{AuthType, Config};
use crate::listener::Accepted;
use crate::protocol::sqlstate;
use crate::server::connect::Address;
use crate::telemetry::events::Login;
use crate::telemetry::refusals::Reason;

/// What the door remembers of those who have not come in.
#[derive(Debug, Default)]
pub struct Gate {
    half_open: Mutex<HalfOpen<oneshot::Sender<()>>>,
    attempts: Mutex<Attempts>,
    wrong_passwords: AtomicU64,
}

impl Gate {
    /// How often somebody has shown a wrong one.
    pub fn wrong_passwords(&self) -> u64 {
        self.wrong_passwords.load(Ordering::Relaxed)
    }
}

/// So few may always be at the door at once, if the configuration does not say less.
const FEW: usize = 100;

/// A connection's place at the door; it leaves with it.
pub(super) struct Presence {
    door: Arc<Door>,
    id: u64,
}

impl Presence {
    pub fn spoke(&self) {
        let mut half_open = self.door.gate.half_open.lock();
        half_open.spoke(self.id, Instant::now());
    }

    /// It has shown who it is.
    pub fn proved(&self) {
        self.door.gate.half_open.lock().leave(self.id);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.proved();
    }
}

/// A new connection, and what tells when it has to go.
pub(super) type Entered = (Option<Presence>, oneshot::Receiver<()>);

/// Unix sockets are for the console, too, so nobody keeps them busy for it.
pub(super) fn enter(
    door: &Arc<Door>,
    config: &Config,
    accepted: &Accepted,
    id: u64,
) -> Result<Entered, Refusal> {
    let (end, ended) = oneshot::channel();
    if matches!(accepted.peer, Address::Unix(_)) {
        return Ok((None, ended));
    }
    let limit = match config.login.max_half_open {
        0 => config.max_client_conn.max(FEW),
        limit => limit,
    };
    let now = Instant::now();
    let entry = door.gate.half_open.lock().enter(id, end, limit, now);
    let refusals = &door.pools.shared().refusals;
    match entry {
        Entry::Refused => {
            refusals.count(Reason::HalfOpen);
            let message = format!("too many logins at once (max_half_open = {limit})");
            Err(Refusal::new(sqlstate::TOO_MANY_CONNECTIONS, message))
        }
        Entry::In(evicted) => {
            if let Some(evicted) = evicted {
                refusals.count(Reason::SlowLogin);
                // If it is gone already, so much the better.
                let _ = evicted.send(());
            }
            let door = Arc::clone(door);
            Ok((Some(Presence { door, id }), ended))
        }
    }
}

/// Whether anybody may come from there.
pub(super) fn is_welcome(door: &Door, config: &Config, peer: &Address, id: u64) -> bool {
    let Some(ip) = ip(peer) else {
        return true;
    };
    let login = &config.login;
    let is_in = |networks: &[crate::net::network::Network]| networks.iter().any(|n| n.has(ip));
    let welcome = !is_in(&login.deny) && (login.allow.is_empty() || is_in(&login.allow));
    if !welcome {
        door.pools.shared().refusals.count(Reason::Network);
        if config.log.disconnections {
            let reason = "clients may not come from there (login.allow, login.deny)";
            tracing::info!(client = id, %peer, reason, age = 0, "login failed");
        }
    }
    welcome
}

/// `None`: over a Unix socket.
fn ip(peer: &Address) -> Option<IpAddr> {
    match peer {
        Address::Tcp(address) => Some(address.ip().to_canonical()),
        Address::Unix(_) => None,
    }
}

/// An attempt at a password; `None`: it does not count.
pub(super) fn begin(
    door: &Door,
    config: &Config,
    arrival: &Arrival,
    auth_type: AuthType,
) -> Result<Option<Attempt>, Refusal> {
    let rules = &config.login.rules;
    let counts = rules.user_failures > 0 || rules.address_failures > 0;
    let Some(from) = ip(&arrival.peer).filter(|_| counts) else {
        return Ok(None);
    };
    if matches!(auth_type, AuthType::Trust | AuthType::Any) {
        return Ok(None);
    }
    let user = &arrival.startup.user;
    let mut attempts = door.gate.attempts.lock();
    let begun = attempts.begin(rules, user, from, Instant::now());
    begun.map(Some).map_err(|left| {
        door.pools.shared().refusals.count(Reason::FailedLogins);
        Refusal {
            detail: Some(format!("Try again in {} s.", seconds(left))),
            ..Refusal::new(sqlstate::TOO_MANY_CONNECTIONS, "too many failed logins")
                .counted_as(Login::FailedLogins)
        }
    })
}

/// Whole ones, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_millis().div_ceil(1000) as u64
}

/// What has become of it.
pub(super) fn end(
    door: &Door,
    config: &Config,
    attempt: Option<Attempt>,
    outcome: &Result<Proof, AuthError>,
) {
    if let Err(AuthError::Failed(_) | AuthError::Certificate(_) | AuthError::Elsewhere(..)) =
        outcome
    {
        door.gate.wrong_passwords.fetch_add(1, Ordering::Relaxed);
    }
    let Some(attempt) = attempt else {
        return;
    };
    let mut attempts = door.gate.attempts.lock();
    let now = Instant::now();
    match outcome {
        Ok(_) => attempts.succeeded(&attempt, now),
        Err(AuthError::Failed(_) | AuthError::Certificate(_) | AuthError::Elsewhere(..)) => {
            attempts.failed(&config.login.rules, &attempt, now);
        }
        // It has shown nothing.
        Err(_) => {}
    }
}
