//! Spans of transactions, for OpenTelemetry.
//!
//! Nothing is measured for them: when a transaction ends, its span is made from the times that were
//! taken anyway ([`Transaction`]), and queued for a thread that exports it. Who is to be recorded is decided
//! then, without anything shared between threads. When the queue is full, or the receiver away, spans are
//! dropped and counted.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hyper::{Request, Response};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::mpsc;

use super::failures::Failures;
use super::post::{self, Poster};
use crate::admin::console::{Untold, What};
use crate::client::info::ClientInfo;
use crate::config::TraceSettings;
use crate::sql::TraceParent;

/// Transactions that wait to be exported.
const QUEUE: usize = 4096;
/// Transactions in one request.
const BATCH: usize = 512;
/// How long a span may wait for others.
const DELAY: Duration = Duration::from_secs(1);

/// A transaction that has ended.
#[derive(Debug)]
pub struct Transaction {
    pub client: Arc<ClientInfo>,
    /// The span of the application's that it belongs to.
    pub parent: Option<TraceParent>,
    pub ended: Instant,
    /// How long it waited for its server connection.
    pub waited: Duration,
    /// How long it had that, or looked for its answer in the cache.
    pub served: Duration,
    pub by: Server,
    /// Answers from the cache.
    pub hits: u32,
    /// Why it did not end as its client wanted.
    pub failed: Option<&'static str>,
}

/// What has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// A server connection, by its number.
    Connection(u64),
    Cache,
}

/// Decides what is recorded, and passes it on.
pub struct Tracer {
    /// Of 2⁶⁴.
    sample: u64,
    hasher: RandomState,
    queue: mpsc::Sender<Job>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Job {
    Export(Box<Transaction>),
    Flush(std::sync::mpsc::SyncSender<()>),
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tracer")
    }
}

impl Tracer {
    /// Begins to trace, if that is wanted.
    ///
    /// # Errors
    /// An endpoint that cannot be used, or no thread.
    pub fn start(settings: &TraceSettings) -> Result<Option<Arc<Tracer>>, String> {
        let Some(endpoint) = &settings.endpoint else {
            return Ok(None);
        };
        let wrong = |error: &dyn std::fmt::Display| format!("traces.endpoint: {error}");
        let headers: HashMap<String, String> = settings
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.show().to_owned()))
            .collect();
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Poster::new(endpoint).map_err(|e| wrong(&e))?)
            .with_endpoint(endpoint)
            .with_headers(headers)
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(|e| wrong(&e))?;
        let resource = Resource::builder_empty()
            .with_service_name(settings.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        exporter.set_resource(&resource);
        let (queue, inbox) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let export = export_all(inbox, exporter, Arc::clone(&counts));
        post::on_a_thread("traces", export).map_err(|e| wrong(&e))?;
        Ok(Some(Arc::new(Tracer {
            sample: share(settings.sample),
            hasher: RandomState::new(),
            queue,
            counts,
        })))
    }

    /// Whether a transaction is recorded that ends now: as its application's is, or by chance.
    pub fn samples(&self, parent: Option<TraceParent>, client: u64, micros: u64) -> bool {
        match parent {
            Some(parent) => parent.sampled,
            None => self.sample > 0 && self.hasher.hash_one((client, micros)) <= self.sample,
        }
    }

    pub fn record(&self, transaction: Transaction) {
        let job = Job::Export(Box::new(transaction));
        if self.queue.try_send(job).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Before the process ends: waits for what is queued, but not longer than that.
    pub fn finish(&self, limit: Duration) {
        post::drain(&self.queue, Job::Flush, limit);
    }

    /// For metrics.
    pub fn untold(&self) -> [Untold; 2] {
        [
            Untold {
                what: What::Traced,
                count: self.counts.exported.load(Ordering::Relaxed),
            },
            Untold {
                what: What::TracedLost,
                count: self.counts.dropped.load(Ordering::Relaxed),
            },
        ]
    }
}

impl HttpClient for Poster {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move { Ok(self.post(request).await?) })
    }
}

async fn export_all(
    mut inbox: mpsc::Receiver<Job>,
    exporter: opentelemetry_otlp::SpanExporter,
    counts: Arc<Counts>,
) {
    let mut failures = Failures::of("spans cannot be exported");
    let mut jobs = Vec::with_capacity(BATCH);
    while inbox.recv_many(&mut jobs, 1).await > 0 {
        let until = tokio::time::Instant::now() + DELAY;
        while jobs.len() < BATCH && !matches!(jobs.last(), Some(Job::Flush(_))) {
            let room = BATCH - jobs.len();
            let more = tokio::time::timeout_at(until, inbox.recv_many(&mut jobs, room)).await;
            if !matches!(more, Ok(1..)) {
                break;
            }
        }
        let (mut spans, mut transactions, mut waiting) = (Vec::new(), 0, Vec::new());
        for job in jobs.drain(..) {
            match job {
                Job::Export(transaction) => {
                    transactions += 1;
                    spans_of(&transaction, &mut spans);
                }
                Job::Flush(done) => waiting.push(done),
            }
        }
        if transactions > 0 {
            match exporter.export(spans).await {
                Ok(()) => {
                    failures.over();
                    counts.exported.fetch_add(transactions, Ordering::Relaxed);
                }
                Err(error) => {
                    counts.dropped.fetch_add(transactions, Ordering::Relaxed);
                    failures.note(&error);
                }
            }
        }
        for done in waiting {
            let _ = done.try_send(());
        }
    }
}

/// Of 2⁶⁴; the largest number stands for all.
fn share(sample: f64) -> u64 {
    (sample * u64::MAX as f64) as u64
}

/// Random bytes; without any, spans would get mixed up, but nothing else.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [1; N];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

/// The transaction's span, and one for each of its parts.
fn spans_of(transaction: &Transaction, spans: &mut Vec<SpanData>) {
    let client = &transaction.client;
    let end = SystemTime::now() - transaction.ended.elapsed();
    let served = end - transaction.served;
    let begin = served - transaction.waited;
    let trace = match transaction.parent {
        Some(parent) => TraceId::from(parent.trace),
        None => TraceId::from_bytes(random()),
    };
    let root = SpanId::from_bytes(random());
    let parent = transaction.parent.map(|parent| SpanId::from(parent.span));
    let span = |id,
                parent: Option<SpanId>,
                name: &'static str,
                kind,
                [from, to]: [SystemTime; 2]| {
        SpanData {
            span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: id == root && parent.is_some(),
            span_kind: kind,
            name: name.into(),
            start_time: from,
            end_time: to,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("pgweir")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    };
    let mut whole = span(root, parent, "transaction", SpanKind::Server, [begin, end]);
    let application = client.application_name.as_deref().unwrap_or_default();
    whole.attributes = vec![
        KeyValue::new("db.system.name", "postgresql"),
        KeyValue::new("db.namespace", client.database.to_string()),
        KeyValue::new("pgweir.user", client.user.to_string()),
        KeyValue::new("pgweir.client", client.id as i64),
        KeyValue::new("pgweir.application", application.to_owned()),
        KeyValue::new("pgweir.cache_hits", i64::from(transaction.hits)),
    ];
    if let Some(why) = transaction.failed {
        whole.status = Status::error(why);
    }
    spans.push(whole);
    let mut part = |name, kind, times| {
        let id = SpanId::from_bytes(random());
        let part = span(id, Some(root), name, kind, times);
        spans.push(part);
        spans.len() - 1
    };
    if !transaction.waited.is_zero() {
        part("wait", SpanKind::Internal, [begin, served]);
    }
    match transaction.by {
        Server::Cache => drop(part("cache", SpanKind::Internal, [served, end])),
        Server::Connection(number) => {
            let at = part("server", SpanKind::Client, [served, end]);
            let number = KeyValue::new("pgweir.server", number as i64);
            spans[at].attributes.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(sample: f64) -> Tracer {
        Tracer {
            sample: share(sample),
            hasher: RandomState::new(),
            queue: mpsc::channel(1).0,
            counts: Arc::default(),
        }
    }

    #[test]
    fn as_many_are_recorded_as_are_wanted() {
        // Of one client, and of many at the same moment. A tenth is 10,000, with a deviation of 95.
        for (sample, least, most) in [(0.1, 9_400, 10_600), (0.0, 0, 0), (1.0, 100_000, 100_000)] {
            let tracer = tracer(sample);
            let times = (0..100_000).filter(|n| tracer.samples(None, 7, *n)).count();
            let clients = (0..100_000).filter(|n| tracer.samples(None, *n, 7)).count();
            for recorded in [times, clients] {
                assert!((least..=most).contains(&recorded), "{sample}: {recorded}");
            }
        }
    }

    #[test]
    fn who_has_a_parent_is_recorded_as_that_is() {
        let parent = |sampled| TraceParent {
            trace: 1,
            span: 2,
            sampled,
        };
        for sample in [0.0, 0.1, 1.0] {
            let tracer = tracer(sample);
            for n in 0..1000 {
                assert!(tracer.samples(Some(parent(true)), 7, n), "{sample}");
                assert!(!tracer.samples(Some(parent(false)), 7, n), "{sample}");
            }
        }
    }
}
