//! What has to be looked at from time to time: waiters without a connection in the making,
//! connections that are idle too long, too old or dead, minimum sizes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Pool;
use super::registry::Pools;
use crate::cache::catalog::{Catalog, LOAD};
use crate::client::info::Clock;
use crate::feed::Feeds;

/// How often waiting clients are looked after.
const TICK: Duration = Duration::from_millis(100);
/// How long it may take to read the catalogs.
const CATALOG_LIMIT: Duration = Duration::from_secs(30);
/// Every so many ticks idle connections are looked at.
const SWEEP_EVERY: u32 = 10;

/// Runs for ever.
pub async fn run(pools: Arc<Pools>, clock: Clock) {
    let feeds = Feeds::new(clock);
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for tick in 0u32.. {
        interval.tick().await;
        let sweeps = tick.is_multiple_of(SWEEP_EVERY);
        let all = pools.all();
        feeds.tend(&all);
        if sweeps {
            pools.leave_old_addresses();
        }
        for pool in all {
            pool.tick(sweeps);
        }
        if sweeps {
            pools.forget_unused();
        }
    }
}

impl Pool {
    fn tick(self: &Arc<Pool>, sweep: bool) {
        if let Some(reads) = self.reads() {
            reads.pool.tick(sweep);
        }
        self.tend_cache();
        self.tend_roles();
        if sweep {
            self.sweep();
        }
        let minimum = self.minimum();
        let short = {
            let counts = self.counts();
            counts.waiting > 0 || counts.idle + counts.lent + counts.connecting < minimum
        };
        if short {
            self.connect_more();
        }
    }

    /// Reads the server's catalogs for the cache, if they are wanted.
    fn tend_cache(self: &Arc<Pool>) {
        let settings = self.settings.load();
        let Some(cache) = &settings.cache else { return };
        let now = Instant::now();
        cache.space.settle_doubts(now);
        if !cache.wants_load(now) {
            return;
        }
        let (pool, cache) = (Arc::clone(self), Arc::clone(cache));
        self.shared.control.spawn(async move {
            let schema = cache.space.schema();
            let read = tokio::time::timeout(CATALOG_LIMIT, pool.read_catalog()).await;
            let catalog = match read {
                Ok(Ok(catalog)) => Some(catalog),
                Ok(Err(error)) => {
                    tracing::warn!(?pool, %error, "cannot read the catalogs: the cache is bypassed");
                    None
                }
                Err(_) => {
                    tracing::warn!(?pool, "reading the catalogs takes too long: the cache is bypassed");
                    None
                }
            };
            cache.learned(catalog, schema, now.elapsed());
        });
    }

    async fn read_catalog(self: &Arc<Pool>) -> anyhow::Result<Catalog> {
        let mut lease = self.lease().await?;
        let server = lease.server();
        server.forget_settings().await?;
        let rows = server.simple(LOAD).await?;
        lease.release();
        // Views are taken apart: for many of them that is more than a moment.
        Ok(tokio::task::spawn_blocking(move || Catalog::from_rows(&rows)).await??)
    }

    fn sweep(self: &Arc<Pool>) {
        let settings = self.settings.load_full();
        let server = &settings.database.server;
        let mut lost = false;
        self.close_idle(
            |s, _| {
                let closed = s.stream.has_news();
                lost |= closed;
                closed
            },
            0,
            "server closed the connection",
        );
        if lost {
            self.forget_answers();
        }
        self.close_idle(|s, _| s.info.is_closing(), 0, "obsolete connection");
        let now = std::time::Instant::now();
        // With a lifetime of zero an idle one is fresh: it has not served yet.
        if !server.lifetime.is_zero() {
            self.close_idle(
                |s, _| s.age(now) > server.lifetime,
                0,
                "server lifetime over",
            );
        }
        if !server.idle_timeout.is_zero() {
            self.close_idle(
                |_, idle| idle > server.idle_timeout,
                settings.min_size,
                "server idle timeout",
            );
        }
        // After the limits were lowered; those that are lent are closed when they come back.
        let most = settings.limits.size + settings.limits.reserve;
        self.close_idle(|_, _| true, most, "over the pool's size");
        if self.budgets.iter().any(|b| b.is_short()) {
            // Another pool needs the room more than we need an idle connection.
            let mut one = true;
            self.close_idle(
                |_, _| std::mem::take(&mut one),
                settings.min_size,
                "evicted",
            );
        }
    }
}
