//! What can be looked at: which commands it takes, which of their columns are shown, and how they are written.

use std::cmp::Ordering;

use super::amounts;
use super::rates::{self, Rates};
use super::table::{Snapshot, Table};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum View {
    Pools,
    Databases,
    Clients,
    Servers,
    Statements,
    Hosts,
    Cache,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Count,
    Micros,
    Bytes,
    Share,
    /// A count that should be 0.
    Trouble,
    /// A duration that should be 0.
    Delay,
}

impl Kind {
    pub fn is_number(self) -> bool {
        self != Kind::Text
    }

    pub fn is_trouble(self) -> bool {
        matches!(self, Kind::Trouble | Kind::Delay)
    }

    fn write(self, text: &str) -> String {
        let Ok(n) = text.parse::<f64>() else {
            // One line stays one line, and control characters do not get to the terminal.
            let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
            return plain.collect();
        };
        match self {
            Kind::Text => text.to_owned(),
            Kind::Count | Kind::Trouble => amounts::count(n),
            Kind::Micros | Kind::Delay => amounts::micros(n),
            Kind::Bytes => amounts::bytes(n),
            Kind::Share => format!("{:.1} %", n * 100.0),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Column {
    name: &'static str,
    heading: &'static str,
    kind: Kind,
}

const fn column(name: &'static str, heading: &'static str, kind: Kind) -> Column {
    Column {
        name,
        heading,
        kind,
    }
}

const POOLS: &[Column] = &[
    column("database", "DATABASE", Kind::Text),
    column("user", "USER", Kind::Text),
    column("cl_active", "CLIENTS", Kind::Count),
    column("cl_waiting", "WAITING", Kind::Trouble),
    column("longest wait", "LONGEST", Kind::Delay),
    column("sv_active", "SV ACTIVE", Kind::Count),
    column("sv_idle", "SV IDLE", Kind::Count),
    column("sv_used", "SV USED", Kind::Count),
    column("sv_tested", "SV TESTED", Kind::Count),
    column("sv_login", "SV LOGIN", Kind::Count),
    column("cl_waiting_cancel_req", "CANCELS", Kind::Count),
    column("pool_mode", "MODE", Kind::Text),
];

const DATABASES: &[Column] = &[
    column("database", "DATABASE", Kind::Text),
    column(rates::QUERIES, "QUERIES/S", Kind::Count),
    column(rates::TRANSACTIONS, "XACTS/S", Kind::Count),
    column(rates::QUERY_TIME, "QUERY", Kind::Micros),
    column(rates::TRANSACTION_TIME, "XACT", Kind::Micros),
    column(rates::WAIT_TIME, "WAIT", Kind::Micros),
    column(rates::RECEIVED, "IN/S", Kind::Bytes),
    column(rates::SENT, "OUT/S", Kind::Bytes),
];

const CLIENTS: &[Column] = &[
    column("user", "USER", Kind::Text),
    column("database", "DATABASE", Kind::Text),
    column("state", "STATE", Kind::Text),
    column("longest wait", "WAITS", Kind::Delay),
    column("addr", "ADDRESS", Kind::Text),
    column("port", "PORT", Kind::Text),
    column("application_name", "APPLICATION", Kind::Text),
    column("connect_time", "CONNECTED", Kind::Text),
    column("request_time", "LAST REQUEST", Kind::Text),
    column("prepared_statements", "PREPARED", Kind::Count),
    column("tls", "TLS", Kind::Text),
];

const SERVERS: &[Column] = &[
    column("user", "USER", Kind::Text),
    column("database", "DATABASE", Kind::Text),
    column("state", "STATE", Kind::Text),
    column("addr", "ADDRESS", Kind::Text),
    column("port", "PORT", Kind::Text),
    column("remote_pid", "PID", Kind::Text),
    column("connect_time", "CONNECTED", Kind::Text),
    column("request_time", "LAST REQUEST", Kind::Text),
    column("application_name", "APPLICATION", Kind::Text),
    column("prepared_statements", "PREPARED", Kind::Count),
    column("tls", "TLS", Kind::Text),
];

const STATEMENTS: &[Column] = &[
    column("database", "DATABASE", Kind::Text),
    column("user", "USER", Kind::Text),
    column("calls", "CALLS", Kind::Count),
    column("total_time", "TIME", Kind::Micros),
    column("mean_time", "MEAN", Kind::Micros),
    column("p95_time", "P95", Kind::Micros),
    column("wait_time", "WAIT", Kind::Micros),
    column("rows", "ROWS", Kind::Count),
    column("bytes", "BYTES", Kind::Bytes),
    column("cache_hits", "HITS", Kind::Count),
    column("errors", "ERRORS", Kind::Trouble),
    column("query", "STATEMENT", Kind::Text),
];

const HOSTS: &[Column] = &[
    column("host", "HOST", Kind::Text),
    column("port", "PORT", Kind::Text),
    column("role", "ROLE", Kind::Text),
    column("lag", "LAG", Kind::Text),
    column("breaker", "BREAKER", Kind::Text),
    column("failures", "FAILURES", Kind::Trouble),
    column("opened", "OPENED", Kind::Count),
    column("connecting", "CONNECTING", Kind::Count),
    column("servers", "SERVERS", Kind::Count),
];

const CACHE: &[Column] = &[
    column("database", "DATABASE", Kind::Text),
    column("user", "USER", Kind::Text),
    column("state", "STATE", Kind::Text),
    column("share", "HIT SHARE", Kind::Share),
    column("hits", "HITS", Kind::Count),
    column("misses", "MISSES", Kind::Count),
    column("joined", "JOINED", Kind::Count),
    column("stored", "STORED", Kind::Count),
    column("outdated", "OUTDATED", Kind::Count),
    column("expired", "EXPIRED", Kind::Count),
    column("entries", "ENTRIES", Kind::Count),
    column("bytes", "BYTES", Kind::Bytes),
    column("max_bytes", "MAX", Kind::Bytes),
];

impl View {
    pub(super) const ALL: [View; 7] = [
        View::Pools,
        View::Databases,
        View::Clients,
        View::Servers,
        View::Statements,
        View::Hosts,
        View::Cache,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            View::Pools => "Pools",
            View::Databases => "Databases",
            View::Clients => "Clients",
            View::Servers => "Servers",
            View::Statements => "Statements",
            View::Hosts => "Hosts",
            View::Cache => "Cache",
        }
    }

    /// What the console is asked for it, besides what every view needs.
    pub(super) fn command(self) -> &'static str {
        match self {
            View::Pools => "SHOW POOLS",
            View::Databases => "SHOW STATS",
            View::Clients => "SHOW CLIENTS",
            View::Servers => "SHOW SERVERS",
            View::Statements => "SHOW STATEMENTS",
            View::Hosts => "SHOW HOSTS",
            View::Cache => "SHOW CACHE",
        }
    }

    fn columns(self) -> &'static [Column] {
        match self {
            View::Pools => POOLS,
            View::Databases => DATABASES,
            View::Clients => CLIENTS,
            View::Servers => SERVERS,
            View::Statements => STATEMENTS,
            View::Hosts => HOSTS,
            View::Cache => CACHE,
        }
    }

    /// By which column, and whether the largest comes first, as long as nobody has chosen.
    fn order(self) -> (&'static str, bool) {
        match self {
            View::Pools => ("longest wait", true),
            View::Databases => (rates::QUERIES, true),
            View::Clients => ("longest wait", true),
            View::Servers => ("state", false),
            View::Statements => ("total_time", true),
            View::Hosts => ("host", false),
            View::Cache => ("hits", true),
        }
    }

    /// The table as the columns name it, if the console has it.
    fn table(self, snapshot: &Snapshot, rates: &[(String, Rates)]) -> Option<Table> {
        let mut table = snapshot.table(self.command())?.clone();
        match self {
            View::Databases => return Some(rates::databases(rates)),
            View::Pools => table.derive("longest wait", |t, row| {
                waited(t.number(row, "maxwait"), t.number(row, "maxwait_us"))
            }),
            View::Clients => {
                // PgBouncer keeps the last wait of those who wait no longer.
                table.derive("longest wait", |t, row| match t.text(row, "state") {
                    "waiting" => waited(t.number(row, "wait"), t.number(row, "wait_us")),
                    _ => Some(0.0),
                });
            }
            View::Cache => table.derive("share", |t, row| {
                let (hits, misses) = (t.number(row, "hits")?, t.number(row, "misses")?);
                (hits + misses > 0.0).then(|| hits / (hits + misses))
            }),
            _ => {}
        }
        Some(table)
    }
}

/// In microseconds.
fn waited(seconds: Option<f64>, micros: Option<f64>) -> Option<f64> {
    Some(seconds? * 1e6 + micros.unwrap_or(0.0))
}

/// What is shown: headings, and rows of text in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grid {
    pub headings: Vec<(&'static str, Kind)>,
    /// Which column the rows are ordered by, and whether the largest comes first.
    pub order: Option<(usize, bool)>,
    pub rows: Vec<Vec<String>>,
}

/// How the rows are to be ordered: by a column's name.
pub(super) type Order = (&'static str, bool);

/// `None` if this console does not have it.
pub(super) fn grid(
    view: View,
    snapshot: &Snapshot,
    rates: &[(String, Rates)],
    order: Option<Order>,
    filter: &str,
) -> Option<Grid> {
    let table = view.table(snapshot, rates)?;
    let columns = view.columns().iter();
    let columns: Vec<&Column> = columns.filter(|c| table.column(c.name).is_some()).collect();
    let (by, descending) = order.unwrap_or(view.order());
    let order = columns.iter().position(|c| c.name == by);
    let filter = filter.to_lowercase();
    let mut rows: Vec<(&str, Vec<String>)> = table
        .rows
        .iter()
        .map(|row| {
            let texts = columns
                .iter()
                .map(|c| c.kind.write(table.text(row, c.name)));
            (table.text(row, by), texts.collect::<Vec<_>>())
        })
        .filter(|(_, texts)| {
            filter.is_empty() || texts.iter().any(|t| t.to_lowercase().contains(&filter))
        })
        .collect();
    if order.is_some() {
        rows.sort_by(|(a, first), (b, second)| {
            let by_value = compare(a, b);
            let by_value = if descending {
                by_value.reverse()
            } else {
                by_value
            };
            by_value.then_with(|| first.cmp(second))
        });
    }
    Some(Grid {
        headings: columns.iter().map(|c| (c.heading, c.kind)).collect(),
        order: order.map(|at| (at, descending)),
        rows: rows.into_iter().map(|(_, texts)| texts).collect(),
    })
}

/// Numbers as numbers; what is none comes before them.
fn compare(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.total_cmp(&b),
        (Ok(_), Err(_)) => Ordering::Greater,
        (Err(_), Ok(_)) => Ordering::Less,
        (Err(_), Err(_)) => a.cmp(b),
    }
}

/// The next column to order by, of those that are there; a number's largest comes first.
pub(super) fn next_order(view: View, grid: &Grid) -> Option<Order> {
    let at = grid
        .order
        .map_or(0, |(at, _)| (at + 1) % grid.headings.len().max(1));
    let (heading, kind) = grid.headings.get(at)?;
    let column = view.columns().iter().find(|c| c.heading == *heading)?;
    Some((column.name, kind.is_number()))
}

/// The same column, the other way round.
pub(super) fn reversed(view: View, grid: &Grid) -> Option<Order> {
    let (at, descending) = grid.order?;
    let (heading, _) = grid.headings.get(at)?;
    let column = view.columns().iter().find(|c| c.heading == *heading)?;
    Some((column.name, !descending))
}

#[cfg(test)]
mod tests;
