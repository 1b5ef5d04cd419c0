//! A server connection for pgweir's own use, on the control runtime.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use super::connect::Outage;
use super::core::{Checkout, Granted, Ticket};
use super::{Pool, recycle};
use crate::server::{Activity, Server};
use crate::session::settings::Settings;
use crate::worker::Home;

/// No server connection was to be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaseError {
    #[error("too many clients wait for a server connection (max_queue)")]
    QueueFull,
    #[error("{}", .0.message)]
    Outage(Outage),
    #[error("connection to server lost: {0}")]
    Lost(String),
}

/// A lent connection. It must be finished with [`Lease::release`]; dropped otherwise, it is
/// closed.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    server: Option<Box<Server>>,
}

/// Gives the ticket back if the future that waits is dropped.
struct Waiting {
    pool: Arc<Pool>,
    ticket: Option<Ticket>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.pool.cancel_wait(ticket, Home::Control);
        }
    }
}

impl Pool {
    /// Waits for a connection; cancel by dropping.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn lease(self: &Arc<Pool>) -> Result<Lease, LeaseError> {
        let mut waiting = Waiting {
            pool: Arc::clone(self),
            ticket: None,
        };
        let server = poll_fn(|cx| match waiting.ticket {
            None => {
                let now = Instant::now();
                match self.checkout(Home::Control, now, cx.waker(), &Settings::default(), None) {
                    Ok(Checkout::Ready(server)) => Poll::Ready(Ok(server)),
                    Ok(Checkout::Refused) | Err(_) => Poll::Ready(Err(LeaseError::QueueFull)),
                    Ok(Checkout::Wait(ticket)) => {
                        waiting.ticket = Some(ticket);
                        Poll::Pending
                    }
                }
            }
            Some(ticket) => match self.take(ticket) {
                Granted::NotYet => Poll::Pending,
                Granted::Server(server) => {
                    waiting.ticket = None;
                    Poll::Ready(Ok(server))
                }
                Granted::Failed => {
                    waiting.ticket = None;
                    let outage = self.outage().unwrap_or(Outage {
                        code: "08006".to_owned(),
                        message: "no server connection".to_owned(),
                    });
                    Poll::Ready(Err(LeaseError::Outage(outage)))
                }
            },
        })
        .await?;
        let mut lease = Lease {
            pool: Arc::clone(self),
            server: Some(server),
        };
        let server = lease.server();
        server.info.set_activity(Activity::Tested, 0);
        server
            .move_to(Home::Control)
            .map_err(|e| LeaseError::Lost(e.to_string()))?;
        Ok(lease)
    }
}

impl Lease {
    pub fn server(&mut self) -> &mut Server {
        // Taken only by release() and drop(), which end the lease.
        self.server.as_mut().expect("a lease has its server")
    }

    /// Gives the connection back to the pool. It must be in step and in no transaction.
    pub fn release(mut self) {
        if let Some(server) = self.server.take() {
            if server.state.is_idle() {
                self.pool.release(server, Home::Control, Instant::now());
            } else {
                self.pool.recycle(server, recycle::Work::RollBack);
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.pool.discard(server, "abandoned by its user");
        }
    }
}
