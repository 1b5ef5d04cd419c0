//! Where log lines go: standard error, a file, the system's log.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Instant;

use parking_lot::Mutex;
use syslog::{Facility as SysFacility, Formatter3164};
use tracing::Level;

use super::event::Said;
use super::outlet::{Lament, Line, Outlet, Target};
use super::{pgbouncer, text};
use crate::config::{Facility, Log, LogStyle};

/// What lines look like.
#[derive(Debug, Clone, Copy)]
struct Style {
    style: LogStyle,
    colours: bool,
}

/// All that lines go to. Each is written by a thread of its own, so that one that takes nothing does not
/// hold up the others.
pub(super) struct Sink {
    style: Style,
    stderr: Option<Outlet>,
    file: Outlet,
    syslog: Outlet,
    /// One after the other may take over the settings.
    setting: Mutex<()>,
}

fn open(path: &Path) -> Result<File, String> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map_err(|error| format!("log.file: cannot open {}: {error}", path.display()))
}

impl Sink {
    /// # Errors
    /// There can be no threads, or something cannot be opened.
    pub fn start(log: &Log, quiet: bool) -> Result<Sink, String> {
        let colours = !quiet && log.file.is_none() && io::stderr().is_terminal();
        let style = Style {
            style: log.style,
            colours,
        };
        let outlet = |name| {
            let outlet = Outlet::start(name, style.lament(name == "syslog"));
            outlet.map_err(|error| format!("log: {error}"))
        };
        let sink = Sink {
            style,
            stderr: (!quiet).then(|| outlet("stderr")).transpose()?,
            file: outlet("file")?,
            syslog: outlet("syslog")?,
            setting: Mutex::new(()),
        };
        if let Some(stderr) = &sink.stderr {
            stderr.set(Some(Target::Stderr));
        }
        sink.set(log)?;
        Ok(sink)
    }

    /// # Errors
    /// What cannot be opened; nothing has changed then.
    pub fn set(&self, log: &Log) -> Result<(), String> {
        let _alone = self.setting.lock();
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
        self.file.set(file.map(Target::File));
        self.syslog.set(syslog.map(Target::Syslog));
        Ok(())
    }

    pub fn write(&self, said: &Said) {
        let lines = self.lines().filter(|outlet| outlet.is_open());
        let mut line = None;
        for outlet in lines {
            let line: &Line = line.get_or_insert_with(|| self.style.line(said));
            outlet.write(line.clone());
        }
        if self.syslog.is_open() {
            self.syslog.write(system_line(said));
        }
    }

    fn lines(&self) -> impl Iterator<Item = &Outlet> {
        self.stderr.iter().chain([&self.file])
    }

    fn all(&self) -> impl Iterator<Item = &Outlet> {
        self.lines().chain([&self.syslog])
    }

    /// How many lines came too fast for what they were meant for.
    pub fn lost(&self) -> u64 {
        self.all().map(Outlet::lost).sum()
    }

    pub fn flush(&self, until: Instant) {
        self.all().for_each(|outlet| outlet.flush(until));
    }
}

impl Style {
    fn line(self, said: &Said) -> Line {
        let text = match self.style {
            LogStyle::Text => text::text(said, self.colours),
            LogStyle::Json => text::json(said),
            LogStyle::PgBouncer => pgbouncer::line(said),
        };
        Line {
            level: said.level,
            text: text.into(),
        }
    }

    fn lament(self, system: bool) -> Lament {
        Box::new(move |lines| {
            let message = format!("{lines} lines of the log are missing: they came too fast");
            let said = Said::new(Level::WARN, module_path!(), message);
            match system {
                true => system_line(&said),
                false => self.line(&said),
            }
        })
    }
}

/// The system's log has times and levels of its own.
fn system_line(said: &Said) -> Line {
    Line {
        level: said.level,
        text: pgbouncer::text(said).into(),
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
