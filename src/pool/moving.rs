//! Server connections, and what gets new ones, from one process to another (see
//! [`crate::handover`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::Pool;
use super::budget::Permit;
use crate::auth::scram::ScramKeys;
use crate::auth::secret::Secret;
use crate::config::Host;
use crate::net::stream::{Socket, Stream, Tls};
use crate::protocol::startup::Replication;
use crate::server::auth::Credentials;
use crate::server::connect::Address;
use crate::server::{Activity, Identity, Made, Server, ServerInfo};
use crate::session::portable::{Known, ServerRecord, UnknownStatement};

/// A server connection of another process.
#[derive(Debug)]
pub struct Arrival {
    pub socket: Socket,
    pub id: u64,
    pub host: Host,
    pub peer: Address,
    pub local: Address,
    pub connected: SystemTime,
    pub backend_pid: i32,
    pub cancel_key: Vec<u8>,
    pub state: ServerRecord,
}

impl Pool {
    /// What new server connections log in with; where that is a verifier, the keys that fit it, if
    /// a client has shown them.
    pub fn proof(&self) -> (Credentials, Option<ScramKeys>) {
        let credentials = self.credentials.lock().clone();
        let keys = match &credentials {
            Credentials::Secret(Secret::Scram(verifier)) => {
                self.endpoint().scram_keys.proven(verifier)
            }
            _ => None,
        };
        (credentials, keys)
    }

    /// A connection that was lent is another process's now.
    pub fn part_with(self: &Arc<Pool>, server: Box<Server>) {
        drop(server);
        self.core.lock().lost();
    }

    /// Closes what nobody uses, but leaves so many connections in all.
    pub fn close_unused(&self, keep: usize, why: &'static str) {
        self.close_idle(|_, _| true, keep, why);
        if let Some(reads) = self.reads() {
            reads.pool.close_unused(keep, why);
        }
    }

    /// Takes in a connection that counts as lent. It is there, whatever the limits say.
    ///
    /// # Errors
    /// [`UnknownStatement`].
    pub fn adopt(
        &self,
        arrival: Arrival,
        known: &mut Known,
    ) -> Result<Box<Server>, UnknownStatement> {
        let settings = self.settings.load();
        let prepared = settings.database.max_prepared_statements;
        let state = known.server(arrival.state, &self.statements, prepared)?;
        let endpoints = self.endpoints.load();
        let member = endpoints.of(&arrival.host, &arrival.peer);
        let endpoint = member.map_or(endpoints.first(), |member| &member.endpoint);
        let endpoint = Arc::clone(endpoint);
        let identity = Identity {
            id: arrival.id,
            database: Arc::clone(&self.database),
            user: Arc::clone(&self.user),
            host: arrival.host,
            replication: Replication::None,
            reads: false,
        };
        let made = Made {
            peer: arrival.peer,
            local: arrival.local,
            tls: Tls::None,
            backend_pid: arrival.backend_pid,
            fd: arrival.socket.fd(),
            connected: arrival.connected,
        };
        let info = Arc::new(ServerInfo::of(identity, made, Activity::Active));
        let now = Instant::now();
        let age = arrival.connected.elapsed().unwrap_or(Duration::ZERO);
        let mut server = Server::moved(
            Stream::Plain(arrival.socket),
            state,
            Arc::clone(&info),
            endpoint,
            arrival.cancel_key,
            now.checked_sub(age).unwrap_or(now),
            self.generation.load(Ordering::Relaxed),
            Permit::unconditional(&self.budgets),
        );
        if let Some(member) = member {
            server.count_for(&member.state);
        }
        self.servers.enter(&info);
        self.core.lock().adopt();
        Ok(Box::new(server))
    }
}
