//! Server messages that we look into. Bodies are given without the header.

use memchr::memchr;

fn cstr(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(0, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// ParameterStatus: name and value. Both are ASCII identifiers and settings; other bytes are
/// replaced, which matters only for values that we compare with themselves.
pub fn parameter_status(body: &[u8]) -> Option<(String, String)> {
    let (name, rest) = cstr(body)?;
    let (value, _) = cstr(rest)?;
    Some((
        String::from_utf8_lossy(name).into_owned(),
        String::from_utf8_lossy(value).into_owned(),
    ))
}

/// The channel of a NotificationResponse.
pub fn notification_channel(body: &[u8]) -> Option<&[u8]> {
    let (_pid, rest) = body.split_first_chunk::<4>()?;
    let (channel, rest) = cstr(rest)?;
    let (_payload, rest) = cstr(rest)?;
    rest.is_empty().then_some(channel)
}

/// The command tag of a CommandComplete, for example `SELECT 1`.
pub fn command_tag(body: &[u8]) -> &[u8] {
    cstr(body).map_or(body, |(tag, _)| tag)
}

/// The fields of an ErrorResponse or NoticeResponse that decide something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    pub severity: &'a [u8],
    pub code: &'a [u8],
    pub message: &'a [u8],
    /// Source routine: not translated, unlike the message.
    pub routine: &'a [u8],
    /// Where in the text, from 1; empty if nowhere.
    pub position: &'a [u8],
}

/// Reads what is there; an absent field is empty (servers may omit any of them).
pub fn error_fields(mut body: &[u8]) -> ErrorFields<'_> {
    let mut fields = ErrorFields::default();
    while let Some((&kind, rest)) = body.split_first() {
        if kind == 0 {
            break;
        }
        let Some((value, rest)) = cstr(rest) else {
            break;
        };
        match kind {
            // 'V' is never translated; 'S' stands in for servers older than 9.6.
            b'V' => fields.severity = value,
            b'S' if fields.severity.is_empty() => fields.severity = value,
            b'C' => fields.code = value,
            b'M' => fields.message = value,
            b'R' => fields.routine = value,
            b'P' => fields.position = value,
            _ => {}
        }
        body = rest;
    }
    fields
}

/// The text values of a DataRow; `None` inside is SQL NULL, `None` outside a malformed row.
pub fn data_row(body: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let count = usize::from(u16::from_be_bytes(*body.first_chunk()?));
    let mut rest = &body[2..];
    let mut values = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let length = i32::from_be_bytes(*rest.first_chunk()?);
        rest = &rest[4..];
        let Ok(length) = usize::try_from(length) else {
            values.push(None);
            continue;
        };
        let (value, after) = rest.split_at_checked(length)?;
        values.push(Some(value));
        rest = after;
    }
    rest.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_fields_survive_absent_and_cut_fields() {
        let body = b"SFEHLER\0VERROR\0C26000\0Mno\0RFetchPreparedStatement\0\0";
        let f = error_fields(body);
        assert_eq!(f.severity, b"ERROR");
        assert_eq!((f.code, f.message), (&b"26000"[..], &b"no"[..]));
        assert_eq!(f.routine, b"FetchPreparedStatement");
        assert_eq!(error_fields(b"\0"), ErrorFields::default());
        for n in 0..body.len() {
            error_fields(&body[..n]);
        }
    }

    #[test]
    fn data_rows() {
        assert_eq!(
            data_row(b"\0\x02\0\0\0\x011\xff\xff\xff\xff"),
            Some(vec![Some(&b"1"[..]), None])
        );
        assert_eq!(data_row(b"\0\x01\0\0\0\x09short"), None);
        assert_eq!(data_row(b""), None);
    }

    #[test]
    fn parameter_status_has_two_strings() {
        assert_eq!(
            parameter_status(b"TimeZone\0UTC\0"),
            Some(("TimeZone".into(), "UTC".into()))
        );
        assert_eq!(parameter_status(b"TimeZone\0UTC"), None);
    }
}
