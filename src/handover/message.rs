//! What the two processes say to each other.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::auth::scram::ScramKeys;
use crate::auth::secret::Secret;
use crate::config::Host;
use crate::pool::registry::pausing::Holds;
use crate::server::auth::Credentials;
use crate::server::connect::Address;
use crate::session::portable;

/// From the running process to the new one.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToNew {
    Hello {
        version: u32,
        /// How often the sockets have changed hands already.
        generation: u64,
        /// Numbers of clients and servers (`id` in the console) go on from here.
        next_id: u64,
    },
    /// What an operator holds up, and goes on to.
    Holds(Holds),
    /// With the socket.
    Listener(Entrance),
    /// These were all listening sockets; whether they are systemd's, and so to be kept whatever the
    /// configuration says.
    Sockets { as_they_are: bool },
    /// Comes before the first client of a pool.
    Pool(Pool),
    /// With its socket, and then that of its server connection, if it has one.
    Client(Box<Client>),
    /// Everybody is there or gone; so many were cut off in the middle of something, or are databases with a write
    /// that may be committed yet.
    Done { cut_off: u64 },
}

/// From the new process to the running one.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToRunning {
    /// It accepts connections.
    Ready { pid: u32 },
    /// A cancel request that is for nobody here.
    Cancel { key: i32, secret: ByteBuf },
}

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entrance {
    Tcp(SocketAddr),
    /// Path of its file; whether it is to be removed in the end.
    Unix(PathBuf, bool),
    Http(SocketAddr),
}

/// What clients' logins have proved to a pool, and the new process's have not yet.
#[derive(Serialize, Deserialize)]
pub struct Pool {
    pub database: String,
    /// On the server.
    pub user: String,
    pub credentials: Proof,
    /// Where the credentials are a verifier: the keys that fit it, of a client and a server.
    pub keys: Option<Keys>,
}

type Keys = ([u8; 32], [u8; 32]);

pub fn keys((client_key, server_key): Keys) -> ScramKeys {
    ScramKeys {
        client_key,
        server_key,
    }
}

#[derive(Serialize, Deserialize)]
pub enum Proof {
    Nothing,
    /// As it is stored; tells its kind itself.
    Secret(String),
    ScramKeys(Keys),
}

/// A client between transactions.
#[derive(Debug, Serialize, Deserialize)]
pub struct Client {
    pub id: u64,
    pub key: i32,
    pub secret: ByteBuf,
    /// The key was made where there are peers.
    pub key_counts: bool,
    pub database: String,
    pub user: String,
    pub application_name: Option<String>,
    pub peer: Address,
    pub local: Address,
    /// Milliseconds since 1970.
    pub connected: u64,
    pub is_unix: bool,
    pub state: portable::ClientRecord,
    /// What it has sent and nobody has looked at.
    pub unread: ByteBuf,
    pub server: Option<Server>,
}

/// A server connection that is its client's.
#[derive(Debug, Serialize, Deserialize)]
pub struct Server {
    pub id: u64,
    pub host: Host,
    pub peer: Address,
    pub local: Address,
    /// Milliseconds since 1970.
    pub connected: u64,
    pub backend_pid: i32,
    pub cancel_key: ByteBuf,
    pub is_unix: bool,
    pub state: portable::ServerRecord,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({}.{})", self.database, self.user)
    }
}

impl From<&Credentials> for Proof {
    fn from(credentials: &Credentials) -> Proof {
        match credentials {
            Credentials::None => Proof::Nothing,
            Credentials::Secret(Secret::Plain(s) | Secret::Md5(s) | Secret::Scram(s)) => {
                Proof::Secret(s.to_string())
            }
            Credentials::ScramKeys(keys) => Proof::ScramKeys((keys.client_key, keys.server_key)),
        }
    }
}

impl From<Proof> for Credentials {
    fn from(proof: Proof) -> Credentials {
        match proof {
            Proof::Nothing => Credentials::None,
            Proof::Secret(text) => Credentials::Secret(Secret::from(text.as_str())),
            Proof::ScramKeys(both) => Credentials::ScramKeys(keys(both)),
        }
    }
}
