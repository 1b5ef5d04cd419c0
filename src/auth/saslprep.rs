//! Passwords in the form that SCRAM hashes (RFC 4013, SASLprep).

use std::borrow::Cow;

/// As PostgreSQL does it, a password that SASLprep does not allow, or that nothing is left of, is
/// used as it is.
pub(super) fn prepared(password: &str) -> Cow<'_, str> {
    match stringprep::saslprep(password) {
        Ok(prepared) if !prepared.is_empty() => prepared,
        _ => Cow::Borrowed(password),
    }
}

#[cfg(test)]
mod tests {
    use super::prepared;

    #[test]
    fn equal_passwords_become_equal() {
        // RFC 4013, section 3, and a composed letter.
        for (given, same) in [
            ("I\u{ad}X", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
            ("a\u{300}", "\u{e0}"),
            ("a\u{a0}b", "a b"),
        ] {
            assert_eq!(prepared(given), same, "{given:?}");
        }
    }

    #[test]
    fn what_is_not_allowed_stays() {
        for given in ["\u{7}", "\u{627}1", "\u{ad}", ""] {
            assert_eq!(prepared(given), given, "{given:?}");
        }
    }
}
