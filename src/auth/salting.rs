//! The password, salted and hashed again and again: what makes SCRAM slow, on purpose.

use std::num::NonZeroU32;

use aws_lc_rs::hmac;

/// Rounds between two looks at who else wants the core: some 50 µs.
const STRIDE: u32 = 128;

/// SaltedPassword (RFC 5802 section 3), which is PBKDF2 with HMAC-SHA-256; a few milliseconds at 4096 iterations.
///
/// A library's PBKDF2 holds the core from its beginning to its end, and since Linux 6.6 a thread that wakes up waits
/// for it as long as that takes, up to some milliseconds, whatever either's niceness is: queries felt it. This one
/// steps aside every now and then for whoever waits.
pub(super) fn salted(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, password);
    let mut round = hmac::sign(&key, &[salt, &1_u32.to_be_bytes()].concat());
    let mut salted = [0; 32];
    add(&mut salted, &round);
    for n in 1..iterations.get() {
        if n.is_multiple_of(STRIDE) {
            std::thread::yield_now();
        }
        round = hmac::sign(&key, round.as_ref());
        add(&mut salted, &round);
    }
    salted
}

fn add(sum: &mut [u8; 32], round: &hmac::Tag) {
    for (sum, round) in sum.iter_mut().zip(round.as_ref()) {
        *sum ^= round;
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::pbkdf2;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn it_is_pbkdf2(
            password in proptest::collection::vec(any::<u8>(), 0..100),
            salt in proptest::collection::vec(any::<u8>(), 0..40),
            iterations in 1_u32..600,
        ) {
            let iterations = NonZeroU32::new(iterations).expect("not zero");
            let mut expected = [0; 32];
            let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
            pbkdf2::derive(algorithm, iterations, &salt, &password, &mut expected);
            prop_assert_eq!(salted(&password, &salt, iterations), expected);
        }
    }
}
