//! Where users' secrets come from: the configuration, or `auth_query` on a server, remembered for
//! a while.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::hashing::Hashing;
use crate::auth::scram::ScramVerifier;
use crate::auth::secret::Secret;
use crate::config::{AuthType, Config, Database};
use crate::pool::lease::LeaseError;
use crate::pool::registry::Pools;
use crate::server::dialogue::DialogueError;

/// So many answers of `auth_query` are remembered.
const REMEMBERED: usize = 10_000;

/// The look-up could not be made. It says nothing about the user.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    #[error("auth_query: {0}")]
    Lease(#[from] LeaseError),
    #[error("auth_query: {0}")]
    Dialogue(#[from] DialogueError),
    #[error("auth_query: no such database: {0}")]
    Database(String),
}

#[derive(Debug)]
struct Known {
    at: Instant,
    secret: Option<Secret>,
}

/// Who was asked how, and for whom.
type Key = (Asking, String);

/// A password, the iterations, and the verifier made of them.
type Derived = (Arc<str>, NonZeroU32, Secret);

#[derive(Debug, Default)]
pub struct Users {
    looked_up: Mutex<HashMap<Key, Known>>,
    /// SCRAM verifiers made from passwords, by user.
    derived: Mutex<HashMap<String, Derived>>,
}

impl Users {
    /// The secret of `user`, if there is such a user and it has one.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn secret(
        &self,
        config: &Config,
        pools: &Pools,
        database: &str,
        user: &str,
    ) -> Result<Option<Secret>, LookupError> {
        // An entry may be there for the user's limits only.
        let secret = config.users.get(user).and_then(|u| u.secret.clone());
        if secret.is_some() {
            return Ok(secret);
        }
        let Some(asking) = Asking::of(config, database) else {
            return Ok(None);
        };
        let key = (asking, user.to_owned());
        if let Some(known) = self.remembered(&key, config.auth.query_ttl) {
            return Ok(known);
        }
        let secret = look_up(config, pools, &key.0, user).await?;
        self.remember(key, secret.clone());
        Ok(secret)
    }

    /// The secret in the form that the login needs: a password becomes a SCRAM verifier, once, on a
    /// thread of its own.
    pub async fn for_login(
        &self,
        auth_type: AuthType,
        user: &str,
        secret: Option<Secret>,
        iterations: NonZeroU32,
        mock_key: &[u8; 32],
        hashing: &Hashing,
    ) -> Option<Secret> {
        let password = match secret {
            Some(Secret::Plain(password)) if auth_type == AuthType::ScramSha256 => password,
            other => return other,
        };
        if let Some((from, n, derived)) = self.derived.lock().get(user)
            && *from == password
            && *n == iterations
        {
            return Some(derived.clone());
        }
        let salt = ScramVerifier::own_salt(user, mock_key);
        let from = Arc::clone(&password);
        let derive = move || ScramVerifier::derive(&from, &salt, iterations);
        let verifier = hashing.run(derive).await?;
        let derived = Secret::Scram(verifier.to_string().into());
        let mut all = self.derived.lock();
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(user.to_owned(), (password, iterations, derived.clone()));
        Some(derived)
    }

    fn remembered(&self, key: &Key, ttl: Duration) -> Option<Option<Secret>> {
        let looked_up = self.looked_up.lock();
        let known = looked_up.get(key)?;
        (known.at.elapsed() < ttl).then(|| known.secret.clone())
    }

    fn remember(&self, key: Key, secret: Option<Secret>) {
        let mut looked_up = self.looked_up.lock();
        if looked_up.len() >= REMEMBERED {
            looked_up.clear();
        }
        let at = Instant::now();
        looked_up.insert(key, Known { at, secret });
    }

    /// The configuration has changed: ask again.
    pub fn forget(&self) {
        self.looked_up.lock().clear();
    }

    /// A password was wrong; perhaps it is a new one.
    pub fn forget_user(&self, config: &Config, database: &str, user: &str) {
        if let Some(asking) = Asking::of(config, database) {
            self.looked_up.lock().remove(&(asking, user.to_owned()));
        }
    }
}

/// How a user of some database is looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asking {
    query: String,
    user: String,
    dbname: String,
}

impl Asking {
    /// What the database's entry says goes before what `[auth]` says; `None`: nobody is looked up.
    fn of(config: &Config, database: &str) -> Option<Asking> {
        let auth = &config.auth;
        let entry = config.database(database);
        let own = |read: fn(&Database) -> &Option<String>| {
            entry.as_ref().and_then(|entry| read(entry).clone())
        };
        let dbname = own(|d| &d.auth_dbname).or_else(|| auth.dbname.clone());
        Some(Asking {
            query: own(|d| &d.auth_query).or_else(|| auth.query.clone())?,
            user: own(|d| &d.auth_user).or_else(|| auth.user.clone())?,
            dbname: dbname.unwrap_or_else(|| database.to_owned()),
        })
    }
}

async fn look_up(
    config: &Config,
    pools: &Pools,
    asking: &Asking,
    user: &str,
) -> Result<Option<Secret>, LookupError> {
    let database = &*asking.dbname;
    let entry = config
        .database(database)
        .ok_or_else(|| LookupError::Database(database.to_owned()))?;
    // As the one who may, also where clients are somebody else on the server.
    let entry = match entry.user {
        None => entry,
        Some(_) => Arc::new(Database {
            user: None,
            password: None,
            ..Database::clone(&entry)
        }),
    };
    let pool = pools.get(database, &entry, &asking.user);
    let mut lease = pool.lease().await?;
    // No setting of a client may act on this query, search_path least of all.
    lease.server().forget_settings().await?;
    let answer = lease.server().with_parameters(&asking.query, &[user]).await;
    let rows = match answer {
        Ok(rows) => rows,
        Err(error @ DialogueError::Server { .. }) => {
            lease.release();
            return Err(error.into());
        }
        Err(error) => return Err(error.into()),
    };
    lease.release();
    // The first column is the user's name, the second the secret, NULL for one that may not log in.
    let secret = rows.into_iter().next().and_then(|mut row| {
        if row.len() >= 2 {
            row.swap_remove(1)
        } else {
            None
        }
    });
    Ok(secret
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|text| !text.is_empty())
        .map(|text| Secret::from(text.as_str())))
}
