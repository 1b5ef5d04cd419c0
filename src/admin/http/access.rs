//! Who may see the page and its API, and who may act.
//!
//! With a password set, whoever has logged in with it. Without one, whoever sits at this machine: the
//! port must be open to the machine itself only, and no proxy may have passed the request on. To act
//! takes the admin's password in either case: a port on loopback is open to every user of the machine.

use std::net::SocketAddr;
use std::time::Instant;

use hyper::StatusCode;
use hyper::header::{COOKIE, HeaderMap};

use super::host::{self, Named};
use super::sessions::Role;
use super::site::Site;
use crate::auth::secret::Secret;
use crate::config::Http;

/// What is behind a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// May not even look, before a login.
    Stranger,
    Viewer,
    Admin,
}

/// Why a request is not answered, whoever it comes from.
#[derive(Debug)]
pub(super) struct Refused {
    pub status: StatusCode,
    pub why: String,
}

/// What is configured now; the section cannot go while pgweir runs.
pub(super) fn rules(site: &Site) -> Option<Http> {
    site.console.config().http.clone()
}

/// What the sender of a request may do.
///
/// # Errors
/// [`Refused`]: it is not to be answered at all.
pub(super) fn of(headers: &HeaderMap, peer: SocketAddr, site: &Site) -> Result<Access, Refused> {
    let Some(rules) = rules(site) else {
        return Err(closed());
    };
    let named = host::named(headers, &rules.names).map_err(|suspicion| Refused {
        status: StatusCode::MISDIRECTED_REQUEST,
        why: suspicion.to_string(),
    })?;
    if let Some(role) = token(headers, site).and_then(|token| {
        let sessions = site.sessions.lock();
        sessions.role(token, |role| secret(&rules, role), Instant::now())
    }) {
        return Ok(match role {
            Role::Viewer => Access::Viewer,
            Role::Admin => Access::Admin,
        });
    }
    if rules.password.is_some() {
        return Ok(Access::Stranger);
    }
    let is_local = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    let open = site.address.is_some_and(is_local)
        && is_local(peer)
        && named == Named::Loopback
        && !host::is_forwarded(headers);
    match (open, &rules.admin_password) {
        (true, _) => Ok(Access::Viewer),
        (false, Some(_)) => Ok(Access::Stranger),
        (false, None) => Err(closed()),
    }
}

fn closed() -> Refused {
    Refused {
        status: StatusCode::FORBIDDEN,
        why:
            "Without a password this page is for browsers on the machine that pgweir runs on, and \
              only where [http] listen is 127.0.0.1 or [::1]. Set [http] password, or come through \
              a tunnel (ssh -L)."
                .to_owned(),
    }
}

/// What a role is let in with.
pub(super) fn secret(rules: &Http, role: Role) -> Option<Secret> {
    match role {
        Role::Viewer => rules.password.clone(),
        Role::Admin => rules.admin_password.clone(),
    }
}

/// Cookies belong to a host, whatever the port: each port has a name of its own.
pub(super) fn cookie_name(site: &Site) -> String {
    let port = site.address.map_or(0, |address| address.port());
    format!("pgweir_{port}")
}

/// The token of the session that the browser says it has.
pub(super) fn token<'h>(headers: &'h HeaderMap, site: &Site) -> Option<&'h str> {
    let name = cookie_name(site);
    let all = headers.get_all(COOKIE).iter();
    let mut pairs = all
        .filter_map(|c| c.to_str().ok())
        .flat_map(|c| c.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(&name)?.strip_prefix('='))
}
