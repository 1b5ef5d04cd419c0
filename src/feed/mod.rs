//! Hearing of writes that do not go through pgweir, for the query cache.
//!
//! Each database that wants it has one task, which [`tend`](Feeds::tend) starts and ends with the
//! pools that use it. The task connects, follows the changes by [`notify`] or [`replication`], and
//! tells the database's [`Space`] what has changed and up to which moment everything is known
//! ([`crate::cache::follow`]). What it cannot follow is not answered from memory: a feed that is
//! late makes the cache be bypassed, and one that is lost makes it forget, too.

pub mod install;
mod notify;
mod pgoutput;
mod relations;
mod replication;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::cache::space::Space;
use crate::client::info::Clock;
use crate::config::{FeedSettings, Invalidation};
use crate::pool::Pool;
use crate::protocol::startup::Replication;
use crate::server::auth::Credentials;
use crate::server::connect::{ConnectError, Endpoint, LoginRequest};
use crate::server::password::Passwords;
use wire::FeedWire;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// A feed that has worked for so long begins with the shortest delay when it is lost.
const GOOD: Duration = Duration::from_secs(30);
/// The relations that are reported are asked for this often, for changes made elsewhere.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The feeds of the process.
#[derive(Debug)]
pub struct Feeds {
    clock: Clock,
    running: Mutex<HashMap<Box<str>, Running>>,
}

#[derive(Debug)]
struct Running {
    task: JoinHandle<()>,
    what: What,
    endpoint: Arc<Endpoint>,
    passwords: Option<Arc<Passwords>>,
    space: Arc<Space>,
}

/// What a feed depends on; when it changes, the feed begins anew.
#[derive(Debug, Clone, PartialEq)]
struct What {
    kind: Invalidation,
    settings: FeedSettings,
    database: String,
}

/// All that the task of a feed needs.
#[derive(Clone)]
struct Job {
    space: Arc<Space>,
    endpoint: Arc<Endpoint>,
    what: What,
    /// Of the user in `what`, if its password changes.
    passwords: Option<Arc<Passwords>>,
    clock: Clock,
}

#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("cannot connect: {0}")]
    Connect(#[from] ConnectError),
    #[error("connection lost: {0}")]
    Io(#[from] std::io::Error),
    #[error("{message} (SQLSTATE {code})")]
    Server { code: String, message: String },
    #[error("{0}")]
    Other(String),
    #[error("no answer for {0:?}")]
    Silent(Duration),
}

impl Feeds {
    pub fn new(clock: Clock) -> Feeds {
        Feeds {
            clock,
            running: Mutex::default(),
        }
    }

    /// Starts the feeds that the pools want and have not, and ends those that nobody wants any
    /// longer. Must be called within the runtime that they are to run in.
    pub fn tend(&self, pools: &[Arc<Pool>]) {
        let wanted = wanted(pools, self.clock);
        let mut running = self.running.lock();
        for (name, jobs) in &wanted {
            // Any of the pools that lead there will do, so one that is as before does.
            let is_same = |r: &Running| {
                let mut jobs = jobs.iter();
                jobs.any(|j| {
                    let same_passwords = match (&j.passwords, &r.passwords) {
                        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                        (a, b) => a.is_none() && b.is_none(),
                    };
                    j.what == r.what && same_passwords && is_same_way(&j.endpoint, &r.endpoint)
                })
            };
            let goes_on = |r: &Running| is_same(r) && !r.task.is_finished();
            if running.get(name).is_some_and(goes_on) {
                continue;
            }
            let Some(job) = jobs.first() else { continue };
            job.space.follow.demand(true);
            let new = Running {
                what: job.what.clone(),
                endpoint: Arc::clone(&job.endpoint),
                passwords: job.passwords.clone(),
                space: Arc::clone(&job.space),
                task: tokio::spawn(run(job.clone())),
            };
            if let Some(before) = running.insert(name.clone(), new) {
                before.task.abort();
            }
        }
        running.retain(|name, feed| {
            let keep = wanted.contains_key(name);
            if !keep {
                feed.task.abort();
                feed.space.follow.lost("not wanted");
                feed.space.flush();
                feed.space.follow.demand(false);
            }
            keep
        });
    }
}

/// By database, what pools want.
fn wanted(pools: &[Arc<Pool>], clock: Clock) -> HashMap<Box<str>, Vec<Job>> {
    let mut wanted: HashMap<Box<str>, Vec<Job>> = HashMap::new();
    for pool in pools {
        let settings = pool.settings();
        let Some(cache) = &settings.cache else {
            continue;
        };
        let of_cache = &settings.database.cache;
        if !of_cache.enabled || of_cache.invalidation == Invalidation::Ttl {
            continue;
        }
        let database = settings.database.dbname.as_deref();
        let mut feed = of_cache.feed.clone();
        // Without a user and a password of its own it is the pool's.
        let is_pools = feed.user.is_none() && feed.password.is_none();
        let passwords = pool.passwords().filter(|_| is_pools);
        feed.user = feed.user.or_else(|| settings.database.user.clone());
        let what = What {
            kind: of_cache.invalidation,
            settings: feed,
            database: database.unwrap_or(&pool.database).to_owned(),
        };
        let job = Job {
            space: Arc::clone(&cache.space),
            endpoint: pool.endpoint(),
            what,
            passwords,
            clock,
        };
        wanted
            .entry(cache.space.name.clone())
            .or_default()
            .push(job);
    }
    wanted
}

/// A change of the TLS settings gives a pool a new client.
fn is_same_way(a: &Endpoint, b: &Endpoint) -> bool {
    a.host == b.host && a.port == b.port && Arc::ptr_eq(&a.tls, &b.tls)
}

/// Runs until it is aborted.
async fn run(job: Job) {
    let mut delay = FIRST_DELAY;
    let mut told = None;
    // An aborted feed says nothing more: who aborts it flushes, and so does the next one's start.
    loop {
        let began = tokio::time::Instant::now();
        let followed = match job.what.kind {
            Invalidation::Notify => notify::follow(&job).await,
            Invalidation::Replication => replication::follow(&job).await,
            Invalidation::Ttl => return,
        };
        let Err(error) = followed;
        let text = error.to_string();
        job.space.follow.lost(&text);
        job.space.flush();
        if began.elapsed() > GOOD {
            delay = FIRST_DELAY;
            told = None;
        }
        if told.as_ref() != Some(&text) {
            tracing::warn!(database = %job.space.name, %error, kind = job.what.kind.as_str(),
                "writes made elsewhere are not followed: the cache is bypassed");
            told = Some(text);
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(LONGEST_DELAY);
    }
}

impl Job {
    /// How often it is asked whether everything is known.
    fn interval(&self) -> Duration {
        (self.what.settings.max_lag / 4).clamp(Duration::from_millis(25), Duration::from_secs(5))
    }

    /// After such a silence the connection is given up.
    fn patience(&self) -> Duration {
        (self.what.settings.max_lag * 5).max(Duration::from_secs(10))
    }

    fn now(&self) -> u64 {
        self.clock.millis(std::time::Instant::now())
    }

    /// Everything that was committed before `asked` is known.
    fn known(&self, asked: u64) {
        let bound = self.what.settings.max_lag.as_millis() as u64;
        self.space.follow.known(asked, bound);
    }

    /// From here on changes are heard of; what is remembered may have missed some, and so may what is known of the
    /// catalogs.
    fn begin(&self) {
        self.space.schema_may_change();
        self.space.flush();
        tracing::info!(database = %self.space.name, kind = self.what.kind.as_str(),
            relations = self.space.follow.coverage(), "writes made elsewhere are followed");
    }

    async fn connect(&self, replication: Replication) -> Result<FeedWire, FeedError> {
        let settings = &self.what.settings;
        let user = settings.user.as_deref().unwrap_or_default();
        let login = LoginRequest {
            user,
            database: &self.what.database,
            application_name: Some("pgweir cache feed"),
            replication,
            parameters: &[],
            credentials: &Credentials::None,
            protocol_minor: 0,
        };
        let connect = |credentials: Credentials| {
            let login = login.clone();
            async move {
                let login = LoginRequest {
                    credentials: &credentials,
                    ..login
                };
                crate::server::connect::connect(&self.endpoint, &login).await
            }
        };
        let connected = match &self.passwords {
            Some(passwords) => passwords.connect_with(connect).await?,
            None => {
                let credentials = settings.password.clone();
                let credentials = credentials.map_or(Credentials::None, Credentials::Secret);
                connect(credentials).await?
            }
        };
        Ok(FeedWire::new(connected))
    }
}
