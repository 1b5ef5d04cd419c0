//! Comments: hints to us in them, and texts without them.

use std::borrow::Cow;
use std::time::Duration;

use crate::sql::lexer::Lexer;

/// What the comment at the beginning of a text asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// `/* pgweir: cache */`, perhaps with `ttl=30s`.
    Cache { ttl: Option<Duration> },
    /// `/* pgweir: no-cache */`.
    NoCache,
}

/// The hint at the very beginning of the text, if there is one.
pub fn leading_hint(text: &[u8]) -> Option<Hint> {
    let text = text.trim_ascii_start().strip_prefix(b"/*")?;
    let end = memchr::memmem::find(text, b"*/")?;
    let inside = std::str::from_utf8(&text[..end]).ok()?.trim();
    let mut words = inside.strip_prefix("pgweir:")?.split_ascii_whitespace();
    let hint = match words.next()? {
        "no-cache" => Hint::NoCache,
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
    unit.checked_mul(number)
}

/// The text without comments, blanks at its ends and semicolons at its end: two texts that come
/// to the same mean the same.
///
/// Comments often carry what differs from request to request (sqlcommenter's `traceparent`).
pub fn strip_comments(text: &[u8], standard_strings: bool) -> Cow<'_, [u8]> {
    let may_have = memchr::memchr2_iter(b'-', b'/', text).any(|i| {
        matches!(
            (text[i], text.get(i + 1)),
            (b'-', Some(b'-')) | (b'/', Some(b'*'))
        )
    });
    let text = trimmed(text);
    if !may_have {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut end = 0;
    for token in Lexer::new(text, standard_strings) {
        let between = &text[end..token.start];
        if is_blank(between) {
            out.extend_from_slice(between);
        } else if between.contains(&b'\n') {
            // A line break may join two constants.
            out.push(b'\n');
        } else {
            out.push(b' ');
        }
        out.extend_from_slice(&text[token.range()]);
        end = token.end;
    }
    let rest = &text[end..];
    if is_blank(rest) {
        out.extend_from_slice(rest);
    }
    Cow::Owned(trimmed(&out).to_vec())
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
