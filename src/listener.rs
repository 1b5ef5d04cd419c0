//! Listening sockets: binding them, and accepting from them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::config::Listen;
use crate::handover::message::Entrance;
use crate::net::stream::Socket;
use crate::net::unix;
use crate::server::connect::Address;

mod inherited;

pub use inherited::inherited;

/// A listening socket could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    pub address: String,
    pub source: io::Error,
}

/// One listening socket. A Unix socket's file is removed when it is dropped.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// To be removed in the end: it is not systemd's, and no other process has taken it over.
    ours: AtomicBool,
    /// It was so for the process that it comes from.
    was_theirs: bool,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if *self.ours.get_mut() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// An accepted connection.
#[derive(Debug)]
pub struct Accepted {
    pub socket: Socket,
    pub peer: Address,
    pub local: Address,
}

/// Opens all sockets of the configuration but those that are `there` already; what the
/// configuration does not name is closed.
///
/// # Errors
/// [`ListenError`] names the address.
pub fn complete(there: Vec<Listener>, listen: &Listen) -> Result<Vec<Listener>, ListenError> {
    let is_wanted = |listener: &Listener| match listener {
        Listener::Tcp(l) => l.local_addr().is_ok_and(|a| listen.tcp.contains(&a)),
        Listener::Unix(_, file) => listen.unix_socket().as_ref() == Some(&file.path),
    };
    let mut listeners: Vec<_> = there.into_iter().filter(is_wanted).collect();
    let have_tcp: Vec<_> = listeners.iter().filter_map(Listener::tcp_address).collect();
    let have_unix = listeners.len() > have_tcp.len();
    for address in listen.tcp.iter().filter(|a| !have_tcp.contains(a)) {
        let failed = |source| ListenError {
            address: address.to_string(),
            source,
        };
        listeners.push(Listener::Tcp(bind_tcp(*address, listen).map_err(failed)?));
    }
    if let Some(path) = listen.unix_socket().filter(|_| !have_unix) {
        let failed = |source| ListenError {
            address: path.display().to_string(),
            source,
        };
        let listener = bind_unix(&path, listen).map_err(failed)?;
        let ours = AtomicBool::new(!unix::is_abstract(&path));
        let file = SocketFile {
            path,
            ours,
            was_theirs: false,
        };
        listeners.push(Listener::Unix(listener, file));
    }
    Ok(listeners)
}

fn bind_tcp(address: SocketAddr, listen: &Listen) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = RawSocket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if listen.reuse_port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        // IPv4 has a socket of its own.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog(listen))?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

fn bind_unix(path: &Path, listen: &Listen) -> io::Result<UnixListener> {
    let has_file = !unix::is_abstract(path);
    if has_file {
        remove_stale(path)?;
    }
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(unix::for_system(path))?)?;
    if has_file {
        allow(path, listen)?;
    }
    socket.listen(backlog(listen))?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// Who may connect; to an abstract socket everybody may.
fn allow(path: &Path, listen: &Listen) -> io::Result<()> {
    std::fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(listen.unix_socket_mode),
    )?;
    if let Some(name) = &listen.unix_socket_group {
        let group = nix::unistd::Group::from_name(name)?;
        let group = group.ok_or_else(|| io::Error::other(format!("no such group: {name}")))?;
        nix::unistd::chown(path, None, Some(group.gid))?;
    }
    Ok(())
}

fn backlog(listen: &Listen) -> i32 {
    i32::try_from(listen.backlog).unwrap_or(i32::MAX)
}

/// Removes the file of a process that is gone; one that still answers keeps its own.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "not a socket"))
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
            Err(_) => std::fs::remove_file(path),
        },
    }
}

// === impl Listener ===

impl Listener {
    fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(l) => l.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }

    /// A Unix socket of another process; `was_theirs` says whether that one was to remove its file
    /// in the end. We are, after [`Listener::take_possession`].
    pub fn passed_on(listener: UnixListener, path: PathBuf, was_theirs: bool) -> Listener {
        let ours = AtomicBool::new(false);
        Listener::Unix(
            listener,
            SocketFile {
                path,
                ours,
                was_theirs,
            },
        )
    }

    /// The process that it comes from ends.
    pub fn take_possession(&self) {
        if let Listener::Unix(_, file) = self
            && file.was_theirs
        {
            file.ours.store(true, Ordering::Relaxed);
        }
    }

    /// For another process.
    pub fn socket(&self) -> Option<(Entrance, BorrowedFd<'_>)> {
        Some(match self {
            Listener::Tcp(l) => (Entrance::Tcp(l.local_addr().ok()?), l.as_fd()),
            Listener::Unix(l, file) => {
                let ours = file.ours.load(Ordering::Relaxed);
                (Entrance::Unix(file.path.clone(), ours), l.as_fd())
            }
        })
    }

    /// Another process has it: its file stays.
    pub fn leave_behind(&self) {
        if let Listener::Unix(_, file) = self {
            file.ours.store(false, Ordering::Relaxed);
        }
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(l) => l.as_fd(),
            Listener::Unix(l, _) => l.as_fd(),
        }
    }

    /// For the log, and for the lines that tell the user where to connect.
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(l) => l
                .local_addr()
                .map_or_else(|e| e.to_string(), |a| a.to_string()),
            Listener::Unix(_, file) => file.path.display().to_string(),
        }
    }

    /// The next connection.
    ///
    /// # Errors
    /// Of the system; after a short pause the next call may succeed.
    pub async fn accept(&self, listen: &Listen) -> io::Result<Accepted> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                keep_alive(&stream, listen)?;
                let local = stream.local_addr()?;
                Ok(Accepted {
                    socket: Socket::Tcp(stream),
                    peer: Address::Tcp(canonical(peer)),
                    local: Address::Tcp(canonical(local)),
                })
            }
            Listener::Unix(listener, file) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted {
                    socket: Socket::Unix(stream),
                    peer: Address::Unix(file.path.clone()),
                    local: Address::Unix(file.path.clone()),
                })
            }
        }
    }
}

/// A socket that was passed on may be for both kinds of addresses; an IPv4 client counts as one then, too.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn keep_alive(stream: &tokio::net::TcpStream, listen: &Listen) -> io::Result<()> {
    let socket = SockRef::from(stream);
    if listen.tcp_keepalive {
        let mut settings = TcpKeepalive::new();
        if let Some(time) = listen.tcp_keepidle {
            settings = settings.with_time(time);
        }
        if let Some(interval) = listen.tcp_keepintvl {
            settings = settings.with_interval(interval);
        }
        if let Some(count) = listen.tcp_keepcnt {
            settings = settings.with_retries(count);
        }
        socket.set_tcp_keepalive(&settings)?;
    }
    if let Some(bytes) = listen.tcp_socket_buffer {
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(limit) = listen.tcp_user_timeout.filter(|t| *t > Duration::ZERO) {
        socket.set_tcp_user_timeout(Some(limit))?;
    }
    Ok(())
}
