//! Getting a server connection: one that is idle and fit, or a place in the queue.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::core::Checkout;
use super::core::fair::{Ask, Turned};
use super::{Pool, recycle};
use crate::server::Server;
use crate::session::settings::Settings;
use crate::telemetry::refusals::Reason;
use crate::worker::Home;

enum Fitness {
    Fit,
    Dead(&'static str),
    /// Unused for so long that it must prove that it works.
    Unproved,
}

impl Pool {
    /// A server connection for a client on `home`, if possible one that has `wanted` set already. If it
    /// must wait, it does so as `ask` says.
    ///
    /// # Errors
    /// Why it may not wait.
    pub fn checkout(
        self: &Arc<Pool>,
        home: Home,
        now: Instant,
        waker: &Waker,
        wanted: &Settings,
        ask: Option<&Ask>,
    ) -> Result<Checkout<Box<Server>>, Turned> {
        let index = home.index(self.shared.workers);
        loop {
            let (outcome, starved) = {
                let mut core = self.core.lock();
                let prefer = |s: &Server| s.state.settings.as_ref().is_some_and(|s| s.same(wanted));
                if let Some(ask) = ask {
                    core.admits(ask)
                        .inspect_err(|why| self.count_turned(*why))?;
                }
                let claim = ask.map(|ask| ask.claim);
                let outcome = core.checkout_as(claim, index, now, waker, |s| prefer(s));
                let waits = matches!(outcome, Checkout::Wait(_));
                (outcome, waits && core.may_connect())
            };
            match outcome {
                Checkout::Ready(server) => match self.fitness(&server, now) {
                    Fitness::Fit => return Ok(Checkout::Ready(server)),
                    Fitness::Dead(why) => self.discard(server, why),
                    Fitness::Unproved => {
                        // In the queue first: the check may be over at once.
                        let claim = ask.map(|ask| ask.claim);
                        let ticket = self.core.lock().wait_as(claim, index, now, waker);
                        self.recycle(server, recycle::Work::Check);
                        return Ok(Checkout::Wait(ticket));
                    }
                },
                Checkout::Refused => {
                    self.shared.refusals.count(Reason::Queue);
                    return Ok(Checkout::Refused);
                }
                waiting => {
                    if starved {
                        self.connect_more();
                    }
                    return Ok(waiting);
                }
            }
        }
    }

    fn count_turned(&self, why: Turned) {
        self.shared.refusals.count(match why {
            Turned::Party => Reason::UserQueue,
            Turned::Hopeless(_) => Reason::ExpectedWait,
        });
    }

    /// Whether a connection that was idle can be used as it is.
    fn fitness(&self, server: &Server, now: Instant) -> Fitness {
        if self.is_obsolete(server) {
            return Fitness::Dead("obsolete connection");
        }
        if self.is_lost(server) {
            return Fitness::Dead("server closed the connection");
        }
        let delay = self.settings.load().database.server.check_delay;
        // Zero: each time.
        if delay.is_zero() || now.saturating_duration_since(server.checked) > delay {
            return Fitness::Unproved;
        }
        Fitness::Fit
    }
    /// Whether a connection on which nothing is going on is gone. An idle server has nothing to say:
    /// data or end of file both mean that, or that it is in a state that we do not know.
    pub fn is_lost(&self, server: &Server) -> bool {
        let lost = server.stream.has_news();
        if lost {
            self.forget_answers();
        }
        lost
    }
}
