//! Listening sockets that systemd has opened for us (sd_listen_fds(3)).

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

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
    let path = address
        .as_pathname()
        .map_or_else(|| abstract_name(&address), Path::to_owned);
    let listener = UnixListener::from_std(listener)?;
    // The file is systemd's.
    Ok(Listener::passed_on(listener, path, false))
}

/// As the configuration would write it; empty for a socket without any name.
#[cfg(target_os = "linux")]
fn abstract_name(address: &SocketAddr) -> PathBuf {
    use std::os::linux::net::SocketAddrExt as _;
    let name = address.as_abstract_name();
    name.map_or_else(PathBuf::new, |name| {
        format!("@{}", String::from_utf8_lossy(name)).into()
    })
}

#[cfg(not(target_os = "linux"))]
fn abstract_name(_: &SocketAddr) -> PathBuf {
    PathBuf::new()
}
