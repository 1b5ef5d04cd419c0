//! Who has guessed passwords wrong too often, and how long it must wait.
//!
//! Counted for an address, and for a user from an address: never for a user alone, or anybody could
//! lock anybody out. The table has a fixed size; of more, what was used longest ago is forgotten. IPv6
//! addresses count by their /64, which is what one customer has.
//!
//! After a wait one attempt is let through, and others wait again until it has come out: a wrong password
//! doubles the wait, the right one ends it. Pure: time is an argument.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

/// So many addresses, and users from an address, are remembered: about 1 MB.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

/// What is too often; of zeros, the first two turn a limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Wrong passwords for one user from one address, within `window`.
    pub user_failures: u32,
    /// Wrong passwords from one address for whomever, within `window`.
    pub address_failures: u32,
    pub window: Duration,
    /// The first wait.
    pub backoff: Duration,
    /// The longest.
    pub max_backoff: Duration,
}

/// Where an attempt counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    user: Key,
    address: Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    network: IpAddr,
    /// A hash of the name, which could be long; `None`: all users.
    user: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    failures: u32,
    /// When the first of them was.
    since: Instant,
    wait: Option<Wait>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    length: Duration,
    until: Instant,
    /// One attempt was let through after it, and has not come out.
    probing: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Attempts {
    records: LruCache<Key, Record>,
    hasher: RandomState,
}

impl Default for Attempts {
    fn default() -> Attempts {
        Attempts::with_room(REMEMBERED)
    }
}

impl Attempts {
    fn with_room(room: NonZeroUsize) -> Attempts {
        // Unlike with `new`, memory is taken as it is needed.
        let mut records = LruCache::unbounded();
        records.resize(room);
        Attempts {
            records,
            hasher: RandomState::new(),
        }
    }

    /// Somebody at `from` wants to log in as `user`.
    ///
    /// # Errors
    /// How long it must wait first; nothing that it shows is to be looked at.
    pub fn begin(
        &mut self,
        rules: &Rules,
        user: &str,
        from: IpAddr,
        now: Instant,
    ) -> Result<Attempt, Duration> {
        let attempt = self.attempt(user, from);
        let keys = attempt.keys(rules);
        let left = keys.map(|key| key.and_then(|(key, _)| self.left(rules, key, now)));
        if let Some(left) = left.into_iter().flatten().max() {
            return Err(left);
        }
        for (key, _) in keys.into_iter().flatten() {
            let record = self.records.get_mut(&key);
            if let Some(wait) = record.and_then(|record| record.wait.as_mut()) {
                wait.until = now + wait.length;
                wait.probing = true;
            }
        }
        Ok(attempt)
    }

    fn attempt(&self, user: &str, from: IpAddr) -> Attempt {
        let network = match from.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
            ip => ip,
        };
        let name = Some(self.hasher.hash_one(user));
        Attempt {
            user: Key {
                network,
                user: name,
            },
            address: Key {
                network,
                user: None,
            },
        }
    }

    /// How much is left of a wait. Forgets one that was over long ago.
    fn left(&mut self, rules: &Rules, key: Key, now: Instant) -> Option<Duration> {
        let wait = self.records.get(&key)?.wait?;
        if now < wait.until {
            return Some(wait.until - now);
        }
        if now - wait.until > rules.window.max(wait.length) {
            self.records.pop(&key);
        }
        None
    }

    /// The password was wrong.
    pub fn failed(&mut self, rules: &Rules, attempt: &Attempt, now: Instant) {
        for (key, limit) in attempt.keys(rules).into_iter().flatten() {
            let new = || Record {
                failures: 0,
                since: now,
                wait: None,
            };
            let record = self.records.get_or_insert_mut(key, new);
            match &mut record.wait {
                Some(wait) if wait.probing => {
                    let length = wait.length.saturating_mul(2).min(rules.max_backoff);
                    *wait = Wait::new(length, now);
                }
                // It was under way when the wait began.
                Some(_) => {}
                None => {
                    if now.saturating_duration_since(record.since) > rules.window {
                        *record = new();
                    }
                    record.failures += 1;
                    let length = rules.backoff.min(rules.max_backoff);
                    record.wait = (record.failures >= limit).then(|| Wait::new(length, now));
                }
            }
        }
    }

    /// It was right.
    pub fn succeeded(&mut self, attempt: &Attempt, now: Instant) {
        self.records.pop(&attempt.user);
        // Who knows one password may still be guessing others: only the others' wait ends.
        let record = self.records.get_mut(&attempt.address);
        if let Some(wait) = record.and_then(|record| record.wait.as_mut())
            && wait.probing
        {
            wait.probing = false;
            wait.until = now;
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

impl Attempt {
    /// With the limits that hold for them.
    fn keys(&self, rules: &Rules) -> [Option<(Key, u32)>; 2] {
        let limited = |key, limit: u32| (limit > 0).then_some((key, limit));
        [
            limited(self.user, rules.user_failures),
            limited(self.address, rules.address_failures),
        ]
    }
}

impl Wait {
    fn new(length: Duration, now: Instant) -> Wait {
        Wait {
            length,
            until: now + length,
            probing: false,
        }
    }
}

#[cfg(test)]
mod tests;
