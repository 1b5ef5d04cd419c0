//! What the configuration says about one pool, for its database and user together.

use std::sync::Arc;
use std::time::Duration;

use super::core::Limits;
use super::overload::{Classes, Overload};
use crate::cache::pool::PoolCache;
use crate::config::{
    Database, ListenChannels, Log, PoolMode, SessionStatePolicy, Target, Timeouts, User,
};

#[derive(Debug, Clone)]
pub struct PoolSettings {
    pub database: Arc<Database>,
    pub mode: PoolMode,
    pub session_state: SessionStatePolicy,
    /// One connection listens for all clients.
    pub shares_channels: bool,
    pub timeouts: Timeouts,
    pub limits: Limits,
    pub min_size: usize,
    pub log: LogServers,
    /// If answers are remembered in its database, for this pool or another.
    pub cache: Option<Arc<PoolCache>>,
    /// If it matters which of its clients ask.
    pub overload: Option<Arc<Overload>>,
}

/// What is logged of its connections, and of its clients' requests.
#[derive(Debug, Clone, Copy)]
pub struct LogServers {
    pub connections: bool,
    pub disconnections: bool,
    /// Requests that take so long; zero: none.
    pub slow_query: Duration,
    /// Bytes of a statement.
    pub statement_length: usize,
}

/// A waiter elsewhere is preferred to a local one when it has waited this much longer.
const PATIENCE: Duration = Duration::from_millis(4);
/// Logins to one server that may be under way at once for one pool.
const MAX_CONNECTING: usize = 8;

impl PoolSettings {
    /// A user's own values go before the database's, as in PgBouncer.
    pub fn new(
        database: &Arc<Database>,
        user: &User,
        log: &Log,
        cache: Option<Arc<PoolCache>>,
        classes: &Arc<Classes>,
    ) -> PoolSettings {
        let mode = user.pool_mode.unwrap_or(database.pool_mode);
        // A replica cannot listen, and its own answer says so best.
        let may_write = matches!(database.target(), Target::Any | Target::Primary);
        PoolSettings {
            mode,
            shares_channels: database.listen_channels == ListenChannels::Share
                && mode != PoolMode::Session
                && may_write,
            session_state: database.session_state,
            timeouts: timeouts(database, user),
            limits: Limits {
                size: user.pool_size.unwrap_or(database.pool_size),
                reserve: user.reserve_pool_size.unwrap_or(database.reserve_pool_size),
                reserve_timeout: database.reserve_pool_timeout,
                max_queue: database.max_queue,
                patience: PATIENCE,
                max_connecting: MAX_CONNECTING,
                round_robin: database.server.round_robin,
            },
            min_size: database.min_pool_size,
            log: LogServers {
                connections: log.connections,
                disconnections: log.disconnections,
                slow_query: log.slow_query,
                statement_length: log.statement_length,
            },
            cache,
            overload: Overload::new(classes, database),
            database: Arc::clone(database),
        }
    }
}

/// What holds for a client that has logged in as `user`.
pub fn timeouts(database: &Database, user: &User) -> Timeouts {
    let inherited = &database.timeouts;
    Timeouts {
        query: user.query_timeout.unwrap_or(inherited.query),
        transaction: user.transaction_timeout.unwrap_or(inherited.transaction),
        idle_transaction: user
            .idle_transaction_timeout
            .unwrap_or(inherited.idle_transaction),
        client_idle: user.client_idle_timeout.unwrap_or(inherited.client_idle),
        query_wait: user.query_wait_timeout.unwrap_or(inherited.query_wait),
        ..inherited.clone()
    }
}
