//! Reads of a pool that go to replicas: the second pool of connections that it has for them, and what was
//! written by whom, where several clients are to read each other's writes.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Place, Pool};
use crate::server::ServerInfo;

/// Application names share these: two with the same one see each other's writes, which costs a little freshness
/// of choice and never an old answer.
const SLOTS: usize = 256;

/// What a pool has for its reads.
#[derive(Debug)]
pub struct Reads {
    /// Connections to replicas only.
    pub pool: Arc<Pool>,
    pub writes: ApplicationWrites,
}

/// When clients of an application wrote last, in microseconds after `since`.
#[derive(Debug)]
pub struct ApplicationWrites {
    since: Instant,
    slots: Box<[AtomicU64]>,
    hasher: foldhash::quality::FixedState,
}

impl ApplicationWrites {
    /// What was written before counts as written now.
    pub fn new(since: Instant) -> ApplicationWrites {
        ApplicationWrites {
            since,
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: foldhash::quality::FixedState::with_seed(0x7265_6164),
        }
    }

    /// Nobody has taken notes of what was written before.
    pub fn since(&self) -> Instant {
        self.since
    }

    fn slot(&self, application: &str) -> &AtomicU64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(application.as_bytes());
        &self.slots[hasher.finish() as usize % SLOTS]
    }

    /// A write of the application may have been over just now.
    pub fn note(&self, application: &str, now: Instant) {
        let micros = now.saturating_duration_since(self.since).as_micros() as u64 + 1;
        // A client that is told of it, and tells another, is told later.
        self.slot(application).fetch_max(micros, Ordering::SeqCst);
    }

    /// When its last write was over, at the latest.
    pub fn last(&self, application: &str) -> Instant {
        let micros = self.slot(application).load(Ordering::SeqCst);
        self.since + Duration::from_micros(micros)
    }
}

impl Pool {
    /// What it has for its reads, if they go elsewhere.
    pub fn reads(&self) -> Option<Arc<Reads>> {
        match &self.place {
            Place::Main(reads) => reads.load_full(),
            Place::Reads => None,
        }
    }

    /// Whether it is the one that another one's reads go to.
    pub fn is_for_reads(&self) -> bool {
        matches!(self.place, Place::Reads)
    }

    /// Its reads go there from now on, or no longer elsewhere.
    pub(super) fn set_reads(&self, reads: Option<Arc<Pool>>) {
        let Place::Main(place) = &self.place else {
            return;
        };
        let reads = reads.map(|pool| {
            Arc::new(Reads {
                pool,
                writes: ApplicationWrites::new(Instant::now()),
            })
        });
        if let Some(before) = place.swap(reads) {
            before.pool.close();
        }
    }

    /// Whether there is a replica for a read that must find what was written before `since` was over.
    ///
    /// # Errors
    /// Why there is none.
    pub fn replica_for(&self, since: Option<Instant>) -> Result<(), NoReplica> {
        let endpoints = self.endpoints.load();
        if !endpoints.any_serves(|_| true) {
            return Err(NoReplica::Nowhere);
        }
        let has = |since| endpoints.any_serves(|replica| endpoints.has_seen(replica, since));
        match since {
            Some(since) if !has(since) => Err(NoReplica::Behind),
            _ => Ok(()),
        }
    }

    /// Whether this replica has everything that was written before `since` was over.
    pub fn has_seen(&self, server: &ServerInfo, since: Instant) -> bool {
        let endpoints = self.endpoints.load();
        let member = endpoints.of(&server.host, &server.peer);
        member.is_some_and(|member| endpoints.has_seen(member, since))
    }
}

/// Why a read stays on the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoReplica {
    /// None is up and near enough.
    Nowhere,
    /// None is known to have what was written.
    Behind,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_reads_what_any_of_its_clients_has_written() {
        let start = Instant::now();
        let writes = ApplicationWrites::new(start);
        // What was before is not known: it counts as just written.
        assert_eq!(writes.last("a"), start);
        let at = start + Duration::from_millis(5);
        writes.note("a", at);
        assert!(writes.last("a") > at);
        writes.note("a", start + Duration::from_millis(3));
        assert!(writes.last("a") > at, "an older one changes nothing");
        assert_eq!(writes.last("b"), start);
    }
}
