//! Metrics, in Prometheus' text format. Nothing is counted here: each scrape reads the counters
//! that the pools keep anyway, so the hot path pays nothing for it.

use std::fmt::Write as _;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::admin::console::Console;
use crate::client::info::State;
use crate::pool::Pool;
use crate::pool::stats::Totals;
use crate::server::Activity;

mod cache;
mod channels;
mod hosts;
mod untold;

/// So many pools are shown; with databases or users made up by clients, there is no end to them.
const POOLS_MAX: usize = 1000;

const METADATA: Metadata<'_> = Metadata::new("pgweir", Level::INFO, None);

/// One counter of a pool.
struct PoolCounter {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    value: fn(&Totals) -> u64,
}

/// Counters of whole numbers.
const COUNTERS: &[PoolCounter] = &[
    PoolCounter {
        name: "pgweir_transactions_total",
        help: "Transactions finished.",
        unit: None,
        value: |t| t.transactions,
    },
    PoolCounter {
        name: "pgweir_queries_total",
        help: "Requests answered with ReadyForQuery.",
        unit: None,
        value: |t| t.queries,
    },
    PoolCounter {
        name: "pgweir_errors_total",
        help: "ErrorResponses from servers.",
        unit: None,
        value: |t| t.errors,
    },
    PoolCounter {
        name: "pgweir_server_assignments_total",
        help: "Times that a server connection was given to a client.",
        unit: None,
        value: |t| t.assignments,
    },
    PoolCounter {
        name: "pgweir_client_received_bytes_total",
        help: "Bytes received from clients.",
        unit: Some(Unit::Bytes),
        value: |t| t.received,
    },
    PoolCounter {
        name: "pgweir_client_sent_bytes_total",
        help: "Bytes sent to clients.",
        unit: Some(Unit::Bytes),
        value: |t| t.sent,
    },
    PoolCounter {
        name: "pgweir_client_parses_total",
        help: "Parse messages from clients.",
        unit: None,
        value: |t| t.client_parses,
    },
    PoolCounter {
        name: "pgweir_server_parses_total",
        help: "Parse messages sent to servers.",
        unit: None,
        value: |t| t.server_parses,
    },
    PoolCounter {
        name: "pgweir_binds_total",
        help: "Bind messages from clients.",
        unit: None,
        value: |t| t.binds,
    },
    PoolCounter {
        name: "pgweir_logins_total",
        help: "Clients logged in.",
        unit: None,
        value: |t| t.logins,
    },
    PoolCounter {
        name: "pgweir_timeouts_total",
        help: "Timeouts enforced on clients.",
        unit: None,
        value: |t| t.timeouts,
    },
    PoolCounter {
        name: "pgweir_cancels_total",
        help: "Cancel requests sent to servers.",
        unit: None,
        value: |t| t.cancels,
    },
    PoolCounter {
        name: "pgweir_pins_total",
        help: "Transactions after which a client kept its server connection.",
        unit: None,
        value: |t| t.pins,
    },
    PoolCounter {
        name: "pgweir_server_discards_total",
        help: "Server connections closed instead of reused.",
        unit: None,
        value: |t| t.discards,
    },
    PoolCounter {
        name: "pgweir_reads_to_replicas_total",
        help: "Reads that went to a replica.",
        unit: None,
        value: |t| t.reads_replica,
    },
    PoolCounter {
        name: "pgweir_reads_without_replica_total",
        help: "Reads that stayed on the primary because no replica was there.",
        unit: None,
        value: |t| t.reads_nowhere,
    },
    PoolCounter {
        name: "pgweir_reads_of_own_writes_total",
        help: "Reads that stayed on the primary because no replica was known to have what had been written.",
        unit: None,
        value: |t| t.reads_own_write,
    },
    PoolCounter {
        name: "pgweir_not_reads_total",
        help: "Requests that were not found to be reads, of pools whose reads go to replicas.",
        unit: None,
        value: |t| t.not_reads,
    },
];

/// Times, which a pool counts in microseconds. Prometheus wants seconds with fractions, and the
/// exporter's counters are whole numbers: these are written apart.
const TIMES: &[PoolCounter] = &[
    PoolCounter {
        name: "pgweir_transaction_seconds_total",
        help: "Time spent in transactions.",
        unit: None,
        value: |t| t.transaction_micros,
    },
    PoolCounter {
        name: "pgweir_query_seconds_total",
        help: "Time spent in statements.",
        unit: None,
        value: |t| t.query_micros,
    },
    PoolCounter {
        name: "pgweir_client_wait_seconds_total",
        help: "Time that clients waited for a server connection.",
        unit: None,
        value: |t| t.wait_micros,
    },
];

/// The exposition for one scrape.
pub fn render(console: &Console) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    for c in COUNTERS {
        recorder.describe_counter(KeyName::from(c.name), c.unit, SharedString::from(c.help));
    }
    let gauges = [
        ("pgweir_clients", "Clients by state."),
        ("pgweir_servers", "Server connections by state."),
        ("pgweir_pool_size", "Most server connections of a pool."),
        (
            "pgweir_clients_waiting",
            "Clients waiting for a server connection.",
        ),
        (
            "pgweir_client_wait_longest_seconds",
            "How long the first in the queue has waited.",
        ),
        ("pgweir_pool_up", "1 unless the server cannot be reached."),
        (
            "pgweir_pools_not_shown",
            "Pools beyond the number that is exported.",
        ),
        (
            "pgweir_build_info",
            "Always 1; the label tells the version.",
        ),
    ];
    for (name, help) in gauges {
        recorder.describe_gauge(KeyName::from(name), None, SharedString::from(help));
    }
    let gauge = |name: &'static str, labels: Vec<Label>, value: f64| {
        recorder
            .register_gauge(&Key::from_parts(name, labels), &METADATA)
            .set(value);
    };
    let version = Label::new("version", env!("CARGO_PKG_VERSION"));
    gauge("pgweir_build_info", vec![version], 1.0);
    let clients = console.directory().all();
    for state in [State::Idle, State::Waiting, State::Active] {
        let n = clients.iter().filter(|c| c.state() == state).count();
        gauge(
            "pgweir_clients",
            vec![Label::new("state", state.label())],
            n as f64,
        );
    }
    let servers = console.pools().servers();
    for activity in [
        Activity::New,
        Activity::Idle,
        Activity::Active,
        Activity::Tested,
        Activity::Listening,
    ] {
        let n = servers.iter().filter(|s| s.activity() == activity).count();
        gauge(
            "pgweir_servers",
            vec![Label::new("state", activity.label())],
            n as f64,
        );
    }
    render_refusals(console, &recorder);
    untold::render(console, &recorder);
    channels::describe(&recorder);
    let pools = console.pools().all();
    gauge(
        "pgweir_pools_not_shown",
        Vec::new(),
        pools.len().saturating_sub(POOLS_MAX) as f64,
    );
    for pool in pools.iter().take(POOLS_MAX) {
        render_pool(pool, &recorder, &gauge);
    }
    hosts::render(console, &recorder);
    cache::render(console, &pools[..pools.len().min(POOLS_MAX)], &recorder);
    let mut text = recorder.handle().render();
    render_times(&pools[..pools.len().min(POOLS_MAX)], &mut text);
    text
}

fn render_refusals(console: &Console, recorder: &impl Recorder) {
    let name = "pgweir_clients_memory_bytes";
    let help = SharedString::from("What max_clients_memory limits: what clients make pgweir keep.");
    recorder.describe_gauge(KeyName::from(name), Some(Unit::Bytes), help);
    let used = console.pools().shared().memory.used();
    recorder
        .register_gauge(&Key::from_name(name), &METADATA)
        .set(used as f64);
    let name = "pgweir_refusals_total";
    let help = SharedString::from("Clients or requests refused by a limit.");
    recorder.describe_counter(KeyName::from(name), None, help);
    for (reason, count) in console.pools().shared().refusals.all() {
        let key = Key::from_parts(name, vec![Label::new("reason", reason)]);
        recorder.register_counter(&key, &METADATA).absolute(count);
    }
}

fn render_times(pools: &[std::sync::Arc<Pool>], text: &mut String) {
    for time in TIMES {
        let (name, help) = (time.name, time.help);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for pool in pools {
            let seconds = (time.value)(&pool.totals()) as f64 / 1e6;
            let (database, user) = (escaped(&pool.database), escaped(&pool.user));
            let _ = writeln!(
                text,
                "{name}{{database=\"{database}\",user=\"{user}\"}} {seconds}"
            );
        }
        text.push('\n');
    }
}

/// A label value as the text format wants it.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', r#"\""#);
    value.replace('\n', r"\n")
}

fn render_pool(
    pool: &Pool,
    recorder: &impl Recorder,
    gauge: &impl Fn(&'static str, Vec<Label>, f64),
) {
    let labels = || {
        vec![
            Label::new("database", pool.database.to_string()),
            Label::new("user", pool.user.to_string()),
        ]
    };
    let (totals, counts) = (pool.totals(), pool.counts());
    for c in COUNTERS {
        recorder
            .register_counter(&Key::from_parts(c.name, labels()), &METADATA)
            .absolute((c.value)(&totals));
    }
    gauge(
        "pgweir_pool_size",
        labels(),
        pool.settings().limits.size as f64,
    );
    gauge("pgweir_clients_waiting", labels(), counts.waiting as f64);
    gauge(
        "pgweir_client_wait_longest_seconds",
        labels(),
        counts.longest_wait.as_secs_f64(),
    );
    channels::render(pool, labels, recorder);
    gauge(
        "pgweir_pool_up",
        labels(),
        f64::from(u8::from(pool.is_reachable())),
    );
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn label_values_cannot_break_out() {
        assert_eq!(escaped("plain"), "plain");
        assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
