//! What happens now and then, counted for the whole process by closed sets of reasons.
//!
//! What a worker counts it counts apart from the others, so that no cache line goes to and fro even
//! where each transaction ends in an error.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::counts::{Counts, Label, labels};
use crate::protocol::sqlstate::{CLASSES, Class};
use crate::session::fault::Fault;
use crate::session::pins::Pin;

impl Label for Class {
    const LABELS: &'static [&'static str] = &CLASSES;

    fn index(self) -> usize {
        Class::index(self)
    }
}

impl Label for Pin {
    const LABELS: &'static [&'static str] = &Pin::LABELS;

    fn index(self) -> usize {
        self as usize
    }
}

labels! {
    /// Which limit of time was over.
    Timeout {
        QueryWait = "query_wait",
        Query = "query",
        /// The statement did not end after it was cancelled.
        CancelWait = "cancel_wait",
        Transaction = "transaction",
        IdleTransaction = "idle_transaction",
        ClientIdle = "client_idle",
        ClientWrite = "client_write",
        ClientLogin = "client_login",
    }
}

labels! {
    /// Why something was done once more that the client has asked for once.
    Retry {
        /// The plan of a prepared statement was outdated, or the statement was gone.
        Statement = "statement",
        /// The connection had been closed by the server before anything was sent.
        LostServer = "lost_server",
        /// No replica could be reached for a read.
        Replica = "replica",
    }
}

labels! {
    /// How a connection of a client got on until it was logged in, or was not.
    Login {
        Success = "success",
        WrongPassword = "wrong_password",
        /// Nobody may come like that: no such user, a rule of `hba_file`, a missing certificate, no TLS.
        NotAllowed = "not_allowed",
        /// `[login] allow` or `deny`.
        Network = "network",
        NoDatabase = "no_database",
        /// Some limit of clients, logins or waiters is reached.
        Limit = "limit",
        /// `[login] max_failures` or `max_address_failures`: others before it had failed.
        FailedLogins = "failed_logins",
        /// `client_login_timeout`.
        Timeout = "timeout",
        QueryWaitTimeout = "query_wait_timeout",
        Protocol = "protocol",
        /// It left before it had said what it wants: a health check, or a handshake that failed.
        Gone = "gone",
        /// The server cannot be reached or refuses.
        Server = "server",
        ShuttingDown = "shutting_down",
        Other = "other",
    }
}

labels! {
    /// How a login to a server went.
    Connect {
        Success = "success",
        /// The host's name has no address.
        Dns = "dns",
        /// No connection, or it broke.
        Network = "network",
        Timeout = "timeout",
        Tls = "tls",
        /// No way to prove who we are, or a password that the server does not take.
        Auth = "auth",
        /// The server has said why not.
        Refused = "refused",
        /// It speaks something else than PostgreSQL.
        Protocol = "protocol",
        Other = "other",
    }
}

labels! {
    /// Whom a cancel request was for.
    Cancel {
        Client = "client",
        Peer = "peer",
        /// The process that this one takes over from.
        Predecessor = "predecessor",
        Unknown = "unknown",
    }
}

labels! {
    /// How a reload ended.
    Reload {
        Success = "success",
        Failure = "failure",
    }
}

labels! {
    /// Why a client's connection has ended.
    Leave {
        Terminated = "terminated",
        /// It closed its connection without a word, or the connection broke.
        Lost = "lost",
        Protocol = "protocol",
        /// `max_client_memory` or `max_clients_memory`.
        Memory = "memory",
        /// An error that a session cannot go on after.
        Fatal = "fatal",
        ClientIdleTimeout = "client_idle_timeout",
        ClientWriteTimeout = "client_write_timeout",
        Killed = "killed",
        ShuttingDown = "shutting_down",
        DatabaseGone = "database_gone",
        ServerLost = "server_lost",
    }
}

/// What happens where clients are served: on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Here {
    pub errors: Counts<Class>,
    pub timeouts: Counts<Timeout>,
    pub pins: Counts<Pin>,
    pub retries: Counts<Retry>,
    pub faults: Counts<Fault>,
}

/// Of a process.
#[derive(Debug)]
pub struct Events {
    homes: Box<[Here]>,
    pub logins: Counts<Login>,
    pub leaves: Counts<Leave>,
    pub cancel_requests: Counts<Cancel>,
    pub reloads: Counts<Reload>,
    /// Seconds since 1970.
    configured: AtomicU64,
}

impl Events {
    /// For as many homes as there are ([`crate::worker::Home`]).
    pub fn new(homes: usize) -> Events {
        let events = Events {
            homes: (0..homes).map(|_| Here::default()).collect(),
            logins: Counts::default(),
            leaves: Counts::default(),
            cancel_requests: Counts::default(),
            reloads: Counts::default(),
            configured: AtomicU64::new(0),
        };
        events.note_configured();
        events
    }

    /// By the number of a home.
    pub fn at(&self, home: usize) -> &Here {
        &self.homes[home]
    }

    /// A configuration has come into force.
    pub fn note_configured(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        self.configured.store(now, Ordering::Relaxed);
    }

    /// When the configuration that is in force was read, in seconds since 1970.
    pub fn configured_at(&self) -> u64 {
        self.configured.load(Ordering::Relaxed)
    }

    /// Of all homes, in the order of the labels.
    pub fn sum<L: Label>(&self, which: fn(&Here) -> &Counts<L>) -> Vec<u64> {
        let mut sum = vec![0; L::LABELS.len()];
        for home in &self.homes {
            let counts = which(home).all();
            sum.iter_mut()
                .zip(counts)
                .for_each(|(all, one)| *all += one);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_summed_up() {
        let events = Events::new(3);
        events.at(0).errors.count(Class::of(b"23505"));
        events.at(2).errors.count(Class::of(b"23502"));
        events.at(2).pins.count(Pin::Forever);
        let all = events.sum(|here| &here.errors);
        let of: Vec<_> = Class::LABELS
            .iter()
            .zip(all)
            .filter(|(_, n)| *n > 0)
            .collect();
        assert_eq!(of, [(&"23", 2)]);
        let pins = events.sum(|here| &here.pins);
        assert_eq!(pins.iter().sum::<u64>(), 1);
        assert_eq!(Pin::LABELS[Pin::Forever as usize], Pin::Forever.label());
        assert!(events.configured_at() > 1_600_000_000);
    }
}
