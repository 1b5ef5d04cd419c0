//! The HTTP port: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever starts and stops
//! processes, and the page with its API for operators.
//!
//! Everything here runs on the control runtime and looks at the rest through the console, as an
//! operator's session does: nothing that a browser does, or leaves undone, is noticed by a query.
//! [`server`] accepts and bounds connections, [`routes`] says what is where, [`access`] who may see
//! it, [`host`] which requests a browser was tricked into, [`login`] lets people in and [`sessions`]
//! remembers them, [`stream`] feeds open pages, [`sampler`] looks at everything once a second.

mod access;
mod api;
mod health;
mod host;
mod login;
mod page;
mod reply;
mod routes;
mod sampler;
mod server;
mod sessions;
mod stream;

use std::sync::Arc;

use tokio::net::TcpListener;

use super::console::Console;
use site::Site;

mod site;

/// Serves for ever.
pub async fn serve(listener: Arc<TcpListener>, console: Arc<Console>) {
    let site = Arc::new(Site::new(&listener, console));
    tokio::join!(server::accept(listener, &site), sampler::run(&site));
}
