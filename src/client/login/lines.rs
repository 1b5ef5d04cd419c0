//! The log's lines about a login.

use std::time::Duration;

use super::{Arrival, Refusal};
use crate::client::users::LookupError;
use crate::client::whom::{Whom, log_whom};
use crate::config::Log;
use crate::protocol::startup::{Replication, application_name};

impl Whom {
    pub(super) fn of(arrival: &Arrival) -> Whom {
        let startup = &arrival.startup;
        let application = application_name(&startup.parameters);
        Whom {
            id: arrival.id,
            peer: arrival.peer.clone(),
            database: startup.database.clone(),
            user: startup.user.clone(),
            application: application.unwrap_or_default().to_owned(),
        }
    }

    pub(super) fn attempt(&self, log: &Log, tls: bool, replication: Replication) {
        if log.connections {
            let tls = if tls { "yes" } else { "no" };
            let replication = replication.parameter();
            log_whom!(info, self, tls, replication, "login attempt");
        }
    }

    pub(super) fn is_not_looked_up(&self, error: &LookupError) {
        log_whom!(warn, self, %error, "cannot look a user up");
    }

    /// The judge is LDAP or PAM.
    pub(super) fn is_not_judged(&self, judge: &str, why: &str) {
        log_whom!(warn, self, "{judge} authentication is out of order: {why}");
    }

    pub(super) fn refused(&self, log: &Log, refusal: &Refusal, age: Duration) {
        if log.pooler_errors {
            log_whom!(warn, self, error = refusal.message, "pooler error");
        }
        if log.disconnections {
            let age = age.as_secs();
            log_whom!(info, self, reason = refusal.message, age, "login failed");
        }
    }
}
