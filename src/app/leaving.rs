//! How clients leave: one by one, or all when the process ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::client::directory::Directory;
use crate::client::info::{ClientInfo, Control};
use crate::client::login::Door;
use crate::client::task::{ClientParts, End, Farewell};
use crate::pool::registry::Pools;

/// No new logins; clients go as their transactions end, and all go when the time is up.
pub(super) async fn drain(door: &Door) {
    door.draining.store(true, Ordering::Relaxed);
    let limit = door.config.load().shutdown_timeout;
    tracing::info!(clients = door.directory.len(), ?limit, "shutting down");
    let began = Instant::now();
    while !door.directory.is_empty() && (limit.is_zero() || began.elapsed() < limit) {
        // Each time, for those whose login was under way.
        door.directory.for_each(|c| c.request(Control::Drain));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cut_off(door).await;
}

async fn cut_off(door: &Door) {
    door.directory.for_each(|c| c.request(Control::Kill));
    let deadline = Instant::now() + Duration::from_millis(500);
    while !door.directory.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// No new logins; clients go when they like, and all go when the time is up.
pub(super) async fn wait_for_clients(door: &Door) {
    door.draining.store(true, Ordering::Relaxed);
    tracing::info!(
        clients = door.directory.len(),
        "shutting down when the last client is gone"
    );
    let limit = door.config.load().shutdown_timeout;
    let began = Instant::now();
    while !door.directory.is_empty() && (limit.is_zero() || began.elapsed() < limit) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cut_off(door).await;
}

/// Takes clients off the list.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) directory: Arc<Directory>,
    pub(super) pools: Arc<Pools>,
    pub(super) departing: mpsc::UnboundedSender<ClientParts>,
}

impl Farewell for Leaving {
    fn gone(&self, info: &ClientInfo, end: &End) {
        self.directory.leave(info);
        self.pools.shared().events.leaves.count(end.leave());
        if self.pools.config().log.disconnections {
            tracing::info!(client = info.id, database = %info.database, user = %info.user,
                peer = %info.peer, reason = %end.reason(), age = info.age().as_secs(), "client gone");
        }
    }

    fn moves(&self, client: ClientParts) {
        let info = Arc::clone(&client.info);
        // Fails only at the end, when it is closed with everything else. First this: who finds
        // nobody left must find the client on its way.
        let _ = self.departing.send(client);
        self.directory.leave(&info);
    }
}
