//! A statement without its constants: fit for a log, where no customer's data and no password may be.

use super::lexer::{Kind, Lexer, Token};

/// The text with `?` for each constant, one blank for all that there are between two tokens, without
/// comments, and not longer than `most` bytes but for a sign that something is missing. A text may be cut
/// off anywhere; `standard_strings` is as for [`Lexer::new`].
///
/// What stands where a value does counts as one even if it is a word: behind `PASSWORD`, and behind `=` or
/// `TO` of `SET`.
pub fn without_constants(text: &[u8], standard_strings: bool, most: usize) -> String {
    let mut out = String::new();
    let mut cutter = Cutter::default();
    let mut end = 0;
    for token in Lexer::new(text, standard_strings) {
        let apart = token.start > end;
        end = token.end;
        let word = &text[token.range()];
        match cutter.look(&token, word) {
            Shown::Nothing => continue,
            Shown::Rest => out.push_str(", ..."),
            shown => {
                if cutter.owes_comma {
                    cutter.owes_comma = false;
                    out.push(',');
                }
                if apart && !out.is_empty() {
                    out.push(' ');
                }
                match shown {
                    Shown::Constant => out.push('?'),
                    _ => out.push_str(&String::from_utf8_lossy(word)),
                }
            }
        }
        if out.len() > most {
            out.truncate(out.floor_char_boundary(most));
            out.push('…');
            return out;
        }
    }
    out
}

enum Shown {
    Token,
    Constant,
    /// Of a list of constants only the first is.
    Nothing,
    Rest,
}

#[derive(Default)]
struct Cutter {
    /// The first word of the statement was `SET` or `ALTER`.
    sets: bool,
    in_statement: bool,
    /// The next token is a value, whatever it looks like.
    value_next: bool,
    /// The last token was a constant; or a comma behind one, which is not written yet.
    after_constant: bool,
    owes_comma: bool,
    /// The list's further constants are left out already.
    abridged: bool,
}

impl Cutter {
    fn look(&mut self, token: &Token, word: &[u8]) -> Shown {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let forced = std::mem::take(&mut self.value_next);
        match token.kind {
            Kind::String | Kind::Number => return self.constant(),
            Kind::Word | Kind::Quoted if forced => return self.constant(),
            Kind::Symbol(b',') if self.after_constant => {
                self.after_constant = false;
                self.owes_comma = true;
                // A list of values.
                self.value_next = forced || self.sets;
                return Shown::Nothing;
            }
            Kind::Symbol(b';') => *self = Cutter::default(),
            Kind::Symbol(b'=') => self.value_next = self.sets,
            // A sign, or one of the lone bytes that operators are made of.
            Kind::Symbol(b'+' | b'-' | b':') => self.value_next = forced,
            Kind::Word => {
                if !self.in_statement {
                    self.sets = is("set") || is("alter");
                }
                self.value_next = is("password") || (self.sets && is("to"));
            }
            _ => {}
        }
        if !matches!(token.kind, Kind::Symbol(b';')) {
            self.in_statement = true;
        }
        self.after_constant = false;
        self.abridged = false;
        Shown::Token
    }

    fn constant(&mut self) -> Shown {
        self.in_statement = true;
        self.after_constant = true;
        if !std::mem::take(&mut self.owes_comma) {
            self.abridged = false;
            return Shown::Constant;
        }
        match std::mem::replace(&mut self.abridged, true) {
            true => Shown::Nothing,
            false => Shown::Rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &str) -> String {
        without_constants(text.as_bytes(), true, 1000)
    }

    #[test]
    fn constants_and_comments_are_gone() {
        for (text, expected) in [
            ("select 1", "select ?"),
            (
                "SELECT  a,\n\t'x''y' /* why */ from t -- so\n",
                "SELECT a, ? from t",
            ),
            (
                "select * from t where id=$1 and n > -1.5e3",
                "select * from t where id=$1 and n > -?",
            ),
            ("select e'a\\'b', U&'x', $$y$$, $t$z$t$ ", "select ?, ..."),
            (
                "where id in (1,2, 3) and (a, b) = (1, x)",
                "where id in (?, ...) and (a, b) = (?, x)",
            ),
            ("values (1, 'a'), (2, 'b')", "values (?, ...), (?, ...)"),
            ("select 'a', b, 'c', 'd'", "select ?, b, ?, ..."),
            ("select \"it's\", t1.c2", "select \"it's\", t1.c2"),
            (
                "alter role amy password 'secret'",
                "alter role amy password ?",
            ),
            (
                "create role amy login PASSWORD 'secret' valid until 'x'",
                "create role amy login PASSWORD ? valid until ?",
            ),
            (
                "alter role amy password secret",
                "alter role amy password ?",
            ),
            (
                "alter role amy set app.token to secret",
                "alter role amy set app.token to ?",
            ),
            ("set app.token = secret", "set app.token = ?"),
            (
                "set local search_path to one, two, three; select b = c",
                "set local search_path to ?, ...; select b = c",
            ),
            ("do $$ begin secret(); end $$", "do ?"),
            ("update t set a = b", "update t set a = b"),
            ("", ""),
        ] {
            assert_eq!(cut(text), expected, "{text}");
        }
        assert_eq!(
            without_constants(b"select 'a\\'secret'", false, 99),
            "select ?"
        );
        // Cut off by whoever has kept it.
        assert_eq!(cut("select 'secr"), "select ?");
        assert_eq!(cut("select $x$ secr"), "select ?");
        assert_eq!(
            without_constants("select é from t".as_bytes(), true, 8),
            "select …"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_long(text: Vec<u8>, strings: bool, most in 0usize..50) {
            let cut = without_constants(&text, strings, most);
            prop_assert!(cut.len() <= most + '…'.len_utf8());
        }

        /// Whatever is in quotes is not in what is left.
        #[test]
        fn what_is_quoted_is_not_shown(secret in "[b-z]{8}", before in "[a-c ,=(;]{0,20}", end in 0usize..60) {
            let secret = format!("zz{secret}");
            for text in [
                format!("{before}'{secret}' x"),
                format!("{before} e'{secret}' x"),
                format!("{before} $a${secret}$a$ x"),
                format!("{before}/* {secret} */ x"),
                format!("{before} password {secret} x"),
            ] {
                let text = &text[..text.len().min(end.max(1))];
                prop_assert!(!cut(text).contains("zz"), "{text}");
            }
        }
    }
}
