//! Constants that mean another thing at another time.

use super::lexer::{Kind, Lexer};

/// Words that the server replaces by a point in time when it reads a constant of a date or time
/// type (PostgreSQL docs, "Special Date/Time Inputs"), in lower case.
const WORDS: [&[u8]; 6] = [
    b"now",
    b"today",
    b"tomorrow",
    b"yesterday",
    b"allballs",
    b"epoch",
];

/// Whether a string constant in `text` may name a time relative to now. The server evaluates it
/// when it parses the statement, so that such a statement must not be shared.
///
/// Says yes too often rather than too rarely: the word may stand anywhere in the constant, which
/// may be that of an array, a range or a row, and a constant with escapes or in several parts may
/// be anything.
pub fn mentions_datetime_word(text: &[u8]) -> bool {
    if memchr::memchr2(b'\'', b'$', text).is_none() {
        return false;
    }
    // Backslashes decide where a constant ends only in one that contains a backslash, and the first
    // of those ends the search.
    Lexer::new(text, true)
        .filter(|token| token.kind == Kind::String)
        .any(|token| may_be_datetime(&text[token.range()]))
}

/// Whether a parameter's value may name a time relative to now, should the server take it for one.
pub fn names_datetime(value: &[u8]) -> bool {
    value
        .split(|b| !b.is_ascii_alphabetic())
        .any(|word| WORDS.iter().any(|w| word.eq_ignore_ascii_case(w)))
}

/// Whether a constant, with its quotes, may name a time relative to now.
pub fn may_be_datetime(constant: &[u8]) -> bool {
    constant.contains(&b'\\')
        || matches!(constant, [b'u' | b'U', ..])
        || (constant.first() != Some(&b'$') && is_continued(constant))
        || constant
            .split(|b| !b.is_ascii_alphabetic())
            .any(|word| WORDS.iter().any(|w| word.eq_ignore_ascii_case(w)))
}

/// Whether there is a line break behind a quote, as between two parts of one constant.
fn is_continued(constant: &[u8]) -> bool {
    let closing = constant.len().saturating_sub(1);
    let mut at = constant.iter().take_while(|b| **b != b'\'').count() + 1;
    while let Some(n) = constant
        .get(at..closing)
        .and_then(|inside| memchr::memchr(b'\'', inside))
    {
        if constant.get(at + n + 1) != Some(&b'\'') {
            return true;
        }
        at += n + 2;
    }
    false
}

#[cfg(test)]
mod tests;
