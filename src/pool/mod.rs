//! Pools: the server connections of one database and server user, and who has them.
//!
//! [`core`] decides (pure), this module is the shell around it: it takes locks, wakes clients and
//! starts tasks on the control runtime: [`connect`]ing, [`recycle`]ing, [`maintain`]ing.

pub mod budget;
mod checkout;
pub mod connect;
pub mod core;
mod hold;
pub mod lease;
pub mod maintain;
pub mod moving;
pub mod overload;
pub mod own;
pub mod rate;
pub mod reads;
pub mod recycle;
pub mod registry;
mod roles;
mod series;
pub mod settings;
pub mod stats;
pub mod welcome;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;

use self::budget::Budget;
use self::core::{Core, Counts, Granted, Ticket};
use self::reads::Reads;
use self::settings::PoolSettings;
use self::stats::Shard;
use crate::channels::Channels;
use crate::dns::Resolver;
use crate::server::auth::Credentials;
use crate::server::connect::Endpoint;
use crate::server::endpoints::Endpoints;
use crate::server::password::Passwords;
use crate::server::{Activity, Server};
use crate::session::memory::Together;
use crate::session::statement::Registry;
use crate::shared::Tier;
use crate::statement_stats::{Counted, Owner, Statements};
use crate::telemetry::events::Events;
use crate::telemetry::refusals::Refusals;
use crate::worker::Home;

/// What all pools of a process share.
#[derive(Debug)]
pub struct Shared {
    /// Where connecting, cleaning and maintenance run.
    pub control: tokio::runtime::Handle,
    pub workers: usize,
    /// Knows servers' host names.
    pub resolver: Arc<Resolver>,
    /// What several instances share of their caches.
    pub tier: Option<Arc<Tier>>,
    /// Numbers of clients and servers (`id` in the console).
    next_id: AtomicU64,
    origin: Origin,
    /// Another process takes over: no connection is made for later.
    retiring: AtomicBool,
    pub refusals: Refusals,
    pub events: Events,
    series: series::Series,
    /// What clients make this process keep.
    pub memory: Arc<Together>,
    pub statements: Statements,
}

/// Where a process goes on that has taken over from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// How many processes there were before.
    pub generation: u64,
    pub next_id: u64,
}

impl Default for Origin {
    fn default() -> Origin {
        Origin {
            generation: 0,
            next_id: 1,
        }
    }
}

impl Shared {
    pub fn new(
        control: tokio::runtime::Handle,
        workers: usize,
        resolver: Arc<Resolver>,
        tier: Option<Arc<Tier>>,
        origin: Origin,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            control,
            workers,
            resolver,
            tier,
            next_id: AtomicU64::new(origin.next_id),
            origin,
            retiring: AtomicBool::new(false),
            refusals: Refusals::default(),
            // Control is a home, too.
            events: Events::new(workers + 1),
            series: series::Series::default(),
            memory: Arc::default(),
            statements: Statements::new(workers),
        })
    }

    pub fn set_retiring(&self, retiring: bool) {
        self.retiring.store(retiring, Ordering::Relaxed);
    }

    /// Where a process goes on that takes over from this one.
    pub fn next_origin(&self) -> Origin {
        /// This one goes on to give numbers for a while.
        const AHEAD: u64 = 1 << 20;
        Origin {
            generation: self.origin.generation + 1,
            next_id: self.next_id.load(Ordering::Relaxed) + AHEAD,
        }
    }

    /// Statements of a process, and those that it takes over, must not have the same number.
    fn first_statement(&self) -> u64 {
        (self.origin.generation << 40) + 1
    }

    pub fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// Server connections of one database for one server user.
pub struct Pool {
    /// As clients name it.
    pub database: Arc<str>,
    /// The user on the server.
    pub user: Arc<str>,
    /// Those of its reads, too: a statement means the same on either server.
    pub statements: Arc<Registry>,
    settings: ArcSwap<PoolSettings>,
    endpoints: ArcSwap<Endpoints>,
    core: Mutex<Core<Box<Server>, Waker>>,
    credentials: Mutex<Credentials>,
    /// Goes before the credentials.
    passwords: ArcSwapOption<Passwords>,
    health: Mutex<connect::Health>,
    welcome: Mutex<welcome::Memory>,
    budgets: Arc<[Arc<Budget>]>,
    shards: Box<[Shard]>,
    named: Option<series::Named>,
    servers: registry::ServerList,
    shared: Arc<Shared>,
    /// Server connections made before the last change of this are closed.
    generation: AtomicU64,
    /// Its database or user is gone from the configuration.
    closed: AtomicBool,
    /// Connections are closed as they become free.
    pausing: AtomicBool,
    /// Since then nobody has used it; `None`: somebody does.
    unused_since: Mutex<Option<Instant>>,
    /// Which of its servers served when it was last looked at.
    serving: AtomicU64,
    channels: Arc<Channels>,
    place: Place,
    /// Of its statements, in the statistics.
    owner: Owner,
}

/// What a pool is to others of its database and user.
enum Place {
    /// It is what clients belong to, and may have another one for reads.
    Main(ArcSwapOption<Reads>),
    /// It is the one that reads go to.
    Reads,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reads = if self.is_for_reads() {
            " on replicas"
        } else {
            ""
        };
        write!(f, "Pool({}.{}{reads})", self.database, self.user)
    }
}

/// What a new pool is made of.
pub struct NewPool {
    pub database: Arc<str>,
    pub user: Arc<str>,
    pub settings: PoolSettings,
    pub endpoints: Endpoints,
    pub credentials: Credentials,
    pub passwords: Option<Arc<Passwords>>,
    pub budgets: Arc<[Arc<Budget>]>,
    pub servers: registry::ServerList,
    pub shared: Arc<Shared>,
    /// It is for the reads of a pool that has these statements.
    pub reads_of: Option<Arc<Registry>>,
}

impl Pool {
    pub fn new(new: NewPool) -> Arc<Pool> {
        let place = match &new.reads_of {
            None => Place::Main(ArcSwapOption::empty()),
            Some(_) => Place::Reads,
        };
        let (first, memory) = (new.shared.first_statement(), &new.shared.memory);
        let statements = new
            .reads_of
            .unwrap_or_else(|| Arc::new(Registry::numbered_from(first, Arc::clone(memory))));
        // Control is a home, too.
        let homes = new.shared.workers + 1;
        Arc::new(Pool {
            owner: Owner::new(&new.database, &new.user),
            database: new.database,
            user: new.user,
            statements,
            core: Mutex::new(Core::new(new.settings.limits, homes)),
            settings: ArcSwap::from_pointee(new.settings),
            endpoints: ArcSwap::from_pointee(new.endpoints),
            credentials: Mutex::new(new.credentials),
            passwords: ArcSwapOption::new(new.passwords),
            health: Mutex::new(connect::Health::default()),
            welcome: Mutex::new(welcome::Memory::default()),
            budgets: new.budgets,
            shards: (0..homes).map(|_| Shard::default()).collect(),
            // Clients' times are their own pool's.
            named: matches!(place, Place::Main(_))
                .then(|| new.shared.series.name())
                .flatten(),
            servers: new.servers,
            shared: new.shared,
            generation: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            pausing: AtomicBool::new(false),
            unused_since: Mutex::default(),
            serving: AtomicU64::new(0),
            channels: Arc::default(),
            place,
        })
    }

    pub fn settings(&self) -> arc_swap::Guard<Arc<PoolSettings>> {
        self.settings.load()
    }

    /// The settings for one transaction, which a change of the configuration leaves as they are.
    pub fn settings_now(&self) -> Arc<PoolSettings> {
        self.settings.load_full()
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Who listens to what.
    pub fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }

    /// The first of its hosts.
    pub fn endpoint(&self) -> Arc<Endpoint> {
        Arc::clone(self.endpoints.load().first())
    }

    /// The counters that code on `home` writes.
    #[inline]
    pub fn shard(&self, home: Home) -> &Shard {
        &self.shards[home.index(self.shared.workers)]
    }

    /// Where code on `home` counts statements, if they are counted.
    #[inline]
    pub fn counted(&self, home: Home) -> Option<Counted<'_>> {
        self.shared.statements.counted(home, &self.owner)
    }

    pub fn counts(&self) -> Counts {
        self.core.lock().counts(Instant::now())
    }

    /// A server connection was lost: the server may have crashed or another one taken its place, and
    /// not have everything that answers were remembered of (unlogged tables, asynchronous commits).
    pub fn forget_answers(&self) {
        if let Some(cache) = &self.settings.load().cache {
            cache.space.flush();
        }
    }

    /// What has become of a wait.
    pub fn take(&self, ticket: Ticket) -> Granted<Box<Server>> {
        self.core.lock().take(ticket)
    }

    /// Ends a wait; a connection that was granted meanwhile goes to the next.
    pub fn cancel_wait(self: &Arc<Pool>, ticket: Ticket, home: Home) {
        let granted = self.core.lock().cancel(ticket);
        if let Some(server) = granted {
            self.release(server, home, Instant::now());
        }
    }

    /// Takes back a connection that is clean.
    pub fn release(self: &Arc<Pool>, mut server: Box<Server>, home: Home, now: Instant) {
        // It is in no transaction.
        server.state.writes.end();
        if let Some(why) = self.must_close(&server, now) {
            return self.discard(server, why);
        }
        if server.is_being_cancelled() {
            // A late cancel must not hit the next client's query.
            return self.recycle(server, recycle::Work::Check);
        }
        server.checked = now;
        server.info.set_activity(Activity::Idle, 0);
        let index = home.index(self.shared.workers);
        let mut core = self.core.lock();
        let too_many = match (core.is_over_limit(), core.wants_place()) {
            (true, _) => Some("over the pool's size"),
            (_, true) => Some(own::EVICTED),
            _ => None,
        };
        if let Some(why) = too_many {
            drop(core);
            return self.discard(server, why);
        }
        let woken = core.release(index, server, now);
        drop(core);
        if let Some(waker) = woken {
            waker.wake();
        }
    }

    fn must_close(&self, server: &Server, now: Instant) -> Option<&'static str> {
        let lifetime = self.settings.load().database.server.lifetime;
        if self.closed.load(Ordering::Relaxed) {
            Some("database configuration changed")
        } else if self.pausing.load(Ordering::Relaxed) {
            Some("pause mode")
        } else if self.is_obsolete(server) {
            Some("obsolete connection")
        } else if server.age(now) >= lifetime {
            // Zero: every connection serves once.
            Some("server lifetime over")
        } else if self.budgets.iter().any(|b| b.is_short()) && self.core.lock().waiting() == 0 {
            Some("evicted")
        } else {
            None
        }
    }

    /// Whether another one is to take its place.
    fn is_obsolete(&self, server: &Server) -> bool {
        server.generation != self.generation.load(Ordering::Relaxed) || server.info.is_closing()
    }

    /// Closes a connection that was lent.
    pub fn discard(self: &Arc<Pool>, server: Box<Server>, why: &'static str) {
        self.shard(Home::Control).discards.add(1);
        self.log_closing(&server, why);
        drop(server);
        self.core.lock().lost();
        self.room_made();
    }

    /// There is room for a connection: those who wait get it.
    fn room_made(self: &Arc<Pool>) {
        let wanted = {
            let core = self.core.lock();
            core.waiting() > 0 || core.wants_place()
        };
        if wanted {
            self.connect_more();
        }
    }

    fn log_closing(&self, server: &Server, why: &str) {
        if self.settings.load().log.disconnections {
            let info = &server.info;
            tracing::info!(server = info.id, database = %info.database, user = %info.user,
                peer = %info.peer, reason = why, age = server.created.elapsed().as_secs(),
                "server connection closed");
        }
    }

    /// All connections made so far are closed as they become free; new ones take their place.
    pub fn reconnect(self: &Arc<Pool>) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        let servers = self.servers.all();
        servers
            .iter()
            .filter(|s| self.has(s))
            .for_each(|s| s.set_closing());
        self.close_idle(|_, _| true, 0, "obsolete connection");
        if let Some(reads) = self.reads() {
            reads.pool.reconnect();
        }
    }

    /// Its database is gone: no connection is reused, and nobody waits any longer.
    pub fn close(self: &Arc<Pool>) {
        self.closed.store(true, Ordering::Relaxed);
        self.reconnect();
        let mut waiting = self.core.lock().fail_waiters();
        waiting.extend(self.core.lock().fail_places());
        waiting.into_iter().for_each(Waker::wake);
        if let Some(reads) = self.reads() {
            reads.pool.close();
        }
    }

    /// Takes note whether it is used; how long it has not been.
    fn note_use(&self, used: bool, now: Instant) -> std::time::Duration {
        let mut since = self.unused_since.lock();
        if used {
            *since = None;
            return std::time::Duration::ZERO;
        }
        now.saturating_duration_since(*since.get_or_insert(now))
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn close_idle(
        &self,
        which: impl FnMut(&mut Box<Server>, std::time::Duration) -> bool,
        keep: usize,
        why: &'static str,
    ) {
        let closed = self.core.lock().close_idle(Instant::now(), keep, which);
        for server in closed {
            self.log_closing(&server, why);
            drop(server);
        }
    }

    /// New values from the configuration; connections to another server or with other TLS
    /// settings are replaced as they become free.
    pub fn apply(self: &Arc<Pool>, settings: PoolSettings, endpoints: Endpoints, moved: bool) {
        self.core.lock().set_limits(settings.limits);
        self.settings.store(Arc::new(settings));
        self.endpoints.store(Arc::new(endpoints));
        if moved {
            self.welcome.lock().forget();
            self.reconnect();
        }
    }

    /// Where the server user's password comes from, if it changes.
    pub fn passwords(&self) -> Option<Arc<Passwords>> {
        self.passwords.load_full()
    }

    pub fn set_passwords(&self, passwords: Option<Arc<Passwords>>) {
        if let Some(reads) = self.reads() {
            reads.pool.set_passwords(passwords.clone());
        }
        self.passwords.store(passwords);
    }

    /// What a client's login has proved can be used for the server, too.
    pub fn offer_credentials(&self, offered: Credentials) {
        if let Some(reads) = self.reads() {
            reads.pool.offer_credentials(offered.clone());
        }
        let mut credentials = self.credentials.lock();
        // A password that we know is good for every method; keys from a login only for SCRAM.
        let better = !matches!(
            (&*credentials, &offered),
            (_, Credentials::None) | (Credentials::Secret(_), Credentials::ScramKeys(_))
        );
        let something = !matches!(offered, Credentials::None);
        if better {
            *credentials = offered;
        }
        drop(credentials);
        if something {
            // A refusal for want of them says nothing any more.
            self.health.lock().retry_refused(Instant::now());
        }
    }
}
