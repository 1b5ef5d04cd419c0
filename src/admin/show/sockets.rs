//! `SHOW CLIENTS` and `SHOW SERVERS`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Table, columns, s};
use crate::admin::calendar::Calendar;
use crate::admin::console::Console;
use crate::client::cancels::{CancelRequest, Target};
use crate::client::info::{ClientInfo, State};
use crate::net::stream::Tls;
use crate::server::ServerInfo;
use crate::server::connect::Address;

const SOCKET_COLUMNS: &[(&str, char)] = &[
    ("type", 's'),
    ("user", 's'),
    ("database", 's'),
    ("replication", 's'),
    ("state", 's'),
    ("addr", 's'),
    ("port", 'i'),
    ("local_addr", 's'),
    ("local_port", 'i'),
    ("connect_time", 's'),
    ("request_time", 's'),
    ("wait", 'i'),
    ("wait_us", 'i'),
    ("close_needed", 'i'),
    ("ptr", 's'),
    ("link", 's'),
    ("remote_pid", 'i'),
    ("tls", 's'),
    ("application_name", 's'),
    ("prepared_statements", 'i'),
    ("id", 'i'),
];

/// What `SHOW SOCKETS` has beside: how full buffers are, which is nobody's business here.
const BUFFER_COLUMNS: &[(&str, char)] = &[
    ("recv_pos", 'i'),
    ("pkt_pos", 'i'),
    ("pkt_remain", 'i'),
    ("send_pos", 'i'),
    ("send_remain", 'i'),
    ("pkt_avail", 'i'),
    ("send_avail", 'i'),
];

/// `SHOW SOCKETS`: all of them, or those for which `which` holds.
pub(super) fn all(console: &Console, which: fn(&[Option<String>]) -> bool) -> Table {
    let rows = clients(console)
        .rows
        .into_iter()
        .chain(servers(console).rows);
    let rows = rows.filter(|row| which(row)).map(|mut row| {
        row.extend(BUFFER_COLUMNS.iter().map(|_| s(0)));
        row
    });
    Table {
        columns: columns(&[SOCKET_COLUMNS, BUFFER_COLUMNS].concat()),
        rows: rows.collect(),
    }
}

/// Whether the row is of a client with a server connection, or the other way round.
pub(super) fn is_linked(row: &[Option<String>]) -> bool {
    let at = SOCKET_COLUMNS.iter().position(|(name, _)| *name == "link");
    let link = at.and_then(|at| row.get(at)?.as_deref());
    link.is_some_and(|link| !link.is_empty())
}

pub(super) fn address(address: &Address) -> (String, String) {
    match address {
        Address::Tcp(a) => (a.ip().to_string(), a.port().to_string()),
        Address::Unix(_) => ("unix".to_owned(), "0".to_owned()),
    }
}

fn link(id: u64) -> Option<String> {
    s(if id == 0 {
        String::new()
    } else {
        id.to_string()
    })
}

pub(super) fn clients(console: &Console) -> Table {
    let now = console.now();
    let mut all = console.directory().all();
    let mut operators = Vec::new();
    if console.shows_itself() {
        operators = console.operators();
        all.extend(operators.iter().cloned());
    }
    all.sort_by_key(|c| c.id);
    let state = |c: &ClientInfo| match operators.iter().any(|o| o.id == c.id) {
        true => State::Active.label(),
        false => c.state().label(),
    };
    let rows = all.iter().map(|c| {
        let waited = match c.state() {
            State::Waiting => now.saturating_sub(c.since()),
            _ => 0,
        };
        let ((addr, port), (local, local_port)) = (address(&c.peer), address(&c.local));
        vec![
            s("C"),
            s(&c.user),
            s(&c.database),
            s(c.replication.label()),
            s(state(c)),
            s(addr),
            s(port),
            s(local),
            s(local_port),
            s(time(c.connected)),
            // Of an idle client, when its last request ended.
            s(time(console.time_of(c.since()).max(c.connected))),
            s(waited / 1000),
            s(waited % 1000 * 1000),
            s(0),
            s(c.id),
            link(c.server()),
            s(0),
            s(if c.tls != Tls::None { "TLS" } else { "" }),
            s(c.application_name.as_deref().unwrap_or("")),
            s(c.prepared()),
            s(c.id),
        ]
    });
    let requests = console.cancel_requests();
    let rows = rows.chain(requests.iter().map(|request| request_row(request)));
    Table {
        columns: columns(SOCKET_COLUMNS),
        rows: rows.collect(),
    }
}

/// A connection that has brought a cancel request.
fn request_row(request: &CancelRequest) -> Vec<Option<String>> {
    let ((addr, port), (local, local_port)) = (address(&request.peer), address(&request.local));
    let (database, server) = match &request.target {
        Target::Client(client) => (&*client.database, client.server()),
        Target::Peer(_) => ("(nodb)", 0),
    };
    let (state, server) = match request.is_active() {
        true => ("active_cancel_req", server),
        false => ("waiting_cancel_req", 0),
    };
    let waited = request.connected.elapsed().unwrap_or_default();
    vec![
        s("C"),
        s("(nouser)"),
        s(database),
        s("none"),
        s(state),
        s(addr),
        s(port),
        s(local),
        s(local_port),
        s(time(request.connected)),
        s(time(request.connected)),
        s(waited.as_secs()),
        s(waited.subsec_micros()),
        s(0),
        s(request.id),
        link(server),
        s(0),
        s(if request.tls { "TLS" } else { "" }),
        s(""),
        s(0),
        s(request.id),
    ]
}

pub(super) fn servers(console: &Console) -> Table {
    let mut all = console.pools().servers();
    all.sort_by_key(|server| server.id);
    let clients = console.directory().all();
    let user_of = |server: &ServerInfo| clients.iter().find(|c| c.id == server.client());
    let rows = all.iter().map(|server| {
        let client = user_of(server).map(|c| &**c);
        server_row(console, server, client)
    });
    Table {
        columns: columns(SOCKET_COLUMNS),
        rows: rows.collect(),
    }
}

/// `client` is the one that has it now.
fn server_row(
    console: &Console,
    server: &ServerInfo,
    client: Option<&ClientInfo>,
) -> Vec<Option<String>> {
    let ((addr, port), (local, local_port)) = (address(&server.peer), address(&server.local));
    let state = match server.waits_for_cancels() {
        true => "being_canceled",
        false => server.activity().label(),
    };
    vec![
        s("S"),
        s(&server.user),
        s(&server.database),
        s(server.replication.label()),
        s(state),
        s(addr),
        s(port),
        s(local),
        s(local_port),
        s(time(server.connected)),
        s(time(
            client.map_or(server.connected, |c| console.time_of(c.since())),
        )),
        s(0),
        s(0),
        s(u8::from(server.is_closing())),
        s(server.id),
        link(server.client()),
        s(server.backend_pid),
        s(if server.tls != Tls::None { "TLS" } else { "" }),
        s(client
            .and_then(|c| c.application_name.as_deref())
            .unwrap_or("")),
        s(server.prepared()),
        s(server.id),
    ]
}

/// As `YYYY-MM-DD HH:MM:SS UTC`.
fn time(at: SystemTime) -> String {
    let seconds = at
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs() as i64);
    format!("{} UTC", Calendar::of(seconds))
}
