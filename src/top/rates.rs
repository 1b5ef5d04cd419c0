//! What happened between two answers to SHOW STATS, by database.
//!
//! Without an earlier answer, or after the counters began anew, it is what the console itself says of its last
//! period.

use std::time::Duration;

use super::table::Table;

/// Column names of what [`rates`] gives.
pub(super) const QUERIES: &str = "queries/s";
pub(super) const TRANSACTIONS: &str = "transactions/s";
pub(super) const QUERY_TIME: &str = "query time";
pub(super) const TRANSACTION_TIME: &str = "transaction time";
pub(super) const WAIT_TIME: &str = "wait time";
pub(super) const RECEIVED: &str = "received/s";
pub(super) const SENT: &str = "sent/s";

/// Of one database, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rates {
    pub queries: f64,
    pub transactions: f64,
    pub received: f64,
    pub sent: f64,
    /// Microseconds per second.
    pub query_time: f64,
    pub transaction_time: f64,
    pub wait_time: f64,
}

impl Rates {
    fn add(&mut self, other: &Rates) {
        self.queries += other.queries;
        self.transactions += other.transactions;
        self.received += other.received;
        self.sent += other.sent;
        self.query_time += other.query_time;
        self.transaction_time += other.transaction_time;
        self.wait_time += other.wait_time;
    }

    /// Microseconds that a query takes, on the average.
    pub fn per_query(&self) -> f64 {
        per(self.query_time, self.queries)
    }

    pub fn per_transaction(&self) -> f64 {
        per(self.transaction_time, self.transactions)
    }

    /// Microseconds that a transaction waits for a server connection, on the average.
    pub fn wait(&self) -> f64 {
        per(self.wait_time, self.transactions)
    }
}

fn per(time: f64, number: f64) -> f64 {
    if number > 0.0 { time / number } else { 0.0 }
}

/// By database.
pub(super) fn rates(now: &Table, before: Option<(&Table, Duration)>) -> Vec<(String, Rates)> {
    let rows = now.rows.iter();
    let of = rows.map(|row| {
        let name = now.text(row, "database").to_owned();
        let since = before.and_then(|(table, passed)| {
            let mut rows = table.rows.iter();
            let old = rows.find(|old| table.text(old, "database") == name)?;
            between(now, row, table, old, passed)
        });
        let rates = since.unwrap_or_else(|| last_period(now, row));
        (name, rates)
    });
    of.collect()
}

/// All databases together.
pub(super) fn sum(all: &[(String, Rates)]) -> Rates {
    let mut sum = Rates::default();
    all.iter().for_each(|(_, rates)| sum.add(rates));
    sum
}

/// As a table, for showing.
pub(super) fn databases(all: &[(String, Rates)]) -> Table {
    let columns = [
        "database",
        QUERIES,
        TRANSACTIONS,
        QUERY_TIME,
        TRANSACTION_TIME,
        WAIT_TIME,
        RECEIVED,
        SENT,
    ];
    let rows = all.iter().map(|(name, r)| {
        let numbers = [
            r.queries,
            r.transactions,
            r.per_query(),
            r.per_transaction(),
            r.wait(),
            r.received,
            r.sent,
        ];
        let numbers = numbers.iter().map(|n| Some(n.to_string()));
        std::iter::once(Some(name.clone())).chain(numbers).collect()
    });
    Table {
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

/// `None` if the counters have gone back: another process answers.
fn between(
    now: &Table,
    row: &[Option<String>],
    before: &Table,
    old: &[Option<String>],
    passed: Duration,
) -> Option<Rates> {
    let seconds = passed.as_secs_f64();
    let rate = |name: &str| {
        let (Some(new), Some(old)) = (now.number(row, name), before.number(old, name)) else {
            return Some(0.0);
        };
        (new >= old && seconds > 0.0).then(|| (new - old) / seconds)
    };
    Some(Rates {
        queries: rate("total_query_count")?,
        transactions: rate("total_xact_count")?,
        received: rate("total_received")?,
        sent: rate("total_sent")?,
        query_time: rate("total_query_time")?,
        transaction_time: rate("total_xact_time")?,
        wait_time: rate("total_wait_time")?,
    })
}

/// Times are by query and transaction there, but for the wait.
fn last_period(now: &Table, row: &[Option<String>]) -> Rates {
    let average = |name: &str| now.number(row, name).unwrap_or(0.0);
    let (queries, transactions) = (average("avg_query_count"), average("avg_xact_count"));
    Rates {
        queries,
        transactions,
        received: average("avg_recv"),
        sent: average("avg_sent"),
        query_time: average("avg_query_time") * queries,
        transaction_time: average("avg_xact_time") * transactions,
        wait_time: average("avg_wait_time"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::table;
    use super::*;

    const BEFORE: &str = "database total_query_count total_xact_count total_query_time total_wait_time avg_query_count\n\
        app 100 50 1000 0 9\n";

    fn after(counters: &str) -> Rates {
        let text = format!("{}\napp {counters} 9\n", BEFORE.lines().next().unwrap());
        let (now, before) = (table(&text), table(BEFORE));
        let all = rates(&now, Some((&before, Duration::from_secs(2))));
        assert_eq!(all.len(), 1);
        all[0].1
    }

    #[test]
    fn counters_become_rates() {
        let rates = after("300 150 41000 500");
        assert_eq!((rates.queries, rates.transactions), (100.0, 50.0));
        assert_eq!(rates.per_query(), 200.0);
        assert_eq!(rates.wait(), 5.0);
        // PgBouncer has no such column.
        assert_eq!(rates.sent, 0.0);
        let nothing = after("100 50 1000 0");
        assert_eq!((nothing.queries, nothing.per_query()), (0.0, 0.0));
    }

    #[test]
    fn what_the_console_says_itself_counts_at_first_and_after_a_restart() {
        let now = table(BEFORE);
        assert_eq!(rates(&now, None)[0].1.queries, 9.0);
        assert_eq!(after("3 1 10 0").queries, 9.0);
    }

    #[test]
    fn databases_are_added_up() {
        let one = Rates {
            queries: 2.0,
            query_time: 100.0,
            ..Rates::default()
        };
        let all = [("a".to_owned(), one), ("b".to_owned(), one)];
        assert_eq!(sum(&all).per_query(), 50.0);
        assert_eq!(databases(&all).sum(QUERIES), 4.0);
    }
}
