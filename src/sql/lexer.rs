//! Tokens of a SQL text (PostgreSQL docs, "Lexical Structure"). Never fails: what is cut off or
//! malformed becomes a token up to where it ends.

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or an identifier without quotes.
    Word,
    /// `"x"` or `U&"x"`.
    Quoted,
    /// Any form of string constant.
    String,
    Number,
    /// `$1`.
    Parameter,
    /// One character of anything else.
    Symbol(u8),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub range: Range<usize>,
}

/// Gives the tokens in order; blanks and comments are left out.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    standard_strings: bool,
}

fn is_word_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 0x80
}

fn is_word(b: u8) -> bool {
    is_word_start(b) || b.is_ascii_digit() || b == b'$'
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a [u8], standard_strings: bool) -> Lexer<'a> {
        Lexer {
            text,
            at: 0,
            standard_strings,
        }
    }

    #[inline]
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_blanks(&mut self) {
        while self.at < self.text.len() {
            match self.text[self.at] {
                b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' | b'\x0b' => self.at += 1,
                b'-' if self.peek(1) == b'-' => {
                    let rest = &self.text[self.at..];
                    self.at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                }
                b'/' if self.peek(1) == b'*' => self.skip_comment(),
                _ => return,
            }
        }
    }

    /// Comments nest.
    fn skip_comment(&mut self) {
        let mut depth = 0usize;
        while self.at < self.text.len() {
            match (self.text[self.at], self.peek(1)) {
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

    /// Up to behind the closing quote; a doubled one belongs to the text.
    fn skip_quoted(&mut self, quote: u8, backslashes: bool) {
        self.at += 1;
        while self.at < self.text.len() {
            let b = self.text[self.at];
            if b == b'\\' && backslashes {
                self.at += 2;
            } else if b == quote {
                if self.peek(1) != quote {
                    self.at += 1;
                    return;
                }
                self.at += 2;
            } else {
                self.at += 1;
            }
        }
        self.at = self.text.len();
    }

    /// `$tag$ … $tag$`, a parameter, or a lone dollar sign.
    fn dollar(&mut self) -> Kind {
        if self.peek(1).is_ascii_digit() {
            self.at += 1;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
            return Kind::Parameter;
        }
        let rest = &self.text[self.at..];
        let tag_end = rest[1..].iter().position(|b| !is_word(*b) || *b == b'$');
        let Some(length) = tag_end.filter(|n| rest[1 + n] == b'$').map(|n| n + 2) else {
            self.at += 1;
            return Kind::Symbol(b'$');
        };
        let tag = &rest[..length];
        let body = &rest[length..];
        let found = memchr::memmem::find(body, tag);
        self.at += length + found.map_or(body.len(), |n| n + length);
        Kind::String
    }

    fn word(&mut self) -> Kind {
        let (first, second) = (self.text[self.at], self.peek(1));
        match (first, second) {
            (b'e' | b'E', b'\'') => {
                self.at += 1;
                self.skip_quoted(b'\'', true);
                return Kind::String;
            }
            (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'') => {
                self.at += 1;
                self.skip_quoted(b'\'', !self.standard_strings);
                return Kind::String;
            }
            (b'u' | b'U', b'&') if matches!(self.peek(2), b'\'' | b'"') => {
                let quote = self.peek(2);
                self.at += 2;
                self.skip_quoted(quote, false);
                return if quote == b'"' {
                    Kind::Quoted
                } else {
                    Kind::String
                };
            }
            _ => {}
        }
        let rest = &self.text[self.at..];
        self.at += rest.iter().position(|b| !is_word(*b)).unwrap_or(rest.len());
        Kind::Word
    }

    fn number(&mut self) {
        while self.at < self.text.len() {
            let b = self.text[self.at];
            let exponent_sign =
                matches!(b, b'+' | b'-') && matches!(self.text[self.at - 1], b'e' | b'E');
            if !((is_word(b) && b != b'$') || b == b'.' || exponent_sign) {
                return;
            }
            self.at += 1;
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    #[inline]
    fn next(&mut self) -> Option<Token> {
        self.skip_blanks();
        let start = self.at;
        let first = *self.text.get(start)?;
        let kind = match first {
            b if is_word_start(b) => self.word(),
            b'\'' => {
                self.skip_quoted(b'\'', !self.standard_strings);
                Kind::String
            }
            b'"' => {
                self.skip_quoted(b'"', false);
                Kind::Quoted
            }
            b'$' => self.dollar(),
            b if b.is_ascii_digit() => {
                self.number();
                Kind::Number
            }
            b => {
                self.at += 1;
                Kind::Symbol(b)
            }
        };
        // A backslash at the very end may have stepped over it.
        self.at = self.at.min(self.text.len());
        Some(Token {
            kind,
            range: start..self.at,
        })
    }
}

#[cfg(test)]
mod tests;
