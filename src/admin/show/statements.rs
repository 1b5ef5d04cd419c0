//! `SHOW STATEMENTS`, which PgBouncer has not: what was asked how often and what it took, that which took most
//! first. Times are in microseconds.

use super::{Table, columns, s};
use crate::admin::console::Console;

pub(in crate::admin) fn statements(console: &Console) -> Table {
    let rows = console.pools().shared().statements.top(usize::MAX);
    let rows = rows.into_iter().map(|row| {
        vec![
            s(format!("{:016x}", row.fingerprint)),
            s(&row.database),
            s(&row.user),
            s(row.calls),
            s(row.total_micros),
            s(row.mean_micros()),
            s(row.p95_micros),
            s(row.rows),
            s(row.bytes),
            s(row.cache_hits),
            s(row.wait_micros),
            s(row.errors),
            s(&row.text),
        ]
    });
    Table {
        columns: columns(&[
            ("fingerprint", 's'),
            ("database", 's'),
            ("user", 's'),
            ("calls", 'q'),
            ("total_time", 'q'),
            ("mean_time", 'q'),
            ("p95_time", 'q'),
            ("rows", 'q'),
            ("bytes", 'q'),
            ("cache_hits", 'q'),
            ("wait_time", 'q'),
            ("errors", 'q'),
            ("query", 's'),
        ]),
        rows: rows.collect(),
    }
}
