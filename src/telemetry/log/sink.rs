//! Where log lines go: standard error, a file, the system's log.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use syslog::{Facility as SysFacility, Formatter3164, Logger, LoggerBackend};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

use super::lines;
use crate::config::{Facility, Log};

/// Shared by everything that logs.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Mutex<Targets>>);

#[derive(Default)]
struct Targets {
    stderr: bool,
    file: Option<File>,
    syslog: Option<Logger<LoggerBackend, Formatter3164>>,
}

pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

fn open(path: &Path) -> Result<File, String> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map_err(|error| format!("log.file: cannot open {}: {error}", path.display()))
}

impl Sink {
    /// # Errors
    /// What cannot be opened; nothing has changed then.
    pub fn set(&self, log: &Log, quiet: bool) -> Result<(), String> {
        let file = log.file.as_deref().map(open).transpose()?;
        let syslog = match log.syslog {
            true => {
                let formatter = Formatter3164 {
                    facility: facility(log.syslog_facility),
                    hostname: None,
                    process: log.syslog_ident.clone(),
                    pid: std::process::id(),
                };
                let logger = syslog::unix(formatter);
                Some(logger.map_err(|error| format!("log.syslog: {error}"))?)
            }
            false => None,
        };
        *self.0.lock() = Targets {
            stderr: !quiet,
            file,
            syslog,
        };
        Ok(())
    }

    pub fn syslog(&self) -> Syslog {
        Syslog(self.clone())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(self.clone())
    }
}

/// Writes a line at once.
pub(super) struct Line(Sink);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut targets = self.0.0.lock();
        if let Some(file) = &mut targets.file {
            // A full disk must not stop anything else.
            let _ = file.write_all(line);
        }
        if targets.stderr {
            let _ = io::stderr().write_all(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The system's log, which has times and levels of its own.
pub(super) struct Syslog(Sink);

impl<S: Subscriber> Layer<S> for Syslog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut targets = self.0.0.lock();
        let Some(logger) = &mut targets.syslog else {
            return;
        };
        let text = lines::text(event);
        let _ = match *event.metadata().level() {
            Level::ERROR => logger.err(text),
            Level::WARN => logger.warning(text),
            Level::INFO => logger.info(text),
            _ => logger.debug(text),
        };
    }
}

fn facility(facility: Facility) -> SysFacility {
    match facility {
        Facility::Auth => SysFacility::LOG_AUTH,
        Facility::Authpriv => SysFacility::LOG_AUTHPRIV,
        Facility::Daemon => SysFacility::LOG_DAEMON,
        Facility::User => SysFacility::LOG_USER,
        Facility::Local0 => SysFacility::LOG_LOCAL0,
        Facility::Local1 => SysFacility::LOG_LOCAL1,
        Facility::Local2 => SysFacility::LOG_LOCAL2,
        Facility::Local3 => SysFacility::LOG_LOCAL3,
        Facility::Local4 => SysFacility::LOG_LOCAL4,
        Facility::Local5 => SysFacility::LOG_LOCAL5,
        Facility::Local6 => SysFacility::LOG_LOCAL6,
        Facility::Local7 => SysFacility::LOG_LOCAL7,
    }
}
