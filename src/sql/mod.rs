//! What a SQL text can do to the session that runs it.
//!
//! Pure and forgiving: the text may be cut off, may not be UTF-8, may be no SQL at all; the server
//! is the judge of that. What cannot be told apart is taken to do more rather than less.
//!
//! * [`lexer`] cuts a text into tokens as the server does (PostgreSQL docs, "Lexical Structure");
//! * [`classify`](classify()) finds the statements that touch session state;
//! * [`set`] reads the many forms of `SET`;
//! * [`calls`] knows the functions that touch session state.
//!
//! Client encodings in which a byte of a multi-byte character can look like ASCII (SJIS, BIG5,
//! GBK, …) may be cut wrongly; such a text can only be taken for more than it is if it contains
//! quotes or semicolons in trail bytes.

use std::ops::Range;

pub mod calls;
mod classify;
pub mod lexer;
mod set;

pub use classify::classify;

/// What [`classify`](classify()) has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// Nothing that must be followed. `BEGIN`, `COMMIT` and `ROLLBACK` are plain: the server's
    /// answers tell of them.
    Plain,
    /// All statements of the text, in the order in which the server answers them.
    Special(Vec<Statement>),
}

/// One statement of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Bytes of the text, without the semicolon.
    pub range: Range<usize>,
    /// Empty for one that does nothing to the session.
    pub effects: Vec<Effect>,
}

/// Something that a statement does to the session when it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// `SET`; the name is in lower case, `replay` sets it elsewhere, `None` is `TO DEFAULT`.
    Set {
        name: String,
        local: bool,
        replay: Option<String>,
    },
    Reset {
        name: String,
    },
    ResetAll,
    /// `set_config` with literal arguments.
    SetConfig {
        name: String,
        value: String,
        local: bool,
    },
    /// `set_config` of a setting that the text names, to a value that it does not tell.
    SetConfigNamed {
        name: String,
    },
    /// `set_config` of a setting that the text does not name.
    SetConfigUnknown,
    /// The range is that of the name, as written, in the whole text.
    Prepare {
        name: String,
        name_range: Range<usize>,
    },
    Execute {
        name: String,
        name_range: Range<usize>,
    },
    Deallocate {
        name: String,
        name_range: Range<usize>,
    },
    DeallocateAll,
    DiscardAll,
    DiscardTemp,
    /// `DISCARD PLANS` or `SEQUENCES`.
    DiscardOther,
    Savepoint {
        name: String,
    },
    Release {
        name: String,
    },
    RollbackTo {
        name: String,
    },
    /// May create state that cannot be replayed elsewhere.
    MayPin(PinKind),
    /// May end such state.
    MayUnpin(PinKind),
    /// `DO` and `CALL` can do anything.
    Unknown,
    /// Can change the shape of relations, types or functions.
    Ddl,
}

/// Session state that belongs to one server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinKind {
    Listen,
    AdvisoryLock,
    TempObject,
    HoldCursor,
    /// A loaded library, or a state of an extension that cannot be asked for.
    Load,
}

/// `text` with `range` replaced.
pub fn splice(text: &[u8], range: Range<usize>, replacement: &[u8]) -> Vec<u8> {
    let end = range.end.min(text.len());
    let start = range.start.min(end);
    [&text[..start], replacement, &text[end..]].concat()
}

/// Whether a string literal may hold one of the words that the server turns into a date when it
/// parses the statement (`now`, `today`, …), so that a parsed statement means another thing later.
/// Says yes too often rather than too rarely: any such word behind a quote and blanks will do.
pub fn mentions_datetime_word(text: &[u8]) -> bool {
    memchr::memchr2_iter(b'\'', b'$', text).any(|at| {
        let rest = &text[at + 1..];
        let rest = if text[at] == b'$' {
            // Dollar quotes: the word comes after the second dollar sign.
            let Some(close) = memchr::memchr(b'$', &rest[..rest.len().min(64)]) else {
                return false;
            };
            &rest[close + 1..]
        } else {
            rest
        };
        let word = rest.trim_ascii_start();
        [
            &b"now"[..],
            b"today",
            b"tomorrow",
            b"yesterday",
            b"allballs",
            b"epoch",
            // Written with escapes, it could be any of them.
            b"\\",
        ]
        .iter()
        .any(|w| {
            word.get(..w.len())
                .is_some_and(|g| g.eq_ignore_ascii_case(w))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetime_words_are_found_behind_quotes() {
        for yes in [
            "select 'now'::timestamptz",
            "select ' NOW '",
            "select date $$today$$",
            "select $x$ Epoch$x$",
            "select E'\\x6eow'",
        ] {
            assert!(mentions_datetime_word(yes.as_bytes()), "{yes}");
        }
        for no in [
            "select now()",
            "select 'a now'",
            "select $1, $2",
            "select today from t where x = 'yes'",
        ] {
            assert!(!mentions_datetime_word(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn splicing() {
        assert_eq!(
            splice(b"execute a(1)", 8..9, b"pgweir_1"),
            b"execute pgweir_1(1)"
        );
        assert_eq!(splice(b"x", 5..9, b"y"), b"xy");
    }
}
