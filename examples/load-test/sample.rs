//! Once a second: what the pooler's console says, what the kernel says, what users have seen.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};

use crate::client::{Connection, Failure, Login};
use crate::procfs::{self, Usage};
use crate::record::Spread;
use crate::user::Shop;

/// One second. CPU is in processors: 1.5 is one and a half of them busy. Memory is in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Seconds since the pooler's run began.
    pub at: f64,
    /// Answers a second.
    pub rate: f64,
    pub failed: u64,
    pub times: Spread,
    pub online: usize,
    pub console: Option<Console>,
    pub pooler: Usage,
    pub postgres: Usage,
    pub generator: Usage,
    /// CPU of everything else on the machine.
    pub others: f64,
}

/// What SHOW POOLS says of the database.
#[derive(Debug, Clone, Copy, Default)]
pub struct Console {
    pub waiting: f64,
    /// Server connections that run something, and all of them.
    pub servers_active: f64,
    pub servers: f64,
}

/// Who is watched.
pub struct Watched {
    pub pooler: u32,
    pub postmaster: u32,
    /// The console's database.
    pub console: Login,
    /// The database that users ask for.
    pub database: String,
    pub shop: Arc<Shop>,
    /// Clock ticks of a second, in which the kernel counts.
    pub ticks: f64,
}

/// All samples so far.
pub type Samples = Arc<Mutex<Vec<Sample>>>;

/// Samples each second until it is aborted.
pub async fn watch(watched: Watched, samples: Samples) {
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    // A late sample is over a longer time, not followed by a burst of short ones.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    let mut console = None;
    let mut before = Spent::now(&watched);
    let mut last = Instant::now();
    loop {
        tick.tick().await;
        let asked = ask_console(&watched, &mut console).await.ok();
        let second = watched.shop.recorder.take_second();
        let now = Spent::now(&watched);
        let seconds = last.elapsed().as_secs_f64();
        last = Instant::now();
        let since = |usage: Usage, before: Usage| Usage {
            cpu: ((usage.cpu - before.cpu) / seconds).max(0.0),
            memory: usage.memory,
        };
        let (pooler, postgres, generator) = (
            since(now.pooler, before.pooler),
            since(now.postgres, before.postgres),
            since(now.generator, before.generator),
        );
        let machine = (now.machine - before.machine) / seconds;
        samples.lock().push(Sample {
            at: began.elapsed().as_secs_f64(),
            rate: second.times.len() as f64 / seconds,
            failed: second.failed,
            times: Spread::from(&second.times),
            online: watched.shop.recorder.online(),
            console: asked,
            pooler,
            postgres,
            generator,
            others: (machine - pooler.cpu - postgres.cpu - generator.cpu).max(0.0),
        });
        before = now;
    }
}

/// CPU times so far.
struct Spent {
    pooler: Usage,
    postgres: Usage,
    generator: Usage,
    machine: f64,
}

impl Spent {
    /// A process that is gone has used nothing; that it is gone is seen elsewhere.
    fn now(watched: &Watched) -> Spent {
        let ticks = watched.ticks;
        Spent {
            pooler: procfs::process(watched.pooler, ticks).unwrap_or_default(),
            postgres: procfs::postgres(watched.postmaster, ticks).unwrap_or_default(),
            generator: procfs::process(std::process::id(), ticks).unwrap_or_default(),
            machine: procfs::machine(ticks).unwrap_or_default(),
        }
    }
}

async fn ask_console(
    watched: &Watched,
    connection: &mut Option<Connection>,
) -> Result<Console, Failure> {
    const PATIENCE: Duration = Duration::from_secs(5);
    // Taken out, so that one that has failed is not used again.
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(&watched.console, 0, PATIENCE).await?,
    };
    let answer = tokio::time::timeout(PATIENCE, open.simple("SHOW POOLS"))
        .await
        .unwrap_or(Err(Failure::Timeout))?;
    *connection = Some(open);
    let columns = answer.columns();
    let mut sum = Console::default();
    for row in answer.rows() {
        let value = |name: &str| {
            let at = columns.iter().position(|column| column == name)?;
            row.get(at)
        };
        let number = |name: &str| -> f64 { value(name).map_or(0.0, |v| v.parse().unwrap_or(0.0)) };
        if value("database") != Some(&watched.database) {
            continue;
        }
        sum.waiting += number("cl_waiting");
        sum.servers_active += number("sv_active");
        sum.servers += ["sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login"]
            .iter()
            .map(|name| number(name))
            .sum::<f64>();
    }
    Ok(sum)
}

/// The mean of something over samples; nothing for none.
pub fn mean(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    if samples.is_empty() {
        return 0.0;
    }
    samples.iter().map(of).sum::<f64>() / samples.len() as f64
}

/// The same for the largest.
pub fn most(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).fold(0.0, f64::max)
}
