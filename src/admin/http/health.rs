//! `/metrics`, `/healthz`, `/startupz` and `/readyz`: open to everybody who reaches the port.

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::reply::{Body, text};
use crate::admin::console::Console;

pub(super) async fn metrics(console: &Arc<Console>) -> Response<Body> {
    let mut response = text(StatusCode::OK, console.scrapes.get(console).await);
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    response
}

pub(super) fn startup(console: &Console) -> Response<Body> {
    match console.has_begun() {
        true => text(StatusCode::OK, "started\n"),
        false => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
    }
}

pub(super) fn readiness(console: &Console) -> Response<Body> {
    let (status, said) = ready(console);
    text(status, format!("{said}\n"))
}

/// Whether new clients had better go elsewhere, and why: it has not begun, it shuts down, or no pool can
/// reach its server. A server that answers and refuses a login is reached: that is one client's problem.
fn ready(console: &Console) -> (StatusCode, String) {
    const GO_ELSEWHERE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    if console.is_draining() {
        return (GO_ELSEWHERE, "shutting down".to_owned());
    }
    if !console.has_begun() {
        return (GO_ELSEWHERE, "starting".to_owned());
    }
    let pools = console.pools().all();
    if pools.is_empty() || pools.iter().any(|p| p.is_reachable()) {
        return (StatusCode::OK, "ready".to_owned());
    }
    let outage = pools.first().and_then(|p| p.outage());
    let outage = outage.map_or_else(|| "no server".to_owned(), |o| o.message);
    let config = console.config();
    match config
        .http
        .as_ref()
        .is_some_and(|h| h.ready_without_servers)
    {
        true => (StatusCode::OK, format!("ready, without servers: {outage}")),
        false => (GO_ELSEWHERE, outage),
    }
}
