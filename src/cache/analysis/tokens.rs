//! The tokens of a text, with random access.

use std::borrow::Cow;

use crate::cache::facts::Name;
use crate::sql::lexer::{Kind, Lexer, Token};

/// Longest identifier of the server, in bytes (`NAMEDATALEN` - 1).
const NAME_MAX: usize = 63;

pub struct Tokens<'a> {
    text: &'a str,
    tokens: Vec<Token>,
}

/// Some tokens in a row: a statement.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    text: &'a str,
    tokens: &'a [Token],
}

pub fn cut(text: &str, standard_strings: bool) -> Tokens<'_> {
    Tokens {
        text,
        tokens: Lexer::new(text.as_bytes(), standard_strings).collect(),
    }
}

impl Tokens<'_> {
    pub fn all(&self) -> Part<'_> {
        Part {
            text: self.text,
            tokens: &self.tokens,
        }
    }

    /// What stands between semicolons, without empty ones.
    pub fn statements(&self) -> impl Iterator<Item = Part<'_>> {
        self.tokens
            .split(|t| t.kind == Kind::Symbol(b';'))
            .filter(|tokens| !tokens.is_empty())
            .map(|tokens| Part {
                text: self.text,
                tokens,
            })
    }
}

impl<'a> Part<'a> {
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    fn token(&self, at: usize) -> Option<&'a Token> {
        self.tokens.get(at)
    }

    pub fn kind(&self, at: usize) -> Option<Kind> {
        self.token(at).map(|t| t.kind)
    }

    /// Empty behind the end.
    pub fn text(&self, at: usize) -> &'a str {
        self.token(at)
            .and_then(|t| self.text.get(t.range()))
            .unwrap_or_default()
    }

    /// Where the token ends in the whole text.
    pub fn end(&self, at: usize) -> usize {
        self.token(at).map_or(self.text.len(), |t| t.end)
    }

    pub fn is_word(&self, at: usize, word: &str) -> bool {
        self.kind(at) == Some(Kind::Word) && self.text(at).eq_ignore_ascii_case(word)
    }

    pub fn is_any_word(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|w| self.is_word(at, w))
    }

    pub fn is_symbol(&self, at: usize, symbol: u8) -> bool {
        self.kind(at) == Some(Kind::Symbol(symbol))
    }

    pub fn is_quoted(&self, at: usize) -> bool {
        self.kind(at) == Some(Kind::Quoted)
    }

    /// Whether this token follows the one before it without a blank.
    pub fn touches(&self, at: usize) -> bool {
        match (
            at.checked_sub(1).and_then(|b| self.token(b)),
            self.token(at),
        ) {
            (Some(before), Some(token)) => before.end == token.start,
            _ => false,
        }
    }

    /// The word in lower case; empty for anything else.
    pub fn word(&self, at: usize) -> Cow<'a, str> {
        match self.kind(at) {
            Some(Kind::Word) => lower(self.text(at)),
            _ => Cow::Borrowed(""),
        }
    }

    pub fn is_identifier(&self, at: usize) -> bool {
        matches!(self.kind(at), Some(Kind::Word | Kind::Quoted))
    }

    /// As the server understands it.
    pub fn identifier(&self, at: usize) -> Option<Box<str>> {
        match self.kind(at)? {
            Kind::Word => Some(shortened(&lower(self.text(at)))),
            Kind::Quoted => {
                let inner = self.text(at).strip_prefix('"')?;
                let inner = inner.strip_suffix('"').unwrap_or(inner);
                Some(shortened(&inner.replace("\"\"", "\"")))
            }
            _ => None,
        }
    }

    /// A name with up to three parts, and where it ends.
    pub fn name(&self, mut at: usize) -> Option<(Name, usize)> {
        let mut parts = vec![self.identifier(at)?];
        at += 1;
        while self.is_symbol(at, b'.') {
            parts.push(self.identifier(at + 1)?);
            at += 2;
        }
        if parts.len() > 3 {
            return None;
        }
        let name = parts.pop()?;
        let schema = parts.pop();
        Some((Name { schema, name }, at))
    }
}

fn lower(word: &str) -> Cow<'_, str> {
    if word.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(word.to_ascii_lowercase())
    } else {
        Cow::Borrowed(word)
    }
}

fn shortened(name: &str) -> Box<str> {
    let mut end = name.len().min(NAME_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].into()
}
