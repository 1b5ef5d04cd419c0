//! A socket to a server, encrypted or not: host name, TCP or Unix socket, SSLRequest, handshake.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use super::error::{ConnectError, ProtocolError, Stage};
use super::{Address, Endpoint, Keepalive};
use crate::config::{Host, SslMode};
use crate::dns::cache::LookupError;
use crate::net::stream::{Socket, Stream};
use crate::net::unix;

/// SSLRequest (PostgreSQL docs, "Message Formats"): length 8, code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Whether an attempt uses TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    Plain,
    /// If the server can.
    TlsOrPlain,
    Tls,
}

/// When a login has to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    /// `None`: never.
    at: Option<Instant>,
    /// How long was given, for the error message.
    given: Duration,
}

// === impl Deadline ===

impl Deadline {
    /// Zero means no limit.
    pub(crate) fn after(given: Duration) -> Deadline {
        let at = (!given.is_zero()).then(|| Instant::now().checked_add(given));
        Deadline {
            at: at.flatten(),
            given,
        }
    }

    /// An equal part of the time that is left, for the first of `parts` steps.
    pub(crate) fn share(&self, parts: usize) -> Deadline {
        let Some(at) = self.at.filter(|_| parts > 1) else {
            return *self;
        };
        let left = at.saturating_duration_since(Instant::now());
        let part = left / u32::try_from(parts).unwrap_or(u32::MAX);
        // Zero would mean no limit.
        Deadline::after(part.max(Duration::from_millis(1)))
    }

    /// Runs `step`, but not past the deadline.
    pub(crate) async fn limit<T>(
        &self,
        stage: Stage,
        step: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let Some(at) = self.at else {
            return step.await;
        };
        tokio::time::timeout_at(at, step)
            .await
            .unwrap_or(Err(ConnectError::Timeout {
                stage,
                after: self.given,
            }))
    }
}

// === functions ===

/// What to begin with at `address`.
pub(crate) fn encryption(endpoint: &Endpoint, address: &Address) -> Encryption {
    match (address, endpoint.tls.mode()) {
        (Address::Unix(_), _) | (_, SslMode::Disable | SslMode::Allow) => Encryption::Plain,
        (_, SslMode::Prefer) => Encryption::TlsOrPlain,
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => Encryption::Tls,
    }
}

/// The addresses of the endpoint's host, in the order in which they are to be tried; at least one.
pub(crate) async fn resolve(
    endpoint: &Endpoint,
    deadline: &Deadline,
) -> Result<Vec<Address>, ConnectError> {
    let name = match &endpoint.host {
        Host::Unix(directory) => {
            let path = unix::socket_in(directory, endpoint.port);
            return Ok(vec![Address::Unix(path)]);
        }
        Host::Tcp(name) => name,
    };
    if let Ok(ip) = name.parse::<IpAddr>() {
        let address = SocketAddr::new(ip, endpoint.port);
        return Ok(vec![Address::Tcp(address)]);
    }
    if name.contains('%') {
        return with_zone(endpoint, name).await;
    }
    let look_up = async {
        let found = endpoint.resolver.addresses(name).await;
        found.map_err(|source| ConnectError::Resolve {
            host: name.clone(),
            source,
        })
    };
    let found = deadline.limit(Stage::Resolving, look_up).await?;
    let found = found.into_iter();
    let addresses = found.map(|ip| Address::Tcp(SocketAddr::new(ip, endpoint.port)));
    Ok(addresses.collect())
}

/// An IPv6 address with a zone (RFC 4007): only the operating system knows what its name means,
/// and asks nobody.
async fn with_zone(endpoint: &Endpoint, address: &str) -> Result<Vec<Address>, ConnectError> {
    let found = tokio::net::lookup_host((address, endpoint.port)).await;
    let found = found.map_err(|error| ConnectError::Resolve {
        host: address.to_owned(),
        source: LookupError::Failed(error.to_string()),
    })?;
    let addresses: Vec<_> = found.map(Address::Tcp).collect();
    match addresses.is_empty() {
        true => Err(no_address(endpoint)),
        false => Ok(addresses),
    }
}

pub(crate) fn no_address(endpoint: &Endpoint) -> ConnectError {
    ConnectError::Resolve {
        host: match &endpoint.host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(directory) => directory.display().to_string(),
        },
        source: LookupError::Nothing,
    }
}

/// Connects a socket; the second value is our own end.
pub(crate) async fn open(
    endpoint: &Endpoint,
    address: &Address,
    deadline: &Deadline,
) -> Result<(Socket, Address), ConnectError> {
    let dial = async {
        match address {
            Address::Tcp(to) => open_tcp(*to, &endpoint.keepalive).await,
            Address::Unix(path) => {
                let socket = UnixStream::connect(unix::for_system(path)).await?;
                Ok((Socket::Unix(socket), address.clone()))
            }
        }
    };
    let dial = async {
        dial.await
            .map_err(|source: io::Error| ConnectError::Connect {
                address: address.to_string(),
                source,
            })
    };
    deadline.limit(Stage::Connecting, dial).await
}

async fn open_tcp(to: SocketAddr, keepalive: &Keepalive) -> io::Result<(Socket, Address)> {
    let socket = TcpStream::connect(to).await?;
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    if keepalive.enabled {
        let mut probes = TcpKeepalive::new();
        if let Some(idle) = keepalive.idle {
            probes = probes.with_time(idle);
        }
        if let Some(interval) = keepalive.interval {
            probes = probes.with_interval(interval);
        }
        if let Some(count) = keepalive.count {
            probes = probes.with_retries(count);
        }
        options.set_tcp_keepalive(&probes)?;
    }
    #[cfg(target_os = "linux")]
    if let Some(bytes) = keepalive.buffer {
        options.set_recv_buffer_size(bytes)?;
        options.set_send_buffer_size(bytes)?;
    }
    if keepalive.user_timeout.is_some() {
        options.set_tcp_user_timeout(keepalive.user_timeout)?;
    }
    let local = socket.local_addr()?;
    Ok((Socket::Tcp(socket), Address::Tcp(local)))
}

/// Puts TLS on a fresh socket, as far as `encryption` says.
pub(crate) async fn secure(
    mut socket: Socket,
    endpoint: &Endpoint,
    address: &Address,
    encryption: Encryption,
    deadline: &Deadline,
) -> Result<Stream, ConnectError> {
    let (Host::Tcp(host), Address::Tcp(to)) = (&endpoint.host, address) else {
        return Ok(Stream::Plain(socket)); // a Unix socket, which never has TLS
    };
    let or_plain = match encryption {
        Encryption::Plain => return Ok(Stream::Plain(socket)),
        Encryption::TlsOrPlain => true,
        Encryption::Tls => false,
    };
    let negotiate = async {
        if !request_tls(&mut socket).await? {
            return if or_plain {
                Ok(Stream::Plain(socket))
            } else {
                Err(ConnectError::TlsRefused(endpoint.tls.mode()))
            };
        }
        let stream = endpoint.tls.handshake(socket, host, to.ip()).await;
        stream.map_err(|e| match e.kind() {
            io::ErrorKind::InvalidInput => ConnectError::TlsName(e),
            _ => ConnectError::lost(e),
        })
    };
    deadline.limit(Stage::NegotiatingTls, negotiate).await
}

/// Asks whether the server does TLS.
async fn request_tls(socket: &mut Socket) -> Result<bool, ConnectError> {
    socket
        .write_all(&SSL_REQUEST)
        .await
        .map_err(ConnectError::Lost)?;
    // Room for more than the one byte of an answer, so that what follows it is noticed here
    // instead of being taken for TLS.
    let mut answer = [0; 16];
    let n = socket.read(&mut answer).await.map_err(ConnectError::Lost)?;
    match answer.get(..n).unwrap_or_default() {
        [] => Err(ConnectError::Lost(io::ErrorKind::UnexpectedEof.into())),
        [b'S'] => Ok(true),
        [b'N'] => Ok(false),
        [b'E', ..] => Err(ProtocolError::ErrorBeforeTls.into()),
        [b'S' | b'N', ..] => Err(ProtocolError::BytesBeforeTls.into()),
        [other, ..] => Err(ProtocolError::SslAnswer(*other).into()),
    }
}
