//! From "we want a server connection" to the server's first ReadyForQuery.
//!
//! [`connect`] resolves the host, dials ([`dial`]), settles whether TLS is used, and logs in
//! ([`login`], with [`super::auth`] for the proof of identity). It makes one connection or says
//! in a [`ConnectError`] why not; whether and when to try again is the pool's decision, which
//! [`ConnectError::is_transient`] helps with. It does not run queries: a `connect_query` is the
//! caller's.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Host, Listen, SslMode};
use crate::dns::Resolver;
use crate::net::stream::Stream;
use crate::net::tls_client::{self, TlsClient};
use crate::protocol::startup::Replication;
use crate::server::auth::{Credentials, KeyCache};

pub(crate) mod dial;
mod error;
mod login;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use dial::{Deadline, Encryption};
pub use error::{AuthError, ConnectError, Method, ProtocolError, ServerError, Stage};

/// Where a server is and how to reach it. Cheap to clone; shared by all logins to that server.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub host: Host,
    pub port: u16,
    /// Knows the host's addresses.
    pub resolver: Arc<Resolver>,
    /// Not used on a Unix socket, whatever its mode (as libpq).
    pub tls: Arc<TlsClient>,
    /// Limit for a whole login, from resolving the name to ReadyForQuery, and for a whole
    /// CancelRequest. Zero: no limit.
    pub connect_timeout: Duration,
    pub keepalive: Keepalive,
    /// Spares a login the password hashing that an earlier one did.
    pub scram_keys: Arc<KeyCache>,
}

/// TCP settings that notice a dead server. `None` leaves the system's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    pub enabled: bool,
    /// Silence before the first probe (`tcp_keepidle`).
    pub idle: Option<Duration>,
    /// Between probes (`tcp_keepintvl`).
    pub interval: Option<Duration>,
    /// Unanswered probes that end the connection (`tcp_keepcnt`).
    pub count: Option<u32>,
    /// How long sent data may stay unacknowledged (`tcp_user_timeout`).
    pub user_timeout: Option<Duration>,
    /// Bytes that the kernel keeps each way (`tcp_socket_buffer`).
    pub buffer: Option<usize>,
}

/// Who wants to log in, and as what.
#[derive(Debug, Clone)]
pub struct LoginRequest<'a> {
    pub user: &'a str,
    pub database: &'a str,
    pub application_name: Option<&'a str>,
    /// Whether it is to be a connection to a WAL sender.
    pub replication: Replication,
    /// Further startup parameters; what has a field of its own is refused here.
    pub parameters: &'a [(String, String)],
    pub credentials: &'a Credentials,
    /// Highest minor version of protocol 3 to ask for: 0, or 2 for long cancel keys. A server
    /// that knows less says so and gets its way.
    pub protocol_minor: u16,
}

/// A server connection that is logged in, idle and outside a transaction.
#[derive(Debug)]
pub struct Established {
    pub stream: Stream,
    /// ParameterStatus messages, in order; a name may come twice, and the last counts.
    pub parameters: Vec<(String, String)>,
    /// 0 if the server sent no BackendKeyData.
    pub backend_pid: i32,
    /// 4 to 256 bytes; empty if the server sent no BackendKeyData.
    pub cancel_key: Vec<u8>,
    /// What was agreed on: 0 for protocol 3.0.
    pub protocol_minor: u16,
    pub peer: Address,
    pub local: Address,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Address {
    Tcp(SocketAddr),
    /// Path of the server's socket, at both ends (ours has no name).
    Unix(PathBuf),
}

/// What [`login`] found out.
#[derive(Debug, Default)]
struct Session {
    parameters: Vec<(String, String)>,
    backend_pid: i32,
    cancel_key: Vec<u8>,
    protocol_minor: u16,
}

/// An attempt that failed, and whether it had come as far as TLS.
struct Failure {
    error: ConnectError,
    tls: bool,
}

// === functions ===

/// Connects and logs in.
///
/// All addresses of the host are tried until one accepts the connection. With `allow` and
/// `prefer`, a server that refuses the login for want (or for the presence) of encryption is
/// tried a second time the other way.
///
/// # Errors
/// [`ConnectError`]; on failure nothing is left open.
pub async fn connect(
    endpoint: &Endpoint,
    login: &LoginRequest<'_>,
) -> Result<Established, ConnectError> {
    let deadline = Deadline::after(endpoint.connect_timeout);
    let addresses = dial::resolve(endpoint, &deadline).await?;
    let mut left = addresses.len();
    let mut addresses = addresses.into_iter();
    loop {
        let Some(address) = addresses.next() else {
            // `resolve` returns at least one address, and the last one's failure returns below.
            return Err(dial::no_address(endpoint));
        };
        let result = connect_to(endpoint, &address, login, &deadline, left).await;
        left -= 1;
        match result {
            Err(e) if left > 0 && is_about_address(&e) => {
                tracing::debug!(%address, error = %e, "trying the next address");
            }
            result => return result,
        }
    }
}

/// Whether another address of the same host may do better.
fn is_about_address(error: &ConnectError) -> bool {
    matches!(
        error,
        ConnectError::Connect { .. }
            | ConnectError::Timeout {
                stage: Stage::Connecting,
                ..
            }
    )
}

/// Both attempts, if need be, at one address, with `left` addresses to try, this one included.
async fn connect_to(
    endpoint: &Endpoint,
    address: &Address,
    login: &LoginRequest<'_>,
    deadline: &Deadline,
    left: usize,
) -> Result<Established, ConnectError> {
    let attempt = |encryption| attempt(endpoint, address, encryption, login, deadline, left);
    let first = match attempt(dial::encryption(endpoint, address)).await {
        Ok(established) => return Ok(established),
        Err(failure) => failure,
    };
    let Some(other) = other_way(endpoint.tls.mode(), &first) else {
        return Err(first.error);
    };
    tracing::debug!(%address, error = %first.error, ?other, "trying again the other way");
    match attempt(other).await {
        Ok(established) => Ok(established),
        Err(second) => Err(more_telling(first, second)),
    }
}

/// One connection, one login.
async fn attempt(
    endpoint: &Endpoint,
    address: &Address,
    encryption: Encryption,
    login: &LoginRequest<'_>,
    deadline: &Deadline,
    left: usize,
) -> Result<Established, Failure> {
    let plain = |error| Failure { error, tls: false };
    // An address that swallows packets must leave time for the others.
    let share = deadline.share(left);
    let (socket, local) = dial::open(endpoint, address, &share).await.map_err(plain)?;
    let stream = dial::secure(socket, endpoint, address, encryption, deadline)
        .await
        .map_err(|error| Failure {
            tls: matches!(error, ConnectError::Tls(_)),
            error,
        })?;
    let tls = stream.is_tls();
    let binding = tls_client::server_end_point(&stream);
    let mut wire = wire::Wire::new(stream);
    let session = deadline
        .limit(
            Stage::LoggingIn,
            login::login(&mut wire, login, binding, &endpoint.scram_keys),
        )
        .await
        .map_err(|error| Failure { error, tls })?;
    let (stream, read_ahead) = wire.into_parts();
    if !read_ahead.is_empty() {
        // A ParameterStatus, say: the next user of the connection would miss it. It is too rare to
        // be worth more than another attempt.
        let why = "the server had more to say when it was ready";
        return Err(Failure {
            error: ConnectError::Lost(std::io::Error::other(why)),
            tls,
        });
    }
    Ok(Established {
        stream,
        parameters: session.parameters,
        backend_pid: session.backend_pid,
        cancel_key: session.cancel_key,
        protocol_minor: session.protocol_minor,
        peer: address.clone(),
        local,
    })
}

/// SQLSTATE with which `pg_hba.conf` refuses a connection, for its encryption among others
/// (invalid_authorization_specification; a wrong password is 28P01).
const REFUSED: &str = "28000";

/// What is worth a second attempt, as in libpq: `allow` begins without TLS, `prefer` with it.
fn other_way(mode: SslMode, failure: &Failure) -> Option<Encryption> {
    let refused = failure.error.sqlstate() == Some(REFUSED);
    match mode {
        SslMode::Allow if refused && !failure.tls => Some(Encryption::Tls),
        SslMode::Prefer
            if failure.tls && (refused || matches!(failure.error, ConnectError::Tls(_))) =>
        {
            Some(Encryption::Plain)
        }
        _ => None,
    }
}

/// Of two failures the one that says more: a refusal that is only about the way of the second
/// attempt says nothing new.
fn more_telling(first: Failure, second: Failure) -> ConnectError {
    match &second.error {
        ConnectError::TlsRefused(_) => first.error,
        e if first.tls && e.sqlstate() == Some(REFUSED) => first.error,
        _ => second.error,
    }
}

// === impls ===

impl From<&Listen> for Keepalive {
    /// As for clients.
    fn from(listen: &Listen) -> Keepalive {
        Keepalive {
            enabled: listen.tcp_keepalive,
            idle: listen.tcp_keepidle,
            interval: listen.tcp_keepintvl,
            count: listen.tcp_keepcnt,
            user_timeout: listen.tcp_user_timeout,
            buffer: listen.tcp_socket_buffer,
        }
    }
}

impl Default for Keepalive {
    /// On, with the system's times, as PgBouncer's default.
    fn default() -> Keepalive {
        Keepalive {
            enabled: true,
            idle: None,
            interval: None,
            count: None,
            user_timeout: None,
            buffer: None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}
