//! Tokens of a SQL text, cut as the server's own lexer cuts them (PostgreSQL docs, "Lexical
//! Structure"), without interpreting them.
//!
//! Never fails: whatever is cut off ends with the text. Operators are given one character at a
//! time, and what the server refuses as junk behind a number is a token of its own. Every token has
//! at least one byte, and between tokens there are only blanks and comments.

use std::ops::Range;

/// What a [`Token`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or an identifier without quotes.
    Word,
    /// `"x"` or `U&"x"`.
    Quoted,
    /// A constant in single or dollar quotes, with its prefix and with the lines that continue it.
    String,
    /// An unsigned number.
    Number,
    /// `$1`.
    Parameter,
    /// One byte of anything else.
    Symbol(u8),
}

/// Bytes `start..end` of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// Gives the tokens of a text in order.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    standard_strings: bool,
}

/// Bytes of identifiers behind the first one.
const IN_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80;
        byte += 1;
    }
    table
};

fn is_in_word(byte: u8) -> bool {
    IN_WORD[usize::from(byte)]
}

/// First bytes of identifiers.
const STARTS_WORD: [bool; 256] = {
    let mut table = IN_WORD;
    table[b'$' as usize] = false;
    let mut digit = b'0';
    while digit <= b'9' {
        table[digit as usize] = false;
        digit += 1;
    }
    table
};

/// Blanks, digits and the symbols that neither begin another token nor end a statement.
const DULL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        table[byte] = is_blank(b)
            || b.is_ascii_digit()
            || (b.is_ascii_punctuation()
                && !matches!(b, b'\'' | b'"' | b'$' | b'-' | b'/' | b';' | b'_'));
        byte += 1;
    }
    table
};

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c')
}

/// Where the next quote is, or the next backslash if that matters. Most constants and identifiers
/// are shorter than the preparations for a fast search.
#[inline]
fn find_special(text: &[u8], quote: u8, backslashes: bool) -> Option<usize> {
    let is_special = |b: &u8| *b == quote || (backslashes && *b == b'\\');
    let (near, far) = text.split_at(text.len().min(SHORT));
    near.iter().position(is_special).or_else(|| {
        let found = if backslashes {
            memchr::memchr2(quote, b'\\', far)
        } else {
            memchr::memchr(quote, far)
        };
        found.map(|n| n + SHORT)
    })
}

/// Bytes that are looked at one by one before a search begins.
const SHORT: usize = 16;

impl<'a> Lexer<'a> {
    /// `standard_strings` is the session's `standard_conforming_strings`: with `false`, a backslash
    /// escapes in any constant in single quotes.
    pub fn new(text: &'a [u8], standard_strings: bool) -> Lexer<'a> {
        Lexer {
            text,
            at: 0,
            standard_strings,
        }
    }

    /// The byte `ahead` of the next one, or 0, which is no part of any token that is looked for.
    #[inline]
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &'a [u8] {
        // `at` never passes the end, but an empty rest costs less than proving it.
        self.text.get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn skip_while(&mut self, belongs: impl Fn(u8) -> bool) {
        let mut at = self.at;
        while self.text.get(at).is_some_and(|b| belongs(*b)) {
            at += 1;
        }
        self.at = at;
    }

    /// Moves to a byte where a blank, a number or a symbol other than `;` no longer can be what
    /// comes next. Letters that belong to a number become a word if they are not skipped with it.
    #[inline]
    pub fn skip_dull(&mut self) {
        self.skip_while(|b| DULL[usize::from(b)]);
    }

    /// A word that is next, unless it could be the prefix of a string. What [`Iterator::next`] gives
    /// as well, in a fraction of the time.
    #[inline]
    pub fn ordinary_word(&mut self) -> Option<Token> {
        let start = self.at;
        if !STARTS_WORD[usize::from(*self.text.get(start)?)] {
            return None;
        }
        let mut end = start + 1;
        while self.text.get(end).is_some_and(|b| is_in_word(*b)) {
            end += 1;
        }
        if end == start + 1 && matches!(self.text.get(end), Some(b'\'' | b'&')) {
            return None;
        }
        self.at = end;
        Some(Token {
            kind: Kind::Word,
            start,
            end,
        })
    }

    #[inline]
    fn skip_blanks(&mut self) {
        loop {
            match self.peek(0) {
                blank if is_blank(blank) => self.at += 1,
                b'-' if self.peek(1) == b'-' => self.skip_line(),
                b'/' if self.peek(1) == b'*' => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn skip_line(&mut self) {
        let rest = self.rest();
        self.at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
    }

    /// Comments nest.
    fn skip_comment(&mut self) {
        let mut depth = 0usize;
        while let Some(n) = memchr::memchr2(b'/', b'*', self.rest()) {
            self.at += n;
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
        self.at = self.text.len();
    }

    /// From an opening quote to behind the closing one; a doubled quote belongs to the inside.
    #[inline]
    fn skip_quoted(&mut self, quote: u8, backslashes: bool) {
        self.at += 1;
        loop {
            let rest = self.rest();
            let found = find_special(rest, quote, backslashes);
            let Some(n) = found else {
                self.at = self.text.len();
                return;
            };
            self.at += n + 1;
            if rest[n] == b'\\' || self.peek(0) == quote {
                self.at = (self.at + 1).min(self.text.len());
            } else if quote == b'"' || !self.skip_to_continuation() {
                return;
            }
        }
    }

    /// A string goes on in another one if there is a line break between them. Moves behind the
    /// quote that opens the next part.
    #[inline]
    fn skip_to_continuation(&mut self) -> bool {
        if !is_blank(self.peek(0)) && self.peek(0) != b'-' {
            return false;
        }
        let end = self.at;
        let mut line_break = false;
        loop {
            match self.peek(0) {
                b'\n' | b'\r' => line_break = true,
                blank if is_blank(blank) => {}
                b'-' if self.peek(1) == b'-' => {
                    self.skip_line();
                    continue;
                }
                b'\'' if line_break => {
                    self.at += 1;
                    return true;
                }
                _ => {
                    self.at = end;
                    return false;
                }
            }
            self.at += 1;
        }
    }

    /// A word, or a string whose prefix looks like one.
    #[inline]
    fn word(&mut self) -> Kind {
        let start = self.at;
        self.skip_while(is_in_word);
        if self.at - start == 1 {
            match (self.text[start] | 0x20, self.peek(0)) {
                (b'e', b'\'') => {
                    self.skip_quoted(b'\'', true);
                    return Kind::String;
                }
                (b'b' | b'x' | b'n', b'\'') => {
                    self.skip_quoted(b'\'', !self.standard_strings);
                    return Kind::String;
                }
                (b'u', b'&') if matches!(self.peek(1), b'\'' | b'"') => {
                    let quote = self.peek(1);
                    self.at += 1;
                    self.skip_quoted(quote, false);
                    return if quote == b'"' {
                        Kind::Quoted
                    } else {
                        Kind::String
                    };
                }
                _ => {}
            }
        }
        Kind::Word
    }

    /// `$1`, `$tag$ … $tag$`, or a lone dollar sign.
    fn dollar(&mut self) -> Kind {
        self.at += 1;
        if self.peek(0).is_ascii_digit() {
            self.skip_while(|b| b.is_ascii_digit());
            return Kind::Parameter;
        }
        let start = self.at - 1;
        self.skip_while(|b| is_in_word(b) && b != b'$');
        if self.peek(0) != b'$' {
            self.at = start + 1;
            return Kind::Symbol(b'$');
        }
        self.at += 1;
        let tag = &self.text[start..self.at];
        let body = self.rest();
        self.at += memchr::memmem::find(body, tag).map_or(body.len(), |n| n + tag.len());
        Kind::String
    }

    fn number(&mut self) -> Kind {
        let digits = |b: u8| b.is_ascii_digit() || b == b'_';
        if self.peek(0) == b'0' && matches!(self.peek(1) | 0x20, b'x' | b'o' | b'b') {
            self.at += 1;
            // `0x'1F'` is a zero and a string.
            if self.peek(1).is_ascii_hexdigit() {
                self.at += 1;
                self.skip_while(|b| b.is_ascii_hexdigit() || b == b'_');
            }
            return Kind::Number;
        }
        self.skip_while(digits);
        if self.peek(0) == b'.' {
            self.at += 1;
            self.skip_while(digits);
        }
        if self.peek(0) | 0x20 == b'e' {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.skip_while(digits);
            }
        }
        Kind::Number
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    #[inline]
    fn next(&mut self) -> Option<Token> {
        self.skip_blanks();
        let start = self.at;
        let kind = match *self.text.get(start)? {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => self.word(),
            b'0'..=b'9' => self.number(),
            b'\'' => {
                self.skip_quoted(b'\'', !self.standard_strings);
                Kind::String
            }
            b'"' => {
                self.skip_quoted(b'"', false);
                Kind::Quoted
            }
            b'$' => self.dollar(),
            symbol => {
                self.at += 1;
                Kind::Symbol(symbol)
            }
        };
        Some(Token {
            kind,
            start,
            end: self.at,
        })
    }
}

#[cfg(test)]
pub(in crate::sql) mod tests;
