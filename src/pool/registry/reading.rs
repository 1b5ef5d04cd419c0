//! The second pool that a pool has for its reads.

use std::sync::Arc;
use std::time::Duration;

use super::{Inner, ServerList};
use crate::config::{Database, PoolMode, Reads, Target};
use crate::pool::settings::PoolSettings;
use crate::pool::{NewPool, Pool};

/// What the configuration comes to for the connections that its reads go to.
fn reading(database: &Arc<Database>) -> Arc<Database> {
    let mut reading = Database::clone(database);
    reading.roles.target = Some(Target::Replica);
    // The primary is there for those who wait.
    reading.server.login_retry = Duration::ZERO;
    reading.min_pool_size = 0;
    Arc::new(reading)
}

fn wants_reads(settings: &PoolSettings) -> bool {
    settings.database.roles.reads != Reads::Off && settings.mode != PoolMode::Session
}

impl Inner {
    /// A pool for the reads of `pool`, if they go elsewhere.
    pub(super) fn new_reads(
        &mut self,
        database: &Arc<Database>,
        pool: &Pool,
        servers: &ServerList,
    ) -> Option<Arc<Pool>> {
        if !wants_reads(&pool.settings()) {
            return None;
        }
        let database = reading(database);
        let settings = self.settings(&database, &pool.user, None);
        Some(Pool::new(NewPool {
            endpoints: self.endpoints(&database),
            credentials: self.credentials(&database, &pool.user),
            passwords: self.passwords(&database, &pool.user),
            budgets: Arc::clone(&pool.budgets),
            settings,
            database: Arc::clone(&pool.database),
            user: Arc::clone(&pool.user),
            servers: servers.clone(),
            shared: Arc::clone(pool.shared()),
            reads_of: Some(Arc::clone(&pool.statements)),
        }))
    }

    /// `pool` has its new settings already; its servers are other ones if it has `moved`.
    pub(super) fn apply_reads(
        &mut self,
        database: &Arc<Database>,
        pool: &Pool,
        servers: &ServerList,
        moved: bool,
    ) {
        match pool.reads() {
            Some(reads) if wants_reads(&pool.settings()) => {
                let database = reading(database);
                let settings = self.settings(&database, &pool.user, None);
                let endpoints = self.endpoints(&database);
                reads.pool.apply(settings, endpoints, moved);
            }
            Some(_) => pool.set_reads(None),
            None => {
                let reads = self.new_reads(database, pool, servers);
                if let Some(reads) = &reads {
                    // What clients have shown counts for it, too.
                    reads.offer_credentials(pool.proof().0);
                    reads.hold(self.holds.of(&pool.database));
                }
                pool.set_reads(reads);
            }
        }
    }
}
