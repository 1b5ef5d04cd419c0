//! Steps that may not take for ever.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, Timeout, timeout_at};

/// Longer than any process runs, and short enough to be added to a time.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Runs `step`, but not past the deadline, if there is one.
// No async function: that would have room for its argument twice, and these are nested.
pub(super) fn within<F: Future>(deadline: Option<Instant>, step: F) -> Timeout<F> {
    timeout_at(deadline.unwrap_or_else(|| Instant::now() + NEVER), step)
}
