//! The `pgweir` binary: command line, logging, configuration, exit code.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use pgweir::config::cli::{Cli, Command};
use pgweir::config::{Config, ConfigError, System};
use pgweir::process::{self, PidFile};
use pgweir::telemetry::{errors, log};
use pgweir::{app, health, pgbouncer, top};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let quiet = cli.quiet;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !quiet {
                eprintln!("pgweir: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Called `pgbouncer`, as by a symbolic link, it takes every file for an ini.
fn is_called_pgbouncer() -> bool {
    let name = std::env::args_os().next().map(PathBuf::from);
    name.is_some_and(|name| name.file_name() == Some(OsStr::new("pgbouncer")))
}

fn all_of(first: &ConfigError) -> anyhow::Error {
    let all: Vec<String> = first.all().map(ToString::to_string).collect();
    anyhow::Error::msg(all.join("\npgweir: "))
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Some(Command::Cache(command)) => {
            print!("{}", command.sql());
            return Ok(());
        }
        Some(Command::Convert { file }) => return convert(&file),
        Some(Command::Top(options)) => return Ok(top::run(&options)?),
        Some(Command::Health { url, timeout }) => {
            println!("{}", health::ask(&url, Duration::from_secs(timeout))?);
            return Ok(());
        }
        None => {}
    }
    let path = cli.config.clone().unwrap_or_default();
    let is_ini = is_called_pgbouncer() || path.extension() == Some(OsStr::new("ini"));
    let mut config = Config::load_as(&path, is_ini).map_err(|first| all_of(&first))?;
    if cli.check {
        app::check(&config)?;
        config
            .notes()
            .iter()
            .for_each(|note| eprintln!("note: {note}"));
        println!("{}: no problems found", path.display());
        return Ok(());
    }
    if cli.user.is_some() {
        config.user.clone_from(&cli.user);
    }
    if let Some(user) = &config.user {
        process::become_user(user).context("user")?;
    }
    if cli.daemon {
        process::go_to_background(&config)?;
    }
    if !cli.take_over {
        config.pidfile.as_deref().map_or(Ok(()), PidFile::check)?;
    }
    process::raise_descriptors();
    let take_over = cli.take_over;
    let quiet = cli.quiet || cli.daemon;
    let reporter = errors::start(&config.sentry).map_err(anyhow::Error::msg)?;
    let logging = log::start(&config.log, quiet, reporter, move |level| {
        cli.log_filter(level)
    });
    let logging = logging.map_err(anyhow::Error::msg)?;
    let result = app::run(config, Arc::clone(&logging), take_over);
    if let Err(error) = &result {
        tracing::error!(target: errors::CONFIGURATION, "{error:#}");
    }
    logging.finish();
    result
}

/// Prints the TOML that says the same as an ini file, with what it cannot say on standard error.
fn convert(file: &Path) -> anyhow::Result<()> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let converted = pgbouncer::load::converted(&text, file, &System).map_err(|e| all_of(&e))?;
    print!("{}", converted.toml);
    for note in converted.notes {
        eprintln!("note: {note}");
    }
    Ok(())
}
