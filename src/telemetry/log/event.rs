//! What an event says, taken out of it within bounds.

use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::admin::calendar::Calendar;

/// Bytes of a name that a client has given; PostgreSQL's own have 63 at most.
const NAME_MAX: usize = 256;
/// Bytes of any other field, and of the message.
const FIELD_MAX: usize = 4096;
/// Bytes of a statement, whose length is a setting.
const STATEMENT_MAX: usize = 1024 * 1024;

/// A field's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Flag(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Signed(number) => number.fmt(f),
            Value::Unsigned(number) => number.fmt(f),
            Value::Float(number) => number.fmt(f),
            Value::Flag(flag) => flag.fmt(f),
        }
    }
}

/// An event, ready to be written in any style.
#[derive(Debug)]
pub(super) struct Said {
    pub time: Moment,
    pub level: Level,
    pub target: String,
    pub message: String,
    pub fields: Vec<(&'static str, Value)>,
}

impl Said {
    pub fn new(level: Level, target: &str, message: String) -> Said {
        Said {
            time: Moment::now(),
            level,
            target: target.to_owned(),
            message,
            fields: Vec::new(),
        }
    }

    pub fn of(event: &Event<'_>) -> Said {
        let metadata = event.metadata();
        let mut said = Said::new(*metadata.level(), metadata.target(), String::new());
        event.record(&mut said);
        said
    }

    fn note(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", value) => self.message = value.to_string(),
            // Of libraries that log in another way.
            ("log.target", value) => self.target = value.to_string(),
            ("log.module_path" | "log.file" | "log.line", _) => {}
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Said {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.note(field, Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.note(field, Value::Unsigned(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.note(field, Value::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.note(field, Value::Flag(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = Bounded::of(field.name(), format_args!("{value}"));
        self.note(field, Value::Text(text));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = Bounded::of(field.name(), format_args!("{value:?}"));
        self.note(field, Value::Text(text));
    }
}

/// A text that grows to a certain length only, whatever is written.
struct Bounded {
    text: String,
    most: usize,
}

impl Bounded {
    fn of(field: &str, value: fmt::Arguments<'_>) -> String {
        let most = match field {
            "user" | "database" | "application" | "peer" => NAME_MAX,
            "statement" => STATEMENT_MAX,
            _ => FIELD_MAX,
        };
        let text = String::new();
        let mut bounded = Bounded { text, most };
        if bounded.write_fmt(value).is_err() {
            bounded.text.push('…');
        }
        bounded.text
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = self.most - self.text.len();
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        self.text.push_str(&more[..more.floor_char_boundary(room)]);
        Err(fmt::Error)
    }
}

/// When an event happened, in UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub calendar: Calendar,
    pub micros: u32,
}

impl Moment {
    fn now() -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default();
        Moment {
            calendar: Calendar::of(since.as_secs() as i64),
            micros: since.subsec_micros(),
        }
    }
}

/// As RFC 3339 has it.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calendar = self.calendar.to_string();
        let (date, time) = calendar.split_once(' ').unwrap_or((&calendar, ""));
        write!(f, "{date}T{time}.{:06}Z", self.micros)
    }
}

/// Whether this character would end or disguise a line on somebody's screen.
pub(super) fn is_unruly(c: char) -> bool {
    // Separators of lines and paragraphs, and what turns the direction of writing around.
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_call_themselves_is_cut() {
        let name = |length: usize| Bounded::of("user", format_args!("{}", "é".repeat(length)));
        assert_eq!(name(128).len(), 256);
        assert_eq!(name(129), format!("{}…", "é".repeat(128)));
        let other = Bounded::of("error", format_args!("{:?}", vec![1; 10_000]));
        assert!(other.len() <= FIELD_MAX + '…'.len_utf8());
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        let moment = Moment {
            calendar: Calendar::of(1_795_441_554),
            micros: 70,
        };
        assert_eq!(moment.to_string(), "2026-11-23T13:45:54.000070Z");
    }
}
