//! `SHOW FDS`: descriptors by number. PgBouncer's gives the sockets themselves along; here
//! [`crate::handover`] does that, without being asked for by name. Nobody is shown a secret, and what a
//! session has set is its task's own.

use super::sockets::address;
use super::{Table, columns, s};
use crate::admin::console::Console;
use crate::server::connect::Address;

/// One descriptor.
struct Row<'a> {
    fd: i32,
    task: &'static str,
    user: &'a str,
    database: &'a str,
    peer: &'a Address,
    /// The descriptor at the other end of the link; 0 for none.
    link: i32,
}

impl Row<'_> {
    fn values(&self) -> Vec<Option<String>> {
        let (addr, port) = address(self.peer);
        let mut values = vec![
            s(self.fd),
            s(self.task),
            s(self.user).filter(|u| !u.is_empty()),
            s(self.database).filter(|d| !d.is_empty()),
            s(addr),
            s(port),
            None,
            s(self.link),
        ];
        // Settings and secrets.
        values.resize(COLUMNS.len(), None);
        values
    }
}

const COLUMNS: &[(&str, char)] = &[
    ("fd", 'i'),
    ("task", 's'),
    ("user", 's'),
    ("database", 's'),
    ("addr", 's'),
    ("port", 'i'),
    ("cancel", 'q'),
    ("link", 'i'),
    ("client_encoding", 's'),
    ("std_strings", 's'),
    ("datestyle", 's'),
    ("timezone", 's'),
    ("password", 's'),
    ("scram_client_key", 'b'),
    ("scram_server_key", 'b'),
];

pub(super) fn fds(console: &Console) -> Table {
    let listening = console.listening();
    let poolers = listening.iter().map(|(fd, address)| Row {
        fd: *fd,
        task: "pooler",
        user: "",
        database: "",
        peer: address,
        link: 0,
    });
    let (clients, servers) = (console.directory().all(), console.pools().servers());
    let of_clients = clients.iter().map(|c| {
        let server = servers.iter().find(|server| server.id == c.server());
        Row {
            fd: c.fd(),
            task: "client",
            user: &c.user,
            database: &c.database,
            peer: &c.peer,
            link: server.map_or(0, |server| server.fd),
        }
    });
    let of_servers = servers.iter().map(|server| {
        let client = clients.iter().find(|c| c.id == server.client());
        Row {
            fd: server.fd,
            task: "server",
            user: &server.user,
            database: &server.database,
            peer: &server.peer,
            link: client.map_or(0, |c| c.fd()),
        }
    });
    let all = poolers.chain(of_clients).chain(of_servers);
    Table {
        columns: columns(COLUMNS),
        rows: all.map(|row| row.values()).collect(),
    }
}
