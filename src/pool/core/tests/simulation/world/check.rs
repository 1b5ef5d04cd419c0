//! What must be so: at any moment, and when all have gone.

use super::*;

impl World {
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
