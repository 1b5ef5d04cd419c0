//! What a statement that begins a transaction block asks for.

use super::lexer::{Kind, Lexer};

/// Modes that are given, the last one of each kind (PostgreSQL docs, "SET TRANSACTION").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Begins {
    pub read_only: Option<bool>,
    pub serializable: Option<bool>,
}

/// More words than any such statement has.
const WORDS_MAX: usize = 32;

/// Reads a text that is one `BEGIN` or `START TRANSACTION`, and nothing else.
pub fn begins(text: &[u8]) -> Option<Begins> {
    let mut words: Vec<String> = Vec::new();
    let mut over = false;
    for token in Lexer::new(text, true) {
        match token.kind {
            Kind::Word if !over && words.len() < WORDS_MAX => {
                let word = String::from_utf8_lossy(&text[token.range()]).to_ascii_lowercase();
                if words.is_empty() && word != "begin" && word != "start" {
                    return None;
                }
                words.push(word);
            }
            Kind::Symbol(b',') if !over => {}
            Kind::Symbol(b';') => over = true,
            _ => return None,
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut modes = match &words[..] {
        ["begin", "work" | "transaction", modes @ ..] | ["start", "transaction", modes @ ..] => {
            modes
        }
        ["begin", modes @ ..] => modes,
        _ => return None,
    };
    let mut begins = Begins::default();
    loop {
        modes = match modes {
            [] => return Some(begins),
            ["read", "only", rest @ ..] => {
                begins.read_only = Some(true);
                rest
            }
            ["read", "write", rest @ ..] => {
                begins.read_only = Some(false);
                rest
            }
            ["isolation", "level", "serializable", rest @ ..] => {
                begins.serializable = Some(true);
                rest
            }
            ["isolation", "level", "repeatable", "read", rest @ ..]
            | [
                "isolation",
                "level",
                "read",
                "committed" | "uncommitted",
                rest @ ..,
            ] => {
                begins.serializable = Some(false);
                rest
            }
            ["not", "deferrable", rest @ ..] | ["deferrable", rest @ ..] => rest,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_where_the_text_is_a_beginning_alone() {
        let both = |text: &str| begins(text.as_bytes()).map(|b| (b.read_only, b.serializable));
        assert_eq!(both("BEGIN"), Some((None, None)));
        assert_eq!(both("begin work read only;"), Some((Some(true), None)));
        assert_eq!(
            both("/* x */ START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE"),
            Some((Some(true), Some(true)))
        );
        assert_eq!(
            both("begin isolation level repeatable read read only"),
            Some((Some(true), Some(false)))
        );
        assert_eq!(
            both("begin read only, read write"),
            Some((Some(false), None))
        );
        for other in [
            "",
            "select 1",
            "begin read only; insert into t values (1)",
            "begin read sometimes",
            "begin 'read only'",
            "start",
        ] {
            assert_eq!(both(other), None, "{other}");
        }
    }
}
