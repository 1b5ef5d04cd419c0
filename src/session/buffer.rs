//! A byte queue over one allocation: bytes are added at the end and taken from the front.

/// Always zero-initialized memory, so that readers can be given plain slices.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    head: usize,
    tail: usize,
    initial: usize,
}

impl Buffer {
    pub fn new(capacity: usize) -> Buffer {
        Buffer {
            bytes: vec![0; capacity].into(),
            head: 0,
            tail: 0,
            initial: capacity,
        }
    }

    #[inline]
    pub fn data(&self) -> &[u8] {
        &self.bytes[self.head..self.tail]
    }

    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// What it has grown by.
    pub fn beyond(&self) -> usize {
        self.bytes.len().saturating_sub(self.initial)
    }

    /// Free room behind the data; data is moved to the front when the end is reached.
    pub fn space(&mut self) -> &mut [u8] {
        if self.tail == self.bytes.len() && self.head > 0 {
            self.bytes.copy_within(self.head..self.tail, 0);
            self.tail -= self.head;
            self.head = 0;
        }
        &mut self.bytes[self.tail..]
    }

    /// `n` bytes of [`Buffer::space`] now hold data.
    #[inline]
    pub fn filled(&mut self, n: usize) {
        self.tail += n;
        assert!(self.tail <= self.bytes.len());
    }

    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.head += n;
        assert!(self.head <= self.tail);
        if self.head == self.tail {
            self.head = 0;
            self.tail = 0;
        }
    }

    /// Grows so that `total` bytes fit behind `head`. Doubles towards it instead of trusting it at
    /// once: the peer must send bytes before we spend memory on them.
    pub fn reserve(&mut self, total: usize) {
        let have = self.tail - self.head;
        if total <= self.bytes.len() {
            if self.bytes.len() - self.head < total {
                self.bytes.copy_within(self.head..self.tail, 0);
                self.head = 0;
                self.tail = have;
            }
            return;
        }
        if have < self.bytes.len() {
            return;
        }
        let mut larger = vec![0; total.min(self.bytes.len() * 2)];
        larger[..have].copy_from_slice(&self.bytes[self.head..self.tail]);
        self.bytes = larger.into();
        self.head = 0;
        self.tail = have;
    }

    /// Puts `bytes` in front of the data.
    pub fn prepend(&mut self, bytes: &[u8]) {
        let mut joined = Vec::with_capacity(self.initial.max(bytes.len() + self.data().len()));
        joined.extend_from_slice(bytes);
        joined.extend_from_slice(self.data());
        self.tail = joined.len();
        self.head = 0;
        joined.resize(joined.capacity(), 0);
        self.bytes = joined.into();
    }

    /// Drops the data, and memory beyond the initial capacity.
    pub fn clear(&mut self) {
        self.head = 0;
        self.tail = 0;
        if self.bytes.len() > self.initial {
            self.bytes = vec![0; self.initial].into();
        }
    }
}
