//! The listening connection of a pool: made when somebody wants to listen, closed some time after
//! nobody does.
//!
//! What clients ask for is sent several at a time; each is answered when the server has answered it,
//! in order. So that a connection that has died in silence is noticed, it is asked for something from
//! time to time, and must say something within a limit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::subscriber::Subscriber;
use super::{Channels, Command, Event, Refusal, Reply};
use crate::pool::Pool;
use crate::protocol::frame::{self, HEADER};
use crate::protocol::{backend, encode};
use crate::server::{Activity, Server};
use crate::session::fault::Fault;

/// How often it is looked whether the connection must go.
const TICK: Duration = Duration::from_secs(1);
/// Statements that may be unanswered at once: few enough that server and socket take them all while
/// nobody reads.
const UNANSWERED_MAX: usize = 128;
/// Between two attempts to connect, at first and at most.
const DELAYS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// The largest message that is accepted. A notification has at most 8 kB.
const MESSAGE_MAX: usize = 1024 * 1024;
const CHUNK: usize = 16 * 1024;
/// Clients that are behind are looked at this often.
const PAUSE: Duration = Duration::from_millis(1);
/// Where the configuration sets no limit.
const LINGER: Duration = Duration::from_secs(600);

/// Sees to what a pool's clients want to listen to, until there is nothing left to do.
pub async fn run(pool: Arc<Pool>) {
    let channels = Arc::clone(pool.channels());
    loop {
        let Some(connected) = connect(&pool).await else {
            return;
        };
        let why = match connected {
            Err(refusal) => refusal,
            Ok(server) => {
                channels.connected(Some(Arc::clone(&server.info)));
                match Listener::new(&pool, server).run().await {
                    Ended::Unused => {
                        channels.connected(None);
                        if channels.rests() {
                            return;
                        }
                        // Somebody has come at the last moment.
                        continue;
                    }
                    Ended::Lost(why) => {
                        tracing::warn!(?pool, %why, "the listening connection was lost");
                        Refusal {
                            code: "08006".to_owned(),
                            message: format!("the listening connection was lost: {why}"),
                            fault: Some(Fault::ServerLost),
                        }
                    }
                }
            }
        };
        channels.lost(&why);
        if channels.rests() {
            return;
        }
    }
}

/// Tries as long as the pool's clients would wait for a connection. `None` if nobody waits any more.
async fn connect(pool: &Arc<Pool>) -> Option<Result<Server, Refusal>> {
    let (began, mut delay) = (Instant::now(), DELAYS[0]);
    loop {
        if pool.channels().rests() {
            return None;
        }
        if pool.is_paused() {
            sleep(DELAYS[0]).await;
            continue;
        }
        let error = match pool.log_in_to_listen().await {
            Ok(server) => return Some(Ok(server)),
            Err(error) => error,
        };
        let patience = pool.settings().database.server.login_retry;
        if pool.is_closed() || !error.is_transient() || began.elapsed() >= patience {
            tracing::warn!(?pool, %error, "no listening connection");
            return Some(Err(Refusal {
                code: "08006".to_owned(),
                message: format!("no listening connection to the server: {error}"),
                fault: Some(Fault::Outage),
            }));
        }
        sleep(delay).await;
        delay = (delay * 2).min(DELAYS[1]);
    }
}

enum Ended {
    /// Nobody listens.
    Unused,
    Lost(String),
}

/// A statement that the server has not answered.
struct Unanswered {
    /// `None` for one of our own.
    asked: Option<Ask>,
    notices: Vec<u8>,
    error: Option<Refusal>,
}

struct Ask {
    channel: Arc<str>,
    client: u64,
    reply: oneshot::Sender<Reply>,
}

struct Listener<'a> {
    pool: &'a Arc<Pool>,
    channels: &'a Arc<Channels>,
    server: Server,
    inbox: BytesMut,
    unanswered: VecDeque<Unanswered>,
    /// When the server has said something.
    heard: Instant,
    /// When it was asked for something.
    asked: Instant,
    /// Since then nobody listens.
    unused: Option<Instant>,
    last_words: Option<String>,
}

impl<'a> Listener<'a> {
    fn new(pool: &'a Arc<Pool>, server: Server) -> Listener<'a> {
        server.info.set_activity(Activity::Listening, 0);
        let now = Instant::now();
        Listener {
            pool,
            channels: pool.channels(),
            server,
            inbox: BytesMut::new(),
            unanswered: VecDeque::new(),
            heard: now,
            asked: now,
            unused: None,
            last_words: None,
        }
    }

    async fn run(mut self) -> Ended {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Err(why) = self.say().await {
                return self.lost(why);
            }
            self.inbox.reserve(CHUNK);
            tokio::select! {
                read = self.server.stream.read_buf(&mut self.inbox) => match read {
                    Ok(0) => return self.lost("the server has closed it".to_owned()),
                    Err(error) => return self.lost(error.to_string()),
                    Ok(_) => match self.hear() {
                        Ok(behind) => self.wait_for(behind).await,
                        Err(why) => return self.lost(why),
                    },
                },
                () = self.channels.work.notified() => {}
                _ = tick.tick() => {}
            }
            if let Some(ended) = self.look_after() {
                if matches!(ended, Ended::Unused) {
                    let bye = self.server.stream.write_all(encode::TERMINATE);
                    let _ = timeout(TICK, bye).await;
                }
                return ended;
            }
        }
    }

    fn lost(&mut self, why: String) -> Ended {
        Ended::Lost(self.last_words.take().unwrap_or(why))
    }

    /// Whether the connection must go.
    fn look_after(&mut self) -> Option<Ended> {
        let settings = self.pool.settings();
        let server = &settings.database.server;
        let limit = server.connect_timeout;
        if self.pool.is_closed() {
            return Some(Ended::Lost("database configuration changed".to_owned()));
        }
        if self.server.info.is_closing() {
            return Some(Ended::Lost("it was to be closed".to_owned()));
        }
        let since = self.heard.max(self.asked);
        if !self.unanswered.is_empty() && since.elapsed() >= limit {
            return Some(Ended::Lost(format!(
                "the server says nothing for {limit:?}"
            )));
        }
        if self.channels.has_listeners() {
            self.unused = None;
            return None;
        }
        let unused = *self.unused.get_or_insert_with(Instant::now);
        let linger = match server.idle_timeout {
            Duration::ZERO => LINGER,
            limit => limit,
        };
        (unused.elapsed() >= linger).then_some(Ended::Unused)
    }

    /// Sends what is asked for, and asks for something if the server has been silent for long.
    async fn say(&mut self) -> Result<(), String> {
        let mut out = Vec::new();
        for command in self
            .channels
            .take_commands(UNANSWERED_MAX.saturating_sub(self.unanswered.len()))
        {
            let asked = match command {
                Command::Listen {
                    channel,
                    written,
                    client,
                    reply,
                } => {
                    encode::query(&mut out, format!("LISTEN {written}").as_bytes());
                    Some(Ask {
                        channel,
                        client,
                        reply,
                    })
                }
                Command::Unlisten(channel) => {
                    let quoted = channel.replace('"', "\"\"");
                    encode::query(&mut out, format!("UNLISTEN \"{quoted}\"").as_bytes());
                    None
                }
            };
            self.await_answer(asked);
        }
        let delay = self.pool.settings().database.server.check_delay;
        if self.unanswered.is_empty() && self.heard.elapsed() >= delay.max(TICK) {
            encode::query(&mut out, b"SELECT 1");
            self.await_answer(None);
        }
        if out.is_empty() {
            return Ok(());
        }
        let limit = self.pool.settings().database.server.connect_timeout;
        let written = timeout(limit, async {
            self.server.stream.write_all(&out).await?;
            self.server.stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the server takes nothing".to_owned()),
        }
    }

    fn await_answer(&mut self, asked: Option<Ask>) {
        if self.unanswered.is_empty() {
            self.asked = Instant::now();
        }
        self.unanswered.push_back(Unanswered {
            asked,
            notices: Vec::new(),
            error: None,
        });
    }

    /// Until they have taken enough, or take nothing: the server keeps what is still to come.
    async fn wait_for(&mut self, mut behind: Vec<Arc<Subscriber>>) {
        while !behind.is_empty() {
            sleep(PAUSE).await;
            let now = Instant::now();
            behind.retain(|subscriber| subscriber.is_behind(now));
            // Nobody has listened to the server.
            self.heard = now;
        }
    }

    /// Deals with what has come. Gives those who are to be waited for.
    fn hear(&mut self) -> Result<Vec<Arc<Subscriber>>, String> {
        self.heard = Instant::now();
        let mut events = Vec::new();
        let heard = loop {
            match frame::header(&self.inbox) {
                Err(error) => break Err(error.to_string()),
                Ok(Some(header)) if header.total > MESSAGE_MAX => {
                    break Err(format!("a message of {} bytes", header.total));
                }
                Ok(Some(header)) if self.inbox.len() >= header.total => {
                    let message = self.inbox.split_to(header.total);
                    if let Err(why) = self.message(header.tag, &message, &mut events) {
                        break Err(why);
                    }
                }
                Ok(_) => break Ok(()),
            }
        };
        if self.inbox.is_empty() && self.inbox.capacity() > 4 * CHUNK {
            self.inbox = BytesMut::new();
        }
        let behind = self.channels.happened(events);
        heard.map(|()| behind)
    }

    fn message(&mut self, tag: u8, message: &[u8], events: &mut Vec<Event>) -> Result<(), String> {
        let mut body = message;
        body.advance(HEADER);
        match (tag, self.unanswered.front_mut()) {
            (b'A', _) => {
                let channel = backend::notification_channel(body)
                    .and_then(|name| std::str::from_utf8(name).ok())
                    .ok_or("a notification that cannot be read")?;
                events.push(Event::Notification {
                    channel: channel.to_owned(),
                    message: message.into(),
                });
            }
            (b'Z', Some(_)) => {
                if body != b"I" {
                    return Err("it is in a transaction".to_owned());
                }
                events.extend(self.unanswered.pop_front().and_then(Unanswered::event));
            }
            (b'E', head) => {
                let fields = backend::error_fields(body);
                let refusal = Refusal {
                    code: String::from_utf8_lossy(fields.code).into_owned(),
                    message: String::from_utf8_lossy(fields.message).into_owned(),
                    fault: None,
                };
                match head {
                    Some(unanswered) if fields.severity == b"ERROR" => {
                        unanswered.error = Some(refusal);
                    }
                    _ => self.last_words = Some(refusal.message),
                }
            }
            (b'N', Some(unanswered)) => unanswered.notices.extend_from_slice(message),
            (b'N' | b'S', _) | (b'C' | b'T' | b'D', Some(_)) => {}
            (tag, _) => return Err(format!("unexpected message {:?}", char::from(tag))),
        }
        Ok(())
    }
}

impl Unanswered {
    /// The server is ready for the next.
    fn event(self) -> Option<Event> {
        let ask = self.asked?;
        Some(Event::Answered {
            channel: ask.channel,
            client: ask.client,
            reply: ask.reply,
            answer: match self.error {
                Some(refusal) => Err(refusal),
                None => Ok(self.notices),
            },
        })
    }
}
