//! Comments: hints to us in them, and texts without them.

use std::borrow::Cow;
use std::time::Duration;

use crate::sql::lexer::{Kind, Lexer};

/// What the comment at the beginning of a text asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// `/* pgweir: cache */`, perhaps with `ttl=30s`.
    Cache { ttl: Option<Duration> },
    /// `/* pgweir: no-cache */`.
    NoCache,
    /// `/* pgweir: replica */`: a read that may go to a replica.
    Replica,
    /// `/* pgweir: primary */`: a read that must not.
    Primary,
}

/// The hint at the very beginning of the text, if there is one.
pub fn leading_hint(text: &[u8]) -> Option<Hint> {
    let text = text.trim_ascii_start().strip_prefix(b"/*")?;
    let end = memchr::memmem::find(text, b"*/")?;
    let inside = std::str::from_utf8(&text[..end]).ok()?.trim();
    let mut words = inside.strip_prefix("pgweir:")?.split_ascii_whitespace();
    let hint = match words.next()? {
        "no-cache" => Hint::NoCache,
        "replica" => Hint::Replica,
        "primary" => Hint::Primary,
        "cache" => Hint::Cache {
            ttl: match words.next() {
                None => None,
                Some(word) => Some(duration(word.strip_prefix("ttl=")?)?),
            },
        },
        _ => return None,
    };
    words.next().is_none().then_some(hint)
}

fn duration(text: &str) -> Option<Duration> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u32 = text[..end].parse().ok()?;
    let unit = match &text[end..] {
        "ms" => Duration::from_millis(1),
        "" | "s" => Duration::from_secs(1),
        "m" | "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3_600),
        "d" => Duration::from_secs(86_400),
        _ => return None,
    };
    unit.checked_mul(number).filter(|ttl| *ttl <= LONGEST)
}

/// Longest time of a hint, as in the configuration.
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// The text without comments, blanks at its ends and semicolons at its end: two texts that come
/// to the same mean the same, errors included.
///
/// Comments often carry what differs from request to request (sqlcommenter's `traceparent`).
pub fn strip_comments(text: &[u8], standard_strings: bool) -> Cow<'_, [u8]> {
    let may_have = memchr::memchr2_iter(b'-', b'/', text).any(|i| {
        matches!(
            (text[i], text.get(i + 1)),
            (b'-', Some(b'-')) | (b'/', Some(b'*'))
        )
    });
    if !may_have {
        return Cow::Borrowed(trimmed(text));
    }
    if std::str::from_utf8(text).is_err() {
        // The server looks at the characters of comments, too.
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut end = 0;
    let mut before = None;
    for token in Lexer::new(text, standard_strings) {
        let between = &text[end..token.start];
        let two_strings = before == Some(Kind::String) && token.kind == Kind::String;
        if is_blank(between) || two_strings {
            // Without its comment, a line break could join two constants.
            out.extend_from_slice(between);
        } else if between.contains(&b'\n') {
            out.push(b'\n');
        } else {
            out.push(b' ');
        }
        out.extend_from_slice(&text[token.range()]);
        end = token.end;
        before = Some(token.kind);
    }
    let rest = &text[end..];
    if is_blank(rest) {
        out.extend_from_slice(rest);
    } else if ends_in_comment(rest) {
        return Cow::Borrowed(text);
    }
    let kept = trimmed(&out).len();
    let start = out.len() - out.trim_ascii_start().len();
    out.drain(..start.min(out.len()));
    out.truncate(kept);
    Cow::Owned(out)
}

/// Whether blanks and comments end in a comment that is not closed, an error.
fn ends_in_comment(mut rest: &[u8]) -> bool {
    let mut depth = 0usize;
    loop {
        rest = match rest {
            [] => return depth > 0,
            [b'/', b'*', rest @ ..] => {
                depth += 1;
                rest
            }
            [b'*', b'/', rest @ ..] if depth > 0 => {
                depth -= 1;
                rest
            }
            [b'-', b'-', ..] if depth == 0 => {
                let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                rest.get(end..).unwrap_or_default()
            }
            [_, rest @ ..] => rest,
        };
    }
}

/// Without blanks at its ends and semicolons at its end.
fn trimmed(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii();
    while let Some(shorter) = text.strip_suffix(b";") {
        text = shorter.trim_ascii_end();
    }
    text
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c'))
}
