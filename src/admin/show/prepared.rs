//! `SHOW PREPARED`, which PgBouncer has not: the statements that clients share, under the names that
//! they have on server connections.

use super::{Table, columns, s};
use crate::admin::console::Console;
use crate::session::statement::Source;

/// So many bytes of a text are shown.
const SHOWN: usize = 1024;

pub(super) fn prepared(console: &Console) -> Table {
    let mut rows = Vec::new();
    for pool in console.pools().all() {
        let mut statements = pool.statements.all();
        statements.sort_by_key(|statement| statement.id);
        for statement in statements {
            let text = match &statement.source {
                Source::Parse { query, .. } => query,
                Source::Sql { text } => text,
            };
            let shown = &text[..text.len().min(SHOWN)];
            rows.push(vec![
                s(&pool.database),
                s(&pool.user),
                s(String::from_utf8_lossy(&statement.name)),
                s(String::from_utf8_lossy(shown)),
                s(statement.weight()),
                s(u8::from(statement.is_stale())),
            ]);
        }
    }
    Table {
        columns: columns(&[
            ("database", 's'),
            ("user", 's'),
            ("name", 's'),
            ("query", 's'),
            ("bytes", 'q'),
            ("outdated", 'i'),
        ]),
        rows,
    }
}
