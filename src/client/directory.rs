//! All clients that have logged in, by the number in their cancel key.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::rand;
use parking_lot::Mutex;

use super::info::{CancelKey, ClientInfo};

/// No random numbers to be had from the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoEntropy;

#[derive(Debug, Default)]
pub struct Directory {
    clients: Mutex<HashMap<i32, Arc<ClientInfo>, foldhash::fast::RandomState>>,
}

impl Directory {
    /// Enters a client under a fresh random key.
    ///
    /// # Errors
    /// [`NoEntropy`].
    pub fn enter(
        &self,
        long_key: bool,
        make: impl FnOnce(CancelKey) -> ClientInfo,
    ) -> Result<Arc<ClientInfo>, NoEntropy> {
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| NoEntropy)?;
        loop {
            let mut pid = [0; 4];
            rand::fill(&mut pid).map_err(|_| NoEntropy)?;
            let pid = i32::from_be_bytes(pid) & i32::MAX;
            let mut clients = self.clients.lock();
            if pid == 0 || clients.contains_key(&pid) {
                continue;
            }
            let length = if long_key { 32 } else { 4 };
            let info = Arc::new(make(CancelKey::new(pid, secret, length)));
            clients.insert(pid, Arc::clone(&info));
            return Ok(info);
        }
    }

    pub fn leave(&self, info: &ClientInfo) {
        self.clients.lock().remove(&info.key.pid);
    }

    /// The client that this cancel key belongs to, if the secret is right.
    pub fn find(&self, pid: i32, secret: &[u8]) -> Option<Arc<ClientInfo>> {
        let clients = self.clients.lock();
        clients
            .get(&pid)
            .filter(|info| info.key.matches(secret))
            .cloned()
    }

    pub fn len(&self) -> usize {
        self.clients.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, as they are now.
    pub fn all(&self) -> Vec<Arc<ClientInfo>> {
        self.clients.lock().values().cloned().collect()
    }

    /// Calls `f` for each; keep it short.
    pub fn for_each(&self, f: impl FnMut(&Arc<ClientInfo>)) {
        self.clients.lock().values().for_each(f);
    }
}

#[cfg(test)]
mod tests {
    use super::super::info::ClientIdentity;
    use super::*;
    use crate::server::connect::Address;

    fn enter(directory: &Directory, long: bool) -> Arc<ClientInfo> {
        let make = |key| {
            ClientInfo::new(ClientIdentity {
                id: 1,
                key,
                database: "d".into(),
                user: "u".into(),
                application_name: None,
                peer: Address::Unix("/tmp".into()),
                local: Address::Unix("/tmp".into()),
                tls: false,
                replication: Default::default(),
            })
        };
        directory.enter(long, make).unwrap()
    }

    #[test]
    fn only_the_whole_key_finds_a_client() {
        let directory = Directory::default();
        let (short, long) = (enter(&directory, false), enter(&directory, true));
        assert_eq!(short.key.secret().len(), 4);
        assert_eq!(long.key.secret().len(), 32);
        for info in [&short, &long] {
            let secret = info.key.secret().to_vec();
            assert!(directory.find(info.key.pid, &secret).is_some());
            let mut wrong = secret.clone();
            wrong[0] ^= 1;
            assert!(directory.find(info.key.pid, &wrong).is_none());
            assert!(directory.find(info.key.pid, &secret[..3]).is_none());
            assert!(directory.find(info.key.pid, b"").is_none());
        }
        directory.leave(&short);
        assert!(directory.find(short.key.pid, short.key.secret()).is_none());
        assert_eq!(directory.len(), 1);
    }
}
