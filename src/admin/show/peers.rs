//! `SHOW PEERS` and `SHOW PEER_POOLS`.

use super::{Table, columns, s};
use crate::admin::console::Console;
use crate::client::cancels::Target;

/// Entries of the file; this process may be among them.
pub(super) fn peers(console: &Console) -> Table {
    let config = console.config();
    let rows = config.peering.peers.iter().map(|(id, peer)| {
        let host = s(&peer.host);
        vec![s(id), host, s(peer.port), s(peer.pool_size)]
    });
    Table {
        columns: columns(&[
            ("peer_id", 'i'),
            ("host", 's'),
            ("port", 'i'),
            ("pool_size", 'i'),
        ]),
        rows: rows.collect(),
    }
}

/// What is under way to each of the others.
pub(super) fn pools(console: &Console) -> Table {
    let requests = console.cancel_requests();
    let rows = console.peers().into_iter().map(|peer| {
        let of_peer = |target: &Target| matches!(target, Target::Peer(id) if *id == peer.id);
        let mine = requests.iter().filter(|r| of_peer(&r.target));
        let (active, waiting): (Vec<_>, Vec<_>) = mine.partition(|r| r.is_active());
        let (connecting, sending) = peer.connections();
        let counts = [active.len(), waiting.len(), sending, connecting];
        let counts = counts.into_iter().map(s);
        [s(peer.id)].into_iter().chain(counts).collect()
    });
    Table {
        columns: columns(&[
            ("peer_id", 'i'),
            ("cl_active_cancel_req", 'i'),
            ("cl_waiting_cancel_req", 'i'),
            ("sv_active_cancel", 'i'),
            ("sv_login", 'i'),
        ]),
        rows: rows.collect(),
    }
}
