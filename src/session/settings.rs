//! The settings (GUCs) that a session has changed, as an immutable set.
//!
//! Sets are shared and compared by pointer first: switching a server connection between two
//! clients with the same settings costs one comparison. A setting is held as the SQL that
//! establishes it on another connection.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

/// Settings that cannot change how a statement is parsed or planned, so that clients that differ
/// only in these can share prepared statements.
const IRRELEVANT_TO_PARSING: &[&str] = &[
    "application_name",
    "client_min_messages",
    "deadlock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "lock_timeout",
    "log_min_duration_statement",
    "statement_timeout",
    "synchronous_commit",
    "transaction_timeout",
];

/// Settings that cannot change the result of a query, so that sessions that differ only in these can
/// be given the same answer. All others can, also those that we do not know.
const IRRELEVANT_TO_RESULTS: &[&str] = &[
    "application_name",
    "client_min_messages",
    "deadlock_timeout",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "jit",
    "lock_timeout",
    "log_min_duration_statement",
    "pgweir.cache",
    "statement_timeout",
    "synchronous_commit",
    "transaction_timeout",
    "work_mem",
];

/// Settings whose replay can be refused by the server although it once accepted it (a role was
/// dropped or a privilege revoked). Everything behind such a replay waits for its answer.
const REPLAY_MAY_FAIL: &[&str] = &[
    "role",
    "session_authorization",
    "session_replication_role",
    "default_text_search_config",
    "default_tablespace",
    "temp_tablespaces",
    "default_table_access_method",
];

/// Settings whose replay cannot fail once the server has accepted the value.
const REPLAY_IS_SAFE: &[&str] = &[
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "lock_timeout",
    "search_path",
    "standard_conforming_strings",
    "statement_timeout",
    "timezone",
    "work_mem",
    "row_security",
    "jit",
    "synchronous_commit",
];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Setting {
    /// Lower case.
    pub name: Box<str>,
    /// SQL that sets it for the session.
    pub replay: Box<str>,
}

/// Of one, without its texts.
const WEIGHT: usize = size_of::<Setting>();

#[derive(Debug)]
struct Inner {
    /// Sorted by name.
    entries: Box<[Setting]>,
    hash: u64,
    parse_environment: u64,
    replay_is_safe: bool,
    /// See [`Settings::result_key`].
    result_key: Box<[u8]>,
    /// See [`Settings::allow_cache`].
    allow_cache: bool,
    weight: usize,
}

/// What a session has set, on top of the server's defaults. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Settings(Option<Arc<Inner>>);

/// A literal as PostgreSQL reads it whatever `standard_conforming_strings` says.
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!(" E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// Settings whose values are lists of identifiers: `SET` would take a raw value for one element.
const LISTS: &[&str] = &[
    "createrole_self_grant",
    "debug_io_direct",
    "local_preload_libraries",
    "restrict_nonsystem_relation_kind",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "synchronous_standby_names",
    "temp_tablespaces",
    "unix_socket_directories",
    "wal_consistency_checking",
];

/// SQL that gives a setting a raw value, as a startup packet or ParameterStatus carries it.
///
/// A `SET` wherever it can be one: a `SELECT` takes a snapshot, and in a transaction `SET
/// TRANSACTION` is not allowed behind it.
pub fn replay_raw(name: &str, value: &str) -> String {
    if LISTS.contains(&name) {
        return format!(
            "SELECT pg_catalog.set_config({}, {}, false)",
            quote_literal(name),
            quote_literal(value)
        );
    }
    format!("SET {} TO {}", quote_name(name), quote_literal(value))
}

/// Whether the same text means the same to a session in which this setting has another value. The
/// server itself plans anew when the role or the search path is another one, and nothing that it
/// folds into a plan can read a custom setting.
pub fn matters_to_plans(name: &str) -> bool {
    !IRRELEVANT_TO_PARSING.contains(&name)
        && !name.contains('.')
        && !matches!(
            name,
            "role"
                | "session_authorization"
                | "search_path"
                | "transaction_isolation"
                | "transaction_read_only"
                | "transaction_deferrable"
        )
}

fn hash_of<'a>(entries: impl Iterator<Item = &'a Setting>) -> u64 {
    // Fixed seeds: the same settings must give the same number in every part of the process.
    let mut hasher = foldhash::quality::FixedState::with_seed(0x7067_7765).build_hasher();
    for entry in entries {
        entry.hash(&mut hasher);
    }
    hasher.finish()
}

fn result_key(entries: &[Setting]) -> Box<[u8]> {
    let mut key = Vec::new();
    for entry in entries {
        if !IRRELEVANT_TO_RESULTS.contains(&&*entry.name) {
            // The name is in the statement.
            key.extend_from_slice(entry.replay.as_bytes());
            key.push(0);
        }
    }
    key.into()
}

fn allows_cache(entries: &[Setting]) -> bool {
    let setting = entries.iter().find(|e| &*e.name == "pgweir.cache");
    let Some(setting) = setting else { return true };
    let value = last_word(setting);
    !matches!(&*value, "off" | "false" | "no" | "0" | "f" | "n")
}

/// The value of a setting that is one word or number, in lower case.
fn last_word(setting: &Setting) -> String {
    // The last word or constant is the value.
    let is_part = |c: char| !c.is_alphanumeric();
    let words = setting.replay.to_ascii_lowercase();
    let words: Vec<&str> = words.split(is_part).filter(|w| !w.is_empty()).collect();
    let value = match words[..] {
        // set_config(name, value, false)
        [.., value, "false"] if words.contains(&"set_config") => value,
        [.., value] => value,
        [] => "",
    };
    value.to_owned()
}

impl Settings {
    fn from_entries(entries: Vec<Setting>) -> Settings {
        if entries.is_empty() {
            return Settings(None);
        }
        let relevant = entries
            .iter()
            .filter(|e| !IRRELEVANT_TO_PARSING.contains(&&*e.name));
        let mut relevant = relevant.peekable();
        let parse_environment = if relevant.peek().is_some() {
            hash_of(relevant)
        } else {
            0
        };
        Settings(Some(Arc::new(Inner {
            hash: hash_of(entries.iter()),
            parse_environment,
            replay_is_safe: entries.iter().all(|e| {
                REPLAY_IS_SAFE.contains(&&*e.name) && !REPLAY_MAY_FAIL.contains(&&*e.name)
            }),
            result_key: result_key(&entries),
            allow_cache: allows_cache(&entries),
            weight: entries
                .iter()
                .map(|e| WEIGHT + e.name.len() + e.replay.len())
                .sum(),
            entries: entries.into(),
        })))
    }

    /// Bytes that they take, about.
    pub fn weight(&self) -> usize {
        self.0.as_ref().map_or(0, |inner| inner.weight)
    }

    pub fn entries(&self) -> &[Setting] {
        self.0.as_ref().map_or(&[], |inner| &inner.entries)
    }

    pub fn get(&self, name: &str) -> Option<&Setting> {
        let entries = self.entries();
        let at = entries.binary_search_by(|e| (*e.name).cmp(name)).ok()?;
        Some(&entries[at])
    }

    /// Whether a setting of the kind that is on or off is set to on.
    pub fn is_on(&self, name: &str) -> bool {
        let value = self.get(name).map(last_word);
        value.is_some_and(|value| matches!(&*value, "on" | "true" | "yes" | "1" | "t" | "y"))
    }

    /// The set with `name` set by `replay`.
    #[must_use]
    pub fn with(&self, name: &str, replay: &str) -> Settings {
        if self.get(name).is_some_and(|e| &*e.replay == replay) {
            return self.clone();
        }
        let mut entries = self.entries().to_vec();
        let setting = Setting {
            name: name.into(),
            replay: replay.into(),
        };
        match entries.binary_search_by(|e| (*e.name).cmp(name)) {
            Ok(at) => entries[at] = setting,
            Err(at) => entries.insert(at, setting),
        }
        Settings::from_entries(entries)
    }

    /// The set without `name`.
    #[must_use]
    pub fn without(&self, name: &str) -> Settings {
        if self.get(name).is_none() {
            return self.clone();
        }
        let entries = self.entries().iter().filter(|e| &*e.name != name);
        Settings::from_entries(entries.cloned().collect())
    }

    /// The very same set, at the cost of comparing two pointers.
    #[inline]
    pub fn same(&self, other: &Settings) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// A number that two sessions share if the same text means the same statement to both.
    #[inline]
    pub fn parse_environment(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.parse_environment)
    }

    /// Bytes that two sessions share if their settings give the same answers to the same queries.
    #[inline]
    pub fn result_key(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |inner| &inner.result_key)
    }

    /// Whether the session wants answers from memory (`SET pgweir.cache = off`).
    #[inline]
    pub fn allow_cache(&self) -> bool {
        self.0.as_ref().is_none_or(|inner| inner.allow_cache)
    }

    /// Whether the server cannot refuse a replay of what it once accepted.
    pub fn replay_is_safe(&self) -> bool {
        self.0.as_ref().is_none_or(|inner| inner.replay_is_safe)
    }

    /// SQL that turns a session with `self` into one with `wanted`; empty when nothing differs.
    pub fn difference(&self, wanted: &Settings) -> String {
        // Changing the session's user resets the role, so the two go together and in that order;
        // and another role may not be allowed to make the settings that differ.
        let of_user = |name: &&str| self.get(name).is_some() || wanted.get(name).is_some();
        if ["role", "session_authorization"].iter().any(of_user) && self != wanted {
            return wanted.from_unknown();
        }
        let mut sql = String::new();
        for entry in self.entries() {
            if wanted.get(&entry.name).is_none() {
                sql.push_str(&reset(&entry.name));
                sql.push(';');
            }
        }
        for entry in wanted.entries() {
            if self.get(&entry.name) != Some(entry) {
                sql.push_str(&entry.replay);
                sql.push(';');
            }
        }
        sql
    }

    /// SQL that establishes `self` on a session of which nothing is known.
    pub fn from_unknown(&self) -> String {
        let mut sql = String::from("SET SESSION AUTHORIZATION DEFAULT;RESET ROLE;RESET ALL;");
        let of_user = ["session_authorization", "role"];
        let others = self
            .entries()
            .iter()
            .filter(|e| !of_user.contains(&&*e.name));
        // The role last: it may be one that is not allowed to set the others.
        for entry in others.chain(of_user.iter().filter_map(|name| self.get(name))) {
            sql.push_str(&entry.replay);
            sql.push(';');
        }
        sql
    }
}

fn reset(name: &str) -> String {
    format!("RESET {}", quote_name(name))
}

/// Custom settings have dots; each part is quoted, so that no name is read as a keyword.
fn quote_name(name: &str) -> String {
    let parts: Vec<String> = name
        .split('.')
        .map(|part| format!("\"{}\"", part.replace('"', "\"\"")))
        .collect();
    parts.join(".")
}

impl PartialEq for Settings {
    fn eq(&self, other: &Settings) -> bool {
        self.same(other)
            || match (&self.0, &other.0) {
                (Some(a), Some(b)) => a.hash == b.hash && a.entries == b.entries,
                _ => false,
            }
    }
}

impl Eq for Settings {}

impl Hash for Settings {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_ref().map_or(0, |inner| inner.hash).hash(state);
    }
}

#[cfg(test)]
mod tests;
