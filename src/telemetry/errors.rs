//! Reports panics and internal errors to Sentry, or whatever speaks its protocol.
//!
//! A report has the message of the log line and, of its fields, what the error was and counts; no user,
//! database, address or statement. A panic has its place and its text where that is fixed in the program: what
//! is put together at run time may quote a client. Reports are few (a second one of the same place waits
//! its turn), and when the receiver is slow or away they are dropped and counted.

use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Request;
use sentry::protocol::{Event as Report, Exception, Level as Severity};
use sentry::{Client, ClientOptions, Envelope, Transport};
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::failures::Failures;
use super::log::limit::{Admitted, Limits};
use super::post::{self, Poster};
use crate::admin::console::{Untold, What};
use crate::config::SentrySettings;

/// Reports that wait.
const QUEUE: usize = 32;
/// Of one place in the program: one a second, and ten at once.
const PER_SECOND: u32 = 1;
/// Bytes of a text.
const TEXT_MAX: usize = 1024;
/// What panics say in the log; they are reported as what they are.
pub(super) const PANICS: &str = "pgweir::panic";

/// Where reports go.
pub struct Reporter {
    client: Client,
    limits: Limits,
    queue: Arc<Queue>,
}

#[derive(Debug)]
enum Job {
    Send(Bytes),
    Flush(std::sync::mpsc::SyncSender<()>),
}

#[derive(Debug)]
struct Queue {
    jobs: mpsc::Sender<Job>,
    dropped: Arc<AtomicU64>,
}

impl Transport for Queue {
    fn send_envelope(&self, envelope: Envelope) {
        let mut bytes = Vec::new();
        let written = envelope.to_writer(&mut bytes);
        if written.is_err() || self.jobs.try_send(Job::Send(bytes.into())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Begins to report, if that is wanted.
///
/// # Errors
/// A DSN that cannot be used, or no thread.
pub fn start(settings: &SentrySettings) -> Result<Option<Arc<Reporter>>, String> {
    let Some(dsn) = &settings.dsn else {
        return Ok(None);
    };
    let wrong = |error: &dyn std::fmt::Display| format!("sentry.dsn: {error}");
    let dsn: sentry::types::Dsn = dsn.show().parse().map_err(|e| wrong(&e))?;
    let url = dsn.envelope_api_url().to_string();
    let auth = dsn.to_auth(Some(AGENT)).to_string();
    let poster = Poster::new(&url).map_err(|e| wrong(&e))?;
    let (jobs, inbox) = mpsc::channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let sending = send_all(inbox, poster, url, auth, Arc::clone(&dropped));
    post::on_a_thread("sentry", sending).map_err(|e| wrong(&e))?;
    let queue = Arc::new(Queue { jobs, dropped });
    let environment = Some(settings.environment.clone()).filter(|e| !e.is_empty());
    let client = Client::from(ClientOptions {
        dsn: Some(dsn),
        release: Some(concat!("pgweir@", env!("CARGO_PKG_VERSION")).into()),
        environment: environment.map(Into::into),
        transport: Some(Arc::new(Arc::clone(&queue))),
        max_breadcrumbs: 0,
        default_integrations: false,
        ..ClientOptions::default()
    });
    let limits = Limits::default();
    limits.set(PER_SECOND);
    Ok(Some(Arc::new(Reporter {
        client,
        limits,
        queue,
    })))
}

const AGENT: &str = concat!("pgweir/", env!("CARGO_PKG_VERSION"));

async fn send_all(
    mut inbox: mpsc::Receiver<Job>,
    poster: Poster,
    url: String,
    auth: String,
    dropped: Arc<AtomicU64>,
) {
    let mut failures = Failures::of("an error could not be reported to Sentry");
    while let Some(job) = inbox.recv().await {
        let body = match job {
            Job::Send(body) => body,
            Job::Flush(done) => {
                let _ = done.try_send(());
                continue;
            }
        };
        let request = Request::post(&url)
            .header("content-type", "application/x-sentry-envelope")
            .header("user-agent", AGENT)
            .header("x-sentry-auth", &auth)
            .body(body);
        let sent = match request {
            Ok(request) => poster
                .post(request)
                .await
                .map(drop)
                .map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match sent {
            Ok(()) => failures.over(),
            Err(error) => {
                dropped.fetch_add(1, Ordering::Relaxed);
                failures.note(&error);
            }
        }
    }
}

impl Reporter {
    fn report(&self, report: Report<'static>) {
        self.client.capture_event(report, None);
    }

    /// Once a panic is in the log.
    fn panicked(&self, panic: &PanicHookInfo<'_>) {
        let place = panic
            .location()
            .map_or_else(String::new, ToString::to_string);
        let fixed = panic.payload().downcast_ref::<&'static str>();
        let thread = std::thread::current();
        let value = fixed.map_or("(its text may quote a client: see the log)", |text| text);
        let exception = Exception {
            ty: "panic".to_owned(),
            value: Some(format!("{value} at {place}")),
            ..Exception::default()
        };
        let mut report = Report {
            level: Severity::Fatal,
            culprit: Some(place),
            exception: vec![exception].into(),
            ..Report::default()
        };
        let name = thread.name().unwrap_or_default();
        report.tags.insert("thread".to_owned(), name.to_owned());
        self.report(report);
    }

    /// Before the process ends: waits for what is under way, but not longer than that.
    pub fn finish(&self, limit: Duration) {
        post::drain(&self.queue.jobs, Job::Flush, limit);
    }

    /// For metrics.
    pub fn untold(&self) -> Untold {
        Untold {
            what: What::ErrorReports,
            count: self.queue.dropped.load(Ordering::Relaxed),
        }
    }
}

/// Puts panics into the log, and reports them. Whoever has caught them before is not asked.
pub fn catch_panics(reporter: Option<Arc<Reporter>>) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("(no name)");
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => backtrace.to_string(),
            _ => String::new(),
        };
        tracing::error!(target: PANICS, backtrace, "thread '{name}' {panic}");
        if let Some(reporter) = &reporter {
            reporter.panicked(panic);
        }
    }));
}

/// The target of lines that may quote the configuration, in which there are passwords, names and addresses.
pub const CONFIGURATION: &str = "pgweir::configuration";
/// What is reported of them.
const UNUSABLE: &str = "a start or a reload failed: the log says why";

/// Reports what the log says as an error.
pub struct Errors(pub Arc<Reporter>);

impl<S: Subscriber> Layer<S> for Errors {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() != Level::ERROR || metadata.target() == PANICS {
            return;
        }
        let reporter = &self.0;
        let admitted = reporter.limits.admit(&metadata.callsite(), Instant::now());
        if admitted != Admitted::Yes {
            reporter.queue.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut report = Report {
            level: Severity::Error,
            logger: Some(metadata.target().to_owned()),
            culprit: metadata
                .file()
                .zip(metadata.line())
                .map(|(f, l)| format!("{f}:{l}")),
            ..Report::default()
        };
        match metadata.target() {
            CONFIGURATION => report.message = Some(UNUSABLE.to_owned()),
            _ => event.record(&mut Shown(&mut report)),
        }
        reporter.report(report);
    }
}

/// Takes what may be shown of an event.
struct Shown<'a>(&'a mut Report<'static>);

impl Visit for Shown<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "failures" || field.name() == "attempts" {
            self.0.extra.insert(field.name().to_owned(), value.into());
        }
    }

    fn record_i64(&mut self, _: &Field, _: i64) {}

    fn record_bool(&mut self, _: &Field, _: bool) {}

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let shown = || {
            let mut text = format!("{value:?}");
            text.truncate(text.floor_char_boundary(TEXT_MAX));
            text
        };
        match field.name() {
            "message" => self.0.message = Some(shown()),
            "error" => drop(self.0.extra.insert("error".to_owned(), shown().into())),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::config::Hidden;

    /// What is put together at run time may quote a client: it is not sent.
    #[test]
    fn a_panic_is_reported_without_what_it_may_quote() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let settings = SentrySettings {
            dsn: Some(Hidden::new(&format!("http://key@{address}/1"))),
            environment: String::new(),
        };
        let reporter = start(&settings).unwrap();
        let before = std::panic::take_hook();
        catch_panics(reporter);
        let quoted = "a secret".to_owned();
        let _ = std::thread::spawn(|| panic!("a fixed text")).join();
        let _ = std::thread::spawn(move || panic!("it quotes {quoted}")).join();
        std::panic::set_hook(before);
        let request = || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            while !text.ends_with("}\n") && !text.ends_with("}") {
                let mut part = [0; 4096];
                let n = stream.read(&mut part).unwrap();
                text += str::from_utf8(&part[..n]).unwrap();
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
            text
        };
        let (fixed, quoting) = (request(), request());
        assert!(fixed.contains("\"level\":\"fatal\"") && fixed.contains("a fixed text at src"));
        assert!(
            quoting.contains("errors.rs") && !quoting.contains("secret"),
            "{quoting}"
        );
    }
}
