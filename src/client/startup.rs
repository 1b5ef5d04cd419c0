//! A new connection up to its startup message: TLS in either form, cancel requests, and everything
//! that is no client at all.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::SslMode;
use crate::net::stream::{Socket, Stream};
use crate::net::tls_server::TlsServer;
use crate::protocol::encode::{self, Severity};
use crate::protocol::proxy::ProxyError;
use crate::protocol::sqlstate::{self, SqlState};
use crate::protocol::startup::{self, Packet, Startup, StartupError};
use crate::telemetry::events::Login;

mod proxied;

pub use proxied::unwrap;

/// The first byte of a TLS handshake; no startup packet of a legal length begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a connection has turned out to be.
#[derive(Debug)]
pub enum Opening {
    Cancel {
        /// To be closed when the request is taken.
        stream: Stream,
        pid: i32,
        secret: Vec<u8>,
    },
    /// A new process wants our sockets.
    HandOver(Stream),
    Startup(Stream, Startup),
}

/// No client: the connection is closed, after an answer where one makes sense.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing has come: a health check, mostly.
    #[error("connection closed without a word: {0}")]
    Silent(io::Error),
    #[error("connection lost before login: {0}")]
    Io(#[from] io::Error),
    #[error("TLS handshake failed: {0}")]
    Tls(io::Error),
    #[error(transparent)]
    Startup(#[from] StartupError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("received unencrypted data after SSL request")]
    DataBehindRequest,
    #[error("SSL required")]
    TlsRequired,
    #[error("a second request for encryption")]
    AskedTwice,
    #[error("TLS handshake without TLS being configured")]
    NoTls,
}

impl OpenError {
    fn code(&self) -> SqlState {
        match self {
            OpenError::TlsRequired | OpenError::Startup(StartupError::NoUser) => {
                sqlstate::INVALID_AUTHORIZATION
            }
            OpenError::Startup(StartupError::Version { .. }) => sqlstate::FEATURE_NOT_SUPPORTED,
            OpenError::Startup(StartupError::Option(_) | StartupError::OptionValue(_)) => {
                sqlstate::SYNTAX_ERROR
            }
            OpenError::Startup(StartupError::Replication(_)) => sqlstate::INVALID_PARAMETER_VALUE,
            _ => sqlstate::PROTOCOL_VIOLATION,
        }
    }

    /// As logins are counted.
    pub fn outcome(&self) -> Login {
        match self {
            // That it has no TLS may be a setting of either side.
            OpenError::TlsRequired => Login::NotAllowed,
            OpenError::Silent(_) | OpenError::Io(_) | OpenError::Tls(_) | OpenError::NoTls => {
                Login::Gone
            }
            _ => Login::Protocol,
        }
    }

    /// Whether the peer would understand an ErrorResponse.
    fn is_answered(&self) -> bool {
        let lost = matches!(self, OpenError::Silent(_) | OpenError::Io(_));
        !lost && !matches!(self, OpenError::Tls(_) | OpenError::NoTls)
    }

    /// Whether nobody has tried to log in.
    pub fn is_silence(&self) -> bool {
        matches!(self, OpenError::Silent(_))
    }
}

/// Reads up to the startup message. The caller bounds the time.
///
/// # Errors
/// [`OpenError`]; the client has been told.
pub async fn open(
    socket: Socket,
    tls: Option<&TlsServer>,
    mode: SslMode,
) -> Result<Opening, OpenError> {
    let mut stream = Stream::Plain(socket);
    let mut buffer = Vec::with_capacity(512);
    let opened = negotiate(&mut stream, &mut buffer, tls, mode).await;
    match opened {
        Ok(Packet::Cancel { pid, secret }) => Ok(Opening::Cancel {
            stream,
            pid,
            secret,
        }),
        Ok(Packet::HandOver) => Ok(Opening::HandOver(stream)),
        Ok(Packet::Startup(startup)) => Ok(Opening::Startup(stream, startup)),
        // Both are dealt with inside.
        Ok(Packet::Ssl | Packet::GssEnc) => Err(OpenError::AskedTwice),
        Err(error) => {
            refuse(&mut stream, &error).await;
            Err(error)
        }
    }
}

async fn refuse(stream: &mut Stream, error: &OpenError) {
    if error.is_answered() {
        let mut out = Vec::new();
        let text = error.to_string();
        encode::error(&mut out, Severity::Fatal, error.code(), &text, None);
        let _ = stream.write_all(&out).await;
        let _ = stream.shutdown().await;
    }
}

async fn negotiate(
    stream: &mut Stream,
    buffer: &mut Vec<u8>,
    tls: Option<&TlsServer>,
    mode: SslMode,
) -> Result<Packet, OpenError> {
    let (mut ssl_asked, mut gss_asked) = (false, false);
    if starts_tls(stream).await.map_err(OpenError::Silent)? {
        let tls = tls.ok_or(OpenError::NoTls)?;
        upgrade(stream, tls, true).await?;
        ssl_asked = true;
    }
    let mut spoke = ssl_asked;
    loop {
        let packet = read_packet(stream, buffer).await;
        let packet = packet.map_err(|error| match error {
            OpenError::Io(error) if !spoke && buffer.is_empty() => OpenError::Silent(error),
            error => error,
        })?;
        spoke = true;
        match packet {
            Packet::Ssl | Packet::GssEnc if !buffer.is_empty() => {
                // It would be taken for something that came encrypted (CVE-2021-23214).
                return Err(OpenError::DataBehindRequest);
            }
            Packet::Ssl if !ssl_asked => {
                ssl_asked = true;
                match tls.filter(|_| !stream.is_unix()) {
                    Some(tls) => {
                        stream.write_all(b"S").await?;
                        upgrade(stream, tls, false).await?;
                    }
                    None => stream.write_all(b"N").await?,
                }
            }
            Packet::GssEnc if !gss_asked => {
                gss_asked = true;
                stream.write_all(b"N").await?;
            }
            Packet::Ssl | Packet::GssEnc => return Err(OpenError::AskedTwice),
            Packet::Startup(_)
                if mode >= SslMode::Require && !stream.is_tls() && !stream.is_unix() =>
            {
                return Err(OpenError::TlsRequired);
            }
            packet => return Ok(packet),
        }
    }
}

/// Looks at the first byte without taking it.
async fn starts_tls(stream: &Stream) -> io::Result<bool> {
    let Stream::Plain(Socket::Tcp(tcp)) = stream else {
        return Ok(false);
    };
    let mut first = [0];
    Ok(tcp.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE)
}

async fn upgrade(stream: &mut Stream, tls: &TlsServer, direct: bool) -> Result<(), OpenError> {
    let plain = std::mem::replace(stream, Stream::Plain(Socket::Gone));
    if let Stream::Plain(socket) = plain {
        *stream = tls.accept(socket, direct).await.map_err(OpenError::Tls)?;
    }
    Ok(())
}

async fn read_packet(stream: &mut Stream, buffer: &mut Vec<u8>) -> Result<Packet, OpenError> {
    loop {
        if let Some((packet, length)) = startup::packet(buffer)? {
            buffer.drain(..length);
            return Ok(packet);
        }
        // Bounded: startup::packet refuses any length over its maximum.
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}
