//! Sequences of client actions, as text: what a failing test prints can be put into a table.
//!
//! One step a line, `CLIENT MESSAGE // MESSAGE …`; the messages of a step go out in one write, and
//! all their answers are read before the next step.

use std::fmt;

use super::support::message;

/// One protocol message of a client. `-` in a script stands for an empty name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `Q sql`; `\n` and `\xHH` are read as escapes by [`bytes`].
    Query(String),
    /// `P name: sql`
    Parse(String, String),
    /// `B portal statement value …`
    Bind(String, String, Vec<String>),
    /// `DS name`, `DP name`
    Describe(char, String),
    /// `CS name`, `CP name`
    Close(char, String),
    /// `E portal rows`
    Execute(String, u32),
    /// `S`
    Sync,
    /// `H`
    Flush,
    /// `d data`, `c`, `f reason`
    CopyData(String),
    CopyDone,
    CopyFail(String),
    /// `X`: the client leaves, and comes back as a new one.
    Reconnect,
    /// `startup name=value …`: the same, with these parameters from now on.
    Startup(Vec<(String, String)>),
    /// `W millis`
    Wait(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub client: usize,
    pub messages: Vec<Message>,
}

pub fn parse(script: &str) -> Vec<Step> {
    let lines = script.lines().map(str::trim).filter(|l| !l.is_empty());
    lines.map(step).collect()
}

fn step(line: &str) -> Step {
    let (client, rest) = line.split_at(1);
    Step {
        client: usize::from(client.as_bytes()[0] - b'A'),
        messages: rest.split(" // ").map(|m| one(m.trim())).collect(),
    }
}

fn one(text: &str) -> Message {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut words = rest.split_whitespace();
    let mut name = || words.next().map_or(String::new(), unnamed);
    match kind {
        "Q" => Message::Query(rest.into()),
        "P" => {
            let (name, sql) = rest.split_once(": ").unwrap_or((rest, ""));
            Message::Parse(unnamed(name.trim()), sql.into())
        }
        "B" => Message::Bind(name(), name(), words.map(str::to_owned).collect()),
        "DS" | "DP" => Message::Describe(char::from(kind.as_bytes()[1]), name()),
        "CS" | "CP" => Message::Close(char::from(kind.as_bytes()[1]), name()),
        "E" => Message::Execute(name(), words.next().map_or(0, |w| w.parse().unwrap())),
        "S" => Message::Sync,
        "H" => Message::Flush,
        "d" => Message::CopyData(rest.into()),
        "c" => Message::CopyDone,
        "f" => Message::CopyFail(rest.into()),
        "X" => Message::Reconnect,
        "startup" => {
            let pairs = words.map(|w| w.split_once('=').unwrap());
            Message::Startup(
                pairs
                    .map(|(n, v)| (n.into(), v.replace('~', " ")))
                    .collect(),
            )
        }
        "W" => Message::Wait(rest.parse().unwrap()),
        _ => panic!("no message: {text}"),
    }
}

fn unnamed(name: &str) -> String {
    if name == "-" { "" } else { name }.to_owned()
}

fn shown(name: &str) -> &str {
    if name.is_empty() { "-" } else { name }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Query(sql) => write!(f, "Q {sql}"),
            Message::Parse(name, sql) => write!(f, "P {}: {sql}", shown(name)),
            Message::Bind(portal, statement, values) => {
                write!(f, "B {} {}", shown(portal), shown(statement))?;
                values.iter().try_for_each(|v| write!(f, " {v}"))
            }
            Message::Describe(kind, name) => write!(f, "D{kind} {}", shown(name)),
            Message::Close(kind, name) => write!(f, "C{kind} {}", shown(name)),
            Message::Execute(portal, rows) => write!(f, "E {} {rows}", shown(portal)),
            Message::Sync => write!(f, "S"),
            Message::Flush => write!(f, "H"),
            Message::CopyData(data) => write!(f, "d {data}"),
            Message::CopyDone => write!(f, "c"),
            Message::CopyFail(reason) => write!(f, "f {reason}"),
            Message::Reconnect => write!(f, "X"),
            Message::Startup(pairs) => {
                write!(f, "startup")?;
                let mut pairs = pairs.iter();
                pairs.try_for_each(|(n, v)| write!(f, " {n}={}", v.replace(' ', "~")))
            }
            Message::Wait(millis) => write!(f, "W {millis}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: Vec<String> = self.messages.iter().map(Message::to_string).collect();
        let client = char::from(b'A' + self.client as u8);
        write!(f, "{client} {}", messages.join(" // "))
    }
}

impl Message {
    pub fn encode(&self) -> Vec<u8> {
        let named = |kind: &char, name: &str| format!("{kind}{name}\0").into_bytes();
        match self {
            Message::Query(sql) => message(b'Q', &[&bytes(sql)[..], b"\0"].concat()),
            Message::Parse(name, sql) => {
                let body = [name.as_bytes(), b"\0", &bytes(sql), b"\0\0\0"].concat();
                message(b'P', &body)
            }
            Message::Bind(portal, statement, values) => bind(portal, statement, values),
            Message::Describe(kind, name) => message(b'D', &named(kind, name)),
            Message::Close(kind, name) => message(b'C', &named(kind, name)),
            Message::Execute(portal, rows) => {
                let body = [portal.as_bytes(), b"\0", &rows.to_be_bytes()].concat();
                message(b'E', &body)
            }
            Message::Sync => message(b'S', b""),
            Message::Flush => message(b'H', b""),
            Message::CopyData(data) => message(b'd', &bytes(&format!("{data}\\n"))),
            Message::CopyDone => message(b'c', b""),
            Message::CopyFail(reason) => message(b'f', format!("{reason}\0").as_bytes()),
            Message::Reconnect | Message::Startup(_) | Message::Wait(_) => Vec::new(),
        }
    }

    /// How many ReadyForQuery it is answered with, if no error comes before it.
    pub fn readies(&self) -> usize {
        usize::from(matches!(self, Message::Query(_) | Message::Sync))
    }

    /// Whether an answer of its own is owed when no Sync follows.
    pub fn is_answered(&self) -> bool {
        use Message::{Bind, Close, Describe, Execute, Parse};
        matches!(
            self,
            Parse(..) | Bind(..) | Describe(..) | Close(..) | Execute(..)
        )
    }
}

fn bind(portal: &str, statement: &str, values: &[String]) -> Vec<u8> {
    let mut body = [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\0"].concat();
    body.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    body.extend_from_slice(b"\0\0");
    message(b'B', &body)
}

/// Scripts are lines of text; `¶` is a line break in one, `«E4»` a byte.
pub fn bytes(text: &str) -> Vec<u8> {
    let text = text.replace("¶", "\n").replace("\\n", "\n");
    let mut out = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, behind)) = rest.split_once('«') {
        let (hex, after) = behind.split_once('»').unwrap();
        out.extend_from_slice(before.as_bytes());
        out.push(u8::from_str_radix(hex, 16).unwrap());
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    out
}
