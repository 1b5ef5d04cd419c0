//! What a client is told that is not let in, and how that is counted.

use tokio::io::AsyncWriteExt;

use crate::net::stream::Stream;
use crate::pool::lease::LeaseError;
use crate::pool::welcome::WelcomeError;
use crate::protocol::encode::{self, Severity};
use crate::protocol::sqlstate::{self, SqlState};
use crate::telemetry::events::Login;

/// The client is told, and closed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub code: SqlState,
    pub message: String,
    pub detail: Option<String>,
    pub outcome: Login,
}

impl Refusal {
    pub fn new(code: SqlState, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            message: message.into(),
            detail: None,
            outcome: outcome(code),
        }
    }

    /// The code alone does not tell.
    pub fn counted_as(mut self, outcome: Login) -> Refusal {
        self.outcome = outcome;
        self
    }
}

/// What a code of ours means.
fn outcome(code: SqlState) -> Login {
    match code {
        sqlstate::INVALID_PASSWORD => Login::WrongPassword,
        sqlstate::INVALID_AUTHORIZATION | sqlstate::INSUFFICIENT_PRIVILEGE => Login::NotAllowed,
        sqlstate::INVALID_CATALOG_NAME => Login::NoDatabase,
        sqlstate::TOO_MANY_CONNECTIONS | sqlstate::CONFIGURATION_LIMIT_EXCEEDED => Login::Limit,
        sqlstate::PROTOCOL_VIOLATION => Login::Protocol,
        sqlstate::CONNECTION_FAILURE => Login::Server,
        sqlstate::ADMIN_SHUTDOWN => Login::ShuttingDown,
        _ => Login::Other,
    }
}

pub(super) fn unwelcome(error: WelcomeError) -> Refusal {
    match error {
        WelcomeError::Refused { code, message } => {
            Refusal::new(SqlState::new(&code), message).counted_as(Login::Server)
        }
        WelcomeError::Lease(LeaseError::Outage(outage)) => {
            let code = SqlState::new(&outage.code);
            Refusal::new(code, outage.message).counted_as(Login::Server)
        }
        WelcomeError::Lease(LeaseError::QueueFull) => {
            Refusal::new(sqlstate::TOO_MANY_CONNECTIONS, error.to_string())
        }
        error => Refusal::new(sqlstate::CONNECTION_FAILURE, error.to_string()),
    }
}

pub(super) async fn say_no(stream: &mut Stream, refusal: &Refusal) {
    let mut out = Vec::new();
    encode::error(
        &mut out,
        Severity::Fatal,
        refusal.code,
        &refusal.message,
        refusal.detail.as_deref(),
    );
    let _ = stream.write_all(&out).await;
    let _ = stream.shutdown().await;
}
