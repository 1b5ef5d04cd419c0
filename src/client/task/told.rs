//! What the log says of a request that took long, and what traces say of a transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::active::Active;
use super::{ClientTask, Phase, Surroundings};
use crate::client::info::{ClientInfo, Now, log_client};
use crate::protocol::frame::{self, HEADER};
use crate::protocol::frontend;
use crate::sql;
use crate::telemetry::events::Timeout;
use crate::telemetry::traces::{Server, Tracer, Transaction};

/// A transaction begins, behind a wait for its server connection.
#[inline]
pub(super) fn begins(active: &mut Active, context: &Surroundings, waited: u64) {
    let (shown, traced) = wanted(active, context);
    if traced || shown.is_some() {
        active.x.told.begin(shown, traced, waited);
    }
}

/// A transaction has begun on a connection that was kept.
#[inline]
pub(super) fn begins_kept(active: &mut Active, context: &Surroundings) {
    let (shown, traced) = wanted(active, context);
    active.x.told.begin_kept(shown, traced);
}

/// How much of a statement the log may show, if it wants to, and whether the transaction may be traced.
#[inline]
fn wanted(active: &Active, context: &Surroundings) -> (Option<usize>, bool) {
    let log = active.settings.as_deref().map(|settings| settings.log);
    let slow = log.filter(|log| !log.slow_query.is_zero());
    let traced = log.is_some() && context.tracer.is_some();
    (slow.map(|log| log.statement_length), traced)
}

/// How a statement ends.
#[derive(Debug, Clone, Copy)]
enum Ends {
    Answered,
    /// Its server connection is given up, or its client is gone.
    CutOff,
}

/// A statement that began at `began` ([`Now::micros`]) is answered.
pub(super) fn statement_over(active: &mut Active, info: &ClientInfo, began: u64, now: Now) {
    ends(active, info, began, now, Ends::Answered);
}

/// A statement that may be under way will not be answered by the server.
pub(super) fn statement_cut_off(active: &mut Active, info: &ClientInfo, now: Now) {
    if let Some(began) = active.statement_began {
        ends(active, info, began, now, Ends::CutOff);
    }
}

#[inline]
fn ends(active: &mut Active, info: &ClientInfo, began: u64, now: Now, how: Ends) {
    let Some(settings) = active.settings.as_deref() else {
        return;
    };
    let limit = settings.log.slow_query;
    if limit.is_zero() {
        return;
    }
    let served = now.micros.saturating_sub(began);
    let waited = active.x.told.take_wait();
    if u128::from(served + waited) >= limit.as_micros() {
        say(active, info, waited, served, how);
    }
    active.x.told.forget();
}

#[cold]
fn say(active: &Active, info: &ClientInfo, waited: u64, served: u64, how: Ends) {
    let (statement, others) = active.x.told.shown();
    let millis = |micros: u64| micros as f64 / 1000.0;
    log_client!(
        warn,
        info,
        server_connection = server(active),
        duration_ms = millis(waited + served),
        wait_ms = millis(waited),
        server_ms = millis(served),
        others,
        answered = matches!(how, Ends::Answered),
        statement,
        "slow query"
    );
}

fn server(active: &Active) -> u64 {
    match &active.phase {
        Phase::Attached(server) => server.info.id,
        _ => 0,
    }
}

/// A transaction that has had its server connection since `began` is over.
#[inline]
pub(super) fn transaction_over(
    active: &mut Active,
    context: &Surroundings,
    info: &Arc<ClientInfo>,
    began: u64,
    now: Now,
) {
    if let Some(tracer) = &context.tracer {
        record(tracer, active, info, began, now);
        active.x.told.over();
    }
}

fn record(tracer: &Tracer, active: &Active, info: &Arc<ClientInfo>, began: u64, now: Now) {
    let told = &active.x.told;
    let (parent, hits) = (told.parent, told.hits);
    let waited = told.transaction_wait();
    if tracer.samples(parent, info.id, now.micros) {
        tracer.record(Transaction {
            client: Arc::clone(info),
            parent,
            ended: now.instant,
            waited: Duration::from_micros(waited),
            served: Duration::from_micros(now.micros.saturating_sub(began)),
            by: Server::Connection(server(active)),
            hits,
            failed: told.failure(),
        });
    }
}

/// Client and server connection go separate ways: a transaction that is still under way has failed.
#[inline]
pub(super) fn transaction_cut_off(
    active: &mut Active,
    context: &Surroundings,
    info: &Arc<ClientInfo>,
    now: Now,
) {
    if let (Some(_), Some(began), Phase::Attached(_)) =
        (&context.tracer, active.began, &active.phase)
    {
        active.x.told.fails("server connection taken away");
        transaction_over(active, context, info, began, now);
    }
}

impl ClientTask {
    /// The transaction, if there is one, does not end as its client wants.
    pub(super) fn fails(&mut self, why: &'static str) {
        if let Some(active) = &mut self.active {
            active.x.told.fails(why);
        }
    }

    /// A limit of the client's is over. What it stays after is told here; what it leaves by, where it does.
    #[cold]
    pub(super) fn note_timeout(&mut self, which: Timeout) {
        self.pool.note_timeout(self.worker.home(), which);
        // In a place of its own each: one that is frequent does not silence the others.
        macro_rules! say {
            ($limit:ident, $name:literal) => {{
                let limit = self.limit(|t| t.$limit);
                let (server_connection, statement) = self.runs();
                log_client!(
                    warn,
                    self.info,
                    reason = $name,
                    ?limit,
                    server_connection,
                    statement,
                    "timed out"
                );
                $name
            }};
        }
        let name = match which {
            Timeout::QueryWait => say!(query_wait, "query_wait_timeout"),
            Timeout::Query => say!(query, "query_timeout"),
            Timeout::CancelWait => say!(cancel_wait, "cancel_wait_timeout"),
            Timeout::Transaction => say!(transaction, "transaction_timeout"),
            Timeout::IdleTransaction => say!(idle_transaction, "idle_transaction_timeout"),
            Timeout::ClientWrite => "client_write_timeout",
            Timeout::ClientIdle | Timeout::ClientLogin => return,
        };
        self.fails(name);
    }

    /// The server connection that it has, and what that is working on, as far as `slow_query` has it kept.
    fn runs(&self) -> (Option<u64>, Option<String>) {
        let active = self.active.as_deref();
        let attached = active.filter(|active| matches!(active.phase, Phase::Attached(_)));
        let statement = attached.map(|active| active.x.told.shown().0);
        (attached.map(server), statement.filter(|s| !s.is_empty()))
    }

    /// A request is about to be answered from the cache, in a transaction block or by itself.
    #[inline]
    pub(super) fn trace_hit(&mut self, in_block: bool, now: Now) {
        if self.context.tracer.is_some() {
            self.record_hit(in_block, now);
        }
    }

    fn record_hit(&mut self, in_block: bool, now: Now) {
        let (Some(tracer), Some(active)) = (&self.context.tracer, self.active.as_mut()) else {
            return;
        };
        let parent = parent_of(active.x.up.unscanned());
        let told = &mut active.x.told;
        if in_block {
            told.hits += 1;
            told.parent = told.parent.or(parent);
        } else if tracer.samples(parent, self.info.id, now.micros) {
            tracer.record(Transaction {
                client: Arc::clone(&self.info),
                parent,
                ended: Instant::now(),
                waited: Duration::ZERO,
                served: now.instant.elapsed(),
                by: Server::Cache,
                hits: 1,
                failed: None,
            });
        }
    }
}

/// What the text at the beginning of a request says.
fn parent_of(bytes: &[u8]) -> Option<sql::TraceParent> {
    let header = frame::header(bytes).ok()??;
    let body = bytes.get(HEADER..header.total)?;
    let text = match header.tag {
        b'Q' => frontend::query_text(body)?,
        b'P' => frontend::parse(body)?.query,
        _ => return None,
    };
    sql::traceparent(text)
}
