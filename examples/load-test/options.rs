//! The command line, as `scripts/load-test` writes it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};

use crate::limits;
use crate::run::{Place, Plan, Target};
use crate::work::USERS_MAX;

#[derive(Parser)]
#[command(about = "Users who log in at once, think, ask, and check every answer")]
pub struct Options {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Make and fill the tables, in an empty database
    Fill(Fill),
    /// Run the stages against each pooler in turn, and write a report
    Run(Run),
}

/// PostgreSQL on 127.0.0.1, and who logs in there and at the poolers.
#[derive(Args)]
pub struct LoginOptions {
    #[arg(long)]
    pub postgres_port: u16,
    #[arg(long, default_value = "postgres")]
    pub user: String,
    #[arg(long, default_value = "shop")]
    pub database: String,
}

impl LoginOptions {
    /// From the environment, where `ps` does not show it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn password(&self) -> Result<String> {
        std::env::var("PGPASSWORD").context("PGPASSWORD must be set to the user's password")
    }
}

#[derive(Args)]
pub struct Fill {
    #[command(flatten)]
    pub login: LoginOptions,
}

#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    pub login: LoginOptions,
    /// Process number of the postmaster, whose CPU and memory are measured
    #[arg(long)]
    pub postmaster: u32,
    /// A pooler on 127.0.0.1, as NAME=PORT:PID; several are run one after the other
    #[arg(long = "target", value_parser = target, required = true)]
    pub targets: Vec<Target>,
    /// Numbers of users, growing
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "100,1000,5000,10000,13000"
    )]
    pub stages: Vec<usize>,
    /// How long each stage is measured
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// How long after the logins of a stage that begins
    #[arg(long, default_value_t = 5.0)]
    pub settle: f64,
    /// Mean time between an answer and the same user's next request, in seconds
    #[arg(long, default_value_t = 10.0)]
    pub think: f64,
    /// Seconds after which a request counts as failed
    #[arg(long, default_value_t = 10.0)]
    pub timeout: f64,
    /// Seconds for which all users ask without thinking, at the end; 0 leaves it out
    #[arg(long, default_value_t = 20.0)]
    pub saturate: f64,
    /// Constant load of the last stage's users for so many minutes (at least 1), instead of the stages
    #[arg(long)]
    pub soak: Option<f64>,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Directory for report.html, report.md and the charts
    #[arg(long)]
    pub report: PathBuf,
}

impl Run {
    /// # Errors
    /// What is out of range.
    pub fn plan(&self) -> Result<Plan> {
        let most = self.stages.iter().copied().max().unwrap_or(0);
        ensure!(
            most <= USERS_MAX,
            "--stages: at most {USERS_MAX} users, which is what the tables are made for"
        );
        ensure!(
            most > 0 && self.stages.is_sorted(),
            "--stages: numbers of users that grow, such as 100,1000"
        );
        for (name, value, least) in [
            ("seconds", self.seconds, 1.0),
            ("settle", self.settle, 0.0),
            ("think", self.think, 0.001),
            ("timeout", self.timeout, 0.001),
            ("saturate", self.saturate, 0.0),
            ("soak", self.soak.unwrap_or(1.0), 1.0),
        ] {
            ensure!(
                (least..=1e6).contains(&value),
                "--{name}: {least} to 1000000"
            );
        }
        let timeout = Duration::from_secs_f64(self.timeout);
        let plan = Plan {
            stages: self.stages.clone(),
            seconds: self.seconds,
            settle: self.settle,
            think: self.think,
            timeout,
            saturate: self.saturate,
            seed: self.seed,
        };
        Ok(match self.soak {
            None => plan,
            Some(minutes) => Plan {
                stages: vec![most],
                seconds: minutes * 60.0,
                saturate: 0.0,
                ..plan
            },
        })
    }

    /// # Errors
    /// When a process is not there.
    pub fn place(&self) -> Result<Place> {
        let login = &self.login;
        let pids = self.targets.iter().map(|target| target.pid);
        for pid in pids.chain([self.postmaster]) {
            if crate::procfs::process(pid, 1.0).is_none() {
                bail!("there is no process {pid}");
            }
        }
        Ok(Place {
            postgres_port: login.postgres_port,
            postmaster: self.postmaster,
            user: login.user.clone(),
            password: login.password()?,
            database: login.database.clone(),
            ticks: limits::ticks(),
        })
    }
}

fn target(text: &str) -> Result<Target, String> {
    let parse = || {
        let (name, place) = text.split_once('=')?;
        let (port, pid) = place.split_once(':')?;
        Some(Target {
            name: name.to_string(),
            port: port.parse().ok()?,
            pid: pid.parse().ok()?,
        })
    };
    parse().ok_or_else(|| "NAME=PORT:PID is expected".into())
}
