//! Asking a server to stop what one of its backends does.
//!
//! A CancelRequest travels on a connection of its own and is never answered; the server closes
//! that connection when it has sent the signal. [`cancel`] returns only then, so that a caller
//! who waits for it knows that no signal is on its way any more when it lets another client use
//! the backend.

use std::io;

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::net::stream::Stream;
use crate::server::connect::dial::{self, Deadline};
use crate::server::connect::{Address, ConnectError, Endpoint, Stage};

#[cfg(test)]
mod tests;

/// The request code of CancelRequest (PostgreSQL docs, "Message Formats").
const CANCEL_REQUEST: u32 = 80_877_102;
/// Bytes read from a server that sends some, against the protocol, before it closes.
const MAX_ANSWER: usize = 64 * 1024;

/// Sends a CancelRequest to `peer` and waits until the server has taken it.
///
/// `peer` is [`super::connect::Established::peer`] of the backend to be canceled: the name in
/// `endpoint` may by now mean another server, where the key means another backend or none.
/// TLS is used as the mode says; `allow` goes without, since no server refuses that here.
/// The whole takes at most the endpoint's `connect_timeout`.
///
/// # Errors
/// When the server cannot be reached or does not close the connection in time; the request may
/// have been taken nevertheless in the latter case. That the server did not know the key is not
/// an error: it does not tell.
pub async fn cancel(
    endpoint: &Endpoint,
    peer: &Address,
    backend_pid: i32,
    key: &[u8],
) -> Result<(), ConnectError> {
    let deadline = Deadline::after(endpoint.connect_timeout);
    let (socket, _) = dial::open(endpoint, peer, &deadline).await?;
    let encryption = dial::encryption(endpoint, peer);
    let mut stream = dial::secure(socket, endpoint, peer, encryption, &deadline).await?;
    deadline
        .limit(Stage::Canceling, request(&mut stream, backend_pid, key))
        .await
}

/// A connection for one CancelRequest to wherever a host's name leads, in clear: that is how a
/// request goes to another process that pools connections.
#[derive(Debug)]
pub struct Line {
    stream: Stream,
    deadline: Deadline,
}

impl Line {
    /// Connects to the first of the host's addresses that accepts it. What `endpoint` says about TLS
    /// does not count.
    ///
    /// # Errors
    /// When none does within the endpoint's `connect_timeout`, which is for all of it.
    pub async fn open(endpoint: &Endpoint) -> Result<Line, ConnectError> {
        let deadline = Deadline::after(endpoint.connect_timeout);
        let addresses = dial::resolve(endpoint, &deadline).await?;
        let mut left = addresses.len();
        let mut last = dial::no_address(endpoint);
        for address in addresses {
            // An address that swallows packets must leave time for the others.
            match dial::open(endpoint, &address, &deadline.share(left)).await {
                Ok((socket, _)) => {
                    return Ok(Line {
                        stream: Stream::Plain(socket),
                        deadline,
                    });
                }
                Err(error) => last = error,
            }
            left -= 1;
        }
        Err(last)
    }

    /// Sends the request and waits until it has been taken.
    ///
    /// # Errors
    /// As [`cancel`].
    pub async fn send(mut self, pid: i32, key: &[u8]) -> Result<(), ConnectError> {
        let sent = request(&mut self.stream, pid, key);
        self.deadline.limit(Stage::Canceling, sent).await
    }
}

async fn request(stream: &mut Stream, backend_pid: i32, key: &[u8]) -> Result<(), ConnectError> {
    let message = cancel_request(backend_pid, key);
    stream
        .write_all(&message)
        .await
        .map_err(ConnectError::lost)?;
    stream.flush().await.map_err(ConnectError::lost)?;
    wait_for_close(stream).await
}

fn cancel_request(backend_pid: i32, key: &[u8]) -> BytesMut {
    let length = 12 + key.len();
    let mut message = BytesMut::with_capacity(length);
    message.put_u32(u32::try_from(length).unwrap_or(u32::MAX)); // a key has at most 256 bytes
    message.put_u32(CANCEL_REQUEST);
    message.put_i32(backend_pid);
    message.put_slice(key);
    message
}

async fn wait_for_close(stream: &mut Stream) -> Result<(), ConnectError> {
    let mut scratch = [0; 256];
    let mut total = 0;
    while total <= MAX_ANSWER {
        match stream.read(&mut scratch).await {
            Ok(0) => return Ok(()),
            Ok(n) => total += n,
            // How PostgreSQL closes: without TLS's goodbye, or, if it had not read all, with a
            // reset.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ) =>
            {
                return Ok(());
            }
            Err(e) => return Err(ConnectError::lost(e)),
        }
    }
    Ok(())
}
