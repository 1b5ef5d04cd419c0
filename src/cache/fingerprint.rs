//! Texts that differ in their constants only are judged once.

use crate::sql::lexer::{Kind, Lexer};
use crate::sql::may_be_datetime;

/// Longer texts are judged each by itself.
const LONGEST: usize = 16 * 1024;

/// The text with each constant replaced by another, appended to `out`, if the same can be said of
/// both: what it does, which relations and functions it names, whether it may be remembered.
///
/// Not of a text with a constant that may be a date relative to now, that names a setting, or that is
/// code.
pub fn fingerprint(text: &[u8], standard_strings: bool, out: &mut Vec<u8>) -> bool {
    let first = text.first().copied().unwrap_or_default();
    // SELECT, INSERT, UPDATE, DELETE, WITH, VALUES, MERGE; not DO.
    let is_usual = b"siuwvmSIUWVM".contains(&first)
        || text.get(..2).is_some_and(|w| w.eq_ignore_ascii_case(b"de"));
    if !is_usual || text.len() > LONGEST {
        return false;
    }
    let mut end = 0;
    for token in Lexer::new(text, standard_strings) {
        let constant: &[u8] = match token.kind {
            Kind::Number => b"0",
            Kind::String if may_be_datetime(&text[token.range()]) => return false,
            Kind::String => b"''",
            Kind::Word | Kind::Quoted if is_setting(&text[token.range()]) => return false,
            Kind::Word | Kind::Quoted | Kind::Parameter | Kind::Symbol(_) => continue,
        };
        out.extend_from_slice(&text[end..token.start]);
        out.extend_from_slice(constant);
        end = token.end;
    }
    out.extend_from_slice(&text[end..]);
    true
}

/// Whether it is the name of the function whose argument makes a difference.
fn is_setting(name: &[u8]) -> bool {
    let inner = name.strip_prefix(b"\"").and_then(|n| n.strip_suffix(b"\""));
    inner
        .unwrap_or(name)
        .eq_ignore_ascii_case(b"current_setting")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::analysis::analyse;
    use crate::cache::facts::Refusal;
    use proptest::prelude::*;

    fn of(text: &str) -> Option<String> {
        let mut out = Vec::new();
        fingerprint(text.as_bytes(), true, &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn constants_do_not_count() {
        assert_eq!(
            of("select a from t where b = 42"),
            of("select a from t where b = 7")
        );
        assert_eq!(
            of("select 'a', $1, \"x\""),
            Some("select '', $1, \"x\"".to_owned())
        );
        assert_ne!(of("select a from t"), of("select b from t"));
        for no in [
            "select 'now'",
            "do 'x'",
            "select current_setting('a.b')",
            "select \"current_setting\"('a.b')",
            "execute p(1)",
            "delete_me",
            "",
        ] {
            assert!(of(no).is_none_or(|f| f == no), "{no}");
        }
    }

    proptest! {
        /// What is said of a text is what is said of its fingerprint.
        #[test]
        fn the_facts_are_the_same(words in proptest::collection::vec(prop::sample::select(vec![
            "select", "from", "t", "(", ")", ",", "insert into", "update", "set", "delete", "with x as",
            "values", "1", "'a'", "2.5", "=", "limit", "$$b$$", "E'c'", "order by", "f(", "::int", "*",
            "interval", "'x'::text", "union", "where", ";"]), 1..16)) {
            let text = words.join(" ");
            let facts = analyse(text.as_bytes(), true);
            if let Some(other) = of(&text) {
                let mut normal = analyse(other.as_bytes(), true);
                // Whether a string may be a date is asked of each text.
                if facts.read == Err(Refusal::DateWord) {
                    normal.read = Err(Refusal::DateWord);
                }
                prop_assert_eq!(facts, normal, "{} / {}", text, other);
            }
        }
    }
}
