//! What is known of each host that there are connections to, shared by all pools that have it: its circuit
//! breaker, how many connections are in the making, and what it was last found to be.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::breaker::{Admission, Breaker, State};
use super::connect::ConnectError;
use super::role::{Found, History};
use super::seen::{Replayed, Said};
use crate::config::{Host, HostLimits};
use crate::telemetry::{counts::Counts, events::Connect};

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has asked.
    Unknown,
    /// It does not answer.
    Down,
    /// Not in recovery.
    Primary {
        /// Rises with each promotion (PostgreSQL docs, "Timelines").
        timeline: u32,
    },
    /// In recovery; so far behind as it can tell.
    Replica { lag: Duration },
}

impl Standing {
    pub fn label(self) -> &'static str {
        match self {
            Standing::Unknown => "unknown",
            Standing::Down => "down",
            Standing::Primary { .. } => "primary",
            Standing::Replica { .. } => "replica",
        }
    }
}

const UNKNOWN: u8 = 0;
const DOWN: u8 = 1;
const PRIMARY: u8 = 2;
const REPLICA: u8 = 3;

/// One host.
#[derive(Debug)]
pub struct HostState {
    pub host: Host,
    pub port: u16,
    attempts: Mutex<Attempts>,
    under_way: AtomicU32,
    /// Connections of pools.
    open: AtomicU32,
    kind: AtomicU8,
    /// When it was last found to be a primary; 0: never.
    timeline: AtomicU32,
    /// How far a primary had written then.
    written: AtomicU64,
    lag_millis: AtomicU64,
    history: Mutex<History>,
    /// As a primary.
    said: Mutex<Said>,
    /// As a replica.
    replayed: Mutex<Option<Replayed>>,
    watched: AtomicBool,
    pub connects: Counts<Connect>,
}

#[derive(Debug)]
struct Attempts {
    breaker: Breaker,
    limits: HostLimits,
    /// Why the last attempt has failed.
    error: Option<Arc<ConnectError>>,
    slots: Arc<Semaphore>,
}

/// A row of `SHOW HOSTS`.
#[derive(Debug)]
pub struct HostRow {
    pub host: String,
    pub port: u16,
    pub standing: Standing,
    pub breaker: State,
    pub failures: u32,
    pub opened: u64,
    pub connecting: u32,
    /// By [`Connect`].
    pub connects: Vec<u64>,
}

fn slots(limits: HostLimits) -> Arc<Semaphore> {
    let count = match limits.max_connecting {
        0 => Semaphore::MAX_PERMITS,
        count => count.min(Semaphore::MAX_PERMITS),
    };
    Arc::new(Semaphore::new(count))
}

impl HostState {
    pub fn new(host: Host, port: u16, limits: HostLimits) -> HostState {
        HostState {
            host,
            port,
            attempts: Mutex::new(Attempts {
                breaker: Breaker::default(),
                limits,
                error: None,
                slots: slots(limits),
            }),
            under_way: AtomicU32::new(0),
            open: AtomicU32::new(0),
            kind: AtomicU8::new(UNKNOWN),
            timeline: AtomicU32::new(0),
            lag_millis: AtomicU64::new(0),
            written: AtomicU64::new(0),
            history: Mutex::default(),
            said: Mutex::default(),
            replayed: Mutex::default(),
            watched: AtomicBool::new(false),
            connects: Counts::default(),
        }
    }

    fn set_limits(&self, limits: HostLimits) {
        let mut attempts = self.attempts.lock();
        if attempts.limits.max_connecting != limits.max_connecting {
            // Those under way keep their places in the old one.
            attempts.slots = slots(limits);
        }
        attempts.limits = limits;
    }

    /// Waits for a place among the connections in the making, and asks the circuit breaker.
    ///
    /// # Errors
    /// [`ConnectError::LeftAlone`].
    pub async fn begin(self: &Arc<HostState>) -> Result<Attempt, ConnectError> {
        let slots = Arc::clone(&self.attempts.lock().slots);
        // Nobody closes it.
        let slot = slots.acquire_owned().await.ok();
        let now = Instant::now();
        let mut attempts = self.attempts.lock();
        let limits = attempts.limits;
        let probe = match attempts.breaker.admit(limits, now) {
            Admission::Go => false,
            Admission::Probe => true,
            Admission::Refused(until) => {
                let error = attempts.error.clone();
                return Err(ConnectError::LeftAlone {
                    error: error.unwrap_or_else(|| Arc::new(ConnectError::NoServer("reachable"))),
                    until,
                });
            }
        };
        drop(attempts);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Ok(Attempt {
            host: Arc::clone(self),
            begun: now,
            probe,
            ended: false,
            _slot: slot,
        })
    }

    /// A connection to it counts until what this gives is dropped.
    pub fn count_open(self: &Arc<HostState>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Connections that are open or in the making.
    pub fn connections(&self) -> u32 {
        self.open.load(Ordering::Relaxed) + self.under_way.load(Ordering::Relaxed)
    }

    pub fn standing(&self) -> Standing {
        match self.kind.load(Ordering::Relaxed) {
            DOWN => Standing::Down,
            PRIMARY => Standing::Primary {
                timeline: self.timeline(),
            },
            REPLICA => Standing::Replica {
                lag: Duration::from_millis(self.lag_millis.load(Ordering::Relaxed)),
            },
            _ => Standing::Unknown,
        }
    }

    /// The timeline when it was last found to be a primary; 0: never.
    pub fn timeline(&self) -> u32 {
        self.timeline.load(Ordering::Relaxed)
    }

    /// How far it had written when it was last found to be a primary.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub fn set_written(&self, position: u64) {
        self.written.store(position, Ordering::Relaxed);
    }

    /// The moment before which all writes of this primary are on `replica` for sure, if there is one.
    pub fn seen_by(&self, replica: &HostState) -> Option<Instant> {
        let replayed = (*replica.replayed.lock())?;
        self.said.lock().seen_by(replayed)
    }

    /// Takes note of what it has answered to a question that was sent at `sent`, where a primary had written up
    /// to `written` (0: nobody knows).
    pub fn found(&self, found: Found, written: u64, sent: Instant) {
        match found {
            Found::Primary {
                timeline, inserted, ..
            } => {
                *self.replayed.lock() = None;
                self.said.lock().note(timeline, sent, inserted);
            }
            Found::Replica {
                replayed, timeline, ..
            } => {
                let replayed = replayed.zip(timeline);
                *self.replayed.lock() =
                    replayed.map(|(position, timeline)| Replayed { position, timeline });
            }
        }
        let standing = found.standing(written, &mut self.history.lock(), Instant::now());
        self.learn(standing);
    }

    /// It does not answer.
    pub fn fell_silent(&self) {
        *self.history.lock() = History::Unknown;
        self.learn(Standing::Down);
    }

    /// Takes note of what it is.
    pub fn learn(&self, standing: Standing) {
        let kind = match standing {
            Standing::Unknown => UNKNOWN,
            Standing::Down => DOWN,
            Standing::Primary { timeline } => {
                self.timeline.store(timeline, Ordering::Relaxed);
                PRIMARY
            }
            Standing::Replica { lag } => {
                let millis = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
                self.lag_millis.store(millis, Ordering::Relaxed);
                REPLICA
            }
        };
        let changed = self.kind.swap(kind, Ordering::Relaxed) != kind;
        if changed {
            tracing::info!(host = %self.host, port = self.port, standing = standing.label(),
                "server's role found");
        }
        if changed && kind > DOWN {
            // It answers.
            self.attempts.lock().breaker.retry_now(Instant::now());
        }
    }

    /// The right to ask it what it is from time to time, if nobody has it.
    pub fn watch(self: &Arc<HostState>) -> Option<Watch> {
        let taken = self.watched.swap(true, Ordering::Relaxed);
        (!taken).then(|| Watch(Arc::clone(self)))
    }

    fn row(&self) -> HostRow {
        let attempts = self.attempts.lock();
        HostRow {
            host: self.host.to_string(),
            port: self.port,
            standing: self.standing(),
            breaker: attempts.breaker.state(attempts.limits, Instant::now()),
            failures: attempts.breaker.failures(),
            opened: attempts.breaker.opened(),
            connecting: self.under_way.load(Ordering::Relaxed),
            connects: self.connects.all().collect(),
        }
    }
}

/// A connection that is open.
#[derive(Debug)]
pub struct Open(Arc<HostState>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to watch a host.
#[derive(Debug)]
pub struct Watch(Arc<HostState>);

impl Watch {
    pub fn host(&self) -> &Arc<HostState> {
        &self.0
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.watched.store(false, Ordering::Relaxed);
    }
}

/// A connection in the making. Dropped, it is given up.
#[derive(Debug)]
pub struct Attempt {
    host: Arc<HostState>,
    begun: Instant,
    probe: bool,
    ended: bool,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Attempt {
    /// There is a connection.
    pub fn succeeded(mut self) {
        self.ended = true;
        self.host.attempts.lock().answered();
    }

    /// There is none. Gives the error for who wanted it; if it is the host's, with the time when there
    /// may be another attempt.
    pub fn failed(mut self, error: ConnectError) -> ConnectError {
        self.ended = true;
        let mut attempts = self.host.attempts.lock();
        match says(&error) {
            Says::Answers => attempts.answered(),
            Says::Nothing => attempts.breaker.given_up(self.probe),
            Says::Silent => {
                let (now, limits) = (Instant::now(), attempts.limits);
                let breaker = &mut attempts.breaker;
                breaker.failed(limits, self.begun, now, chance(now));
                let until = breaker.retry_at().unwrap_or(now);
                let error = Arc::new(error);
                attempts.error = Some(Arc::clone(&error));
                return ConnectError::LeftAlone { error, until };
            }
        }
        error
    }
}

impl Attempts {
    fn answered(&mut self) {
        self.breaker.succeeded();
        self.error = None;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.host.under_way.fetch_sub(1, Ordering::Relaxed);
        if !self.ended {
            self.host.attempts.lock().breaker.given_up(self.probe);
        }
    }
}

/// The clock's low digits are random enough to spread attempts.
fn chance(now: Instant) -> f64 {
    f64::from(now.elapsed().subsec_nanos() % 1024) / 1023.0
}

/// What an attempt says about the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// A server is there, whatever it thinks of us.
    Answers,
    Silent,
    Nothing,
}

fn says(error: &ConnectError) -> Says {
    match error {
        ConnectError::Resolve { .. }
        | ConnectError::Connect { .. }
        | ConnectError::Timeout { .. }
        | ConnectError::Lost(_) => Says::Silent,
        // It is starting up, or going down.
        ConnectError::Server(e) if e.code.starts_with("57P") => Says::Silent,
        ConnectError::Server(_) | ConnectError::PasswordRefused(_) => Says::Answers,
        _ => Says::Nothing,
    }
}

/// All hosts of a process.
#[derive(Debug, Default)]
pub struct Hosts {
    /// Those that no pool has any more are left out when they are looked at.
    known: HashMap<(String, u16), Weak<HostState>>,
}

impl Hosts {
    pub fn get(&mut self, host: &Host, port: u16, limits: HostLimits) -> Arc<HostState> {
        let key = (host.to_string(), port);
        if let Some(known) = self.known.get(&key).and_then(Weak::upgrade) {
            known.set_limits(limits);
            return known;
        }
        self.known.retain(|_, state| state.strong_count() > 0);
        let new = Arc::new(HostState::new(host.clone(), port, limits));
        self.known.insert(key, Arc::downgrade(&new));
        new
    }

    /// Sorted by name.
    pub fn rows(&self) -> Vec<HostRow> {
        let hosts = self.known.values().filter_map(Weak::upgrade);
        let mut rows: Vec<_> = hosts.map(|host| host.row()).collect();
        rows.sort_by(|a, b| (&a.host, a.port).cmp(&(&b.host, b.port)));
        rows
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const LIMITS: HostLimits = HostLimits {
        max_connecting: 2,
        failures: 2,
        max_delay: Duration::from_millis(100),
    };

    pub(crate) fn host(name: &str) -> Arc<HostState> {
        Arc::new(HostState::new(Host::Tcp(name.to_owned()), 1, LIMITS))
    }

    fn lost() -> ConnectError {
        ConnectError::Lost(std::io::ErrorKind::ConnectionReset.into())
    }

    #[tokio::test]
    async fn so_many_connections_are_in_the_making_at_once() {
        let host = host("a");
        let first = host.begin().await.unwrap();
        let _second = host.begin().await.unwrap();
        let limit = Duration::from_millis(50);
        assert!(tokio::time::timeout(limit, host.begin()).await.is_err());
        first.succeeded();
        assert!(tokio::time::timeout(limit, host.begin()).await.is_ok());
        host.set_limits(HostLimits {
            max_connecting: 0,
            ..LIMITS
        });
        assert!(tokio::time::timeout(limit, host.begin()).await.is_ok());
    }

    #[tokio::test]
    async fn a_host_that_fails_is_left_alone_and_the_reason_is_kept() {
        let host = host("a");
        host.begin().await.unwrap().failed(lost());
        let refused = host.begin().await.unwrap_err();
        assert_eq!(refused.to_string(), lost().to_string());
        assert!(refused.is_transient());
        // Somebody has heard from it.
        host.learn(Standing::Primary { timeline: 1 });
        host.begin().await.unwrap().succeeded();
        assert!(host.begin().await.is_ok());
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer() {
        let host = host("a");
        let body = b"SFATAL\0C28P01\0Mno\0\0";
        let refused = super::super::connect::ServerError::parse(body);
        for _ in 0..5 {
            let error = ConnectError::Server(Box::new(refused.clone()));
            host.begin().await.unwrap().failed(error);
        }
        assert_eq!(host.row().failures, 0);
    }

    #[test]
    fn hosts_are_forgotten_with_their_pools() {
        let mut hosts = Hosts::default();
        let name = Host::Tcp("a".to_owned());
        let first = hosts.get(&name, 1, LIMITS);
        assert!(Arc::ptr_eq(&first, &hosts.get(&name, 1, LIMITS)));
        assert_eq!(hosts.rows().len(), 1);
        drop(first);
        assert!(hosts.rows().is_empty());
    }
}
