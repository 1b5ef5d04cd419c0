//! Letting a replication client in: it gets a server connection of its own, and is told what that says.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use super::{Arrival, Door, Refusal, enter, greeting, in_time, unwelcome};
use crate::client::info::ClientInfo;
use crate::client::replication::{NewReplicationClient, ReplicationClient};
use crate::config::Config;
use crate::net::stream::{Stream, Tls};
use crate::pool::Pool;
use crate::pool::budget::Permit;
use crate::pool::own::{OwnConnection, OwnError, Wanted};
use crate::pool::welcome::WelcomeError;
use crate::protocol::sqlstate::{self, SqlState};
use crate::protocol::startup::{Replication, Startup};
use crate::server::connect::ConnectError;
use crate::telemetry::events::Login;
use crate::worker::Home;

/// A replication client that is let in.
pub(super) struct Entry {
    info: Arc<ClientInfo>,
    connection: OwnConnection,
    permit: Permit,
}

/// # Errors
/// It is asked for.
pub(super) fn refuse_console(startup: &Startup) -> Result<(), Refusal> {
    match startup.replication {
        Replication::None => Ok(()),
        _ => Err(Refusal::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "the console has no replication connections",
        )),
    }
}

/// Makes its connection to the server.
pub(super) async fn admit(
    door: &Door,
    arrival: &Arrival,
    pool: Arc<Pool>,
    permit: Permit,
    parameters: Vec<(String, String)>,
    tls: Tls,
) -> Result<Entry, Refusal> {
    if let Some((name, _)) = parameters.iter().find(|(name, _)| is_no_setting(name)) {
        let message = format!("unrecognized configuration parameter \"{name}\"");
        return Err(Refusal::new(SqlState::new("42704"), message));
    }
    let wanted = Wanted {
        client: arrival.id,
        replication: arrival.startup.replication,
        parameters: &parameters,
    };
    let connection = in_time(&pool, pool.own(&wanted)).await?.map_err(refusal)?;
    pool.shard(Home::Control).logins.add(1);
    let info = enter(door, arrival, &parameters, &pool, tls)?;
    Ok(Entry {
        info,
        connection,
        permit,
    })
}

/// What means something else in a startup packet than in the `options` in which it may have come: it
/// could turn the connection into one that the client has not been checked for.
fn is_no_setting(name: &str) -> bool {
    matches!(name, "" | "user" | "database" | "options" | "replication")
        || name.starts_with("_pq_.")
}

fn refusal(error: OwnError) -> Refusal {
    match error {
        OwnError::NoPlace(error) => unwelcome(WelcomeError::Lease(error)),
        OwnError::Connect(ConnectError::Server(error) | ConnectError::PasswordRefused(error)) => {
            let code = SqlState::new(&error.code);
            Refusal::new(code, error.message).counted_as(Login::Server)
        }
        OwnError::Connect(error) => Refusal::new(
            sqlstate::CONNECTION_FAILURE,
            format!("server login failed: {error}"),
        ),
    }
}

/// Tells it that it is in, and serves it from then on.
pub(super) async fn settle(door: &Door, config: &Config, stream: Stream, mut entry: Entry) {
    let reported = entry.connection.server().state.reported.clone();
    let greeting = greeting::introduction(&entry.info, &reported, &config.startup.message);
    let write_limit = entry.connection.pool().settings().timeouts.client_write;
    let mut client = ReplicationClient::new(NewReplicationClient {
        client: stream,
        connection: entry.connection,
        info: entry.info,
        context: Arc::clone(&door.surroundings),
        permit: entry.permit,
        write_limit,
    });
    let stream = client.stream();
    if stream.write_all(&greeting).await.is_ok() && stream.flush().await.is_ok() {
        tokio::spawn(client.run());
    }
}
