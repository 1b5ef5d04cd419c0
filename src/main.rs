//! The `pgweir` binary: command line, logging, configuration, exit code.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use pgweir::config::Config;
use pgweir::config::cli::{Cli, Command};
use pgweir::{app, telemetry};

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

fn run(cli: Cli) -> anyhow::Result<()> {
    if let Some(Command::Cache(command)) = cli.command {
        print!("{}", command.sql());
        return Ok(());
    }
    let path = cli.config.clone().unwrap_or_default();
    let config = match Config::load(&path) {
        Ok(config) => config,
        Err(first) => {
            let all: Vec<String> = first.all().map(ToString::to_string).collect();
            anyhow::bail!("{}", all.join("\npgweir: "));
        }
    };
    if cli.check {
        app::check(&config)?;
        config
            .notes()
            .iter()
            .for_each(|note| eprintln!("note: {note}"));
        println!("{}: no problems found", path.display());
        return Ok(());
    }
    let level = config.log.level.clone();
    let set_level = telemetry::init_logging(&level, move |level| cli.log_filter(level))
        .map_err(anyhow::Error::msg)
        .context("log.level")?;
    app::run(config, set_level)
}
