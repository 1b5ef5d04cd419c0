//! `/metrics`, `/healthz` and `/readyz`: open to everybody who reaches the port.

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

pub(super) fn readiness(console: &Console) -> Response<Body> {
    match unready(console) {
        None => text(StatusCode::OK, "ready\n"),
        Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

/// Why new clients had better go elsewhere, if they had: a shutdown, or no pool that can reach its
/// server. A server that answers and refuses a login is reached: that is one client's problem.
fn unready(console: &Console) -> Option<String> {
    if console.is_draining() {
        return Some("shutting down".to_owned());
    }
    let pools = console.pools().all();
    if pools.is_empty() || pools.iter().any(|p| p.is_reachable()) {
        return None;
    }
    let outage = pools.first().and_then(|p| p.outage());
    Some(outage.map_or_else(|| "no server".to_owned(), |o| o.message))
}
