//! The queue where it matters who waits: by priority, and in turn among those who share the pool.
//!
//! While clients of several priorities wait, connections go to them by weight: of 73, 64 to critical ones,
//! 8 to normal ones and 1 to background ones. So background work waits behind everything else, but not
//! for ever. Within a priority the parties take turns, whatever number of clients each has waiting.
//!
//! Takes no memory in a steady state: what was needed once is kept.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::Ticket;

/// How urgent a client's work is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Critical,
    #[default]
    Normal,
    Background,
}

impl Priority {
    /// How many connections go to it for one that goes to background work.
    fn weight(self) -> u64 {
        match self {
            Priority::Critical => 64,
            Priority::Normal => 8,
            Priority::Background => 1,
        }
    }

    /// How far one connection moves it on.
    fn stride(self) -> u64 {
        64 / self.weight()
    }
}

const ALL: [Priority; 3] = [Priority::Critical, Priority::Normal, Priority::Background];

/// Who waits, as far as the order goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claim {
    pub priority: Priority,
    /// Those who share a turn have the same number.
    pub party: u64,
}

/// A client that may have to wait.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask {
    pub claim: Claim,
    /// Most waiters of its party; 0 is unlimited.
    pub max_party: usize,
    /// Do not let it wait if that is expected to take longer.
    pub patience: Option<Duration>,
}

/// Why a client may not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// So many of its party wait already.
    Party,
    /// It would take so long.
    Hopeless(Duration),
}

#[derive(Debug, Default)]
pub(super) struct Fair {
    classes: [Class; 3],
    waiting: usize,
    /// Where the class stood that was served last.
    reached: u64,
}

#[derive(Debug, Default)]
struct Class {
    /// The class with the least is next.
    pass: u64,
    waiting: usize,
    members: Vec<Member>,
    free: Vec<u32>,
    by_party: HashMap<u64, u32>,
    /// Those with waiters, the next first.
    turns: VecDeque<u32>,
}

#[derive(Debug, Default)]
struct Member {
    party: u64,
    /// Oldest first; none that has been cancelled.
    tickets: VecDeque<Ticket>,
}

impl Fair {
    pub fn push(&mut self, claim: Claim, ticket: Ticket) {
        let class = &mut self.classes[claim.priority as usize];
        if class.waiting == 0 {
            // What it has not used while nobody waited is not made up for.
            class.pass = class.pass.max(self.reached + claim.priority.stride());
        }
        class.waiting += 1;
        self.waiting += 1;
        let member = class.member(claim.party);
        class.members[member as usize].tickets.push_back(ticket);
    }

    /// Takes out who is due.
    pub fn next(&mut self) -> Option<Ticket> {
        let waiting = ALL.into_iter();
        let waiting = waiting.filter(|p| self.classes[*p as usize].waiting > 0);
        // Of equals the first, which is the more urgent.
        let priority = waiting.min_by_key(|p| self.classes[*p as usize].pass)?;
        let class = &mut self.classes[priority as usize];
        self.reached = class.pass;
        class.pass += priority.stride();
        class.waiting -= 1;
        self.waiting -= 1;
        class.next()
    }

    /// Takes out one that does not wait any longer.
    pub fn remove(&mut self, claim: Claim, ticket: Ticket) {
        let class = &mut self.classes[claim.priority as usize];
        if class.remove(claim.party, ticket) {
            class.waiting -= 1;
            self.waiting -= 1;
        }
    }

    /// Takes out all.
    pub fn drain(&mut self) -> Vec<Ticket> {
        std::iter::from_fn(|| self.next()).collect()
    }

    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many of a party wait, in all classes.
    pub fn waiting_of(&self, party: u64) -> usize {
        self.classes
            .iter()
            .map(|class| class.waiting_of(party))
            .sum()
    }

    /// About how many would be served before a newcomer.
    pub fn ahead(&self, claim: Claim) -> usize {
        let own = &self.classes[claim.priority as usize];
        let rounds = own.waiting_of(claim.party) + 1;
        let in_class = own
            .waiting
            .min((rounds * (own.turns.len() + 1)).saturating_sub(1));
        let others = ALL.into_iter().filter(|p| *p != claim.priority);
        let meanwhile = others.map(|p| {
            let turns = (in_class as u64 + 1) * p.weight() / claim.priority.weight();
            self.classes[p as usize].waiting.min(turns as usize)
        });
        in_class + meanwhile.sum::<usize>()
    }
}

impl Class {
    fn member(&mut self, party: u64) -> u32 {
        if let Some(member) = self.by_party.get(&party) {
            return *member;
        }
        let member = self.free.pop().unwrap_or_else(|| {
            self.members.push(Member::default());
            // One a waiting client at most; those are far fewer than 2^32.
            (self.members.len() - 1) as u32
        });
        self.members[member as usize].party = party;
        self.by_party.insert(party, member);
        self.turns.push_back(member);
        member
    }

    fn next(&mut self) -> Option<Ticket> {
        let member = self.turns.pop_front()?;
        let Member { party, tickets } = &mut self.members[member as usize];
        let ticket = tickets.pop_front();
        if tickets.is_empty() {
            self.by_party.remove(party);
            self.free.push(member);
        } else {
            self.turns.push_back(member);
        }
        ticket
    }

    fn remove(&mut self, party: u64, ticket: Ticket) -> bool {
        let Some(member) = self.by_party.get(&party).copied() else {
            return false;
        };
        let tickets = &mut self.members[member as usize].tickets;
        let Some(at) = tickets.iter().position(|t| *t == ticket) else {
            return false;
        };
        tickets.remove(at);
        if tickets.is_empty() {
            self.by_party.remove(&party);
            self.turns.retain(|m| *m != member);
            self.free.push(member);
        }
        true
    }

    fn waiting_of(&self, party: u64) -> usize {
        let member = self.by_party.get(&party);
        member.map_or(0, |m| self.members[*m as usize].tickets.len())
    }
}

#[cfg(test)]
mod tests;
