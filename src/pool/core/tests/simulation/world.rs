//! The pool, those who use it as [`crate::pool::Pool`] does, and what must be so.

use super::*;

const HOMES: usize = 3;
const CLIENTS: u32 = 24;

/// Where a client stands, as far as it knows or, for what is granted, as we know.
#[derive(Debug, Clone, Copy)]
enum Client {
    Away,
    /// `order` is when it came, among those of its worker.
    Waiting {
        home: usize,
        ticket: Ticket,
        since: Instant,
        order: u64,
    },
    /// It was woken and has not looked yet.
    Granted {
        home: usize,
        ticket: Ticket,
        server: u32,
    },
    Failed {
        ticket: Ticket,
    },
    Has {
        home: usize,
        server: u32,
    },
    WaitingForPlace {
        ticket: Ticket,
        since: Instant,
        order: u64,
    },
    GivenPlace {
        ticket: Ticket,
    },
    PlaceFailed {
        ticket: Ticket,
    },
    HasPlace,
}

pub struct World {
    core: Core<u32, u32>,
    random: Random,
    now: Instant,
    limits: Limits,
    held: bool,
    clients: BTreeMap<u32, Client>,
    /// Since when each idle connection has been so.
    idle: BTreeMap<u32, Instant>,
    connecting: usize,
    next_server: u32,
    next_order: u64,
}

impl World {
    pub fn new(mut random: Random) -> World {
        let limits = World::some_limits(&mut random);
        World {
            core: Core::new(limits, HOMES),
            now: Instant::now(),
            limits,
            random,
            held: false,
            clients: (0..CLIENTS).map(|id| (id, Client::Away)).collect(),
            idle: BTreeMap::new(),
            connecting: 0,
            next_server: 0,
            next_order: 0,
        }
    }

    fn some_limits(random: &mut Random) -> Limits {
        Limits {
            size: 1 + random.below(6),
            reserve: random.below(3),
            reserve_timeout: Duration::from_millis(50),
            max_queue: [0, 0, 1, 5, 15][random.below(5)],
            patience: Duration::from_millis(5),
            max_connecting: 1 + random.below(4),
            round_robin: random.once_in(2),
        }
    }

    /// Something happens.
    pub fn step(&mut self) {
        let id = self.random.below(CLIENTS as usize) as u32;
        match self.random.below(40) {
            0..=19 => self.act(id),
            20..=24 => self.login_ends(),
            25..=28 => self.connect_more(),
            29..=33 => self.now += Duration::from_micros(self.random.below(8000) as u64),
            34 => self.now += Duration::from_millis(60),
            35 => self.change_limits(),
            36 => self.pause_or_resume(),
            37 => self.close_idle(),
            38 if self.random.once_in(3) => self.tell_waiters(),
            39 if self.random.once_in(4) => self.tell_those_without_a_place(),
            _ => {}
        }
    }

    /// A client does what it may do next.
    fn act(&mut self, id: u32) {
        match self.clients[&id] {
            Client::Away if self.random.once_in(6) => self.ask_for_place(id),
            Client::Away => self.check_out(id),
            Client::Waiting { home, ticket, .. } => {
                if self.random.once_in(3) {
                    assert_eq!(self.core.cancel(ticket), None, "it has nothing yet");
                    self.clients.insert(id, Client::Away);
                } else {
                    assert_eq!(self.core.take(ticket), Granted::NotYet, "{home}");
                }
            }
            Client::Granted {
                home,
                ticket,
                server,
            } => {
                if self.random.once_in(4) {
                    // It gives up in the very moment.
                    assert_eq!(self.core.cancel(ticket), Some(server));
                    self.clients.insert(id, Client::Has { home, server });
                    return self.give_back(id);
                }
                assert_eq!(self.core.take(ticket), Granted::Server(server));
                assert_eq!(self.core.take(ticket), Granted::Failed, "it is used up");
                self.clients.insert(id, Client::Has { home, server });
            }
            Client::Failed { ticket } => {
                assert_eq!(self.core.take(ticket), Granted::Failed);
                self.clients.insert(id, Client::Away);
            }
            Client::Has { .. } if self.random.once_in(5) => {
                self.core.lost();
                self.clients.insert(id, Client::Away);
                self.connect_more();
            }
            Client::Has { .. } => self.give_back(id),
            Client::WaitingForPlace { ticket, .. } => {
                if self.random.once_in(3) {
                    assert_eq!(self.core.cancel(ticket), None);
                    self.clients.insert(id, Client::Away);
                } else {
                    assert_eq!(self.core.take_place(ticket), Place::NotYet);
                }
            }
            Client::GivenPlace { ticket } if self.random.once_in(4) => {
                assert_eq!(self.core.cancel(ticket), None);
                self.clients.insert(id, Client::Away);
                self.connect_more();
            }
            Client::GivenPlace { ticket } => {
                assert_eq!(self.core.take_place(ticket), Place::Given);
                self.clients.insert(id, Client::HasPlace);
            }
            Client::PlaceFailed { ticket } => {
                assert_eq!(self.core.take_place(ticket), Place::Failed);
                self.clients.insert(id, Client::Away);
            }
            Client::HasPlace => {
                self.core.give_back_place();
                self.clients.insert(id, Client::Away);
                self.connect_more();
            }
        }
    }

    fn order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }

    fn check_out(&mut self, id: u32) {
        let home = self.random.below(HOMES);
        let waiting = self.waiting();
        let wanted = self.random.below(4) as u32;
        let outcome = self
            .core
            .checkout(home, self.now, &id, |server| server % 4 == wanted);
        match outcome {
            Checkout::Ready(server) => {
                assert!(!self.held, "nothing is given while it is held up");
                assert!(self.idle.remove(&server).is_some(), "{server} was not idle");
                self.clients.insert(id, Client::Has { home, server });
            }
            Checkout::Wait(ticket) => {
                assert!(
                    self.held || self.idle.is_empty(),
                    "it waits beside idle ones"
                );
                assert!(self.limits.max_queue == 0 || waiting < self.limits.max_queue);
                let (since, order) = (self.now, self.order());
                let waits = Client::Waiting {
                    home,
                    ticket,
                    since,
                    order,
                };
                self.clients.insert(id, waits);
                if self.core.may_connect() {
                    self.connect_more();
                }
            }
            Checkout::Refused => {
                assert!(self.limits.max_queue > 0 && waiting >= self.limits.max_queue);
            }
        }
    }

    /// As `Pool::release` does it.
    fn give_back(&mut self, id: u32) {
        let Client::Has { home, server } = self.clients[&id] else {
            panic!("{id} has nothing");
        };
        self.clients.insert(id, Client::Away);
        if self.core.is_over_limit() || self.core.wants_place() {
            self.core.lost();
            return self.connect_more();
        }
        let woken = self.core.release(home, server, self.now);
        self.freed(home, server, woken);
    }

    /// A connection was free on `home`: either the one that is due has it, or it is idle.
    fn freed(&mut self, home: usize, server: u32, woken: Option<u32>) {
        let Some(id) = woken else {
            assert!(
                self.held || self.oldest().is_none(),
                "somebody waits for it"
            );
            assert!(self.idle.insert(server, self.now).is_none());
            return;
        };
        assert!(!self.held, "nothing is given while it is held up");
        self.granted(home, id, server);
    }

    fn granted(&mut self, freed_on: usize, id: u32, server: u32) {
        let Client::Waiting {
            home,
            ticket,
            since,
            order,
        } = self.clients[&id]
        else {
            panic!("{id} is woken and does not wait: {:?}", self.clients[&id]);
        };
        let oldest = self.oldest().expect("this one waits");
        assert!(
            since <= oldest + self.limits.patience,
            "another one starves"
        );
        assert!(
            freed_on == home || self.oldest_of(freed_on).is_none_or(|local| since < local),
            "one elsewhere goes before the worker's own without need"
        );
        let first = self.waiters().filter(|(at, ..)| *at == home);
        let first = first.map(|(_, _, order)| order).min();
        assert_eq!(
            first,
            Some(order),
            "first come, first served by each worker"
        );
        let granted = Client::Granted {
            home,
            ticket,
            server,
        };
        self.clients.insert(id, granted);
    }

    fn waiters(&self) -> impl Iterator<Item = (usize, Instant, u64)> {
        self.clients.values().filter_map(|client| match client {
            Client::Waiting {
                home, since, order, ..
            } => Some((*home, *since, *order)),
            _ => None,
        })
    }

    fn oldest(&self) -> Option<Instant> {
        self.waiters().map(|(_, since, _)| since).min()
    }

    fn oldest_of(&self, home: usize) -> Option<Instant> {
        let waiters = self.waiters().filter(|(at, ..)| *at == home);
        waiters.map(|(_, since, _)| since).min()
    }

    fn waiting_for_place(&self) -> impl Iterator<Item = (u64, u32, Instant)> {
        self.clients.iter().filter_map(|(id, client)| match client {
            Client::WaitingForPlace { since, order, .. } => Some((*order, *id, *since)),
            _ => None,
        })
    }

    fn waiting(&self) -> usize {
        self.waiters().count() + self.waiting_for_place().count()
    }

    fn lent(&self) -> usize {
        let lent = self.clients.values().filter(|client| {
            matches!(
                client,
                Client::Granted { .. }
                    | Client::Has { .. }
                    | Client::GivenPlace { .. }
                    | Client::HasPlace
            )
        });
        lent.count()
    }

    fn total(&self) -> usize {
        self.idle.len() + self.lent() + self.connecting
    }

    fn ask_for_place(&mut self, id: u32) {
        let full = self.limits.max_queue > 0 && self.waiting() >= self.limits.max_queue;
        let ticket = self.core.wait_for_place(self.now, &id);
        assert_eq!(ticket.is_none(), full);
        let Some(ticket) = ticket else { return };
        let (since, order) = (self.now, self.order());
        let waits = Client::WaitingForPlace {
            ticket,
            since,
            order,
        };
        self.clients.insert(id, waits);
        self.connect_more();
    }

    fn give_places(&mut self) {
        while let Some(given) = self.core.give_place(self.now) {
            assert!(!self.held);
            let (_, first, since) = self.waiting_for_place().min().expect("one waits");
            assert_eq!(given.waker, first, "first come, first served");
            for server in given.evicted {
                let since = self.idle.remove(&server).expect("it was idle");
                let older = self.idle.values().filter(|other| **other < since);
                assert_eq!(older.count(), 0, "one that was idle for longer is left");
            }
            let Client::WaitingForPlace { ticket, .. } = self.clients[&first] else {
                unreachable!("it was found so")
            };
            self.clients.insert(first, Client::GivenPlace { ticket });
            let waited = self.now - since >= self.limits.reserve_timeout;
            let reserve = if waited { self.limits.reserve } else { 0 };
            assert!(self.total() <= self.limits.size + reserve, "over the limit");
        }
    }

    fn connect_more(&mut self) {
        self.give_places();
        let minimum = if self.random.once_in(4) { 2 } else { 0 };
        let before = self.total();
        let oldest = self.oldest();
        let n = self.core.start_connecting(self.now, minimum);
        self.connecting += n;
        if n == 0 {
            return;
        }
        assert!(!self.held, "nothing is connected while it is held up");
        let waited = oldest.is_some_and(|since| self.now - since >= self.limits.reserve_timeout);
        let reserve = if waited { self.limits.reserve } else { 0 };
        assert!(before + n <= self.limits.size + reserve, "over the limit");
        assert!(self.connecting <= self.limits.max_connecting);
        let wanted = self.waiters().count().max(minimum);
        assert!(self.connecting <= wanted, "more than anybody wants");
    }

    fn login_ends(&mut self) {
        if self.connecting == 0 {
            return;
        }
        self.connecting -= 1;
        if self.random.once_in(3) {
            self.core.connect_failed();
            return self.give_places();
        }
        self.next_server += 1;
        let (home, server) = (HOMES - 1, self.next_server);
        let woken = self.core.connected(home, server, self.now);
        self.freed(home, server, woken);
    }

    fn change_limits(&mut self) {
        self.limits = World::some_limits(&mut self.random);
        self.core.set_limits(self.limits);
    }

    fn pause_or_resume(&mut self) {
        self.held = !self.held;
        let woken = self.core.hold(self.held, self.now);
        assert!(!self.held || woken.is_empty());
        // Which connection each has got, it finds out itself; here we look for it.
        for id in woken {
            let Client::Waiting { home, ticket, .. } = self.clients[&id] else {
                panic!("{id} is woken and does not wait");
            };
            let Granted::Server(server) = self.core.take(ticket) else {
                panic!("{id} is woken for nothing");
            };
            assert!(self.idle.remove(&server).is_some(), "{server} was not idle");
            self.clients.insert(id, Client::Has { home, server });
        }
    }

    fn close_idle(&mut self) {
        let keep = self.random.below(3);
        let odd = self.random.once_in(2);
        let before = self.idle.len() + self.lent();
        let which = |server: &mut u32, _| !odd || *server % 2 == 1;
        let closed = self.core.close_idle(self.now, keep, which);
        for server in &closed {
            assert!(self.idle.remove(server).is_some(), "{server} was not idle");
        }
        assert!(closed.is_empty() || before - closed.len() >= keep);
    }

    fn tell_waiters(&mut self) {
        let woken: BTreeSet<u32> = self.core.fail_waiters().into_iter().collect();
        let mut told = BTreeSet::new();
        for (id, client) in &mut self.clients {
            if let Client::Waiting { ticket, .. } = *client {
                *client = Client::Failed { ticket };
                told.insert(*id);
            }
        }
        assert_eq!(woken, told, "all are told, and nobody else");
    }

    fn tell_those_without_a_place(&mut self) {
        let woken: VecDeque<u32> = self.core.fail_places().into();
        let mut told: Vec<_> = self.waiting_for_place().collect();
        told.sort_unstable();
        let told: VecDeque<u32> = told.into_iter().map(|(_, id, _)| id).collect();
        assert_eq!(woken, told);
        for id in told {
            if let Client::WaitingForPlace { ticket, .. } = self.clients[&id] {
                self.clients.insert(id, Client::PlaceFailed { ticket });
            }
        }
    }

    /// What must be so at any moment.
    pub fn check(&mut self) {
        let counts = self.core.counts(self.now);
        assert_eq!(counts.idle, self.idle.len(), "idle");
        assert_eq!(counts.lent, self.lent(), "lent");
        assert_eq!(counts.connecting, self.connecting, "connecting");
        assert_eq!(counts.waiting, self.waiting(), "waiting");
        let own = self.clients.values();
        let own = own.filter(|c| matches!(c, Client::GivenPlace { .. } | Client::HasPlace));
        assert_eq!(counts.own, own.count(), "own");
        let place = self.waiting_for_place().map(|(.., since)| since).min();
        let oldest = self.oldest().into_iter().chain(place).min();
        let longest = oldest.map_or(Duration::ZERO, |since| self.now - since);
        assert_eq!(counts.longest_wait, longest);
        let waits = self.oldest().is_some();
        assert!(
            self.held || !waits || self.idle.is_empty(),
            "one waits beside idle ones"
        );
        let mut hands: Vec<u32> = self.idle.keys().copied().collect();
        hands.extend(self.clients.values().filter_map(|client| match client {
            Client::Granted { server, .. } | Client::Has { server, .. } => Some(*server),
            _ => None,
        }));
        let all = hands.len();
        hands.sort_unstable();
        hands.dedup();
        assert_eq!(hands.len(), all, "a connection is in two hands");
        let most = 2 * self.waiting() + 64 * HOMES + 64;
        let queued = self.core.queues.iter().map(VecDeque::len).sum::<usize>();
        assert!(
            queued + self.core.places.len() <= most,
            "old tickets pile up"
        );
        assert!(self.core.slots.len() <= CLIENTS as usize);
    }

    /// Everybody gets what he waits for or is told, and goes; nothing is left but idle connections.
    pub fn come_to_rest(mut self) {
        if self.held {
            self.pause_or_resume();
        }
        // Twice as much as it takes if all wait for one connection.
        for _ in 0..20 * CLIENTS {
            self.now += Duration::from_millis(10);
            self.connect_more();
            self.login_ends();
            for id in 0..CLIENTS {
                if !matches!(
                    self.clients[&id],
                    Client::Away | Client::Waiting { .. } | Client::WaitingForPlace { .. }
                ) {
                    self.act(id);
                }
            }
            self.check();
        }
        let left = self.clients.values();
        let left: Vec<_> = left.filter(|c| !matches!(c, Client::Away)).collect();
        assert!(left.is_empty(), "not served: {left:?}");
        while self.connecting > 0 {
            self.login_ends();
        }
        let counts = self.core.counts(self.now);
        assert_eq!((counts.lent, counts.own, counts.waiting), (0, 0, 0));
        assert_eq!(counts.idle, self.idle.len());
    }
}
