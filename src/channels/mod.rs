//! `LISTEN` without a server connection for each client: one connection of a pool listens to what
//! any of its clients listens to, and each client is given what it has asked for (PostgreSQL docs,
//! "Asynchronous Operations").
//!
//! [`subscriptions`] knows who listens to what (pure), [`subscriber`] is what waits for one client,
//! [`listener`] has the connection. A client's task comes here with a `LISTEN` ([`Channels::listen`])
//! and waits for the server's acknowledgement, so that it misses nothing that is notified after its
//! answer. It holds [`Ears`] as long as it listens to anything.
//!
//! Nothing is lost in silence: whoever cannot be given all that it should have been given is told
//! ([`subscriber::Deafness`]) and closed.

pub mod listener;
pub mod subscriber;
pub mod subscriptions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use self::subscriber::Subscriber;
use self::subscriptions::{ChannelRow, Subscriptions};
use crate::server::ServerInfo;
use crate::session::fault::Fault;

/// An SQLSTATE and a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    pub message: String,
    /// `None`: the server's own words.
    pub fault: Option<Fault>,
}

/// The server's answer to a `LISTEN`: the NoticeResponses that came with it.
pub type Reply = Result<Vec<u8>, Refusal>;

/// What the listening connection is to say.
#[derive(Debug)]
enum Command {
    Listen {
        channel: Arc<str>,
        /// The name as the client has written it.
        written: String,
        client: u64,
        reply: oneshot::Sender<Reply>,
    },
    Unlisten(Arc<str>),
}

/// Who listens in one pool.
#[derive(Debug, Default)]
pub struct Channels {
    inner: Mutex<Inner>,
    /// There is something to do for the listener.
    work: Notify,
    received: AtomicU64,
    sent: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    subscriptions: Subscriptions<Arc<Subscriber>>,
    commands: VecDeque<Command>,
    /// Somebody sees to the commands.
    listener: bool,
    /// The listening connection.
    server: Option<Arc<ServerInfo>>,
}

/// What has come on the listening connection.
#[derive(Debug)]
enum Event {
    /// A whole NotificationResponse, with its channel.
    Notification { channel: String, message: Arc<[u8]> },
    Answered {
        channel: Arc<str>,
        client: u64,
        reply: oneshot::Sender<Reply>,
        answer: Reply,
    },
}

/// The numbers of a pool's listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelCounts {
    pub channels: usize,
    pub clients: usize,
    /// Notifications that have come from the server.
    pub received: u64,
    /// Notifications that were put aside for clients.
    pub sent: u64,
}

/// A `LISTEN` that is under way.
#[derive(Debug)]
pub struct Asked {
    pub answer: oneshot::Receiver<Reply>,
    /// The client did not listen to it before.
    pub is_new: bool,
    /// A listener is to be started (see [`listener::run`]).
    pub needs_listener: bool,
}

impl Channels {
    /// A client wants to listen. Notifications are put aside for it from now on.
    fn listen(&self, subscriber: &Arc<Subscriber>, channel: &Arc<str>, written: String) -> Asked {
        let (reply, answer) = oneshot::channel();
        let client = subscriber.client();
        let mut inner = self.inner.lock();
        let is_new = inner.subscriptions.add(channel, client, subscriber);
        inner.commands.push_back(Command::Listen {
            channel: Arc::clone(channel),
            written,
            client,
            reply,
        });
        let needs_listener = !std::mem::replace(&mut inner.listener, true);
        drop(inner);
        self.work.notify_one();
        Asked {
            answer,
            is_new,
            needs_listener,
        }
    }

    /// A client no longer wants to listen, to one channel or to any.
    fn unlisten(&self, subscriber: &Subscriber, channel: Option<&str>) {
        self.leave(subscriber, channel);
        // Nobody puts anything aside any more.
        subscriber.forget(channel);
    }

    fn leave(&self, subscriber: &Subscriber, channel: Option<&str>) {
        let client = subscriber.client();
        let mut inner = self.inner.lock();
        let orphans = match channel {
            None => inner.subscriptions.remove_all(client),
            Some(channel) => {
                let last = inner.subscriptions.remove(channel, client);
                last.then(|| channel.into()).into_iter().collect()
            }
        };
        let commands = orphans.into_iter().map(Command::Unlisten);
        inner.commands.extend(commands);
        drop(inner);
        self.work.notify_one();
    }

    pub fn counts(&self) -> ChannelCounts {
        let inner = self.inner.lock();
        ChannelCounts {
            channels: inner.subscriptions.channels(),
            clients: inner.subscriptions.clients(),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
        }
    }

    pub fn rows(&self) -> Vec<ChannelRow> {
        self.inner.lock().subscriptions.rows()
    }

    /// The listening connection is to be closed, whoever listens.
    pub fn close(&self) {
        if let Some(server) = &self.inner.lock().server {
            server.set_closing();
        }
        self.work.notify_one();
    }

    // === for the listener ===

    fn take_commands(&self, most: usize) -> Vec<Command> {
        let mut inner = self.inner.lock();
        let most = most.min(inner.commands.len());
        inner.commands.drain(..most).collect()
    }

    fn has_listeners(&self) -> bool {
        !self.inner.lock().subscriptions.is_empty()
    }

    /// Ends the listener's work if there is none; a later `LISTEN` needs another one then.
    fn rests(&self) -> bool {
        let mut inner = self.inner.lock();
        if !inner.subscriptions.is_empty() {
            return false;
        }
        // What nobody listens to need not be ended.
        inner.commands.clear();
        inner.listener = false;
        true
    }

    fn connected(&self, server: Option<Arc<ServerInfo>>) {
        self.inner.lock().server = server;
    }

    /// Gives those who are to be waited for before more is heard.
    fn happened(&self, events: Vec<Event>) -> Vec<Arc<Subscriber>> {
        let mut behind = Vec::new();
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        for event in events {
            match event {
                Event::Notification { channel, message } => {
                    self.received.fetch_add(1, Ordering::Relaxed);
                    let Some((channel, all)) = inner.subscriptions.notified(&channel) else {
                        continue;
                    };
                    for subscriber in all {
                        if subscriber.push(&channel, &message) {
                            behind.push(Arc::clone(subscriber));
                        }
                        self.sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Event::Answered {
                    channel,
                    client,
                    reply,
                    answer,
                } => {
                    if answer.is_ok() {
                        inner.subscriptions.settle(&channel, client);
                    } else if inner.subscriptions.refuse(&channel, client) {
                        inner.commands.push_back(Command::Unlisten(channel));
                    }
                    // Who asked may have gone, and its ears with it.
                    let _ = reply.send(answer);
                }
            }
        }
        behind
    }

    /// There is no connection, or no longer: all who listen are told, and all who ask are refused.
    fn lost(&self, why: &Refusal) {
        let mut inner = self.inner.lock();
        let listening = inner.subscriptions.clear();
        // Before anybody can see that nothing is left to listen to.
        listening.iter().for_each(|subscriber| subscriber.lost());
        let commands = std::mem::take(&mut inner.commands);
        inner.server = None;
        drop(inner);
        for command in commands {
            if let Command::Listen { reply, .. } = command {
                let _ = reply.send(Err(why.clone()));
            }
        }
    }
}

/// What a client has as long as it listens to anything; all ends when it is dropped.
#[derive(Debug)]
pub struct Ears {
    channels: Arc<Channels>,
    subscriber: Arc<Subscriber>,
}

impl Ears {
    pub fn new(channels: &Arc<Channels>, subscriber: Arc<Subscriber>) -> Ears {
        Ears {
            channels: Arc::clone(channels),
            subscriber,
        }
    }

    pub fn subscriber(&self) -> &Arc<Subscriber> {
        &self.subscriber
    }

    pub fn listen(&self, channel: &Arc<str>, written: String) -> Asked {
        self.channels.listen(&self.subscriber, channel, written)
    }

    /// Without a channel: to none any more.
    pub fn unlisten(&self, channel: Option<&str>) {
        self.channels.unlisten(&self.subscriber, channel);
    }

    /// Somebody else gives it what comes on this channel from now on. What has come is still its.
    pub fn retire(&self, channel: &str) {
        self.channels.leave(&self.subscriber, Some(channel));
    }

    /// It listens to nothing, and nothing is left to be told.
    pub fn are_idle(&self) -> bool {
        let inner = self.channels.inner.lock();
        inner.subscriptions.count(self.subscriber.client()) == 0 && self.subscriber.is_idle()
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.unlisten(None);
    }
}
