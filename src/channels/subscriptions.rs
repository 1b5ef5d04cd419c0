//! Who listens to what. Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Which clients listen to which channels. `S` is how a client is reached.
#[derive(Debug)]
pub struct Subscriptions<S> {
    channels: HashMap<Arc<str>, Channel<S>>,
    /// The channels of each client, by its number.
    clients: HashMap<u64, BTreeSet<Arc<str>>>,
}

#[derive(Debug)]
struct Channel<S> {
    members: HashMap<u64, Member<S>>,
    notifications: u64,
}

#[derive(Debug)]
struct Member<S> {
    subscriber: S,
    /// The server has acknowledged it.
    settled: bool,
}

/// A channel as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRow {
    pub channel: Arc<str>,
    pub clients: usize,
    /// Since somebody has begun to listen.
    pub notifications: u64,
}

impl<S> Default for Subscriptions<S> {
    fn default() -> Subscriptions<S> {
        Subscriptions {
            channels: HashMap::new(),
            clients: HashMap::new(),
        }
    }
}

impl<S: Clone> Subscriptions<S> {
    /// Nobody listens.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// How many clients listen to something.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// How many channels a client listens to.
    pub fn count(&self, client: u64) -> usize {
        self.clients.get(&client).map_or(0, BTreeSet::len)
    }

    /// A client begins to listen, once the server has acknowledged it. `false` if it does already.
    pub fn add(&mut self, channel: &Arc<str>, client: u64, subscriber: &S) -> bool {
        let all = self.clients.entry(client).or_default();
        if !all.insert(Arc::clone(channel)) {
            return false;
        }
        let none = || Channel {
            members: HashMap::new(),
            notifications: 0,
        };
        let entry = self.channels.entry(Arc::clone(channel));
        let member = Member {
            subscriber: subscriber.clone(),
            settled: false,
        };
        entry.or_insert_with(none).members.insert(client, member);
        true
    }

    /// The server has acknowledged it.
    pub fn settle(&mut self, channel: &str, client: u64) {
        let channel = self.channels.get_mut(channel);
        if let Some(member) = channel.and_then(|c| c.members.get_mut(&client)) {
            member.settled = true;
        }
    }

    /// The server has refused it; what it has acknowledged before stays. As
    /// [`Subscriptions::remove`].
    pub fn refuse(&mut self, channel: &str, client: u64) -> bool {
        let member = self
            .channels
            .get(channel)
            .and_then(|c| c.members.get(&client));
        member.is_some_and(|member| !member.settled) && self.remove(channel, client)
    }

    /// A client no longer listens. `true` if nobody does any more.
    pub fn remove(&mut self, channel: &str, client: u64) -> bool {
        let Some(all) = self.clients.get_mut(&client) else {
            return false;
        };
        if !all.remove(channel) {
            return false;
        }
        if all.is_empty() {
            self.clients.remove(&client);
        }
        self.leave(channel, client)
    }

    fn leave(&mut self, channel: &str, client: u64) -> bool {
        let Some(entry) = self.channels.get_mut(channel) else {
            return false;
        };
        entry.members.remove(&client);
        let last = entry.members.is_empty();
        if last {
            self.channels.remove(channel);
        }
        last
    }

    /// A client listens to nothing any more. Gives the channels that nobody listens to now.
    pub fn remove_all(&mut self, client: u64) -> Vec<Arc<str>> {
        let all = self.clients.remove(&client).unwrap_or_default();
        let orphans = all.into_iter().filter(|c| self.leave(c, client));
        orphans.collect()
    }

    /// A notification has come: counts it, and gives those who listen. `None` if nobody does.
    pub fn notified(&mut self, channel: &str) -> Option<(Arc<str>, impl Iterator<Item = &S>)> {
        let name = Arc::clone(self.channels.get_key_value(channel)?.0);
        let entry = self.channels.get_mut(channel)?;
        entry.notifications += 1;
        Some((name, entry.members.values().map(|m| &m.subscriber)))
    }

    /// Everything ends. Gives those to whom the server had acknowledged something, each once.
    pub fn clear(&mut self) -> Vec<S> {
        let mut settled = HashMap::new();
        for channel in std::mem::take(&mut self.channels).into_values() {
            let members = channel.members.into_iter().filter(|(_, m)| m.settled);
            settled.extend(members.map(|(client, member)| (client, member.subscriber)));
        }
        self.clients.clear();
        settled.into_values().collect()
    }

    /// In alphabetical order.
    pub fn rows(&self) -> Vec<ChannelRow> {
        let each = self.channels.iter().map(|(name, channel)| ChannelRow {
            channel: Arc::clone(name),
            clients: channel.members.len(),
            notifications: channel.notifications,
        });
        let mut rows: Vec<_> = each.collect();
        rows.sort_by(|a, b| a.channel.cmp(&b.channel));
        rows
    }
}

#[cfg(test)]
mod tests;
