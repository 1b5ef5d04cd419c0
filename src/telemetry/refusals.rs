//! How often clients were refused, and why: for `SHOW REFUSALS` and metrics.

use super::counts::{Counts, Label as _, labels};

labels! {
    /// Why somebody was refused.
    Reason {
        /// `[login] allow` or `deny`.
        Network = "network",
        /// `[login] max_half_open`: a new connection was refused.
        HalfOpen = "half_open",
        /// `[login] max_half_open`: one that was slow to log in was closed for a new one.
        SlowLogin = "slow_login",
        /// `[login] max_failures` or `max_address_failures`.
        FailedLogins = "failed_logins",
        /// `max_client_conn`, `max_db_client_connections` or `max_user_client_connections`.
        ClientLimit = "client_limit",
        /// `max_queue`.
        Queue = "queue",
        /// `max_user_queue`.
        UserQueue = "user_queue",
        /// `early_refusal`.
        ExpectedWait = "expected_wait",
        /// `max_queries_per_second`.
        Rate = "rate",
        /// `max_client_memory` or `max_clients_memory`.
        Memory = "memory",
    }
}

/// One counter a reason, for the whole process.
#[derive(Debug, Default)]
pub struct Refusals(Counts<Reason>);

impl Refusals {
    pub fn count(&self, reason: Reason) {
        self.0.count(reason);
    }

    /// Label and count of each reason.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Reason::LABELS.iter().copied().zip(self.0.all())
    }
}
