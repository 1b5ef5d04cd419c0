//! One direction between a client and its own server connection: bytes go through as they come, within
//! a buffer, and no faster than they are taken.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::stream::Stream;
use crate::protocol::boundaries::Boundaries;
use crate::protocol::frame::{BadLength, Header};

/// Why nothing more goes through.
#[derive(Debug)]
pub(super) enum Stop<V> {
    /// The end that speaks has closed, and all that it said is through.
    Eof,
    FromBroken(io::Error),
    ToBroken(io::Error),
    /// It has said what it must not; that has not gone through.
    Violation(V),
}

#[derive(Debug)]
pub(super) struct Pipe {
    buffer: Box<[u8]>,
    /// What has been read and not yet written.
    start: usize,
    end: usize,
    boundaries: Boundaries,
    eof: bool,
    /// Written to a stream that may hold it back.
    unflushed: bool,
    /// Since when what is there has not been taken; `None`: nothing waits.
    stuck: Option<Instant>,
    /// Bytes read and written since they were last asked for.
    pub read: u64,
    pub written: u64,
}

impl Pipe {
    pub fn new(size: usize) -> Pipe {
        Pipe {
            buffer: vec![0; size].into(),
            start: 0,
            end: 0,
            boundaries: Boundaries::default(),
            eof: false,
            unflushed: false,
            stuck: None,
            read: 0,
            written: 0,
        }
    }

    /// Whether nothing is on its way, and the last message is complete.
    pub fn is_clear(&self) -> bool {
        self.start == self.end && !self.unflushed && self.is_between()
    }

    /// Whether another message could follow what was read.
    pub fn is_between(&self) -> bool {
        self.boundaries.is_between()
    }

    pub fn stuck_since(&self) -> Option<Instant> {
        self.stuck
    }

    /// Moves bytes until one side has to be waited for. `see` is told of each message that begins.
    pub fn poll<V: From<BadLength>>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        mut see: impl FnMut(Header) -> Result<(), V>,
    ) -> Poll<Stop<V>> {
        loop {
            match self.write(cx, to) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Stop::ToBroken(error)),
                Poll::Pending => return Poll::Pending,
            }
            if self.eof {
                return Poll::Ready(Stop::Eof);
            }
            let mut room = ReadBuf::new(&mut self.buffer);
            match Pin::new(&mut *from).poll_read(cx, &mut room) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Stop::FromBroken(error)),
                Poll::Ready(Ok(())) => {}
            }
            let length = room.filled().len();
            self.eof = length == 0;
            self.read += length as u64;
            let seen = self.boundaries.follow(&self.buffer[..length], &mut see);
            if let Err(violation) = seen {
                return Poll::Ready(Stop::Violation(violation));
            }
            (self.start, self.end) = (0, length);
        }
    }

    /// Writes until nothing is left.
    pub fn write(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        let written = self.write_pending(cx, to);
        match written {
            Poll::Pending if self.stuck.is_none() => self.stuck = Some(Instant::now()),
            Poll::Pending => {}
            Poll::Ready(_) => self.stuck = None,
        }
        written
    }

    fn write_pending(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        while self.start < self.end {
            let pending = &self.buffer[self.start..self.end];
            match Pin::new(&mut *to).poll_write(cx, pending) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.start += n;
                    self.written += n as u64;
                    // It is slow, but it takes something.
                    self.stuck = None;
                    self.unflushed = to.is_tls();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.unflushed {
            match Pin::new(to).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }
}
