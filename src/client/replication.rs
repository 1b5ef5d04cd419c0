//! A replication client: its bytes and those of its own server connection go through as they come.
//!
//! Nothing of a session is followed, as the connection ends with its client. Neither the pool's mode
//! nor the limits on queries and idle clients apply: a stream of changes has no end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::info::{ClientInfo, Control, State, log_client};
use super::task::{End, Surroundings};
use crate::net::stream::Stream;
use crate::pool::budget::Permit;
use crate::pool::own::OwnConnection;
use crate::protocol::encode::{self, Severity};
use crate::protocol::frame::{BadLength, Header};
use crate::protocol::sqlstate;
use crate::server::cancel;
use crate::session::fault::Fault;
use crate::session::upstream::ClientViolation;
use crate::telemetry::events::Timeout;
use crate::worker::Home;

mod pipe;

use pipe::{Pipe, Stop};

/// Bytes that are on their way from the client, which says little, and from the server.
const UP_BUFFER: usize = 16 * 1024;
const DOWN_BUFFER: usize = 64 * 1024;
/// How often it is looked at what nobody tells.
const TICK: Duration = Duration::from_millis(250);

/// What the server is doing for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// It waits for a command.
    Nothing,
    Command,
    /// Both speak as they like, without end (CopyBothResponse).
    Streaming,
}

/// A logged-in replication client. When it is dropped, it is off all lists, and its server connection
/// is closed.
#[derive(Debug)]
pub struct ReplicationClient {
    client: Stream,
    connection: OwnConnection,
    info: Arc<ClientInfo>,
    context: Arc<Surroundings>,
    /// How long the client may take nothing of what is there for it; zero: no limit.
    write_limit: Duration,
    up: Pipe,
    down: Pipe,
    doing: Doing,
    /// The client has said good-bye.
    terminated: bool,
    /// The last message of the server was an error.
    said_why: bool,
    end: Option<End>,
    /// Counts against the limits on clients.
    _permit: Permit,
}

/// What one is made of.
pub struct NewReplicationClient {
    pub client: Stream,
    pub connection: OwnConnection,
    pub info: Arc<ClientInfo>,
    pub context: Arc<Surroundings>,
    pub permit: Permit,
    pub write_limit: Duration,
}

/// What a message that comes from the server may make us stop for.
#[derive(Debug)]
struct OutOfStep(BadLength);

impl From<BadLength> for OutOfStep {
    fn from(error: BadLength) -> OutOfStep {
        OutOfStep(error)
    }
}

impl ReplicationClient {
    pub fn new(mut new: NewReplicationClient) -> ReplicationClient {
        let server = new.connection.server().info.id;
        let now = new.context.clock.now();
        new.info.set_state(State::Active, server, now.millis());
        new.info.set_fd(new.client.fd());
        ReplicationClient {
            client: new.client,
            connection: new.connection,
            info: new.info,
            context: new.context,
            write_limit: new.write_limit,
            up: Pipe::new(UP_BUFFER),
            down: Pipe::new(DOWN_BUFFER),
            doing: Doing::Nothing,
            terminated: false,
            said_why: false,
            end: None,
            _permit: new.permit,
        }
    }

    pub fn stream(&mut self) -> &mut Stream {
        &mut self.client
    }

    /// Serves it until one of the two leaves.
    pub async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = poll_fn(|cx| self.poll(cx, &mut tick)).await;
        self.finish(end);
    }

    fn poll(&mut self, cx: &mut Context<'_>, tick: &mut Interval) -> Poll<End> {
        self.info.set_waker(cx.waker());
        if self.info.has_request()
            && let Some(end) = self.request()
        {
            return Poll::Ready(end);
        }
        let up = self.poll_up(cx);
        let down = self.poll_down(cx);
        self.count();
        if let Poll::Ready(end) = up {
            return Poll::Ready(end);
        }
        if let Poll::Ready(end) = down {
            return Poll::Ready(end);
        }
        while tick.poll_tick(cx).is_ready() {
            if let Some(end) = self.overdue() {
                return Poll::Ready(end);
            }
        }
        Poll::Pending
    }

    /// Client to server.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let limit = self.context.max_packet_size;
        let no_simple_queries = self.context.no_simple_queries;
        let (doing, terminated) = (&mut self.doing, &mut self.terminated);
        let mut queries = 0;
        let see = |header: Header| {
            if header.total > limit {
                let size = header.total;
                return Err(ClientViolation::new(format!(
                    "message of {size} bytes is larger than max_packet_size ({limit})"
                )));
            }
            match header.tag {
                b'Q' if no_simple_queries => return Err(ClientViolation::new("PQexec disallowed")),
                b'Q' => queries += 1,
                b'X' => *terminated = true,
                _ => {}
            }
            if *doing == Doing::Nothing {
                *doing = Doing::Command;
            }
            Ok(())
        };
        let server = &mut self.connection.server().stream;
        let stop = self.up.poll(cx, &mut self.client, server, see);
        let shard = self.connection.pool().shard(Home::Control);
        shard.queries.add(queries);
        if self.terminated && self.up.is_clear() {
            return Poll::Ready(End::Terminated);
        }
        match stop {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Stop::Eof) => Poll::Ready(End::Eof),
            Poll::Ready(Stop::FromBroken(error)) => Poll::Ready(End::Broken(error)),
            Poll::Ready(Stop::Violation(violation)) => Poll::Ready(End::Violation(violation)),
            // What it said before may still be read from it.
            Poll::Ready(Stop::ToBroken(_)) => Poll::Pending,
        }
    }

    /// Server to client.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let (doing, said_why) = (&mut self.doing, &mut self.said_why);
        let see = |header: Header| {
            *said_why = header.tag == b'E';
            match header.tag {
                b'W' => *doing = Doing::Streaming,
                b'Z' => *doing = Doing::Nothing,
                _ => {}
            }
            Ok::<(), OutOfStep>(())
        };
        let server = &mut self.connection.server().stream;
        match self.down.poll(cx, server, &mut self.client, see) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Stop::ToBroken(error)) => Poll::Ready(End::Broken(error)),
            Poll::Ready(Stop::Eof | Stop::FromBroken(_)) => Poll::Ready(self.server_gone()),
            Poll::Ready(Stop::Violation(OutOfStep(error))) => {
                log_client!(warn, self.info, %error, "server connection out of step");
                Poll::Ready(End::ServerLost)
            }
        }
    }

    /// The client is told only what it would not see by itself: at the end of a stream the server has
    /// said all that there is to say.
    fn server_gone(&self) -> End {
        match self.doing {
            _ if self.said_why => End::ServerLost,
            Doing::Streaming => End::ServerLost,
            Doing::Nothing | Doing::Command => End::Fatal(
                Fault::ServerLost,
                sqlstate::CONNECTION_FAILURE,
                "server closed the connection unexpectedly".to_owned(),
            ),
        }
    }

    fn count(&mut self) {
        let shard = self.connection.pool().shard(Home::Control);
        shard.received.add(std::mem::take(&mut self.up.read));
        shard.sent.add(std::mem::take(&mut self.down.written));
    }

    fn request(&mut self) -> Option<End> {
        // Its deadlines are its own.
        self.info.take(Control::Deadline);
        if self.info.take(Control::Cancel) {
            self.send_cancel();
        }
        if self.info.is_requested(Control::Kill) {
            return Some(End::Killed);
        }
        // A command is waited for, a stream, which has no end, is not.
        let drains = self.info.is_requested(Control::Drain);
        (drains && self.doing != Doing::Command).then_some(End::ShuttingDown)
    }

    /// What nobody wakes it for.
    fn overdue(&mut self) -> Option<End> {
        let closing = self.connection.server().info.is_closing();
        if closing || self.connection.pool().is_closed() {
            // To wait for its end would be to wait for ever.
            return Some(End::DatabaseGone);
        }
        let stuck = self.down.stuck_since()?;
        if self.write_limit.is_zero() || stuck.elapsed() < self.write_limit {
            return None;
        }
        let pool = self.connection.pool();
        pool.note_timeout(Home::Control, Timeout::ClientWrite);
        Some(End::SlowReader)
    }

    fn send_cancel(&mut self) {
        self.connection.pool().shard(Home::Control).cancels.add(1);
        let server = self.connection.server();
        let (endpoint, key) = (server.endpoint.clone(), server.cancel_key.clone());
        let (info, client) = (server.info.clone(), Arc::clone(&self.info));
        let under_way = info.begin_cancel();
        tokio::spawn(async move {
            if let Err(error) = cancel::cancel(&endpoint, &info.peer, info.backend_pid, &key).await
            {
                log_client!(warn, client, server_connection = info.id, %error, "cancel request failed");
            }
            drop(under_way);
        });
    }

    fn finish(&mut self, end: End) {
        if let Some(why) = end.fault() {
            self.connection.pool().note_fault(Home::Control, why);
        }
        self.say_last_words(&end);
        self.say_good_bye();
        self.connection.closes_because(match end {
            End::ServerLost | End::Fatal(..) => "server conn crashed?",
            End::DatabaseGone => "database configuration changed",
            _ => "replication client is gone",
        });
        self.end = Some(end);
    }

    /// As far as the socket takes it at once: nobody waits for a client that is being closed.
    fn say_last_words(&mut self, end: &End) {
        let mut cx = Context::from_waker(Waker::noop());
        let flushed = self.down.write(&mut cx, &mut self.client);
        let Some((code, message)) = end.last_words() else {
            return;
        };
        if !matches!(flushed, Poll::Ready(Ok(()))) || !self.down.is_between() {
            return;
        }
        let mut out = Vec::new();
        encode::error(&mut out, Severity::Fatal, code, message, None);
        let client = &mut self.client;
        if let Poll::Ready(Ok(_)) = Pin::new(&mut *client).poll_write(&mut cx, &out) {
            let _ = Pin::new(&mut *client).poll_flush(&mut cx);
            // What the client has sent and nobody will read would make the system reset the
            // connection, and the message might be lost with it.
            let mut scratch = [0; 4096];
            for _ in 0..64 {
                let mut buf = ReadBuf::new(&mut scratch);
                match Pin::new(&mut *client).poll_read(&mut cx, &mut buf) {
                    Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                    _ => break,
                }
            }
            let _ = Pin::new(client).poll_shutdown(&mut cx);
        }
    }

    /// The server need not find out by itself that the client is gone.
    fn say_good_bye(&mut self) {
        if self.terminated || !self.up.is_clear() {
            return;
        }
        let mut cx = Context::from_waker(Waker::noop());
        let server = &mut self.connection.server().stream;
        let _ = Pin::new(&mut *server).poll_write(&mut cx, encode::TERMINATE);
        let _ = Pin::new(server).poll_flush(&mut cx);
    }
}

impl Drop for ReplicationClient {
    /// It has ended, or the process does.
    fn drop(&mut self) {
        let end = self.end.take().unwrap_or(End::Stopped);
        self.context.farewell.gone(&self.info, &end);
    }
}
