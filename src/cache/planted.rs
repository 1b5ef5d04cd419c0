//! Bugs that the checker plants, to see that it finds them. Only in debug builds.

/// A rule of the cache that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Writes invalidate nothing.
    NoInvalidation,
    /// Invalidation when the write is sent, and not when it is committed.
    TooEarly,
    /// What was read while a write went on is stored as if it had been read after it.
    NoOverlap,
    /// The role is not part of the key.
    NoRole,
    /// What a feed tells changes nothing.
    Deaf,
    /// Other instances are not told that a write is about to be committed.
    NoLease,
}

#[cfg(debug_assertions)]
pub fn is_planted(bug: Bug) -> bool {
    use std::sync::OnceLock;
    static PLANTED: OnceLock<Option<Bug>> = OnceLock::new();
    let planted = PLANTED.get_or_init(|| match std::env::var("PGWEIR_PLANTED_BUG").as_deref() {
        Ok("no-invalidation") => Some(Bug::NoInvalidation),
        Ok("too-early") => Some(Bug::TooEarly),
        Ok("no-overlap") => Some(Bug::NoOverlap),
        Ok("no-role") => Some(Bug::NoRole),
        Ok("no-lease") => Some(Bug::NoLease),
        Ok("deaf") => Some(Bug::Deaf),
        _ => None,
    });
    *planted == Some(bug)
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn is_planted(_: Bug) -> bool {
    false
}
