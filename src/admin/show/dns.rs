//! `SHOW DNS_HOSTS` and `SHOW DNS_ZONES`: names that servers were looked up by.

use std::net::SocketAddr;

use super::{Table, columns, s};
use crate::admin::console::Console;

pub(super) fn hosts(console: &Console) -> Table {
    let rows = console.pools().shared().resolver.host_rows().into_iter();
    let rows = rows.map(|row| {
        // With a port, as PgBouncer writes them.
        let addresses = row.addresses.iter().map(|ip| SocketAddr::new(*ip, 0));
        let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
        vec![s(row.name), s(row.left.as_secs()), s(addresses.join(","))]
    });
    Table {
        columns: columns(&[("hostname", 's'), ("ttl", 'q'), ("addrs", 's')]),
        rows: rows.collect(),
    }
}

pub(super) fn zones(console: &Console) -> Table {
    let rows = console.pools().shared().resolver.zone_rows().into_iter();
    let rows = rows.map(|row| vec![s(row.zone), s(row.serial), s(row.names)]);
    Table {
        columns: columns(&[("zonename", 's'), ("serial", 'q'), ("count", 'i')]),
        rows: rows.collect(),
    }
}
