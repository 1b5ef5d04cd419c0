//! What is looked at from time to time: deadlines of clients, connections that are to be closed, the
//! user list.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::remote::apply_config;
use crate::client::info::Control;
use crate::client::login::Door;
use crate::server::ServerInfo;
use crate::telemetry::log::Logging;

/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(50);

/// Wakes the clients whose deadline has passed.
pub(super) async fn sweep(door: Arc<Door>) {
    let mut interval = tokio::time::interval(SWEEP);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let now = door.surroundings.clock.millis(Instant::now());
        door.directory.for_each(|client| {
            if client.deadline() <= now {
                client.request(Control::Deadline);
            }
        });
    }
}

/// How often it is looked at who has a server connection that is to be closed.
const VACATE: Duration = Duration::from_millis(100);

/// Asks the clients to go whose server connections are to be closed (`server_fast_close`), and tells those
/// whose server has been replaced.
pub(super) async fn vacate(door: Arc<Door>) {
    loop {
        tokio::time::sleep(VACATE).await;
        let servers = door.pools.servers();
        forsake(&door, &servers);
        if !door.config.load().server_fast_close {
            continue;
        }
        let closing = servers.iter().filter(|server| server.is_closing());
        let holders: HashSet<u64> = closing.map(|server| server.client()).collect();
        if holders.is_empty() {
            continue;
        }
        door.directory.for_each(|client| {
            if holders.contains(&client.id) {
                client.request(Control::Vacate);
            }
        });
    }
}

/// Tells the clients whose server connections are not waited for any longer.
fn forsake(door: &Door, servers: &[Arc<ServerInfo>]) {
    let forsaken = servers.iter().filter(|server| server.is_forsaken());
    let holders: HashSet<u64> = forsaken.map(|server| server.client()).collect();
    if holders.is_empty() {
        return;
    }
    door.directory.for_each(|client| {
        if holders.contains(&client.id) {
            client.request(Control::Forsake);
        }
    });
}

/// How often the user list is looked at.
const WATCH: Duration = Duration::from_secs(1);

/// Takes over the user list when its file changes, without a reload, as PgBouncer does.
pub(super) async fn watch_users(door: Arc<Door>, logging: Arc<Logging>) {
    let written = |door: &Door| {
        let file = door.config.load().auth.file.clone()?;
        let metadata = std::fs::metadata(&file).ok()?;
        Some((file, metadata.modified().ok()?, metadata.len()))
    };
    let mut before = written(&door);
    loop {
        tokio::time::sleep(WATCH).await;
        let now = written(&door);
        if now == before {
            continue;
        }
        before = now;
        let (door, logging) = (Arc::clone(&door), Arc::clone(&logging));
        let take_over = move || {
            let set = door.set.lock();
            let new = door.config.load().with_settings(&set)?;
            apply_config(&door, &logging, new)
        };
        match tokio::task::spawn_blocking(take_over).await {
            Ok(Ok(_)) => tracing::info!("the user list has changed"),
            Ok(Err(error)) => tracing::warn!("the user list has changed, but: {error}"),
            Err(error) => tracing::error!(%error, "reading the user list failed"),
        }
    }
}
