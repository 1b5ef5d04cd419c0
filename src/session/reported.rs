//! The parameters that a server reports (ParameterStatus), as an immutable set.
//!
//! A client must have been told the values that hold on the server connection it uses; comparing
//! two sets tells what it must be told.

use std::hash::BuildHasher;
use std::sync::Arc;

#[derive(Debug)]
struct Inner {
    /// Sorted by name; names in the server's spelling.
    entries: Vec<(Box<str>, Box<str>)>,
    hash: u64,
    standard_conforming_strings: bool,
}

/// Names and values of reported parameters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reported(Arc<Inner>);

impl Reported {
    pub fn new(mut entries: Vec<(Box<str>, Box<str>)>) -> Reported {
        entries.sort();
        let hasher = foldhash::quality::FixedState::with_seed(0x7265_706f);
        Reported(Arc::new(Inner {
            hash: hasher.hash_one(&entries),
            standard_conforming_strings: !entries
                .iter()
                .any(|(name, value)| &**name == "standard_conforming_strings" && &**value == "off"),
            entries,
        }))
    }

    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.entries.iter().map(|(n, v)| (&**n, &**v))
    }

    /// Names are compared without regard to case, as PostgreSQL compares names of settings.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    }

    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Reported {
        if self.get(name) == Some(value) {
            return self.clone();
        }
        let mut entries = self.0.entries.clone();
        match entries
            .iter_mut()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
        {
            Some(entry) => entry.1 = value.into(),
            None => entries.push((name.into(), value.into())),
        }
        Reported::new(entries)
    }

    /// Whether `'a\b'` has three characters in it.
    #[inline]
    pub fn standard_conforming_strings(&self) -> bool {
        self.0.standard_conforming_strings
    }

    /// Equal contents; a 64-bit hash stands for them.
    #[inline]
    pub fn same(&self, other: &Reported) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.hash == other.0.hash
    }

    /// What one who knows `self` must be told to know `now`.
    pub fn news<'a>(&'a self, now: &'a Reported) -> impl Iterator<Item = (&'a str, &'a str)> {
        now.entries()
            .filter(move |(name, value)| self.get(name) != Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_what_differs() {
        let a = Reported::new(vec![("TimeZone".into(), "UTC".into())]);
        let b = a
            .with("timezone", "Europe/Berlin")
            .with("DateStyle", "ISO, MDY");
        let news: Vec<_> = a.news(&b).collect();
        assert_eq!(
            news,
            [("DateStyle", "ISO, MDY"), ("TimeZone", "Europe/Berlin")]
        );
        assert!(!a.same(&b));
        assert!(b.same(&b.with("TIMEZONE", "Europe/Berlin")));
        assert_eq!(b.news(&b).count(), 0);
    }
}
