//! Connections that have brought a cancel request, as long as it is not taken: so that who has sent it,
//! and waits for the end of the connection, knows then that nothing is on its way any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::info::ClientInfo;
use crate::config::PeerId;
use crate::server::connect::Address;

/// Whom a request is for.
#[derive(Debug, Clone)]
pub enum Target {
    Client(Arc<ClientInfo>),
    /// A client of a peer.
    Peer(PeerId),
}

/// A connection with a cancel request.
#[derive(Debug)]
pub struct CancelRequest {
    /// From the same counter as clients' numbers.
    pub id: u64,
    pub target: Target,
    pub peer: Address,
    pub local: Address,
    pub tls: bool,
    pub connected: SystemTime,
    active: AtomicBool,
}

impl CancelRequest {
    /// The request is being sent on.
    pub fn set_active(&self) {
        self.active.store(true, Ordering::Relaxed);
    }

    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }
}

/// What a request is made of.
#[derive(Debug)]
pub struct NewRequest {
    pub id: u64,
    pub target: Target,
    pub peer: Address,
    pub local: Address,
    pub tls: bool,
}

/// All that are there.
#[derive(Debug, Default)]
pub struct Cancels(Mutex<Vec<Weak<CancelRequest>>>);

impl Cancels {
    /// It is on the list as long as somebody holds it.
    pub fn enter(&self, new: NewRequest) -> Arc<CancelRequest> {
        let request = Arc::new(CancelRequest {
            id: new.id,
            target: new.target,
            peer: new.peer,
            local: new.local,
            tls: new.tls,
            connected: SystemTime::now(),
            active: AtomicBool::new(false),
        });
        let mut list = self.0.lock();
        if list.len() == list.capacity() {
            list.retain(|request| request.strong_count() > 0);
        }
        list.push(Arc::downgrade(&request));
        request
    }

    pub fn all(&self) -> Vec<Arc<CancelRequest>> {
        let list = self.0.lock();
        list.iter().filter_map(Weak::upgrade).collect()
    }
}
