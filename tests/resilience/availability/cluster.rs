//! A primary and two standbys, each behind a network that can fail, and the failover manager that an
//! installation has beside pgweir.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::support::Postgres;
use crate::support::proxy::Proxy;

/// `ANY 1`: a commit is acknowledged when one of the two standbys has applied it, so that the loss of one
/// standby holds up nobody, and the one that is further ahead has every acknowledged commit.
const QUORUM: &str = "ANY 1 (*)";

pub struct Cluster {
    pub servers: Vec<Postgres>,
    /// pgweir comes by these; replication and probes do not.
    networks: Vec<Proxy>,
    primary: usize,
}

impl Cluster {
    /// With the tables `t`, for what clients write, and `probe`.
    pub fn start() -> Cluster {
        let primary = Postgres::start();
        let mut wire = primary.client();
        for sql in [
            "create table t (a bigint primary key)",
            "create table probe (a bigint)",
            "insert into probe values (0)",
            // A standby that goes on with another primary finds there what it lacks.
            "alter system set wal_keep_size = '512MB'",
            "alter system set wal_retrieve_retry_interval = '200ms'",
        ] {
            assert_eq!(wire.query(sql).code(), None, "{sql}");
        }
        primary.be_synchronous_with(QUORUM);
        let mut servers = vec![primary];
        for _ in 0..2 {
            servers.push(servers[0].standby());
        }
        let networks = servers.iter().map(|pg| Proxy::start(pg.port)).collect();
        Cluster {
            servers,
            networks,
            primary: 0,
        }
    }

    /// `hosts` of a pool.
    pub fn hosts(&self) -> String {
        let host = |network: &Proxy| format!("{{ host = \"127.0.0.1\", port = {} }}", network.port);
        let hosts: Vec<String> = self.networks.iter().map(host).collect();
        format!("hosts = [{}]", hosts.join(", "))
    }

    pub fn primary(&self) -> &Postgres {
        &self.servers[self.primary]
    }

    pub fn primary_mut(&mut self) -> &mut Postgres {
        &mut self.servers[self.primary]
    }

    pub fn network_of_primary(&self) -> &Proxy {
        &self.networks[self.primary]
    }

    fn standbys(&self) -> impl Iterator<Item = usize> {
        let primary = self.primary;
        (0..self.servers.len()).filter(move |n| *n != primary)
    }

    pub fn some_standby(&mut self) -> &mut Postgres {
        let n = self.standbys().last().expect("two standbys");
        &mut self.servers[n]
    }

    /// The primary is gone: the standby that is furthest ahead takes its place, and the other one follows.
    /// Gives which one it was.
    pub fn fail_over(&mut self) -> usize {
        let furthest = self
            .standbys()
            .max_by_key(|n| self.servers[*n].received())
            .expect("two standbys");
        let gone = std::mem::replace(&mut self.primary, furthest);
        self.primary().promote();
        for n in self.standbys().filter(|n| *n != gone) {
            self.servers[n].follow(self.primary());
        }
        gone
    }

    /// The one that was the primary comes back as a standby. It must be dead.
    pub fn rejoin(&mut self, gone: usize) {
        // Two of one list at a time.
        let (low, high) = (gone.min(self.primary), gone.max(self.primary));
        let (before, after) = self.servers.split_at_mut(high);
        let (low, high) = (&mut before[low], &mut after[0]);
        if gone < self.primary {
            low.rejoin(high);
        } else {
            high.rejoin(low);
        }
    }
}

/// Whoever has panicked with it in the hand is reported by itself.
pub fn locked<T>(mutex: &Arc<Mutex<T>>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
