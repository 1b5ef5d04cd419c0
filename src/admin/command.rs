//! The console's commands, as text.

/// A command that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Show(Show),
    /// `SHOW client_encoding` and the like, which drivers ask.
    Parameter(&'static str, &'static str),
    /// `SET x = y`, which drivers say; nothing is changed.
    SetIgnored,
    Reload,
    Reconnect(Option<String>),
    KillClient(u64),
    Shutdown(super::console::ShutdownMode),
    /// `SHOW CACHE FOR 'sql'`.
    ExplainCache(String),
    FlushCache(Flush),
    /// Nothing but blanks and semicolons.
    Empty,
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
    "set",
    "cache",
];

/// # Errors
/// The message for the client: what was not understood, and what is nearest to it.
pub fn parse(text: &str) -> Result<Command, String> {
    use super::console::ShutdownMode;
    if let Some(sql) = cache_for(text) {
        return Ok(Command::ExplainCache(sql));
    }
    let text = without_comments(text).to_lowercase();
    let words: Vec<&str> = text
        .trim_matches(|c: char| c.is_whitespace() || c == ';')
        .split_whitespace()
        .collect();
    match words[..] {
        [] => Ok(Command::Empty),
        ["show", "cache", "tables"] => Ok(Command::Show(Show::CacheTables)),
        ["show", "cache", "shared"] => Ok(Command::Show(Show::CacheShared)),
        ["show", "cache", "feeds"] => Ok(Command::Show(Show::CacheFeeds)),
        ["show", "cache", "top"] => Ok(Command::Show(Show::CacheTop)),
        ["show", "cache", "decisions"] => Ok(Command::Show(Show::CacheDecisions)),
        ["cache", "flush"] | ["cache", "flush", "all"] => Ok(Command::FlushCache(Flush::All)),
        ["cache", "flush", "database", name] => {
            Ok(Command::FlushCache(Flush::Database(name.to_owned())))
        }
        ["cache", "flush", "table", name] => Ok(Command::FlushCache(Flush::Table(name.to_owned()))),
        ["show" | "select", what] => show(what),
        ["set", ..] => Ok(Command::SetIgnored),
        ["reload"] => Ok(Command::Reload),
        ["reconnect"] => Ok(Command::Reconnect(None)),
        ["reconnect", database] => Ok(Command::Reconnect(Some(database.to_owned()))),
        ["kill_client", id] => id
            .parse()
            .map(Command::KillClient)
            .map_err(|_| format!("invalid client id: {id}")),
        ["shutdown"] => Ok(Command::Shutdown(ShutdownMode::Immediate)),
        ["shutdown", "wait_for_servers"] => Ok(Command::Shutdown(ShutdownMode::WaitForServers)),
        ["shutdown", "wait_for_clients"] => Ok(Command::Shutdown(ShutdownMode::WaitForClients)),
        [first, ..] => Err(format!(
            "invalid command '{}', use SHOW HELP;{}",
            words.join(" "),
            suggestion(first, COMMANDS.iter().copied())
        )),
    }
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
        .filter(|(distance, _)| *distance <= 3)
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
            Ok(Command::FlushCache(Flush::Table("public.t".to_owned())))
        );
        assert!(parse("cache xyzzy").is_err());
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
