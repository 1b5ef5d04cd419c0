//! The command line of `pgweir top`, and which console it means.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio_postgres::config::Host;

use super::views::View;
use crate::config::SslMode;

/// What is looked at, and how.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Options {
    /// The console, as a URL or as key=value words; what is not said is taken from PGHOST, PGPORT, PGUSER and
    /// PGPASSWORD, and is else 127.0.0.1, 6432, your name and no password
    #[arg(value_name = "CONNECTION")]
    pub connection: Option<String>,

    /// Host name, address, or directory of a Unix socket
    #[arg(long)]
    pub host: Option<String>,

    #[arg(short, long)]
    pub port: Option<u16>,

    /// Somebody of admin_users or stats_users
    #[arg(short = 'U', long)]
    pub user: Option<String>,

    /// The console's name
    #[arg(short, long)]
    pub dbname: Option<String>,

    /// As libpq's: disable, prefer, require, verify-ca or verify-full
    #[arg(long, value_name = "MODE", default_value = "prefer", value_parser = ssl_mode)]
    pub sslmode: SslMode,

    /// Certificates that are trusted
    #[arg(long, value_name = "FILE")]
    pub sslrootcert: Option<PathBuf>,

    /// Seconds from one look to the next
    #[arg(short, long, value_name = "SECONDS", default_value_t = 2,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,

    /// What to begin with, or what to print
    #[arg(long, value_enum, default_value = "pools")]
    pub view: View,

    /// Print one look as text, and end: for scripts. Rates are the console's own, of its last period
    #[arg(short = '1', long)]
    pub once: bool,

    /// How wide, with --once
    #[arg(long, value_name = "COLUMNS", default_value_t = 120, value_parser = clap::value_parser!(u16).range(20..=1000))]
    pub width: u16,
}

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    #[error("connection: {0}")]
    Connection(String),
    #[error("terminal: {0}")]
    Io(#[from] std::io::Error),
    #[error("standard output is no terminal: use --once to print one look")]
    NoTerminal,
    /// What the console, or the way to it, says.
    #[error("{0}")]
    Console(String),
}

fn ssl_mode(text: &str) -> Result<SslMode, String> {
    Ok(match text {
        "disable" => SslMode::Disable,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => return Err("one of disable, prefer, require, verify-ca, verify-full".to_owned()),
    })
}

/// Where the console is, and who we are there.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub host: Host,
    pub port: u16,
    pub login: tokio_postgres::Config,
}

impl Target {
    /// How it is called, without a password.
    pub fn name(&self) -> String {
        match &self.host {
            Host::Tcp(name) => format!("{name}:{}", self.port),
            Host::Unix(directory) => format!("{}:{}", directory.display(), self.port),
        }
    }
}

impl Options {
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs(self.interval)
    }

    /// `variable` reads the environment.
    pub(super) fn target(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Target, TopError> {
        let wrong = |error: String| TopError::Connection(error);
        let text = self.connection.as_deref().unwrap_or_default();
        let given: tokio_postgres::Config = text
            .parse()
            .map_err(|error: tokio_postgres::Error| wrong(explained(&error)))?;
        let host = match (&self.host, given.get_hosts().first()) {
            (Some(host), _) => named(host),
            (None, Some(host)) => host.clone(),
            (None, None) => named(&variable("PGHOST").unwrap_or_else(|| "127.0.0.1".to_owned())),
        };
        let port = match self.port.or(given.get_ports().first().copied()) {
            Some(port) => port,
            None => match variable("PGPORT") {
                Some(text) => text
                    .parse()
                    .map_err(|_| wrong(format!("PGPORT: {text:?} is no port")))?,
                None => 6432,
            },
        };
        let user = self.user.clone().or(given.get_user().map(str::to_owned));
        let user = user.or_else(|| variable("PGUSER")).or_else(|| {
            let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
            user.ok().flatten().map(|user| user.name)
        });
        let user =
            user.ok_or_else(|| wrong("you have no name here: --user says one".to_owned()))?;
        let dbname = self.dbname.as_deref().or(given.get_dbname());
        let mut login = tokio_postgres::Config::new();
        login.user(user);
        // pgweir's console has this name, too.
        login.dbname(dbname.unwrap_or("pgbouncer"));
        login.application_name("pgweir top");
        login.ssl_mode(tokio_postgres::config::SslMode::Disable);
        let password = given.get_password().map(<[u8]>::to_vec);
        if let Some(password) = password.or_else(|| Some(variable("PGPASSWORD")?.into_bytes())) {
            login.password(password);
        }
        Ok(Target { host, port, login })
    }
}

fn named(host: &str) -> Host {
    match host.starts_with('/') {
        true => Host::Unix(host.into()),
        false => Host::Tcp(host.to_owned()),
    }
}

/// With what is behind it: tokio-postgres only says what it was doing.
pub(super) fn explained(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(said), _) => said.message().to_owned(),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn target(words: &[&str], variables: &[(&str, &str)]) -> Target {
        let words = [&["top"], words].concat();
        let options = Line::try_parse_from(words).unwrap().options;
        let variable = |name: &str| {
            let found = variables.iter().find(|(n, _)| *n == name)?;
            Some(found.1.to_owned())
        };
        options.target(variable).unwrap()
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let target = target(&["-U", "amy"], &[]);
        assert_eq!(target.name(), "127.0.0.1:6432");
        assert_eq!(target.login.get_dbname(), Some("pgbouncer"));
        assert_eq!(target.login.get_password(), None);
    }

    #[test]
    fn options_go_before_the_connection_and_that_before_the_environment() {
        let variables = [
            ("PGHOST", "/run"),
            ("PGPORT", "1"),
            ("PGUSER", "env"),
            ("PGPASSWORD", "p"),
        ];
        assert_eq!(target(&[], &variables).name(), "/run:1");
        let url = "postgresql://amy:secret@db:7/pgweir";
        let target = target(&[url, "-p", "9"], &variables);
        assert_eq!(target.name(), "db:9");
        assert_eq!(target.login.get_user(), Some("amy"));
        assert_eq!(target.login.get_dbname(), Some("pgweir"));
        assert_eq!(target.login.get_password(), Some(&b"secret"[..]));
    }
}
