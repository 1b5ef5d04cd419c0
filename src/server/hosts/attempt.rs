//! An attempt to connect to a host, and what it says about the host.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use super::HostState;
use crate::server::connect::ConnectError;

/// A connection in the making. Dropped, it is given up.
#[derive(Debug)]
pub struct Attempt {
    pub(super) host: Arc<HostState>,
    pub(super) begun: Instant,
    pub(super) probe: bool,
    pub(super) ended: bool,
    pub(super) _slot: Option<OwnedSemaphorePermit>,
}

impl Attempt {
    /// There is a connection.
    pub fn succeeded(mut self) {
        self.ended = true;
        self.host.answered();
    }

    /// There is none. Gives the error for who wanted it; if it is the host's, with the time when there
    /// may be another attempt.
    pub fn failed(mut self, error: ConnectError) -> ConnectError {
        self.ended = true;
        match says(&error) {
            Says::Answers => self.host.answered(),
            Says::Nothing => self.host.attempts.lock().breaker.given_up(self.probe),
            Says::Silent => return self.host.silent(error, self.begun),
        }
        error
    }
}

impl HostState {
    fn answered(&self) {
        let failures = {
            let mut attempts = self.attempts.lock();
            let failures = attempts.breaker.failures();
            attempts.breaker.succeeded();
            attempts.error = None;
            (failures >= attempts.limits.failures).then_some(failures)
        };
        if let Some(failures) = failures {
            tracing::info!(host = %self.host, port = self.port, failures,
                "the host answers again: its breaker is closed");
        }
    }

    /// Nothing came of an attempt that was begun at `begun`.
    fn silent(&self, error: ConnectError, begun: Instant) -> ConnectError {
        let error = Arc::new(error);
        let (until, opens) = {
            let mut attempts = self.attempts.lock();
            attempts.error = Some(Arc::clone(&error));
            let (now, limits) = (Instant::now(), attempts.limits);
            let breaker = &mut attempts.breaker;
            let before = breaker.opened();
            breaker.failed(limits, begun, now, chance(now));
            let until = breaker.retry_at().unwrap_or(now);
            (until, breaker.opened() > before)
        };
        if opens {
            tracing::warn!(host = %self.host, port = self.port, %error,
                "the host does not answer: its breaker is open");
        }
        ConnectError::LeftAlone { error, until }
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
