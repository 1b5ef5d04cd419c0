//! What pgweir says about itself: log lines ([`init_logging`]) and metrics ([`metrics`]).

pub mod metrics;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Logs to standard error, a line an event. `filter` is a tracing-subscriber filter.
///
/// # Errors
/// A filter that cannot be read, or logging that was started before.
pub fn init_logging(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|e| e.to_string())?;
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .try_init()
        .map_err(|e| e.to_string())
}
