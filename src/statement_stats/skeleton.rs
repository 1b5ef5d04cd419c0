//! A text without its plain constants, made quickly: by this the same statement with other constants is found
//! again without reading it token by token.
//!
//! Nothing else about the text is changed. Texts with the same skeleton have the same [`canonical`] text, but not
//! the other way round; where that is not sure, there is no skeleton.
//!
//! [`canonical`]: super::normal::canonical

use memchr::memmem;

/// Stands for a number.
const NUMBER: u8 = 1;
/// For a string.
const STRING: u8 = 2;
/// For a comment, which parts words, but is no blank.
const COMMENT: u8 = 3;

/// Bytes that are looked at one by one, because they may begin a constant or hide one.
#[inline]
const fn is_special(byte: u8) -> bool {
    byte.wrapping_sub(b'0') < 10
        || byte == b'\''
        || byte == b'"'
        || byte == b'$'
        || byte == b'-'
        || byte == b'/'
        || byte.wrapping_sub(1) < 3
}

const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_special(byte as u8);
        byte += 1;
    }
    table
};

/// Goes on in a word, or in a parameter.
fn is_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// The next special byte from `at` on, or the end. Several bytes are looked at at once.
#[inline]
fn next_special(text: &[u8], mut at: usize) -> usize {
    const STEP: usize = 16;
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<STEP>()) {
        let any = chunk
            .iter()
            .fold(0, |any, byte| any | u8::from(is_special(*byte)));
        if any != 0 {
            break;
        }
        at += STEP;
    }
    while text.get(at).is_some_and(|b| !SPECIAL[usize::from(*b)]) {
        at += 1;
    }
    at
}

/// Appends the skeleton of a text. `false`: it has something in it that must be read with more care, and `out`
/// is of no use.
pub(super) fn skeleton(text: &[u8], out: &mut Vec<u8>) -> bool {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    // Up to here it has been copied.
    let mut copied = 0;
    let mut at = 0;
    loop {
        at = next_special(text, at);
        if at >= text.len() {
            out.extend_from_slice(&text[copied..]);
            return true;
        }
        let in_word = at > copied && is_in_word(text[at - 1]);
        let (constant, end) = match (text[at], byte(at + 1)) {
            // Of a name.
            (b'0'..=b'9' | b'$', _) if in_word => {
                at += 1;
                continue;
            }
            (b'0'..=b'9', _) => (NUMBER, number(text, at)),
            // With a prefix.
            (b'\'', _) if in_word => return false,
            (b'\'', _) => (STRING, string(text, at + 1)),
            (b'/', b'*') => (COMMENT, comment(text, at + 2)),
            (b'"', _) => match memchr::memchr(b'"', &text[at + 1..]) {
                Some(length) => {
                    at += length + 2;
                    continue;
                }
                None => return false,
            },
            // A parameter.
            (b'$', b'0'..=b'9') => {
                at += 1;
                continue;
            }
            (b'/', _) => {
                at += 1;
                continue;
            }
            (b'-', next) if next != b'-' => {
                at += 1;
                continue;
            }
            _ => return false,
        };
        let Some(end) = end else { return false };
        out.extend_from_slice(&text[copied..at]);
        out.push(constant);
        at = end;
        copied = end;
    }
}

/// Where a number ends, if that is plain.
fn number(text: &[u8], mut at: usize) -> Option<usize> {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    while byte(at).is_ascii_digit() {
        at += 1;
    }
    if byte(at) == b'.' {
        at += 1;
        while byte(at).is_ascii_digit() {
            at += 1;
        }
    }
    let ends = !is_in_word(byte(at)) && !matches!(byte(at), b'.' | b'\'');
    ends.then_some(at)
}

/// Where a string without backslashes ends, of which the inside begins here.
fn string(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'\'', b'\\', text.get(at..)?)?;
        match (text[at], text.get(at + 1)) {
            (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => return Some(at + 1),
            _ => return None,
        }
    }
}

/// Where a comment without others in it ends, of which the inside begins here.
fn comment(text: &[u8], at: usize) -> Option<usize> {
    let inside = text.get(at..)?;
    let length = memmem::find(inside, b"*/")?;
    // `/*/` opens one more, or closes none.
    let nested = memmem::find(&inside[..length + 1], b"/*").is_some();
    (!nested).then_some(at + length + 2)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::normal::canonical;
    use super::*;

    fn of(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        skeleton(text.as_bytes(), &mut out).then_some(out)
    }

    #[test]
    fn plain_constants_are_left_out() {
        for (one, other) in [
            (
                "select a from t where b = 1",
                "select a from t where b = 23.5",
            ),
            ("select 'a', -1", "select 'it''s', -2"),
            ("select $1, 5 /* a */", "select $1, 7 /* '\" -- */"),
            ("\"a1\" in (1, 2)", "\"a1\" in (3, 4)"),
        ] {
            assert!(of(one).is_some(), "{one}");
            assert_eq!(of(one), of(other));
        }
        for (one, other) in [
            ("select $1", "select $2"),
            ("select a1", "select a2"),
            ("select \"1\"", "select \"2\""),
            ("select 1", "select '1'"),
            ("select 1", "Select 1"),
        ] {
            assert!(of(one).is_some() && of(other).is_some());
            assert_ne!(of(one), of(other));
        }
        for odd in [
            "select E'a'",
            "select $$a$$",
            "select 'a\\'",
            "select 'a",
            "select 1e5",
            "select 0x1",
            "-- a",
            "select \"a",
            "/* /* */ */",
            "/*/ 1",
            "select 1..2",
        ] {
            assert_eq!(of(odd), None, "{odd}");
        }
    }

    /// All texts of a run with one skeleton have one canonical text.
    #[test]
    fn one_skeleton_is_one_statement() {
        let words = prop::sample::select(vec![
            "select", "a", "a1", "1", "22", "3.5", "4.", ".5", "1e5", "e", "'", "''", "'x'",
            "'y z'", "\n", " ", "-", "--", "/*", "*/", "/", "*", "\"", "\"b\"", "$", "$1", "$2",
            "$q$", ",", "(", ")", "in (", "null", ";", "\\", ".", "u&", "_", "x", "values (",
            "\u{e4}", ":", "\x01", "\x02",
        ]);
        let mut known: HashMap<Vec<u8>, (Vec<u8>, String)> = HashMap::new();
        let known = std::cell::RefCell::new(&mut known);
        let config = ProptestConfig::with_cases(20_000);
        proptest!(config, |(words in prop::collection::vec(words, 0..7), standard in any::<bool>())| {
            let text = words.concat();
            let Some(key) = of(&text) else { return Ok(()) };
            let mut meant = Vec::new();
            canonical(text.as_bytes(), standard, &mut meant);
            let mut known = known.borrow_mut();
            let (before, other) = known.entry(key).or_insert_with(|| (meant.clone(), text.clone()));
            prop_assert_eq!(&*before, &meant, "{:?} / {:?}", other, text);
        });
    }
}
