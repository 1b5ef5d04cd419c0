//! The log.
//!
//! An event that passes the filter is taken out of `tracing` ([`event`]), counted against the limit of its
//! kind ([`limit`]), made a line ([`text`], [`pgbouncer`]) and handed to threads that write ([`sink`],
//! [`outlet`]). Whoever logs never waits for that.

mod event;
pub(super) mod limit;
mod outlet;
mod pgbouncer;
mod sink;
mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, reload};

use super::errors::{Errors, Reporter, catch_panics};
use crate::admin::console::{Untold, What};
use crate::config::Log;
use event::Said;
use limit::{Admitted, Limits};
use sink::Sink;

/// How often the log says how much is left out of it.
const REPORT: Duration = Duration::from_secs(limit::BURST as u64);
/// How long the process waits in the end for what has not been written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log that has been started.
pub struct Logging {
    shared: Arc<Shared>,
    reporter: Option<Arc<Reporter>>,
    level: reload::Handle<EnvFilter, Registry>,
    filter: Box<dyn Fn(&str) -> String + Send + Sync>,
}

struct Shared {
    sink: Sink,
    limits: Limits,
    left_out: AtomicU64,
}

/// Begins to log. `filter` makes a tracing-subscriber filter of `log.level`; with `quiet`, nothing
/// goes to standard error. Errors, and panics from now on, are reported as well.
///
/// # Errors
/// A filter that cannot be read, a file that cannot be opened, or logging that was started before.
pub fn start(
    log: &Log,
    quiet: bool,
    reporter: Option<Arc<Reporter>>,
    filter: impl Fn(&str) -> &str + Send + Sync + 'static,
) -> Result<Arc<Logging>, String> {
    let filter = move |level: &str| filter(level).to_owned();
    let shared = Arc::new(Shared {
        sink: Sink::start(log, quiet)?,
        limits: Limits::default(),
        left_out: AtomicU64::new(0),
    });
    shared.limits.set(log.max_lines_per_second);
    let (level, handle) = reload::Layer::new(read(&filter(&log.level))?);
    tracing_subscriber::registry()
        .with(level)
        .with(Lines(Arc::clone(&shared)))
        .with(reporter.clone().map(Errors))
        .try_init()
        .map_err(|e| e.to_string())?;
    catch_panics(reporter.clone());
    Ok(Arc::new(Logging {
        shared,
        reporter,
        level: handle,
        filter: Box::new(filter),
    }))
}

fn read(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(filter).map_err(|e| e.to_string())
}

impl Logging {
    /// Takes over what `[log]` says; files are opened again, as for log rotation.
    ///
    /// # Errors
    /// What cannot be read or opened; lines go where they went then.
    pub fn set(&self, log: &Log) -> Result<(), String> {
        let level = read(&(self.filter)(&log.level))?;
        self.shared.sink.set(log)?;
        self.shared.limits.set(log.max_lines_per_second);
        self.level.reload(level).map_err(|e| e.to_string())
    }

    /// Lines that nobody can read, for metrics.
    pub fn untold(&self) -> Vec<Untold> {
        let mut untold = vec![
            Untold {
                what: What::LogLinesLeftOut,
                count: self.shared.left_out.load(Ordering::Relaxed),
            },
            Untold {
                what: What::LogLinesLost,
                count: self.shared.sink.lost(),
            },
        ];
        untold.extend(self.reporter.as_ref().map(|reporter| reporter.untold()));
        untold
    }

    /// Says from time to time what is left out of the log. Runs for ever.
    pub async fn keep_reporting(self: Arc<Logging>) {
        loop {
            tokio::time::sleep(REPORT).await;
            self.shared.report();
        }
    }

    /// Before the process ends; a pipe that nobody reads does not keep it from that.
    pub fn finish(&self) {
        if let Some(reporter) = &self.reporter {
            reporter.finish(LAST_LINES);
        }
        self.shared.report();
        self.shared.sink.flush(Instant::now() + LAST_LINES);
    }
}

impl std::fmt::Debug for Logging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logging")
    }
}

impl Shared {
    /// A line for each kind of which lines were left out.
    fn report(&self) {
        for left_out in self.limits.left_out() {
            let (count, like) = (left_out.count, &left_out.example);
            let message =
                format!("{count} more lines were not logged (log.max_lines_per_second): {like}");
            let target = left_out.kind.0.metadata().target();
            self.sink.write(&Said::new(Level::WARN, target, message));
        }
    }
}

/// What `tracing` hands its events to.
struct Lines(Arc<Shared>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let shared = &self.0;
        let kind = event.metadata().callsite();
        let admitted = shared.limits.admit(&kind, Instant::now());
        if admitted == Admitted::Yes {
            return shared.sink.write(&Said::of(event));
        }
        shared.left_out.fetch_add(1, Ordering::Relaxed);
        if admitted == Admitted::First {
            shared.limits.remember(&kind, Said::of(event).message);
        }
    }
}
