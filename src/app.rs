//! The composition root: builds everything from the configuration, runs it, reloads it, ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use sd_notify::NotifyState;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::admin::console::Console;
use crate::client::cancels::Cancels;
use crate::client::directory::Directory;
use crate::client::elsewhere::Turns;
use crate::client::hashing::Hashing;
use crate::client::info::Clock;
use crate::client::login::{self, ClientLimits, Door, Gate};
use crate::client::task::{ClientParts, Surroundings};
use crate::client::users::Users;
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
use crate::process::{PidFile, yield_to_others};
use crate::shared::Tier;
use crate::telemetry::log::Logging;
use crate::telemetry::traces::Tracer;
use crate::worker::Workers;

mod leaving;
mod remote;
pub(crate) mod signals;
mod watch;

use leaving::{Leaving, drain, wait_for_clients};
use remote::Remote;
pub(in crate::app) use remote::reload_config;
use signals::Signals;
pub(crate) use signals::tell_systemd;

/// Most password hashes computed at once.
const HASHING: usize = 8;

/// Password hashes computed at once: on half of the cores at most, so that a storm of logins leaves the
/// relay workers theirs (benches/login_storm.rs measures it).
fn hashing() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, HASHING)
}

/// How much the threads that do everything but relay (logins, connects, the console, HTTP) yield to those that do, as
/// `nice` counts: a third as much of a busy core is left to one of them as to a worker, so a storm of logins is
/// served in the gaps between queries, and still is when there are none.
const CONTROL_NICENESS: i32 = 5;

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
pub fn run(config: Config, logging: Arc<Logging>, take_over: bool) -> anyhow::Result<()> {
    let tracer = Tracer::start(&config.traces).map_err(anyhow::Error::msg)?;
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .on_thread_start(|| yield_to_others(CONTROL_NICENESS))
        .enable_all()
        .build()
        .context("control runtime")?;
    let workers = Arc::new(Workers::start(config.workers).context("relay workers")?);
    let outward = Outward {
        logging,
        tracer: tracer.clone(),
    };
    let result = control.block_on(serve(config, outward, take_over, Arc::clone(&workers)));
    // Tasks on the control runtime may hold clients; they go first.
    control.shutdown_timeout(Duration::from_millis(200));
    if let Ok(workers) = Arc::try_unwrap(workers) {
        workers.stop();
    }
    if let Some(tracer) = tracer {
        tracer.finish(LAST_SPANS);
    }
    result
}

/// How long the process waits in the end for spans to be taken.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// What the process tells others about itself.
#[derive(Debug, Clone)]
struct Outward {
    logging: Arc<Logging>,
    tracer: Option<Arc<Tracer>>,
}

async fn serve(
    config: Config,
    outward: Outward,
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
    let door = build(&config, &workers, &outward, origin, ways)?;
    let logging = outward.logging;
    let (passed, mut taker) = match taken.map(take::Taken::split) {
        Some((passed, taker)) => (passed, Some(taker)),
        None => (Passed::default(), None),
    };
    let mut entrances = Entrances::open(&config, passed)?;
    if let Some(taker) = &mut taker {
        taker.prepare(&door);
    }
    if taker.is_none() {
        // Whoever waits for us can see how far we are; of two processes, the other one answers.
        entrances.answer_http(&door);
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
    tokio::spawn(Arc::clone(&logging).keep_reporting());
    tokio::spawn(watch::sweep(Arc::clone(&door)));
    tokio::spawn(watch::vacate(Arc::clone(&door)));
    tokio::spawn(watch::watch_users(Arc::clone(&door), Arc::clone(&logging)));
    tokio::spawn(signals::obey(Arc::clone(&door), logging, orders, caught));
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
    door.console.begin();
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
    outward: &Outward,
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
        tracer: outward.tracer.clone(),
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
            outward: outward.clone(),
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
            hashing: Hashing::new(hashing()),
            turns: Turns::default(),
            mock_key,
            limits: ClientLimits::new(config.max_client_conn),
            set: Mutex::default(),
            arriving: AtomicUsize::new(0),
            gate: Gate::default(),
            successors: ways.successor,
            before: ArcSwapOption::empty(),
        }
    });
    Ok(door)
}
