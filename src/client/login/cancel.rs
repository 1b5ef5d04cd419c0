//! A connection that has brought a cancel request: it is for a client of ours, for a peer's, or for
//! nobody. Who has sent it is not told which.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Door;
use crate::client::cancel_key;
use crate::client::cancels::{CancelRequest, NewRequest, Target};
use crate::client::info::{ClientInfo, Control};
use crate::config::Config;
use crate::net::stream::Stream;
use crate::peering::Stray;
use crate::server::connect::Address;
use crate::telemetry::events::Cancel;

/// Who has sent a request is kept for so long at most, where nothing else limits it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at whether a request has been taken.
const LOOK: Duration = Duration::from_millis(2);

/// A connection, and the request on it.
pub(super) struct Arrived {
    pub id: u64,
    pub pid: i32,
    pub secret: Vec<u8>,
    pub peer: Address,
    pub local: Address,
    /// Closed when the request is taken.
    pub stream: Stream,
}

/// Does what the request asks for; returns when it is taken.
pub(super) async fn serve(door: &Door, config: &Config, mut arrived: Arrived) {
    let began = Instant::now();
    let (id, peer) = (arrived.id, arrived.peer.clone());
    let count = |whose| door.pools.shared().events.cancel_requests.count(whose);
    if let Some(client) = door.directory.find(arrived.pid, &arrived.secret) {
        count(Cancel::Client);
        let request = enter(door, &arrived, Target::Client(client.clone()));
        cancel(door, &client, &request, patience(config)).await;
    } else if let Some(before) = door
        .before
        .load_full()
        .filter(|_| is_ours(config, arrived.pid))
    {
        count(Cancel::Predecessor);
        before.cancel(arrived.pid, arrived.secret).await;
    } else {
        let Err(stray) = forward(door, config, &mut arrived).await else {
            return count(Cancel::Peer);
        };
        count(Cancel::Unknown);
        let age = began.elapsed().as_secs();
        match stray {
            // Anybody can send some.
            Stray::Nobodys => tracing::debug!(%peer, "cancel request with unknown key"),
            stray if config.log.disconnections => {
                tracing::info!(client = id, %peer, reason = %stray, age, "cancel request given up");
            }
            stray => tracing::debug!(%peer, reason = %stray, "cancel request given up"),
        }
    }
}

/// Whether it is for a client of this process, or of the one that it takes over from.
fn is_ours(config: &Config, pid: i32) -> bool {
    let own = config.peering.id;
    own.is_none() || cancel_key::peer_of(pid) == own
}

fn enter(door: &Door, arrived: &Arrived, target: Target) -> std::sync::Arc<CancelRequest> {
    door.cancels.enter(NewRequest {
        id: arrived.id,
        target,
        peer: arrived.peer.clone(),
        local: arrived.local.clone(),
        tls: arrived.stream.is_tls(),
    })
}

fn patience(config: &Config) -> Duration {
    let limit = config.pool_defaults.timeouts.cancel_wait;
    Some(limit)
        .filter(|t| !t.is_zero())
        .map_or(PATIENCE, |limit| limit.min(PATIENCE))
}

/// Tells the client's task, and waits until the server has been told.
async fn cancel(door: &Door, client: &ClientInfo, request: &CancelRequest, patience: Duration) {
    client.request(Control::Cancel);
    let began = Instant::now();
    let key = &client.key;
    while client.is_being_cancelled() && began.elapsed() < patience {
        if !client.is_requested(Control::Cancel) {
            request.set_active();
        } else if door.directory.find(key.pid, key.secret()).is_none() {
            // It has left meanwhile, and nobody takes the request.
            return;
        }
        sleep(LOOK).await;
    }
}

/// Passes the request on to the peer that has the client, if it is one of us.
async fn forward(door: &Door, config: &Config, arrived: &mut Arrived) -> Result<(), Stray> {
    let own = config.peering.id.ok_or(Stray::Nobodys)?;
    let id = cancel_key::peer_of(arrived.pid).ok_or(Stray::Nobodys)?;
    if id == own {
        return Err(Stray::Nobodys);
    }
    if !cancel_key::take_hop(&mut arrived.secret) {
        return Err(Stray::Lost);
    }
    let peer = door.peers.find(id).ok_or(Stray::Unknown)?;
    let request = enter(door, arrived, Target::Peer(id));
    tracing::debug!(peer = %id, "forwarding a cancel request");
    let begins = || request.set_active();
    let forwarded = peer.forward(arrived.pid, &arrived.secret, patience(config), begins);
    forwarded.await
}
