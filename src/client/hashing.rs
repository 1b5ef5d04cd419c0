//! Hashing of passwords, which takes a millisecond of a core and more for each.

use tokio::sync::Semaphore;

use crate::process::yield_to_others;

/// How much a thread that hashes yields to others, as `nice` counts: a tenth of a core is left to it when all
/// cores are busy, so logins go on, and queries hardly feel them. What else comes to threads for blocking work
/// (reading files, asking LDAP or PAM, the cache's look at the catalogs) can wait as well.
const NICENESS: i32 = 10;

/// Hashes so many passwords at once and no more, on threads of their own.
#[derive(Debug)]
pub struct Hashing(Semaphore);

impl Hashing {
    pub fn new(at_once: usize) -> Hashing {
        Hashing(Semaphore::new(at_once))
    }

    /// Waits for its turn, and for the result; `None` if the process ends meanwhile.
    pub async fn run<T: Send + 'static>(
        &self,
        hash: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let _permit = self.0.acquire().await.ok()?;
        let work = move || {
            yield_to_others(NICENESS);
            hash()
        };
        tokio::task::spawn_blocking(work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[tokio::test]
    async fn who_hashes_yields_and_nobody_else() {
        let before = getpriority_process(None).expect("a priority");
        let there = Hashing::new(1)
            .run(|| getpriority_process(None).expect("a priority"))
            .await;
        assert_eq!(there, Some(NICENESS.max(before)));
        assert_eq!(getpriority_process(None), Ok(before));
    }
}
