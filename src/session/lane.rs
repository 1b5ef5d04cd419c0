//! One direction of a relay: bytes that came in, and what of them goes out.
//!
//! Most bytes leave as they came, straight from the buffer that they were read into. What has to
//! be inserted or rewritten is collected in `out`, which always leaves *before* the bytes that are
//! still in the input buffer. So the outgoing stream is `out ++ input[head..scanned]`.
//!
//! ```text
//!   out (made by us)   input: [ .. | head ... scanned | ... tail | free ]
//!   leaves first              sent   leaves as it is    to look at
//! ```

use super::buffer::Buffer;

/// What is left of a message whose beginning has been dealt with already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    Forward(usize),
    Discard(usize),
}

#[derive(Debug)]
pub struct Lane {
    input: Buffer,
    /// Offset into the readable part of `input` up to which bytes leave as they are.
    scanned: usize,
    out: Vec<u8>,
    out_sent: usize,
    rest: Rest,
}

impl Lane {
    pub fn new(capacity: usize) -> Lane {
        Lane {
            input: Buffer::new(capacity),
            scanned: 0,
            out: Vec::with_capacity(512),
            out_sent: 0,
            rest: Rest::Nothing,
        }
    }

    /// Puts a buffer in place of one without room; see [`Lane::give_back`].
    pub fn lend(&mut self, buffer: impl FnOnce() -> Buffer) {
        if self.input.capacity() == 0 {
            self.input = buffer();
        }
    }

    /// The buffer, if nothing is in it. The lane has no room then, but can still be inserted into.
    pub fn give_back(&mut self) -> Option<Buffer> {
        let has_one = self.input.capacity() > 0;
        (has_one && self.input.data().is_empty()).then(|| {
            let mut buffer = std::mem::replace(&mut self.input, Buffer::new(0));
            buffer.clear();
            buffer
        })
    }

    /// Forgets everything, for the next user of this lane.
    pub fn clear(&mut self) {
        self.input.clear();
        self.scanned = 0;
        self.out.clear();
        self.out_sent = 0;
        self.rest = Rest::Nothing;
    }

    // === coming in ===

    /// Room to read into; empty when the buffer is full.
    pub fn space(&mut self) -> &mut [u8] {
        self.input.space()
    }

    /// `n` bytes were read into [`Lane::space`]. Continues a message that is under way.
    pub fn filled(&mut self, n: usize) {
        self.input.filled(n);
        self.continue_rest();
    }

    /// Bytes that the buffer has grown by, for a message that must be seen whole.
    pub fn beyond(&self) -> usize {
        self.input.beyond()
    }

    /// Makes room for a message of `total` bytes that must be seen whole.
    pub fn reserve(&mut self, total: usize) {
        self.input.reserve(self.scanned + total);
    }

    fn continue_rest(&mut self) {
        match self.rest {
            Rest::Nothing => {}
            Rest::Forward(n) => {
                let k = n.min(self.unscanned().len());
                self.scanned += k;
                self.rest = if k == n {
                    Rest::Nothing
                } else {
                    Rest::Forward(n - k)
                };
            }
            Rest::Discard(n) => {
                let k = n.min(self.unscanned().len());
                self.remove(k);
                self.rest = if k == n {
                    Rest::Nothing
                } else {
                    Rest::Discard(n - k)
                };
            }
        }
    }

    // === deciding ===

    /// The bytes that no decision was made about, starting at a message boundary unless
    /// [`Lane::in_message`].
    #[inline]
    pub fn unscanned(&self) -> &[u8] {
        &self.input.data()[self.scanned..]
    }

    /// The middle of a message that is larger than what has arrived of it.
    #[inline]
    pub fn in_message(&self) -> bool {
        self.rest != Rest::Nothing
    }

    /// A message of which part has been forwarded and part has not arrived.
    pub fn half_forwarded(&self) -> bool {
        matches!(self.rest, Rest::Forward(_))
    }

    /// The next `n` bytes leave as they are, even those that have not arrived yet.
    #[inline]
    pub fn keep(&mut self, n: usize) {
        let have = self.unscanned().len();
        if n <= have {
            self.scanned += n;
        } else {
            self.scanned += have;
            self.rest = Rest::Forward(n - have);
        }
    }

    /// The next `n` bytes do not leave, even those that have not arrived yet.
    pub fn skip(&mut self, n: usize) {
        let have = self.unscanned().len();
        self.remove(n.min(have));
        if n > have {
            self.rest = Rest::Discard(n - have);
        }
    }

    fn remove(&mut self, n: usize) {
        self.settle();
        self.input.consume(n);
    }

    /// Moves what would leave from the input buffer into `out`, so that something can follow it.
    fn settle(&mut self) {
        if self.scanned > 0 {
            self.out
                .extend_from_slice(&self.input.data()[..self.scanned]);
            self.input.consume(self.scanned);
            self.scanned = 0;
        }
    }

    /// Where bytes of our own go, after everything that was kept so far.
    #[inline]
    pub fn insert(&mut self) -> &mut Vec<u8> {
        self.settle();
        &mut self.out
    }

    /// Puts bytes back in front of those that no decision was made about.
    pub fn unread(&mut self, bytes: &[u8]) {
        self.settle();
        self.input.prepend(bytes);
    }

    /// The receiver is gone: drops what was on its way to it, and the rest of a message of which
    /// a part was. What no decision was made about stays.
    pub fn drop_pending(&mut self) {
        self.settle();
        self.out.clear();
        self.out_sent = 0;
        if let Rest::Forward(n) = self.rest {
            self.rest = Rest::Discard(n);
        }
    }

    /// The sender is gone: what it sent and was not dealt with is of no use.
    pub fn drop_unread(&mut self) {
        self.settle();
        let n = self.unscanned().len();
        self.input.consume(n);
        self.rest = Rest::Nothing;
    }

    // === going out ===

    /// What is to be written next; empty when there is nothing.
    #[inline]
    pub fn pending(&mut self) -> &[u8] {
        if self.out_sent == self.out.len() {
            return &self.input.data()[..self.scanned];
        }
        // One write instead of two where joining them costs little.
        if self.scanned > 0 && self.scanned <= 4096 {
            self.settle();
        }
        &self.out[self.out_sent..]
    }

    /// How many bytes wait to be written.
    pub fn pending_len(&self) -> usize {
        self.out.len() - self.out_sent + self.scanned
    }

    /// `n` bytes of [`Lane::pending`] were written.
    #[inline]
    pub fn written(&mut self, n: usize) {
        if self.out_sent < self.out.len() {
            self.out_sent += n;
            if self.out_sent == self.out.len() {
                self.out.clear();
                self.out_sent = 0;
                // A large rewrite must not keep its memory for ever.
                if self.out.capacity() > 64 * 1024 {
                    self.out.shrink_to(4096);
                }
            }
        } else {
            self.input.consume(n);
            self.scanned -= n;
        }
    }

    /// Nothing came in that was not dealt with, and nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        self.pending_len() == 0 && self.input.data().is_empty() && self.rest == Rest::Nothing
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.input.capacity() + self.out.capacity()
    }
}

#[cfg(test)]
mod tests;
