//! A client that listens: what waits for it, within a bound.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::client::info::{ClientInfo, Control};

/// What a notification takes beside its bytes, roughly.
const OVERHEAD: usize = 64;

/// A client that has taken nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a client that listens cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deafness {
    /// The listening connection was lost.
    Lost,
    /// More has come than it has taken.
    Overflow,
}

/// What waits for one client.
#[derive(Debug)]
pub struct Subscriber {
    info: Arc<ClientInfo>,
    /// Most bytes that wait.
    limit: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Channels and whole NotificationResponses, oldest first.
    waiting: VecDeque<(Arc<str>, Arc<[u8]>)>,
    bytes: usize,
    /// When it has last taken something, or something has come when nothing waited.
    moved: Option<Instant>,
    deafness: Option<Deafness>,
}

impl Queue {
    fn end(&mut self, why: Deafness) {
        self.waiting = VecDeque::new();
        self.bytes = 0;
        self.deafness.get_or_insert(why);
    }
}

fn size(message: &[u8]) -> usize {
    message.len() + OVERHEAD
}

impl Subscriber {
    pub fn new(info: &Arc<ClientInfo>, limit: usize) -> Arc<Subscriber> {
        Arc::new(Subscriber {
            info: Arc::clone(info),
            limit,
            queue: Mutex::default(),
        })
    }

    pub fn client(&self) -> u64 {
        self.info.id
    }

    /// Most bytes that wait for it.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A notification for it has come. Says whether it should be waited for before more comes (see
    /// [`Subscriber::is_behind`]).
    pub fn push(&self, channel: &Arc<str>, message: &Arc<[u8]>) -> bool {
        let mut queue = self.queue.lock();
        if queue.deafness.is_some() {
            return false;
        }
        if queue.bytes + size(message) > self.limit {
            queue.end(Deafness::Overflow);
        } else {
            if queue.waiting.is_empty() {
                queue.moved = Some(Instant::now());
            }
            queue.bytes += size(message);
            let entry = (Arc::clone(channel), Arc::clone(message));
            queue.waiting.push_back(entry);
        }
        let crowded = queue.bytes > self.limit / 2;
        drop(queue);
        self.info.request(Control::Notify);
        crowded
    }

    /// Half of what may wait for it does, and it is taking it: whoever brings more waits a little, or
    /// a burst would end a client that does its best. One that takes nothing holds nobody up.
    pub fn is_behind(&self, now: Instant) -> bool {
        let queue = self.queue.lock();
        let moves = |at: Instant| now.saturating_duration_since(at) < PATIENCE;
        queue.bytes > self.limit / 2 && queue.moved.is_some_and(moves)
    }

    /// The listening connection is gone. What has come before is not told either: the client is to
    /// know at once that it cannot rely on it.
    pub fn lost(&self) {
        self.queue.lock().end(Deafness::Lost);
        self.info.request(Control::Notify);
    }

    pub fn deafness(&self) -> Option<Deafness> {
        self.queue.lock().deafness
    }

    /// Nothing waits, and nothing is wrong.
    pub fn is_idle(&self) -> bool {
        let queue = self.queue.lock();
        queue.waiting.is_empty() && queue.deafness.is_none()
    }

    /// Appends what waits, up to about so many bytes, but at least one; says whether that was all.
    pub fn take(&self, most: usize, out: &mut Vec<u8>) -> bool {
        let mut queue = self.queue.lock();
        queue.moved = Some(Instant::now());
        let mut taken = 0;
        while taken < most
            && let Some((_, message)) = queue.waiting.pop_front()
        {
            taken += message.len();
            queue.bytes -= size(&message);
            out.extend_from_slice(&message);
        }
        queue.waiting.is_empty()
    }

    /// It no longer listens to this channel, or to any.
    pub fn forget(&self, channel: Option<&str>) {
        let mut queue = self.queue.lock();
        let goes = |of: &str| channel.is_none_or(|channel| channel == of);
        queue.waiting.retain(|(of, _)| !goes(of));
        queue.bytes = queue.waiting.iter().map(|(_, m)| size(m)).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::directory::Directory;
    use crate::client::info::ClientIdentity;
    use crate::net::stream::Tls;
    use crate::protocol::startup::Replication;
    use crate::server::connect::Address;

    fn subscriber(limit: usize) -> Arc<Subscriber> {
        let made = Directory::default().enter(false, None, |key| {
            ClientInfo::new(ClientIdentity {
                id: 1,
                key,
                database: "d".into(),
                user: "u".into(),
                application_name: None,
                peer: Address::Unix("x".into()),
                local: Address::Unix("x".into()),
                tls: Tls::None,
                replication: Replication::None,
            })
        });
        Subscriber::new(&made.unwrap(), limit)
    }

    fn push(subscriber: &Subscriber, channel: &str, message: &str) -> bool {
        subscriber.push(&channel.into(), &message.as_bytes().into())
    }

    #[test]
    fn who_takes_what_comes_is_waited_for() {
        let subscriber = subscriber(4 * (OVERHEAD + 1));
        assert!(!push(&subscriber, "a", "1") && !push(&subscriber, "a", "2"));
        let before = Instant::now();
        assert!(!subscriber.is_behind(before), "not yet half");
        assert!(push(&subscriber, "a", "3"));
        assert!(subscriber.is_behind(before));
        let later = Instant::now() + PATIENCE;
        assert!(!subscriber.is_behind(later), "it takes nothing");
        subscriber.take(1, &mut Vec::new());
        assert!(!subscriber.is_behind(before));
    }

    #[test]
    fn what_waits_is_taken_in_order_and_piece_by_piece() {
        let subscriber = subscriber(10_000);
        for message in ["one", "two", "three"] {
            push(&subscriber, "a", message);
        }
        assert!(subscriber.info.is_requested(Control::Notify));
        let mut out = Vec::new();
        assert!(!subscriber.take(4, &mut out), "there is more");
        assert_eq!(out, b"onetwo");
        assert!(subscriber.take(1, &mut out));
        assert_eq!(out, b"onetwothree");
        assert_eq!(subscriber.queue.lock().bytes, 0);
    }

    #[test]
    fn what_is_too_much_ends_it() {
        let subscriber = subscriber(3 * (OVERHEAD + 10));
        for _ in 0..3 {
            push(&subscriber, "a", "0123456789");
        }
        assert_eq!(subscriber.deafness(), None);
        push(&subscriber, "a", "");
        assert_eq!(subscriber.deafness(), Some(Deafness::Overflow));
        push(&subscriber, "a", "");
        subscriber.lost();
        assert_eq!(subscriber.deafness(), Some(Deafness::Overflow), "as before");
        let mut out = Vec::new();
        assert!(subscriber.take(100, &mut out) && out.is_empty());
    }

    #[test]
    fn what_is_no_longer_listened_to_is_forgotten() {
        let subscriber = subscriber(2 * (OVERHEAD + 1));
        push(&subscriber, "a", "1");
        push(&subscriber, "b", "2");
        subscriber.forget(Some("a"));
        push(&subscriber, "b", "3");
        assert_eq!(subscriber.deafness(), None, "there was room again");
        let mut out = Vec::new();
        subscriber.take(100, &mut out);
        assert_eq!(out, b"23");
        push(&subscriber, "b", "4");
        subscriber.forget(None);
        assert!(subscriber.take(100, &mut out) && out == b"23");
    }
}
