//! `SHOW HOSTS`: what is known of the hosts that pools connect to. PgBouncer has no such table.

use super::{Table, columns, s};
use crate::admin::console::Console;
use crate::server::connect::Address;
use crate::server::hosts::Standing;

pub(super) fn hosts(console: &Console) -> Table {
    let servers = console.pools().servers();
    let rows = console.pools().hosts().into_iter().map(|row| {
        let here = servers.iter().filter(|server| {
            let port = match &server.peer {
                Address::Tcp(address) => address.port(),
                Address::Unix(_) => row.port,
            };
            server.host.to_string() == row.host && port == row.port
        });
        let lag = match row.standing {
            Standing::Replica { lag } => s(lag.as_secs_f64()),
            _ => None,
        };
        vec![
            s(&row.host),
            s(row.port),
            s(row.standing.label()),
            lag,
            s(row.breaker.label()),
            s(row.failures),
            s(row.opened),
            s(row.connecting),
            s(here.count()),
        ]
    });
    Table {
        columns: columns(&[
            ("host", 's'),
            ("port", 'i'),
            ("role", 's'),
            ("lag", 'N'),
            ("breaker", 's'),
            ("failures", 'i'),
            ("opened", 'q'),
            ("connecting", 'i'),
            ("servers", 'i'),
        ]),
        rows: rows.collect(),
    }
}
