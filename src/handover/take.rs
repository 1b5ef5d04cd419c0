//! The new process takes over the sockets and clients of the running one.

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_bytes::ByteBuf;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::channel::{self, ChannelError, Speaker, both};
use super::message::{Client, Entrance, Pool as PoolMessage, Server as ServerMessage};
use super::message::{ToNew, ToRunning};
use super::{VERSION, message};
use crate::auth::secret::Secret;
use crate::client::cancel_key::CancelKey;
use crate::client::info::{ClientIdentity, ClientInfo, log_client};
use crate::client::login::{self, Door};
use crate::client::task::ClientParts;
use crate::client::whom::{Whom, log_whom};
use crate::config::Config;
use crate::entrances::Passed;
use crate::listener::Listener;
use crate::net::stream::{Socket, Stream, Tls};
use crate::net::unix;
use crate::pool::moving::Arrival;
use crate::pool::registry::pausing::Holds;
use crate::pool::{Origin, Pool};
use crate::protocol::encode::{self, Severity};
use crate::protocol::sqlstate;
use crate::protocol::startup::{self, Replication};
use crate::server::auth::Credentials;
use crate::session::fault::Fault;
use crate::session::portable::{Known, UnknownStatement};
use crate::worker::Home;

/// The running process answers within that time.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Transactions that were cut off may still commit for so long.
const DOUBT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    #[error(
        "taking over needs a Unix socket (unix_socket_dir), by which the running process is asked"
    )]
    NoUnixSocket,
    #[error("{}: {source}", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("{} belongs to another user", .0.display())]
    Stranger(PathBuf),
    #[error("the running process does not hand over: {0}")]
    Channel(#[from] ChannelError),
    #[error("the running process does not answer")]
    Silent,
    #[error("the running process hands over in a way that this one does not know (version {0})")]
    Version(u32),
    #[error("a socket of the running process: {0}")]
    Socket(io::Error),
}

/// What the running process has given so far.
#[derive(Debug)]
pub struct Taken {
    passed: Passed,
    pub origin: Origin,
    holds: Holds,
    speaker: Speaker,
    listener: channel::Listener,
}

/// Asks the running process for its sockets. `None` if there is none.
///
/// # Errors
/// [`TakeError`]; the running process goes on as before.
pub async fn ask(config: &Config) -> Result<Option<Taken>, TakeError> {
    let path = config.listen.unix_socket().ok_or(TakeError::NoUnixSocket)?;
    let mut stream = match UnixStream::connect(unix::for_system(&path)).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(source) => return Err(TakeError::Connect { path, source }),
    };
    let lost = |source| TakeError::Connect {
        path: path.clone(),
        source,
    };
    let owner = stream.peer_cred().map_err(lost)?.uid();
    if !is_trusted(owner) {
        return Err(TakeError::Stranger(path));
    }
    stream
        .write_all(&startup::hand_over())
        .await
        .map_err(lost)?;
    let (speaker, listener) = both(stream);
    let mut taken = Taken {
        passed: Passed::default(),
        origin: Origin::default(),
        holds: Holds::default(),
        speaker,
        listener,
    };
    let all = tokio::time::timeout(ANSWER_WITHIN, taken.sockets()).await;
    all.map_err(|_| TakeError::Silent)??;
    Ok(Some(taken))
}

/// Whether a process of that user may have our sockets, or give us its own.
pub fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

impl Taken {
    async fn sockets(&mut self) -> Result<(), TakeError> {
        loop {
            let (message, sockets) = self.listener.hear::<ToNew>().await?;
            match message {
                ToNew::Hello { version, .. } if version != VERSION => {
                    return Err(TakeError::Version(version));
                }
                ToNew::Hello {
                    generation,
                    next_id,
                    ..
                } => {
                    self.origin = Origin {
                        generation,
                        next_id,
                    };
                }
                ToNew::Holds(holds) => self.holds = holds,
                ToNew::Listener(entrance) => {
                    for socket in sockets {
                        self.listener(&entrance, socket)
                            .map_err(TakeError::Socket)?;
                    }
                }
                ToNew::Sockets { as_they_are } => {
                    self.passed.as_they_are = as_they_are;
                    return Ok(());
                }
                ToNew::Pool(_) | ToNew::Client(_) | ToNew::Done { .. } => {}
            }
        }
    }

    fn listener(&mut self, entrance: &Entrance, socket: OwnedFd) -> io::Result<()> {
        match entrance {
            Entrance::Tcp(_) => {
                let listener = TcpListener::from_std(socket.into())?;
                self.passed.listeners.push(Listener::Tcp(listener));
            }
            Entrance::Unix(path, ours) => {
                let listener = UnixListener::from_std(socket.into())?;
                self.passed
                    .listeners
                    .push(Listener::passed_on(listener, path.clone(), *ours));
            }
            Entrance::Http(_) => self.passed.http = Some(TcpListener::from_std(socket.into())?),
        }
        Ok(())
    }

    /// The sockets, and what is left of this.
    pub fn split(self) -> (Passed, Taker) {
        let taker = Taker {
            holds: self.holds,
            speaker: self.speaker,
            listener: self.listener,
            two: Arc::new(()),
            known: HashMap::new(),
            clients: 0,
            servers: 0,
        };
        (self.passed, taker)
    }
}

/// Takes clients in.
pub struct Taker {
    holds: Holds,
    speaker: Speaker,
    listener: channel::Listener,
    /// Held as long as there are two of us.
    two: Arc<dyn Any + Send + Sync>,
    /// By database and server user.
    known: HashMap<(Arc<str>, Arc<str>), Known>,
    clients: u64,
    servers: u64,
}

impl std::fmt::Debug for Taker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Taker")
    }
}

/// Asks the running process to cancel what its clients run.
#[derive(Debug, Clone)]
pub struct Forward(Speaker);

impl Forward {
    /// Whatever becomes of it: nobody is told whether there was such a key.
    pub async fn cancel(&self, key: i32, secret: Vec<u8>) {
        let secret = ByteBuf::from(secret);
        let _ = self.0.say(&ToRunning::Cancel { key, secret }, &[]).await;
    }
}

/// Why a client cannot go on here.
#[derive(Debug, thiserror::Error)]
enum Homeless {
    #[error("database configuration changed")]
    NoDatabase,
    #[error(transparent)]
    Statement(#[from] UnknownStatement),
    #[error("its socket: {0}")]
    Socket(#[from] io::Error),
}

impl Taker {
    /// Before anybody is let in: what is held up stays so, and as long as there are two of us, neither answers from its cache.
    pub fn prepare(&mut self, door: &Door) {
        door.pools.set_holds(std::mem::take(&mut self.holds));
        door.pools.caches().suspend(&self.two);
        let forward = Forward(self.speaker.clone());
        door.before.store(Some(Arc::new(forward)));
    }

    /// We accept connections: the running process is told to stop, and its clients come.
    ///
    /// # Errors
    /// It has gone meanwhile.
    pub async fn ready(&self) -> Result<(), ChannelError> {
        let pid = std::process::id();
        self.speaker.say(&ToRunning::Ready { pid }, &[]).await
    }

    /// Takes in everybody who comes, until the other process has ended.
    pub async fn run(mut self, door: Arc<Door>) {
        let cut_off = loop {
            match self.listener.hear::<ToNew>().await {
                Ok((ToNew::Pool(about), _)) => take_proof(&door, about),
                Ok((ToNew::Client(client), sockets)) => self.client(&door, *client, sockets).await,
                Ok((ToNew::Done { cut_off }, _)) => break Some(cut_off),
                // Has its time before we are ready.
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the process before this one has broken off");
                    break None;
                }
            }
        };
        door.before.store(None);
        tracing::info!(clients = self.clients, servers = self.servers, "taken over");
        if cut_off != Some(0) {
            tokio::time::sleep(DOUBT).await;
        }
    }

    async fn client(&mut self, door: &Arc<Door>, client: Client, sockets: Vec<OwnedFd>) {
        let whom = whom(&client);
        let mut sockets = sockets.into_iter();
        let Some(socket) = sockets.next() else {
            return log_whom!(warn, whom, "a client came without a socket");
        };
        let mut socket = match socket_of(socket, client.is_unix) {
            Ok(socket) => socket,
            Err(error) => return log_whom!(warn, whom, %error, "cannot take over"),
        };
        match self.settle(door, client, &mut socket, sockets.next()) {
            Ok(()) => self.clients += 1,
            Err(error) => {
                log_whom!(warn, whom, %error, "cannot take over a client");
                let here = door.pools.shared().events_at(Home::Control);
                here.faults.count(Fault::ShuttingDown);
                let mut out = Vec::new();
                let text = error.to_string();
                encode::error(
                    &mut out,
                    Severity::Fatal,
                    sqlstate::ADMIN_SHUTDOWN,
                    &text,
                    None,
                );
                let _ = socket.write_all(&out).await;
            }
        }
    }

    fn settle(
        &mut self,
        door: &Arc<Door>,
        client: Client,
        socket: &mut Socket,
        server_socket: Option<OwnedFd>,
    ) -> Result<(), Homeless> {
        let config = door.config.load_full();
        let database = config
            .database(&client.database)
            .ok_or(Homeless::NoDatabase)?;
        let pool = door.pools.get(&client.database, &database, &client.user);
        let key = (Arc::clone(&pool.database), Arc::clone(&pool.user));
        let known = self.known.entry(key).or_default();
        let state = known.client(client.state, &pool.statements)?;
        let server = match (client.server, server_socket) {
            (Some(server), Some(socket)) => {
                self.servers += 1;
                Some(pool.adopt(arrival(server, socket)?, known)?)
            }
            _ => None,
        };
        let user = match *pool.user == *client.user {
            true => Arc::clone(&pool.user),
            false => client.user.as_str().into(),
        };
        let identity = ClientIdentity {
            id: client.id,
            key: CancelKey::given(client.key, &client.secret, client.key_counts),
            database: Arc::clone(&pool.database),
            user,
            application_name: client.application_name.map(Into::into),
            peer: client.peer,
            local: client.local,
            tls: Tls::None,
            replication: Replication::None,
        };
        let info = Arc::new(ClientInfo::connected_at(identity, time(client.connected)));
        if !door.directory.enter_again(&info) {
            log_client!(warn, info, "two clients have the same cancel key");
        }
        login::settle(
            door,
            ClientParts {
                stream: Stream::Plain(std::mem::replace(socket, Socket::Gone)),
                state,
                own_timeouts: login::own_timeouts(&config, &database, &pool, &client.user),
                permit: door
                    .limits
                    .adopt(&config, &database, &client.database, &client.user),
                info,
                pool,
                // It may have written just before it moved.
                wrote_at: Some(Instant::now()),
                server,
                unread: client.unread.into_vec(),
            },
        );
        Ok(())
    }
}

fn whom(client: &Client) -> Whom {
    Whom {
        id: client.id,
        peer: client.peer.clone(),
        database: client.database.clone(),
        user: client.user.clone(),
        application: client.application_name.clone().unwrap_or_default(),
    }
}

fn socket_of(socket: OwnedFd, is_unix: bool) -> io::Result<Socket> {
    Ok(match is_unix {
        true => Socket::Unix(UnixStream::from_std(socket.into())?),
        false => Socket::Tcp(TcpStream::from_std(socket.into())?),
    })
}

fn arrival(server: ServerMessage, socket: OwnedFd) -> io::Result<Arrival> {
    Ok(Arrival {
        socket: socket_of(socket, server.is_unix)?,
        id: server.id,
        host: server.host,
        peer: server.peer,
        local: server.local,
        connected: time(server.connected),
        backend_pid: server.backend_pid,
        cancel_key: server.cancel_key.into_vec(),
        state: server.state,
    })
}

fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

/// A pool of ours that does not know how to log in to its server learns it from the other process.
fn take_proof(door: &Door, about: PoolMessage) {
    let config = door.config.load_full();
    let Some(database) = config.database(&about.database) else {
        return;
    };
    let pool: Arc<Pool> = door.pools.get(&about.database, &database, &about.user);
    if *pool.user != *about.user {
        return;
    }
    let credentials = Credentials::from(about.credentials);
    if let (Credentials::Secret(Secret::Scram(verifier)), Some(keys)) = (&credentials, about.keys) {
        let keys = message::keys(keys);
        pool.endpoint().scram_keys.add_proven(verifier, keys);
    }
    if matches!(pool.proof().0, Credentials::None) {
        pool.offer_credentials(credentials);
    }
}
