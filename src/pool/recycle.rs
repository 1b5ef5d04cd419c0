//! Making a server connection fit for the next client when a client left it in another state:
//! cancelling what runs, rolling back, resetting. What cannot be made clean in time is closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::Pool;
use super::settings::PoolSettings;
use crate::config::PoolMode;
use crate::server::cancel;
use crate::server::dialogue::DialogueError;
use crate::server::{Activity, Server};
use crate::session::server::Copy;
use crate::session::settings::Settings;
use crate::worker::Home;

/// What must be done before the connection can be used again. Each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// See whether it works, and that no cancel request is on its way to it.
    Check,
    /// End the transaction.
    RollBack,
    /// Forget all session state (`server_reset_query`).
    Reset,
    /// Stop what is running first; its answers are still to come.
    Cancel,
}

/// How long it may take in all.
const LIMIT: Duration = Duration::from_secs(10);

impl Pool {
    /// Cleans a lent connection on the control runtime and gives it back to the pool, or closes
    /// it.
    pub fn recycle(self: &Arc<Pool>, mut server: Box<Server>, work: Work) {
        if server.state.copy != Copy::No || self.is_closed() {
            // Only the client could end the COPY properly.
            return self.discard(server, "left inside COPY");
        }
        let pool = Arc::clone(self);
        server.info.set_activity(Activity::Tested, 0);
        self.shared.control.spawn(async move {
            match timeout(LIMIT, pool.clean(&mut server, work)).await {
                Ok(Ok(())) => pool.release(server, Home::Control, Instant::now()),
                Ok(Err(error)) => {
                    tracing::debug!(?pool, %error, "server connection cannot be cleaned");
                    pool.discard(server, "cannot be cleaned");
                }
                Err(_) => pool.discard(server, "cleaning took too long"),
            }
        });
    }

    async fn clean(&self, server: &mut Server, work: Work) -> Result<(), DialogueError> {
        server.move_to(Home::Control)?;
        if work == Work::Cancel {
            self.stop_running(server).await?;
        }
        while server.is_being_cancelled() {
            sleep(Duration::from_millis(2)).await;
        }
        if server.state.status != b'I' {
            // A cancel that arrives late may hit this very statement: once more, then.
            if let Err(DialogueError::Server { .. }) = server.simple("ROLLBACK").await {
                server.simple("ROLLBACK").await?;
            }
            // What was set in it, if anything, has been undone.
            server.state.settings = None;
        }
        let settings = self.settings.load_full();
        if work >= Work::Reset {
            self.reset(server, &settings).await?;
        }
        if work == Work::Check || work == Work::Cancel {
            let check = settings.database.server.check_query.as_deref();
            if let Err(DialogueError::Server { .. }) = server.simple(check.unwrap_or("")).await {
                server.simple(check.unwrap_or("")).await?;
            }
        }
        server.checked = Instant::now();
        if server.state.status == b'I' {
            Ok(())
        } else {
            Err(DialogueError::Unexpected(b'Z'))
        }
    }

    /// Runs the reset query of the operator, or the one that is sure to leave nothing.
    async fn reset(
        &self,
        server: &mut Server,
        settings: &PoolSettings,
    ) -> Result<(), DialogueError> {
        const ALL: &str = "DISCARD ALL";
        let query = match settings.database.server.reset_query.as_deref() {
            Some(query) => query,
            // In session mode the operator may want nothing to be reset. In the others a reset is
            // asked for only where something is known to be left.
            None if settings.mode == PoolMode::Session => return Ok(()),
            None => ALL,
        };
        server.simple(query).await?;
        let runs = |statement: &str| {
            let mut statements = query.split(';');
            statements.any(|s| s.trim().eq_ignore_ascii_case(statement))
        };
        if runs(ALL) || runs("DEALLOCATE ALL") {
            server.state.forget_statements();
        }
        // Another query may leave settings as they are.
        server.state.settings = runs(ALL).then(Settings::default);
        Ok(())
    }

    /// Cancels and reads on until everything that was sent has been answered.
    async fn stop_running(&self, server: &mut Server) -> Result<(), DialogueError> {
        let readies = server
            .state
            .backlog
            .iter()
            .filter(|e| e.ends_with_ready())
            .count();
        if readies == 0 && !server.state.backlog.is_empty() || server.state.skipping {
            // The client never sent Sync: the server waits for one. Answers that are left are
            // read together with the one to this.
            use tokio::io::AsyncWriteExt;
            server
                .stream
                .write_all(crate::protocol::encode::SYNC)
                .await?;
        }
        let under_way = server.info.begin_cancel();
        let cancelled = cancel::cancel(
            &server.endpoint,
            &server.info.peer,
            server.info.backend_pid,
            &server.cancel_key,
        )
        .await;
        drop(under_way);
        cancelled.map_err(|e| std::io::Error::other(e.to_string()))?;
        for _ in 0..readies.max(1) {
            if let Err(error) = server.read_away().await
                && !matches!(error, DialogueError::Server { .. })
            {
                return Err(error);
            }
        }
        server.state.backlog.clear();
        server.state.skipping = false;
        // What the unfinished messages did to it is not known.
        server.state.settings = None;
        server.state.unnamed = 0;
        Ok(())
    }
}
