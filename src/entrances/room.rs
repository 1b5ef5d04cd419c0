//! Room in the process's table of file descriptors.
//!
//! Clients are not let in up to the last descriptor: those who are there could not be served if no
//! connection to a server could be made any more, nor the log or the configuration be opened. Who comes
//! beyond that waits in the kernel's queue.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::sys::resource::{Resource, getrlimit};

/// This part of all descriptors is kept ...
const PART: u64 = 8;
/// ... but no more than so many.
const MOST: u64 = 256;

/// Descriptors from this number on are not for clients.
fn bound(limit: u64) -> u64 {
    limit - (limit / PART).min(MOST)
}

/// Whether there is room for another client; the descriptor may be any.
pub(super) fn is_there(any: BorrowedFd<'_>) -> bool {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return true;
    };
    // The lowest free number: below it all are taken.
    let Ok(next) = any.try_clone_to_owned() else {
        return false;
    };
    u64::try_from(next.as_raw_fd()).is_ok_and(|next| next < bound(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_kept() {
        assert_eq!(bound(80), 70);
        assert_eq!(bound(1024), 896);
        assert_eq!(bound(1 << 20), (1 << 20) - 256);
        assert_eq!(bound(u64::MAX), u64::MAX - 256);
        assert_eq!(bound(1), 1);
    }
}
