//! What a client shows, and what it is good for.

use std::sync::Arc;

use super::{Arrival, Door, Refusal, demand, gate};
use crate::auth::secret::Secret;
use crate::client::auth::{self, AuthError, AuthRequest, Proof};
use crate::client::users::LookupError;
use crate::client::whom::Whom;
use crate::config::{AuthType, Config};
use crate::net::stream::Stream;
use crate::pool::Pool;
use crate::protocol::sqlstate;
use crate::server::auth::Credentials;
use crate::server::connect::Address;

/// What has let the client in may let us into the server.
pub(super) fn pass_on(pool: &Pool, (proof, secret): (Proof, Option<Secret>)) {
    if let Some(password) = proof.password {
        pool.offer_credentials(Credentials::Secret(Secret::Plain(password.into())));
        return;
    }
    match (secret, proof.keys) {
        (Some(Secret::Scram(verifier)), Some(keys)) => {
            // Where the verifier is in the configuration the pool knows it, and looks here for
            // the keys.
            let endpoint = pool.endpoint();
            endpoint.scram_keys.add_proven(&verifier, keys.clone());
            pool.offer_credentials(Credentials::ScramKeys(keys));
        }
        // Keys of a verifier that we have made ourselves fit no server, but the secret does.
        (Some(secret), _) => pool.offer_credentials(Credentials::Secret(secret)),
        (None, _) => {}
    }
}

/// Asks the client for its proof; gives what was stored about the user, too.
pub(super) async fn prove(
    door: &Arc<Door>,
    config: &Config,
    stream: &mut Stream,
    arrival: &Arrival,
    database: &str,
) -> Result<(Proof, Option<Secret>), Refusal> {
    let user = &arrival.startup.user;
    let demand = demand::demand(config, stream, arrival)?;
    let attempt = gate::begin(door, config, arrival, demand.auth_type)?;
    let is_listed = config.users.contains_key(user);
    let wants_secret = match demand.auth_type {
        AuthType::Plain | AuthType::Md5 | AuthType::ScramSha256 => true,
        // The password is the directory's; the user must be ours, as in PgBouncer.
        AuthType::Ldap => !is_listed,
        _ => false,
    };
    let stored = if wants_secret {
        match door.users.secret(config, &door.pools, database, user).await {
            Ok(found) => found,
            // Nobody is known in a database that there is not.
            Err(LookupError::Database(_)) if config.database(database).is_none() => None,
            Err(error) => {
                Whom::of(arrival).is_not_looked_up(&error);
                let code = sqlstate::CONNECTION_FAILURE;
                return Err(Refusal::new(code, "user look-up failed"));
            }
        }
    } else {
        None
    };
    let (auth_type, mock_key) = (demand.auth_type, &door.mock_key);
    let secret = door
        .users
        .for_login(
            auth_type,
            user,
            stored.clone(),
            config.auth.scram_iterations,
            mock_key,
            &door.hashing,
        )
        .await;
    if auth_type == AuthType::Trust && !is_listed {
        return Err(Refusal::new(
            sqlstate::INVALID_AUTHORIZATION,
            format!("no such user: {user}"),
        ));
    }
    let end_point = arrival.tls.as_ref().filter(|_| stream.is_tls());
    let request = AuthRequest {
        auth_type,
        user,
        secret: secret.as_ref(),
        end_point: end_point.and_then(|t| t.end_point()),
        allow_cleartext: config.auth.allow_cleartext,
        common_name: demand.common_name.as_deref(),
        mock_key,
        iterations: config.auth.scram_iterations,
        hashing: &door.hashing,
        judge: demand.judge.as_ref(),
        turns: &door.turns,
        from: match &arrival.peer {
            Address::Tcp(address) => Some(address.ip()),
            Address::Unix(_) => None,
        },
        // The operating system knows its own.
        is_known: auth_type == AuthType::Pam || is_listed || stored.is_some(),
    };
    let outcome = auth::authenticate(stream, &request).await;
    gate::end(door, config, attempt, &outcome);
    if let Err(AuthError::Elsewhere(judge, _, Some(why))) = &outcome {
        Whom::of(arrival).is_not_judged(judge, why);
    }
    let proof = outcome.map_err(|error| {
        let code = match &error {
            AuthError::Failed(_) => {
                door.users.forget_user(config, database, user);
                sqlstate::INVALID_PASSWORD
            }
            AuthError::Protocol(_) => sqlstate::PROTOCOL_VIOLATION,
            _ => sqlstate::INVALID_AUTHORIZATION,
        };
        Refusal::new(code, error.to_string())
    })?;
    if let Some(presence) = &arrival.presence {
        presence.proved();
    }
    Ok((proof, stored))
}
