//! The log's lines about a login.

use std::time::Duration;

use super::{Arrival, Refusal};
use crate::config::Log;
use crate::protocol::startup::{Replication, application_name};
use crate::server::connect::Address;

/// Who logs in, as it says itself.
pub(super) struct Whom {
    id: u64,
    peer: Address,
    database: String,
    user: String,
    application: String,
    replication: Replication,
}

impl Whom {
    pub fn of(arrival: &Arrival) -> Whom {
        let startup = &arrival.startup;
        let application = application_name(&startup.parameters);
        Whom {
            id: arrival.id,
            peer: arrival.peer.clone(),
            database: startup.database.clone(),
            user: startup.user.clone(),
            application: application.unwrap_or_default().to_owned(),
            replication: startup.replication,
        }
    }

    pub fn attempt(&self, log: &Log, tls: bool) {
        if log.connections {
            let tls = if tls { "yes" } else { "no" };
            let replication = self.replication.parameter();
            tracing::info!(client = self.id, database = self.database, user = self.user,
                application = self.application, peer = %self.peer, tls, replication,
                "login attempt");
        }
    }

    pub fn refused(&self, log: &Log, refusal: &Refusal, age: Duration) {
        if log.pooler_errors {
            tracing::warn!(client = self.id, database = self.database, user = self.user,
                application = self.application, peer = %self.peer, error = refusal.message,
                "pooler error");
        }
        if log.disconnections {
            tracing::info!(client = self.id, database = self.database, user = self.user,
                application = self.application, peer = %self.peer, reason = refusal.message,
                age = age.as_secs(), "login failed");
        }
    }
}
