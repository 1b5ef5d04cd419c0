//! The second tier: answers that several instances share in Redis or Valkey, and how each tells the
//! others what has changed.
//!
//! In Redis there is, below a prefix and the server's run id (so that a server that comes back with
//! an older state begins with an empty one):
//!
//! * `e:KEY`: entries ([`crate::cache::packed`]), with the generations of what they depend on;
//! * `g:DATABASE:OID`: a relation's generation, another one after each change, and `g` that of
//!   everything. One that is missing, evicted for example, makes every entry worthless;
//! * `members`: instances, by when each had last told everything that it had changed;
//! * a channel, on which changes are told to the memory tiers, and each instance's own beats come
//!   back to it. The beat shows that everything was heard that others had told when it was sent.
//!
//! With strict consistency there are `p:DATABASE:OID`, the instances that are writing a relation, and
//! what each holds of these; see [`lease`].
//!
//! What an instance changes it tells after the commit, and as long as that is under way it does not
//! look at what is shared of the relation. Others hear of it within `max_lag`: an instance that has
//! not heard for so long that all members have told everything bypasses its cache. One that dies
//! without leaving holds the others up for `member_timeout`; then everything is forgotten and the
//! rest go on.

mod keys;
mod lease;
mod lookup;
mod session;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

use crate::cache::breaker::Breaker;
use crate::cache::caches::Caches;
use crate::cache::follow::Follow;
use crate::client::info::Clock;
use crate::config::{Consistency, SharedCache};

use lease::Request;
pub use lookup::{Looked, unix_millis};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// For the first connection, before clients are let in.
const JOIN_LIMIT: Duration = Duration::from_secs(2);
/// For what a shutdown has yet to tell.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// The process's part in it.
#[derive(Debug)]
pub struct Tier {
    settings: SharedCache,
    clock: Clock,
    control: Handle,
    /// Of this process's life.
    id: u64,
    tokens: RandomState,
    token: AtomicU64,
    link: ArcSwapOption<Link>,
    /// Whether everything is heard that other instances tell.
    pub follow: Follow,
    pub breaker: Breaker,
    bell: Arc<Notify>,
    requests: mpsc::UnboundedSender<Request>,
    inbox: tokio::sync::Mutex<mpsc::UnboundedReceiver<Request>>,
    /// When Redis has answered last, on the process's clock.
    contact: AtomicU64,
    pub counters: TierCounters,
    /// Entries that are being written.
    storing: AtomicUsize,
}

/// What the tier has done, in numbers.
#[derive(Debug, Default)]
pub struct TierCounters {
    pub hits: AtomicU64,
    pub misses: AtomicU64,
    /// Entries that were there, but of another generation.
    pub outdated: AtomicU64,
    pub stored: AtomicU64,
    /// Entries not written because too many were being written.
    pub dropped: AtomicU64,
    pub failures: AtomicU64,
    /// Messages of changes that were heard.
    pub heard: AtomicU64,
}

impl TierCounters {
    /// All of them, with names for the console and for metrics.
    pub fn all(&self) -> [(&'static str, u64); 7] {
        [
            ("hits", &self.hits),
            ("misses", &self.misses),
            ("outdated", &self.outdated),
            ("stored", &self.stored),
            ("dropped", &self.dropped),
            ("failures", &self.failures),
            ("heard", &self.heard),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}

/// A connection that works.
#[derive(Debug)]
struct Link {
    connection: MultiplexedConnection,
    /// What all keys begin with.
    namespace: String,
}

impl Tier {
    pub fn new(settings: SharedCache, clock: Clock, control: Handle) -> Arc<Tier> {
        let tokens = RandomState::new();
        let (requests, inbox) = mpsc::unbounded_channel();
        let tier = Tier {
            requests,
            inbox: tokio::sync::Mutex::new(inbox),
            contact: AtomicU64::new(0),
            id: tokens.hash_one(std::process::id()),
            settings,
            clock,
            control,
            token: AtomicU64::new(0),
            tokens,
            link: ArcSwapOption::empty(),
            follow: Follow::default(),
            breaker: Breaker::default(),
            bell: Arc::default(),
            counters: TierCounters::default(),
            storing: AtomicUsize::new(0),
        };
        // Until others are heard, nothing is given.
        tier.follow.demand(true);
        Arc::new(tier)
    }

    /// Rung by what is to be told.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    pub fn is_connected(&self) -> bool {
        self.link.load().is_some()
    }

    /// Every write must be told before it is acknowledged, and every hit be checked.
    pub fn is_strict(&self) -> bool {
        self.settings.consistency == Consistency::Strict
    }

    /// Keeps the connection, for ever.
    pub async fn run(self: Arc<Tier>, caches: Arc<Caches>) {
        let mut delay = FIRST_DELAY;
        let mut told = None;
        loop {
            let began = Instant::now();
            let Err(error) = session::hold(&self, &caches).await;
            self.link.store(None);
            let text = error.to_string();
            self.follow.lost(&text);
            session::forget_all(&caches);
            if began.elapsed() > Duration::from_secs(10) {
                delay = FIRST_DELAY;
                told = None;
            }
            if told.as_ref() != Some(&text) {
                tracing::warn!(%error, "the shared cache is out of reach: the cache is bypassed");
                told = Some(text);
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    /// Waits until this instance is a member, for a while: what it changes before, others would miss.
    pub async fn joined(&self) {
        let deadline = Instant::now() + JOIN_LIMIT;
        while !self.follow.allows(self.now()) {
            if Instant::now() >= deadline {
                tracing::warn!(
                    "going on without the shared cache: other instances do not know of this one"
                );
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Tells what is still to be told, and that this instance is no longer a member.
    pub async fn leave(&self, caches: &Caches) {
        let Some(link) = self.link.load_full() else {
            return;
        };
        let mut connection = link.connection.clone();
        let leaving = async {
            session::tell(self, caches, &mut connection, &link.namespace).await?;
            session::leave(self, &mut connection, &link.namespace).await
        };
        if let Ok(Err(error)) = tokio::time::timeout(LEAVE_LIMIT, leaving).await {
            tracing::warn!(%error, "cannot tell other instances that this one leaves");
        }
    }

    /// A generation that there never was.
    fn new_generation(&self) -> u64 {
        let n = self.token.fetch_add(1, Ordering::Relaxed);
        self.tokens.hash_one((self.id, n))
    }

    /// Adds to a pipeline that this has changed.
    fn set_generation(&self, pipe: &mut redis::Pipeline, key: &str) {
        let generation = self.new_generation().to_le_bytes();
        pipe.cmd("SET").arg(key).arg(&generation[..]);
        pipe.arg("EX").arg(keys::LIFE).ignore();
    }

    fn now(&self) -> u64 {
        self.clock.millis(Instant::now())
    }
}
