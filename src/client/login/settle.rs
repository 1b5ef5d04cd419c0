//! What becomes of a connection that is let in: a client on a worker, or a process that takes over.

use std::sync::Arc;

use super::Door;
use crate::client::task::{ClientParts, ClientTask, NewClient};
use crate::config::{Config, Database, Timeouts};
use crate::handover::take;
use crate::net::stream::{Socket, Stream};
use crate::pool::{Pool, settings};

/// Where the pool is a forced user's, its timeouts are not the client's.
pub fn own_timeouts(
    config: &Config,
    database: &Database,
    pool: &Pool,
    user: &str,
) -> Option<Arc<Timeouts>> {
    (*pool.user != *user).then(|| {
        let user = config.users.get(user).unwrap_or(&config.default_user);
        Arc::new(settings::timeouts(database, user))
    })
}

/// A client that was to move begins anew.
pub fn settle_again(door: &Door, client: ClientParts) {
    // A task has one waker for all its life, and the old task is gone.
    let info = Arc::new(client.info.again());
    door.directory.enter_again(&info);
    settle(door, ClientParts { info, ..client });
}

/// The client begins on a worker.
pub fn settle(door: &Door, client: ClientParts) {
    let worker = door.workers.pick();
    door.workers.send(ClientTask::new(NewClient {
        client,
        worker,
        context: Arc::clone(&door.surroundings),
    }));
}

/// Somebody asks for our sockets: another process of ours, or somebody else.
pub(super) fn hand_over(door: &Door, stream: Stream, peer_uid: Option<u32>) {
    let trusted = peer_uid.is_some_and(take::is_trusted);
    match stream {
        Stream::Plain(Socket::Unix(socket)) if trusted && !door.is_draining() => {
            if door.successors.try_send(socket).is_err() {
                tracing::warn!("another process asks for the sockets, which are being handed over");
            }
        }
        _ => tracing::warn!(?peer_uid, "asked for the sockets: refused"),
    }
}
