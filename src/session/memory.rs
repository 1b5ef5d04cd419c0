//! What clients make pgweir keep for them: how much each may, and how much all of them together.
//!
//! Counted is what a client can make grow: its prepared statements, its settings, and a message that must be seen
//! whole. What every client has, and the buffers of those that are being served, are bounded by how many there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::client::ClientState;
use super::link::Rules;
use super::upstream::ClientViolation;
use crate::protocol::sqlstate;

/// Of all clients of the process, in bytes.
#[derive(Debug, Default)]
pub struct Together {
    used: AtomicUsize,
    limit: AtomicUsize,
    each: AtomicUsize,
}

impl Together {
    /// Of all together, and of `each` client; 0 for no limit. They hold for what is asked for from now on.
    pub fn set_limits(&self, limit: usize, each: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.each.store(each, Ordering::Relaxed);
    }

    /// In a sum of shares that are given back at the same time, it wraps and comes right.
    pub fn grow(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn shrink(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The limit, if there is no room any more.
    pub fn exhausted(&self) -> Option<usize> {
        let limit = self.limit.load(Ordering::Relaxed);
        (limit > 0 && self.used() >= limit).then_some(limit)
    }
}

/// What one of them has of it; given back when it is dropped.
#[derive(Debug, Default)]
pub struct Share {
    of: Option<Arc<Together>>,
    bytes: usize,
}

impl Share {
    /// Always of the same whole.
    pub fn set(&mut self, of: &Arc<Together>, bytes: usize) {
        if self.bytes == bytes {
            return;
        }
        let of = self.of.get_or_insert_with(|| Arc::clone(of));
        if bytes > self.bytes {
            of.grow(bytes - self.bytes);
        } else {
            of.shrink(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// As if it were new.
    pub fn clear(&mut self) {
        if self.bytes > 0 {
            *self = Share::default();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(of) = &self.of {
            of.shrink(self.bytes);
        }
    }
}

/// Whether a client may have something kept, for which `wanted` more bytes will be needed. Its buffer for what it
/// sends has `grown` by so much, of which `unread` takes note.
///
/// # Errors
/// [`ClientViolation`]: it, or all clients, have too much already. This client is closed, which makes room.
pub(super) fn admit(
    client: &mut ClientState,
    unread: &mut Share,
    grown: usize,
    rules: &Rules<'_>,
    wanted: usize,
) -> Result<(), ClientViolation> {
    let together = rules.registry.together();
    unread.set(together, grown);
    client.share(together);
    let has = client.weight() + grown;
    let limit = together.each.load(Ordering::Relaxed);
    if limit > 0 && has.saturating_add(wanted) > limit {
        return Err(too_much(format!(
            "this client's prepared statements, settings and unread message take {has} bytes, and {wanted} more are \
             needed: max_client_memory is {limit}"
        )));
    }
    match together.exhausted() {
        Some(limit) if wanted > 0 => Err(too_much(format!(
            "all clients' prepared statements, settings and unread messages take {} bytes: max_clients_memory is {limit}",
            together.used()
        ))),
        _ => Ok(()),
    }
}

fn too_much(message: String) -> ClientViolation {
    ClientViolation {
        code: sqlstate::OUT_OF_MEMORY,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_are_given_back() {
        let all = Arc::new(Together::default());
        let (mut a, mut b) = (Share::default(), Share::default());
        a.set(&all, 10);
        b.set(&all, 5);
        assert_eq!(all.used(), 15);
        a.set(&all, 3);
        assert_eq!(all.used(), 8);
        assert_eq!(all.exhausted(), None);
        all.set_limits(8, 0);
        assert_eq!(all.exhausted(), Some(8));
        b.clear();
        assert_eq!((all.used(), all.exhausted()), (3, None));
        drop(a);
        assert_eq!(all.used(), 0);
    }
}
