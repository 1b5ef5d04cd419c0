//! Peers: processes that listen on the same port, or stand behind the same balancer, and pass cancel
//! requests on to the one whose client they are for (`peer_id`, `[peers]`).
//!
//! Requests go in clear, as PgBouncer's do: there is nothing in them that is of use to anybody but to
//! cancel what runs, and each process takes them so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::config::{self, Config, PeerId};
use crate::dns::Resolver;
use crate::net::tls_client::TlsClient;
use crate::server::cancel;
use crate::server::connect::{ConnectError, Endpoint, Keepalive};

/// Requests that wait for one peer, at most.
const MAX_WAITING: usize = 1000;

/// Why a request is not passed on. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub enum Stray {
    #[error("failed cancel request")]
    Nobodys,
    #[error("failed to forward cancel request because its TTL was exhausted")]
    Lost,
    #[error("could not find peer to forward request to")]
    Unknown,
    #[error("too many cancel requests wait for the peer")]
    Crowded,
    #[error("cancel_wait_timeout")]
    TookTooLong,
    #[error("failed to send cancel request: {0}")]
    Failed(#[from] ConnectError),
}

/// All peers but this process. Empty if it has no number itself.
#[derive(Debug)]
pub struct Peers {
    by_id: ArcSwap<BTreeMap<PeerId, Arc<Peer>>>,
    resolver: Arc<Resolver>,
}

impl Peers {
    pub fn new(config: &Config, resolver: Arc<Resolver>) -> Peers {
        let all = peers(config, &BTreeMap::new(), &resolver);
        Peers {
            by_id: ArcSwap::from_pointee(all),
            resolver,
        }
    }

    /// Takes over a new configuration. Requests that are under way go where they were sent.
    pub fn apply(&self, config: &Config) {
        let old = self.by_id.load_full();
        let new = peers(config, &old, &self.resolver);
        self.by_id.store(Arc::new(new));
    }

    pub fn find(&self, id: PeerId) -> Option<Arc<Peer>> {
        self.by_id.load().get(&id).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Peer>> {
        self.by_id.load().values().cloned().collect()
    }
}

/// Those of the configuration; the old ones where nothing has changed.
fn peers(
    config: &Config,
    old: &BTreeMap<PeerId, Arc<Peer>>,
    resolver: &Arc<Resolver>,
) -> BTreeMap<PeerId, Arc<Peer>> {
    let others = config.peering.others();
    let each = others.map(|(id, settings)| {
        let keepalive = Keepalive::from(&config.listen);
        let limit = config.pool_defaults.server.connect_timeout;
        let same = |peer: &&Arc<Peer>| {
            peer.settings == *settings
                && peer.endpoint.keepalive == keepalive
                && peer.endpoint.connect_timeout == limit
        };
        let endpoint = || Endpoint {
            host: settings.host.clone(),
            port: settings.port,
            tls: Arc::new(TlsClient::disabled()),
            connect_timeout: limit,
            keepalive,
            // Nobody logs in there.
            scram_keys: Arc::default(),
            resolver: Arc::clone(resolver),
        };
        let peer = match old.get(&id).filter(same) {
            Some(peer) => Arc::clone(peer),
            None => Arc::new(Peer::new(id, settings, endpoint())),
        };
        (id, peer)
    });
    each.collect()
}

/// A peer, and what is under way to it.
#[derive(Debug)]
pub struct Peer {
    pub id: PeerId,
    settings: config::Peer,
    endpoint: Endpoint,
    places: Semaphore,
    waiting: AtomicUsize,
    connecting: AtomicUsize,
    sending: AtomicUsize,
}

impl Peer {
    fn new(id: PeerId, settings: &config::Peer, endpoint: Endpoint) -> Peer {
        Peer {
            id,
            endpoint,
            places: Semaphore::new(settings.pool_size.min(Semaphore::MAX_PERMITS)),
            settings: settings.clone(),
            waiting: AtomicUsize::new(0),
            connecting: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
        }
    }

    /// Connections to it that are being made, and those on which requests are sent.
    pub fn connections(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        (count(&self.connecting), count(&self.sending))
    }

    /// Sends a request to the peer; returns when it has taken it. `begins` is called when it is
    /// sent. The wait for a place takes `patience` at most, all else `server_connect_timeout`.
    ///
    /// # Errors
    /// [`Stray`].
    pub async fn forward(
        &self,
        pid: i32,
        secret: &[u8],
        patience: Duration,
        begins: impl FnOnce(),
    ) -> Result<(), Stray> {
        let waits = Counted::below(&self.waiting, MAX_WAITING).ok_or(Stray::Crowded)?;
        let place = tokio::time::timeout(patience, self.places.acquire()).await;
        // The places are never closed.
        let Ok(Ok(_place)) = place else {
            return Err(Stray::TookTooLong);
        };
        drop(waits);
        let connects = Counted::new(&self.connecting);
        let line = cancel::Line::open(&self.endpoint).await?;
        drop(connects);
        let _sends = Counted::new(&self.sending);
        begins();
        Ok(line.send(pid, secret).await?)
    }
}

/// One more as long as it lives.
struct Counted<'c>(&'c AtomicUsize);

impl<'c> Counted<'c> {
    fn new(counter: &'c AtomicUsize) -> Counted<'c> {
        counter.fetch_add(1, Ordering::Relaxed);
        Counted(counter)
    }

    /// `None` if there are so many already.
    fn below(counter: &'c AtomicUsize, most: usize) -> Option<Counted<'c>> {
        let one_more = |n| (n < most).then_some(n + 1);
        let counted = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        // Made only then: it counts down when it is dropped.
        counted.is_ok().then(|| Counted(counter))
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::net::TcpListener;

    use super::*;

    fn config(peers: &str) -> Config {
        let text =
            format!("[general]\npeer_id = 1\nserver_connect_timeout = 60\n[pools.\"*\"]\n{peers}");
        Config::parse(&text, Path::new("x")).expect("the text is right")
    }

    fn peer(id: u32) -> PeerId {
        PeerId::new(id).expect("a small number")
    }

    #[test]
    fn a_reload_keeps_what_has_not_changed() {
        let two = "[peers.1]\nhost = 'me'\n[peers.2]\nhost = 'a'\n[peers.3]\nhost = 'b'\n";
        let peers = Peers::new(&config(two), crate::dns::testing::localhost());
        assert!(peers.find(peer(1)).is_none(), "it is none of its peers");
        let before = [2, 3].map(|id| peers.find(peer(id)).expect("it is there"));
        peers.apply(&config("[peers.2]\nhost = 'a'\n[peers.3]\nhost = 'c'\n"));
        let after = [2, 3].map(|id| peers.find(peer(id)).expect("it is there"));
        assert!(Arc::ptr_eq(&before[0], &after[0]));
        assert!(!Arc::ptr_eq(&before[1], &after[1]));
        peers.apply(&config(""));
        assert!(peers.all().is_empty());
    }

    #[tokio::test]
    async fn only_so_many_wait() {
        let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = hanging.local_addr().unwrap().port();
        let entry = format!("[peers.2]\nhost = '127.0.0.1'\nport = {port}\npool_size = 1\n");
        let peers = Peers::new(&config(&entry), crate::dns::testing::localhost());
        let peer = peers.find(peer(2)).expect("it is there");
        let forward = |patience| {
            let peer = Arc::clone(&peer);
            async move { peer.forward(1, &[1; 4], patience, || ()).await }
        };
        let long = Duration::from_secs(60);
        let first = tokio::spawn(forward(long));
        while peer.connections() != (0, 1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let short = Duration::from_millis(1);
        assert!(matches!(forward(short).await, Err(Stray::TookTooLong)));
        let waiting: Vec<_> = (0..MAX_WAITING)
            .map(|_| tokio::spawn(forward(long)))
            .collect();
        while peer.waiting.load(Ordering::Relaxed) < MAX_WAITING {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(matches!(forward(long).await, Err(Stray::Crowded)));
        // Nothing is left of those that give up.
        first.abort();
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        for task in waiting {
            let _ = task.await;
        }
        let _ = first.await;
        assert_eq!(peer.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(peer.connections(), (0, 0));
    }
}
