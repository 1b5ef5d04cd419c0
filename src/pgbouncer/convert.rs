//! From the lines of `pgbouncer.ini` to the TOML that says the same.

use super::entries::{DATABASE_KEYS, EntryKey, PEER_KEYS, USER_KEYS};
use super::ini::{IniError, Item, Place, connection_string};
use super::settings::{AUTH_QUERY, Kind, Meaning, SETTINGS, setting};
use super::toml::{self, Document};

mod tls;

/// What a file came to.
#[derive(Debug)]
pub struct Converted {
    pub toml: String,
    /// Where each line of it comes from.
    pub places: Vec<Option<Place>>,
    /// What has no effect, and why.
    pub notes: Vec<String>,
    /// Settings of `[pgbouncer]` as they are written, for SHOW CONFIG.
    pub written: Vec<(&'static str, String)>,
}

/// Where pgweir's own defaults are others than PgBouncer's.
const OTHER_DEFAULTS: &[(&str, &str, &str)] = &[
    ("general", "pool_mode", "\"session\""),
    ("general", "listen_addr", "[]"),
    ("general", "max_client_conn", "100"),
    ("general", "listen_backlog", "128"),
    ("general", "max_queue", "0"),
    ("general", "client_write_timeout", "0"),
    ("general", "shutdown_timeout", "0"),
    ("log", "style", "\"pgbouncer\""),
    ("auth", "type", "\"md5\""),
    ("auth", "allow_cleartext", "true"),
];

/// # Errors
/// All that is wrong with it.
pub fn convert(items: &[Item]) -> Result<Converted, Vec<IniError>> {
    let mut converter = Converter::default();
    // In this order, whatever the file's.
    for section in ["general", "log", "auth", "client_tls", "server_tls"] {
        for (_, key, value) in OTHER_DEFAULTS.iter().filter(|(s, ..)| *s == section) {
            converter.defaults.push((section, key, value));
        }
    }
    for item in items {
        match item.section.as_str() {
            "pgbouncer" => converter.setting(item),
            "databases" => converter.database(item),
            "users" => converter.user(item),
            "peers" => converter.peer(item),
            other => converter.problem(&item.place, format!("invalid section [{other}]")),
        }
    }
    converter.finish()
}

#[derive(Debug, Default)]
struct Converter {
    document: Document,
    defaults: Vec<(&'static str, &'static str, &'static str)>,
    notes: Vec<String>,
    problems: Vec<IniError>,
    written: Vec<(&'static str, String, Place)>,
    /// Databases without a host: they are reached over a Unix socket.
    without_host: Vec<(String, Place)>,
    has_databases: bool,
}

impl Converter {
    fn problem(&mut self, place: &Place, problem: String) {
        self.problems.push(IniError {
            place: place.clone(),
            problem,
        });
    }

    fn note(&mut self, section: &[&str], name: &str, why: &str) {
        self.document
            .comment(section, format!("{name} has no effect: {why}"));
        self.notes.push(format!("{name} has no effect: {why}"));
    }

    fn setting(&mut self, item: &Item) {
        let Some(known) = setting(&item.key) else {
            let names = SETTINGS.iter().map(|s| s.name);
            let problem = format!(
                "unknown parameter: pgbouncer/{}{}",
                item.key,
                crate::config::nearest(&item.key, names)
            );
            return self.problem(&item.place, problem);
        };
        let value = match literal(known.kind, &item.value) {
            Ok(value) => value,
            Err(problem) => {
                let problem = format!(
                    "invalid value {:?} for parameter {}: {problem}",
                    item.value, known.name
                );
                return self.problem(&item.place, problem);
            }
        };
        self.written.retain(|(name, ..)| *name != known.name);
        self.written
            .push((known.name, item.value.clone(), item.place.clone()));
        match known.meaning {
            Meaning::Unless(section, key) if item.value.is_empty() => {
                self.document.unset(&[section], key);
            }
            Meaning::Key(section, key) | Meaning::Unless(section, key) => {
                self.document.set(&[section], key, value, Some(&item.place));
            }
            Meaning::Nothing(why) => {
                if item.value != known.default {
                    self.note(&["general"], known.name, why);
                }
            }
            Meaning::Own => {}
        }
    }

    fn written(&self, name: &str) -> Option<(&str, &Place)> {
        let mut all = self.written.iter();
        let (_, value, place) = all.find(|(n, ..)| *n == name)?;
        Some((value, place))
    }

    /// The settings that have to be seen together.
    fn own_settings(&mut self) {
        let asker = self
            .written("auth_user")
            .filter(|(user, _)| !user.is_empty());
        if let Some((user, place)) = asker.map(|(v, p)| (v.to_owned(), p.clone())) {
            let query = self.written("auth_query");
            let (query, at) = query.map_or((AUTH_QUERY.to_owned(), None), |(query, place)| {
                (query.to_owned(), Some(place.clone()))
            });
            self.document
                .set(&["auth"], "user", toml::string(&user), Some(&place));
            self.document
                .set(&["auth"], "query", toml::string(&query), at.as_ref());
        } else if let Some((query, place)) = self.written("auth_query")
            && query != AUTH_QUERY
        {
            // It may still be for databases with an auth_user of their own.
            let (query, place) = (toml::string(query), place.clone());
            self.document.set(&["auth"], "query", query, Some(&place));
        }
        if let Some((query, place)) = self.written("server_check_query") {
            let query = if query == "<empty>" { "" } else { query };
            let (query, place) = (toml::string(query), place.clone());
            let path = &["general"];
            self.document
                .set(path, "server_check_query", query, Some(&place));
        }
        if let Some((value, place)) = self.written("verbose") {
            let level = match value.trim() {
                "0" | "" => "info",
                "1" => "debug",
                _ => "trace",
            };
            let place = place.clone();
            self.document
                .set(&["log"], "level", toml::string(level), Some(&place));
        }
        self.tls();
        if self.written("conffile").is_some_and(|(v, _)| !v.is_empty()) {
            let why = "the file is named on the command line";
            self.note(&["general"], "conffile", why);
        }
    }

    /// The pairs of an entry, with what is wrong with them reported.
    fn pairs(&mut self, item: &Item) -> Vec<(String, String)> {
        connection_string(&item.value).unwrap_or_else(|problem| {
            self.problem(&item.place, problem);
            Vec::new()
        })
    }

    fn entry_key(
        &mut self,
        item: &Item,
        keys: &'static [EntryKey],
        name: &str,
        value: &str,
    ) -> Option<(&'static EntryKey, String)> {
        let section = &item.section;
        let Some(known) = keys.iter().find(|k| k.name == name) else {
            let problem = format!(
                "unrecognized parameter {name:?} in [{section}] entry {:?}{}",
                item.key,
                crate::config::nearest(name, keys.iter().map(|k| k.name))
            );
            self.problem(&item.place, problem);
            return None;
        };
        match literal(known.kind, value) {
            Ok(value) => Some((known, value)),
            Err(problem) => {
                let problem = format!(
                    "invalid value {value:?} for {name} in [{section}] entry {:?}: {problem}",
                    item.key
                );
                self.problem(&item.place, problem);
                None
            }
        }
    }

    fn database(&mut self, item: &Item) {
        if item.key == "pgbouncer" {
            let problem = "database name \"pgbouncer\" is reserved".to_owned();
            return self.problem(&item.place, problem);
        }
        let path = ["pools", &*item.key];
        self.has_databases = true;
        self.document.begin(&path, &item.place);
        self.without_host.retain(|(name, _)| *name != item.key);
        let mut has_host = false;
        for (name, value) in self.pairs(item) {
            let Some((key, literal)) = self.entry_key(item, DATABASE_KEYS, &name, &value) else {
                continue;
            };
            let place = Some(&item.place);
            match key.key {
                Some(key) => self.document.set(&path, key, literal, place),
                // Only host.
                None if value.is_empty() => {}
                None => {
                    has_host = true;
                    let hosts: Vec<&str> = value.split(',').map(str::trim).collect();
                    let literal = match &hosts[..] {
                        [one] => toml::string(one),
                        several => toml::list(several.iter().copied()),
                    };
                    self.document.set(&path, "host", literal, place);
                }
            }
        }
        if !has_host {
            self.without_host
                .push((item.key.clone(), item.place.clone()));
        }
    }

    fn user(&mut self, item: &Item) {
        let path = ["users", &*item.key];
        self.document.begin(&path, &item.place);
        for (name, value) in self.pairs(item) {
            if name == "query_wait_timeout" && value == "-1" {
                continue;
            }
            if let Some((key, literal)) = self.entry_key(item, USER_KEYS, &name, &value) {
                let key = key.key.unwrap_or(key.name);
                self.document.set(&path, key, literal, Some(&item.place));
            }
        }
    }

    fn peer(&mut self, item: &Item) {
        let path = ["peers", &*item.key];
        self.document.begin(&path, &item.place);
        for (name, value) in self.pairs(item) {
            if let Some((key, literal)) = self.entry_key(item, PEER_KEYS, &name, &value) {
                let key = key.key.unwrap_or(key.name);
                self.document.set(&path, key, literal, Some(&item.place));
            }
        }
    }

    fn finish(mut self) -> Result<Converted, Vec<IniError>> {
        self.own_settings();
        let socket_dir = self.written("unix_socket_dir");
        let socket_dir = socket_dir.map(|(dir, _)| dir).filter(|dir| !dir.is_empty());
        let socket_dir = socket_dir.unwrap_or("/tmp").to_owned();
        for (name, place) in std::mem::take(&mut self.without_host) {
            let dir = toml::string(&socket_dir);
            self.document
                .set(&["pools", &name], "host", dir, Some(&place));
        }
        if !self.has_databases {
            let why = "no databases: there is nothing but the console".to_owned();
            self.document.comment(&["pools"], why);
        }
        for (section, key, value) in std::mem::take(&mut self.defaults) {
            let why = "PgBouncer's default";
            self.document.set_default(&[section], key, value, why);
        }
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let (toml, places) = self.document.finish();
        Ok(Converted {
            toml,
            places,
            notes: self.notes,
            written: self.written.into_iter().map(|(n, v, _)| (n, v)).collect(),
        })
    }
}

/// A value as TOML has it.
///
/// # Errors
/// What would have been right.
pub(super) fn literal(kind: Kind, text: &str) -> Result<String, String> {
    let number = |text: &str| {
        let number = text.parse::<u64>().ok().filter(|n| *n <= i32::MAX as u64);
        number.ok_or_else(|| "a whole number from 0 to 2147483647 is expected".to_owned())
    };
    match kind {
        Kind::Flag => match text.parse::<i64>() {
            Ok(number) => Ok((number != 0).to_string()),
            Err(_) => Err("1 or 0 is expected".to_owned()),
        },
        Kind::Count | Kind::Size => Ok(number(text)?.to_string()),
        Kind::Millis => Ok(format!("\"{}ms\"", number(text)?)),
        Kind::Seconds => {
            let seconds: f64 = text.parse().unwrap_or(f64::NAN);
            if !(0.0..=3.2e9).contains(&seconds) {
                return Err("a number of seconds is expected".to_owned());
            }
            Ok(match seconds.fract() == 0.0 {
                true => format!("{seconds:.0}"),
                false => format!("{seconds:?}"),
            })
        }
        Kind::Text => Ok(toml::string(text)),
        Kind::List => {
            let names = text.split([',', ' ', '\t']).filter(|name| !name.is_empty());
            Ok(toml::list(names))
        }
        Kind::Mode => {
            let octal = text.len() <= 4 && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
            match octal && !text.is_empty() {
                true => Ok(toml::string(text)),
                false => Err("octal digits are expected, such as 0777".to_owned()),
            }
        }
        Kind::Words(words) => {
            let word = text.to_lowercase();
            match words.contains(&&*word) {
                true => Ok(toml::string(&word)),
                false => Err(format!("one of {} is expected", words.join(", "))),
            }
        }
    }
}

#[cfg(test)]
mod tests;
