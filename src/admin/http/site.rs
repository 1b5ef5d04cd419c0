//! What all connections to the HTTP port share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::api::{snapshot::Snapshots, tables::Tables};
use super::login::Guard;
use super::sampler::History;
use super::sessions::Sessions;
use super::stream::{self, Feed};
use crate::admin::console::Console;

/// See the module.
#[derive(Debug)]
pub(super) struct Site {
    pub console: Arc<Console>,
    /// Where the port is; `None` if the system does not say.
    pub address: Option<SocketAddr>,
    pub began: Instant,
    pub sessions: Mutex<Sessions>,
    pub guard: Guard,
    pub snapshots: Snapshots,
    pub tables: Tables,
    pub history: Mutex<History>,
    pub feed: Feed,
    /// Places for pages that are fed.
    pub streams: Arc<Semaphore>,
}

impl Site {
    pub fn new(listener: &TcpListener, console: Arc<Console>) -> Site {
        Site {
            console,
            address: listener.local_addr().ok(),
            began: Instant::now(),
            sessions: Mutex::default(),
            guard: Guard::default(),
            snapshots: Snapshots::default(),
            tables: Tables::default(),
            history: Mutex::default(),
            feed: Feed::default(),
            streams: Arc::new(Semaphore::new(stream::PLACES)),
        }
    }
}
