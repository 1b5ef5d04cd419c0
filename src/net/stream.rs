//! One byte stream to a peer, whatever carries it.
//!
//! A stream is registered with the reactor of the runtime that made it. Relay workers own a
//! runtime each, so a connection that changes workers is moved with [`Stream::rehome`].

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::telemetry::counts::labels;

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Between two reactors, or lost because registering it failed; reads as end of file.
    Gone,
}

/// A connected socket, perhaps under TLS.
#[derive(Debug)]
pub enum Stream {
    Plain(Socket),
    /// We are the TLS server: the peer is a client.
    ServerTls(Box<tokio_rustls::server::TlsStream<Socket>>),
    /// We are the TLS client: the peer is a PostgreSQL server.
    ClientTls(Box<tokio_rustls::client::TlsStream<Socket>>),
}

labels! {
    /// What a stream is encrypted with.
    Tls {
        None = "none",
        V1_2 = "TLSv1.2",
        V1_3 = "TLSv1.3",
    }
}

// === impl Socket ===

impl Socket {
    /// The descriptor's number; -1 if the socket is gone.
    pub fn fd(&self) -> i32 {
        match self {
            Socket::Tcp(s) => s.as_raw_fd(),
            Socket::Unix(s) => s.as_raw_fd(),
            Socket::Gone => -1,
        }
    }

    /// The operating system's user at the other end of a Unix socket.
    pub fn peer_uid(&self) -> Option<u32> {
        match self {
            Socket::Unix(s) => s.peer_cred().ok().map(|peer| peer.uid()),
            Socket::Tcp(_) | Socket::Gone => None,
        }
    }

    /// Moves the registration to the reactor of the runtime that this is called in.
    ///
    /// # Errors
    /// What deregistering or registering the descriptor says; the socket is closed then.
    pub fn rehome(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Socket::Gone) {
            Socket::Tcp(s) => Socket::Tcp(TcpStream::from_std(s.into_std()?)?),
            Socket::Unix(s) => Socket::Unix(UnixStream::from_std(s.into_std()?)?),
            Socket::Gone => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok(())
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Tcp(s) => s.poll_read_ready(cx),
            Socket::Unix(s) => s.poll_read_ready(cx),
            Socket::Gone => Poll::Ready(Ok(())),
        }
    }

    fn has_news(&self) -> bool {
        let peeked = match self {
            Socket::Tcp(s) => s.try_io(Interest::READABLE, || peek(s.as_fd())),
            Socket::Unix(s) => s.try_io(Interest::READABLE, || peek(s.as_fd())),
            Socket::Gone => return true,
        };
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A byte that stays where it is; none at the end of file.
fn peek(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut byte = [0u8];
    let (n, _) = recv(socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    Ok(n)
}

impl AsyncRead for Socket {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Socket::Unix(s) => Pin::new(s).poll_read(cx, buf),
            Socket::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Socket {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Socket::Unix(s) => Pin::new(s).poll_write(cx, buf),
            Socket::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Socket::Unix(s) => Pin::new(s).poll_shutdown(cx),
            Socket::Gone => Poll::Ready(Ok(())),
        }
    }
}

// === impl Stream ===

impl Stream {
    fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(s) => s,
            Stream::ServerTls(t) => t.get_ref().0,
            Stream::ClientTls(t) => t.get_ref().0,
        }
    }

    /// See [`Socket::rehome`].
    ///
    /// # Errors
    /// As [`Socket::rehome`].
    pub fn rehome(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(s) => s.rehome(),
            Stream::ServerTls(t) => t.get_mut().0.rehome(),
            Stream::ClientTls(t) => t.get_mut().0.rehome(),
        }
    }

    /// Whether reading from the socket below may be worth trying. It is a hint, for two reasons: the reactor's word
    /// outlives a read that filled its buffer to the last byte, and a task whose turn is over is told `Pending`
    /// whatever is there. Where a decision hangs on it, ask [`has_news`](Stream::has_news).
    ///
    /// Costs no system call.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_read_ready(cx)
    }

    /// Whether the socket below has something to say: data, end of file or an error.
    ///
    /// Costs no system call if the reactor has heard nothing of it since the last read; otherwise the kernel is
    /// asked. For TLS it speaks of the socket only; plaintext that the TLS library already holds is not seen, so
    /// ask only when everything decrypted has been read.
    pub fn has_news(&self) -> bool {
        self.socket().has_news()
    }

    /// The descriptor's number; -1 if the socket is gone.
    pub fn fd(&self) -> i32 {
        self.socket().fd()
    }

    /// The descriptor, unless it is TLS's.
    pub fn plain(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Stream::Plain(Socket::Tcp(s)) => Some(s.as_fd()),
            Stream::Plain(Socket::Unix(s)) => Some(s.as_fd()),
            _ => None,
        }
    }

    pub fn is_tls(&self) -> bool {
        !matches!(self, Stream::Plain(_))
    }

    pub fn tls(&self) -> Tls {
        let version = match self {
            Stream::Plain(_) => return Tls::None,
            Stream::ServerTls(tls) => tls.get_ref().1.protocol_version(),
            Stream::ClientTls(tls) => tls.get_ref().1.protocol_version(),
        };
        // The library speaks no other than these two.
        match version {
            Some(rustls::ProtocolVersion::TLSv1_2) => Tls::V1_2,
            _ => Tls::V1_3,
        }
    }

    pub fn is_unix(&self) -> bool {
        matches!(self.socket(), Socket::Unix(_))
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Stream::ServerTls(t) => Pin::new(t.as_mut()).poll_read(cx, buf),
            Stream::ClientTls(t) => Pin::new(t.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Stream::ServerTls(t) => Pin::new(t.as_mut()).poll_write(cx, buf),
            Stream::ClientTls(t) => Pin::new(t.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_flush(cx),
            Stream::ServerTls(t) => Pin::new(t.as_mut()).poll_flush(cx),
            Stream::ClientTls(t) => Pin::new(t.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Stream::ServerTls(t) => Pin::new(t.as_mut()).poll_shutdown(cx),
            Stream::ClientTls(t) => Pin::new(t.as_mut()).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::coop;

    use super::*;

    fn pair() -> (Stream, UnixStream) {
        let (near, far) = UnixStream::pair().expect("a pair of sockets");
        (Stream::Plain(Socket::Unix(near)), far)
    }

    async fn until_readable(stream: &Stream) {
        poll_fn(|cx| stream.poll_read_ready(cx))
            .await
            .expect("readable");
    }

    #[tokio::test]
    async fn a_read_that_filled_its_buffer_leaves_no_news() {
        let (mut stream, mut far) = pair();
        assert!(!stream.has_news());
        far.write_all(&[7; 4096]).await.expect("written");
        until_readable(&stream).await;
        assert!(stream.has_news());
        stream.read_exact(&mut [0; 4096]).await.expect("read");
        let mut context = Context::from_waker(Waker::noop());
        assert!(
            stream.poll_read_ready(&mut context).is_ready(),
            "the reactor's word is taken back only by a read that left room: the case that this is about"
        );
        assert!(!stream.has_news());
        far.write_all(&[7]).await.expect("written");
        until_readable(&stream).await;
        assert!(stream.has_news());
        assert!(stream.has_news(), "asking takes nothing away");
        let mut byte = [0];
        stream.read_exact(&mut byte).await.expect("read");
        assert_eq!(byte, [7]);
        drop(far);
        until_readable(&stream).await;
        assert!(stream.has_news(), "end of file");
    }

    #[tokio::test]
    async fn news_are_heard_by_a_task_whose_turn_is_over() {
        let (stream, mut far) = pair();
        far.write_all(&[7]).await.expect("written");
        until_readable(&stream).await;
        poll_fn(|cx| {
            while let Poll::Ready(proceed) = coop::poll_proceed(cx) {
                proceed.made_progress();
            }
            assert!(stream.poll_read_ready(cx).is_pending());
            assert!(stream.has_news());
            Poll::Ready(())
        })
        .await;
    }
}
