//! The composition root: builds everything from the configuration, runs it, reloads it, ends it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use sd_notify::NotifyState;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc};

use crate::admin::console::{Actions, Console, ShutdownMode};
use crate::client::cancels::Cancels;
use crate::client::directory::Directory;
use crate::client::elsewhere::Turns;
use crate::client::info::{ClientInfo, Clock, Control};
use crate::client::login::{self, ClientLimits, Door};
use crate::client::task::{ClientParts, End, Farewell, Surroundings};
use crate::client::users::Users;
use crate::config::reload;
use crate::config::{Config, SslMode};
use crate::dns::Resolver;
use crate::dns::name_servers::NameServers;
use crate::entrances::{Entrances, Passed};
use crate::handover::{give, take};
use crate::net::tls_server::TlsServer;
use crate::peering::Peers;
use crate::pool::maintain;
use crate::pool::registry::Pools;
use crate::pool::{Origin, Shared};
use crate::process::PidFile;
use crate::shared::Tier;
use crate::telemetry::log::SetLog;
use crate::worker::Workers;

pub(crate) mod signals;

use signals::Signals;
pub(crate) use signals::tell_systemd;

/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(50);
/// Password hashes computed at once.
const HASHING: usize = 2;

/// Orders to the running process, from signals and from the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Clients go as their transactions end, and all go when the time is up.
    Drain,
    /// Clients stay as long as they like.
    WaitForClients,
    Now,
}

/// Everything that can be checked without opening a port.
///
/// # Errors
/// Certificates or keys that cannot be used.
pub fn check(config: &Config) -> anyhow::Result<()> {
    tls_server(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let handle = runtime.handle().clone();
    let shared = Shared::new(handle, 1, resolver(config)?, None, Origin::default());
    Pools::new(Arc::new(config.clone()), shared)?;
    Ok(())
}

fn resolver(config: &Config) -> anyhow::Result<Arc<Resolver>> {
    let file = config.dns.resolv_conf.as_deref();
    let servers = NameServers::new(file).with_context(|| match file {
        Some(file) => format!("general.resolv_conf: cannot use {}", file.display()),
        None => "name servers".to_owned(),
    })?;
    Ok(Resolver::new(&config.dns, Box::new(servers)))
}

fn tls_server(config: &Config) -> anyhow::Result<Option<Arc<TlsServer>>> {
    if config.client_tls.mode == SslMode::Disable {
        return Ok(None);
    }
    let server = TlsServer::new(&config.client_tls).context("client_tls")?;
    Ok(Some(Arc::new(server)))
}

/// What leads to [`serve`].
struct Ways {
    orders: mpsc::UnboundedSender<Order>,
    /// Clients that move to another process.
    departing: mpsc::UnboundedSender<ClientParts>,
    successor: mpsc::Sender<UnixStream>,
}

/// Runs until it is told to stop. With `take_over`, begins with the sockets and clients of the
/// process that runs already.
///
/// # Errors
/// What keeps it from starting.
pub fn run(config: Config, set_log: SetLog, take_over: bool) -> anyhow::Result<()> {
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .context("control runtime")?;
    let workers = Arc::new(Workers::start(config.workers).context("relay workers")?);
    let result = control.block_on(serve(config, set_log, take_over, Arc::clone(&workers)));
    // Tasks on the control runtime may hold clients; they go first.
    control.shutdown_timeout(Duration::from_millis(200));
    if let Ok(workers) = Arc::try_unwrap(workers) {
        workers.stop();
    }
    result
}

async fn serve(
    config: Config,
    set_log: SetLog,
    take_over: bool,
    workers: Arc<Workers>,
) -> anyhow::Result<()> {
    // Before anybody can reach us: a signal without a handler would end the process.
    let caught = Signals::catch().context("cannot handle signals")?;
    config
        .notes()
        .iter()
        .for_each(|note| tracing::warn!("{note}"));
    let config = Arc::new(config);
    let taken = match take_over {
        true => take::ask(&config).await?,
        false => None,
    };
    if take_over && taken.is_none() {
        tracing::info!("no process to take over from: starting as usual");
    }
    let origin = taken.as_ref().map(|t| t.origin).unwrap_or_default();
    let (orders, mut inbox) = mpsc::unbounded_channel();
    let (departing, mut departures) = mpsc::unbounded_channel();
    let (successor, mut successors) = mpsc::channel(1);
    let ways = Ways {
        orders: orders.clone(),
        departing,
        successor,
    };
    let door = build(&config, &workers, &set_log, origin, ways)?;
    let (passed, mut taker) = match taken.map(take::Taken::split) {
        Some((passed, taker)) => (passed, Some(taker)),
        None => (Passed::default(), None),
    };
    let mut entrances = Entrances::open(&config, passed)?;
    if let Some(taker) = &mut taker {
        taker.prepare(&door);
    }
    if let Some(tier) = &door.pools.shared().tier {
        tokio::spawn(Arc::clone(tier).run(door.pools.caches()));
        tier.joined().await;
    }
    door.pools.open_minimum();
    entrances.announce();
    entrances.let_in(&door);
    tokio::spawn(Arc::clone(&door.console).keep_averages());
    tokio::spawn(maintain::run(
        Arc::clone(&door.pools),
        door.surroundings.clock,
    ));
    tokio::spawn(Arc::clone(&door.pools.shared().resolver).watch_zones());
    tokio::spawn(sweep(Arc::clone(&door)));
    tokio::spawn(vacate(Arc::clone(&door)));
    tokio::spawn(watch_users(Arc::clone(&door), Arc::clone(&set_log)));
    tokio::spawn(signals::obey(Arc::clone(&door), set_log, orders, caught));
    let write = match taker {
        Some(_) => PidFile::take_over,
        None => PidFile::write,
    };
    let pidfile = config.pidfile.as_deref().map(write).transpose()?;
    if let Some(taker) = taker {
        taker.ready().await?;
        entrances.take_possession();
        tokio::spawn(taker.run(Arc::clone(&door)));
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        workers = workers.len(),
        "pgweir is ready"
    );
    tell_systemd(&[NotifyState::Ready]);

    let order = loop {
        let successor = tokio::select! {
            order = inbox.recv() => break order,
            Some(successor) = successors.recv() => successor,
            // One that was asked to move before that came to nothing.
            Some(client) = departures.recv() => {
                login::settle_again(&door, client);
                continue;
            }
        };
        let handing = give::hand_over(&door, successor, &mut entrances, &mut departures);
        let handed = tokio::select! {
            handed = handing => handed,
            order = inbox.recv() => {
                tracing::warn!("told to shut down while handing over");
                entrances.leave_behind();
                break order;
            }
        };
        match handed {
            Ok(given) => {
                let (clients, cut_off) = (given.clients, given.cut_off);
                tracing::info!(clients, cut_off, "handed over");
                leave_tier(&door).await;
                return Ok(());
            }
            Err(error) => {
                tracing::warn!(%error, "not handed over: going on");
                if let Some(pidfile) = &pidfile {
                    pidfile.write_again()?;
                }
            }
        }
    };
    tell_systemd(&[NotifyState::Stopping]);
    // The console is still reached by its Unix socket; who comes there for a database is told.
    entrances.close_tcp();
    let leaving = async {
        match order {
            Some(Order::Drain) => drain(&door).await,
            Some(Order::WaitForClients) => wait_for_clients(&door).await,
            Some(Order::Now) | None => {}
        }
    };
    tokio::select! {
        () = leaving => {}
        // A second order ends it at once.
        _ = inbox.recv() => tracing::warn!("told again to shut down: not waiting for clients"),
    }
    entrances.close();
    leave_tier(&door).await;
    Ok(())
}

async fn leave_tier(door: &Door) {
    if let Some(tier) = &door.pools.shared().tier {
        tier.leave(&door.pools.caches()).await;
    }
}

fn build(
    config: &Arc<Config>,
    workers: &Arc<Workers>,
    set_log: &SetLog,
    origin: Origin,
    ways: Ways,
) -> anyhow::Result<Arc<Door>> {
    let handle = tokio::runtime::Handle::current();
    let clock = Clock::start();
    let tier = config.cache.shared.clone();
    let tier = tier.map(|settings| Tier::new(settings, clock, handle.clone()));
    let shared = Shared::new(handle, workers.len(), resolver(config)?, tier, origin);
    let pools = Arc::new(Pools::new(Arc::clone(config), shared)?);
    let directory = Arc::new(Directory::default());
    let surroundings = Arc::new(Surroundings {
        clock,
        max_packet_size: config.max_packet_size,
        no_simple_queries: config.startup.no_simple_queries,
        farewell: Box::new(Leaving {
            directory: Arc::clone(&directory),
            pools: Arc::clone(&pools),
            departing: ways.departing,
        }),
    });
    let mut mock_key = [0; 32];
    aws_lc_rs::rand::fill(&mut mock_key).map_err(|_| anyhow::anyhow!("no random numbers"))?;
    let tls = tls_server(config)?;
    let door = Arc::new_cyclic(|door| {
        let remote = Remote {
            door: door.clone(),
            set_log: Arc::clone(set_log),
            orders: ways.orders,
        };
        Door {
            config: ArcSwap::new(Arc::clone(config)),
            tls: ArcSwapOption::new(tls),
            console: Console::new(
                Arc::clone(&pools),
                Arc::clone(&directory),
                clock,
                Box::new(remote),
                door.clone(),
            ),
            peers: Peers::new(config, Arc::clone(&pools.shared().resolver)),
            pools,
            directory,
            cancels: Cancels::default(),
            workers: Arc::clone(workers),
            users: Users::default(),
            surroundings,
            draining: AtomicBool::new(false),
            hashing: Arc::new(Semaphore::new(HASHING)),
            turns: Turns::default(),
            mock_key,
            limits: ClientLimits::new(config.max_client_conn),
            set: Mutex::default(),
            arriving: AtomicUsize::new(0),
            successors: ways.successor,
            before: ArcSwapOption::empty(),
        }
    });
    Ok(door)
}

/// Wakes the clients whose deadline has passed.
async fn sweep(door: Arc<Door>) {
    let mut interval = tokio::time::interval(SWEEP);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let now = door.surroundings.clock.millis(Instant::now());
        door.directory.for_each(|client| {
            if client.deadline() <= now {
                client.request(Control::Deadline);
            }
        });
    }
}

/// How often it is looked at who has a server connection that is to be closed.
const VACATE: Duration = Duration::from_millis(100);

/// Asks the clients to go whose server connections are to be closed (`server_fast_close`).
async fn vacate(door: Arc<Door>) {
    loop {
        tokio::time::sleep(VACATE).await;
        if !door.config.load().server_fast_close {
            continue;
        }
        let servers = door.pools.servers();
        let closing = servers.iter().filter(|server| server.is_closing());
        let holders: HashSet<u64> = closing.map(|server| server.client()).collect();
        if holders.is_empty() {
            continue;
        }
        door.directory.for_each(|client| {
            if holders.contains(&client.id) {
                client.request(Control::Vacate);
            }
        });
    }
}

/// How often the user list is looked at.
const WATCH: Duration = Duration::from_secs(1);

/// Takes over the user list when its file changes, without a reload, as PgBouncer does.
async fn watch_users(door: Arc<Door>, set_log: SetLog) {
    let written = |door: &Door| {
        let file = door.config.load().auth.file.clone()?;
        let metadata = std::fs::metadata(&file).ok()?;
        Some((file, metadata.modified().ok()?, metadata.len()))
    };
    let mut before = written(&door);
    loop {
        tokio::time::sleep(WATCH).await;
        let now = written(&door);
        if now == before {
            continue;
        }
        before = now;
        let (door, set_log) = (Arc::clone(&door), Arc::clone(&set_log));
        let take_over = move || {
            let set = door.set.lock();
            let new = door.config.load().with_settings(&set)?;
            apply_config(&door, &set_log, new)
        };
        match tokio::task::spawn_blocking(take_over).await {
            Ok(Ok(_)) => tracing::info!("the user list has changed"),
            Ok(Err(error)) => tracing::warn!("the user list has changed, but: {error}"),
            Err(error) => tracing::error!(%error, "reading the user list failed"),
        }
    }
}

/// No new logins; clients go as their transactions end, and all go when the time is up.
async fn drain(door: &Door) {
    door.draining.store(true, Ordering::Relaxed);
    let limit = door.config.load().shutdown_timeout;
    tracing::info!(clients = door.directory.len(), ?limit, "shutting down");
    let began = Instant::now();
    while !door.directory.is_empty() && (limit.is_zero() || began.elapsed() < limit) {
        // Each time, for those whose login was under way.
        door.directory.for_each(|c| c.request(Control::Drain));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cut_off(door).await;
}

async fn cut_off(door: &Door) {
    door.directory.for_each(|c| c.request(Control::Kill));
    let deadline = Instant::now() + Duration::from_millis(500);
    while !door.directory.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// No new logins; clients go when they like, and all go when the time is up.
async fn wait_for_clients(door: &Door) {
    door.draining.store(true, Ordering::Relaxed);
    tracing::info!(
        clients = door.directory.len(),
        "shutting down when the last client is gone"
    );
    let limit = door.config.load().shutdown_timeout;
    let began = Instant::now();
    while !door.directory.is_empty() && (limit.is_zero() || began.elapsed() < limit) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cut_off(door).await;
}

/// Reads the configuration again and applies what can change. Gives warnings.
fn reload_config(door: &Door, set_log: &SetLog) -> Result<Vec<String>, String> {
    let new = door.config.load().reload().map_err(|first| {
        let all: Vec<String> = first.all().map(ToString::to_string).collect();
        all.join("\n")
    })?;
    door.set.lock().clear();
    apply_config(door, set_log, new)
}

fn apply_config(door: &Door, set_log: &SetLog, mut new: Config) -> Result<Vec<String>, String> {
    let old = door.config.load_full();
    let notes = new.notes();
    let report = reload::diff(&old, &new);
    reload::keep_fixed(&old, &mut new);
    // Certificates are read again even if their names are the same.
    let tls = tls_server(&new).map_err(|e| format!("{e:#}"))?;
    let new = Arc::new(new);
    door.pools
        .apply(Arc::clone(&new))
        .map_err(|e| e.to_string())?;
    door.pools.open_minimum();
    set_log(&new.log)?;
    door.tls.store(tls);
    door.peers.apply(&new);
    door.limits.set_total(new.max_client_conn);
    door.users.forget();
    door.config.store(new);
    tracing::info!(applied = ?report.applied, "configuration reloaded");
    let keys = report.needs_restart.into_iter();
    let kept = keys.map(|key| {
        format!("{key} cannot change while pgweir runs; it keeps its value until a restart")
    });
    Ok(notes.into_iter().chain(kept).collect())
}

/// Takes clients off the list.
#[derive(Debug)]
struct Leaving {
    directory: Arc<Directory>,
    pools: Arc<Pools>,
    departing: mpsc::UnboundedSender<ClientParts>,
}

impl Farewell for Leaving {
    fn gone(&self, info: &ClientInfo, end: &End) {
        self.directory.leave(info);
        if self.pools.config().log.disconnections {
            tracing::info!(client = info.id, database = %info.database, user = %info.user,
                peer = %info.peer, reason = %end.reason(), age = info.age().as_secs(), "client gone");
        }
    }

    fn moves(&self, client: ClientParts) {
        let info = Arc::clone(&client.info);
        // Fails only at the end, when it is closed with everything else. First this: who finds
        // nobody left must find the client on its way.
        let _ = self.departing.send(client);
        self.directory.leave(&info);
    }
}

/// What the console can do to the process.
struct Remote {
    door: std::sync::Weak<Door>,
    set_log: SetLog,
    orders: mpsc::UnboundedSender<Order>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remote")
    }
}

impl Actions for Remote {
    fn reload(&self) -> Result<Vec<String>, String> {
        match self.door.upgrade() {
            Some(door) => reload_config(&door, &self.set_log),
            None => Err("shutting down".to_owned()),
        }
    }

    fn set(&self, key: &str, value: &str) -> Result<(), String> {
        let door = self.door.upgrade().ok_or("shutting down")?;
        let mut set = door.set.lock();
        set.push((key.to_owned(), value.to_owned()));
        let new = door.config.load().with_settings(&set);
        let applied = new.and_then(|new| apply_config(&door, &self.set_log, new));
        if applied.is_err() {
            set.pop();
        }
        applied.map(drop)
    }

    fn shutdown(&self, mode: ShutdownMode) {
        let order = match mode {
            ShutdownMode::Immediate => Order::Now,
            ShutdownMode::WaitForServers => Order::Drain,
            ShutdownMode::WaitForClients => Order::WaitForClients,
        };
        let _ = self.orders.send(order);
    }
}
