//! The startup conversation (PostgreSQL docs, "Start-up"): StartupMessage, authentication,
//! parameters, ReadyForQuery.

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::error::{ConnectError, ProtocolError, ServerError};
use super::wire::{Message, Wire, take_cstr, take_u32};
use super::{LoginRequest, Session};
use crate::protocol::startup::Replication;
use crate::server::auth::{KeyCache, Prover};

#[cfg(test)]
mod tests;

/// Longest StartupMessage that PostgreSQL takes, in bytes (MAX_STARTUP_PACKET_LENGTH).
const MAX_STARTUP: usize = 10_000;
/// BackendKeyData: shortest and longest key, in bytes. In protocol 3.0 it is always the shortest.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 4..=256;

/// Logs in over a fresh stream. `binding` is what SCRAM can bind to, if the stream is TLS.
///
/// # Errors
/// Any [`ConnectError`] but those about reaching the server.
pub(super) async fn login<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    request: &LoginRequest<'_>,
    binding: Option<Vec<u8>>,
    keys: &KeyCache,
) -> Result<Session, ConnectError> {
    let mut session = Session {
        protocol_minor: request.protocol_minor,
        ..Session::default()
    };
    wire.write(&startup_message(request)?).await?;
    let mut first = wire.read().await?;
    if first.tag == b'v' {
        session.protocol_minor = negotiated_minor(&first.body, request.protocol_minor)?;
        first = wire.read().await?;
    }
    let prover = Prover {
        user: request.user,
        credentials: request.credentials,
        binding,
        keys,
    };
    prover.prove(wire, first).await?;
    loop {
        let Message { tag, body } = wire.read().await?;
        match tag {
            b'S' => session.parameters.push(parameter_status(&body)?),
            b'K' => {
                (session.backend_pid, session.cancel_key) =
                    backend_key_data(&body, session.protocol_minor)?;
            }
            b'Z' if *body == *b"I" => return Ok(session),
            b'Z' => return Err(ProtocolError::Malformed("ReadyForQuery").into()),
            b'E' => return Err(ConnectError::Server(Box::new(ServerError::parse(&body)))),
            tag => return Err(ProtocolError::UnexpectedMessage(tag).into()),
        }
    }
}

/// The whole StartupMessage. Names and values are checked: a NUL in one would let it continue as
/// another parameter, an empty name would end the list.
fn startup_message(request: &LoginRequest<'_>) -> Result<BytesMut, ConnectError> {
    let replication = request.replication;
    let replication = (replication != Replication::None).then(|| replication.parameter());
    let fixed = [
        ("user", Some(request.user)),
        ("database", Some(request.database)),
        ("application_name", request.application_name),
        ("replication", replication),
    ];
    let fixed = fixed.into_iter().filter_map(|(n, v)| Some((n, v?)));
    let further = request.parameters.iter();
    let further = further.map(|(n, v)| (n.as_str(), v.as_str()));

    let refuse = |name: &str| ConnectError::Parameter(name.escape_debug().to_string());
    if let Some((name, _)) = further
        .clone()
        .find(|(name, _)| ["", "user", "database", "replication"].contains(name))
    {
        return Err(refuse(name));
    }
    let mut message = BytesMut::with_capacity(256);
    message.put_u32(0); // the length, below
    message.put_u16(3);
    message.put_u16(request.protocol_minor);
    for (name, value) in fixed.chain(further) {
        for text in [name, value] {
            if text.contains('\0') {
                return Err(refuse(name));
            }
            message.put_slice(text.as_bytes());
            message.put_u8(0);
        }
        if message.len() >= MAX_STARTUP {
            return Err(refuse(name));
        }
    }
    message.put_u8(0);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX); // at most MAX_STARTUP
    for (to, from) in message.iter_mut().zip(length.to_be_bytes()) {
        *to = from;
    }
    Ok(message)
}

/// NegotiateProtocolVersion: the server's newest minor version, then the `_pq_.` options that it
/// does not know, which are no concern of ours.
///
/// PostgreSQL sends the whole version (3 in the upper half), though the documentation of some
/// releases reads as if it were the minor one alone; both are understood.
fn negotiated_minor(body: &[u8], asked: u16) -> Result<u16, ProtocolError> {
    let malformed = ProtocolError::Malformed("NegotiateProtocolVersion");
    let (version, rest) = take_u32(body).ok_or(malformed.clone())?;
    let minor = match version >> 16 {
        0 | 3 => version & 0xffff,
        _ => return Err(malformed),
    };
    let (options, mut rest) = take_u32(rest).ok_or(malformed.clone())?;
    for _ in 0..options {
        (_, rest) = take_cstr(rest).ok_or(malformed.clone())?;
    }
    if !rest.is_empty() {
        return Err(malformed);
    }
    u16::try_from(minor)
        .ok()
        .filter(|minor| *minor <= asked)
        .ok_or(ProtocolError::Version(minor))
}

/// Text that is not UTF-8 (a server may send its own encoding) is replaced.
fn parameter_status(body: &[u8]) -> Result<(String, String), ProtocolError> {
    take_cstr(body)
        .and_then(|(name, rest)| Some((name, take_cstr(rest)?)))
        .filter(|(_, (_, end))| end.is_empty())
        .map(|(name, (value, _))| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            (text(name), text(value))
        })
        .ok_or(ProtocolError::Malformed("ParameterStatus"))
}

fn backend_key_data(body: &[u8], minor: u16) -> Result<(i32, Vec<u8>), ProtocolError> {
    let longest = if minor == 0 {
        KEY_BYTES.start()
    } else {
        KEY_BYTES.end()
    };
    take_u32(body)
        .filter(|(_, key)| (*KEY_BYTES.start()..=*longest).contains(&key.len()))
        .map(|(pid, key)| (pid.cast_signed(), key.to_vec()))
        .ok_or(ProtocolError::Malformed("BackendKeyData"))
}
