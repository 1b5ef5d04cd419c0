//! A connection to Redis for as long as it lasts: telling, hearing, beating.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::keys::{self, Said};
use super::lease::{self, Request};
use super::{Link, Tier};
use crate::cache::caches::Caches;
use crate::cache::outbox::SCHEMA;
use crate::cache::space::Space;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Without a beat that comes back for so long, the connection is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// So much of what has changed is told in one message.
const AT_ONCE: usize = 1000;

#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("no answer for {0:?}")]
    Silent(Duration),
    #[error("{0}")]
    Other(&'static str),
}

/// The last beat that was sent.
struct Beat {
    number: u64,
    /// Everything that others committed before it is known when it comes back.
    known: u64,
    outstanding: bool,
}

pub(super) async fn hold(tier: &Tier, caches: &Caches) -> Result<Infallible, SessionError> {
    let client = redis::Client::open(&*tier.settings.url)?;
    let answer_limit = tier.settings.max_lag.max(Duration::from_secs(1));
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_LIMIT))
        .set_response_timeout(Some(answer_limit));
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let namespace = namespace(tier, &mut connection).await?;
    let listening = timeout(CONNECT_LIMIT, client.get_async_pubsub()).await;
    let mut listening = listening.map_err(|_| SessionError::Silent(CONNECT_LIMIT))??;
    listening.subscribe(keys::channel(&namespace)).await?;
    let mut messages = listening.into_on_message();
    let mut requests = tier.inbox.lock().await;
    // What was told before is not heard any more.
    forget_all(caches);
    lease::take_all(tier, caches, &mut connection, &namespace).await?;
    tell(tier, caches, &mut connection, &namespace).await?;
    tier.link.store(Some(Arc::new(Link {
        connection: connection.clone(),
        namespace: namespace.clone(),
    })));
    tracing::info!("the shared cache is connected");

    let mut beats = interval((tier.settings.max_lag / 4).max(Duration::from_millis(25)));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beat = Beat {
        number: 0,
        known: 0,
        outstanding: false,
    };
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            message = messages.next() => {
                let message = message.ok_or(SessionError::Other("the subscription has ended"))?;
                let Some((id, said)) = keys::decode(message.get_payload_bytes()) else { continue };
                match said {
                    Said::Beat(number) if id == tier.id && number == beat.number => {
                        beat.outstanding = false;
                        heard = Instant::now();
                        tier.follow.known(beat.known, tier.settings.max_lag.as_millis() as u64);
                    }
                    Said::Beat(_) => {}
                    _ if id == tier.id => {}
                    said => {
                        tier.counters.heard.fetch_add(1, Ordering::Relaxed);
                        apply(caches, &said);
                    }
                }
            }
            Some(request) = requests.recv() => {
                let mut all = vec![request];
                while let Ok(another) = requests.try_recv() {
                    all.push(another);
                }
                serve(tier, caches, &mut connection, &namespace, all).await?;
            }
            () = tier.bell.notified() => tell(tier, caches, &mut connection, &namespace).await?,
            _ = beats.tick() => {
                if heard.elapsed() > PATIENCE {
                    return Err(SessionError::Silent(PATIENCE));
                }
                if !beat.outstanding {
                    beat = send_beat(tier, caches, &mut connection, &namespace, beat.number + 1).await?;
                }
            }
        }
    }
}

/// What clients wait for.
async fn serve(
    tier: &Tier,
    caches: &Caches,
    connection: &mut MultiplexedConnection,
    namespace: &str,
    requests: Vec<Request>,
) -> Result<(), SessionError> {
    let (mut leases, mut dones) = (Vec::new(), Vec::new());
    for request in requests {
        match request {
            Request::Lease { space, oids, done } => {
                leases.push((space, oids));
                dones.push(done);
            }
            Request::Tell { done } => dones.push(done),
        }
    }
    if !leases.is_empty() {
        lease::take(tier, connection, namespace, &leases).await?;
    }
    tell(tier, caches, connection, namespace).await?;
    // A client that is gone does not wait.
    for done in dones {
        let _ = done.send(());
    }
    Ok(())
}

/// The prefix, and the server's run id.
async fn namespace(
    tier: &Tier,
    connection: &mut MultiplexedConnection,
) -> Result<String, SessionError> {
    let info: String = redis::cmd("INFO")
        .arg("server")
        .query_async(connection)
        .await?;
    let id = info.lines().find_map(|line| line.strip_prefix("run_id:"));
    let id = id.ok_or(SessionError::Other("INFO server has no run_id"))?;
    Ok(format!("{}:{}", tier.settings.prefix, id.trim()))
}

/// Tells what has changed here.
pub(super) async fn tell(
    tier: &Tier,
    caches: &Caches,
    connection: &mut MultiplexedConnection,
    namespace: &str,
) -> Result<(), SessionError> {
    for space in caches.spaces() {
        let Some(outbox) = space.outbox() else {
            continue;
        };
        let oids = outbox.take();
        if oids.is_empty() {
            continue;
        }
        for some in oids.chunks(AT_ONCE) {
            let mut pipe = redis::pipe();
            for oid in some {
                let key = keys::generation(namespace, &space.name, *oid);
                tier.set_generation(&mut pipe, &key);
                lease::give_back(tier, &mut pipe, namespace, &space, *oid);
            }
            let said = Said::Changed {
                space: space.name.to_string(),
                oids: some.to_vec(),
            };
            publish(tier, &mut pipe, namespace, &said);
            pipe.exec_async(connection).await?;
        }
        outbox.sent();
    }
    Ok(())
}

fn publish(tier: &Tier, pipe: &mut redis::Pipeline, namespace: &str, said: &Said) {
    let message = keys::encode(tier.id, said);
    pipe.cmd("PUBLISH").arg(keys::channel(namespace));
    pipe.arg(&message[..]).ignore();
}

type Time = (u64, u64);

/// Says that everything was told that had changed before, asks whether all members have, and sends a
/// beat behind it.
async fn send_beat(
    tier: &Tier,
    caches: &Caches,
    connection: &mut MultiplexedConnection,
    namespace: &str,
    number: u64,
) -> Result<Beat, SessionError> {
    let asked = tier.now();
    // By the clock that all have in common.
    let before: Time = redis::cmd("TIME").query_async(connection).await?;
    // The others count from the moment that this answer tells.
    tier.touched(tier.now());
    tell(tier, caches, connection, namespace).await?;
    let members = keys::members(namespace);
    let mut pipe = redis::pipe();
    pipe.cmd("ZADD").arg(&members).arg(millis(before));
    pipe.arg(tier.member()).ignore();
    pipe.cmd("ZRANGE")
        .arg(&members)
        .arg(0)
        .arg(0)
        .arg("WITHSCORES");
    pipe.cmd("TIME");
    publish(tier, &mut pipe, namespace, &Said::Beat(number));
    let (oldest, now): (Vec<(String, f64)>, Time) = pipe.query_async(connection).await?;
    let now = millis(now);
    let told = oldest.first().map_or(0, |(_, score)| *score as u64);
    let age = now.saturating_sub(told);
    let most = tier.settings.member_timeout.as_millis() as u64;
    if age > most {
        let (name, _) = oldest.first().cloned().unwrap_or_default();
        tracing::warn!(
            member = name,
            silent_ms = age,
            "an instance has not said for too long what it changes: everything is forgotten"
        );
        lease::give_up(connection, namespace, &name).await?;
        give_up(tier, connection, namespace, told).await?;
        forget_all(caches);
    }
    Ok(Beat {
        number,
        known: asked.saturating_sub(age),
        outstanding: true,
    })
}

/// Who has been silent since that moment is no member any longer; what it may have changed is
/// forgotten by all. Another one's turn comes with the next beat.
async fn give_up(
    tier: &Tier,
    connection: &mut MultiplexedConnection,
    namespace: &str,
    since: u64,
) -> Result<(), SessionError> {
    let mut pipe = redis::pipe();
    tier.set_generation(&mut pipe, &keys::all(namespace));
    publish(tier, &mut pipe, namespace, &Said::Everything);
    pipe.cmd("ZREMRANGEBYSCORE").arg(keys::members(namespace));
    pipe.arg("-inf").arg(since).ignore();
    Ok(pipe.exec_async(connection).await?)
}

pub(super) async fn leave(
    tier: &Tier,
    connection: &mut MultiplexedConnection,
    namespace: &str,
) -> Result<(), SessionError> {
    let mut remove = redis::cmd("ZREM");
    remove.arg(keys::members(namespace));
    remove.arg(tier.member());
    Ok(remove.exec_async(connection).await?)
}

fn apply(caches: &Caches, said: &Said) {
    match said {
        Said::Changed { space, oids } => {
            let space = caches.spaces().into_iter().find(|s| *s.name == **space);
            if let Some(space) = space {
                oids.iter().for_each(|oid| space.changed_by_peer(*oid));
            }
        }
        Said::Everything => forget_all(caches),
        Said::Beat(_) => {}
    }
}

/// The memory tier; what is shared is another matter.
pub(super) fn forget_all(caches: &Caches) {
    // Among what was missed may have been a change of the schema.
    let forget = |space: Arc<Space>| space.changed_by_peer(SCHEMA);
    caches.spaces().into_iter().for_each(forget);
}

fn millis((seconds, micros): Time) -> u64 {
    seconds * 1000 + micros / 1000
}
