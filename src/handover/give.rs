//! The running process gives its sockets and clients away.

use std::any::Any;
use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_bytes::ByteBuf;
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedReceiver;

use super::VERSION;
use super::channel::{ChannelError, Listener, Speaker, both};
use super::message::{Client, Pool as PoolMessage, Server as ServerMessage, ToNew, ToRunning};
use crate::app::signals::tell_systemd;
use crate::client::info::{Control, log_client};
use crate::client::login::{self, Door};
use crate::client::task::ClientParts;
use crate::entrances::Entrances;
use crate::net::stream::Tls;
use crate::pool::Pool;
use crate::session::portable::Told;

/// The new process must be ready after that long.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often clients that are still here are asked to move.
const TICK: Duration = Duration::from_millis(20);
/// What comes from a login that takes longer than all the others is cut off.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum GiveError {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("the new process is not ready within {READY_WITHIN:?}")]
    NotReady,
}

/// How it went.
#[derive(Debug, Clone, Copy)]
pub struct Given {
    pub clients: u64,
    /// So many were in a transaction, or could not move, when the time was up.
    pub cut_off: u64,
}

/// Hands everything over; when this returns, nobody is left here. To be called when nothing else
/// is going on.
///
/// # Errors
/// [`GiveError`]: this process goes on as before, with the clients that are still its own.
pub async fn hand_over(
    door: &Arc<Door>,
    socket: UnixStream,
    entrances: &mut Entrances,
    departures: &mut UnboundedReceiver<ClientParts>,
) -> Result<Given, GiveError> {
    // Held as long as there are two of us.
    let two: Arc<dyn Any + Send + Sync> = Arc::new(());
    door.pools.caches().suspend(&two);
    let (speaker, mut listener) = both(socket);
    offer(door, entrances, &speaker).await?;
    let ready = tokio::time::timeout(READY_WITHIN, wait_until_ready(&mut listener)).await;
    let pid = ready.map_err(|_| GiveError::NotReady)??;
    entrances.close();
    door.pools.shared().set_retiring(true);
    tell_systemd(&[sd_notify::NotifyState::MainPid(pid)]);
    tracing::info!(
        pid,
        clients = door.directory.len(),
        "handing over to a new process"
    );
    let mut giver = Giver {
        door,
        speaker,
        told: HashMap::new(),
        given: Given {
            clients: 0,
            cut_off: 0,
        },
        began: Instant::now(),
    };
    match giver.give_all(&mut listener, departures).await {
        Ok(()) => {
            entrances.leave_behind();
            Ok(giver.given)
        }
        Err(error) => {
            door.pools.shared().set_retiring(false);
            door.directory.for_each(|client| {
                client.take(Control::HandOver);
                client.take(Control::Drain);
            });
            tell_systemd(&[sd_notify::NotifyState::MainPid(std::process::id())]);
            entrances.let_in(door);
            Err(error.into())
        }
    }
}

async fn offer(door: &Door, entrances: &Entrances, speaker: &Speaker) -> Result<(), ChannelError> {
    let origin = door.pools.shared().next_origin();
    let hello = ToNew::Hello {
        version: VERSION,
        generation: origin.generation,
        next_id: origin.next_id,
    };
    speaker.say(&hello, &[]).await?;
    speaker.say(&ToNew::Holds(door.pools.holds()), &[]).await?;
    for (entrance, socket) in entrances.sockets() {
        speaker.say(&ToNew::Listener(entrance), &[socket]).await?;
    }
    let as_they_are = entrances.as_they_are();
    speaker.say(&ToNew::Sockets { as_they_are }, &[]).await
}

async fn wait_until_ready(listener: &mut Listener) -> Result<u32, ChannelError> {
    loop {
        if let (ToRunning::Ready { pid }, _) = listener.hear().await? {
            return Ok(pid);
        }
    }
}

/// Names a pool.
type Key = (Arc<str>, Arc<str>);

struct Giver<'a> {
    door: &'a Arc<Door>,
    speaker: Speaker,
    told: HashMap<Key, Told>,
    given: Given,
    began: Instant,
}

impl Giver<'_> {
    async fn give_all(
        &mut self,
        listener: &mut Listener,
        departures: &mut UnboundedReceiver<ClientParts>,
    ) -> Result<(), ChannelError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(client) = departures.recv() => self.give(client).await?,
                heard = listener.hear() => self.obey(heard?.0),
                _ = tick.tick() => {
                    let over = self.is_over();
                    self.press();
                    // Nobody was left before the last of those who are on their way was counted.
                    if over && departures.is_empty() {
                        break;
                    }
                }
            }
        }
        let spaces = self.door.pools.caches().spaces();
        let in_doubt = spaces.iter().filter(|space| space.is_in_doubt()).count() as u64;
        let cut_off = self.given.cut_off + in_doubt;
        self.speaker.say(&ToNew::Done { cut_off }, &[]).await
    }

    fn obey(&self, message: ToRunning) {
        match message {
            ToRunning::Cancel { key, secret } => {
                if let Some(client) = self.door.directory.find(key, &secret) {
                    client.request(Control::Cancel);
                }
            }
            ToRunning::Ready { .. } => {}
        }
    }

    /// Nobody is here, and nobody is being let in any more. A login is not waited for when the time
    /// is up.
    fn is_over(&self) -> bool {
        let limit = self.door.config.load().upgrade_timeout;
        let too_late = !limit.is_zero() && self.began.elapsed() >= limit + LAST_WORDS;
        (too_late || self.door.arriving() == 0) && self.door.directory.is_empty()
    }

    /// Asks those who can to move, and those who cannot to leave when half of the time is over; at
    /// its end all must go.
    fn press(&mut self) {
        let limit = self.door.config.load().upgrade_timeout;
        let waited = self.began.elapsed();
        let late = !limit.is_zero() && waited >= limit / 2;
        let over = !limit.is_zero() && waited >= limit;
        let mut cut_off = 0;
        let mut left: HashMap<Arc<str>, usize> = HashMap::new();
        self.door.directory.for_each(|client| {
            *left.entry(Arc::clone(&client.database)).or_default() += 1;
            if over {
                cut_off += u64::from(!client.is_requested(Control::Kill));
                client.request(Control::Kill);
            } else if late {
                client.request_all(&[Control::HandOver, Control::Drain]);
            } else if client.tls == Tls::None {
                client.request(Control::HandOver);
            }
        });
        self.given.cut_off += cut_off;
        for pool in self.door.pools.all() {
            // Who cannot move goes on to work.
            let keep = left.get(&pool.database).copied().unwrap_or(0);
            pool.close_unused(keep, "handed over");
        }
    }

    async fn give(&mut self, client: ClientParts) -> Result<(), ChannelError> {
        match self.try_to_give(&client).await {
            Ok(true) => {
                self.given.clients += 1;
                let info = &client.info;
                log_client!(debug, info, "client handed over");
                if let Some(server) = client.server {
                    client.pool.part_with(server);
                }
                Ok(())
            }
            Ok(false) => {
                login::settle_again(self.door, client);
                Ok(())
            }
            Err(error) => {
                login::settle_again(self.door, client);
                Err(error)
            }
        }
    }

    /// `false` if it cannot be put into words.
    async fn try_to_give(&mut self, parts: &ClientParts) -> Result<bool, ChannelError> {
        let (pool, info) = (&parts.pool, &parts.info);
        let Some(socket) = parts.stream.plain() else {
            return Ok(false);
        };
        let key = (Arc::clone(&pool.database), Arc::clone(&pool.user));
        if !self.told.contains_key(&key) {
            let about = ToNew::Pool(about_pool(pool));
            self.speaker.say(&about, &[]).await?;
        }
        let told = self.told.entry(key).or_default();
        let Some(state) = told.client(&parts.state) else {
            return Ok(false);
        };
        let mut sockets: Vec<BorrowedFd<'_>> = vec![socket];
        let server = match &parts.server {
            None => None,
            Some(server) => {
                let (Some(socket), Some(state)) =
                    (server.stream.plain(), told.server(&server.state))
                else {
                    return Ok(false);
                };
                sockets.push(socket);
                Some(ServerMessage {
                    id: server.info.id,
                    host: server.info.host.clone(),
                    peer: server.info.peer.clone(),
                    local: server.info.local.clone(),
                    connected: millis(server.info.connected),
                    backend_pid: server.info.backend_pid,
                    cancel_key: ByteBuf::from(&*server.cancel_key),
                    is_unix: server.stream.is_unix(),
                    state,
                })
            }
        };
        let message = ToNew::Client(Box::new(Client {
            id: info.id,
            key: info.key.pid,
            secret: ByteBuf::from(info.key.secret()),
            key_counts: info.key.counts(),
            database: info.database.to_string(),
            user: info.user.to_string(),
            application_name: info.application_name.as_deref().map(str::to_owned),
            peer: info.peer.clone(),
            local: info.local.clone(),
            connected: millis(info.connected),
            is_unix: parts.stream.is_unix(),
            state,
            unread: ByteBuf::from(&*parts.unread),
            server,
        }));
        self.speaker.say(&message, &sockets).await?;
        Ok(true)
    }
}

fn about_pool(pool: &Pool) -> PoolMessage {
    let (credentials, keys) = pool.proof();
    PoolMessage {
        database: pool.database.to_string(),
        user: pool.user.to_string(),
        credentials: (&credentials).into(),
        keys: keys.map(|keys| (keys.client_key, keys.server_key)),
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
