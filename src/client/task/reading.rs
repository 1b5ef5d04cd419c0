//! Whether a request is a read, and whether it goes to a replica: decided where a server connection is asked
//! for, so that it holds for one request, or for the block that it begins.

use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use super::{ClientTask, Phase, Step};
use crate::cache::analysis::{Hint, leading_hint};
use crate::client::info::Now;
use crate::config::{PoolMode, ReadYourWrites, Reads};
use crate::pool::Pool;
use crate::pool::reads::NoReplica;
use crate::pool::settings::PoolSettings;
use crate::pool::stats::{Counter, Shard};
use crate::server::Server;
use crate::session::link::Leash;
use crate::session::statement::{Source, Statement};
use crate::session::unit::{self, Part};
use crate::sql::{self, Class};

impl ClientTask {
    /// Whose connection it has, or waits for.
    #[inline]
    pub(super) fn lender(&self) -> &Arc<Pool> {
        let lender = self.active.as_ref().and_then(|a| a.lender.as_ref());
        lender.unwrap_or(&self.pool)
    }

    /// Whether that is not its own pool's: a replica's.
    #[inline]
    pub(super) fn is_lent(&self) -> bool {
        self.active.as_ref().is_some_and(|a| a.lender.is_some())
    }

    pub(super) fn count_read(&self, which: impl Fn(&Shard) -> &Counter) {
        which(self.pool.shard(self.worker.home())).add(1);
    }

    /// Which pool the next request asks for a connection; `None` for its own.
    #[inline]
    pub(super) fn way(&mut self) -> Option<Arc<Pool>> {
        if let Some(active) = &mut self.active {
            // Of a request that came to nothing.
            active.x.leash = Leash::None;
            active.x.may_write = false;
        }
        let settings = self.pool.settings();
        if settings.database.roles.reads == Reads::Off || settings.mode == PoolMode::Session {
            return None;
        }
        drop(settings);
        self.way_of_read()
    }

    fn way_of_read(&mut self) -> Option<Arc<Pool>> {
        let settings = self.pool.settings_now();
        let is_read = self.is_read(&settings);
        let active = self.active.as_mut()?;
        active.x.may_write = !is_read;
        let reads = self.pool.reads()?;
        if !is_read {
            self.count_read(|shard| &shard.not_reads);
            return None;
        }
        active.x.leash = Leash::OneRequest;
        match reads.pool.replica_for(self.must_see()) {
            Ok(()) => Some(Arc::clone(&reads.pool)),
            Err(NoReplica::Nowhere) => {
                self.count_read(|shard| &shard.reads_nowhere);
                None
            }
            Err(NoReplica::Behind) => {
                self.count_read(|shard| &shard.reads_own_write);
                None
            }
        }
    }

    /// Writes that were over before this must be seen by its reads.
    fn must_see(&self) -> Option<Instant> {
        let rule = self.pool.settings().database.roles.read_your_writes;
        let reads = self.pool.reads()?;
        let last = match rule {
            ReadYourWrites::Off => return None,
            ReadYourWrites::Client => reads.writes.since(),
            ReadYourWrites::Application => reads.writes.last(self.application()),
        };
        Some(self.wrote_at.map_or(last, |own| own.max(last)))
    }

    /// What was asked of the primary may have been committed by now. To be called before the client, or anybody
    /// else, is told so.
    #[inline]
    pub(super) fn note_write(&mut self) {
        let active = self.active.as_ref();
        if active.is_some_and(|active| active.x.may_write && active.lender.is_none()) {
            self.wrote_now();
        }
    }

    fn wrote_now(&mut self) {
        // Not the moment at which the task was woken: what was written since then must not be older.
        let now = Instant::now();
        self.wrote_at = Some(now);
        let rule = self.pool.settings().database.roles.read_your_writes;
        if rule == ReadYourWrites::Application
            && let Some(reads) = self.pool.reads()
        {
            reads.writes.note(self.application(), now);
        }
    }

    /// A client that keeps its server goes on there, whatever the server is.
    pub(super) fn stay(&mut self) -> Option<Step> {
        let active = self.active.as_mut()?;
        if active.x.leash != Leash::Used {
            return None;
        }
        // One request at a time, so that the first one behind the end of the pin is decided about again.
        active.x.leash = Leash::OneRequest;
        active.x.may_write = true;
        Some(Step::Again)
    }

    /// Takes a connection that has been got, unless it is to a replica that lacks what the client has written.
    pub(super) fn attach_or_go_on(
        &mut self,
        server: Box<Server>,
        cx: &mut Context<'_>,
        now: Now,
    ) -> Step {
        if !self.is_lent() {
            return self.attach(server, now);
        }
        let since = self.must_see();
        if since.is_none_or(|since| self.lender().has_seen(&server.info, since)) {
            self.count_read(|shard| &shard.reads_replica);
            return self.attach(server, now);
        }
        self.lender()
            .release(server, self.worker.home(), now.instant);
        self.count_read(|shard| &shard.reads_own_write);
        if let Some(active) = self.active.as_mut() {
            active.phase = Phase::Detached;
        }
        self.checkout_from(None, cx, now)
    }

    /// Whether the next request may go to a replica as far as the pool's rules and the client's words say.
    fn is_read(&self, settings: &PoolSettings) -> bool {
        let Some(active) = self.active.as_ref() else {
            return false;
        };
        if !self.state.pins.is_empty() {
            return false;
        }
        let Some(parts) = unit::parts(active.x.up.unscanned(), &self.state) else {
            return false;
        };
        let Some(first) = parts.first().and_then(text) else {
            return false;
        };
        match leading_hint(first) {
            Some(Hint::Replica) => return true,
            Some(Hint::Primary) => return false,
            Some(Hint::Cache { .. } | Hint::NoCache) | None => {}
        }
        let level = settings.database.roles.reads;
        if level < Reads::Transaction {
            return false;
        }
        let session = Session::of(self);
        if let Some(begins) = sql::begins(first) {
            let serializable = begins.serializable.unwrap_or(session.serializable);
            let read_only = begins.read_only.unwrap_or(session.read_only);
            return parts.len() == 1 && read_only && !serializable;
        }
        if session.serializable {
            return false;
        }
        if session.read_only && parts.iter().all(|part| self.is_plain(part)) {
            return true;
        }
        level >= Reads::Auto && parts.iter().all(|part| self.only_reads(part, settings))
    }

    /// Whether it does nothing to the session, or to the transaction that it runs in.
    fn is_plain(&self, part: &Part<'_>) -> bool {
        let strings = self.state.seen.standard_conforming_strings();
        text(part).is_some_and(|text| {
            let plain = matches!(sql::classify(text, strings), Class::Plain);
            plain && !controls_transactions(text)
        })
    }

    /// Whether it is proved to be a read that a replica can run.
    fn only_reads(&self, part: &Part<'_>, settings: &PoolSettings) -> bool {
        let Some(judge) = &settings.cache else {
            return false;
        };
        judge.is_used();
        let own = self.state.settings.get("default_transaction_isolation");
        if own.is_none() && !judge.is_read_committed() {
            return false;
        }
        let strings = self.state.seen.standard_conforming_strings();
        let settings = &self.state.settings;
        match part {
            Part::Query(text) | Part::Parse(text) => {
                judge.judge(text, strings, settings).only_reads
            }
            Part::Statement(statement) => {
                let Some(text) = parsed(statement) else {
                    return false;
                };
                let slot = &statement.judged;
                let judged = judge.judge_statement(slot, text, strings, settings);
                judged.only_reads
            }
        }
    }
}

/// What a session has set about its transactions.
struct Session {
    read_only: bool,
    serializable: bool,
}

impl Session {
    fn of(task: &ClientTask) -> Session {
        let settings = &task.state.settings;
        let isolation = settings.get("default_transaction_isolation");
        Session {
            read_only: settings.is_on("default_transaction_read_only"),
            // A value that cannot be told counts as the one that replicas do not have.
            serializable: isolation.is_some_and(|set| {
                let set = set.replay.to_ascii_lowercase();
                !(set.contains("committed") || set.contains("repeatable"))
            }),
        }
    }
}

/// The SQL text of a part, where it has one by itself.
fn text<'a>(part: &Part<'a>) -> Option<&'a [u8]> {
    match part {
        Part::Query(text) | Part::Parse(text) => Some(text),
        Part::Statement(statement) => parsed(statement),
    }
}

fn parsed(statement: &Statement) -> Option<&[u8]> {
    match &statement.source {
        Source::Parse { query, .. } if statement.effects.is_none() => Some(query),
        Source::Parse { .. } | Source::Sql { .. } => None,
    }
}

/// Whether a text that does nothing to the session has a statement that begins or ends a transaction, as far as
/// its words tell.
fn controls_transactions(text: &[u8]) -> bool {
    use crate::sql::lexer::{Kind, Lexer};
    const WORDS: [&[u8]; 8] = [
        b"begin",
        b"start",
        b"commit",
        b"end",
        b"rollback",
        b"abort",
        b"transaction",
        b"prepared",
    ];
    let mut first = true;
    Lexer::new(text, true).any(|token| {
        let word = token.kind == Kind::Word && std::mem::take(&mut first);
        if token.kind == Kind::Symbol(b';') {
            first = true;
        }
        word && WORDS
            .iter()
            .any(|w| text[token.range()].eq_ignore_ascii_case(w))
    })
}
