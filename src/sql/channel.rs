//! `LISTEN` and `UNLISTEN` as the one statement of a text.

use super::lexer::{Kind, Lexer, Token};
use super::statement::Tokens;

/// What the one statement of a text asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listening {
    Listen(ChannelName),
    Unlisten(ChannelName),
    UnlistenAll,
}

/// The name of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelName {
    /// As the server understands it: in lower case unless quoted, at most 63 bytes.
    pub name: String,
    /// As it stands in the text: one token. Whether it is a name at all (`LISTEN select` is not) is
    /// for the server to say.
    pub written: String,
}

/// Whether it is worth a closer look. Costs next to nothing for a text that begins with a word.
#[inline]
pub fn may_listen(text: &[u8]) -> bool {
    match text {
        [b'l' | b'L', b'i' | b'I', ..] | [b'u' | b'U', b'n' | b'N', ..] => true,
        [first, ..] if first.is_ascii_alphabetic() => false,
        // Behind blanks or a comment.
        _ => true,
    }
}

/// The `LISTEN` or `UNLISTEN` that `text` consists of; `None` where it is anything else, or where
/// only the server can tell which channel is meant. `standard_strings` as in [`super::classify`].
pub fn lone_listening(text: &[u8], standard_strings: bool) -> Option<Listening> {
    let mut lexer = Lexer::new(text, standard_strings);
    let verb = lexer.next().filter(|token| token.kind == Kind::Word)?;
    let word = text.get(verb.range())?;
    let listens = word.eq_ignore_ascii_case(b"listen");
    if !listens && !word.eq_ignore_ascii_case(b"unlisten") {
        return None;
    }
    let target = lexer.next()?;
    if lexer.any(|token| token.kind != Kind::Symbol(b';')) {
        return None;
    }
    if target.kind == Kind::Symbol(b'*') {
        return (!listens).then_some(Listening::UnlistenAll);
    }
    let channel = channel_name(text, target, standard_strings)?;
    Some(match listens {
        true => Listening::Listen(channel),
        false => Listening::Unlisten(channel),
    })
}

fn channel_name(text: &[u8], token: Token, standard_strings: bool) -> Option<ChannelName> {
    let written = std::str::from_utf8(text.get(token.range())?).ok()?;
    let one = [token];
    let tokens = Tokens::new(text, &one, standard_strings);
    if tokens.has_escapes(0) {
        return None;
    }
    let name = tokens.name(0).filter(|name| !name.is_empty())?;
    Some(ChannelName {
        name,
        written: written.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Listening> {
        let found = lone_listening(text.as_bytes(), true);
        // The closer look finds nothing that the quick one passes over.
        assert!(found.is_none() || may_listen(text.as_bytes()), "{text}");
        found
    }

    fn channel(name: &str, written: &str) -> ChannelName {
        ChannelName {
            name: name.to_owned(),
            written: written.to_owned(),
        }
    }

    #[test]
    fn names_are_as_the_server_understands_them() {
        let long = "x".repeat(70);
        let umlauts = format!("\"{}\"", "ü".repeat(40));
        for (written, name) in [
            ("news", "news"),
            ("News", "news"),
            ("\"News\"", "News"),
            ("\"a \"\"b\"\"; c\"", "a \"b\"; c"),
            ("Größe", "größe"),
            ("ÄB", "Äb"),
            (&long, &long[..63]),
            // 63 bytes would cut a character in two.
            (&umlauts, &"ü".repeat(31)),
        ] {
            let listen = Some(Listening::Listen(channel(name, written)));
            assert_eq!(of(&format!("LISTEN {written}")), listen, "{written}");
            assert_eq!(
                of(&format!(" /* x */ listen--y\n{written} ; ;")),
                listen,
                "{written}"
            );
            assert_eq!(
                of(&format!("Unlisten {written};")),
                Some(Listening::Unlisten(channel(name, written))),
                "{written}"
            );
        }
        assert_eq!(of("unlisten *"), Some(Listening::UnlistenAll));
    }

    #[test]
    fn everything_else_is_left_to_the_server() {
        for text in [
            "",
            ";",
            "listen",
            "listen *",
            "listen a b",
            "listen a.b",
            "listen 'a'",
            "listen $1",
            "listen 1",
            "listen \"\"",
            "listen \"a",
            "listen \"",
            "listen U&\"\\0061\"",
            "listen a; select 1",
            "; listen a",
            "begin; listen a",
            "select 'listen a'",
            "listening a",
            "\"listen\" a",
            "unlisten",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(lone_listening(b"listen \"\xff\"", true), None);
    }

    #[test]
    fn ordinary_texts_are_passed_over_at_a_glance() {
        for text in [
            "select 1",
            "update t set x = 1",
            "lock t",
            "begin",
            "INSERT INTO t",
        ] {
            assert!(!may_listen(text.as_bytes()), "{text}");
        }
    }
}
