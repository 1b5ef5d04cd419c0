//! Letting people in: a password against a session's token. Guesses are counted as those at
//! PostgreSQL's protocol are, and only one is looked at at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{HeaderMap, HeaderValue, RETRY_AFTER, SET_COOKIE};
use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::access;
use super::host;
use super::reply::{Body, json, problem};
use super::sessions::Role;
use super::site::Site;
use crate::auth::attempts::{Attempts, Rules};
use crate::auth::scram::ScramVerifier;
use crate::auth::secret::Secret;
use crate::config::Http;

/// There is one password for all: what counts is the address.
const RULES: Rules = Rules {
    user_failures: 5,
    address_failures: 10,
    window: Duration::from_secs(300),
    backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(60),
};
/// For whom attempts are counted.
const NOBODY: &str = "";
/// Longest password that is looked at, in bytes.
const PASSWORD_MAX: usize = 1024;

/// Who has guessed wrong, and whether somebody is guessing now.
#[derive(Debug)]
pub(super) struct Guard {
    attempts: Mutex<Attempts>,
    turn: Semaphore,
}

impl Default for Guard {
    fn default() -> Guard {
        Guard {
            attempts: Mutex::default(),
            turn: Semaphore::new(1),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    password: String,
}

#[derive(Serialize)]
struct Welcome {
    admin: bool,
}

/// Logs somebody in.
pub(super) async fn enter(
    login: Login,
    headers: &HeaderMap,
    peer: SocketAddr,
    site: &Arc<Site>,
) -> Response<Body> {
    let Some(rules) = access::rules(site) else {
        return problem(StatusCode::FORBIDDEN, "there is no [http]");
    };
    // It is never closed.
    let _turn = site.guard.turn.acquire().await;
    let begun = site
        .guard
        .attempts
        .lock()
        .begin(&RULES, NOBODY, peer.ip(), Instant::now());
    let attempt = match begun {
        Ok(attempt) => attempt,
        Err(left) => return slow_down(left),
    };
    let (found, checked) = match login.password.len() > PASSWORD_MAX {
        true => (None, true),
        // A verifier may take long to compute.
        false => match tokio::task::spawn_blocking(move || role(&rules, &login.password)).await {
            Ok(found) => (found, true),
            Err(_) => (None, false),
        },
    };
    let now = Instant::now();
    let Some((role, secret)) = found else {
        if checked {
            site.guard.attempts.lock().failed(&RULES, &attempt, now);
        }
        tracing::warn!(%peer, "page: wrong password");
        site.console.journal().warn(
            "login",
            format!("wrong password for the page from {}", peer.ip()),
        );
        return problem(StatusCode::UNAUTHORIZED, "That is not the password.");
    };
    site.guard.attempts.lock().succeeded(&attempt, now);
    let mut random = [0; 32];
    if rand::fill(&mut random).is_err() {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "The system gives no random numbers.",
        );
    }
    let token = URL_SAFE_NO_PAD.encode(random);
    site.sessions.lock().enter(&token, role, secret, now);
    tracing::info!(%peer, admin = role == Role::Admin, "page: logged in");
    let mut response = json(
        StatusCode::OK,
        &Welcome {
            admin: role == Role::Admin,
        },
    );
    set_cookie(&mut response, headers, site, &token, "");
    response
}

/// Logs out.
pub(super) fn leave(headers: &HeaderMap, site: &Site) -> Response<Body> {
    if let Some(token) = access::token(headers, site) {
        site.sessions.lock().leave(token);
    }
    let mut response = json(StatusCode::OK, &Welcome { admin: false });
    set_cookie(&mut response, headers, site, "", "; Max-Age=0");
    response
}

fn set_cookie(
    response: &mut Response<Body>,
    headers: &HeaderMap,
    site: &Site,
    token: &str,
    rest: &str,
) {
    let secure = if host::is_by_tls(headers) {
        "; Secure"
    } else {
        ""
    };
    let name = access::cookie_name(site);
    let cookie = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict{secure}{rest}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
}

fn slow_down(left: Duration) -> Response<Body> {
    let seconds = left.as_millis().div_ceil(1000);
    let message = format!("Too many wrong passwords. Try again in {seconds} s.");
    let mut response = problem(StatusCode::TOO_MANY_REQUESTS, &message);
    let after = HeaderValue::from(seconds as u64);
    response.headers_mut().insert(RETRY_AFTER, after);
    response
}

/// What the password is good for. Both are compared, whichever fits.
fn role(rules: &Http, password: &str) -> Option<(Role, Secret)> {
    let [viewer, admin] = [Role::Viewer, Role::Admin].map(|role| {
        let secret = access::secret(rules, role)?;
        fits(&secret, password).then_some((role, secret))
    });
    admin.or(viewer)
}

fn fits(secret: &Secret, password: &str) -> bool {
    let hash = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    match secret {
        Secret::Plain(own) => {
            let (own, given) = (hash(own), hash(password));
            constant_time::verify_slices_are_equal(own.as_ref(), given.as_ref()).is_ok()
        }
        Secret::Scram(verifier) => {
            ScramVerifier::parse(verifier).is_some_and(|verifier| verifier.fits(password))
        }
        // The configuration has none.
        Secret::Md5(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn rules(password: Option<&str>, admin: Option<&str>) -> Http {
        Http {
            listen: SocketAddr::from(([127, 0, 0, 1], 1)),
            password: password.map(Secret::from),
            admin_password: admin.map(Secret::from),
            names: Vec::new(),
            ready_without_servers: false,
        }
    }

    #[test]
    fn a_password_is_good_for_its_own_role() {
        let role = |rules: &Http, password: &str| role(rules, password).map(|(role, _)| role);
        let both = rules(Some("look"), Some("act"));
        assert_eq!(role(&both, "look"), Some(Role::Viewer));
        assert_eq!(role(&both, "act"), Some(Role::Admin));
        assert_eq!(role(&both, ""), None);
        assert_eq!(role(&both, "Act"), None);
        assert_eq!(role(&rules(None, None), ""), None);
        assert_eq!(
            role(&rules(Some("same"), Some("same")), "same"),
            Some(Role::Admin)
        );
        let iterations = NonZeroU32::new(10).unwrap();
        let verifier = ScramVerifier::derive("act", b"salt", iterations).to_string();
        assert_eq!(
            role(&rules(None, Some(&verifier)), "act"),
            Some(Role::Admin)
        );
        assert_eq!(role(&rules(None, Some(&verifier)), &verifier), None);
    }
}
