//! `SHOW CHANNELS`: what clients listen to by their pools' listening connections. PgBouncer has no such
//! table.

use super::{Table, columns, s};
use crate::admin::console::Console;

pub(super) fn channels(console: &Console) -> Table {
    let pools = console.pools().all();
    let rows = pools.iter().flat_map(|pool| {
        let rows = pool.channels().rows().into_iter();
        rows.map(|row| {
            vec![
                s(&pool.database),
                s(&pool.user),
                s(row.channel),
                s(row.clients),
                s(row.notifications),
            ]
        })
    });
    Table {
        columns: columns(&[
            ("database", 's'),
            ("user", 's'),
            ("channel", 's'),
            ("clients", 'i'),
            ("notifications", 'q'),
        ]),
        rows: rows.collect(),
    }
}
