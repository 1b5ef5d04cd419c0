//! `SHOW STATS` and its like: what was done, in all and in the last full `stats_period`.

use super::{Table, columns, s};
use crate::admin::console::{Console, Period};
use crate::pool::stats::Totals;

/// What to read of a pool's counters.
type Read = fn(&Totals) -> u64;

/// A counter: its name, its name among averages in `SHOW STATS`, and its name in `SHOW TOTALS`.
struct Counter {
    name: &'static str,
    average: &'static str,
    of_all: &'static str,
    read: Read,
}

const fn counter(
    name: &'static str,
    average: &'static str,
    of_all: &'static str,
    read: Read,
) -> Counter {
    Counter {
        name,
        average,
        of_all,
        read,
    }
}

const COUNTERS: [Counter; 12] = [
    counter(
        "total_server_assignment_count",
        "avg_server_assignment_count",
        "server_assignment_count",
        |t| t.assignments,
    ),
    counter("total_xact_count", "avg_xact_count", "xact_count", |t| {
        t.transactions
    }),
    counter("total_query_count", "avg_query_count", "query_count", |t| {
        t.queries
    }),
    counter("total_received", "avg_recv", "client_bytes", |t| t.received),
    counter("total_sent", "avg_sent", "server_bytes", |t| t.sent),
    counter("total_xact_time", "avg_xact_time", "xact_time", |t| {
        t.transaction_micros
    }),
    counter("total_query_time", "avg_query_time", "query_time", |t| {
        t.query_micros
    }),
    counter("total_wait_time", "avg_wait_time", "wait_time", |t| {
        t.wait_micros
    }),
    counter(
        "total_client_parse_count",
        "avg_client_parse_count",
        "ps_client_parse_count",
        |t| t.client_parses,
    ),
    counter(
        "total_server_parse_count",
        "avg_server_parse_count",
        "ps_server_parse_count",
        |t| t.server_parses,
    ),
    counter("total_bind_count", "avg_bind_count", "ps_bind_count", |t| {
        t.binds
    }),
    counter(
        "total_client_login_count",
        "avg_client_login_count",
        "client_login_count",
        |t| t.logins,
    ),
];

/// Names in `SHOW STATS_TOTALS`, in the counters' order.
const TOTALS: [&str; 12] = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "bytes_received",
    "bytes_sent",
    "xact_time",
    "query_time",
    "wait_time",
    "client_parse_count",
    "server_parse_count",
    "bind_count",
    "client_login_count",
];

/// The same in `SHOW STATS_AVERAGES`, where only some say that they are averages.
const AVERAGES: [&str; 12] = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "bytes_received",
    "bytes_sent",
    "xact_time",
    "query_time",
    "wait_time",
    "avg_client_parse_count",
    "avg_server_parse_count",
    "avg_bind_count",
    "avg_client_login_count",
];

/// A second, or, of times, a transaction, or a query.
fn average(counter: &Counter, period: &Period) -> u64 {
    let done = period.end - period.start;
    let of = (counter.read)(&done);
    match counter.of_all {
        "xact_time" => of / done.transactions.max(1),
        "query_time" => of / done.queries.max(1),
        _ => (u128::from(of) * 1_000_000 / u128::from(period.micros.max(1))) as u64,
    }
}

fn table<'n>(
    console: &Console,
    names: impl Iterator<Item = &'static str>,
    values: impl Fn(&Totals, &Period) -> Vec<u64> + 'n,
) -> Table {
    let numbers = names.map(|name| (name, 'N'));
    let names: Vec<_> = std::iter::once(("database", 's')).chain(numbers).collect();
    let rows = console.totals().into_iter().map(|(database, now, period)| {
        let values = values(&now, &period).into_iter().map(s);
        std::iter::once(s(database)).chain(values).collect()
    });
    Table {
        columns: columns(&names),
        rows: rows.collect(),
    }
}

fn now(totals: &Totals) -> Vec<u64> {
    COUNTERS.iter().map(|c| (c.read)(totals)).collect()
}

fn averages_of(period: &Period) -> Vec<u64> {
    COUNTERS.iter().map(|c| average(c, period)).collect()
}

/// `SHOW STATS`.
pub(super) fn stats(console: &Console) -> Table {
    let names = COUNTERS.iter().map(|c| c.name);
    let names = names.chain(COUNTERS.iter().map(|c| c.average));
    table(console, names, |totals, period| {
        [now(totals), averages_of(period)].concat()
    })
}

/// `SHOW STATS_TOTALS`.
pub(super) fn totals(console: &Console) -> Table {
    table(console, TOTALS.into_iter(), |totals, _| now(totals))
}

/// `SHOW STATS_AVERAGES`.
pub(super) fn averages(console: &Console) -> Table {
    table(console, AVERAGES.into_iter(), |_, period| {
        averages_of(period)
    })
}

/// `SHOW TOTALS`: of all databases.
pub(super) fn sums(console: &Console) -> Table {
    let mut sum = Totals::default();
    let mut last = Period::default();
    for (_, totals, period) in console.totals() {
        sum = sum + totals;
        last.start = last.start + period.start;
        last.end = last.end + period.end;
        last.micros = last.micros.max(period.micros);
    }
    let row = |prefix: &str, name: &str, value: u64| vec![s(format!("{prefix}_{name}")), s(value)];
    let totals = COUNTERS.iter();
    let totals = totals.map(|c| row("total", c.of_all, (c.read)(&sum)));
    let averages = COUNTERS.iter();
    let averages = averages.map(|c| row("avg", c.of_all, average(c, &last)));
    Table {
        columns: columns(&[("name", 's'), ("value", 'N')]),
        rows: totals.chain(averages).collect(),
    }
}
