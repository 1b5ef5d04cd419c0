//! How a client's connection ends, what it is told, and what becomes of its server connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::abandon::UNDISCARDABLE;
use super::{ClientTask, Phase};
use crate::config::PoolMode;
use crate::pool::recycle::Work;
use crate::protocol::encode::{self, Severity};
use crate::protocol::sqlstate::{self, SqlState};
use crate::session::fault::Fault;
use crate::session::pins;
use crate::session::upstream::ClientViolation;
use crate::telemetry::counts::Label as _;
use crate::telemetry::events::Leave;
use crate::telemetry::refusals::Reason;

/// Why a client's connection has ended.
#[derive(Debug)]
pub enum End {
    /// It said good-bye.
    Terminated,
    /// It closed without a word.
    Eof,
    /// Its connection broke.
    Broken(io::Error),
    Violation(ClientViolation),
    Fatal(Fault, SqlState, String),
    ClientIdleTimeout,
    /// It did not take its answer in time.
    SlowReader,
    Killed,
    ShuttingDown,
    DatabaseGone,
    /// The server was lost in the middle of a message to the client.
    ServerLost,
    /// The worker has stopped.
    Stopped,
}

impl End {
    pub(super) fn from_read(error: io::Error) -> End {
        End::Broken(error)
    }

    pub(super) fn from_write(error: io::Error) -> End {
        End::Broken(error)
    }

    /// What the client is told, if anything.
    pub(in crate::client) fn last_words(&self) -> Option<(SqlState, &str)> {
        match self {
            End::Violation(v) => Some((v.code, &v.message)),
            End::Fatal(_, code, message) => Some((*code, message)),
            End::ClientIdleTimeout => Some((
                sqlstate::IDLE_SESSION_TIMEOUT,
                "client_idle_timeout: the connection was idle for too long",
            )),
            End::Killed => Some((sqlstate::ADMIN_SHUTDOWN, "admin forced disconnect")),
            End::ShuttingDown => Some((sqlstate::ADMIN_SHUTDOWN, "server shutting down")),
            End::DatabaseGone => Some((sqlstate::ADMIN_SHUTDOWN, "database configuration changed")),
            _ => None,
        }
    }

    /// As what error it counts, if it is one that the client is given.
    pub(in crate::client) fn fault(&self) -> Option<Fault> {
        Some(match self {
            End::Violation(v) if v.code == sqlstate::OUT_OF_MEMORY => Fault::Memory,
            End::Violation(_) => Fault::Protocol,
            End::Fatal(why, ..) => *why,
            End::ClientIdleTimeout => Fault::ClientIdleTimeout,
            End::Killed => Fault::Killed,
            End::ShuttingDown => Fault::ShuttingDown,
            End::DatabaseGone => Fault::DatabaseGone,
            // Where the server was lost, that was counted then.
            End::Terminated
            | End::Eof
            | End::Broken(_)
            | End::SlowReader
            | End::ServerLost
            | End::Stopped => return None,
        })
    }

    /// For metrics.
    pub fn leave(&self) -> Leave {
        match self {
            End::Terminated => Leave::Terminated,
            End::Eof | End::Broken(_) => Leave::Lost,
            End::Violation(v) if v.code == sqlstate::OUT_OF_MEMORY => Leave::Memory,
            End::Violation(_) => Leave::Protocol,
            End::Fatal(..) => Leave::Fatal,
            End::ClientIdleTimeout => Leave::ClientIdleTimeout,
            End::SlowReader => Leave::ClientWriteTimeout,
            End::Killed => Leave::Killed,
            End::ShuttingDown | End::Stopped => Leave::ShuttingDown,
            End::DatabaseGone => Leave::DatabaseGone,
            End::ServerLost => Leave::ServerLost,
        }
    }

    /// For the log.
    pub fn reason(&self) -> std::borrow::Cow<'_, str> {
        match self {
            End::Terminated => "client close request".into(),
            End::Eof => "client unexpected eof".into(),
            End::Broken(error) => error.to_string().into(),
            End::SlowReader => "client_write_timeout".into(),
            End::ServerLost => "server conn crashed?".into(),
            End::Stopped => "server shutting down".into(),
            end => end.last_words().map_or("", |(_, text)| text).into(),
        }
    }
}

impl ClientTask {
    /// The connection is over, whatever the reason.
    pub(super) fn finish(&mut self, end: &End) {
        self.done = true;
        if matches!(end, End::Violation(v) if v.code == sqlstate::OUT_OF_MEMORY) {
            self.pool.shared().refusals.count(Reason::Memory);
        }
        if let Some(why) = end.fault() {
            self.note_fault(why);
        }
        if let Some(active) = &mut self.active {
            active.note_faults(&self.pool, self.worker.home());
        }
        self.say_last_words(end);
        self.ears = None;
        self.fails(Leave::LABELS[end.leave().index()]);
        self.leave_server();
        self.become_idle();
        self.context.farewell.gone(&self.info, end);
    }

    /// As far as the socket takes it at once: nobody waits for a client that is being closed.
    fn say_last_words(&mut self, end: &End) {
        let Some((code, message)) = end.last_words() else {
            return;
        };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let active = self.active.get_or_insert_with(|| self.worker.take_active());
        if active.x.down.half_forwarded() {
            return;
        }
        let out = active.x.down.insert();
        encode::error(out, Severity::Fatal, code, message, None);
        if let Poll::Ready(Ok(())) = self.flush_down(&mut cx) {
            // What the client has sent and nobody will read would make the system reset the
            // connection, and the message might be lost with it.
            self.read_away(&mut cx);
            let _ = Pin::new(&mut self.stream).poll_shutdown(&mut cx);
        }
    }

    fn read_away(&mut self, cx: &mut Context<'_>) {
        let mut scratch = [0; 4096];
        for _ in 0..64 {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                _ => return,
            }
        }
    }

    /// Gives back the server connection, or the place in the queue, that the client still has.
    fn leave_server(&mut self) {
        let unsure = self.active.as_ref().is_some_and(|a| a.x.is_unsure());
        let unsent = self.active.as_ref().is_some_and(|active| {
            matches!(active.phase, Phase::Attached(_))
                && (active.x.up.half_forwarded() || active.x.up.pending_len() > 0)
        });
        // Its statements have run, maybe, in a transaction that only its Sync would have ended.
        let open = self.active.as_ref().is_some_and(|a| a.x.group.open);
        let now = self.context.clock.now();
        let Some(server) = self.unlink(now) else {
            return;
        };
        let session = self.pool.settings().mode == PoolMode::Session;
        let lender = self.lender();
        let forever = self.state.pins.contains(pins::Pin::Forever);
        if forever || server.state.backlog.may_pin_forever() {
            lender.discard(server, UNDISCARDABLE);
        } else if unsent {
            // The server has a part of a message.
            lender.discard(server, "client left in the middle of a message");
        } else if open {
            lender.discard(server, "client left in front of a Sync");
        } else if !server.state.backlog.is_empty() || server.state.skipping {
            if session || unsure || !self.state.pins.is_empty() {
                lender.discard(server, "client left in the middle of a query");
            } else {
                lender.recycle(server, Work::Cancel);
            }
        } else if session || unsure || !self.state.pins.is_empty() {
            lender.recycle(server, Work::Reset);
        } else if server.state.status != b'I' {
            lender.recycle(server, Work::RollBack);
        } else {
            let home = self.worker.home();
            lender.release(server, home, now.instant);
        }
    }
}
