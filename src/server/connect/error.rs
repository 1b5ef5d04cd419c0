//! Why a server connection could not be made, and whether trying again may help.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::auth::scram_client::ScramError;
use crate::config::SslMode;
use crate::dns::cache::LookupError;
use crate::server::password::PasswordError;
use crate::telemetry::events::Connect;

#[cfg(test)]
mod tests;

/// Why there is no server connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("server DNS lookup failed: {host}: {source}")]
    Resolve { host: String, source: LookupError },
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("timed out after {after:?} while {stage}")]
    Timeout { stage: Stage, after: Duration },
    /// The server does not do TLS, and the mode insists on it.
    #[error("the server does not support TLS, but sslmode {0:?} requires it")]
    TlsRefused(SslMode),
    /// The TLS handshake failed, the certificate was not accepted, or the session broke.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// The host of a `verify-full` server cannot be in any certificate.
    #[error("TLS: {0}")]
    TlsName(io::Error),
    /// The connection was lost during the login.
    #[error("connection lost during login: {0}")]
    Lost(io::Error),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("protocol violation by the server: {0}")]
    Protocol(#[from] ProtocolError),
    /// A startup parameter, user or database name that the protocol cannot carry.
    #[error("startup parameter \"{0}\" contains a NUL byte, is empty or is too long")]
    Parameter(String),
    /// There is no password to log in with.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The server refuses a password that changes while pgweir runs.
    #[error(transparent)]
    PasswordRefused(Box<ServerError>),
    /// The host's last attempt has failed like this, and there is none before `until`.
    #[error("{error}")]
    LeftAlone {
        error: Arc<ConnectError>,
        until: Instant,
    },
    /// None of the pool's servers is what its `target` asks for.
    #[error("no server of this database is {0} now")]
    NoServer(&'static str),
    /// The server refused the login and said why.
    #[error(transparent)]
    Server(Box<ServerError>),
}

/// What was going on when the time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Resolving,
    Connecting,
    NegotiatingTls,
    LoggingIn,
    /// A CancelRequest was sent; the server has not closed the connection yet.
    Canceling,
}

/// Why we could not prove who we are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("the server asks for authentication method {0}, which is not supported")]
    Unsupported(Method),
    #[error("the server offers only unsupported SASL mechanisms: {0}")]
    UnsupportedSasl(String),
    #[error("the server asks for {asked}, which needs {needed}, but there is {have}")]
    SecretNeeded {
        asked: Method,
        needed: &'static str,
        have: &'static str,
    },
    #[error(transparent)]
    Scram(#[from] ScramError),
    /// The background computation of SCRAM keys did not come back; the runtime is shutting down.
    #[error("the computation of the SCRAM keys was abandoned")]
    Abandoned,
}

/// An authentication method as a server may ask for it (PostgreSQL docs, "Message Formats",
/// the Authentication messages).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Cleartext,
    Md5,
    Sasl,
    Kerberos5,
    ScmCredential,
    Gss,
    Sspi,
    /// A code that the protocol documentation does not list.
    Other(u32),
}

/// Bytes that a PostgreSQL server would not have sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("message of {0} bytes during login")]
    MessageLength(u32),
    #[error("more than {0} bytes of messages during login")]
    TooMuch(usize),
    #[error("unexpected message '{}'", .0.escape_ascii())]
    UnexpectedMessage(u8),
    #[error("malformed {0} message")]
    Malformed(&'static str),
    #[error("answer '{}' to SSLRequest", .0.escape_ascii())]
    SslAnswer(u8),
    /// CVE-2021-23222: somebody between us and the server may have sent them.
    #[error("unencrypted bytes after the answer to SSLRequest")]
    BytesBeforeTls,
    /// Servers before 7.0, or one that failed before it knew who asked. The text that follows is
    /// unauthenticated and left unread (CVE-2024-10977).
    #[error("error response to SSLRequest")]
    ErrorBeforeTls,
    #[error("protocol version 3.{0} offered although it was not asked for")]
    Version(u32),
}

/// An ErrorResponse (PostgreSQL docs, "Error and Notice Message Fields").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("server refused the login: {severity}: {message} (SQLSTATE {})", self.sqlstate_or_none())]
pub struct ServerError {
    /// `ERROR`, `FATAL` or `PANIC`, not localized where the server sends it so.
    pub severity: String,
    /// SQLSTATE, five characters; empty when the server sent none or nonsense.
    pub code: String,
    /// Primary message. Not necessarily UTF-8 on the wire; what is not, is replaced.
    pub message: String,
    /// The body of an ErrorResponse as the server sent it, without the length word and always
    /// well-formed (fields, then a NUL): fit to be sent to a client as it is.
    pub raw: Bytes,
}

// === impl ConnectError ===

impl ConnectError {
    /// Whether the same attempt may well succeed later, without anybody changing a setting.
    pub fn is_transient(&self) -> bool {
        match self {
            ConnectError::Resolve { .. }
            | ConnectError::Timeout { .. }
            | ConnectError::Lost(_)
            | ConnectError::Password(_)
            | ConnectError::PasswordRefused(_)
            | ConnectError::NoServer(_)
            | ConnectError::Auth(AuthError::Abandoned) => true,
            ConnectError::LeftAlone { error, .. } => error.is_transient(),
            ConnectError::Connect { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
            ),
            ConnectError::Server(e) => e.is_transient(),
            // A server that cannot fork says so in the answer to SSLRequest.
            ConnectError::Protocol(e) => *e == ProtocolError::ErrorBeforeTls,
            ConnectError::TlsRefused(_)
            | ConnectError::Tls(_)
            | ConnectError::TlsName(_)
            | ConnectError::Auth(_)
            | ConnectError::Parameter(_) => false,
        }
    }

    /// As attempts are counted.
    pub fn outcome(&self) -> Connect {
        match self.cause() {
            ConnectError::Resolve { .. } => Connect::Dns,
            ConnectError::Connect { .. } | ConnectError::Lost(_) => Connect::Network,
            ConnectError::Timeout { .. } => Connect::Timeout,
            ConnectError::TlsRefused(_) | ConnectError::Tls(_) | ConnectError::TlsName(_) => {
                Connect::Tls
            }
            ConnectError::Auth(_)
            | ConnectError::Password(_)
            | ConnectError::PasswordRefused(_) => Connect::Auth,
            ConnectError::Protocol(_) => Connect::Protocol,
            ConnectError::Server(_) => Connect::Refused,
            ConnectError::LeftAlone { .. }
            | ConnectError::NoServer(_)
            | ConnectError::Parameter(_) => Connect::Other,
        }
    }

    /// What has gone wrong in the first place.
    pub fn cause(&self) -> &ConnectError {
        match self {
            ConnectError::LeftAlone { error, .. } => error.cause(),
            error => error,
        }
    }

    /// The SQLSTATE that the server gave, if it gave one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            ConnectError::Server(e) if !e.code.is_empty() => Some(&e.code),
            _ => None,
        }
    }

    /// An I/O error after the socket was connected. TLS errors hide in `InvalidData`: with
    /// TLS 1.3 a server refuses our certificate only after our side of the handshake is done.
    pub(crate) fn lost(error: io::Error) -> ConnectError {
        match error.downcast::<rustls::Error>() {
            Ok(tls) => ConnectError::Tls(tls),
            Err(io) => ConnectError::Lost(io),
        }
    }
}

// === impl ServerError ===

impl ServerError {
    /// Reads the body of an ErrorResponse. Never fails: what can be read of it is used.
    pub(crate) fn parse(body: &[u8]) -> ServerError {
        let mut error = ServerError {
            severity: String::new(),
            code: String::new(),
            message: String::new(),
            raw: Bytes::new(),
        };
        let mut raw = BytesMut::with_capacity(body.len() + 1);
        let mut rest = body;
        while let Some((&kind, after)) = rest.split_first().filter(|(kind, _)| **kind != 0) {
            let Some(end) = memchr::memchr(0, after) else {
                break;
            };
            let (value, next) = after.split_at(end);
            let text = || String::from_utf8_lossy(value).into_owned();
            match kind {
                b'V' => error.severity = text(),
                b'S' if error.severity.is_empty() => error.severity = text(),
                b'C' if is_sqlstate(value) => error.code = text(),
                b'M' => error.message = text(),
                _ => {}
            }
            raw.put_u8(kind);
            raw.put_slice(value);
            raw.put_u8(0);
            rest = next.get(1..).unwrap_or_default();
        }
        raw.put_u8(0);
        error.raw = raw.freeze();
        error
    }

    /// Classes 08 (connection exception) and 53 (insufficient resources), a server that is
    /// starting or stopping, and a database that somebody is copying or dropping. See PostgreSQL
    /// docs, "PostgreSQL Error Codes".
    fn is_transient(&self) -> bool {
        match self.code.as_str() {
            "08P01" => false, // protocol violation
            "57P01" | "57P02" | "57P03" | "55006" => true,
            code => code.starts_with("08") || code.starts_with("53"),
        }
    }

    fn sqlstate_or_none(&self) -> &str {
        if self.code.is_empty() {
            "none"
        } else {
            &self.code
        }
    }
}

// === other impls and functions ===

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stage::Resolving => "resolving the host name",
            Stage::Connecting => "connecting",
            Stage::NegotiatingTls => "negotiating TLS",
            Stage::LoggingIn => "logging in",
            Stage::Canceling => "waiting for a cancel request to be taken",
        })
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Method::Cleartext => f.write_str("password"),
            Method::Md5 => f.write_str("md5"),
            Method::Sasl => f.write_str("scram-sha-256"),
            Method::Kerberos5 => f.write_str("Kerberos V5"),
            Method::ScmCredential => f.write_str("SCM credential"),
            Method::Gss => f.write_str("gss"),
            Method::Sspi => f.write_str("sspi"),
            Method::Other(code) => write!(f, "number {code}"),
        }
    }
}

fn is_sqlstate(value: &[u8]) -> bool {
    value.len() == 5 && value.iter().all(u8::is_ascii_alphanumeric)
}
