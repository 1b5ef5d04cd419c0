//! The stages of one pooler, from the first login to the last goodbye.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use crate::client::{Connection, Login};
use crate::procfs;
use crate::random::Zipf;
use crate::record::{Failures, Recorder, Spread, Tally};
use crate::sample::{self, Sample, Samples, Watched};
use crate::user::{self, Pace, Shop};
use crate::verdict;
use crate::work::{CUSTOMERS, PRODUCTS, USERS_MAX};

/// Users who ask PostgreSQL itself, all the time, for what the others ask the pooler.
const PROBES: usize = 4;
/// What they think, in seconds: often enough for percentiles, too little to be a load.
const PROBE_THINK: f64 = 0.1;
/// The longest that a login may take.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// What is run, the same for each pooler.
pub struct Plan {
    /// Numbers of users, growing.
    pub stages: Vec<usize>,
    /// How long each stage is measured, in seconds.
    pub seconds: f64,
    /// How long after the logins that begins.
    pub settle: f64,
    /// Mean time to think, in seconds.
    pub think: f64,
    /// Longest that a request may take.
    pub timeout: Duration,
    /// How long all users ask without thinking at the end; 0 for not at all.
    pub saturate: f64,
    pub seed: u64,
}

/// Where everything is. All of it is on 127.0.0.1.
pub struct Place {
    pub postgres_port: u16,
    pub postmaster: u32,
    pub user: String,
    pub password: String,
    pub database: String,
    /// Clock ticks of a second.
    pub ticks: f64,
}

/// A pooler under test.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    pub port: u16,
    pub pid: u32,
}

/// What one stage has shown.
pub struct Stage {
    pub users: usize,
    /// Mean time to think; 0 in the stage that shows saturation.
    pub think: f64,
    /// How long it was measured.
    pub seconds: f64,
    /// Users who came at once at its beginning, and how long until the last of them was in.
    pub newcomers: usize,
    pub all_in: f64,
    pub logins: Spread,
    /// Requests of those who were there already, while the newcomers logged in.
    pub storm: Spread,
    /// Requests by kind, in the order of `Kind::ALL`, and all of them.
    pub kinds: Vec<Spread>,
    pub all: Spread,
    pub late: Spread,
    /// The same requests of the probes, past the pooler.
    pub direct_kinds: Vec<Spread>,
    pub direct: Spread,
    /// From the first login on; the probes' begin with "direct".
    pub failures: Failures,
    pub samples: Vec<Sample>,
    /// What the bottleneck was.
    pub verdict: String,
}

impl Stage {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.all.count as f64 / self.seconds
    }

    /// The offered load is what users ask for who think: nothing may fail.
    pub fn is_normal(&self) -> bool {
        self.think > 0.0
    }

    pub fn failed(&self) -> u64 {
        self.failures.values().map(|(count, _)| count).sum()
    }
}

/// All of one pooler.
pub struct Run {
    pub target: Target,
    /// Resident memory before the first login, in bytes.
    pub memory_before: f64,
    /// The same when all had left.
    pub memory_after: f64,
    pub stages: Vec<Stage>,
    pub samples: Vec<Sample>,
}

/// Runs the plan against one pooler, which is told to shut down at the end.
pub async fn run(plan: &Plan, place: &Place, target: &Target) -> Run {
    let memory_before = memory(target, place);
    let mut party = Party::begin(plan, place, target);
    let mut stages = Vec::new();
    for &users in &plan.stages {
        let stage = party.stage(plan, users, plan.think, plan.seconds).await;
        say(target, &stage);
        stages.push(stage);
    }
    if plan.saturate > 0.0 {
        let users = plan.stages.last().copied().unwrap_or(0);
        party.pace.send_replace(Pace::Think(0.0));
        let stage = party.stage(plan, users, 0.0, plan.saturate).await;
        say(target, &stage);
        stages.push(stage);
    }
    party.leave().await;
    if let Some(last) = stages.last_mut() {
        for (what, (count, first)) in party.failures() {
            last.failures.entry(what).or_insert((0, first)).0 += count;
        }
    }
    // Long enough that what was freed is given back.
    sleep(Duration::from_secs(2)).await;
    let memory_after = memory(target, place);
    party.end_probes().await;
    shut_down(place, target).await;
    let samples = party.samples.lock().clone();
    Run {
        target: target.clone(),
        memory_before,
        memory_after,
        stages,
        samples,
    }
}

fn memory(target: &Target, place: &Place) -> f64 {
    procfs::process(target.pid, place.ticks).map_or(0.0, |usage| usage.memory)
}

fn say(target: &Target, stage: &Stage) {
    eprintln!(
        "{}: {} users, {}: {:.0} requests/s, p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, {} failed",
        target.name,
        stage.users,
        if stage.is_normal() {
            "thinking"
        } else {
            "not thinking"
        },
        stage.rate(),
        stage.all.p50,
        stage.all.p95,
        stage.all.p99,
        stage.failed(),
    );
    eprintln!("  bottleneck: {}", stage.verdict);
    for (what, (count, first)) in &stage.failures {
        eprintln!("  {count} × {what} (the first: {first})");
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Everybody who is connected.
struct Party {
    shop: Arc<Shop>,
    pace: watch::Sender<Pace>,
    users: JoinSet<()>,
    direct: Arc<Shop>,
    direct_pace: watch::Sender<Pace>,
    probes: JoinSet<()>,
    samples: Samples,
    sampler: JoinHandle<()>,
}

impl Party {
    /// Nobody but the probes and the sampler, so far.
    fn begin(plan: &Plan, place: &Place, target: &Target) -> Party {
        let zipf = Arc::new(Zipf::new(PRODUCTS));
        let shop_at = |port, first_customer| {
            Arc::new(Shop {
                login: Login::new(local(port), &place.user, &place.password, &place.database),
                recorder: Recorder::new(),
                zipf: zipf.clone(),
                first_customer,
                seed: plan.seed,
                timeout: plan.timeout,
                login_timeout: LOGIN_TIMEOUT,
            })
        };
        let shop = shop_at(target.port, 1);
        // Probes are other customers than users are.
        let direct = shop_at(place.postgres_port, USERS_MAX + 1);
        let (direct_pace, _) = watch::channel(Pace::Think(PROBE_THINK));
        let mut probes = JoinSet::new();
        for probe in 0..PROBES.min(CUSTOMERS - USERS_MAX) {
            let pace = direct_pace.subscribe();
            probes.spawn(user::live(direct.clone(), probe, pace));
        }
        let samples = Samples::default();
        let watched = Watched {
            pooler: target.pid,
            postmaster: place.postmaster,
            console: Login::new(
                local(target.port),
                &place.user,
                &place.password,
                "pgbouncer",
            ),
            database: place.database.clone(),
            shop: shop.clone(),
            ticks: place.ticks,
        };
        Party {
            shop,
            pace: watch::channel(Pace::Think(plan.think)).0,
            users: JoinSet::new(),
            direct,
            direct_pace,
            probes,
            sampler: tokio::spawn(sample::watch(watched, samples.clone())),
            samples,
        }
    }

    /// Brings in those who are missing, all at once, lets it settle, and measures.
    async fn stage(&mut self, plan: &Plan, users: usize, think: f64, seconds: f64) -> Stage {
        let newcomers = users.saturating_sub(self.users.len());
        let began = Instant::now();
        for index in self.users.len()..users {
            let pace = self.pace.subscribe();
            self.users.spawn(user::live(self.shop.clone(), index, pace));
        }
        while self.shop.recorder.online() < users && began.elapsed() < LOGIN_TIMEOUT {
            sleep(Duration::from_millis(10)).await;
        }
        let all_in = began.elapsed().as_secs_f64();
        let storm = self.shop.recorder.take();
        sleep(Duration::from_secs_f64(plan.settle)).await;
        self.shop.recorder.take();
        self.direct.recorder.take();
        let first = self.samples.lock().len();
        let began = Instant::now();
        sleep(Duration::from_secs_f64(seconds)).await;
        let (through, direct) = (self.shop.recorder.take(), self.direct.recorder.take());
        let seconds = began.elapsed().as_secs_f64();
        let samples = self.samples.lock().get(first..).unwrap_or(&[]).to_vec();
        Stage {
            users,
            think,
            seconds,
            newcomers,
            all_in,
            logins: Spread::from(&storm.logins),
            storm: Spread::from(&storm.all()),
            kinds: spreads(&through),
            all: Spread::from(&through.all()),
            late: Spread::from(&through.late),
            direct_kinds: spreads(&direct),
            direct: Spread::from(&direct.all()),
            failures: self.failures(),
            verdict: verdict::verdict(&samples, think),
            samples,
        }
    }

    fn failures(&self) -> Failures {
        let mut all = self.shop.recorder.take_failures();
        let direct = self.direct.recorder.take_failures();
        all.extend(
            direct
                .into_iter()
                .map(|(what, failure)| (format!("direct {what}"), failure)),
        );
        all
    }

    /// Everybody says goodbye after the request that is under way.
    async fn leave(&mut self) {
        self.pace.send_replace(Pace::Leave);
        let gone = async { while self.users.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(30), gone)
            .await
            .is_err()
        {
            eprintln!("{} users did not leave in 30 s", self.users.len());
            self.users.shutdown().await;
        }
    }

    async fn end_probes(&mut self) {
        self.sampler.abort();
        self.direct_pace.send_replace(Pace::Leave);
        while self.probes.join_next().await.is_some() {}
    }
}

fn spreads(tally: &Tally) -> Vec<Spread> {
    tally.kinds.iter().map(Spread::from).collect()
}

/// So that the next pooler has the machine, and PostgreSQL's connections, for itself.
async fn shut_down(place: &Place, target: &Target) {
    let console = Login::new(
        local(target.port),
        &place.user,
        &place.password,
        "pgbouncer",
    );
    let patience = Duration::from_secs(5);
    if let Ok(mut connection) = Connection::open(&console, 0, patience).await {
        // It may close the connection before it answers.
        let _ = tokio::time::timeout(patience, connection.simple("SHUTDOWN")).await;
    }
    let began = Instant::now();
    while procfs::process(target.pid, place.ticks).is_some_and(|usage| usage.memory > 0.0) {
        if began.elapsed() > Duration::from_secs(15) {
            eprintln!("{} does not end; going on beside it", target.name);
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}
