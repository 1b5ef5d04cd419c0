//! What the operator allows to be remembered, and for how long.

use std::time::Duration;

use regex::bytes::Regex;

use super::catalog::{Declared, FunctionEffects, TableEffects};
use super::facts::Name;
use crate::config::{CacheRule, CacheSettings, RowSecurity};
use crate::session::recording::Ending;

#[derive(Debug)]
pub struct Rules {
    /// Answers are remembered; otherwise only writes are followed, for other pools.
    pub enabled: bool,
    /// Bytes of one answer.
    pub max_entry_size: usize,
    pub catalog_refresh: Duration,
    pub declared: Declared,
    default: Life,
    rules: Vec<Rule>,
    /// What all this was made of.
    made_of: CacheSettings,
}

/// How long an answer may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    pub ttl: Duration,
    pub stale: Duration,
    /// Of an error; zero: not at all.
    pub errors: Duration,
    /// Not for later: only those who ask while it is being asked for are given it.
    pub passing: bool,
}

impl Life {
    /// How long an answer that ends so is fresh, and how long it may be given after that.
    pub fn of(&self, ending: Ending) -> (Duration, Duration) {
        match ending {
            Ending::Complete => (self.ttl, self.stale),
            Ending::Error { .. } => (self.errors, Duration::ZERO),
        }
    }
}

#[derive(Debug)]
struct Rule {
    tables: Vec<Name>,
    query: Option<Regex>,
    says: CacheRule,
}

/// Rules that fit a statement, whoever sends it; in order.
pub type Fitting = Box<[u16]>;

fn name(text: &str) -> Name {
    match text.split_once('.') {
        Some((schema, name)) => Name::qualified(schema, name),
        None => Name::bare(text),
    }
}

impl Rules {
    pub fn new(settings: &CacheSettings) -> Rules {
        let names = |list: &Vec<String>| list.iter().map(|n| name(n)).collect::<Vec<_>>();
        let functions = settings.functions.iter().map(|(function, says)| {
            let effects = FunctionEffects {
                writes: says.writes.as_ref().map(names),
                reads: says.reads.as_ref().map(names),
            };
            (name(function), effects)
        });
        let tables = settings.tables.iter().map(|(table, writes)| {
            let writes = names(writes);
            (name(table), TableEffects { writes })
        });
        let rules = settings.rules.iter().map(|rule| Rule {
            tables: names(&rule.tables),
            // The configuration has been checked: it is one.
            query: rule.query.as_ref().and_then(|q| Regex::new(q).ok()),
            says: rule.clone(),
        });
        Rules {
            enabled: settings.enabled,
            max_entry_size: settings.max_entry_size,
            catalog_refresh: settings.catalog_refresh,
            declared: Declared {
                functions: functions.collect(),
                tables: tables.collect(),
                row_security: settings.row_security == RowSecurity::Key,
            },
            default: Life {
                ttl: settings.ttl,
                stale: settings.stale_while_revalidate,
                errors: Duration::ZERO,
                passing: false,
            },
            rules: rules.collect(),
            made_of: settings.clone(),
        }
    }

    /// Whether these settings would give the same rules.
    pub fn are_of(&self, settings: &CacheSettings) -> bool {
        self.made_of == *settings
    }

    /// The rules that fit a statement that names these tables (schema and name).
    pub fn fitting(&self, text: &[u8], tables: &[(&str, &str)]) -> Fitting {
        let names = |rule: &Rule| {
            rule.tables.is_empty()
                || rule.tables.iter().any(|wanted| {
                    tables.iter().any(|(schema, name)| {
                        *wanted.name == **name
                            && wanted.schema.as_ref().is_none_or(|s| **s == **schema)
                    })
                })
        };
        let fits = |rule: &Rule| {
            names(rule) && rule.query.as_ref().is_none_or(|query| query.is_match(text))
        };
        let rules = self.rules.iter().enumerate();
        // More rules than that nobody writes.
        rules
            .filter(|(_, rule)| fits(rule))
            .filter_map(|(n, _)| u16::try_from(n).ok())
            .collect()
    }

    /// Whether the constants in a text make a difference.
    pub fn look_at_constants(&self) -> bool {
        self.rules.iter().any(|rule| rule.query.is_some())
    }

    /// How long an answer to this client may be given; `None`: not at all.
    pub fn life(&self, fitting: &[u16], user: &str, application_name: &str) -> Option<Life> {
        let fits = |says: &&CacheRule| {
            let has = |list: &[String], one: &str| list.is_empty() || list.iter().any(|x| x == one);
            has(&says.users, user) && has(&says.application_names, application_name)
        };
        let rules = fitting
            .iter()
            .filter_map(|n| self.rules.get(usize::from(*n)));
        let Some(rule) = rules.map(|r| &r.says).find(fits) else {
            return Some(self.default);
        };
        let enabled = rule.enabled.unwrap_or(true);
        (enabled || rule.coalesce).then(|| Life {
            ttl: rule.ttl.unwrap_or(self.default.ttl),
            stale: rule.stale_while_revalidate.unwrap_or(self.default.stale),
            errors: rule.errors,
            passing: !enabled,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    fn rules(text: &str) -> Rules {
        let text = format!("[pools.a]\n[pools.a.cache]\nenabled = true\nttl = 60\n{text}");
        let config = Config::parse(&text, Path::new("x.toml")).unwrap();
        Rules::new(&config.databases["a"].cache)
    }

    #[test]
    fn the_first_that_fits_decides() {
        let rules = rules(
            "rules = [{ tables = ['s.t'], enabled = false }, { query = '(?i)^select 1', ttl = 5 }, \
             { users = ['amy'], application_names = ['web'], ttl = 7 }]",
        );
        let life = |text: &str, tables: &[(&str, &str)], user, app| {
            let fitting = rules.fitting(text.as_bytes(), tables);
            rules.life(&fitting, user, app).map(|l| l.ttl.as_secs())
        };
        assert_eq!(life("x", &[("s", "t")], "amy", "web"), None);
        assert_eq!(life("x", &[("public", "t")], "amy", "web"), Some(7));
        assert_eq!(life("SELECT 1", &[], "bob", ""), Some(5));
        assert_eq!(life("x", &[], "amy", "other"), Some(60));
        assert_eq!(life("x", &[], "bob", "web"), Some(60));
    }

    #[test]
    fn wrong_rules_are_refused() {
        for (text, expected) in [
            ("rules = [{ query = '(' }]", "rule 1: query"),
            ("rules = [{ ttl = 0 }]", "rule 1: ttl"),
            ("rules = [{ coalesce = true }]", "rule 1: coalesce"),
            (
                "rules = [{ enabled = false, errors = 5 }]",
                "rule 1: errors",
            ),
            ("rules = [{ errors = 'x' }]", "rules"),
            ("rules = [{ tabels = ['x'] }]", "unknown field"),
            ("functions = { f = { writs = [] } }", "unknown field"),
        ] {
            let text = format!("[pools.a]\n[pools.a.cache]\nenabled = true\n{text}");
            let error = Config::parse(&text, Path::new("x.toml"))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
