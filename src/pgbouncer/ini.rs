//! The format of `pgbouncer.ini`: sections, `key = value` lines, comments, `%include`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files included by files included by ..., at most (as there).
const DEEPEST: usize = 10;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<Path>,
    /// From 1.
    pub line: usize,
}

/// One `key = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub section: String,
    pub key: String,
    pub value: String,
    pub place: Place,
}

/// A line that is none of the format's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IniError {
    pub place: Place,
    pub problem: String,
}

/// Reads a text and what it includes, in order; `read` gives included files' texts.
///
/// # Errors
/// The first line that cannot be read.
pub fn parse(
    text: &str,
    path: &Path,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Vec<Item>, IniError> {
    let mut parser = Parser {
        read,
        section: None,
        items: Vec::new(),
    };
    parser.file(text, path, 0)?;
    Ok(parser.items)
}

struct Parser<'r> {
    read: &'r dyn Fn(&Path) -> io::Result<String>,
    section: Option<String>,
    items: Vec<Item>,
}

impl Parser<'_> {
    fn file(&mut self, text: &str, path: &Path, depth: usize) -> Result<(), IniError> {
        let file: Arc<Path> = path.into();
        for (n, line) in text.lines().enumerate() {
            let place = Place {
                file: Arc::clone(&file),
                line: n + 1,
            };
            let failed = |problem: String| IniError {
                place: place.clone(),
                problem,
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with([';', '#']) {
                continue;
            }
            if let Some(name) = included(line) {
                if depth + 1 >= DEEPEST {
                    return Err(failed("too many files include each other".to_owned()));
                }
                let included = (self.read)(Path::new(name));
                let text = included.map_err(|e| failed(format!("cannot read {name:?}: {e}")))?;
                self.file(&text, &PathBuf::from(name), depth + 1)?;
            } else if let Some(rest) = line.strip_prefix('[') {
                let (name, _) = rest
                    .split_once(']')
                    .ok_or_else(|| failed("a section without its closing bracket".to_owned()))?;
                self.section = Some(name.to_owned());
            } else {
                let (key, value) = key_value(line).ok_or_else(|| {
                    failed(format!("syntax error: {line:?} is no \"key = value\""))
                })?;
                let section = self
                    .section
                    .clone()
                    .ok_or_else(|| failed("a setting before the first section".to_owned()))?;
                self.items.push(Item {
                    section,
                    key,
                    value: value.to_owned(),
                    place,
                });
            }
        }
        Ok(())
    }
}

/// The file of an `%include` line.
fn included(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("%include")?;
    rest.starts_with([' ', '\t']).then(|| rest.trim())
}

/// The key, which may be quoted like an SQL identifier, and the value, as it is written.
fn key_value(line: &str) -> Option<(String, &str)> {
    let (key, rest) = match line.strip_prefix('"') {
        Some(quoted) => unquote(quoted, '"')?,
        None => {
            let is_key = |c: char| c.is_ascii_alphanumeric() || "_.-*".contains(c);
            let end = line.find(|c| !is_key(c))?;
            (line[..end].to_owned(), &line[end..])
        }
    };
    let value = rest.trim_start().strip_prefix('=')?;
    (!key.is_empty()).then(|| (key, value.trim()))
}

/// What stands up to the closing quote, which is doubled inside; and what follows.
pub fn unquote(text: &str, quote: char) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once(quote)?;
        out.push_str(before);
        match after.strip_prefix(quote) {
            Some(more) => {
                out.push(quote);
                rest = more;
            }
            None => return Some((out, after)),
        }
    }
}

/// The pairs of a connection string: `key=value key='it''s'`. Blanks around `=` are optional, and so
/// is a comma or semicolon behind a pair.
///
/// # Errors
/// What cannot be read.
pub fn connection_string(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let after = after.trim_start().strip_prefix('=').map(str::trim_start);
        let (Some(after), false) = (after, key.is_empty()) else {
            return Err(format!("syntax error in connection string at {rest:?}"));
        };
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => unquote(quoted, '\'')
                .ok_or_else(|| format!("unterminated quoted value of {key}"))?,
            None => {
                let end = after.find(char::is_whitespace).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        if !after.is_empty() && !after.starts_with(char::is_whitespace) {
            return Err(format!("syntax error in connection string at {after:?}"));
        }
        pairs.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nothing(_: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    type Three = (String, String, String);

    fn items(text: &str) -> Result<Vec<Three>, (usize, String)> {
        let read = |path: &Path| match path.to_str() {
            Some("other.ini") => Ok("[users]\n bob = pool_size=3\n".to_owned()),
            Some("self.ini") => Ok("%include self.ini\n".to_owned()),
            _ => nothing(path),
        };
        let items = parse(text, Path::new("p.ini"), &read);
        let items = items.map_err(|e| (e.place.line, e.problem))?;
        let each = items.into_iter().map(|i| (i.section, i.key, i.value));
        Ok(each.collect())
    }

    #[test]
    fn sections_comments_and_values() {
        let text = "; c\n# c\n\n[pgbouncer]\n  listen_port=6432  \nlogfile =\r\nauth_query = SELECT a = b -- ; no comment\n\
                    [databases]\n* = host=x\n\"odd \"\"name\" = port=1\n%include other.ini\nmore = \n";
        let expected = [
            ("pgbouncer", "listen_port", "6432"),
            ("pgbouncer", "logfile", ""),
            ("pgbouncer", "auth_query", "SELECT a = b -- ; no comment"),
            ("databases", "*", "host=x"),
            ("databases", "odd \"name", "port=1"),
            ("users", "bob", "pool_size=3"),
            ("users", "more", ""),
        ];
        let expected = expected.map(|(s, k, v)| (s.to_owned(), k.to_owned(), v.to_owned()));
        assert_eq!(items(text).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        for (text, line) in [
            ("[pgbouncer\n", 1),
            ("[a]\nx = 1\nno value\n", 3),
            ("x = 1\n", 1),
            ("[a]\n\"x = 1\n", 2),
            ("[a]\n%include nowhere.ini\n", 2),
            ("%include self.ini\n", 1),
            ("[a]\n= 3\n", 2),
        ] {
            assert_eq!(items(text).unwrap_err().0, line, "{text:?}");
        }
    }

    #[test]
    fn connection_strings() {
        let pairs = |text: &str| connection_string(text);
        let own = |list: &[(&str, &str)]| {
            let list = list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            list.collect::<Vec<_>>()
        };
        assert_eq!(
            pairs("host=a  port = 5 password='it''s = x' dbname=''"),
            Ok(own(&[
                ("host", "a"),
                ("port", "5"),
                ("password", "it's = x"),
                ("dbname", "")
            ]))
        );
        assert_eq!(pairs(""), Ok(Vec::new()));
        for bad in ["host", "host='x", "=x", "host='x'y", "host=a b"] {
            assert!(pairs(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\]a-z=\"';#%* \n]{0,60}") {
            let _ = parse(&text, Path::new("p.ini"), &nothing);
            let _ = connection_string(&text);
        }
    }
}
