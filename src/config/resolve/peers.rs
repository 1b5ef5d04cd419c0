//! `general.peer_id` and `[peers]`.

use std::collections::BTreeMap;

use super::{Resolver, raw};
use crate::config::units::Count;
use crate::config::{Host, Peer, PeerId, Peering};

/// Where peers listen by default, as in PgBouncer.
const PORT: u16 = 6432;

impl Resolver<'_, '_> {
    /// `default_size` is that of pools.
    pub(super) fn peering(
        &mut self,
        id: Option<Count>,
        peers: BTreeMap<String, raw::Peer>,
        default_size: usize,
    ) -> Peering {
        let mut peering = Peering {
            id: id.and_then(|Count(number)| PeerId::new(number)),
            peers: BTreeMap::new(),
        };
        if peering.id.is_none() && id.is_some_and(|Count(number)| number != 0) {
            self.problems.add(&["general", "peer_id"], range());
        }
        for (name, raw) in peers {
            let number = name.parse().ok().and_then(PeerId::new);
            // "01" would be another name for 1.
            let Some(id) = number.filter(|id| id.to_string() == name) else {
                let problem = format!("{name:?} is no number of a peer: {}", range());
                self.problems.add(&["peers", &name], problem);
                continue;
            };
            let peer = self.peer(&name, raw, default_size);
            peering.peers.extend(peer.map(|peer| (id, peer)));
        }
        peering
    }

    fn peer(&mut self, name: &str, raw: raw::Peer, default_size: usize) -> Option<Peer> {
        let Some(host) = raw.host.filter(|host| !host.is_empty()) else {
            let problem = "a peer needs host: a name, an IP address, or the directory of its Unix \
                           socket";
            self.problems.add(&["peers", name], problem);
            return None;
        };
        let peer = Peer {
            host: self.host(&["peers", name, "host"], host),
            port: raw.port.map_or(PORT, u16::from),
            pool_size: raw.pool_size.map_or(default_size, usize::from),
        };
        if peer.port == 0 {
            self.problems
                .add(&["peers", name, "port"], "must be from 1 to 65535");
        }
        if peer.pool_size == 0 {
            self.problems
                .add(&["peers", name, "pool_size"], "must be at least 1");
        }
        if let Host::Unix(directory) = &peer.host {
            let key = ["peers", name, "host"];
            super::check::socket_path(self.problems, &key, directory, peer.port);
        }
        Some(peer)
    }
}

fn range() -> String {
    format!(
        "must be from 1 to {}, and different for each process",
        PeerId::MAX
    )
}
