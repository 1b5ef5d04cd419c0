//! What is wrong with a configuration file, and collecting all of it in one reading.

use std::fmt;
use std::path::{Path, PathBuf};

use super::source::Source;

/// A mistake in the configuration file.
///
/// `Display` is one line, `FILE:LINE: KEY: PROBLEM`, for this mistake alone; [`ConfigError::all`]
/// gives every mistake that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    pub path: PathBuf,
    /// Counted from 1. `None` when no line is at fault, as with an unreadable file.
    pub line: Option<usize>,
    /// Dotted path of the key, for example `pools.app.pool_size`; empty when none is at fault.
    pub key: String,
    /// What is wrong, and what would be right.
    pub problem: String,
    /// The other mistakes in the same file, by line; theirs is empty.
    pub others: Vec<ConfigError>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.problem)
    }
}

impl ConfigError {
    pub(crate) fn new(path: &Path, line: Option<usize>, key: String, problem: &str) -> ConfigError {
        ConfigError {
            path: path.to_owned(),
            line,
            key,
            problem: problem.trim().replace('\n', "; "),
            others: Vec::new(),
        }
    }

    /// This mistake and the others.
    pub fn all(&self) -> impl Iterator<Item = &ConfigError> {
        std::iter::once(self).chain(&self.others)
    }
}

/// Collects mistakes, giving each its line.
pub(super) struct Problems<'a> {
    path: &'a Path,
    source: &'a Source<'a>,
    found: Vec<ConfigError>,
}

impl<'a> Problems<'a> {
    pub fn new(path: &'a Path, source: &'a Source<'a>) -> Problems<'a> {
        Problems {
            path,
            source,
            found: Vec::new(),
        }
    }

    /// Adds a mistake at `key`, once; a key that is not written gets the line of its section.
    pub fn add(&mut self, key: &[&str], problem: impl AsRef<str>) {
        let line = self.source.line_of(key);
        let error = ConfigError::new(self.path, line, dotted(key), problem.as_ref());
        if !self.found.contains(&error) {
            self.found.push(error);
        }
    }

    /// Whether the file itself sets `key`.
    pub fn is_written(&self, key: &[&str]) -> bool {
        self.source.is_written(key)
    }

    /// Itself, if nothing was found.
    ///
    /// # Errors
    /// The first mistake by line, with the others in it.
    pub fn or_stop(mut self) -> Result<Problems<'a>, ConfigError> {
        self.found.sort_by_key(|error| error.line);
        let mut found = self.found.drain(..);
        let Some(mut first) = found.next() else {
            drop(found);
            return Ok(self);
        };
        first.others = found.collect();
        Err(first)
    }
}

/// `["pools", "*", "host"]` is `pools."*".host`, as TOML would have it.
pub(super) fn dotted(key: &[&str]) -> String {
    let is_bare = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    let parts: Vec<String> = key
        .iter()
        .map(|part| match is_bare(part) {
            true => (*part).to_owned(),
            false => format!("{part:?}"),
        })
        .collect();
    parts.join(".")
}
