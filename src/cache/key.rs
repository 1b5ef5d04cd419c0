//! What an answer depends on, apart from the data: one sequence of bytes and its hash.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

/// Two keyed 64-bit hashes, with keys of this process. Entries are compared by their whole keys, so
/// that a collision is a miss.
#[derive(Debug, Default)]
pub struct KeyHasher {
    first: RandomState,
    second: RandomState,
}

/// A key while it is made; reused, so that making one allocates nothing.
#[derive(Debug, Default)]
pub struct Key {
    bytes: Vec<u8>,
    hash: u128,
}

impl Key {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// Forgets what it was.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.hash = 0;
    }

    /// A part, with its length, so that no two sequences of parts give the same bytes.
    #[inline]
    pub fn part(&mut self, part: &[u8]) {
        // Parts come from messages, which are shorter than 2^31 bytes.
        self.bytes
            .extend_from_slice(&(part.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(part);
    }

    /// Parts that were put together before.
    #[inline]
    pub fn raw(&mut self, parts: &[u8]) {
        self.bytes.extend_from_slice(parts);
    }

    /// To be called when all parts are there.
    #[inline]
    pub fn finish(&mut self, hasher: &KeyHasher) {
        let hash = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(&self.bytes);
            u128::from(hasher.finish())
        };
        self.hash = hash(&hasher.first) << 64 | hash(&hasher.second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(parts: &[Vec<u8>], hasher: &KeyHasher) -> (Vec<u8>, u128) {
        let mut key = Key::default();
        parts.iter().for_each(|p| key.part(p));
        key.finish(hasher);
        (key.bytes.clone(), key.hash)
    }

    proptest! {
        #[test]
        fn different_parts_give_different_keys(
            a in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..4),
            b in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..4),
        ) {
            let hasher = KeyHasher::default();
            let (of_a, of_b) = (key(&a, &hasher), key(&b, &hasher));
            prop_assert_eq!(a == b, of_a.0 == of_b.0);
            prop_assert_eq!(a == b, of_a.1 == of_b.1);
        }
    }
}
