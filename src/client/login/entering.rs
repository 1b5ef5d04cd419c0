//! Who somebody is that is let in: the parameters that count, the console's user, and the entry in the
//! directory.

use std::sync::Arc;

use super::{Arrival, Door, Refusal};
use crate::admin::console::ConsoleUser;
use crate::client::cancel_key::CancelKey;
use crate::client::info::{ClientIdentity, ClientInfo};
use crate::config::Config;
use crate::net::stream::Tls;
use crate::pool::Pool;
use crate::protocol::sqlstate;
use crate::protocol::startup::{Replication, application_name};
use crate::server::connect::Address;

/// The client's parameters, as far as they count.
pub(super) fn asked_for(config: &Config, arrival: &Arrival) -> Vec<(String, String)> {
    let rules = &config.startup;
    let is_ignored = |name: &str| rules.ignored.iter().any(|n| name.eq_ignore_ascii_case(n));
    let skipped = match is_ignored("options") {
        true => arrival.startup.from_options,
        false => 0,
    };
    let parameters = arrival.startup.parameters.iter().skip(skipped);
    let mut parameters: Vec<_> = parameters
        .filter(|(name, _)| !is_ignored(name))
        .cloned()
        .collect();
    if rules.add_host {
        let is_name = |name: &str| name.eq_ignore_ascii_case("application_name");
        let before = application_name(&parameters).unwrap_or("app").to_owned();
        let peer = match &arrival.peer {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(_) => "unix".to_owned(),
        };
        parameters.retain(|(name, _)| !is_name(name));
        parameters.push(("application_name".to_owned(), format!("{before} - {peer}")));
    }
    parameters
}

pub(super) fn console_user(config: &Config, user: &str) -> Result<ConsoleUser, Refusal> {
    let is_admin = config.admin_users.iter().any(|u| u == user);
    if !is_admin && !config.stats_users.iter().any(|u| u == user) {
        return Err(Refusal::new(
            sqlstate::INSUFFICIENT_PRIVILEGE,
            "not allowed: the user is neither in admin_users nor in stats_users",
        ));
    }
    Ok(ConsoleUser {
        name: user.to_owned(),
        is_admin,
    })
}

/// What the console shows of who is there.
pub(super) fn operator(arrival: &Arrival, tls: Tls) -> ClientInfo {
    let startup = &arrival.startup;
    ClientInfo::new(ClientIdentity {
        id: arrival.id,
        // Nothing can be cancelled there.
        key: CancelKey::new(0, [0; 32], 4, None),
        database: "pgbouncer".into(),
        user: startup.user.as_str().into(),
        application_name: application_name(&startup.parameters).map(Into::into),
        peer: arrival.peer.clone(),
        local: arrival.local.clone(),
        tls,
        replication: Replication::None,
    })
}

pub(super) fn enter(
    door: &Door,
    arrival: &Arrival,
    parameters: &[(String, String)],
    pool: &Pool,
    tls: Tls,
) -> Result<Arc<ClientInfo>, Refusal> {
    let startup = &arrival.startup;
    let name = application_name(parameters);
    let identity = |key| ClientIdentity {
        id: arrival.id,
        key,
        database: Arc::clone(&pool.database),
        // Mostly the pool's own, which need not be stored again.
        user: if *pool.user == *startup.user {
            Arc::clone(&pool.user)
        } else {
            startup.user.as_str().into()
        },
        application_name: name.map(Into::into),
        peer: arrival.peer.clone(),
        local: arrival.local.clone(),
        tls,
        replication: startup.replication,
    };
    let own = door.config.load().peering.id;
    door.directory
        .enter(startup.minor >= 2, own, |key| {
            ClientInfo::new(identity(key))
        })
        .map_err(|e| Refusal::new(sqlstate::INTERNAL_ERROR, e.to_string()))
}
