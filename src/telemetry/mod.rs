//! What pgweir says about itself: log lines ([`init_logging`]) and metrics ([`metrics`]).

pub mod metrics;

use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Changes what is logged, to another `log.level`; fails for one that cannot be read.
pub type SetLevel = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Logs to standard error, a line an event. `filter` makes a tracing-subscriber filter of a level.
///
/// # Errors
/// A filter that cannot be read, or logging that was started before.
pub fn init_logging(
    level: &str,
    filter: impl Fn(&str) -> &str + Send + Sync + 'static,
) -> Result<SetLevel, String> {
    let read = move |level: &str| EnvFilter::try_new(filter(level)).map_err(|e| e.to_string());
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let subscriber = fmt()
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .with_env_filter(read(level)?)
        .with_filter_reloading();
    let handle = subscriber.reload_handle();
    subscriber.try_init().map_err(|e| e.to_string())?;
    Ok(Arc::new(move |level| {
        handle.reload(read(level)?).map_err(|e| e.to_string())
    }))
}
