//! PgBouncer's settings (`[pgbouncer]` of its file), in its own order: the defaults, and what each is
//! called here.

/// How a value is written there, and so how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number; where it is yes or no, 0 is no.
    Flag,
    Count,
    /// Bytes.
    Size,
    /// Seconds, with a fraction or without.
    Seconds,
    Millis,
    Text,
    /// Names with commas.
    List,
    /// Octal digits.
    Mode,
    /// One of these words, in any case.
    Words(&'static [&'static str]),
}

/// What becomes of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The same as this key of a section.
    Key(&'static str, &'static str),
    /// The same, where an empty value is no value.
    Unless(&'static str, &'static str),
    /// It needs looking at the others; the converter has a function for it.
    Own,
    /// It changes nothing here, for this reason.
    Nothing(&'static str),
}

#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    pub default: &'static str,
    /// Takes effect with RELOAD.
    pub changeable: bool,
    pub kind: Kind,
    pub meaning: Meaning,
}

pub const SSL_MODES: Kind = Kind::Words(&[
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
]);
pub const POOL_MODES: Kind = Kind::Words(&["session", "transaction", "statement"]);
pub const AUTH_TYPES: Kind = Kind::Words(&[
    "any",
    "trust",
    "plain",
    "md5",
    "scram-sha-256",
    "cert",
    "hba",
    "pam",
    "ldap",
]);

/// What cannot be known before the setting is looked at.
pub const AUTH_QUERY: &str = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END \
     FROM pg_authid WHERE rolname=$1 AND rolcanlogin";

const fn live(name: &'static str, default: &'static str, kind: Kind, meaning: Meaning) -> Setting {
    Setting {
        name,
        default,
        changeable: true,
        kind,
        meaning,
    }
}

const fn fixed(name: &'static str, default: &'static str, kind: Kind, meaning: Meaning) -> Setting {
    Setting {
        changeable: false,
        ..live(name, default, kind, meaning)
    }
}

mod table;

pub use table::SETTINGS;

/// By its name.
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| s.name == name)
}

#[cfg(test)]
mod tests {
    use super::Meaning::{Key, Nothing, Own, Unless};
    use super::*;

    /// Every setting has its line in docs/pgbouncer.md, which says what the table says.
    #[test]
    fn the_documentation_has_them_all() {
        let doc = include_str!("../../docs/pgbouncer.md");
        for setting in SETTINGS {
            let line = doc
                .lines()
                .find(|line| line.starts_with(&format!("| `{}` |", setting.name)));
            let line = line.unwrap_or_else(|| panic!("{} is not there", setting.name));
            match setting.meaning {
                Key(section, key) | Unless(section, key) => {
                    assert!(line.contains(&format!("`[{section}] {key}`")), "{line}");
                }
                Nothing(_) => assert!(line.contains("no effect"), "{line}"),
                Own => {}
            }
            let reload = if setting.changeable {
                "| yes |"
            } else {
                "| no |"
            };
            assert!(line.ends_with(reload), "{line}");
        }
    }
}
