//! PgBouncer's log lines, for what reads those:
//!
//! ```text
//! 2026-11-23 10:57:28.179 UTC [4711] LOG C-0x1f: db/user@127.0.0.1:39446 closing because: client close request (age=3s)
//! ```

use std::fmt::Write as _;

use tracing::Level;

use super::event::{Said, Value, is_unruly};

/// The whole line.
pub(super) fn line(said: &Said) -> String {
    let millis = said.time.micros / 1000;
    let pid = std::process::id();
    let level = match said.level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "LOG",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "NOISE",
    };
    let time = said.time.calendar;
    format!("{time}.{millis:03} UTC [{pid}] {level} {}\n", text(said))
}

/// The line without its time and level.
pub(super) fn text(said: &Said) -> String {
    let mut parts = Parts {
        message: tame(&said.message),
        ..Parts::default()
    };
    for (name, value) in &said.fields {
        parts.note(name, value);
    }
    parts.name_nobody();
    parts.line()
}

/// A line is a line, whatever clients call themselves.
fn tame(text: &str) -> String {
    text.replace(is_unruly, " ")
}

#[derive(Debug, Default)]
struct Parts {
    message: String,
    client: Option<String>,
    server: Option<String>,
    database: Option<String>,
    user: Option<String>,
    peer: Option<String>,
    reason: Option<String>,
    age: Option<String>,
    others: Vec<(&'static str, String)>,
}

impl Parts {
    fn note(&mut self, name: &'static str, value: &Value) {
        let value = tame(&value.to_string());
        match name {
            "client" => self.client = Some(value),
            "server" => self.server = Some(value),
            "database" => self.database = Some(value),
            "user" => self.user = Some(value),
            "peer" => self.peer = Some(value),
            // PgBouncer's lines have no place for it.
            "application" => {}
            "reason" => self.reason = Some(value),
            "age" => self.age = Some(value),
            _ => self.others.push((name, value)),
        }
    }

    /// A line that is about no client and no server has no place of their own for whom else it is about.
    fn name_nobody(&mut self) {
        if self.client.is_none() && self.server.is_none() {
            let [database, user, peer] = [&mut self.database, &mut self.user, &mut self.peer];
            for (name, value) in [("database", database), ("user", user), ("peer", peer)] {
                self.others.extend(value.take().map(|value| (name, value)));
            }
        }
    }

    fn other(&self, name: &str) -> &str {
        let found = self.others.iter().find(|(n, _)| *n == name);
        found.map_or("", |(_, value)| value)
    }

    fn line(&self) -> String {
        let mut line = self.who();
        match (&self.reason, &self.age) {
            (Some(reason), Some(age)) => {
                let _ = write!(line, "closing because: {reason} (age={age}s)");
                return line;
            }
            _ => line.push_str(&self.message),
        }
        match &*self.message {
            "login attempt" => {
                let [database, user] = [&self.database, &self.user];
                let [database, user] = [database, user].map(|x| x.as_deref().unwrap_or(""));
                let (tls, replication) = (self.other("tls"), self.other("replication"));
                let _ = write!(
                    line,
                    ": db={database} user={user} tls={tls} replication={replication}"
                );
            }
            "new connection to server" => {
                let _ = write!(line, " (from {})", self.other("local"));
            }
            "pooler error" => {
                let _ = write!(line, ": {}", self.other("error"));
            }
            _ => {
                let reason = self.reason.iter().map(|reason| ("reason", reason));
                let others = self.others.iter().map(|(n, v)| (*n, v));
                for (n, (name, value)) in reason.chain(others).enumerate() {
                    let _ = write!(line, "{}{name}={value}", if n == 0 { ": " } else { ", " });
                }
            }
        }
        line
    }

    /// Whom it is about.
    fn who(&self) -> String {
        let (kind, id) = match (&self.client, &self.server) {
            (Some(id), _) => ('C', id),
            (None, Some(id)) => ('S', id),
            (None, None) => return String::new(),
        };
        let id = id.parse::<u64>().unwrap_or_default();
        let name = |name: &Option<String>, none: &str| {
            name.clone()
                .filter(|n| !n.is_empty())
                .unwrap_or(none.to_owned())
        };
        let (database, user) = (name(&self.database, "(nodb)"), name(&self.user, "(nouser)"));
        let peer = self.peer.as_deref().unwrap_or("");
        format!("{kind}-{id:#x}: {database}/{user}@{peer} ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str, fields: &[(&'static str, &str)]) -> String {
        let mut said = Said::new(Level::INFO, "pgweir", message.to_owned());
        let value = |text: &str| Value::Text(text.to_owned());
        said.fields = fields.iter().map(|(n, v)| (*n, value(v))).collect();
        text(&said)
    }

    #[test]
    fn lines_are_those_of_pgbouncer() {
        let client = [
            ("client", "31"),
            ("database", "db"),
            ("user", "amy"),
            ("peer", "127.0.0.1:5"),
        ];
        let with = |more: &[(&'static str, &'static str)]| [&client[..], more].concat();
        assert_eq!(
            said(
                "login attempt",
                &with(&[("tls", "no"), ("replication", "no")])
            ),
            "C-0x1f: db/amy@127.0.0.1:5 login attempt: db=db user=amy tls=no replication=no"
        );
        assert_eq!(
            said(
                "client gone",
                &with(&[("reason", "client close request"), ("age", "3")])
            ),
            "C-0x1f: db/amy@127.0.0.1:5 closing because: client close request (age=3s)"
        );
        assert_eq!(
            said(
                "pooler error",
                &[
                    ("client", "1"),
                    ("peer", "unix"),
                    ("error", "no such database: x")
                ]
            ),
            "C-0x1: (nodb)/(nouser)@unix pooler error: no such database: x"
        );
        assert_eq!(
            said("listening", &[("address", "a\nb")]),
            "listening: address=a b"
        );
        // What is about no connection of ours says all the same whom it is about.
        let page = [("peer", "127.0.0.1:5"), ("by", "page")];
        assert_eq!(
            said("PAUSE command issued", &page),
            "PAUSE command issued: by=page, peer=127.0.0.1:5"
        );
    }
}
