//! Cancel requests to the server, and what must not be hit by them.

use std::sync::Arc;

use super::{ClientTask, Phase};
use crate::client::info::{CancelBegun, log_client};
use crate::server::cancel;

impl ClientTask {
    /// A cancel request is under way for what has ended by itself meanwhile: whatever were sent now could be hit by it.
    #[inline]
    pub(super) fn waits_for_cancel(&self) -> bool {
        self.active
            .as_ref()
            .is_some_and(|active| match &active.phase {
                Phase::Attached(server) => {
                    server.is_being_cancelled() && server.state.backlog.is_empty()
                }
                _ => false,
            })
    }

    /// Asks the server to stop what it is doing for this client. The connection is not given to
    /// anyone else while the request is under way; what the client counts of it ends then, too.
    pub(super) fn send_cancel(&mut self, begun: Option<CancelBegun>) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        let Phase::Attached(server) = &mut active.phase else {
            return;
        };
        if server.state.backlog.is_empty() {
            return;
        }
        self.pool.shard(self.worker.home()).cancels.add(1);
        let (endpoint, key) = (server.endpoint.clone(), server.cancel_key.clone());
        let (info, under_way) = (server.info.clone(), server.info.begin_cancel());
        let client = Arc::clone(&self.info);
        self.pool.shared().control.spawn(async move {
            if let Err(error) = cancel::cancel(&endpoint, &info.peer, info.backend_pid, &key).await
            {
                log_client!(warn, client, server_connection = info.id, %error, "cancel request failed");
            }
            drop((under_way, begun));
            // What has waited for this goes on.
            client.wake();
        });
    }
}
