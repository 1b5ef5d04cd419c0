//! Where entries are: moka, weighed by bytes.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::entry::Entry;
use super::key::{Key, KeyHasher};

/// Keys are hashes already.
#[derive(Debug, Default)]
pub struct Already(u64);

impl Hasher for Already {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(eight);
        }
    }
    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64 ^ (hash >> 64) as u64;
    }
}

/// All entries of the process.
#[derive(Debug)]
pub struct Store {
    entries: Cache<u128, Arc<Entry>, BuildHasherDefault<Already>>,
    pub hasher: KeyHasher,
}

impl Store {
    /// Holds at most `max_size` bytes, and nothing that was not asked for for `idle`.
    pub fn new(max_size: usize, idle: Option<Duration>) -> Store {
        let mut builder = Cache::builder()
            .max_capacity(max_size as u64)
            .weigher(|_, entry: &Arc<Entry>| u32::try_from(entry.weight()).unwrap_or(u32::MAX))
            // What is outdated by a write leaves as what nobody asks for any more does; frequency
            // would keep it, because it was asked for often.
            .eviction_policy(EvictionPolicy::lru());
        if let Some(idle) = idle {
            builder = builder.time_to_idle(idle);
        }
        Store {
            entries: builder.build_with_hasher(BuildHasherDefault::default()),
            hasher: KeyHasher::default(),
        }
    }

    #[inline]
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        let entry = self.entries.get(&key.hash())?;
        (entry.key[..] == *key.bytes()).then_some(entry)
    }

    pub fn put(&self, hash: u128, entry: Arc<Entry>) {
        self.entries.insert(hash, entry);
    }

    /// An entry that can never be valid again.
    pub fn forget(&self, key: &Key) {
        self.entries.invalidate(&key.hash());
    }

    pub fn flush(&self) {
        self.entries.invalidate_all();
    }

    pub fn all(&self) -> impl Iterator<Item = Arc<Entry>> + '_ {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// Entries and bytes; those that have just come or gone may be counted late.
    pub fn usage(&self) -> (u64, u64) {
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    pub fn max_size(&self) -> u64 {
        self.entries.policy().max_capacity().unwrap_or(0)
    }

    /// Does what is to be done from time to time, so that no client has to wait for it.
    pub fn maintain(&self) {
        self.entries.run_pending_tasks();
    }
}
