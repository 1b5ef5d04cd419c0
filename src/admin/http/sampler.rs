//! Looks at everything once a second: for the charts, for the events, and for the pages that are
//! open.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::MissedTickBehavior;

use super::site::Site;
use crate::admin::console::Console;
use crate::client::info::State;
use crate::pool::registry::pausing::Hold;
use crate::pool::stats::Totals;
use crate::server::Activity;
use crate::server::breaker::State as Breaker;
use crate::telemetry::journal::look::{HostSeen, Seen, Watch};

const EVERY: Duration = Duration::from_secs(1);
/// So many samples are kept: five minutes.
const KEPT: usize = 300;

/// What a sample consists of. All but the time and the counts at the end only grow.
pub(super) const COLUMNS: [&str; 18] = [
    "at",
    "queries",
    "transactions",
    "errors",
    "query_micros",
    "transaction_micros",
    "assignments",
    "wait_micros",
    "received",
    "sent",
    "logins",
    "hits",
    "misses",
    "clients",
    "clients_active",
    "clients_waiting",
    "servers_active",
    "servers_idle",
];

/// In the order of [`COLUMNS`]; the time in milliseconds since 1970.
pub(super) type Sample = [u64; COLUMNS.len()];

/// The newest samples, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Sample>);

impl History {
    fn add(&mut self, sample: Sample) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    pub fn all(&self) -> Vec<Sample> {
        self.0.iter().copied().collect()
    }

    pub fn newest(&self) -> Option<Sample> {
        self.0.back().copied()
    }
}

/// Looks for ever.
pub(super) async fn run(site: &Arc<Site>) {
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::default();
    loop {
        interval.tick().await;
        let console = &site.console;
        site.history.lock().add(sample(console));
        for happening in watch.look(seen(console), site.began.elapsed()) {
            console.journal().add(happening);
        }
        if site.feed.is_wanted() {
            site.feed.send(&site.snapshots.get(site));
        }
    }
}

/// How things stand now.
pub(super) fn sample(console: &Console) -> Sample {
    let mut totals = Totals::default();
    let (mut hits, mut misses) = (0, 0);
    for pool in console.pools().all() {
        pool.add_totals(&mut totals);
        if let Some(cache) = &pool.settings().cache {
            hits += cache.counters.hits.load(Ordering::Relaxed);
            misses += cache.counters.misses.load(Ordering::Relaxed);
        }
    }
    let (mut clients, mut active, mut waiting) = (0, 0, 0);
    console.directory().for_each(|client| {
        clients += 1;
        match client.state() {
            State::Active => active += 1,
            State::Waiting => waiting += 1,
            State::Idle => {}
        }
    });
    let servers = console.pools().servers();
    let idle = servers
        .iter()
        .filter(|s| s.activity() == Activity::Idle)
        .count() as u64;
    [
        millis(SystemTime::now()),
        totals.queries,
        totals.transactions,
        totals.errors,
        totals.query_micros,
        totals.transaction_micros,
        totals.assignments,
        totals.wait_micros,
        totals.received,
        totals.sent,
        totals.logins,
        hits,
        misses,
        clients,
        active,
        waiting,
        servers.len() as u64 - idle,
        idle,
    ]
}

/// Since 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

/// What all is held up by, in a word.
pub(super) fn held(hold: Option<Hold>) -> Option<&'static str> {
    hold.map(|hold| match hold {
        Hold::Pause => "paused",
        Hold::Suspend => "suspended",
    })
}

fn seen(console: &Console) -> Seen {
    let holds = console.pools().holds();
    let hosts = console.pools().hosts().into_iter().map(|row| {
        let seen = HostSeen {
            standing: row.standing.label(),
            opened: row.opened,
            is_closed: row.breaker == Breaker::Closed,
        };
        (format!("{}:{}", row.host, row.port), seen)
    });
    let pools = console.pools().all();
    let unreachable = pools.iter().filter(|pool| !pool.is_reachable());
    let unreachable = unreachable.map(|pool| {
        let why = pool
            .outage()
            .map_or_else(String::new, |outage| outage.message);
        (format!("{}.{}", pool.database, pool.user), why)
    });
    let refusals = console.pools().shared().refusals.all();
    let refusals = refusals.map(|(reason, count)| (refusal(reason), count));
    let wrong = (
        "logins failed: wrong password or certificate",
        console.wrong_passwords(),
    );
    Seen {
        held: held(holds.all()),
        paused: holds.paused().map(str::to_owned).collect(),
        disabled: holds.disabled().map(str::to_owned).collect(),
        configuration: Arc::as_ptr(&console.config()) as usize,
        is_draining: console.is_draining(),
        hosts: hosts.collect(),
        unreachable: unreachable.collect(),
        counted: refusals.chain([wrong]).collect(),
    }
}

/// What follows the number of those who were refused for a reason.
fn refusal(reason: &'static str) -> &'static str {
    match reason {
        "network" => "connections refused: [login] allow and deny",
        "half_open" => "connections refused: max_half_open",
        "slow_login" => "slow logins given up: max_half_open",
        "failed_logins" => "logins refused: too many failures before",
        "client_limit" => "logins refused: too many clients",
        "queue" => "requests refused: max_queue",
        "user_queue" => "requests refused: max_user_queue",
        "expected_wait" => "requests refused: early_refusal",
        "rate" => "requests refused: max_queries_per_second",
        "memory" => "requests refused: memory of clients",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_minutes_are_kept() {
        let mut history = History::default();
        for n in 0..=KEPT as u64 {
            history.add([n; COLUMNS.len()]);
        }
        let all = history.all();
        assert_eq!(all.len(), KEPT);
        assert_eq!((all[0][0], all[KEPT - 1][0]), (1, KEPT as u64));
    }
}
