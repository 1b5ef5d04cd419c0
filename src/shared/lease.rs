//! Strict consistency: other instances are told before a write begins to be committed, and again
//! before it is acknowledged.
//!
//! A relation that is being written has a lease: nobody finds or stores answers that depend on it. Who
//! cannot reach Redis waits until the others have missed it, and so bypass their caches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::session::SessionError;
use super::{Tier, keys};
use crate::cache::Oid;
use crate::cache::caches::Caches;
use crate::cache::space::Space;

/// What clients wait for.
#[derive(Debug)]
pub(super) enum Request {
    /// These are about to be written.
    Lease {
        space: Arc<Space>,
        oids: Vec<Oid>,
        done: oneshot::Sender<()>,
    },
    /// Everything that has changed so far is to be told.
    Tell { done: oneshot::Sender<()> },
}

impl Tier {
    /// Ready when all others know that these are being written, or bypass.
    pub fn lease(self: &Arc<Tier>, space: Arc<Space>, oids: Vec<Oid>) -> oneshot::Receiver<()> {
        self.request(|done| Request::Lease { space, oids, done })
    }

    /// Ready when all others know what has changed here, or bypass.
    pub fn told(self: &Arc<Tier>) -> oneshot::Receiver<()> {
        self.request(|done| Request::Tell { done })
    }

    fn request(
        self: &Arc<Tier>,
        request: impl FnOnce(oneshot::Sender<()>) -> Request,
    ) -> oneshot::Receiver<()> {
        let (done, mut answered) = oneshot::channel();
        let (ready, waiting) = oneshot::channel();
        // There is an inbox for as long as there is a tier.
        let _ = self.requests.send(request(done));
        let tier = Arc::clone(self);
        self.control.spawn(async move {
            loop {
                let alone = tier.alone_in();
                match timeout(alone, &mut answered).await {
                    Ok(Ok(())) => break,
                    // Nobody will answer: the connection is lost.
                    Ok(Err(_)) => {
                        sleep(tier.alone_in()).await;
                        break;
                    }
                    Err(_) if tier.alone_in().is_zero() => break,
                    Err(_) => {}
                }
            }
            let _ = ready.send(());
        });
        waiting
    }

    /// After this time without another answer of Redis, the others have missed this instance and
    /// bypass.
    fn alone_in(&self) -> Duration {
        // A quarter more, for clocks that are not equally fast and for what was under way.
        let lapse = self.settings.max_lag * 5 / 4;
        let since = self
            .now()
            .saturating_sub(self.contact.load(Ordering::Relaxed));
        lapse.saturating_sub(Duration::from_millis(since))
    }

    /// Redis has answered what was asked at that moment.
    pub(super) fn touched(&self, answered: u64) {
        self.contact.fetch_max(answered, Ordering::Relaxed);
    }

    pub(super) fn member(&self) -> String {
        format!("{:016x}", self.id)
    }
}

/// Leases of these requests, in one go.
pub(super) async fn take(
    tier: &Tier,
    connection: &mut MultiplexedConnection,
    namespace: &str,
    leases: &[(Arc<Space>, Vec<Oid>)],
) -> Result<(), SessionError> {
    let member = tier.member();
    let own = keys::leases(namespace, &member);
    let mut pipe = redis::pipe();
    for (space, oids) in leases {
        // What is over by now was asked for before the connection was lost.
        for oid in oids.iter().filter(|oid| space.is_pending(**oid)) {
            let key = keys::lease(namespace, &space.name, *oid);
            pipe.cmd("SADD").arg(&own).arg(&key).ignore();
            pipe.cmd("SADD").arg(&key).arg(&member).ignore();
            pipe.cmd("EXPIRE").arg(&key).arg(keys::LIFE).ignore();
        }
    }
    pipe.cmd("EXPIRE").arg(&own).arg(keys::LIFE).ignore();
    Ok(pipe.exec_async(connection).await?)
}

/// After a connection was lost: what is being written now.
pub(super) async fn take_all(
    tier: &Tier,
    caches: &Caches,
    connection: &mut MultiplexedConnection,
    namespace: &str,
) -> Result<(), SessionError> {
    let pending = caches.spaces().into_iter().map(|space| {
        let oids = space.pending();
        (space, oids)
    });
    let pending: Vec<_> = pending.filter(|(_, oids)| !oids.is_empty()).collect();
    if tier.is_strict() && !pending.is_empty() {
        take(tier, connection, namespace, &pending).await?;
    }
    Ok(())
}

/// Adds to a pipeline the end of the lease of what is not being written any longer.
pub(super) fn give_back(
    tier: &Tier,
    pipe: &mut redis::Pipeline,
    namespace: &str,
    space: &Space,
    oid: Oid,
) {
    if tier.is_strict() && !space.is_pending(oid) {
        let member = tier.member();
        let key = keys::lease(namespace, &space.name, oid);
        pipe.cmd("SREM").arg(&key).arg(&member).ignore();
        let own = keys::leases(namespace, &member);
        pipe.cmd("SREM").arg(own).arg(&key).ignore();
    }
}

/// A member is given up: what it was writing is what everybody forgets.
pub(super) async fn give_up(
    connection: &mut MultiplexedConnection,
    namespace: &str,
    member: &str,
) -> Result<(), SessionError> {
    let own = keys::leases(namespace, member);
    let mut members = redis::cmd("SMEMBERS");
    let held: Vec<String> = members.arg(&own).query_async(connection).await?;
    let mut pipe = redis::pipe();
    for key in held {
        pipe.cmd("SREM").arg(key).arg(member).ignore();
    }
    pipe.cmd("DEL").arg(own).ignore();
    Ok(pipe.exec_async(connection).await?)
}
