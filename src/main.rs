//! The `pgweir` binary: command line, logging, configuration, exit code.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use pgweir::config::Config;
use pgweir::config::cli::Cli;
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
    let config = match Config::load(&cli.config) {
        Ok(config) => config,
        Err(first) => {
            let all: Vec<String> = first.all().map(ToString::to_string).collect();
            anyhow::bail!("{}", all.join("\npgweir: "));
        }
    };
    if cli.check {
        app::check(&config)?;
        println!("{}: no problems found", cli.config.display());
        return Ok(());
    }
    let level = config.log.level.clone();
    let set_level = telemetry::init_logging(&level, move |level| cli.log_filter(level))
        .map_err(anyhow::Error::msg)
        .context("log.level")?;
    app::run(config, set_level)
}
