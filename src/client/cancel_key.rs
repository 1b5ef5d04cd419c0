//! The key that lets a client cancel its query (PostgreSQL docs, "Canceling Requests in Progress"),
//! and what peers read in one that they do not know.
//!
//! Where there are peers, some of its bits are not random, the same as in PgBouncer 1.25, so that either
//! can be a peer of the other: the second and third byte of the process number are the peer's, the lower
//! one first, and the two lowest bits of the secret's fourth byte say how often a request may still be
//! passed on.

use crate::config::PeerId;

/// The bits that count, in that byte of the secret. All of them are set in the key that a client is
/// given: a request is passed on three times at most.
const HOPS: (usize, u8) = (3, 0b11);

/// `pid` finds the client, the secret proves that it is the client.
#[derive(Clone)]
pub struct CancelKey {
    pub pid: i32,
    secret: [u8; 32],
    length: u8,
    /// The bits that count are no part of the secret.
    counts: bool,
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelKey({}, ..)", self.pid)
    }
}

impl CancelKey {
    /// Of random bits. `length` is 4 for protocol 3.0 and 32 for 3.2; `own` is the number of this
    /// process among its peers, if it has any.
    pub fn new(pid: i32, secret: [u8; 32], length: u8, own: Option<PeerId>) -> CancelKey {
        let mut pid = pid.to_be_bytes();
        let mut secret = secret;
        // Some clients expect a number that a process can have.
        pid[0] &= 0x7f;
        if let Some(own) = own {
            [pid[1], pid[2]] = own.get().to_le_bytes();
            secret[HOPS.0] |= HOPS.1;
        }
        CancelKey {
            pid: i32::from_be_bytes(pid),
            secret,
            length: length.clamp(4, 32),
            counts: own.is_some(),
        }
    }

    /// One that a client has been given by another process; see [`CancelKey::counts`].
    pub fn given(pid: i32, given: &[u8], counts: bool) -> CancelKey {
        let mut secret = [0; 32];
        let length = given.len().min(secret.len());
        secret[..length].copy_from_slice(&given[..length]);
        CancelKey {
            pid,
            secret,
            length: length as u8,
            counts,
        }
    }

    /// Whether it was made where there are peers.
    pub fn counts(&self) -> bool {
        self.counts
    }

    pub fn secret(&self) -> &[u8] {
        &self.secret[..usize::from(self.length)]
    }

    /// In constant time.
    pub fn matches(&self, secret: &[u8]) -> bool {
        let mut theirs = [0; 32];
        let Some(copy) = theirs.get_mut(..secret.len()) else {
            return false;
        };
        copy.copy_from_slice(secret);
        if self.counts {
            // Of a request that was passed on, some are gone.
            theirs[HOPS.0] |= HOPS.1;
        }
        let theirs = &theirs[..secret.len()];
        aws_lc_rs::constant_time::verify_slices_are_equal(self.secret(), theirs).is_ok()
    }
}

/// The peer whose client a key belongs to, if it is a peer's.
pub fn peer_of(pid: i32) -> Option<PeerId> {
    let [_, low, high, _] = pid.to_be_bytes();
    PeerId::new(u16::from_le_bytes([low, high]).into())
}

/// Counts one hop in a secret; says whether it may be made.
pub fn take_hop(secret: &mut [u8]) -> bool {
    let Some(byte) = secret.get_mut(HOPS.0).filter(|byte| **byte & HOPS.1 != 0) else {
        return false;
    };
    *byte -= 1;
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_is_its_own_after_each_of_three_hops(
            pid in any::<i32>(),
            secret in any::<[u8; 32]>(),
            own in 1..=u32::from(PeerId::MAX),
            long in any::<bool>(),
        ) {
            let own = PeerId::new(own);
            let key = CancelKey::new(pid, secret, if long { 32 } else { 4 }, own);
            prop_assert!(key.pid >= 0);
            prop_assert_eq!(peer_of(key.pid), own);
            let mut passed_on = key.secret().to_vec();
            for _ in 0..3 {
                prop_assert!(key.matches(&passed_on));
                prop_assert!(take_hop(&mut passed_on));
            }
            prop_assert!(key.matches(&passed_on));
            prop_assert!(!take_hop(&mut passed_on));
            for bit in 0..8 * passed_on.len() {
                let counts = bit / 8 == HOPS.0 && (HOPS.1 >> (bit % 8)) & 1 == 1;
                let mut forged = key.secret().to_vec();
                forged[bit / 8] ^= 1 << (bit % 8);
                prop_assert_eq!(key.matches(&forged), counts);
            }
        }

        #[test]
        fn without_peers_every_bit_is_secret(pid in any::<i32>(), secret in any::<[u8; 32]>()) {
            let key = CancelKey::new(pid, secret, 4, None);
            prop_assert_eq!(key.secret(), &secret[..4]);
            prop_assert_eq!(key.pid, pid & i32::MAX);
            let mut other = key.secret().to_vec();
            other[HOPS.0] ^= 1;
            prop_assert!(key.matches(key.secret()) && !key.matches(&other));
        }

        #[test]
        fn secrets_of_any_length_are_compared(secret in prop::collection::vec(any::<u8>(), 0..300)) {
            let key = CancelKey::new(7, [1; 32], 32, PeerId::new(9));
            let _ = key.matches(&secret);
            let mut secret = secret;
            take_hop(&mut secret);
        }
    }

    /// As PgBouncer has it.
    #[test]
    fn the_layout_is_that_of_pgbouncer() {
        let key = CancelKey::new(-1, [0; 32], 4, PeerId::new(0x1234));
        assert_eq!(key.pid.to_be_bytes(), [0x7f, 0x34, 0x12, 0xff]);
        assert_eq!(key.secret(), [0, 0, 0, 3]);
    }
}
