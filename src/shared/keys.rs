//! What things are called in Redis, and what is said on the channel.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

use crate::cache::Oid;

/// Generations and leases live this long, in seconds; entries for less.
pub(super) const LIFE: u64 = 2 * 86_400;

pub(super) fn entry(namespace: &str, key: &[u8]) -> String {
    let hash = digest(&SHA256, key);
    let mut out = format!("{namespace}:e:");
    for byte in &hash.as_ref()[..16] {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Of everything.
pub(super) fn all(namespace: &str) -> String {
    format!("{namespace}:g")
}

pub(super) fn generation(namespace: &str, space: &str, oid: Oid) -> String {
    format!("{namespace}:g:{space}:{oid}")
}

/// Instances that are writing it.
pub(super) fn lease(namespace: &str, space: &str, oid: Oid) -> String {
    format!("{namespace}:p:{space}:{oid}")
}

/// The leases of an instance.
pub(super) fn leases(namespace: &str, member: &str) -> String {
    format!("{namespace}:leases:{member}")
}

pub(super) fn members(namespace: &str) -> String {
    format!("{namespace}:members")
}

pub(super) fn channel(namespace: &str) -> String {
    format!("{namespace}:told")
}

/// What an instance says on the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Beat(u64),
    /// Relations of a database, 0 for all, [`crate::cache::outbox::SCHEMA`] for the schema.
    Changed {
        space: String,
        oids: Vec<Oid>,
    },
    /// Everything, because a member is lost.
    Everything,
}

/// The instance, and what it says.
pub(super) fn encode(id: u64, said: &Said) -> Vec<u8> {
    let mut out = id.to_le_bytes().to_vec();
    match said {
        Said::Beat(number) => {
            out.push(b'b');
            out.extend_from_slice(&number.to_le_bytes());
        }
        Said::Changed { space, oids } => {
            out.push(b'c');
            for oid in oids {
                out.extend_from_slice(&oid.to_le_bytes());
            }
            out.extend_from_slice(space.as_bytes());
            // The name's length comes last, so that nothing is in the way of it.
            out.extend_from_slice(&(space.len() as u32).to_le_bytes());
        }
        Said::Everything => out.push(b'f'),
    }
    out
}

pub(super) fn decode(bytes: &[u8]) -> Option<(u64, Said)> {
    let (id, rest) = bytes.split_first_chunk::<8>()?;
    let id = u64::from_le_bytes(*id);
    let (kind, rest) = rest.split_first()?;
    let said = match kind {
        b'b' => Said::Beat(u64::from_le_bytes(rest.try_into().ok()?)),
        b'c' => {
            let (rest, length) = rest.split_last_chunk::<4>()?;
            let length = u32::from_le_bytes(*length) as usize;
            let (oids, space) = rest.split_at(rest.len().checked_sub(length)?);
            let (oids, []) = oids.as_chunks::<4>() else {
                return None;
            };
            Said::Changed {
                space: String::from_utf8(space.to_vec()).ok()?,
                oids: oids.iter().map(|o| Oid::from_le_bytes(*o)).collect(),
            }
        }
        b'f' if rest.is_empty() => Said::Everything,
        _ => return None,
    };
    Some((id, said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_said_is_heard() {
        let changed = |space: &str, oids: &[Oid]| Said::Changed {
            space: space.to_owned(),
            oids: oids.to_vec(),
        };
        for said in [
            Said::Beat(7),
            Said::Everything,
            changed("app at db:5432", &[0, 16384, Oid::MAX]),
            changed("", &[]),
        ] {
            let bytes = encode(9, &said);
            assert_eq!(decode(&bytes), Some((9, said)));
            assert_eq!(decode(&bytes[..8]), None);
        }
    }

    #[test]
    fn keys_do_not_collide() {
        assert_ne!(generation("n", "a", 12), generation("n", "a:1", 2));
        assert_eq!(entry("n", b"x").len(), "n:e:".len() + 32);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }
    }
}
