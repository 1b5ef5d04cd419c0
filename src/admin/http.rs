//! The HTTP port: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever starts and stops
//! processes.

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
use crate::telemetry::failures::Failures;

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
                let console = Arc::clone(&console);
                async move { Ok::<_, Infallible>(answer(&request, &console).await) }
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

async fn answer(request: &Request<Incoming>, console: &Arc<Console>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let mut response = text(StatusCode::OK, console.scrapes.get(console).await);
            let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, format);
            response
        }
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match unready(console) {
            None => text(StatusCode::OK, "ready\n"),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
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

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
