//! Who passes cancel requests on to whom: `general.peer_id` and `[peers]`.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use super::Host;

/// The number of a process among its peers, from 1 to [`PeerId::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(NonZeroU16);

impl PeerId {
    /// There are 14 bits for it in a cancel key, as in PgBouncer.
    pub const MAX: u16 = (1 << 14) - 1;

    pub fn new(number: u32) -> Option<PeerId> {
        let number = u16::try_from(number).ok().filter(|n| *n <= PeerId::MAX)?;
        NonZeroU16::new(number).map(PeerId)
    }

    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl std::fmt::Display for PeerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// This process among its peers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peering {
    /// `None`: it has no peers, whatever the list says.
    pub id: Option<PeerId>,
    /// This process may be among them.
    pub peers: BTreeMap<PeerId, Peer>,
}

impl Peering {
    /// Those that cancel requests are passed on to.
    pub fn others(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        let own = self.id;
        let all = self.peers.iter().map(|(id, peer)| (*id, peer));
        all.filter(move |(id, _)| own.is_some_and(|own| own != *id))
    }
}

/// One `[peers.ID]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// A directory is that of the peer's Unix socket.
    pub host: Host,
    pub port: u16,
    /// Cancel requests that are passed on to it at once, at least 1.
    pub pool_size: usize,
}
