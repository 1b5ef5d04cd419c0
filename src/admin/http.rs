//! The HTTP port: `/metrics` for Prometheus, `/healthz`, `/startupz` and `/readyz` for whoever starts
//! and stops processes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::console::Console;
use crate::telemetry::{failures::Failures, metrics};

/// Connections served at once; more wait.
const CONNECTIONS: usize = 64;
/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that reads slowly, or asks again and again, makes room for others after this.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves for ever.
pub async fn serve(listener: Arc<TcpListener>, console: Arc<Console>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut failures = Failures::of("HTTP: cannot accept a connection");
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => {
                failures.over();
                stream
            }
            Err(error) => {
                failures.note(&error);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let console = Arc::clone(&console);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&request, &console);
                async move { Ok::<_, Infallible>(answer) }
            });
            // A peer that breaks off is no concern of ours.
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, console: &Console) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let mut response = text(StatusCode::OK, metrics::render(console));
            let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, format);
            response
        }
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/startupz" if console.has_begun() => text(StatusCode::OK, "started\n".to_owned()),
        "/startupz" => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
        "/readyz" => {
            let (status, said) = readiness(console);
            text(status, format!("{said}\n"))
        }
        _ => text(StatusCode::NOT_FOUND, "not found\n".to_owned()),
    }
}

/// Whether new clients had better go elsewhere, and why: it has not begun, it shuts down, or no pool can
/// reach its server. A server that answers and refuses a login is reached: that is one client's problem.
fn readiness(console: &Console) -> (StatusCode, String) {
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

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}
