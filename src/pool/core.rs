//! Who gets a server connection: idle connections, waiting clients, limits.
//!
//! Pure: commands in, results out, time as an argument. Generic over the connection `S` and over
//! what wakes a waiter `W`, so that it can be driven by tests and a fuzzer.
//!
//! Each worker has a list of idle connections and a queue of its own; the numbers are common. A
//! connection that becomes free goes to the oldest waiter of the worker that frees it, unless a
//! waiter elsewhere has waited longer by more than [`Limits::patience`]; so workers rarely exchange
//! connections, and none starves.
//!
//! Where it matters who waits, clients ask with a [`Claim`], and wait in one queue for all workers (see
//! [`fair`]), behind those without one, who are few then.
//!
//! Invariant: while somebody waits, nothing is idle.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

mod connecting;
pub mod fair;
mod numbers;
mod pace;
pub mod places;

use fair::{Ask, Claim, Fair, Turned};
pub use numbers::Counts;
use pace::Pace;

/// What bounds the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections, in all states.
    pub size: usize,
    /// So many more when somebody has waited longer than `reserve_timeout`.
    pub reserve: usize,
    pub reserve_timeout: Duration,
    /// Most waiters; 0 is unlimited.
    pub max_queue: usize,
    /// How much longer a waiter elsewhere must have waited to be preferred to a local one.
    pub patience: Duration,
    /// Connections that may be in the making at once.
    pub max_connecting: usize,
    /// Hand out the connection that was idle longest instead of the one used last.
    pub round_robin: bool,
}

/// A place in the queue. It must be given back with [`Core::take`] or [`Core::cancel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    slot: u32,
    generation: u32,
}

#[derive(Debug)]
pub enum Checkout<S> {
    Ready(S),
    Wait(Ticket),
    /// The queue is full.
    Refused,
}

/// What has become of a [`Ticket`].
#[derive(Debug, PartialEq, Eq)]
pub enum Granted<S> {
    Server(S),
    /// Nobody can get a connection now; the pool knows why.
    Failed,
    NotYet,
}

#[derive(Debug)]
enum Slot<S, W> {
    Free,
    Waiting {
        waker: W,
        since: Instant,
        /// `None`: in the queue of its worker.
        claim: Option<Claim>,
    },
    Granted(S),
    WaitingForPlace {
        waker: W,
        since: Instant,
    },
    Place,
    Failed,
}

#[derive(Debug)]
struct Idle<S> {
    server: S,
    since: Instant,
}

#[derive(Debug)]
pub struct Core<S, W> {
    limits: Limits,
    /// By worker.
    idle: Vec<VecDeque<Idle<S>>>,
    /// By worker, oldest first. May hold tickets that were cancelled.
    queues: Vec<VecDeque<Ticket>>,
    /// Those with a claim.
    fair: Fair,
    pace: Pace,
    slots: Vec<(u32, Slot<S, W>)>,
    free_slots: Vec<u32>,
    idle_count: usize,
    lent: usize,
    connecting: usize,
    waiting: usize,
    /// Oldest first. May hold tickets that were cancelled.
    places: VecDeque<Ticket>,
    waiting_for_place: usize,
    /// Places that are given; they count as lent, too.
    own: usize,
    /// Nobody is given anything, and nothing is connected.
    held: bool,
}

impl<S, W: Clone> Core<S, W> {
    /// For `homes` workers, numbered from 0.
    pub fn new(limits: Limits, homes: usize) -> Core<S, W> {
        Core {
            limits,
            idle: (0..homes).map(|_| VecDeque::new()).collect(),
            queues: (0..homes).map(|_| VecDeque::new()).collect(),
            fair: Fair::default(),
            pace: Pace::default(),
            slots: Vec::new(),
            free_slots: Vec::new(),
            idle_count: 0,
            lent: 0,
            connecting: 0,
            waiting: 0,
            places: VecDeque::new(),
            waiting_for_place: 0,
            own: 0,
            held: false,
        }
    }

    /// Holds everything up, or lets it go; gives whom to wake then.
    pub fn hold(&mut self, held: bool, now: Instant) -> Vec<W> {
        self.held = held;
        let mut woken = Vec::new();
        if held {
            return woken;
        }
        for home in 0..self.idle.len() {
            while self.waiting > 0 {
                let Some(idle) = self.idle[home].pop_back() else {
                    break;
                };
                self.idle_count -= 1;
                woken.extend(self.free(home, idle.server, now));
            }
        }
        woken
    }

    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// A connection for a client of worker `home`; one for which `prefer` holds, if such a one is
    /// among the first few.
    #[inline]
    pub fn checkout(
        &mut self,
        home: usize,
        now: Instant,
        waker: &W,
        prefer: impl Fn(&S) -> bool,
    ) -> Checkout<S> {
        self.checkout_as(None, home, now, waker, prefer)
    }

    /// The same with a claim, which says when it is due if it must wait.
    #[inline]
    pub fn checkout_as(
        &mut self,
        claim: Option<Claim>,
        home: usize,
        now: Instant,
        waker: &W,
        prefer: impl Fn(&S) -> bool,
    ) -> Checkout<S> {
        if self.idle_count > 0
            && !self.held
            && let Some(server) = self.take_idle(home, prefer)
        {
            self.lent += 1;
            return Checkout::Ready(server);
        }
        if self.is_queue_full() {
            return Checkout::Refused;
        }
        Checkout::Wait(self.wait_as(claim, home, now, waker))
    }

    /// Whether a client may wait, if it would have to; the length of the whole queue is not looked at.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self, ask: &Ask) -> Result<(), Turned> {
        if self.held || self.idle_count > 0 {
            return Ok(());
        }
        let party = ask.claim.party;
        if ask.max_party > 0 && self.fair.waiting_of(party) >= ask.max_party {
            return Err(Turned::Party);
        }
        let Some(patience) = ask.patience else {
            return Ok(());
        };
        let plain = self.waiting - self.fair.waiting();
        match self.pace.expected(plain + self.fair.ahead(ask.claim)) {
            Some(expected) if expected > patience => Err(Turned::Hopeless(expected)),
            _ => Ok(()),
        }
    }

    fn is_queue_full(&self) -> bool {
        let waiting = self.waiting + self.waiting_for_place;
        self.limits.max_queue > 0 && waiting >= self.limits.max_queue
    }

    /// A place in the queue, full or not: for a client whose connection is only being checked.
    pub fn wait(&mut self, home: usize, now: Instant, waker: &W) -> Ticket {
        self.wait_as(None, home, now, waker)
    }

    /// The same with a claim.
    pub fn wait_as(
        &mut self,
        claim: Option<Claim>,
        home: usize,
        now: Instant,
        waker: &W,
    ) -> Ticket {
        let ticket = self.new_slot(Slot::Waiting {
            waker: waker.clone(),
            since: now,
            claim,
        });
        match claim {
            Some(claim) => self.fair.push(claim, ticket),
            None => {
                drop_stale(&mut self.queues[home], &self.slots, self.waiting);
                self.queues[home].push_back(ticket);
            }
        }
        self.waiting += 1;
        ticket
    }

    fn take_idle(&mut self, home: usize, prefer: impl Fn(&S) -> bool) -> Option<S> {
        /// How far to look for a preferred one.
        const LOOK: usize = 8;
        let homes = self.idle.len();
        for n in 0..homes {
            let list = &mut self.idle[(home + n) % homes];
            if list.is_empty() {
                continue;
            }
            let at = if self.limits.round_robin {
                let found = list.iter().take(LOOK).position(|i| prefer(&i.server));
                found.unwrap_or(0)
            } else {
                let found = list.iter().rev().take(LOOK).position(|i| prefer(&i.server));
                list.len() - 1 - found.unwrap_or(0)
            };
            self.idle_count -= 1;
            return list.remove(at).map(|i| i.server);
        }
        None
    }

    fn new_slot(&mut self, slot: Slot<S, W>) -> Ticket {
        if let Some(index) = self.free_slots.pop() {
            let (generation, free) = &mut self.slots[index as usize];
            *free = slot;
            return Ticket {
                slot: index,
                generation: *generation,
            };
        }
        self.slots.push((0, slot));
        Ticket {
            // One slot a waiting client; clients are far fewer than 2^32.
            slot: (self.slots.len() - 1) as u32,
            generation: 0,
        }
    }

    fn slot(&mut self, ticket: Ticket) -> Option<&mut Slot<S, W>> {
        let (generation, slot) = self.slots.get_mut(ticket.slot as usize)?;
        (*generation == ticket.generation).then_some(slot)
    }

    fn free_slot(&mut self, ticket: Ticket) -> Slot<S, W> {
        let (generation, slot) = &mut self.slots[ticket.slot as usize];
        *generation = generation.wrapping_add(1);
        self.free_slots.push(ticket.slot);
        std::mem::replace(slot, Slot::Free)
    }

    /// What has become of the wait. Unless [`Granted::NotYet`], the ticket is used up.
    pub fn take(&mut self, ticket: Ticket) -> Granted<S> {
        match self.slot(ticket) {
            Some(Slot::Waiting { .. }) => Granted::NotYet,
            Some(Slot::Granted(_) | Slot::Failed) => match self.free_slot(ticket) {
                Slot::Granted(server) => Granted::Server(server),
                _ => Granted::Failed,
            },
            // Used up, or a ticket for a place.
            Some(Slot::Free | Slot::WaitingForPlace { .. } | Slot::Place) | None => Granted::Failed,
        }
    }

    /// The client does not wait any longer. Gives the connection that was already its own: it
    /// must be released.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<S> {
        self.slot(ticket)?;
        match self.free_slot(ticket) {
            Slot::Waiting { claim, .. } => {
                self.waiting -= 1;
                if let Some(claim) = claim {
                    self.fair.remove(claim, ticket);
                }
                None
            }
            Slot::Granted(server) => Some(server),
            Slot::WaitingForPlace { .. } => {
                self.waiting_for_place -= 1;
                None
            }
            Slot::Place => {
                self.give_back_place();
                None
            }
            Slot::Failed | Slot::Free => None,
        }
    }

    /// A lent connection is free again. Gives whom to wake, if it went to a waiter.
    #[inline]
    pub fn release(&mut self, home: usize, server: S, now: Instant) -> Option<W> {
        self.lent -= 1;
        self.free(home, server, now)
    }

    /// A new connection is ready.
    pub fn connected(&mut self, home: usize, server: S, now: Instant) -> Option<W> {
        self.connecting -= 1;
        self.free(home, server, now)
    }

    fn free(&mut self, home: usize, server: S, now: Instant) -> Option<W> {
        if self.waiting > 0
            && !self.held
            && let Some(ticket) = self.next_waiter(home)
        {
            let (_, slot) = &mut self.slots[ticket.slot as usize];
            if let Slot::Waiting { waker, .. } = std::mem::replace(slot, Slot::Granted(server)) {
                self.waiting -= 1;
                self.lent += 1;
                self.pace.served(self.waiting, now);
                return Some(waker);
            }
            // next_waiter gives only tickets that wait.
            return None;
        }
        self.idle_count += 1;
        self.idle[home].push_back(Idle { server, since: now });
        None
    }

    /// Takes the waiter that is due for a connection freed on `home` out of its queue.
    fn next_waiter(&mut self, home: usize) -> Option<Ticket> {
        let plain = match self.waiting > self.fair.waiting() {
            true => self.next_plain(home),
            false => None,
        };
        plain.or_else(|| self.fair.next())
    }

    fn next_plain(&mut self, home: usize) -> Option<Ticket> {
        let local = self.oldest(home);
        let mut best = local.map(|since| (home, since));
        for other in (0..self.queues.len()).filter(|o| *o != home) {
            let Some(since) = self.oldest(other) else {
                continue;
            };
            let due = match best {
                None => true,
                Some((at, best)) if at == home => since + self.limits.patience < best,
                Some((_, best)) => since < best,
            };
            if due {
                best = Some((other, since));
            }
        }
        self.queues[best?.0].pop_front()
    }

    /// When the oldest waiter of a worker began to wait. Drops cancelled tickets before it.
    fn oldest(&mut self, home: usize) -> Option<Instant> {
        while let Some(&ticket) = self.queues[home].front() {
            if let Some(Slot::Waiting { since, .. }) = self.slot(ticket) {
                return Some(*since);
            }
            self.queues[home].pop_front();
        }
        None
    }

    /// A lent connection was closed instead of released.
    pub fn lost(&mut self) {
        self.lent -= 1;
    }

    /// A connection that comes from elsewhere is lent already.
    pub fn adopt(&mut self) {
        self.lent += 1;
    }

    /// Nobody can be served: all waiters are to be told. Gives whom to wake.
    pub fn fail_waiters(&mut self) -> Vec<W> {
        let mut wakers = Vec::new();
        let plain = self.queues.iter_mut().flat_map(|queue| queue.drain(..));
        for ticket in plain.chain(self.fair.drain()) {
            let (generation, slot) = &mut self.slots[ticket.slot as usize];
            if *generation != ticket.generation {
                continue;
            }
            if let Slot::Waiting { waker, .. } = std::mem::replace(slot, Slot::Failed) {
                wakers.push(waker);
                self.waiting -= 1;
            }
        }
        wakers
    }

    /// Takes out the idle connections for which `close` holds, but leaves `keep` in the pool.
    /// `close` is given how long the connection has been idle.
    pub fn close_idle(
        &mut self,
        now: Instant,
        keep: usize,
        mut close: impl FnMut(&mut S, Duration) -> bool,
    ) -> Vec<S> {
        let mut closed = Vec::new();
        let mut total = self.idle_count + self.lent;
        for list in &mut self.idle {
            let mut at = 0;
            while at < list.len() && total > keep {
                let idle = &mut list[at];
                let since = now.saturating_duration_since(idle.since);
                if close(&mut idle.server, since) {
                    closed.extend(list.remove(at).map(|i| i.server));
                    self.idle_count -= 1;
                    total -= 1;
                } else {
                    at += 1;
                }
            }
        }
        closed
    }

    /// More connections than the limits allow, after they were lowered.
    pub fn is_over_limit(&self) -> bool {
        self.idle_count + self.lent > self.limits.size + self.limits.reserve
    }

    #[inline]
    pub fn waiting(&self) -> usize {
        self.waiting
    }
}

/// Takes the tickets of those who have given up out of a queue, when there are many for `live` that
/// wait: they would pile up behind one that waits on.
fn drop_stale<S, W>(queue: &mut VecDeque<Ticket>, slots: &[(u32, Slot<S, W>)], live: usize) {
    /// So few are not worth it.
    const FEW: usize = 64;
    if queue.len() >= 2 * live + FEW {
        queue.retain(|ticket| slots[ticket.slot as usize].0 == ticket.generation);
    }
}

#[cfg(test)]
mod tests;
