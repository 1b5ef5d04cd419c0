//! Listening sockets that systemd has opened for us (sd_listen_fds(3)).

use std::io;

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};

use super::Listener;

/// The sockets that were passed on; empty if there are none. To be called once.
///
/// # Errors
/// One of them is neither a TCP nor a Unix stream socket that listens.
pub fn inherited() -> io::Result<Vec<Listener>> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for n in 0..passed.len() {
        listeners.push(one(&mut passed, n)?);
    }
    Ok(listeners)
}

fn one(passed: &mut ListenFd, n: usize) -> io::Result<Listener> {
    if let Ok(Some(listener)) = passed.take_tcp_listener(n) {
        listener.set_nonblocking(true)?;
        return Ok(Listener::Tcp(TcpListener::from_std(listener)?));
    }
    let listener = passed.take_unix_listener(n)?;
    let listener = listener.ok_or_else(|| io::Error::other("a socket was passed on twice"))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let path = address.as_pathname().unwrap_or("".as_ref()).to_owned();
    let listener = UnixListener::from_std(listener)?;
    // The file is systemd's.
    Ok(Listener::passed_on(listener, path, false))
}
