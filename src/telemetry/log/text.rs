//! Lines for people, and objects for programs.

use std::fmt::Write as _;

use tracing::Level;

use super::event::{Said, Value, is_unruly};

/// ```text
/// 2026-11-26T17:57:37.123456Z  INFO pgweir::client::login: login attempt client=31 user=amy tls=no
/// ```
pub(super) fn text(said: &Said, colours: bool) -> String {
    let paint = |colour: &str, text: String| match colours {
        true => format!("\x1b[{colour}m{text}\x1b[0m"),
        false => text,
    };
    let level = paint(colour(said.level), format!("{:>5}", said.level.as_str()));
    let time = paint("2", said.time.to_string());
    let target = paint("2", format!("{}:", tame(&said.target)));
    let mut line = format!("{time} {level} {target} {}", tame(&said.message));
    for (name, value) in &said.fields {
        let name = paint("3", (*name).to_owned());
        let _ = match value {
            Value::Text(text) => write!(line, " {name}={}", quoted(text)),
            value => write!(line, " {name}={value}"),
        };
    }
    line.push('\n');
    line
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        Level::DEBUG => "34",
        Level::TRACE => "35",
    }
}

/// In quotes where a reader could not tell otherwise where it ends.
fn quoted(text: &str) -> String {
    let odd = |c: char| c.is_whitespace() || matches!(c, '"' | '=' | '\\') || is_unruly(c);
    match text.is_empty() || text.contains(odd) {
        true => format!("{text:?}"),
        false => text.to_owned(),
    }
}

/// A line is a line, whatever somebody is called in it.
fn tame(text: &str) -> String {
    let mut tame = String::with_capacity(text.len());
    for c in text.chars() {
        match is_unruly(c) {
            true => tame.extend(c.escape_default()),
            false => tame.push(c),
        }
    }
    tame
}

/// An object a line.
pub(super) fn json(said: &Said) -> String {
    let mut line = format!(
        "{{\"timestamp\":\"{}\",\"level\":\"{}\",\"target\":{},\"message\":{}",
        said.time,
        said.level.as_str(),
        string(&said.target),
        string(&said.message)
    );
    for (name, value) in &said.fields {
        let _ = match value {
            Value::Text(text) => write!(line, ",{}:{}", string(name), string(text)),
            // JSON has no word for what is not finite.
            Value::Float(number) if !number.is_finite() => {
                write!(line, ",{}:null", string(name))
            }
            value => write!(line, ",{}:{value}", string(name)),
        };
    }
    line.push_str("}\n");
    line
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(user: &str) -> Said {
        let message = "login\nfailed".to_owned();
        let mut said = Said::new(Level::WARN, "pgweir::client", message);
        said.fields = vec![
            ("client", Value::Unsigned(31)),
            ("user", Value::Text(user.to_owned())),
            ("share", Value::Float(f64::NAN)),
            ("tls", Value::Flag(true)),
        ];
        said
    }

    #[test]
    fn nobody_can_write_a_line_of_their_own() {
        for user in [
            "amy\n2026-11-26T17:57:37.123456Z  INFO pgweir: all is well",
            "amy\r\x1b[2K",
            "amy\u{2028}x",
            "amy\u{202e}x",
            "a b=\"c\" \\",
            "",
        ] {
            let said = said(user);
            let (text, json) = (text(&said, false), json(&said));
            for line in [&text, &json] {
                assert!(line.ends_with('\n'));
                assert_eq!(line.matches(['\n', '\r', '\x1b']).count(), 1, "{line:?}");
            }
            assert!(!text.trim_end().contains(is_unruly), "{text:?}");
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(read["user"], user);
            assert_eq!(read["message"], "login\nfailed");
            assert_eq!(read["client"], 31);
            assert_eq!(read["tls"], true);
            assert!(read["share"].is_null());
            assert_eq!(read["level"], "WARN");
        }
    }

    #[test]
    fn a_line_names_its_fields() {
        let line = text(&said("amy"), false);
        let line = line.split_once(' ').unwrap().1;
        let expected =
            " WARN pgweir::client: login\\nfailed client=31 user=amy share=NaN tls=true\n";
        assert_eq!(line, expected);
        assert!(text(&said("amy smith"), false).contains(" user=\"amy smith\" "));
        assert!(text(&said("amy"), true).contains("\x1b[33m WARN\x1b[0m"));
    }
}
