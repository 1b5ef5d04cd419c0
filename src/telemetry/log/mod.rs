//! The log: where lines go ([`sink`]) and what they look like ([`lines`]).

mod lines;
mod sink;

use std::sync::Arc;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt, reload};

use crate::config::{Log, LogStyle};
use lines::PgBouncerLines;
use sink::Sink;

/// Takes over what `[log]` says; files are opened again, as for log rotation.
pub type SetLog = Arc<dyn Fn(&Log) -> Result<(), String> + Send + Sync>;

/// Begins to log. `filter` makes a tracing-subscriber filter of `log.level`; with `quiet`, nothing
/// goes to standard error.
///
/// # Errors
/// A filter that cannot be read, a file that cannot be opened, or logging that was started before.
pub fn start(
    log: &Log,
    quiet: bool,
    filter: impl Fn(&str) -> &str + Send + Sync + 'static,
) -> Result<SetLog, String> {
    let read = move |level: &str| EnvFilter::try_new(filter(level)).map_err(|e| e.to_string());
    let sink = Sink::default();
    sink.set(log, quiet)?;
    let (level, handle) = reload::Layer::new(read(&log.level)?);
    let colours = !quiet && log.file.is_none() && sink::is_terminal();
    let text = fmt::layer().with_writer(sink.clone());
    let text = match log.style {
        LogStyle::Text => text.with_ansi(colours).boxed(),
        LogStyle::PgBouncer => text.event_format(PgBouncerLines).boxed(),
    };
    tracing_subscriber::registry()
        .with(level)
        .with(text)
        .with(sink.syslog())
        .try_init()
        .map_err(|e| e.to_string())?;
    Ok(Arc::new(move |log| {
        sink.set(log, quiet)?;
        handle.reload(read(&log.level)?).map_err(|e| e.to_string())
    }))
}
