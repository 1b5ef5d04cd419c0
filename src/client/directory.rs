//! All clients that have logged in, by the number in their cancel key.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use aws_lc_rs::rand;
use parking_lot::Mutex;

use super::cancel_key::CancelKey;
use super::info::ClientInfo;
use crate::config::PeerId;

/// No random numbers to be had from the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoEntropy;

/// A client that is entered and has nobody yet who would take it off the list: when this is dropped,
/// the client leaves.
#[derive(Debug)]
#[must_use]
pub struct Entered<'a> {
    directory: &'a Directory,
    info: Option<&'a ClientInfo>,
}

impl Entered<'_> {
    /// Somebody else sees to it from now on.
    pub fn stays(mut self) {
        self.info = None;
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(info) = self.info {
            self.directory.leave(info);
        }
    }
}

/// So many random keys are tried before a client shares its number with another.
const ATTEMPTS: usize = 8;

#[derive(Debug, Default)]
pub struct Directory(Mutex<Clients>);

#[derive(Debug, Default)]
struct Clients {
    by_pid: HashMap<i32, Arc<ClientInfo>, foldhash::fast::RandomState>,
    /// Those whose number was taken: where there are peers, there are only 32,768 of them.
    namesakes: HashMap<i32, Vec<Arc<ClientInfo>>, foldhash::fast::RandomState>,
}

impl Clients {
    fn all(&self) -> impl Iterator<Item = &Arc<ClientInfo>> {
        let namesakes = self.namesakes.values().flatten();
        self.by_pid.values().chain(namesakes)
    }

    fn insert(&mut self, info: &Arc<ClientInfo>) {
        match self.by_pid.entry(info.key.pid) {
            Entry::Vacant(free) => drop(free.insert(Arc::clone(info))),
            Entry::Occupied(_) => {
                let namesakes = self.namesakes.entry(info.key.pid).or_default();
                namesakes.push(Arc::clone(info));
            }
        }
    }

    fn find(&self, pid: i32, secret: &[u8]) -> Option<&Arc<ClientInfo>> {
        let namesakes = self.namesakes.get(&pid).into_iter().flatten();
        let mut called_so = self.by_pid.get(&pid).into_iter().chain(namesakes);
        called_so.find(|info| info.key.matches(secret))
    }
}

impl Directory {
    /// Enters a client under a fresh random key. `own` is this process's number among its peers.
    ///
    /// # Errors
    /// [`NoEntropy`].
    pub fn enter(
        &self,
        long_key: bool,
        own: Option<PeerId>,
        make: impl FnOnce(CancelKey) -> ClientInfo,
    ) -> Result<Arc<ClientInfo>, NoEntropy> {
        let length = if long_key { 32 } else { 4 };
        let mut attempts = 0;
        loop {
            let (mut pid, mut secret) = ([0; 4], [0; 32]);
            rand::fill(&mut pid).map_err(|_| NoEntropy)?;
            rand::fill(&mut secret).map_err(|_| NoEntropy)?;
            let key = CancelKey::new(i32::from_be_bytes(pid), secret, length, own);
            let pid = key.pid;
            attempts += 1;
            let mut clients = self.0.lock();
            let taken = clients.by_pid.contains_key(&pid);
            let unusable = pid == 0 || clients.find(pid, key.secret()).is_some();
            if unusable || (taken && attempts < ATTEMPTS) {
                continue;
            }
            let info = Arc::new(make(key));
            clients.insert(&info);
            return Ok(info);
        }
    }

    /// Enters a client that has its key already. `false`: another one has the same, and this one
    /// cannot cancel.
    pub fn enter_again(&self, info: &Arc<ClientInfo>) -> bool {
        let mut clients = self.0.lock();
        let key = &info.key;
        if clients.find(key.pid, key.secret()).is_some() {
            return false;
        }
        clients.insert(info);
        true
    }

    /// Sees to it that a client that was entered leaves; see [`Entered`].
    pub fn guard<'a>(&'a self, info: &'a ClientInfo) -> Entered<'a> {
        Entered {
            directory: self,
            info: Some(info),
        }
    }

    pub fn leave(&self, info: &ClientInfo) {
        let pid = info.key.pid;
        let mut clients = self.0.lock();
        if clients.by_pid.get(&pid).is_some_and(|c| c.id == info.id) {
            clients.by_pid.remove(&pid);
        } else if let Some(namesakes) = clients.namesakes.get_mut(&pid) {
            namesakes.retain(|client| client.id != info.id);
            if namesakes.is_empty() {
                clients.namesakes.remove(&pid);
            }
        }
    }

    /// The client that this cancel key belongs to, if the secret is right.
    pub fn find(&self, pid: i32, secret: &[u8]) -> Option<Arc<ClientInfo>> {
        self.0.lock().find(pid, secret).cloned()
    }

    pub fn len(&self) -> usize {
        let clients = self.0.lock();
        let namesakes = clients.namesakes.values().map(Vec::len);
        clients.by_pid.len() + namesakes.sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, as they are now.
    pub fn all(&self) -> Vec<Arc<ClientInfo>> {
        self.0.lock().all().cloned().collect()
    }

    /// Calls `f` for each; keep it short.
    pub fn for_each(&self, f: impl FnMut(&Arc<ClientInfo>)) {
        self.0.lock().all().for_each(f);
    }
}

#[cfg(test)]
mod tests {
    use super::super::info::ClientIdentity;
    use super::*;
    use crate::net::stream::Tls;
    use crate::server::connect::Address;

    fn enter(directory: &Directory, long: bool) -> Arc<ClientInfo> {
        enter_as(directory, long, 1, None)
    }

    fn enter_as(
        directory: &Directory,
        long: bool,
        id: u64,
        own: Option<PeerId>,
    ) -> Arc<ClientInfo> {
        let make = |key| {
            ClientInfo::new(ClientIdentity {
                id,
                key,
                database: "d".into(),
                user: "u".into(),
                application_name: None,
                peer: Address::Unix("/tmp".into()),
                local: Address::Unix("/tmp".into()),
                tls: Tls::None,
                replication: Default::default(),
            })
        };
        directory.enter(long, own, make).unwrap()
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

    #[test]
    fn who_is_not_taken_over_leaves() {
        let directory = Directory::default();
        let (stays, goes) = (enter(&directory, false), enter(&directory, false));
        directory.guard(&stays).stays();
        drop(directory.guard(&goes));
        assert!(directory.find(stays.key.pid, stays.key.secret()).is_some());
        assert_eq!(directory.len(), 1);
    }

    /// More than there are numbers.
    #[test]
    fn clients_that_share_a_number_are_told_apart() {
        let (directory, own) = (Directory::default(), PeerId::new(1));
        let all: Vec<_> = (0..40_000)
            .map(|id| enter_as(&directory, false, id, own))
            .collect();
        assert_eq!((directory.len(), directory.all().len()), (40_000, 40_000));
        for info in all.iter().step_by(7) {
            let found = directory.find(info.key.pid, info.key.secret());
            assert_eq!(found.map(|found| found.id), Some(info.id));
        }
        let (gone, here) = all.split_at(20_000);
        gone.iter().for_each(|info| directory.leave(info));
        assert_eq!(directory.len(), 20_000);
        let find = |info: &ClientInfo| directory.find(info.key.pid, info.key.secret());
        assert!(here.iter().all(|info| find(info).is_some()));
        assert!(gone.iter().all(|info| find(info).is_none()));
    }
}
