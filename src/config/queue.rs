//! Who is served first when there is too little for all.

use crate::config::Database;
pub use crate::pool::core::fair::Priority;

/// Among whom a pool's connections are shared evenly, within a priority (`queue_fair_by`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FairBy {
    /// First come, first served.
    Nobody,
    /// Users as which clients have logged in.
    User,
    ApplicationName,
}

/// What becomes of queries above a rate (`over_rate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverRate {
    Wait,
    Refuse,
}

/// How the clients of a pool queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Most waiting clients of one user, or what `fair_by` says; 0 is unlimited.
    pub max_user: usize,
    pub fair_by: FairBy,
    /// Refuse at once who would wait longer than `query_wait_timeout`.
    pub early_refusal: bool,
    pub over_rate: OverRate,
    /// Of clients for which neither the user nor the application says otherwise.
    pub priority: Priority,
}

/// What holds for the clients of a user or an application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Class {
    pub priority: Option<Priority>,
    /// Queries a second, over all clients; 0 is unlimited.
    pub max_queries_per_second: u32,
    /// How many may come at once; 0 is as many as in a second.
    pub query_burst: u32,
}

impl Class {
    pub fn burst(&self) -> u32 {
        match self.query_burst {
            0 => self.max_queries_per_second,
            burst => burst,
        }
    }
}

impl Database {
    /// Whether it matters who waits, even if all have the same priority.
    pub fn has_parties(&self) -> bool {
        self.queue.max_user > 0 || self.queue.fair_by != FairBy::Nobody
    }
}
