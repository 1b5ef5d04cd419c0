//! Finds keys that mean nothing, and guesses what was meant.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{
    Application, Auth, CacheLimits, ClientTls, General, Http, Log, Login, Peer, PoolCache,
    PoolKeys, PoolOwn, Sentry, ServerTls, Traces, User, fields,
};
use crate::config::error::Problems;

/// A section and the structs that between them hold its keys.
struct Section {
    name: &'static str,
    /// The section is a table of tables, one for each pool or user.
    named: bool,
    keys: Vec<&'static str>,
}

impl Section {
    fn header(&self) -> String {
        match self.named {
            true => format!("[{}.NAME]", self.name),
            false => format!("[{}]", self.name),
        }
    }
}

/// Not a name that a file could have.
const POOL_CACHE: &str = "pools.NAME.cache";

/// The sections of a file, and at the end what is a section inside a pool only.
fn sections() -> [Section; 15] {
    let plain = |name, keys: &[&[&'static str]]| Section {
        name,
        named: false,
        keys: keys.concat(),
    };
    let named = |name, keys: &[&[&'static str]]| Section {
        named: true,
        ..plain(name, keys)
    };
    let inner: &[_] = &["server_tls", "cache"];
    let pool = [fields::<PoolOwn>(), fields::<PoolKeys>(), inner];
    [
        plain("general", &[fields::<General>(), fields::<PoolKeys>()]),
        plain("log", &[fields::<Log>()]),
        plain("sentry", &[fields::<Sentry>()]),
        plain("traces", &[fields::<Traces>()]),
        plain("http", &[fields::<Http>()]),
        plain("client_tls", &[fields::<ClientTls>()]),
        plain("server_tls", &[fields::<ServerTls>()]),
        plain("auth", &[fields::<Auth>()]),
        plain("login", &[fields::<Login>()]),
        plain("cache", &[fields::<CacheLimits>()]),
        named("pools", &pool),
        named("users", &[fields::<User>()]),
        named("peers", &[fields::<Peer>()]),
        named("applications", &[fields::<Application>()]),
        plain(POOL_CACHE, &[fields::<PoolCache>()]),
    ]
}

/// Reports every key that no section has, and every section that is no table.
pub(super) fn report(root: &DeTable<'_>, problems: &mut Problems<'_>) {
    let sections = sections();
    let names: Vec<&str> = sections.iter().map(|section| section.name).collect();
    for (name, value) in root.iter() {
        let name = name.get_ref().as_ref();
        let Some(section) = sections.iter().find(|section| section.name == name) else {
            problems.add(&[name], guess(name, &names, "section", &sections));
            continue;
        };
        let Some(table) = table(&[name], value, problems) else {
            continue;
        };
        if !section.named {
            report_keys(&[name], table, section, &sections, problems);
            continue;
        }
        for (entry, value) in table.iter() {
            let key = [name, entry.get_ref().as_ref()];
            if let Some(table) = self::table(&key, value, problems) {
                report_keys(&key, table, section, &sections, problems);
            }
        }
    }
}

fn report_keys(
    path: &[&str],
    table: &DeTable<'_>,
    section: &Section,
    sections: &[Section],
    problems: &mut Problems<'_>,
) {
    for (name, value) in table.iter() {
        let name = name.get_ref().as_ref();
        let key: Vec<&str> = path.iter().copied().chain([name]).collect();
        if !section.keys.contains(&name) {
            problems.add(&key, guess(name, &section.keys, "key", sections));
        } else if section.name == "pools" && matches!(name, "server_tls" | "cache") {
            let inner = if name == "cache" { POOL_CACHE } else { name };
            let inner = sections.iter().find(|section| section.name == inner);
            if let (Some(table), Some(inner)) = (self::table(&key, value, problems), inner) {
                report_keys(&key, table, inner, sections, problems);
            }
        }
    }
}

fn table<'a, 'i>(
    key: &[&str],
    value: &'a Spanned<DeValue<'i>>,
    problems: &mut Problems<'_>,
) -> Option<&'a DeTable<'i>> {
    let table = value.get_ref().as_table();
    if table.is_none() {
        let header = crate::config::error::dotted(key);
        problems.add(key, format!("this must be a section, [{header}]"));
    }
    table
}

/// What to say of an unknown name: where it belongs, or what it resembles.
fn guess(name: &str, known: &[&str], what: &str, sections: &[Section]) -> String {
    let homes = sections.iter().filter(|home| home.keys.contains(&name));
    let homes: Vec<String> = homes.map(Section::header).collect();
    if !homes.is_empty() {
        return format!("unknown {what}; {name} belongs in {}", homes.join(" or "));
    }
    for section in sections.iter().filter(|section| !section.named) {
        // PgBouncer's spelling: client_tls_sslmode, auth_type, log_connections.
        let rest = name.strip_prefix(section.name);
        let rest = rest.and_then(|rest| rest.strip_prefix('_'));
        if let Some(rest) = rest.filter(|rest| section.keys.contains(rest)) {
            let header = section.header();
            return format!("unknown {what}; here it is {rest} in {header}");
        }
    }
    // pool_size for default_pool_size is half a mistake only.
    let short = |known: &str| distance(name, known.strip_prefix("default_").unwrap_or(known));
    let unlike = |known: &str| distance(name, known).min(short(known));
    let nearest = known.iter().min_by_key(|known| unlike(known));
    match nearest.filter(|near| unlike(near) <= 1 + name.len().min(near.len()) / 4) {
        Some(near) => format!("unknown {what}; did you mean {near}?"),
        None => format!("unknown {what}; known here: {}", known.join(", ")),
    }
}

/// `"; did you mean X?"`, if one of the names is much like this one.
pub fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let near = known
        .map(|known| (distance(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= 1 + name.len().min(known.len()) / 4);
    near.map_or(String::new(), |(_, near)| format!("; did you mean {near}?"))
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}
