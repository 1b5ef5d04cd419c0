//! The console's commands, as text.

use super::console::ShutdownMode;
use crate::pgbouncer::{ini, settings};

/// A command that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Show(Show),
    /// `SHOW client_encoding` and the like, which drivers ask.
    Parameter(&'static str, &'static str),
    /// `SET x = y`, which drivers say; nothing is changed.
    SetIgnored,
    /// One of PgBouncer's settings, in lower case, and its value.
    Set(String, String),
    Reload,
    /// One database, or all.
    Pause(Option<String>),
    Resume(Option<String>),
    Suspend,
    Disable(String),
    Enable(String),
    Kill(Option<String>),
    WaitClose(Option<String>),
    Reconnect(Option<String>),
    KillClient(u64),
    Shutdown(ShutdownMode),
    /// `SHOW CACHE FOR 'sql'`.
    ExplainCache(String),
    FlushCache(Flush),
    /// `SHOW STATEMENTS RESET`.
    ResetStatements,
    /// Nothing but blanks and semicolons.
    Empty,
}

impl Command {
    /// As the log tells it, in PgBouncer's words where it has some; `None`: it only looks.
    pub(super) fn deed(&self) -> Option<String> {
        let on = |verb: &str, database: &Option<String>| match database {
            Some(name) => format!("{verb} '{name}'"),
            None => verb.to_owned(),
        };
        Some(match self {
            Command::Show(_)
            | Command::Parameter(..)
            | Command::SetIgnored
            | Command::ExplainCache(_)
            | Command::Empty => return None,
            // The value may be a secret.
            Command::Set(key, _) => format!("SET '{key}'"),
            Command::Reload => "RELOAD".to_owned(),
            Command::Pause(database) => on("PAUSE", database),
            Command::Resume(database) => on("RESUME", database),
            Command::Suspend => "SUSPEND".to_owned(),
            Command::Disable(name) => format!("DISABLE '{name}'"),
            Command::Enable(name) => format!("ENABLE '{name}'"),
            Command::Kill(database) => on("KILL", database),
            Command::WaitClose(database) => on("WAIT_CLOSE", database),
            Command::Reconnect(database) => on("RECONNECT", database),
            Command::KillClient(id) => format!("KILL_CLIENT {id}"),
            Command::Shutdown(mode) => match mode {
                ShutdownMode::Immediate => "SHUTDOWN".to_owned(),
                ShutdownMode::WaitForServers => "SHUTDOWN WAIT_FOR_SERVERS".to_owned(),
                ShutdownMode::WaitForClients => "SHUTDOWN WAIT_FOR_CLIENTS".to_owned(),
            },
            Command::FlushCache(Flush::All) => "CACHE FLUSH".to_owned(),
            Command::FlushCache(Flush::Database(name)) => format!("CACHE FLUSH DATABASE '{name}'"),
            Command::FlushCache(Flush::Table(name)) => format!("CACHE FLUSH TABLE '{name}'"),
            Command::ResetStatements => "SHOW STATEMENTS RESET".to_owned(),
        })
    }
}

/// What `CACHE FLUSH` forgets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flush {
    All,
    Database(String),
    Table(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Help,
    Pools,
    Clients,
    Servers,
    Stats,
    Config,
    Databases,
    Users,
    Lists,
    Version,
    State,
    StatsTotals,
    StatsAverages,
    Totals,
    Sockets,
    ActiveSockets,
    Fds,
    Mem,
    DnsHosts,
    DnsZones,
    Hosts,
    Channels,
    Routing,
    Peers,
    PeerPools,
    Prepared,
    Refusals,
    Statements,
    Cache,
    CacheTables,
    CacheTop,
    CacheFeeds,
    CacheShared,
    CacheDecisions,
}

const SHOWS: &[(&str, Show)] = &[
    ("help", Show::Help),
    ("pools", Show::Pools),
    ("clients", Show::Clients),
    ("servers", Show::Servers),
    ("stats", Show::Stats),
    ("config", Show::Config),
    ("databases", Show::Databases),
    ("users", Show::Users),
    ("lists", Show::Lists),
    ("version", Show::Version),
    ("state", Show::State),
    ("stats_totals", Show::StatsTotals),
    ("stats_averages", Show::StatsAverages),
    ("totals", Show::Totals),
    ("sockets", Show::Sockets),
    ("active_sockets", Show::ActiveSockets),
    ("fds", Show::Fds),
    ("mem", Show::Mem),
    ("dns_hosts", Show::DnsHosts),
    ("dns_zones", Show::DnsZones),
    ("hosts", Show::Hosts),
    ("channels", Show::Channels),
    ("routing", Show::Routing),
    ("peers", Show::Peers),
    ("peer_pools", Show::PeerPools),
    ("prepared", Show::Prepared),
    ("prepared_statements", Show::Prepared),
    ("refusals", Show::Refusals),
    ("statements", Show::Statements),
    ("cache", Show::Cache),
];

/// What drivers ask for after a login, and PgBouncer's answers.
const PARAMETERS: &[(&str, &str)] = &[
    ("client_encoding", "UTF-8"),
    ("default_transaction_isolation", "read committed"),
    ("standard_conforming_strings", "on"),
    ("datestyle", "ISO"),
    ("timezone", "GMT"),
];

const COMMANDS: &[&str] = &[
    "show",
    "reload",
    "reconnect",
    "kill_client",
    "shutdown",
    "pause",
    "resume",
    "suspend",
    "disable",
    "enable",
    "kill",
    "wait_close",
    "set",
    "cache",
];

/// # Errors
/// The message for the client: what was not understood, and what is nearest to it.
pub fn parse(text: &str) -> Result<Command, String> {
    if let Some(sql) = cache_for(text) {
        return Ok(Command::ExplainCache(sql));
    }
    let text = without_comments(text);
    let written = words(text.trim_matches(|c: char| c.is_whitespace() || c == ';'))?;
    let lower: Vec<String> = written.iter().map(|word| word.to_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    // Names are as they are written.
    let name = |n: usize| written[n].clone();
    let some = |n: usize| Some(name(n));
    Ok(match lower[..] {
        [] => Command::Empty,
        ["show", "cache", "tables"] => Command::Show(Show::CacheTables),
        ["show", "cache", "shared"] => Command::Show(Show::CacheShared),
        ["show", "cache", "feeds"] => Command::Show(Show::CacheFeeds),
        ["show", "cache", "top"] => Command::Show(Show::CacheTop),
        ["show", "cache", "decisions"] => Command::Show(Show::CacheDecisions),
        ["show", "statements", "reset"] => Command::ResetStatements,
        ["cache", "flush"] | ["cache", "flush", "all"] => Command::FlushCache(Flush::All),
        ["cache", "flush", "database", _] => Command::FlushCache(Flush::Database(name(3))),
        ["cache", "flush", "table", _] => Command::FlushCache(Flush::Table(name(3))),
        ["show" | "select", what] => return show(what),
        ["set", ..] => return set(&written[1..]),
        ["reload"] => Command::Reload,
        ["pause"] => Command::Pause(None),
        ["pause", _] => Command::Pause(some(1)),
        ["resume"] => Command::Resume(None),
        ["resume", _] => Command::Resume(some(1)),
        ["suspend"] => Command::Suspend,
        ["disable"] | ["enable"] => return Err("a database is required".to_owned()),
        ["disable", _] => Command::Disable(name(1)),
        ["enable", _] => Command::Enable(name(1)),
        ["kill"] => Command::Kill(None),
        ["kill", _] => Command::Kill(some(1)),
        ["wait_close"] => Command::WaitClose(None),
        ["wait_close", _] => Command::WaitClose(some(1)),
        ["reconnect"] => Command::Reconnect(None),
        ["reconnect", _] => Command::Reconnect(some(1)),
        ["kill_client", id] => {
            let id = id.parse().map_err(|_| format!("invalid client id: {id}"))?;
            Command::KillClient(id)
        }
        ["shutdown"] => Command::Shutdown(ShutdownMode::Immediate),
        ["shutdown", "wait_for_servers"] => Command::Shutdown(ShutdownMode::WaitForServers),
        ["shutdown", "wait_for_clients"] => Command::Shutdown(ShutdownMode::WaitForClients),
        [first, ..] => {
            return Err(format!(
                "invalid command '{}', use SHOW HELP;{}",
                written.join(" "),
                suggestion(first, COMMANDS.iter().copied())
            ));
        }
    })
}

/// `key = value` or `key TO value`. Drivers say it of parameters that are none of ours.
fn set(words: &[String]) -> Result<Command, String> {
    let invalid = || Err("invalid command: SET key = value is expected".to_owned());
    let [key, rest @ ..] = words else {
        return invalid();
    };
    let value = match rest {
        [is, value] if is == "=" || is.eq_ignore_ascii_case("to") => value.clone(),
        [is] if is == "=" => String::new(),
        _ if settings::setting(&key.to_lowercase()).is_none() => return Ok(Command::SetIgnored),
        _ => return invalid(),
    };
    let key = key.to_lowercase();
    Ok(match settings::setting(&key) {
        Some(_) => Command::Set(key, value),
        None if is_foreign(&key) => Command::SetIgnored,
        None => {
            let known = settings::SETTINGS.iter().map(|s| s.name);
            return Err(format!(
                "unknown parameter {key:?};{}",
                suggestion(&key, known)
            ));
        }
    })
}

/// What drivers set after a login, whoever it is that they talk to.
fn is_foreign(key: &str) -> bool {
    let known = PARAMETERS.iter().any(|(name, _)| *name == key);
    known
        || matches!(
            key,
            "extra_float_digits"
                | "application_name"
                | "statement_timeout"
                | "intervalstyle"
                | "bytea_output"
                | "session"
                | "search_path"
                | "time"
        )
}

/// Words, `'strings'` and `"names"`, of which `=` is one by itself.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '\'' | '"' => ini::unquote(&rest[1..], first)
                .ok_or_else(|| "syntax error: unterminated quoted string".to_owned())?,
            '=' => ("=".to_owned(), &rest[1..]),
            _ => {
                let ends = |c: char| c.is_whitespace() || matches!(c, '=' | '\'' | '"' | ';');
                let end = rest.find(ends).unwrap_or(rest.len());
                if end == 0 {
                    return Err(format!("syntax error at {rest:?}"));
                }
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// The statement in `SHOW CACHE FOR '...'`, in which quotes are doubled.
fn cache_for(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches(';').trim_end();
    let (head, quoted) = text.split_once('\'')?;
    let words = head.split_whitespace().map(str::to_lowercase);
    if !words.eq(["show", "cache", "for"].map(str::to_owned)) {
        return None;
    }
    Some(quoted.strip_suffix('\'')?.replace("''", "'"))
}

fn show(what: &str) -> Result<Command, String> {
    if let Some((_, show)) = SHOWS.iter().find(|(name, _)| *name == what) {
        return Ok(Command::Show(*show));
    }
    if let Some((name, value)) = PARAMETERS.iter().find(|(name, _)| *name == what) {
        return Ok(Command::Parameter(name, value));
    }
    Err(format!(
        "invalid command 'show {what}', use SHOW HELP;{}",
        suggestion(what, SHOWS.iter().map(|(name, _)| *name))
    ))
}

fn suggestion<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|k| (distance(word, k), k))
        .min()
        // Neither what was written nor what has hardly a letter of it.
        .filter(|(distance, k)| (1..=3).contains(distance) && distance * 2 <= k.len())
        .map_or_else(String::new, |(_, k)| {
            format!(" did you mean {}?", k.to_uppercase())
        })
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("/*") {
        out.push_str(&rest[..at]);
        out.push(' ');
        rest = rest[at..]
            .find("*/")
            .map_or("", |end| &rest[at + end + 2..]);
    }
    out.push_str(rest);
    let lines = out.lines().map(|l| l.split("--").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_any_case_with_comments() {
        assert_eq!(parse(" Show  POOLS ; "), Ok(Command::Show(Show::Pools)));
        assert_eq!(
            parse("/* x */ select version -- y"),
            Ok(Command::Show(Show::Version))
        );
        assert_eq!(parse(";;"), Ok(Command::Empty));
        assert_eq!(
            parse("show Statements RESET;"),
            Ok(Command::ResetStatements)
        );
        assert_eq!(parse("KILL_CLIENT 12"), Ok(Command::KillClient(12)));
        assert_eq!(parse("set extra_float_digits = 3"), Ok(Command::SetIgnored));
        assert_eq!(
            parse("show TimeZone"),
            Ok(Command::Parameter("timezone", "GMT"))
        );
    }

    #[test]
    fn commands_of_the_cache() {
        assert_eq!(parse("show cache;"), Ok(Command::Show(Show::Cache)));
        assert_eq!(parse("SHOW CACHE TOP"), Ok(Command::Show(Show::CacheTop)));
        assert_eq!(
            parse("show cache for 'select ''A'' -- x';"),
            Ok(Command::ExplainCache("select 'A' -- x".to_owned()))
        );
        assert_eq!(parse("cache flush"), Ok(Command::FlushCache(Flush::All)));
        assert_eq!(
            parse("CACHE FLUSH TABLE public.T"),
            Ok(Command::FlushCache(Flush::Table("public.T".to_owned())))
        );
        assert!(parse("cache xyzzy").is_err());
    }

    #[test]
    fn names_are_as_they_are_written() {
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(parse("pause MyDb;"), Ok(Command::Pause(name("MyDb"))));
        assert_eq!(
            parse("Pause \"My \"\"Db\""),
            Ok(Command::Pause(name("My \"Db")))
        );
        assert_eq!(parse("RESUME"), Ok(Command::Resume(None)));
        assert_eq!(parse("kill 'x'"), Ok(Command::Kill(name("x"))));
        assert!(parse("disable").is_err() && parse("pause 'x").is_err());
    }

    #[test]
    fn settings_are_set() {
        let set = |key: &str, value: &str| Ok(Command::Set(key.to_owned(), value.to_owned()));
        assert_eq!(parse("SET Query_Timeout=5"), set("query_timeout", "5"));
        assert_eq!(
            parse("set server_check_query TO 'it''s'"),
            set("server_check_query", "it's")
        );
        assert_eq!(parse("set logfile = "), set("logfile", ""));
        assert_eq!(parse("set datestyle = 'ISO'"), Ok(Command::SetIgnored));
        assert_eq!(
            parse("set session characteristics as x"),
            Ok(Command::SetIgnored)
        );
        assert!(
            parse("set query_timeot = 5")
                .unwrap_err()
                .contains("QUERY_TIMEOUT")
        );
        assert!(parse("set query_timeout 5").is_err());
    }

    #[test]
    fn typos_get_the_nearest_command() {
        assert!(
            parse("show pols")
                .unwrap_err()
                .contains("did you mean POOLS?")
        );
        assert!(
            parse("relaod")
                .unwrap_err()
                .contains("did you mean RELOAD?")
        );
        assert!(!parse("xyzzyplugh").unwrap_err().contains("mean"));
        assert!(parse("kill_client x").is_err());
    }
}
