//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Parser};

/// A PostgreSQL connection pooler.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "pgweir", version, disable_version_flag = true)]
pub struct Cli {
    /// Configuration file; config.example.toml shows every setting
    #[arg(value_name = "CONFIG")]
    pub config: PathBuf,

    /// Check the configuration file, say what is wrong with it, and exit
    #[arg(long)]
    pub check: bool,

    /// Write nothing to standard error
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Log more than log.level says: -v for debug, -vv for trace
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Print the version and exit
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

impl Cli {
    /// The log filter to use where the file says `configured`.
    pub fn log_filter<'a>(&self, configured: &'a str) -> &'a str {
        match (self.quiet, self.verbose) {
            (true, _) => "off",
            (false, 0) => configured,
            (false, 1) => "debug",
            (false, _) => "trace",
        }
    }
}

#[cfg(test)]
mod tests;
