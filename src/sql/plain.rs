//! The fast pass over a text: dismisses it if no statement begins with a word, and nothing is
//! named, that could be of interest. Says no too rarely rather than too often; a closer look at
//! the rest costs time only.

use std::ops::Range;

use super::lexer::{Kind, Lexer, Token};

/// Up to eight bytes of a word, in lower case, as a number that compares in one instruction. Words
/// of up to eight bytes have a key of their own.
const fn key(word: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let mut at = 0;
    while at < word.len() && at < 8 {
        // Makes lower case of letters, and of no other byte of a word.
        bytes[at] = word[at] | 0x20;
        at += 1;
    }
    u64::from_le_bytes(bytes)
}

/// The [`key`] of a part of the text, without a loop unless it is at the very end.
#[inline]
fn key_of(text: &[u8], part: Range<usize>) -> u64 {
    match text.get(part.start..).and_then(<[u8]>::first_chunk::<8>) {
        Some(bytes) => {
            let lower = u64::from_le_bytes(*bytes) | 0x2020_2020_2020_2020;
            if part.len() >= 8 {
                lower
            } else {
                lower & ((1 << (8 * part.len())) - 1)
            }
        }
        None => key(text.get(part).unwrap_or_default()),
    }
}

/// First words, of up to eight bytes, of statements that by themselves do nothing to the session;
/// frequent ones first. `ROLLBACK` is among them if it is not one to a savepoint.
const PLAIN_STARTS: [u64; 27] = [
    key(b"select"),
    key(b"insert"),
    key(b"update"),
    key(b"delete"),
    key(b"begin"),
    key(b"commit"),
    ROLLBACK,
    key(b"with"),
    key(b"start"),
    key(b"end"),
    key(b"abort"),
    key(b"copy"),
    key(b"values"),
    key(b"table"),
    key(b"show"),
    key(b"fetch"),
    key(b"move"),
    key(b"merge"),
    key(b"lock"),
    key(b"notify"),
    key(b"truncate"),
    key(b"vacuum"),
    key(b"analyze"),
    key(b"analyse"),
    key(b"grant"),
    key(b"revoke"),
    key(b"comment"),
];

const ROLLBACK: u64 = key(b"rollback");
const TO: u64 = key(b"to");
const INTO: u64 = key(b"into");
const BEFORE_INTO: [u64; 2] = [key(b"insert"), key(b"merge")];
const TEMP: u64 = key(b"temp");
const PG_TEMP: u64 = key(b"pg_temp");

/// The beginnings of longer words that are of interest anywhere.
const INTERESTING: [u64; 11] = [
    key(b"temporar"),
    key(b"pg_temp_"),
    key(b"pg_setti"),
    key(b"set_conf"),
    key(b"set_limi"),
    key(b"pg_advis"),
    key(b"pg_try_a"),
    key(b"dblink_c"),
    key(b"pg_repli"),
    key(b"pg_creat"),
    key(b"pg_copy_"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Before the first word of a statement.
    Start,
    /// In a statement that begins with `ROLLBACK`.
    Rollback,
    Inside,
}

/// Lengths of words, the longest in one, of which one can be of interest inside a statement.
const LOOKED_AT: [bool; 10] = {
    let mut table = [false; 10];
    table[4] = true; // INTO, TEMP
    table[7] = true; // PG_TEMP
    table[9] = true;
    table
};

/// Whether nothing in `text` needs a closer look.
pub fn is_plain(text: &[u8], standard_strings: bool) -> bool {
    let mut position = Position::Start;
    let mut lexer = Lexer::new(text, standard_strings);
    let mut before = 0..0;
    loop {
        // `(SELECT …)` is a statement too, so that nothing is lost with a parenthesis.
        lexer.skip_dull();
        let Some(token) = lexer.ordinary_word().or_else(|| lexer.next()) else {
            return true;
        };
        match token.kind {
            Kind::Word => {
                let length = (token.end - token.start).min(9);
                if position != Position::Inside || LOOKED_AT[length] {
                    let word = Word::new(text, token);
                    if !word.is_plain(position)
                        || (word.key == INTO && !takes_into(text, &before, token.start))
                    {
                        return false;
                    }
                    if position == Position::Start {
                        position = if word.key == ROLLBACK {
                            Position::Rollback
                        } else {
                            Position::Inside
                        };
                    }
                }
                before = token.range();
            }
            Kind::Symbol(b';') => position = Position::Start,
            Kind::Quoted if names_something(text, token) => return false,
            _ if position == Position::Start => position = Position::Inside,
            _ => {}
        }
    }
}

#[derive(Clone, Copy)]
struct Word {
    key: u64,
    length: usize,
}

impl Word {
    #[inline]
    fn new(text: &[u8], token: Token) -> Word {
        Word {
            key: key_of(text, token.range()),
            length: token.end - token.start,
        }
    }

    #[inline]
    fn is_plain(self, position: Position) -> bool {
        match position {
            Position::Start => self.length <= 8 && PLAIN_STARTS.contains(&self.key),
            Position::Rollback => self.key != TO && !self.is_interesting(),
            Position::Inside => !self.is_interesting(),
        }
    }

    #[inline]
    fn is_interesting(self) -> bool {
        match self.length {
            4 => self.key == TEMP,
            7 => self.key == PG_TEMP,
            9.. => INTERESTING.contains(&self.key),
            _ => false,
        }
    }
}

/// Whether `before` is the word before an `INTO` at `into` that is not that of a `SELECT`.
fn takes_into(text: &[u8], before: &Range<usize>, into: usize) -> bool {
    let between = text.get(before.end..into).unwrap_or_default();
    // `merge` and `insert` both fit into a key.
    BEFORE_INTO.contains(&key_of(text, before.clone()))
        && between.iter().all(u8::is_ascii_whitespace)
}

/// Whether a quoted identifier may be one that is of interest. Those that are contain no quotes, and
/// that a letter is a capital only costs a closer look.
#[inline]
fn names_something(text: &[u8], quoted: Token) -> bool {
    // Escapes can spell anything.
    if text[quoted.start] != b'"' {
        return true;
    }
    let inside = Token {
        start: quoted.start + 1,
        // A lone quote at the end of the text is not closed.
        end: (quoted.end - 1).max(quoted.start + 1),
        ..quoted
    };
    Word::new(text, inside).is_interesting()
}
