//! What is shown of each pool.

use std::sync::Arc;

use super::page::Page;
use super::table::{self, Counter};
use crate::pool::Pool;
use crate::pool::stats::{Times, Totals};

/// What is shown of pools that have no histograms of their own, all together. No database is called that.
const OTHERS: [&str; 2] = ["", ""];

/// A counter of a pool.
type PoolCounter = (&'static Counter<2>, fn(&Totals) -> u64);

static COUNTERS: &[PoolCounter] = &[
    (&table::TRANSACTIONS, |t| t.transactions),
    (&table::QUERIES, |t| t.queries),
    (&table::ERRORS, |t| t.errors),
    (&table::ASSIGNMENTS, |t| t.assignments),
    (&table::CLIENT_RECEIVED, |t| t.received),
    (&table::CLIENT_SENT, |t| t.sent),
    (&table::SERVER_RECEIVED, |t| t.server_received),
    (&table::SERVER_SENT, |t| t.server_sent),
    (&table::CLIENT_PARSES, |t| t.client_parses),
    (&table::SERVER_PARSES, |t| t.server_parses),
    (&table::BINDS, |t| t.binds),
    (&table::STATEMENT_HITS, |t| t.statement_hits),
    (&table::STATEMENT_MISSES, |t| t.statement_misses),
    (&table::STATEMENT_EVICTIONS, |t| t.statement_evictions),
    (&table::LOGINS, |t| t.logins),
    (&table::TIMEOUTS, |t| t.timeouts),
    (&table::CANCELS, |t| t.cancels),
    (&table::PINS, |t| t.pins),
    (&table::DISCARDS, |t| t.discards),
    (&table::READS_REPLICA, |t| t.reads_replica),
    (&table::READS_NOWHERE, |t| t.reads_nowhere),
    (&table::READS_OWN_WRITE, |t| t.reads_own_write),
    (&table::NOT_READS, |t| t.not_reads),
];

/// One pool, but for its times.
pub(super) fn render(pool: &Pool, page: &Page) {
    let of = labels(pool);
    let (totals, counts) = (pool.totals(), pool.counts());
    for (counter, value) in COUNTERS {
        page.counter(counter, of, value(&totals));
    }
    let size = pool.settings().limits.size;
    page.gauge(&table::POOL_SIZE, of, size as f64);
    let [database, user] = of;
    for (state, n) in [
        ("connecting", counts.connecting),
        ("idle", counts.idle),
        ("active", counts.lent),
    ] {
        page.gauge(&table::POOL_SERVERS, [database, user, state], n as f64);
    }
    page.gauge(&table::CLIENTS_WAITING, of, counts.waiting as f64);
    let longest = counts.longest_wait.as_secs_f64();
    page.gauge(&table::WAIT_LONGEST, of, longest);
    let up = f64::from(u8::from(pool.is_reachable()));
    page.gauge(&table::POOL_UP, of, up);
    let channels = pool.channels().counts();
    page.gauge(&table::LISTEN_CHANNELS, of, channels.channels as f64);
    page.gauge(&table::LISTEN_CLIENTS, of, channels.clients as f64);
    page.counter(&table::NOTIFICATIONS_RECEIVED, of, channels.received);
    page.counter(&table::NOTIFICATIONS_PASSED, of, channels.sent);
}

fn labels(pool: &Pool) -> [&str; 2] {
    [&pool.database, &pool.user]
}

/// Histograms of all pools: added up, they are those of the process. `gone` is of pools that are no more.
pub(super) fn render_times(pools: &[Arc<Pool>], gone: Times, page: &mut Page) {
    let mut others = gone;
    for pool in pools {
        let times = pool.times();
        match pool.has_own_series() {
            true => histograms(labels(pool), &times, page),
            false => others.merge(&times),
        }
    }
    if others != Times::default() {
        histograms(OTHERS, &others, page);
    }
}

fn histograms(of: [&str; 2], times: &Times, page: &mut Page) {
    page.histogram(&table::CLIENT_WAIT, of, &times.wait);
    page.histogram(&table::QUERY, of, &times.query);
    page.histogram(&table::SERVER, of, &times.server);
    page.histogram(&table::TRANSACTION, of, &times.transaction);
}
