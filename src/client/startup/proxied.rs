//! Connections from load balancers, which begin by saying whom they speak for.

use std::net::SocketAddr;

use tokio::io::AsyncReadExt;

use super::{OpenError, refuse};
use crate::listener::Accepted;
use crate::net::network::Network;
use crate::net::stream::{Socket, Stream};
use crate::protocol::proxy::{self, Step};
use crate::server::connect::Address;

/// The connection as its client has made it. `trusted` are the networks whose word is taken: from there
/// a header must come, and from anywhere else none is read. The caller bounds the time.
///
/// # Errors
/// [`OpenError`]; the peer has been told.
pub async fn unwrap(mut accepted: Accepted, trusted: &[Network]) -> Result<Accepted, OpenError> {
    let Address::Tcp(peer) = &accepted.peer else {
        return Ok(accepted);
    };
    if !trusted.iter().any(|network| network.has(peer.ip())) {
        return Ok(accepted);
    }
    match header(&mut accepted.socket).await {
        Ok(None) => {}
        Ok(Some(client)) => {
            tracing::debug!(peer = %accepted.peer, %client, "a load balancer speaks for a client");
            accepted.peer = Address::Tcp(client);
        }
        Err(error) => {
            refuse(&mut Stream::Plain(accepted.socket), &error).await;
            return Err(error);
        }
    }
    Ok(accepted)
}

/// Reads the header, and not a byte behind it.
async fn header(socket: &mut Socket) -> Result<Option<SocketAddr>, OpenError> {
    let mut bytes = Vec::new();
    loop {
        // Bounded: proxy::step asks for no more than its maximum.
        match proxy::step(&bytes)? {
            Step::Done(client) => return Ok(client),
            Step::More(more) => {
                let have = bytes.len();
                bytes.resize(have + more, 0);
                let read = socket.read_exact(&mut bytes[have..]).await;
                read.map_err(|error| match have {
                    0 => OpenError::Silent(error),
                    _ => OpenError::Io(error),
                })?;
            }
        }
    }
}
