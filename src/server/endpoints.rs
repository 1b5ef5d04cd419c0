//! The servers of one database, and which of them a new connection goes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::connect::{self, Address, ConnectError, Endpoint, Established, LoginRequest};
use super::hosts::{HostState, Standing};
use super::role::Found;
use crate::config::{Balance, Host, Role, Target};
use crate::telemetry::events::Connect;

/// One server.
#[derive(Debug)]
pub struct Member {
    pub endpoint: Arc<Endpoint>,
    /// Shared with other pools.
    pub state: Arc<HostState>,
    pub role: Role,
    pub weight: u32,
}

/// How one is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    pub balance: Balance,
    pub target: Target,
    /// A replica further behind is not used; zero: it is.
    pub max_lag: Duration,
}

/// At least one.
#[derive(Debug)]
pub struct Endpoints {
    first: Arc<Member>,
    others: Vec<Arc<Member>>,
    choice: Choice,
    /// Whose turn it is.
    turn: AtomicUsize,
}

impl Endpoints {
    /// # Panics
    /// If there is none.
    pub fn new(mut all: Vec<Arc<Member>>, choice: Choice) -> Endpoints {
        Endpoints {
            first: all.remove(0),
            others: all,
            choice,
            turn: AtomicUsize::new(0),
        }
    }

    /// The one that a connection goes to, if it is still one of them.
    pub fn of(&self, host: &Host, peer: &Address) -> Option<&Arc<Member>> {
        self.all().find(|member| {
            let port = match peer {
                Address::Tcp(address) => address.port(),
                // The host says it all, but for a port that nobody can see here.
                Address::Unix(_) => member.endpoint.port,
            };
            member.endpoint.host == *host && member.endpoint.port == port
        })
    }

    pub fn first(&self) -> &Arc<Endpoint> {
        &self.first.endpoint
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Member>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    pub fn target(&self) -> Target {
        self.choice.target
    }

    /// All that may serve, in the order in which they are to be tried now.
    fn in_order(&self) -> Vec<&Arc<Member>> {
        let mut fit: Vec<_> = self.all().filter(|member| self.may_serve(member)).collect();
        if self.choice.balance == Balance::Disable || fit.len() < 2 {
            return fit;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let first = match self.choice.balance {
            Balance::RandomOfTwo => whose(&fit, scattered(turn)),
            _ => whose(&fit, turn),
        };
        fit.rotate_left(first);
        match self.choice.balance {
            // Equals keep the order of their turns.
            Balance::LeastOutstanding => fit.sort_by(|a, b| a.load().total_cmp(&b.load())),
            Balance::RandomOfTwo => {
                let other = 1 + whose(&fit[1..], scattered(!turn));
                if fit[other].load() < fit[0].load() {
                    fit.swap(0, other);
                }
            }
            Balance::RoundRobin | Balance::Disable => {}
        }
        fit
    }

    /// Connects and logs in: to the next server if one cannot be connected to. Says which it was.
    ///
    /// # Errors
    /// [`ConnectError`] of the last server, or of the first that was reached.
    pub async fn connect(
        &self,
        login: &LoginRequest<'_>,
    ) -> Result<(Established, Arc<Member>), ConnectError> {
        let order = self.in_order();
        let mut error = ConnectError::NoServer(wanted(self.choice.target));
        let mut left = u32::try_from(order.len()).unwrap_or(u32::MAX);
        for member in order {
            match member.connect(login, left).await {
                Ok(established) => return Ok((established, Arc::clone(member))),
                Err(failed) if failed.is_transient() => {
                    tracing::debug!(host = %member.endpoint.host, error = %failed, "no connection");
                    error = sooner(error, failed);
                }
                Err(failed) => return Err(failed),
            }
            left = left.saturating_sub(1);
        }
        Err(error)
    }

    // === roles ===

    /// Takes note of what a server has answered to a question that was sent at `sent`.
    pub fn learn(&self, member: &Member, found: Found, sent: Instant) {
        if let Found::Primary { written, .. } = found {
            member.state.set_written(written);
        }
        let primary = self.all().find(|member| self.is_primary(member));
        let written = primary.map_or(0, |primary| primary.state.written());
        member.state.found(found, written, sent);
    }

    /// Whether a replica has everything that was written on the primary before `since` was over.
    pub fn has_seen(&self, replica: &Member, since: Instant) -> bool {
        let primary = self.all().find(|member| self.is_primary(member));
        let seen = primary.and_then(|primary| primary.state.seen_by(&replica.state));
        seen.is_some_and(|seen| seen > since)
    }

    /// Whether there is a server that connections go to, of those for which `fits` holds.
    pub fn any_serves(&self, fits: impl Fn(&Member) -> bool) -> bool {
        self.all().any(|member| self.serves(member) && fits(member))
    }

    /// Whether new connections may go to it, or it may turn out so.
    pub fn may_serve(&self, member: &Member) -> bool {
        let unknown = member.state.standing() == Standing::Unknown;
        let never = match self.choice.target {
            Target::Primary => member.role == Role::Replica,
            Target::Replica => member.role == Role::Primary,
            Target::Any | Target::PreferReplica => false,
        };
        self.serves(member) || (unknown && !never)
    }

    /// Whether it is what the pool's connections are to go to, as far as is known.
    pub fn serves(&self, member: &Member) -> bool {
        match self.choice.target {
            Target::Any => true,
            Target::Primary => self.is_primary(member),
            Target::Replica => self.is_replica(member),
            Target::PreferReplica if self.all().any(|m| self.is_replica(m)) => {
                self.is_replica(member)
            }
            Target::PreferReplica => self.is_primary(member),
        }
    }

    /// It is not in recovery, and no other one was promoted after it.
    fn is_primary(&self, member: &Member) -> bool {
        let Standing::Primary { timeline } = member.state.standing() else {
            return false;
        };
        let newest = self.all().map(|m| m.state.timeline()).max();
        // Two on one timeline are no replicas of each other; one of them it must be.
        let rival = |m: &&Arc<Member>| {
            m.role != Role::Replica && m.state.standing() == Standing::Primary { timeline }
        };
        let first = self.all().find(rival);
        member.role != Role::Replica
            && newest == Some(timeline)
            && first.is_some_and(|first| Arc::ptr_eq(&first.state, &member.state))
    }

    fn is_replica(&self, member: &Member) -> bool {
        match member.state.standing() {
            Standing::Replica { lag } => {
                let max = self.choice.max_lag;
                member.role != Role::Primary && (max.is_zero() || lag <= max)
            }
            _ => false,
        }
    }

    /// Nobody else is to write to it, or to wait for it: it does not answer, or another one was
    /// promoted.
    pub fn is_replaced(&self, member: &Member) -> bool {
        let lost = match member.state.standing() {
            Standing::Down => true,
            Standing::Primary { .. } => self.target() == Target::Primary && !self.serves(member),
            Standing::Unknown | Standing::Replica { .. } => false,
        };
        lost && self.all().any(|other| self.serves(other))
    }

    /// Changes when others serve than before.
    pub fn serving(&self) -> u64 {
        let each = self.all().take(32).enumerate();
        let bits = each.map(|(n, member)| {
            let down = member.state.standing() == Standing::Down;
            u64::from(self.serves(member)) << (2 * n) | u64::from(down) << (2 * n + 1)
        });
        bits.fold(0, |all, bit| all | bit)
    }
}

impl Member {
    /// Connections for its weight.
    fn load(&self) -> f64 {
        f64::from(self.state.connections()) / f64::from(self.weight.max(1))
    }

    /// With `left` servers to try, this one included.
    async fn connect(
        &self,
        login: &LoginRequest<'_>,
        left: u32,
    ) -> Result<Established, ConnectError> {
        let attempt = self.state.begin().await?;
        // A host that swallows packets must leave time for the others.
        let limited = Endpoint {
            connect_timeout: self.endpoint.connect_timeout / left.max(1),
            ..Endpoint::clone(&self.endpoint)
        };
        match connect::connect(&limited, login).await {
            Ok(established) => {
                attempt.succeeded();
                self.state.connects.count(Connect::Success);
                Ok(established)
            }
            Err(error) => {
                self.state.connects.count(error.outcome());
                Err(attempt.failed(error))
            }
        }
    }
}

/// A number that looks like chance (the finalizer of SplitMix64): nobody is to be surprised, only spread.
fn scattered(turn: usize) -> usize {
    let mut mixed = (turn as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as usize
}

/// Where the `turn`th connection goes: each has as many turns as its weight.
fn whose(members: &[&Arc<Member>], turn: usize) -> usize {
    let weight = |member: &Arc<Member>| member.weight.max(1) as usize;
    let total: usize = members.iter().map(|member| weight(member)).sum();
    let mut turn = turn % total.max(1);
    for (n, member) in members.iter().enumerate() {
        match turn.checked_sub(weight(member)) {
            Some(later) => turn = later,
            None => return n,
        }
    }
    0
}

/// What a pool's target is called where there is none.
pub fn wanted(target: Target) -> &'static str {
    match target {
        Target::Any | Target::PreferReplica => "reachable",
        Target::Primary => "a primary",
        Target::Replica => "a replica that is up to date",
    }
}

/// Of two passing errors the one after which there may be an attempt first.
fn sooner(one: ConnectError, other: ConnectError) -> ConnectError {
    match (&one, &other) {
        (ConnectError::LeftAlone { until: a, .. }, ConnectError::LeftAlone { until: b, .. })
            if a < b =>
        {
            one
        }
        _ => other,
    }
}

#[cfg(test)]
mod tests;
