//! All that clients come in by: the listening sockets, and who waits at them.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::admin::http;
use crate::client::login::{self, Door};
use crate::config::Config;
use crate::handover::message::Entrance;
use crate::listener::{self, Listener};
use crate::server::connect::Address;
use crate::telemetry::failures::Failures;

mod room;

/// How long nobody is let in when that has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Open from the beginning; people are let in between [`Entrances::let_in`] and
/// [`Entrances::close`].
#[derive(Debug)]
pub struct Entrances {
    listeners: Vec<Arc<Listener>>,
    http: Option<Arc<TcpListener>>,
    /// systemd has opened them: whatever the configuration says.
    as_they_are: bool,
    waiting: Vec<(What, JoinHandle<()>)>,
}

/// What kind of socket it is that somebody waits at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Tcp,
    Unix,
    Http,
}

/// Sockets of another process.
#[derive(Debug, Default)]
pub struct Passed {
    pub listeners: Vec<Listener>,
    pub http: Option<TcpListener>,
    /// systemd has opened them.
    pub as_they_are: bool,
}

impl Entrances {
    /// Opens what the configuration names, but for those that systemd or another process has
    /// passed on.
    ///
    /// # Errors
    /// One of them cannot be opened.
    pub fn open(config: &Config, passed: Passed) -> anyhow::Result<Entrances> {
        let Passed {
            mut listeners,
            http,
            mut as_they_are,
        } = passed;
        let inherited = listener::inherited().context("sockets from systemd")?;
        if !inherited.is_empty() {
            (listeners, as_they_are) = (inherited, true);
        }
        if !as_they_are {
            listeners = listener::complete(listeners, &config.listen)?;
        }
        let http = match &config.http {
            Some(wanted) => Some(Arc::new(open_http(wanted.listen, http)?)),
            None => None,
        };
        Ok(Entrances {
            listeners: listeners.into_iter().map(Arc::new).collect(),
            http,
            as_they_are,
            waiting: Vec::new(),
        })
    }

    /// Answers on the HTTP port, if that is not done yet.
    pub fn answer_http(&mut self, door: &Arc<Door>) {
        let answering = self.waiting.iter().any(|(what, _)| *what == What::Http);
        if let Some(http) = self.http.as_ref().filter(|_| !answering) {
            let serving = http::serve(Arc::clone(http), Arc::clone(&door.console));
            self.waiting.push((What::Http, tokio::spawn(serving)));
        }
    }

    pub fn let_in(&mut self, door: &Arc<Door>) {
        let clients = self.listeners.iter().filter_map(|l| l.socket());
        let listed = clients.filter_map(|(entrance, socket)| {
            let address = match entrance {
                Entrance::Tcp(address) => Address::Tcp(address),
                Entrance::Unix(path, _) => Address::Unix(path),
                Entrance::Http(_) => return None,
            };
            Some((socket.as_raw_fd(), address))
        });
        door.console.set_listening(listed.collect());
        self.answer_http(door);
        for listener in &self.listeners {
            let what = match **listener {
                Listener::Tcp(_) => What::Tcp,
                Listener::Unix(..) => What::Unix,
            };
            let accepting = accept(Arc::clone(door), Arc::clone(listener));
            self.waiting.push((what, tokio::spawn(accepting)));
        }
    }

    pub fn announce(&self) {
        if let Some(address) = self.http.as_ref().and_then(|http| http.local_addr().ok()) {
            tracing::info!(%address, "HTTP: the page, /metrics, /healthz, /startupz, /readyz");
        }
        for listener in &self.listeners {
            tracing::info!("listening on {}", listener.address());
        }
    }

    /// Nobody new comes by TCP; the console is still reached by its Unix socket.
    pub fn close_tcp(&mut self) {
        self.waiting.retain(|(what, task)| {
            if *what == What::Tcp {
                task.abort();
            }
            *what != What::Tcp
        });
        self.listeners.retain(|l| matches!(**l, Listener::Unix(..)));
    }

    /// Nobody new is let in. Who knocks waits, for as long as the sockets are there.
    pub fn close(&mut self) {
        self.waiting.drain(..).for_each(|(_, task)| task.abort());
    }

    /// Whether they are systemd's.
    pub fn as_they_are(&self) -> bool {
        self.as_they_are
    }

    /// For another process that takes them over.
    pub fn sockets(&self) -> impl Iterator<Item = (Entrance, BorrowedFd<'_>)> {
        let http = self.http.iter().filter_map(|http| {
            let address = http.local_addr().ok()?;
            Some((Entrance::Http(address), http.as_fd()))
        });
        let listeners = self.listeners.iter();
        listeners.filter_map(|l| l.socket()).chain(http)
    }

    /// The process that they come from ends.
    pub fn take_possession(&self) {
        self.listeners.iter().for_each(|l| l.take_possession());
    }

    /// They are another process's now: what belongs to them stays when they are dropped here.
    pub fn leave_behind(&self) {
        self.listeners.iter().for_each(|l| l.leave_behind());
    }
}

fn open_http(
    address: std::net::SocketAddr,
    passed: Option<TcpListener>,
) -> anyhow::Result<TcpListener> {
    let same = |l: &TcpListener| l.local_addr().is_ok_and(|is| is == address);
    if let Some(listener) = passed.filter(same) {
        return Ok(listener);
    }
    let opened = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    opened.with_context(|| format!("http.listen: cannot listen on {address}"))
}

async fn accept(door: Arc<Door>, listener: Arc<Listener>) {
    let mut failures = Failures::of("cannot accept a connection");
    loop {
        if !room::is_there(listener.as_fd()) {
            failures.note(&"no file descriptors are left for clients (ulimit -n)");
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let config = door.config.load_full();
        match listener.accept(&config.listen).await {
            Ok(accepted) => {
                failures.over();
                tokio::spawn(login::admit(Arc::clone(&door), accepted));
            }
            Err(error) => {
                failures.note(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
