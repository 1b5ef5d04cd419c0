//! The tokens of one statement, to be looked at by position. A position behind the last token has
//! no kind, no text and is no word.

use std::ops::Range;

use super::lexer::{Kind, Token};
use super::literal;

/// Identifiers are cut to this many bytes (PostgreSQL docs, "Identifiers and Key Words").
const NAME_MAX: usize = 63;

#[derive(Clone, Copy)]
pub struct Tokens<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
    standard_strings: bool,
}

impl<'a> Tokens<'a> {
    pub fn new(text: &'a [u8], tokens: &'a [Token], standard_strings: bool) -> Tokens<'a> {
        Tokens {
            text,
            tokens,
            standard_strings,
        }
    }

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens from `at` on.
    pub fn from(self, at: usize) -> Tokens<'a> {
        let tokens = self.tokens.get(at..).unwrap_or_default();
        Tokens { tokens, ..self }
    }

    /// The tokens before `at`.
    pub fn until(self, at: usize) -> Tokens<'a> {
        let tokens = self.tokens.get(..at).unwrap_or(self.tokens);
        Tokens { tokens, ..self }
    }

    /// From the first token to the last.
    pub fn range(&self) -> Range<usize> {
        match self.tokens {
            [first, .., last] => first.start..last.end,
            [only] => only.range(),
            [] => 0..0,
        }
    }

    pub fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|t| t.kind)
    }

    pub fn bytes(&self, at: usize) -> &'a [u8] {
        self.tokens
            .get(at)
            .and_then(|t| self.text.get(t.range()))
            .unwrap_or_default()
    }

    pub fn is_symbol(&self, at: usize, symbol: u8) -> bool {
        self.kind(at) == Some(Kind::Symbol(symbol))
    }

    /// Whether a word without quotes is there; `word` is in lower case.
    pub fn is(&self, at: usize, word: &str) -> bool {
        self.kind(at) == Some(Kind::Word) && self.bytes(at).eq_ignore_ascii_case(word.as_bytes())
    }

    pub fn is_any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|w| self.is(at, w))
    }

    /// Whether these words follow each other from `at` on.
    pub fn are(&self, at: usize, words: &[&str]) -> bool {
        (at..).zip(words).all(|(at, word)| self.is(at, word))
    }

    /// Where `words` stand for the first time.
    pub fn find(&self, words: &[&str]) -> Option<usize> {
        (0..self.len()).find(|at| self.are(*at, words))
    }

    /// The identifier there, as the server understands it. Escapes of `U&"x"` are left as they are,
    /// and bytes that are not UTF-8 are replaced.
    pub fn name(&self, at: usize) -> Option<String> {
        let written = String::from_utf8_lossy(self.bytes(at));
        let mut name = match self.kind(at)? {
            Kind::Word => written.to_ascii_lowercase(),
            Kind::Quoted => {
                let (_, inside) = written.split_once('"')?;
                inside.strip_suffix('"')?.replace("\"\"", "\"")
            }
            _ => return None,
        };
        let mut end = name.len().min(NAME_MAX);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        Some(name)
    }

    /// The identifier there and its bytes in the text.
    pub fn name_and_range(&self, at: usize) -> Option<(String, Range<usize>)> {
        Some((self.name(at)?, self.tokens.get(at)?.range()))
    }

    /// Whether the meaning of the name there depends on escapes.
    pub fn has_escapes(&self, at: usize) -> bool {
        self.kind(at) == Some(Kind::Quoted) && matches!(self.bytes(at), [b'u' | b'U', ..])
    }

    /// What the constant there means, if it is one and can be told.
    pub fn string(&self, at: usize) -> Option<String> {
        match self.kind(at)? {
            Kind::String => literal::value(self.bytes(at), self.standard_strings),
            _ => None,
        }
    }
}
