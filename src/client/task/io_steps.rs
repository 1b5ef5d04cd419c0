//! The four socket operations of a relay. Each moves bytes between one socket and one lane.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::{ClientTask, Phase};
use crate::client::info::Now;
use crate::net::stream::Stream;
use crate::session::lane::Lane;

/// What reading into a lane came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    Bytes,
    Eof,
    /// There is no room; nothing was read.
    Full,
}

fn fill(
    stream: &mut Stream,
    lane: &mut Lane,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Fill, usize)>> {
    let space = lane.space();
    if space.is_empty() {
        return Poll::Ready(Ok((Fill::Full, 0)));
    }
    let mut buf = ReadBuf::new(space);
    match Pin::new(stream).poll_read(cx, &mut buf) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Ready(Ok(())) => {
            let n = buf.filled().len();
            lane.filled(n);
            Poll::Ready(Ok(if n == 0 {
                (Fill::Eof, 0)
            } else {
                (Fill::Bytes, n)
            }))
        }
    }
}

/// Writes until nothing is pending.
#[inline]
fn drain(stream: &mut Stream, lane: &mut Lane, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    if lane.pending_len() == 0 && !stream.is_tls() {
        return Poll::Ready(Ok(0));
    }
    drain_pending(stream, lane, cx)
}

fn drain_pending(
    stream: &mut Stream,
    lane: &mut Lane,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut total = 0;
    while lane.pending_len() > 0 {
        match Pin::new(&mut *stream).poll_write(cx, lane.pending()) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(n)) => {
                lane.written(n);
                total += n;
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
    if stream.is_tls() {
        // The library may hold encrypted bytes back; a plain socket holds none.
        match Pin::new(stream).poll_flush(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
    Poll::Ready(Ok(total))
}

/// Whether something must come first that is not there yet.
#[inline]
fn is_held(hold: &mut Option<oneshot::Receiver<()>>, cx: &mut Context<'_>) -> bool {
    let Some(waiting) = hold else { return false };
    if Pin::new(waiting).poll(cx).is_pending() {
        return true;
    }
    *hold = None;
    false
}

impl ClientTask {
    /// From the client.
    pub(super) fn fill_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Fill>> {
        let Some(active) = self.active.as_mut() else {
            return Poll::Pending;
        };
        fill(&mut self.stream, &mut active.x.up, cx).map_ok(|(fill, n)| {
            self.pool.shard(self.worker.home()).received.add(n as u64);
            fill
        })
    }

    /// From the client, when it will rarely have sent anything: asks first, which costs less than
    /// preparing to read.
    pub(super) fn fill_up_if_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Fill>> {
        if !self.stream.is_tls() {
            match self.stream.poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {}
            }
        }
        self.fill_up(cx)
    }

    /// To the client.
    pub(super) fn flush_down(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(active) = self.active.as_mut() else {
            return Poll::Ready(Ok(()));
        };
        if is_held(&mut active.hold_down, cx) {
            return Poll::Pending;
        }
        drain(&mut self.stream, &mut active.x.down, cx).map_ok(|n| {
            self.pool.shard(self.worker.home()).sent.add(n as u64);
        })
    }

    /// From the server.
    pub(super) fn fill_down(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Fill>> {
        let Some(active) = self.active.as_mut() else {
            return Poll::Pending;
        };
        let Phase::Attached(server) = &mut active.phase else {
            return Poll::Pending;
        };
        fill(&mut server.stream, &mut active.x.down, cx).map_ok(|(fill, n)| {
            let shard = self.pool.shard(self.worker.home());
            shard.server_received.add(n as u64);
            fill
        })
    }

    /// To the server.
    pub(super) fn flush_up(&mut self, cx: &mut Context<'_>, now: Now) -> Poll<io::Result<()>> {
        let Some(active) = self.active.as_mut() else {
            return Poll::Ready(Ok(()));
        };
        let Phase::Attached(server) = &mut active.phase else {
            return Poll::Ready(Ok(()));
        };
        if let Some((space, oids)) = server.state.writes.to_lease()
            && let Some(tier) = &self.pool.shared().tier
        {
            active.hold_up = Some(tier.lease(space, oids));
        }
        if is_held(&mut active.hold_up, cx) {
            return Poll::Pending;
        }
        drain(&mut server.stream, &mut active.x.up, cx).map_ok(|n| {
            if n > 0 {
                let shard = self.pool.shard(self.worker.home());
                shard.server_sent.add(n as u64);
                active.note_sent(now);
            }
        })
    }
}
