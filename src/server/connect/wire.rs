//! Messages over a stream while a login lasts: few, small, and from a peer that has not yet
//! shown that it is a PostgreSQL server. Bounded in every direction.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::error::{ConnectError, ProtocolError};

/// Longest body of one message, in bytes. PostgreSQL's own client allows 30,000 for an error.
pub(crate) const MAX_BODY: usize = 64 * 1024;
/// Most bytes of all messages of a login together; a usual login has about 400.
const MAX_TOTAL: usize = 1024 * 1024;

/// One message from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) tag: u8,
    pub(crate) body: Bytes,
}

/// A stream and what has been read from it but not yet taken.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    inbox: BytesMut,
    total: usize,
}

// === impl Wire ===

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Wire<S> {
        Wire {
            stream,
            inbox: BytesMut::new(),
            total: 0,
        }
    }

    /// The next message, except NoticeResponse, which is skipped. An ErrorResponse is a message
    /// here.
    ///
    /// # Errors
    /// When the connection ends or a bound is exceeded.
    pub(crate) async fn read(&mut self) -> Result<Message, ConnectError> {
        loop {
            while let Some(message) = take_message(&mut self.inbox)? {
                self.total += message.body.len() + 5;
                if self.total > MAX_TOTAL {
                    return Err(ProtocolError::TooMuch(MAX_TOTAL).into());
                }
                if message.tag != b'N' {
                    return Ok(message);
                }
            }
            let n = self.stream.read_buf(&mut self.inbox).await;
            if n.map_err(ConnectError::lost)? == 0 {
                return Err(ConnectError::Lost(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Sends bytes that form one or more whole messages.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectError> {
        self.stream
            .write_all(bytes)
            .await
            .map_err(ConnectError::lost)?;
        self.stream.flush().await.map_err(ConnectError::lost)
    }

    /// Sends a PasswordMessage, SASLInitialResponse or SASLResponse, which share a tag.
    pub(crate) async fn write_password(&mut self, body: &[u8]) -> Result<(), ConnectError> {
        let mut message = BytesMut::with_capacity(body.len() + 5);
        message.put_u8(b'p');
        // Our own text, checked or far smaller than 4 GiB.
        message.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
        message.put_slice(body);
        self.write(&message).await
    }

    /// The stream, and the bytes that came after the last message taken.
    pub(crate) fn into_parts(self) -> (S, BytesMut) {
        let inbox = if self.inbox.is_empty() {
            BytesMut::new() // gives the buffer back
        } else {
            self.inbox
        };
        (self.stream, inbox)
    }
}

// === functions ===

/// Takes one whole message off the front; `None` means that more bytes are needed.
fn take_message(inbox: &mut BytesMut) -> Result<Option<Message>, ProtocolError> {
    let Some((&[tag, a, b, c, d], _)) = inbox.split_first_chunk::<5>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]);
    let body = (length as usize)
        .checked_sub(4)
        .filter(|n| *n <= MAX_BODY)
        .ok_or(ProtocolError::MessageLength(length))?;
    if inbox.len() < 5 + body {
        inbox.reserve(5 + body - inbox.len());
        return Ok(None);
    }
    inbox.advance(5);
    let body = inbox.split_to(body).freeze();
    Ok(Some(Message { tag, body }))
}

/// Splits a NUL-terminated string off the front.
pub(crate) fn take_cstr(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..])) // `end` is within `bytes`
}

/// Splits a big-endian 32-bit number off the front.
pub(crate) fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), rest))
}
