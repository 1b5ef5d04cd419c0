//! Messages that pgweir itself makes, appended to a buffer.
//!
//! The rare ones are built from pgwire's message types; the few that may be made once a query are
//! written by hand, so that they cost no allocation.

use bytes::BytesMut;
use pgwire::messages::Message;
use pgwire::messages::data::{DataRow, FieldDescription, RowDescription};
use pgwire::messages::response::{ErrorResponse, NoticeResponse};

use super::sqlstate::SqlState;

pub const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
pub const BIND_COMPLETE: &[u8] = b"2\0\0\0\x04";
pub const CLOSE_COMPLETE: &[u8] = b"3\0\0\0\x04";
pub const NO_DATA: &[u8] = b"n\0\0\0\x04";
pub const EMPTY_QUERY_RESPONSE: &[u8] = b"I\0\0\0\x04";
pub const AUTHENTICATION_OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
pub const SYNC: &[u8] = b"S\0\0\0\x04";
pub const FLUSH: &[u8] = b"H\0\0\0\x04";
pub const TERMINATE: &[u8] = b"X\0\0\0\x04";

/// Severity of an error that we raise (PostgreSQL docs, "Error and Notice Message Fields").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    /// The connection is closed after it.
    Fatal,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        }
    }
}

fn length_word(n: usize) -> [u8; 4] {
    // Only called for messages that we make, all far below 2 GiB; saturating keeps that honest.
    i32::try_from(n).unwrap_or(i32::MAX).to_be_bytes()
}

fn encode(out: &mut Vec<u8>, message: &impl Message) {
    let mut bytes = BytesMut::new();
    // Encoding into memory fails only for bodies over 2 GiB, which none of ours is.
    if message.encode(&mut bytes).is_ok() {
        out.extend_from_slice(&bytes);
    }
}

pub fn ready_for_query(out: &mut Vec<u8>, status: u8) {
    out.extend_from_slice(&[b'Z', 0, 0, 0, 5, status]);
}

pub fn command_complete(out: &mut Vec<u8>, tag: &str) {
    out.push(b'C');
    out.extend_from_slice(&length_word(4 + tag.len() + 1));
    out.extend_from_slice(tag.as_bytes());
    out.push(0);
}

pub fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b'S');
    out.extend_from_slice(&length_word(4 + name.len() + 1 + value.len() + 1));
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.extend_from_slice(value.as_bytes());
    out.push(0);
}

pub fn backend_key_data(out: &mut Vec<u8>, pid: i32, secret: &[u8]) {
    out.push(b'K');
    out.extend_from_slice(&length_word(8 + secret.len()));
    out.extend_from_slice(&pid.to_be_bytes());
    out.extend_from_slice(secret);
}

/// NegotiateProtocolVersion: the newest minor version we speak, and what we do not know.
pub fn negotiate_protocol_version(out: &mut Vec<u8>, minor: u16, unknown: &[String]) {
    let names: usize = unknown.iter().map(|n| n.len() + 1).sum();
    out.push(b'v');
    out.extend_from_slice(&length_word(4 + 8 + names));
    out.extend_from_slice(&(3u32 << 16 | u32::from(minor)).to_be_bytes());
    out.extend_from_slice(&length_word(unknown.len()));
    for name in unknown {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
    }
}

/// A Query message. NUL bytes cannot occur in SQL text that came over the protocol.
pub fn query(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'Q');
    out.extend_from_slice(&length_word(4 + text.len() + 1));
    out.extend_from_slice(text);
    out.push(0);
}

/// `types` is the parameter count and OIDs as on the wire.
pub fn parse(out: &mut Vec<u8>, name: &[u8], query: &[u8], types: &[u8]) {
    out.push(b'P');
    out.extend_from_slice(&length_word(
        4 + name.len() + 1 + query.len() + 1 + types.len(),
    ));
    out.extend_from_slice(name);
    out.push(0);
    out.extend_from_slice(query);
    out.push(0);
    out.extend_from_slice(types);
}

/// The head of a Bind, up to and with the statement's name; `rest` bytes of body follow.
pub fn bind_head(out: &mut Vec<u8>, portal: &[u8], statement: &[u8], rest: usize) {
    out.push(b'B');
    out.extend_from_slice(&length_word(
        4 + portal.len() + 1 + statement.len() + 1 + rest,
    ));
    out.extend_from_slice(portal);
    out.push(0);
    out.extend_from_slice(statement);
    out.push(0);
}

pub fn describe_statement(out: &mut Vec<u8>, name: &[u8]) {
    statement_message(out, b'D', name);
}

pub fn close_statement(out: &mut Vec<u8>, name: &[u8]) {
    statement_message(out, b'C', name);
}

fn statement_message(out: &mut Vec<u8>, tag: u8, name: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&length_word(4 + 1 + name.len() + 1));
    out.push(b'S');
    out.extend_from_slice(name);
    out.push(0);
}

/// An ErrorResponse with the fields that PostgreSQL always sends, and perhaps more.
pub fn error(
    out: &mut Vec<u8>,
    severity: Severity,
    code: SqlState,
    message: &str,
    detail: Option<&str>,
) {
    let severity = severity.as_str().to_owned();
    let mut fields = vec![
        (b'S', severity.clone()),
        (b'V', severity),
        (b'C', code.as_str().to_owned()),
        (b'M', message.replace('\0', " ")),
    ];
    if let Some(detail) = detail {
        fields.push((b'D', detail.replace('\0', " ")));
    }
    encode(out, &ErrorResponse::new(fields));
}

/// An ErrorResponse that also names the routine in the server's source: drivers recognise some
/// errors by it, because the SQLSTATE says too little and the message is translated.
pub fn error_from_routine(out: &mut Vec<u8>, code: SqlState, message: &str, routine: &str) {
    let severity = Severity::Error.as_str().to_owned();
    let fields = vec![
        (b'S', severity.clone()),
        (b'V', severity),
        (b'C', code.as_str().to_owned()),
        (b'M', message.to_owned()),
        (b'R', routine.to_owned()),
    ];
    encode(out, &ErrorResponse::new(fields));
}

pub fn notice(out: &mut Vec<u8>, code: &str, message: &str, detail: Option<&str>) {
    let mut fields = vec![
        (b'S', "NOTICE".to_owned()),
        (b'V', "NOTICE".to_owned()),
        (b'C', code.to_owned()),
        (b'M', message.replace('\0', " ")),
    ];
    if let Some(detail) = detail {
        fields.push((b'D', detail.replace('\0', " ")));
    }
    encode(out, &NoticeResponse::new(fields));
}

/// A column of a result that we make ourselves, in text format.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    /// Type OID and size as in `pg_type`.
    pub oid: u32,
    pub size: i16,
}

pub fn row_description(out: &mut Vec<u8>, columns: &[Column]) {
    let fields = columns
        .iter()
        .map(|c| FieldDescription::new(c.name.to_owned(), 0, 0, c.oid, c.size, -1, 0))
        .collect();
    encode(out, &RowDescription::new(fields));
}

pub fn data_row(out: &mut Vec<u8>, values: &[Option<String>]) {
    let mut data = BytesMut::new();
    for value in values {
        match value {
            None => data.extend_from_slice(&(-1i32).to_be_bytes()),
            Some(v) => {
                data.extend_from_slice(&length_word(v.len()));
                data.extend_from_slice(v.as_bytes());
            }
        }
    }
    let count = i16::try_from(values.len()).unwrap_or(i16::MAX);
    encode(out, &DataRow::new(data, count));
}

#[cfg(test)]
mod tests {
    use super::super::{backend, frame, frontend, sqlstate};
    use super::*;

    /// Splits a buffer into (tag, body) pairs, checking that the lengths tile it exactly.
    fn messages(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let h = frame::header(bytes).unwrap().unwrap();
            found.push((h.tag, &bytes[frame::HEADER..h.total]));
            bytes = &bytes[h.total..];
        }
        found
    }

    #[test]
    fn what_we_make_we_can_read() {
        let mut out = Vec::new();
        error(
            &mut out,
            Severity::Fatal,
            sqlstate::TOO_MANY_CONNECTIONS,
            "full",
            Some("why"),
        );
        parameter_status(&mut out, "TimeZone", "UTC");
        parse(&mut out, b"s", b"select $1", b"\0\x01\0\0\0\x17");
        bind_head(&mut out, b"p", b"s", 0);
        query(&mut out, b"select 1");
        data_row(&mut out, &[Some("a".into()), None]);
        command_complete(&mut out, "SELECT 1");
        close_statement(&mut out, b"s");
        ready_for_query(&mut out, b'I');
        let m = messages(&out);
        let e = backend::error_fields(m[0].1);
        assert_eq!((e.severity, e.code), (&b"FATAL"[..], &b"53300"[..]));
        assert_eq!(
            backend::parameter_status(m[1].1),
            Some(("TimeZone".into(), "UTC".into()))
        );
        assert_eq!(frontend::parse(m[2].1).unwrap().query, b"select $1");
        assert_eq!(frontend::bind_names(m[3].1).unwrap().statement, b"s");
        assert_eq!(frontend::query_text(m[4].1), Some(&b"select 1"[..]));
        assert_eq!(backend::data_row(m[5].1), Some(vec![Some(&b"a"[..]), None]));
        assert_eq!(backend::command_tag(m[6].1), b"SELECT 1");
        assert_eq!(
            frontend::target(m[7].1),
            Some(frontend::Target::Statement(b"s"))
        );
        assert_eq!(m[8], (b'Z', &b"I"[..]));
    }
}
