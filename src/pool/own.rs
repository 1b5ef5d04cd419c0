//! Connections of one client's own: made for it with its startup parameters, and closed with it. They
//! count in the pool like all others.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Pool;
use super::budget::Permit;
use super::connect::Outage;
use super::core::Ticket;
use super::core::places::{GivenPlace, Place};
use super::lease::LeaseError;
use crate::protocol::startup::Replication;
use crate::server::connect::ConnectError;
use crate::server::{Activity, Server};
use crate::telemetry::refusals::Reason;
use crate::worker::Home;

/// Why an idle connection is closed for one of these.
pub(super) const EVICTED: &str = "evicted for pool_size";
/// While a limit beyond the pool allows no connection, it is asked again this often.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// After a login that failed, but may succeed later.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// There is no connection.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    #[error(transparent)]
    NoPlace(#[from] LeaseError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Who wants a connection, and what it is to be like.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The client's number.
    pub client: u64,
    pub replication: Replication,
    /// Startup parameters that go behind the pool's own.
    pub parameters: &'a [(String, String)],
}

/// A connection of one client's own; closed when it is dropped.
#[derive(Debug)]
pub struct OwnConnection {
    place: GivenTo,
    /// Taken only when it ends.
    server: Option<Box<Server>>,
    why: &'static str,
}

/// A place in the pool, given back when it is dropped.
#[derive(Debug)]
struct GivenTo(Arc<Pool>);

/// Gives the ticket back if the future that waits is dropped.
struct Waiting<'a> {
    pool: &'a Arc<Pool>,
    ticket: Option<Ticket>,
}

impl Pool {
    /// Makes a connection for one client; waits for room. Cancel by dropping.
    ///
    /// # Errors
    /// [`OwnError`]; a login that fails for a passing reason is tried again for `server_login_retry`.
    pub async fn own(self: &Arc<Pool>, wanted: &Wanted<'_>) -> Result<OwnConnection, OwnError> {
        let began = Instant::now();
        let place = self.place().await?;
        let shard = self.shard(Home::Control);
        shard.times.wait.observe(began.elapsed().as_micros() as u64);
        let began = Instant::now();
        let server = loop {
            let permit = self.permit().await?;
            let made = self.log_in(permit, wanted.replication, wanted.parameters);
            let patience = self.settings().database.server.login_retry;
            match made.await {
                Ok(server) => break server,
                Err(error) if error.is_transient() && began.elapsed() < patience => {
                    tracing::debug!(pool = ?self, %error, "replication connection: trying again");
                    sleep(TRY_AGAIN).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        shard.assignments.add(1);
        server.info.set_activity(Activity::Active, wanted.client);
        Ok(OwnConnection {
            place,
            server: Some(Box::new(server)),
            why: "client login failed",
        })
    }

    async fn place(self: &Arc<Pool>) -> Result<GivenTo, LeaseError> {
        let mut waiting = Waiting {
            pool: self,
            ticket: None,
        };
        poll_fn(|cx| {
            let ticket = match waiting.ticket {
                Some(ticket) => ticket,
                None if self.is_closed() => return Poll::Ready(Err(self.no_place())),
                None => {
                    let asked = self.core.lock().wait_for_place(Instant::now(), cx.waker());
                    let Some(ticket) = asked else {
                        self.shared.refusals.count(Reason::Queue);
                        return Poll::Ready(Err(LeaseError::QueueFull));
                    };
                    waiting.ticket = Some(ticket);
                    self.give_places();
                    ticket
                }
            };
            let place = self.core.lock().take_place(ticket);
            match place {
                Place::NotYet => return Poll::Pending,
                Place::Given | Place::Failed => waiting.ticket = None,
            }
            Poll::Ready(match place {
                Place::Given => Ok(GivenTo(Arc::clone(self))),
                _ => Err(self.no_place()),
            })
        })
        .await
    }

    fn no_place(&self) -> LeaseError {
        LeaseError::Outage(self.outage().unwrap_or(Outage {
            code: "08006".to_owned(),
            message: "no server connection".to_owned(),
        }))
    }

    /// Waits until the limits beyond the pool allow a connection.
    async fn permit(&self) -> Result<Permit, LeaseError> {
        loop {
            if self.is_closed() {
                return Err(self.no_place());
            }
            match Permit::acquire(&self.budgets) {
                Ok(permit) => return Ok(permit),
                Err(_) => sleep(ASK_AGAIN).await,
            }
        }
    }

    /// Gives places to those who wait for one, as far as there is room.
    pub(super) fn give_places(&self) {
        loop {
            let given = self.core.lock().give_place(Instant::now());
            let Some(GivenPlace { waker, evicted }) = given else {
                return;
            };
            for server in evicted {
                self.log_closing(&server, EVICTED);
            }
            Waker::wake(waker);
        }
    }
}

impl OwnConnection {
    pub fn pool(&self) -> &Arc<Pool> {
        &self.place.0
    }

    pub fn server(&mut self) -> &mut Server {
        // Taken only by drop().
        self.server.as_mut().expect("a connection has its server")
    }

    /// Why it is going to be closed, for the log.
    pub fn closes_because(&mut self, why: &'static str) {
        self.why = why;
    }
}

impl Drop for OwnConnection {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let pool = self.pool();
            pool.shard(Home::Control).discards.add(1);
            pool.log_closing(&server, self.why);
        }
    }
}

impl Drop for GivenTo {
    fn drop(&mut self) {
        self.0.core.lock().give_back_place();
        self.0.room_made();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.pool.core.lock().cancel(ticket);
            // It may have been given a place that it has not seen.
            self.pool.room_made();
        }
    }
}
