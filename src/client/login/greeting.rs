//! The messages from AuthenticationOk to ReadyForQuery.

use crate::client::info::ClientInfo;
use crate::protocol::encode;
use crate::session::reported::Reported;

/// What a client is told when it is let in.
pub(super) fn introduction(info: &ClientInfo, reported: &Reported, message: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(encode::AUTHENTICATION_OK);
    for (name, value) in reported.entries() {
        encode::parameter_status(&mut out, name, value);
    }
    encode::backend_key_data(&mut out, info.key.pid, info.key.secret());
    if !message.is_empty() {
        encode::notice(&mut out, "00000", message, None);
    }
    encode::ready_for_query(&mut out, b'I');
    out
}

/// The same from the console, which no server stands behind.
pub(super) fn of_console() -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(encode::AUTHENTICATION_OK);
    for (name, value) in [
        // Tools go by the version of PgBouncer that a console is like.
        ("server_version", "1.25.2/pgweir"),
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("TimeZone", "GMT"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "on"),
        ("integer_datetimes", "on"),
    ] {
        encode::parameter_status(&mut out, name, value);
    }
    encode::backend_key_data(&mut out, 0, &[0; 4]);
    encode::ready_for_query(&mut out, b'I');
    out
}
