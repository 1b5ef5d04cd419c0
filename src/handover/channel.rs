//! The Unix socket between the two processes: messages, and sockets that go with them.
//!
//! A message is its length (four bytes), the number of sockets that go with it (one byte) and its
//! MessagePack, with names, so that another version can leave out what it does not know. Sockets
//! travel as ancillary data of the first byte (unix(7), SCM_RIGHTS).

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Length and number of sockets.
const HEADER: usize = 5;
/// A client's session, its texts included, is nowhere near.
const MESSAGE_MAX: usize = 256 << 20;
/// Sockets that go with one message.
const SOCKETS_MAX: usize = 2;
/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// The bytes of a message and the sockets that came with it.
type Whole = (Vec<u8>, Vec<OwnedFd>);

#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("the other process is gone: {0}")]
    Io(#[from] io::Error),
    #[error("the other process has closed the connection")]
    Closed,
    #[error("the other process says what cannot be understood: {0}")]
    Garbled(String),
}

/// Says things; may be used beside [`Listener`].
#[derive(Debug, Clone)]
pub struct Speaker(Arc<UnixStream>);

/// Hears things.
#[derive(Debug)]
pub struct Listener {
    stream: Arc<UnixStream>,
    bytes: Vec<u8>,
    sockets: VecDeque<OwnedFd>,
}

/// The two ends of one process.
pub fn both(stream: UnixStream) -> (Speaker, Listener) {
    let stream = Arc::new(stream);
    let listener = Listener {
        stream: Arc::clone(&stream),
        bytes: Vec::new(),
        sockets: VecDeque::new(),
    };
    (Speaker(stream), listener)
}

impl Speaker {
    /// Says `message`; the other process gets copies of `sockets`, at most two.
    ///
    /// # Errors
    /// [`ChannelError`]: nothing more can be said.
    pub async fn say<T: Serialize>(
        &self,
        message: &T,
        sockets: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let garbled = |e: rmp_serde::encode::Error| ChannelError::Garbled(e.to_string());
        let body = rmp_serde::to_vec_named(message).map_err(garbled)?;
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.push(sockets.len() as u8);
        bytes.extend_from_slice(&body);
        let mut sent = self.send(&bytes, sockets).await?;
        while sent < bytes.len() {
            sent += self.send(&bytes[sent..], &[]).await?;
        }
        Ok(())
    }

    async fn send(&self, bytes: &[u8], sockets: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !sockets.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(sockets)) {
                return Err(io::Error::other("too many sockets for one message"));
            }
            let flags = SendFlags::NOSIGNAL;
            let sent = sendmsg(&*self.0, &[IoSlice::new(bytes)], &mut ancillary, flags)?;
            Ok(sent)
        };
        self.0.async_io(Interest::WRITABLE, send).await
    }
}

impl Listener {
    /// The next message, and the sockets that came with it.
    ///
    /// # Errors
    /// [`ChannelError`]: nothing more will be heard.
    pub async fn hear<T: DeserializeOwned>(&mut self) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        loop {
            if let Some((message, sockets)) = self.next()? {
                let garbled = |e: rmp_serde::decode::Error| ChannelError::Garbled(e.to_string());
                let message = rmp_serde::from_slice(&message).map_err(garbled)?;
                return Ok((message, sockets));
            }
            if self.receive().await? == 0 {
                return Err(ChannelError::Closed);
            }
        }
    }

    fn next(&mut self) -> Result<Option<Whole>, ChannelError> {
        let Some((header, body)) = self.bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [a, b, c, d, count] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let count = usize::from(count);
        if length > MESSAGE_MAX || count > SOCKETS_MAX {
            let text = "no message begins like this".to_owned();
            return Err(ChannelError::Garbled(text));
        }
        if body.len() < length {
            return Ok(None);
        }
        if self.sockets.len() < count {
            let text = "a socket is missing".to_owned();
            return Err(ChannelError::Garbled(text));
        }
        let message = body[..length].to_vec();
        self.bytes.drain(..HEADER + length);
        Ok(Some((message, self.sockets.drain(..count).collect())))
    }

    async fn receive(&mut self) -> io::Result<usize> {
        let mut chunk = vec![0; CHUNK];
        let (bytes, sockets) = (&mut self.bytes, &mut self.sockets);
        let stream = &self.stream;
        let receive = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC;
            let into = &mut [IoSliceMut::new(&mut chunk)];
            let received = recvmsg(&**stream, into, &mut ancillary, flags)?;
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(came) = message {
                    sockets.extend(came);
                }
            }
            Ok(received.bytes)
        };
        let n = stream.async_io(Interest::READABLE, receive).await?;
        bytes.extend_from_slice(&chunk[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;

    #[tokio::test]
    async fn messages_of_any_size_arrive_with_their_sockets() {
        let (a, b) = UnixStream::pair().unwrap();
        let (speaker, _) = both(a);
        let (_, mut listener) = both(b);
        let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let long = "x".repeat(3 << 20);
        let said = [("one".to_owned(), 1), (long, 2), ("three".to_owned(), 0)];
        let copy = said.clone();
        let sending = tokio::spawn(async move {
            for (text, count) in copy {
                let all = vec![far.as_fd(); count];
                speaker.say(&text, &all).await.unwrap();
            }
        });
        let mut came = Vec::new();
        for (text, count) in said {
            let (heard, sockets): (String, _) = listener.hear().await.unwrap();
            assert_eq!((heard == text, sockets.len()), (true, count));
            came.extend(sockets);
        }
        sending.await.unwrap();
        for socket in came {
            let mut socket = std::os::unix::net::UnixStream::from(socket);
            socket.write_all(b"!").unwrap();
            let mut one = [0];
            near.read_exact(&mut one).unwrap();
        }
        assert!(matches!(
            listener.hear::<String>().await,
            Err(ChannelError::Io(_) | ChannelError::Closed)
        ));
    }

    #[tokio::test]
    async fn nonsense_ends_it() {
        for bytes in [
            b"E\0\0\0\x40S".as_slice(), // an ErrorResponse
            b"\0\0\0\x01\x01\xc0",      // a socket that did not come
            b"\0\0\0\x01\0\xc1",        // not MessagePack
        ] {
            let (a, b) = UnixStream::pair().unwrap();
            let (_, mut listener) = both(b);
            let mut a = a.into_std().unwrap();
            a.write_all(bytes).unwrap();
            let heard = listener.hear::<String>().await;
            assert!(matches!(heard, Err(ChannelError::Garbled(_))), "{heard:?}");
        }
    }
}
