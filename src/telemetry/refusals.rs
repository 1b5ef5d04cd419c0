//! How often clients were refused, and why: for `SHOW REFUSALS` and metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why somebody was refused. Closed: each is a label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `[login] allow` or `deny`.
    Network,
    /// `[login] max_half_open`: a new connection was refused.
    HalfOpen,
    /// `[login] max_half_open`: one that was slow to log in was closed for a new one.
    SlowLogin,
    /// `[login] max_failures` or `max_address_failures`.
    FailedLogins,
    /// `max_client_conn`, `max_db_client_connections` or `max_user_client_connections`.
    ClientLimit,
    /// `max_queue`.
    Queue,
    /// `max_user_queue`.
    UserQueue,
    /// `early_refusal`.
    ExpectedWait,
    /// `max_queries_per_second`.
    Rate,
    /// `max_client_memory` or `max_clients_memory`.
    Memory,
}

const REASONS: [(Reason, &str); 10] = [
    (Reason::Network, "network"),
    (Reason::HalfOpen, "half_open"),
    (Reason::SlowLogin, "slow_login"),
    (Reason::FailedLogins, "failed_logins"),
    (Reason::ClientLimit, "client_limit"),
    (Reason::Queue, "queue"),
    (Reason::UserQueue, "user_queue"),
    (Reason::ExpectedWait, "expected_wait"),
    (Reason::Rate, "rate"),
    (Reason::Memory, "memory"),
];

/// One counter a reason, for the whole process.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; REASONS.len()]);

impl Refusals {
    pub fn count(&self, reason: Reason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Label and count of each reason.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        REASONS.iter().map(|(_, label)| *label).zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_count_and_label() {
        let refusals = Refusals::default();
        for (n, (reason, _)) in REASONS.iter().enumerate() {
            (0..=n).for_each(|_| refusals.count(*reason));
        }
        for (n, ((_, label), counted)) in REASONS.iter().zip(refusals.all()).enumerate() {
            assert_eq!(counted, (*label, n as u64 + 1));
        }
    }
}
