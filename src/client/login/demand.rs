//! What a client must show: as the configuration says for all, or as the rules for connections like
//! its say.

use std::sync::Arc;

use super::{Arrival, Refusal};
use crate::auth::hba::{Asking, Method, Way};
use crate::client::elsewhere::Judge;
use crate::config::{AuthType, Config};
use crate::net::stream::Stream;
use crate::net::tls_server::peer_common_name;
use crate::protocol::sqlstate;
use crate::protocol::startup::Replication;
use crate::server::connect::Address;

/// What is asked of one client.
#[derive(Debug)]
pub(super) struct Demand {
    pub auth_type: AuthType,
    /// Whom its certificate is for, after maps.
    pub common_name: Option<String>,
    /// Who judges its password, if we do not.
    pub judge: Option<Judge>,
}

/// # Errors
/// It may not log in whatever it shows.
pub(super) fn demand(
    config: &Config,
    stream: &Stream,
    arrival: &Arrival,
) -> Result<Demand, Refusal> {
    let common_name = peer_common_name(stream);
    let auth_type = config.auth.auth_type;
    let pam = || Judge::Pam(config.auth.pam_service.clone());
    if auth_type != AuthType::Hba {
        let judge = match auth_type {
            AuthType::Ldap => config.auth.ldap.clone().map(Judge::Ldap),
            AuthType::Pam => Some(pam()),
            _ => None,
        };
        return Ok(Demand {
            auth_type,
            common_name,
            judge,
        });
    }
    let startup = &arrival.startup;
    let way = match &arrival.peer {
        Address::Unix(_) => Way::Unix,
        Address::Tcp(from) => Way::Tcp {
            from: from.ip(),
            tls: stream.is_tls(),
        },
    };
    let asking = Asking {
        way,
        database: &startup.database,
        user: &startup.user,
        replication: startup.replication == Replication::Physical,
    };
    let rejected = || Refusal::new(sqlstate::PROTOCOL_VIOLATION, "login rejected");
    let rule = config.auth.hba.rule(&asking).ok_or_else(rejected)?;
    let is_user = |name: &str| {
        config
            .auth
            .ident
            .allows(rule.map.as_deref(), name, &startup.user)
    };
    let mut judge = None;
    let auth_type = match &rule.method {
        Method::Reject => return Err(rejected()),
        Method::Trust => AuthType::Trust,
        Method::Md5 => AuthType::Md5,
        Method::ScramSha256 => AuthType::ScramSha256,
        Method::Plain => AuthType::Plain,
        Method::Cert => AuthType::Cert,
        Method::Ldap(options) => {
            judge = Some(Judge::Ldap(Arc::clone(options)));
            AuthType::Ldap
        }
        Method::Pam => {
            judge = Some(pam());
            AuthType::Pam
        }
        Method::Peer => {
            let peer = arrival.peer_uid.and_then(user_name);
            if !peer.is_some_and(|name| is_user(&name)) {
                let message = "unix socket login rejected";
                return Err(Refusal::new(sqlstate::PROTOCOL_VIOLATION, message));
            }
            // Whether we know anything else about the user does not matter.
            AuthType::Any
        }
    };
    let common_name = match &rule.map {
        None => common_name,
        Some(_) => common_name
            .filter(|name| is_user(name))
            .map(|_| startup.user.clone()),
    };
    Ok(Demand {
        auth_type,
        common_name,
        judge,
    })
}

/// Whether this is the operating system's user as whom we run, at the console as `pgbouncer`: it is
/// let in by the Unix socket without a password, as in PgBouncer.
pub(super) fn is_ourselves(arrival: &Arrival) -> bool {
    let ours = nix::unistd::geteuid().as_raw();
    arrival.startup.user == "pgbouncer" && arrival.peer_uid == Some(ours)
}

fn user_name(uid: u32) -> Option<String> {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
    user.ok().flatten().map(|user| user.name)
}
