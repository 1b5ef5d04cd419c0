//! From a text to its [`Facts`].
//!
//! What a statement does and mentions is read from its tokens, so that it does not depend on what
//! a parser happens to know; whether it may be answered from memory needs its syntax tree, too.
//!
//! * `tokens` cuts the text; * `says` finds what is written to; * `mentions` what is called and
//!   named; * `read` asks sqlparser; * `comments` has hints and texts without comments.

mod comments;
mod mentions;
mod read;
mod says;
mod tokens;

use super::facts::{Facts, Mentions, Refusal, Says, StatementFacts};
use tokens::{Tokens, cut};

pub use comments::{Hint, leading_hint, strip_comments};

/// Everything that the text says by itself.
///
/// Time and memory are linear in the text.
pub fn analyse(text: &[u8], standard_strings: bool) -> Facts {
    let Ok(text) = std::str::from_utf8(text) else {
        return unreadable();
    };
    let tokens = cut(text, standard_strings);
    if tokens.are_odd() {
        return unreadable();
    }
    let mut statements = Vec::new();
    let mut words = Vec::new();
    for part in tokens.statements() {
        let statement = says::says(&part);
        statements.push(StatementFacts {
            says: statement.says,
            may_commit: statement.may_commit,
            mentions: mentions::mentions(&part),
        });
        words.push(part);
    }
    let read = match (&statements[..], &words[..]) {
        ([one], [part]) if one.says == Says::Reads => read::read(text, part),
        ([_], [part]) => Err(says::refusal(part)),
        _ => Err(Refusal::NotOneStatement),
    };
    let begins = matches!(&words[..], [part] if says::begins(part));
    Facts {
        statements,
        read,
        begins,
    }
}

/// A text of which nothing is known.
fn unreadable() -> Facts {
    Facts {
        statements: vec![StatementFacts {
            says: Says::Anything("unreadable"),
            may_commit: true,
            mentions: Mentions::default(),
        }],
        read: Err(Refusal::Unparsed),
        begins: false,
    }
}

/// What is prepared by a SQL `PREPARE name [(types)] AS ...`.
pub fn prepared_body(text: &[u8], standard_strings: bool) -> Option<&[u8]> {
    let readable = std::str::from_utf8(text).ok()?;
    let tokens = cut(readable, standard_strings);
    let all = tokens.all();
    if !all.is_word(0, "prepare") {
        return None;
    }
    // The name, and types in parentheses.
    let at = (2..all.len()).find(|i| all.is_word(*i, "as"))?;
    text.get(all.end(at)..)
}

impl Tokens<'_> {
    /// Identifiers in Unicode escapes are not decoded.
    fn are_odd(&self) -> bool {
        let all = self.all();
        (0..all.len()).any(|i| all.is_quoted(i) && all.text(i).starts_with(['u', 'U']))
    }
}

#[cfg(test)]
mod tests;
