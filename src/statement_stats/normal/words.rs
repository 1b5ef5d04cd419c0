//! The few words that decide how a text is read.

use super::Before;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Anything else: an identifier, or a keyword that says nothing here.
    Name,
    /// A keyword that a value may follow.
    Opens,
    /// `NULL`, `TRUE` and `FALSE`.
    Constant,
    /// `DEFAULT`.
    Default,
    /// `IN`.
    In,
    /// `ARRAY`.
    Array,
    /// `VALUES`.
    Values,
    /// `TO`.
    To,
    /// `SAVEPOINT`, also behind other words.
    Savepoint,
    /// `RELEASE`, `DEALLOCATE`, `CLOSE` or `DECLARE`, and `SAVEPOINT`: a name follows.
    Named,
    /// `ROLLBACK`.
    Rollback,
    /// `FETCH` or `MOVE`: the name comes last.
    Fetch,
    /// `ALL`, which is no name, nor is `PREPARE`.
    NoName,
}

/// Longer than any that counts.
const LONGEST: usize = 10;

impl Word {
    /// A word without quotes.
    pub fn of(bytes: &[u8]) -> Word {
        if bytes.len() < 2 || bytes.len() > LONGEST {
            return Word::Name;
        }
        let mut lower = [0; LONGEST];
        let lower = &mut lower[..bytes.len()];
        for (to, from) in lower.iter_mut().zip(bytes) {
            *to = from.to_ascii_lowercase();
        }
        match &*lower {
            b"null" | b"true" | b"false" => Word::Constant,
            b"in" => Word::In,
            b"array" => Word::Array,
            b"values" => Word::Values,
            b"to" => Word::To,
            b"default" => Word::Default,
            b"savepoint" => Word::Savepoint,
            b"release" | b"deallocate" | b"close" | b"declare" => Word::Named,
            b"rollback" => Word::Rollback,
            b"fetch" | b"move" => Word::Fetch,
            b"all" | b"prepare" => Word::NoName,
            b"select" | b"then" | b"else" | b"when" | b"and" | b"or" | b"where" | b"from"
            | b"distinct" | b"between" | b"like" | b"ilike" | b"returning" | b"on" | b"by"
            | b"limit" | b"offset" => Word::Opens,
            _ => Word::Name,
        }
    }

    /// Where a value may stand.
    pub fn is_constant(self) -> bool {
        self == Word::Constant
    }

    pub fn before(self) -> Before {
        match self {
            Word::Opens | Word::In | Word::Values | Word::To | Word::NoName => Before::Open,
            _ => Before::Closed,
        }
    }
}

/// What is in the quotes, if it means the same without them, but for keywords.
pub(super) fn unquoted(name: &[u8]) -> Option<&[u8]> {
    let inner = name.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let first = *inner.first()?;
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_';
    (!first.is_ascii_digit() && inner.iter().all(plain)).then_some(inner)
}
