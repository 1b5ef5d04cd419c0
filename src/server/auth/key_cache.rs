//! SCRAM keys that need not be derived any more: from a password that was used before, or from a
//! client's login, which proves a verifier without anybody knowing the password.
//!
//! A server sends the same salt and iteration count for a user at every login, so a pool that
//! opens a hundred connections at once needs one PBKDF2, not a hundred.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::auth::scram::ScramKeys;
use crate::auth::scram_client::{Challenge, derive_keys};
use crate::server::connect::AuthError;

/// Keys of each kind kept; the oldest go first. Bounds what a server with ever new salts makes us
/// keep.
const CAPACITY: usize = 256;

/// A bounded cache of derived keys, shared by all logins to a server.
#[derive(Default)]
pub struct KeyCache {
    entries: Mutex<VecDeque<Entry>>,
    /// By verifier.
    proven: Mutex<VecDeque<(Arc<str>, ScramKeys)>>,
}

struct Entry {
    password: Arc<str>,
    salt: Vec<u8>,
    iterations: NonZeroU32,
    keys: Cell,
}

/// Filled by the first who asks; others wait for it.
type Cell = Arc<OnceCell<ScramKeys>>;

// === impl KeyCache ===

impl KeyCache {
    pub fn new() -> KeyCache {
        KeyCache::default()
    }

    /// The keys for `challenge`, derived on the runtime's blocking pool unless they are known.
    ///
    /// If the login that derives them is given up, the next one waiting takes over.
    pub(super) async fn get(
        &self,
        password: &Arc<str>,
        challenge: &Challenge,
    ) -> Result<ScramKeys, AuthError> {
        let cell = self.cell(password, challenge.salt(), challenge.iterations());
        let derive = || async {
            let password = Arc::clone(password);
            let salt = challenge.salt().to_vec();
            let iterations = challenge.iterations();
            tokio::task::spawn_blocking(move || derive_keys(&password, &salt, iterations))
                .await
                .map_err(|_| AuthError::Abandoned)
        };
        cell.get_or_try_init(derive).await.cloned()
    }

    /// Takes note of keys that fit `verifier`, a text as PostgreSQL stores it.
    pub fn add_proven(&self, verifier: &Arc<str>, keys: ScramKeys) {
        let mut proven = self.proven.lock();
        if proven.iter().any(|(known, _)| known == verifier) {
            return;
        }
        if proven.len() >= CAPACITY {
            proven.pop_front();
        }
        proven.push_back((Arc::clone(verifier), keys));
    }

    pub fn proven(&self, verifier: &str) -> Option<ScramKeys> {
        let proven = self.proven.lock();
        let found = proven.iter().find(|(known, _)| **known == *verifier);
        found.map(|(_, keys)| keys.clone())
    }

    fn cell(&self, password: &Arc<str>, salt: &[u8], iterations: NonZeroU32) -> Cell {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries
            .iter()
            .find(|e| e.iterations == iterations && e.salt == salt && e.password == *password)
        {
            return Arc::clone(&entry.keys);
        }
        if entries.len() >= CAPACITY {
            entries.pop_front();
        }
        let keys = Cell::default();
        entries.push_back(Entry {
            password: Arc::clone(password),
            salt: salt.to_vec(),
            iterations,
            keys: Arc::clone(&keys),
        });
        keys
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries.lock().len();
        write!(f, "KeyCache {{ entries: {entries} }}")
    }
}
