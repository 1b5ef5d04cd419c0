//! What is where, and what goes with every answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::access::{self, Access};
use super::api;
use super::reply::{Body, problem, text};
use super::server::Pace;
use super::site::Site;
use super::{health, host, login, page, stream};

/// Longest body of a request, in bytes.
const BODY_MAX: usize = 4096;
/// For a body to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// For the page and its API. The page has no script or style but its own files, no other page may
/// show it inside itself, and no browser may guess what an answer is.
const POLICY: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// The answer to any request.
pub(super) async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    site: Arc<Site>,
    pace: Arc<Pace>,
) -> Response<Body> {
    match request.uri().path() {
        "/metrics" | "/healthz" | "/startupz" | "/readyz" if !is_reading(request.method()) => {
            return only("GET, HEAD");
        }
        "/metrics" => return health::metrics(&site.console).await,
        "/healthz" => return text(StatusCode::OK, "ok\n"),
        "/startupz" => return health::startup(&site.console),
        "/readyz" => return health::readiness(&site.console),
        _ => {}
    }
    let mut response = restricted(request, peer, site, pace).await;
    for (name, value) in POLICY {
        let name = HeaderName::from_static(name);
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn is_reading(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

fn only(methods: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods}\n"));
    let allowed = HeaderValue::from_static(methods);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

async fn restricted(
    request: Request<Incoming>,
    peer: SocketAddr,
    site: Arc<Site>,
    pace: Arc<Pace>,
) -> Response<Body> {
    let access = match access::of(request.headers(), peer, &site) {
        Ok(access) => access,
        Err(refused) => return text(refused.status, format!("{}\n", refused.why)),
    };
    let path = request.uri().path();
    if let Some(name) = path.strip_prefix("/api/v1/") {
        let name = name.to_owned();
        return match is_reading(request.method()) {
            true => read(&name, &request, access, peer, site, pace).await,
            false if request.method() == Method::POST => {
                write(&name, request, access, peer, site).await
            }
            false => only("GET, HEAD, POST"),
        };
    }
    match (page::file(path), is_reading(request.method())) {
        (Some(file), true) => file,
        (Some(_), false) => only("GET, HEAD"),
        (None, _) if path == "/index.html" => {
            let mut response = text(StatusCode::PERMANENT_REDIRECT, "");
            response
                .headers_mut()
                .insert(LOCATION, HeaderValue::from_static("/"));
            response
        }
        (None, _) => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

async fn read(
    name: &str,
    request: &Request<Incoming>,
    access: Access,
    peer: SocketAddr,
    site: Arc<Site>,
    pace: Arc<Pace>,
) -> Response<Body> {
    // A page elsewhere could not read the answer, but it could keep us busy.
    if let Err(suspicion) = host::same_site(request.headers()) {
        return problem(StatusCode::FORBIDDEN, &suspicion.to_string());
    }
    if name == "session" {
        return api::session(access, &site);
    }
    if access == Access::Stranger {
        return problem(StatusCode::UNAUTHORIZED, "Log in first.");
    }
    let query = request.uri().query().unwrap_or_default();
    match name {
        "snapshot" => api::snapshot(&site),
        "history" => api::history(&site),
        "log" => api::log(&site),
        "clients" => api::clients::answer(&site, query),
        "events" if *request.method() == Method::HEAD => only("GET"),
        "events" => stream::open(request.headers().clone(), peer, site, pace),
        _ if api::actions::named(name).is_some() || matches!(name, "login" | "logout") => {
            only("POST")
        }
        _ => match api::tables::answer(site, name).await {
            Some(table) => table,
            None => problem(StatusCode::NOT_FOUND, "There is no such thing."),
        },
    }
}

async fn write(
    name: &str,
    request: Request<Incoming>,
    access: Access,
    peer: SocketAddr,
    site: Arc<Site>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    if let Err(suspicion) = host::own_page(&head.headers) {
        return problem(StatusCode::FORBIDDEN, &suspicion.to_string());
    }
    match name {
        "login" => match read_body(&head.headers, body).await {
            Ok(wanted) => login::enter(wanted, &head.headers, peer, &site).await,
            Err(response) => response,
        },
        "logout" => login::leave(&head.headers, &site),
        _ => {
            let Some(action) = api::actions::named(name) else {
                return problem(StatusCode::NOT_FOUND, "There is no such thing.");
            };
            match access {
                Access::Stranger => return problem(StatusCode::UNAUTHORIZED, "Log in first."),
                Access::Viewer => {
                    let why = "That takes [http] admin_password.";
                    return problem(StatusCode::FORBIDDEN, why);
                }
                Access::Admin => {}
            }
            match read_body(&head.headers, body).await {
                Ok(on) => api::actions::answer(action, on, peer, &site),
                Err(response) => response,
            }
        }
    }
}

/// The body of a request, if it is what is wanted; an empty one is `{}`.
async fn read_body<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Incoming,
) -> Result<T, Response<Body>> {
    let bad = |why: &str| problem(StatusCode::BAD_REQUEST, why);
    let kind = headers.get("content-type");
    if kind.is_some_and(|kind| !kind.as_bytes().starts_with(b"application/json")) {
        return Err(problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The body must be JSON.",
        ));
    }
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX).collect()).await;
    let bytes: Bytes = match whole {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(_)) => {
            return Err(problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is too long.",
            ));
        }
        Err(_) => {
            return Err(problem(
                StatusCode::REQUEST_TIMEOUT,
                "The body does not come.",
            ));
        }
    };
    let text = if bytes.is_empty() { &b"{}"[..] } else { &bytes };
    serde_json::from_slice(text)
        .map_err(|error| bad(&format!("The body is not as it should be: {error}.")))
}
