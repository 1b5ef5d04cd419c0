//! A pool that is held up: nobody gets a server connection until it is let go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Pool;
use super::registry::pausing::Hold;

impl Pool {
    /// Holds it up, or lets it go.
    pub(super) fn hold(self: &Arc<Pool>, hold: Option<Hold>) {
        let pauses = hold == Some(Hold::Pause);
        self.pausing.store(pauses, Ordering::Relaxed);
        let woken = self.core.lock().hold(hold.is_some(), Instant::now());
        woken.into_iter().for_each(std::task::Waker::wake);
        if pauses {
            self.close_idle(|_, _| true, 0, "pause mode");
        } else if hold.is_none() {
            self.connect_more();
        }
        if let Some(reads) = self.reads() {
            reads.pool.hold(hold);
        }
    }

    /// Whether no connection is to be made.
    pub fn is_paused(&self) -> bool {
        self.pausing.load(Ordering::Relaxed)
    }

    /// Whether no server connection is in use, or, while it is paused, even open.
    pub fn is_quiet(&self) -> bool {
        let paused = self.pausing.load(Ordering::Relaxed);
        if paused {
            // One that was being made when it began.
            self.close_idle(|_, _| true, 0, "pause mode");
        }
        let counts = self.counts();
        let quiet = counts.lent + counts.connecting == 0 && (!paused || counts.idle == 0);
        quiet && self.reads().is_none_or(|reads| reads.pool.is_quiet())
    }

    /// Whether connections that are to be closed are still open (after RECONNECT).
    pub fn is_closing(&self) -> bool {
        let servers = self.servers.all();
        let closing = servers.iter().any(|s| s.is_closing() && self.has(s));
        closing || self.reads().is_some_and(|reads| reads.pool.is_closing())
    }

    /// Whether the connection is one of this pool's.
    pub fn has(&self, server: &crate::server::ServerInfo) -> bool {
        server.database == self.database
            && server.user == self.user
            && server.reads == self.is_for_reads()
    }

    /// Closes what is idle; what is lent is closed with its client.
    pub fn kill(&self) {
        self.close_idle(|_, _| true, 0, "admin forced disconnect");
        self.channels.close();
        if let Some(reads) = self.reads() {
            reads.pool.kill();
        }
    }
}
