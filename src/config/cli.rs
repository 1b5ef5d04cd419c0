//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::feed::install;
use crate::top;

/// A PostgreSQL connection pooler.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "pgweir",
    version,
    disable_version_flag = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Configuration file: TOML (config.example.toml shows every setting), or PgBouncer's format if
    /// its name ends in .ini
    #[arg(value_name = "CONFIG", required = true)]
    pub config: Option<PathBuf>,

    /// Check the configuration file, say what is wrong with it, and exit
    #[arg(long)]
    pub check: bool,

    /// Write nothing to standard error; a log file is written to as before
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Run in the background; needs pidfile, and a log file or the system's log
    #[arg(short, long)]
    pub daemon: bool,

    /// Take over the sockets and the clients of the pgweir that runs with this configuration; it ends
    /// when all have moved. If none runs, start as usual
    #[arg(short = 'R', long = "reboot", conflicts_with = "check")]
    pub take_over: bool,

    /// Run as this user, if started by root; goes before what the configuration says
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,

    /// Log more than log.level says: -v for debug, -vv for trace
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Print the version and exit
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,

    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What pgweir does instead of running.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// For the query cache: print SQL that makes a server tell of writes made past pgweir
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Ask a running pgweir how it is, by its HTTP port; exit with 1 if it is not well
    Health {
        /// /healthz: it runs; /startupz: it has begun; /readyz: clients should come
        #[arg(long, default_value = "http://127.0.0.1:9127/healthz")]
        url: String,
        /// How many seconds to wait for an answer
        #[arg(long, value_name = "SECONDS", default_value_t = 3,
              value_parser = clap::value_parser!(u64).range(1..=3600))]
        timeout: u64,
    },
    /// Watch a running pgweir or PgBouncer in a terminal: pools, clients, servers, throughput
    Top(Box<top::Options>),
    /// Print the TOML that says the same as a pgbouncer.ini
    Convert {
        /// The ini file; what it includes is read, too
        #[arg(value_name = "INI")]
        file: PathBuf,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum CacheCommand {
    /// Print the SQL for invalidation = "notify": triggers that notify pgweir
    InstallTriggers {
        /// As feed_channel in the configuration
        #[arg(long, default_value = "pgweir_cache")]
        channel: String,
        /// Only tables of this schema; may be given several times
        #[arg(long = "schema", value_name = "SCHEMA")]
        schemas: Vec<String>,
        #[command(flatten)]
        which: Which,
    },
    /// Print the SQL for invalidation = "replication": a publication
    InstallPublication {
        /// As feed_publication in the configuration
        #[arg(long, default_value = "pgweir_cache")]
        publication: String,
        /// Only tables of this schema; may be given several times
        #[arg(long = "schema", value_name = "SCHEMA")]
        schemas: Vec<String>,
        /// Give tables that have none a replica identity (FULL), which makes the server's log of
        /// their changes larger, instead of leaving them out
        #[arg(long)]
        replica_identity_full: bool,
        #[command(flatten)]
        which: Which,
    },
    /// Print the SQL that removes what the two others install
    Remove {
        #[arg(long, default_value = "pgweir_cache")]
        publication: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Which {
    /// Only this table, with or without its schema; may be given several times
    #[arg(long = "table", value_name = "TABLE")]
    pub tables: Vec<String>,
    /// Without event triggers, which only a superuser can make: changes of the schema made past
    /// pgweir are found when the catalogs are read again (catalog_refresh), and materialized views
    /// are not cached
    #[arg(long)]
    pub no_event_trigger: bool,
}

impl CacheCommand {
    /// The SQL.
    pub fn sql(self) -> String {
        let wanted = |which: Which, schemas| install::Wanted {
            schemas,
            tables: which.tables,
            event_trigger: !which.no_event_trigger,
        };
        match self {
            CacheCommand::InstallTriggers {
                channel,
                schemas,
                which,
            } => install::triggers(&channel, &wanted(which, schemas)),
            CacheCommand::InstallPublication {
                publication,
                schemas,
                replica_identity_full,
                which,
            } => {
                let wanted = wanted(which, schemas);
                install::publication(&publication, &wanted, replica_identity_full)
            }
            CacheCommand::Remove { publication } => install::remove(&publication),
        }
    }
}

impl Cli {
    /// The log filter to use where the file says `configured`.
    pub fn log_filter<'a>(&self, configured: &'a str) -> &'a str {
        match self.verbose {
            0 => configured,
            1 => "debug",
            _ => "trace",
        }
    }
}

#[cfg(test)]
mod tests;
