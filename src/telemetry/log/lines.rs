//! PgBouncer's log lines, for what reads those:
//!
//! ```text
//! 2026-11-23 10:57:28.179 UTC [4711] LOG C-0x1f: db/user@127.0.0.1:39446 closing because: client close request (age=3s)
//! ```

use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::admin::calendar::Calendar;

/// Formats events so.
pub(super) struct PgBouncerLines;

impl<S, N> FormatEvent<S, N> for PgBouncerLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default();
        let time = Calendar::of(since.as_secs() as i64);
        let millis = since.subsec_millis();
        let pid = std::process::id();
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "LOG",
            Level::DEBUG => "DEBUG",
            Level::TRACE => "NOISE",
        };
        writeln!(
            writer,
            "{time}.{millis:03} UTC [{pid}] {level} {}",
            text(event)
        )
    }
}

/// The line without its time and level.
pub(super) fn text(event: &Event<'_>) -> String {
    let mut said = Said::default();
    event.record(&mut said);
    said.line()
}

#[derive(Debug, Default)]
struct Said {
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

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.note(field.name(), format!("{value:?}"));
    }
}

impl Said {
    fn note(&mut self, name: &'static str, value: String) {
        // A line is a line, whatever clients call themselves.
        let value = value.replace(char::is_control, " ");
        match name {
            "message" => self.message = value,
            "client" => self.client = Some(value),
            "server" => self.server = Some(value),
            "database" => self.database = Some(value),
            "user" => self.user = Some(value),
            "peer" => self.peer = Some(value),
            "reason" => self.reason = Some(value),
            "age" => self.age = Some(value),
            _ => self.others.push((name, value)),
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
        let mut said = Said::default();
        said.note("message", message.to_owned());
        for (name, value) in fields {
            said.note(name, (*value).to_owned());
        }
        said.line()
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
    }
}
