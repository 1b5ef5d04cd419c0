//! The load test: thousands of users who log in at once, think, ask, and check every answer.
//!
//! `scripts/load-test` starts PostgreSQL and the poolers and then this program, which fills the
//! tables (`fill`) or runs the stages against each pooler in turn and writes the report (`run`).
//! [`user`] is one user's life, [`work`] what it asks for, [`client`] how; [`record`] gathers what
//! users have seen, [`sample`] what everything else says meanwhile; [`run`] is the order of events;
//! [`table`], [`chart`] and [`page`] tell of it. What the numbers mean: docs/load-test.md.

mod chart;
mod client;
mod fit;
mod limits;
mod options;
mod page;
mod procfs;
mod random;
mod record;
mod run;
mod sample;
mod table;
mod user;
mod verdict;
mod work;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;

use client::{Connection, Login};
use fit::Fit;
use options::{Command, Options};
use run::Run;

/// Files that are open beside one socket for each user.
const OTHER_FILES: u64 = 100;

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let runtime = tokio::runtime::Runtime::new().context("cannot start tokio")?;
    match options.command {
        Command::Fill(fill) => {
            runtime.block_on(make_tables(&fill))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(run) => {
            let users = run.stages.iter().copied().max().unwrap_or(0);
            limits::raise_open_files(users as u64 + OTHER_FILES)?;
            runtime.block_on(test(&run))
        }
    }
}

async fn make_tables(fill: &options::Fill) -> Result<()> {
    let address = ([127, 0, 0, 1], fill.login.postgres_port).into();
    let login = &fill.login;
    let login = Login::new(address, &login.user, &login.password()?, &login.database);
    let mut connection = Connection::open(&login, 0, Duration::from_secs(10))
        .await
        .map_err(|failure| anyhow::anyhow!("cannot log in to PostgreSQL: {failure:?}"))?;
    for sql in work::TABLES {
        connection
            .simple(sql)
            .await
            .map_err(|failure| anyhow::anyhow!("{sql}: {failure:?}"))?;
    }
    connection.close().await;
    Ok(())
}

async fn test(options: &options::Run) -> Result<ExitCode> {
    let (plan, place) = (options.plan()?, options.place()?);
    let mut runs = Vec::new();
    for target in &options.targets {
        runs.push(run::run(&plan, &place, target).await);
    }
    let report = table::report(&runs);
    println!("{report}");
    std::fs::create_dir_all(&options.report)
        .with_context(|| format!("cannot make {}", options.report.display()))?;
    let charts = chart::all(&runs);
    for (name, svg) in &charts {
        write(options, &format!("{name}.svg"), svg)?;
    }
    write(options, "report.md", &report)?;
    write(options, "report.html", &page::page(&report, &charts))?;
    eprintln!("report: {}", options.report.join("report.html").display());
    let complaints = complaints(&runs, options);
    for complaint in &complaints {
        eprintln!("FAILED: {complaint}");
    }
    Ok(if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn write(options: &options::Run, name: &str, text: &str) -> Result<()> {
    let path = options.report.join(name);
    if let Err(error) = std::fs::write(&path, text) {
        bail!("cannot write {}: {error}", path.display());
    }
    Ok(())
}

/// What makes the test fail: at normal load whatever was not answered rightly, at any load wrong
/// answers and stages in which nothing was answered, and memory that grows during a soak.
fn complaints(runs: &[Run], options: &options::Run) -> Vec<String> {
    let mut complaints = Vec::new();
    for run in runs {
        let name = &run.target.name;
        for stage in &run.stages {
            for (what, (count, first)) in &stage.failures {
                if stage.is_normal() || what.contains("WRONG") {
                    complaints.push(format!(
                        "{name}, {} users: {count} × {what} ({first})",
                        stage.users
                    ));
                }
            }
            if stage.all.count == 0 {
                complaints.push(format!("{name}, {} users: no answers", stage.users));
            }
            if options.soak.is_none() {
                continue;
            }
            if let Some(fit) = table::memory_fit(stage).filter(Fit::grows) {
                complaints.push(format!(
                    "{name}: memory grows by {:.1} ± {:.1} KiB a minute",
                    fit.slope / 1024.0,
                    fit.error / 1024.0
                ));
            }
        }
    }
    complaints
}
