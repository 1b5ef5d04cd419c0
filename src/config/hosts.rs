//! Servers with roles: `[pools.NAME] hosts`, `target` and what goes with them.

use std::time::Duration;

use super::{Balance, Database, FALLBACK, Host};

/// What a server may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// For writes only, and only while it is not in recovery.
    Primary,
    /// For reads only, and only while it is in recovery.
    Replica,
    /// For what it is found to be.
    Auto,
}

/// Which servers a pool's connections go to (libpq's `target_session_attrs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// All, whatever they are; nobody asks.
    Any,
    /// The one that is not in recovery.
    Primary,
    /// Those in recovery that are not too far behind.
    Replica,
    /// The same, and the primary as long as there is none.
    PreferReplica,
}

/// Which reads of a pool with a primary go to replicas. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reads {
    /// None.
    Off,
    /// Those that say so in a comment.
    Hint,
    /// Transactions that have declared to be read-only.
    Transaction,
    /// Statements outside of a transaction that are found to be reads.
    Auto,
}

/// Whose writes a read that goes to a replica must find there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadYourWrites {
    /// Nobody's.
    Off,
    /// Those that the same client has made.
    Client,
    /// Those of all clients of the pool with the same application name.
    Application,
}

/// One of several servers, with its own port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub host: Host,
    pub port: u16,
    pub role: Role,
    /// Its share of new connections among servers of its kind; at least 1.
    pub weight: u32,
}

/// Whether one of these is one of those, by host and port as in the file.
pub fn share_a_server(these: &[Placed], those: &[Placed]) -> bool {
    let is = |a: &Placed, b: &Placed| (&a.host, a.port) == (&b.host, b.port);
    these.iter().any(|a| those.iter().any(|b| is(a, b)))
}

/// How servers with roles are looked after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSettings {
    /// As it is in the file; see [`Database::target`].
    pub target: Option<Target>,
    /// How often each server is asked what it is; more than zero.
    pub probe_interval: Duration,
    /// A replica further behind than that gets no new reads; zero: never mind.
    pub max_lag: Duration,
    pub reads: Reads,
    pub read_your_writes: ReadYourWrites,
}

impl Database {
    /// Which servers its connections go to. Where servers have roles, writes need a primary.
    pub fn target(&self) -> Target {
        self.roles.target.unwrap_or(match self.placed.is_empty() {
            true => Target::Any,
            false => Target::Primary,
        })
    }

    /// All servers; at least one.
    pub fn servers(&self) -> Vec<Placed> {
        if !self.placed.is_empty() {
            return self.placed.clone();
        }
        let plain = std::iter::once(&self.host).chain(&self.more_hosts);
        let placed = plain.map(|host| Placed {
            host: host.clone(),
            port: self.port,
            role: Role::Auto,
            weight: 1,
        });
        placed.collect()
    }

    /// The hosts of all servers; at least one.
    pub fn hosts(&self) -> Vec<&Host> {
        if !self.placed.is_empty() {
            return self.placed.iter().map(|placed| &placed.host).collect();
        }
        std::iter::once(&self.host)
            .chain(&self.more_hosts)
            .collect()
    }

    /// The hosts, as in the file.
    pub fn host_names(&self) -> String {
        let names: Vec<String> = self.hosts().into_iter().map(Host::to_string).collect();
        names.join(",")
    }

    /// All servers by host and port, as in the file: the same for pools that lead to the same ones.
    pub fn server_names(&self) -> String {
        if self.placed.is_empty() {
            let mut hosts: Vec<String> = self.hosts().into_iter().map(Host::to_string).collect();
            hosts.sort_unstable();
            return format!("{}:{}", hosts.join(","), self.port);
        }
        let placed = self.placed.iter();
        let mut names: Vec<String> = placed.map(|p| format!("{}:{}", p.host, p.port)).collect();
        names.sort_unstable();
        names.join(",")
    }

    /// Whether one of its servers is one of the other's.
    pub fn shares_a_server_with(&self, other: &Database) -> bool {
        share_a_server(&self.servers(), &other.servers())
    }

    /// The database on its servers; `None`: whatever the client names.
    pub fn database_there(&self) -> Option<&str> {
        let named = (self.name != FALLBACK).then_some(&*self.name);
        self.dbname.as_deref().or(named)
    }

    /// `host` as in the file, whatever `hosts` says.
    pub(super) fn plain_host_names(&self) -> String {
        let plain = std::iter::once(&self.host).chain(&self.more_hosts);
        let names: Vec<String> = plain.map(Host::to_string).collect();
        names.join(",")
    }

    /// Whether there are several servers, and a new connection has a choice.
    pub fn balances(&self) -> Option<Balance> {
        (self.hosts().len() > 1).then_some(self.load_balance_hosts)
    }
}

/// When a host that fails is left alone, by all pools that have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostLimits {
    /// Most connections to one host that may be in the making at once; 0 is unlimited.
    pub max_connecting: usize,
    /// So many failed attempts in a row open the circuit breaker; at least 1.
    pub failures: u32,
    /// The longest pause between attempts, before jitter; more than zero.
    pub max_delay: Duration,
}
