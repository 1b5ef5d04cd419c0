//! `SHOW ROUTING`: where the requests of pools went whose reads may go to replicas. PgBouncer has no such table.

use super::{Table, columns, s};
use crate::admin::console::Console;

pub(super) fn routing(console: &Console) -> Table {
    let rows = console.pools().all().into_iter().filter_map(|pool| {
        let counts = pool.reads()?.pool.counts();
        let totals = pool.totals();
        Some(vec![
            s(&pool.database),
            s(&pool.user),
            s(pool.settings().database.roles.reads.as_str()),
            s(totals.reads_replica),
            s(totals.reads_nowhere),
            s(totals.reads_own_write),
            s(totals.not_reads),
            s(counts.lent),
            s(counts.idle),
            s(counts.connecting),
            s(counts.waiting),
        ])
    });
    Table {
        columns: columns(&[
            ("database", 's'),
            ("user", 's'),
            ("reads", 's'),
            ("to_replicas", 'q'),
            ("no_replica", 'q'),
            ("own_write", 'q'),
            ("not_a_read", 'q'),
            ("sv_active", 'i'),
            ("sv_idle", 'i'),
            ("sv_login", 'i'),
            ("cl_waiting", 'i'),
        ]),
        rows: rows.collect(),
    }
}
