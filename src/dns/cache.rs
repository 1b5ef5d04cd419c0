//! What is known of host names and of the zones they are in. Pure: time is an argument, and others
//! ask.
//!
//! The addresses that were found last stay known beside the current answer: they are the answer
//! while nobody can tell, and what a new answer is compared with.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Found {
        /// At least one.
        addresses: Vec<IpAddr>,
        /// How long it may be kept, says the server.
        ttl: Duration,
        /// Not so when only one of IPv4 and IPv6 could be asked for.
        whole: bool,
    },
    /// There is no such name, or it has no address.
    Nothing,
    /// Nobody could tell.
    Failed(String),
}

/// Why there is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    #[error("there is no such name, or it has no address")]
    Nothing,
    #[error("{0}")]
    Failed(String),
}

/// At least one address.
pub type Answer = Result<Arc<[IpAddr]>, LookupError>;

/// How long answers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Addresses, if the server does not say less (`dns_max_ttl`).
    pub max_ttl: Duration,
    /// That there are none, or that nobody could tell (`dns_nxdomain_ttl`).
    pub nothing: Duration,
}

/// A row of `SHOW DNS_HOSTS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRow {
    pub name: Arc<str>,
    /// For so long the answer is still good.
    pub left: Duration,
    pub addresses: Arc<[IpAddr]>,
}

/// A row of `SHOW DNS_ZONES`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneRow {
    pub zone: Arc<str>,
    /// 0 until it is known.
    pub serial: u32,
    /// Names in it that were asked for.
    pub names: usize,
}

/// What has become of a question, for those who asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Learned {
    pub answer: Answer,
    /// Addresses that the name had before.
    pub gone: Vec<IpAddr>,
}

#[derive(Debug)]
pub struct Cache {
    limits: Limits,
    names: BTreeMap<Arc<str>, Name>,
    /// Serial numbers; `None` until they are known.
    zones: BTreeMap<Arc<str>, Option<u32>>,
}

#[derive(Debug)]
struct Name {
    /// `None` until there is a first one.
    answered: Option<Answered>,
    /// Found last; empty if there never were any.
    known: Arc<[IpAddr]>,
    /// Whose turn it is.
    turn: usize,
}

#[derive(Debug)]
struct Answered {
    at: Instant,
    answer: Answer,
    /// `None`: it is not what a server said about addresses.
    ttl: Option<Duration>,
}

// === impl Outcome ===

impl Outcome {
    /// Two halves of one question, the one for IPv4 and the one for IPv6, taken together.
    pub fn and(self, other: Outcome) -> Outcome {
        match (self, other) {
            (
                Outcome::Found {
                    mut addresses,
                    ttl,
                    whole,
                },
                Outcome::Found {
                    addresses: more,
                    ttl: other_ttl,
                    whole: other_whole,
                },
            ) => {
                addresses.extend(more);
                Outcome::Found {
                    addresses,
                    ttl: ttl.min(other_ttl),
                    whole: whole && other_whole,
                }
            }
            (found @ Outcome::Found { .. }, Outcome::Nothing)
            | (Outcome::Nothing, found @ Outcome::Found { .. }) => found,
            (Outcome::Found { addresses, ttl, .. }, Outcome::Failed(_))
            | (Outcome::Failed(_), Outcome::Found { addresses, ttl, .. }) => Outcome::Found {
                addresses,
                ttl,
                whole: false,
            },
            (Outcome::Nothing, Outcome::Nothing) => Outcome::Nothing,
            (failed @ Outcome::Failed(_), _) | (_, failed @ Outcome::Failed(_)) => failed,
        }
    }
}

// === impl Cache ===

impl Cache {
    pub fn new(limits: Limits) -> Cache {
        Cache {
            limits,
            names: BTreeMap::new(),
            zones: BTreeMap::new(),
        }
    }

    /// Holds for what is known already, too.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes note that somebody wants to know; gives the answer if it is fresh.
    pub fn ask(&mut self, name: &str, now: Instant) -> Option<Answer> {
        if let Some(known) = self.names.get(name) {
            let answered = known.answered.as_ref()?;
            let fresh = self.limits.left(answered, now) > Duration::ZERO;
            return fresh.then(|| answered.answer.clone());
        }
        let unknown = Name {
            answered: None,
            known: Arc::default(),
            turn: 0,
        };
        self.names.insert(name.into(), unknown);
        if let Some(zone) = zone_of(name) {
            self.zones.entry(zone.into()).or_default();
        }
        None
    }

    /// Takes over what came of a question.
    pub fn learn(&mut self, name: &str, outcome: Outcome, now: Instant) -> Learned {
        let Some(entry) = self.names.get_mut(name) else {
            // Forgotten meanwhile; somebody may still wait for it.
            return Learned {
                answer: answer_without_memory(outcome),
                gone: Vec::new(),
            };
        };
        let before = Arc::clone(&entry.known);
        let (answer, ttl) = match outcome {
            Outcome::Found {
                mut addresses,
                ttl,
                whole,
            } => {
                if !whole {
                    // Those of the other kind are not gone only because nobody could tell.
                    let kinds = |ip: &IpAddr| addresses.iter().any(|a| a.is_ipv4() == ip.is_ipv4());
                    let others: Vec<_> = before.iter().filter(|ip| !kinds(ip)).copied().collect();
                    addresses.extend(others);
                }
                entry.known = addresses.into();
                (Ok(Arc::clone(&entry.known)), Some(ttl))
            }
            Outcome::Nothing => (Err(LookupError::Nothing), None),
            Outcome::Failed(_) if !before.is_empty() => (Ok(Arc::clone(&before)), None),
            Outcome::Failed(why) => (Err(LookupError::Failed(why)), None),
        };
        entry.answered = Some(Answered {
            at: now,
            answer: answer.clone(),
            ttl,
        });
        let is_gone = |ip: &&IpAddr| !entry.known.contains(ip);
        Learned {
            answer,
            gone: before.iter().filter(is_gone).copied().collect(),
        }
    }

    /// The addresses in the order in which they are to be tried this time: each is first in its
    /// turn.
    pub fn in_turn(&mut self, name: &str, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let mut addresses = addresses.to_vec();
        if let Some(known) = self.names.get_mut(name)
            && !addresses.is_empty()
        {
            let turn = known.turn % addresses.len();
            addresses.rotate_left(turn);
            known.turn = known.turn.wrapping_add(1);
        }
        addresses
    }

    /// Whether the name had this address, and has others now.
    pub fn has_left(&self, name: &str, address: IpAddr) -> bool {
        let known = self.names.get(name).map(|name| &name.known);
        known.is_some_and(|known| !known.is_empty() && !known.contains(&address))
    }

    /// Forgets the names for which this does not hold, and zones that no name is in.
    pub fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        self.names.retain(|name, _| wanted(name));
        let names = &self.names;
        self.zones
            .retain(|zone, _| names.keys().any(|name| zone_of(name) == Some(zone)));
    }

    pub fn zones(&self) -> Vec<Arc<str>> {
        self.zones.keys().cloned().collect()
    }

    /// Takes note of a zone's serial number: the names to look up again, if it is a later one than
    /// before. Serial numbers wrap around (RFC 1982).
    pub fn serial(&mut self, zone: &str, serial: u32) -> Vec<Arc<str>> {
        let Some(known) = self.zones.get_mut(zone) else {
            return Vec::new();
        };
        let before = known.replace(serial);
        match before {
            Some(before) if serial.wrapping_sub(before).cast_signed() > 0 => {
                let in_zone = |name: &&Arc<str>| zone_of(name) == Some(zone);
                self.names.keys().filter(in_zone).cloned().collect()
            }
            Some(before) => {
                *known = Some(before);
                Vec::new()
            }
            // What is known of the names is as old as the number, or newer.
            None => Vec::new(),
        }
    }

    pub fn host_rows(&self, now: Instant) -> Vec<HostRow> {
        let rows = self.names.iter().map(|(name, entry)| {
            let answered = entry.answered.as_ref();
            let answer = answered.and_then(|a| a.answer.as_ref().ok());
            HostRow {
                name: Arc::clone(name),
                left: answered.map_or(Duration::ZERO, |a| self.limits.left(a, now)),
                addresses: answer.cloned().unwrap_or_default(),
            }
        });
        rows.collect()
    }

    pub fn zone_rows(&self) -> Vec<ZoneRow> {
        let rows = self.zones.iter().map(|(zone, serial)| {
            let names = self.names.keys().filter(|name| zone_of(name) == Some(zone));
            ZoneRow {
                zone: Arc::clone(zone),
                serial: serial.unwrap_or(0),
                names: names.count(),
            }
        });
        rows.collect()
    }
}

impl Limits {
    /// How long the answer is still good.
    fn left(self, answered: &Answered, now: Instant) -> Duration {
        let kept = answered
            .ttl
            .map_or(self.nothing, |ttl| ttl.min(self.max_ttl));
        kept.saturating_sub(now.saturating_duration_since(answered.at))
    }
}

fn answer_without_memory(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Found { addresses, .. } => Ok(addresses.into()),
        Outcome::Nothing => Err(LookupError::Nothing),
        Outcome::Failed(why) => Err(LookupError::Failed(why)),
    }
}

/// What comes after the first dot, as in PgBouncer: where names are given out one level deep, the
/// zone. `None` for a name without a dot.
fn zone_of(name: &str) -> Option<&str> {
    let (_, zone) = name.split_once('.')?;
    (!zone.is_empty() && zone != ".").then_some(zone)
}

#[cfg(test)]
mod tests;
