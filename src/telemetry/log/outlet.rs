//! A way out of the process for log lines, with a thread of its own: who logs never waits for a
//! disk, a terminal or a pipe that nobody reads.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use syslog::{Formatter3164, Logger, LoggerBackend};
use tracing::Level;

/// Lines that wait, at most.
const LINES: usize = 4096;
/// Bytes of lines that wait, at most.
const BYTES: usize = 4 * 1024 * 1024;
/// Of both, what only errors may take.
const FOR_ERRORS: usize = BYTES / 4;
/// A shorter line counts for as much, so that those that may wait are no more than there are places for.
const SHORTEST: usize = BYTES / LINES;

/// Where a line ends up.
pub(super) enum Target {
    Stderr,
    File(File),
    Syslog(Logger<LoggerBackend, Formatter3164>),
}

/// A line as it is written.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub level: Level,
    pub text: Arc<str>,
}

impl Line {
    /// Of the bytes that may wait.
    fn takes(&self) -> usize {
        self.text.len().max(SHORTEST)
    }
}

enum Job {
    Line(Line),
    /// There is another target, or none.
    Look,
    /// Everything before it has been written.
    Flush(SyncSender<()>),
}

/// Says in the log's style how many lines were lost.
pub(super) type Lament = Box<dyn Fn(u64) -> Line + Send>;

pub(super) struct Outlet {
    queue: SyncSender<Job>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_open: AtomicBool,
    /// Takes the place of the target that is written to.
    next: Mutex<Option<Option<Target>>>,
    waiting: AtomicUsize,
    lost: AtomicU64,
}

impl Outlet {
    /// # Errors
    /// There can be no thread for it.
    pub fn start(name: &str, lament: Lament) -> io::Result<Outlet> {
        let (queue, jobs) = mpsc::sync_channel(LINES);
        let state = Arc::new(State::default());
        let writer = Writer {
            state: Arc::clone(&state),
            target: None,
            lamented: 0,
            lament,
        };
        let thread = thread::Builder::new().name(format!("log-{name}"));
        thread.spawn(move || writer.run(&jobs))?;
        Ok(Outlet { queue, state })
    }

    /// Lines go there from now on; those that wait already, too.
    pub fn set(&self, target: Option<Target>) {
        self.state
            .is_open
            .store(target.is_some(), Ordering::Release);
        *self.state.next.lock() = Some(target);
        // If there is no room, the next line does as well.
        let _ = self.queue.try_send(Job::Look);
    }

    pub fn is_open(&self) -> bool {
        self.state.is_open.load(Ordering::Acquire)
    }

    /// Passes it on, unless too many wait.
    pub fn write(&self, line: Line) {
        let size = line.takes();
        let most = match line.level {
            Level::ERROR => BYTES,
            _ => BYTES - FOR_ERRORS,
        };
        let waiting = self.state.waiting.fetch_add(size, Ordering::AcqRel);
        if waiting + size > most || self.queue.try_send(Job::Line(line)).is_err() {
            self.state.waiting.fetch_sub(size, Ordering::AcqRel);
            self.state.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines had no room.
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, but not longer than that.
    pub fn flush(&self, until: Instant) {
        let (done, is_done) = mpsc::sync_channel(1);
        let mut job = Job::Flush(done);
        while let Err(TrySendError::Full(again)) = self.queue.try_send(job) {
            if Instant::now() >= until {
                return;
            }
            job = again;
            thread::sleep(Duration::from_millis(5));
        }
        let _ = is_done.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// What the thread has.
struct Writer {
    state: Arc<State>,
    target: Option<Target>,
    /// Lines whose loss has been written down.
    lamented: u64,
    lament: Lament,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            if let Some(next) = self.state.next.lock().take() {
                self.target = next;
            }
            match job {
                Job::Line(line) => {
                    self.write(&line);
                    self.state.waiting.fetch_sub(line.takes(), Ordering::AcqRel);
                }
                Job::Look => {}
                Job::Flush(done) => drop(done.send(())),
            }
            // There is room again, so the next lines come behind this one.
            let lost = self.state.lost.load(Ordering::Relaxed);
            if lost > self.lamented {
                let line = (self.lament)(lost - self.lamented);
                self.lamented = lost;
                self.write(&line);
            }
        }
    }

    /// What cannot be written is gone: a full disk must not stop anything else.
    fn write(&mut self, line: &Line) {
        match &mut self.target {
            Some(Target::Stderr) => drop(io::stderr().write_all(line.text.as_bytes())),
            Some(Target::File(file)) => drop(file.write_all(line.text.as_bytes())),
            Some(Target::Syslog(logger)) => {
                let text = &*line.text;
                drop(match line.level {
                    Level::ERROR => logger.err(text),
                    Level::WARN => logger.warning(text),
                    Level::INFO => logger.info(text),
                    _ => logger.debug(text),
                });
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;

    use super::*;

    fn line(level: Level, text: String) -> Line {
        let text = text.into();
        Line { level, text }
    }

    /// Nobody reads, then somebody does: nobody waits, order is kept, and what is missing is said.
    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_up() {
        // Many bytes, and few of them in many lines.
        for long in [1000, 1] {
            with_lines_of(long);
        }
    }

    fn with_lines_of(length: usize) {
        let (mut reader, writer) = io::pipe().unwrap();
        let outlet = Outlet::start(
            "test",
            Box::new(|n| line(Level::WARN, format!("lost {n}\n"))),
        );
        let outlet = outlet.unwrap();
        outlet.set(Some(Target::File(File::from(OwnedFd::from(writer)))));
        let began = Instant::now();
        let long = "x".repeat(length);
        for n in 0..20_000 {
            outlet.write(line(Level::INFO, format!("{n} {long}\n")));
        }
        // Errors have room of their own.
        let before = outlet.lost();
        outlet.write(line(Level::ERROR, "error\n".to_owned()));
        assert_eq!(outlet.lost(), before);
        // The pipe itself has room for 64 KiB.
        assert!(before > 5_000, "{before}");
        outlet.flush(Instant::now() + Duration::from_millis(50));
        assert!(began.elapsed() < Duration::from_secs(5));

        let all = thread::spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).unwrap();
            all
        });
        outlet.flush(Instant::now() + Duration::from_secs(20));
        outlet.set(None);
        outlet.flush(Instant::now() + Duration::from_secs(20));
        let all = all.join().unwrap();
        let numbers = all
            .lines()
            .filter_map(|l| l.split_once(' ')?.0.parse::<u64>().ok());
        let numbers: Vec<u64> = numbers.collect();
        assert!(numbers.is_sorted());
        assert_eq!(numbers.len() as u64 + before, 20_000);
        assert!(all.lines().any(|l| l == "error"));
        // The thread may have begun to write late, and told of some before it stood still.
        let laments = all.lines().filter_map(|l| l.strip_prefix("lost "));
        let lamented: u64 = laments.map(|n| n.parse::<u64>().unwrap()).sum();
        assert_eq!(lamented, before);
    }
}
