//! The console: what an operator can see and do in the database `pgweir`. How it is said on the
//! wire is in [`session`](super::session).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use super::command::{self, Command, Flush, Show};
use super::session::Answer;
use super::show::{self, Table};
use crate::client::cancels::CancelRequest;
use crate::client::directory::Directory;
use crate::client::info::{ClientInfo, Clock, Control, log_client};
use crate::client::login::Door;
use crate::config::Config;
use crate::peering::Peer;
use crate::pool::registry::Pools;
use crate::pool::stats::{Shard, Totals};
use crate::protocol::encode;
use crate::protocol::sqlstate;
use crate::server::connect::Address;
use crate::telemetry::journal::Journal;
use crate::telemetry::metrics::Scrapes;
use parking_lot::Mutex;

pub use super::session::serve;

mod control;

/// Who is at the console.
#[derive(Debug, Clone)]
pub struct ConsoleUser {
    pub name: String,
    /// May do more than look.
    pub is_admin: bool,
}

/// From where a command comes.
#[derive(Debug)]
pub(super) enum Giver<'a> {
    /// Who has logged in to the console.
    Operator(&'a ClientInfo),
    /// Somebody at the page, who has shown the admin's password and has no name.
    Page(SocketAddr),
}

impl Giver<'_> {
    /// The log says who has given a command.
    fn tell(&self, deed: &str) {
        match self {
            Giver::Operator(info) => log_client!(info, info, "{deed} command issued"),
            Giver::Page(peer) => tracing::info!(%peer, by = "page", "{deed} command issued"),
        }
    }

    /// And that nothing has come of it.
    fn tell_failure(&self, deed: &str, error: &str) {
        match self {
            Giver::Operator(info) => log_client!(warn, info, error, "{deed} failed"),
            Giver::Page(peer) => tracing::warn!(%peer, by = "page", error, "{deed} failed"),
        }
    }
}

/// Whom a shutdown waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    Immediate,
    WaitForServers,
    WaitForClients,
}

/// What the console can do to the process.
pub trait Actions: Send + Sync + std::fmt::Debug {
    /// Reads the configuration again; gives warnings.
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed.
    fn reload(&self) -> Result<Vec<String>, String>;
    /// Changes one of PgBouncer's settings until the next reload.
    ///
    /// # Errors
    /// Why it cannot be so; nothing has changed.
    fn set(&self, key: &str, value: &str) -> Result<(), String>;
    fn shutdown(&self, mode: ShutdownMode);
    /// What the process should have told and has not: names and numbers for metrics.
    fn untold(&self) -> Vec<Untold>;
}

/// What the process tells others, or could not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Lines of the log that were too many of their kind.
    LogLinesLeftOut,
    /// Lines of the log that came faster than they could be written.
    LogLinesLost,
    /// Reports that did not reach Sentry.
    ErrorReports,
    /// Transactions whose spans were taken.
    Traced,
    /// Transactions whose spans did not reach the receiver.
    TracedLost,
}

/// How often that was so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untold {
    pub what: What,
    pub count: u64,
}

/// Totals at the two ends of the last full period.
#[derive(Debug, Default, Clone, Copy)]
pub struct Period {
    pub start: Totals,
    pub end: Totals,
    pub micros: u64,
}

/// What the console and the HTTP port look at.
#[derive(Debug)]
pub struct Console {
    pools: Arc<Pools>,
    directory: Arc<Directory>,
    clock: Clock,
    actions: Box<dyn Actions>,
    door: Weak<Door>,
    periods: Mutex<HashMap<Arc<str>, Period>>,
    operators: Mutex<Vec<Weak<ClientInfo>>>,
    /// All sockets are open, and what was taken over is ours.
    begun: AtomicBool,
    /// Sockets that are listened on: descriptor and address.
    listening: Mutex<Vec<(i32, Address)>>,
    /// What operators have done.
    shard: Shard,
    pub(super) scrapes: Scrapes,
    journal: Journal,
}

impl Console {
    pub fn new(
        pools: Arc<Pools>,
        directory: Arc<Directory>,
        clock: Clock,
        actions: Box<dyn Actions>,
        door: Weak<Door>,
    ) -> Arc<Console> {
        Arc::new(Console {
            pools,
            directory,
            clock,
            actions,
            door,
            periods: Mutex::default(),
            operators: Mutex::default(),
            begun: AtomicBool::new(false),
            listening: Mutex::default(),
            shard: Shard::default(),
            scrapes: Scrapes::default(),
            journal: Journal::default(),
        })
    }

    /// See [`Actions::untold`].
    pub fn untold(&self) -> Vec<Untold> {
        self.actions.untold()
    }

    /// Somebody has logged in to the console.
    pub(super) fn welcome(&self, operator: &Arc<ClientInfo>) {
        self.shard.logins.add(1);
        let mut operators = self.operators.lock();
        operators.retain(|o| o.strong_count() > 0);
        operators.push(Arc::downgrade(operator));
    }

    /// Bytes of a command and its answer.
    pub(super) fn count(&self, received: usize, sent: usize) {
        self.shard.queries.add(1);
        self.shard.transactions.add(1);
        self.shard.received.add(received as u64);
        self.shard.sent.add(sent as u64);
    }

    /// Whether the console is among the databases, as in PgBouncer.
    pub(super) fn shows_itself(&self) -> bool {
        self.config().pgbouncer.is_some()
    }

    /// Sockets that are listened on: descriptor and address.
    pub fn listening(&self) -> Vec<(i32, Address)> {
        self.listening.lock().clone()
    }

    pub fn set_listening(&self, sockets: Vec<(i32, Address)>) {
        *self.listening.lock() = sockets;
    }

    /// Who is at the console.
    pub fn operators(&self) -> Vec<Arc<ClientInfo>> {
        let operators = self.operators.lock();
        operators.iter().filter_map(Weak::upgrade).collect()
    }

    /// What has happened lately.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Wrong passwords of clients, so far.
    pub fn wrong_passwords(&self) -> u64 {
        let door = self.door.upgrade();
        door.map_or(0, |door| door.gate.wrong_passwords())
    }

    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The time of day at which the process's clock stood at `millis`.
    pub fn time_of(&self, millis: u64) -> SystemTime {
        SystemTime::now() - Duration::from_millis(self.now().saturating_sub(millis))
    }

    /// Milliseconds on the process's clock.
    pub fn now(&self) -> u64 {
        self.clock.millis(Instant::now())
    }

    pub fn config(&self) -> Arc<Config> {
        self.pools.config()
    }

    /// Cancel requests that nobody has taken yet.
    pub fn cancel_requests(&self) -> Vec<Arc<CancelRequest>> {
        let door = self.door.upgrade();
        door.map_or(Vec::new(), |door| door.cancels.all())
    }

    /// All but this process.
    pub fn peers(&self) -> Vec<Arc<Peer>> {
        let door = self.door.upgrade();
        door.map_or(Vec::new(), |door| door.peers.all())
    }

    /// When the first certificate that clients are shown runs out, in seconds since 1970.
    pub fn certificate_not_after(&self) -> Option<i64> {
        self.door.upgrade()?.tls.load().as_ref()?.not_after()
    }

    /// For how long each relay worker has been busy.
    pub fn busy(&self) -> Vec<Duration> {
        let door = self.door.upgrade();
        door.map_or(Vec::new(), |door| door.workers.busy().collect())
    }

    /// The process has begun to serve.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    pub fn is_draining(&self) -> bool {
        self.door.upgrade().is_none_or(|door| door.is_draining())
    }

    fn by_database(&self) -> BTreeMap<Arc<str>, Totals> {
        let mut all: BTreeMap<Arc<str>, Totals> = BTreeMap::new();
        for pool in self.pools.all() {
            let totals = all.entry(Arc::clone(&pool.database)).or_default();
            pool.add_totals(totals);
        }
        if self.shows_itself() {
            let totals = all.entry("pgbouncer".into()).or_default();
            totals.add(&self.shard);
        }
        all
    }

    /// By database: totals now, and the last period.
    pub fn totals(&self) -> Vec<(Arc<str>, Totals, Period)> {
        let periods = self.periods.lock();
        self.by_database()
            .into_iter()
            .map(|(database, totals)| {
                let period = periods.get(&database).copied().unwrap_or_default();
                (database, totals, period)
            })
            .collect()
    }

    /// Closes a period every `stats_period`, and logs it. Runs for ever.
    pub async fn keep_averages(self: Arc<Console>) {
        loop {
            let began = Instant::now();
            let config = self.config();
            tokio::time::sleep(config.stats_period).await;
            self.end_period(began.elapsed());
            if config.log.stats {
                let all = self.totals().into_iter();
                let sum = all.fold(Totals::default(), |sum, (.., period)| {
                    sum + (period.end - period.start)
                });
                tracing::info!("{}", sum.sentence(began.elapsed()));
            }
        }
    }

    fn end_period(&self, length: Duration) {
        let mut periods = self.periods.lock();
        for (database, end) in self.by_database() {
            let period = periods.entry(database).or_default();
            *period = Period {
                start: period.end,
                end,
                micros: length.as_micros() as u64,
            };
        }
    }

    /// Carries a command out.
    pub(super) fn run(&self, user: &ConsoleUser, by: &Giver<'_>, command: Command) -> Answer {
        if !user.is_admin
            && !matches!(
                command,
                Command::Show(_)
                    | Command::ExplainCache(_)
                    | Command::Parameter(..)
                    | Command::SetIgnored
                    | Command::Empty
            )
        {
            return Answer::Error(
                sqlstate::INSUFFICIENT_PRIVILEGE,
                "admin access needed".into(),
            );
        }
        let Some(deed) = command.deed() else {
            return self.carry_out(user, command);
        };
        by.tell(&deed);
        let answer = self.carry_out(user, command);
        if let Answer::Error(_, error) = &answer {
            by.tell_failure(&deed, error);
        }
        answer
    }

    fn carry_out(&self, user: &ConsoleUser, command: Command) -> Answer {
        match command {
            Command::Empty => Answer::Empty,
            Command::Show(Show::Help) => Answer::Help,
            Command::Show(Show::Fds | Show::Prepared) if !user.is_admin => Answer::Error(
                sqlstate::INSUFFICIENT_PRIVILEGE,
                "admin access needed".into(),
            ),
            Command::Show(show) => Answer::Table(show::table(self, show)),
            Command::ExplainCache(sql) => Answer::Table(show::cache::explain(self, &sql)),
            Command::FlushCache(flush) => self.flush_cache(&flush),
            Command::ResetStatements => {
                self.pools.shared().statements.reset();
                Answer::Done("SHOW STATEMENTS RESET".into(), Vec::new())
            }
            Command::Parameter(name, value) => Answer::Table(Table {
                columns: vec![encode::Column {
                    name,
                    oid: 25,
                    size: -1,
                }],
                rows: vec![vec![Some(value.to_owned())]],
            }),
            Command::SetIgnored => Answer::Done("SET".into(), vec!["SET ignored".to_owned()]),
            Command::Reload => match self.actions.reload() {
                Ok(warnings) => Answer::Done("RELOAD".into(), warnings),
                Err(_) => Answer::Error(
                    sqlstate::CONFIG_FILE_ERROR,
                    "RELOAD failed, see logs for additional details".into(),
                ),
            },
            Command::Set(key, value) => match self.actions.set(&key, &value) {
                Ok(()) => Answer::Done(format!("SET {key}={value}").into(), Vec::new()),
                Err(error) => {
                    let message = format!("SET failed: {error}");
                    Answer::Error(sqlstate::PROTOCOL_VIOLATION, message)
                }
            },
            Command::Pause(database) => self.pause(database),
            Command::Resume(database) => self.resume(database.as_deref()),
            Command::Suspend => self.suspend(),
            Command::Disable(database) => self.set_disabled(&database, true),
            Command::Enable(database) => self.set_disabled(&database, false),
            Command::Kill(database) => self.kill(database.as_deref()),
            Command::WaitClose(database) => self.wait_close(database),
            Command::Reconnect(database) => self.reconnect(database.as_deref()),
            Command::KillClient(id) => self.kill_client(id),
            Command::Shutdown(mode) => {
                self.actions.shutdown(mode);
                Answer::Done("SHUTDOWN".into(), Vec::new())
            }
        }
    }

    fn flush_cache(&self, flush: &Flush) -> Answer {
        let mut found = *flush == Flush::All;
        if found {
            self.pools.caches().store().flush();
        }
        for pool in self.pools.all() {
            let Some(cache) = pool.settings().cache.clone() else {
                continue;
            };
            match flush {
                Flush::All => cache.space.flush(),
                Flush::Database(name) if **name == *pool.database => {
                    found = true;
                    cache.space.flush();
                }
                Flush::Database(_) => {}
                Flush::Table(name) => {
                    if let Some(oid) = cache.relation_oid(name) {
                        found = true;
                        cache.space.mark(oid).bump();
                    }
                }
            }
        }
        if found {
            let what = match flush {
                Flush::All => "everything".to_owned(),
                Flush::Database(name) => format!("database {name}"),
                Flush::Table(name) => format!("table {name}"),
            };
            self.journal.info("cache", format!("cache flushed: {what}"));
            Answer::Done("CACHE FLUSH".into(), Vec::new())
        } else {
            Answer::Error(
                sqlstate::PROTOCOL_VIOLATION,
                "no cache knows a database or table of that name".into(),
            )
        }
    }

    fn kill_client(&self, id: u64) -> Answer {
        let mut found = false;
        self.directory.for_each(|client| {
            if client.id == id {
                found = true;
                client.request(Control::Kill);
            }
        });
        if found {
            Answer::Done("KILL_CLIENT".into(), Vec::new())
        } else {
            Answer::Error(sqlstate::PROTOCOL_VIOLATION, "client not found".into())
        }
    }

    pub(super) fn execute(&self, user: &ConsoleUser, by: &Giver<'_>, text: &[u8]) -> Answer {
        match command::parse(&String::from_utf8_lossy(text)) {
            Ok(command) => self.run(user, by, command),
            Err(message) => Answer::Error(sqlstate::SYNTAX_ERROR, message),
        }
    }
}
