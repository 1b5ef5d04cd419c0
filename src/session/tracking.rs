//! What a link's messages change in the database: told to the server connection's [`Writes`]
//! before they are sent.
//!
//! [`Writes`]: crate::cache::writes::Writes

use std::borrow::Cow;
use std::sync::Arc;

use super::link::Link;
use super::settings::Settings;
use super::statement::{Source, Statement};
use super::upstream::Body;
use crate::cache::analysis::prepared_body;
use crate::cache::judged::{Doing, Judged};
use crate::cache::path;
use crate::cache::pool::PoolCache;
use crate::cache::writes::Change;
use crate::protocol::frame::{self, HEADER};
use crate::protocol::frontend;
use crate::sql::{self, Effect};

/// Anything, the schema included.
const ANYTHING: Change = Change::Everything { schema: true };

/// Whether names may mean something else after it.
fn decides_names(effect: &Effect) -> bool {
    match effect {
        Effect::Set { name, .. }
        | Effect::Reset { name }
        | Effect::SetConfig { name, .. }
        | Effect::SetConfigNamed { name } => path::decides(&name.to_lowercase()),
        Effect::ResetAll | Effect::DiscardAll | Effect::SetConfigUnknown | Effect::Unknown => true,
        _ => false,
    }
}

impl Link<'_> {
    /// What a simple query does.
    #[inline]
    pub(super) fn judge_query(&mut self) -> Option<Arc<Judged>> {
        let cache = self.rules.cache?;
        if let Some(judged) = self.judged_before(cache) {
            return Some(judged);
        }
        let message = self.x.up.unscanned();
        let header = frame::header(message).ok()??;
        let text = frontend::query_text(message.get(HEADER..header.total)?)?;
        Some(self.judge(cache, text))
    }

    /// It was looked for in memory just now, most likely.
    #[inline]
    fn judged_before(&mut self, cache: &PoolCache) -> Option<Arc<Judged>> {
        let (schema, judged) = self.x.judged.take()?;
        (schema == cache.space.schema()).then_some(judged)
    }

    /// A simple query that was judged so is about to be sent.
    #[inline]
    pub(super) fn note_query(&mut self, judged: Option<Arc<Judged>>) {
        if let (Some(cache), Some(judged)) = (self.rules.cache, judged) {
            self.note(cache, &judged, &[]);
        }
    }

    /// The statement is about to be bound: executed, most likely, in the transaction that is open
    /// then.
    #[inline]
    pub(super) fn note_statement(&mut self, statement: &Arc<Statement>) {
        let strings = self.standard_strings();
        self.x.told.bound(statement, strings);
        if let Some(cache) = self.rules.cache {
            if let Some(effects) = &statement.effects {
                self.decide_names(effects);
            }
            self.note_source(cache, statement);
        }
    }

    /// A Parse message is about to be dealt with.
    #[inline]
    pub(super) fn note_parse(&mut self, body: Body) {
        self.x.tally.client_parses += 1;
        if self.x.told.wants_texts()
            && let Some(message) = frontend::parse(body.of(self.x.up.unscanned()))
        {
            let strings = self.server.reported.standard_conforming_strings();
            self.x.told.text(message.query, strings);
        }
    }

    fn note_source(&mut self, cache: &Arc<PoolCache>, statement: &Statement) {
        if let Some(judged) = self.judged_before(cache) {
            return self.note(cache, &judged, &statement.needs);
        }
        let strings = self.standard_strings();
        let judged = match &statement.source {
            Source::Parse { query, .. } => {
                cache.judge_statement(&statement.judged, query, strings, &self.settings_of_names())
            }
            Source::Sql { text } => match prepared_body(text, strings) {
                Some(body) => self.judge(cache, body),
                None => Arc::new(Judged::unknown()),
            },
        };
        self.note(cache, &judged, &statement.needs);
    }

    /// Something is about to be sent that cannot be looked at.
    pub(super) fn note_anything(&mut self) {
        if let Some(cache) = self.rules.cache {
            self.server.only_reads = false;
            self.server.writes.note(&cache.space, &ANYTHING);
            self.server.writes.publish();
        }
    }

    fn standard_strings(&self) -> bool {
        self.server.reported.standard_conforming_strings()
    }

    fn judge(&self, cache: &PoolCache, text: &[u8]) -> Arc<Judged> {
        let strings = self.standard_strings();
        cache.judge(text, strings, &self.settings_of_names())
    }

    /// What names are looked up by.
    fn settings_of_names(&self) -> Cow<'_, Settings> {
        match self.client.names_unsure {
            // Not followed: the path is not known to the catalogs' judge.
            true => Cow::Owned(
                self.client
                    .settings
                    .with("search_path", "SET search_path TO DEFAULT"),
            ),
            false => Cow::Borrowed(&self.client.settings),
        }
    }

    /// Whether these statements, which are about to be sent, set where names are looked for. The
    /// session's settings do not tell of it before they are answered, nor of what is set for a
    /// transaction only.
    pub(super) fn decide_names(&mut self, statements: &[sql::Statement]) -> bool {
        let of_executed = |effect: &Effect| match effect {
            Effect::Execute { name, .. } => {
                let statement = self.client.statement(name.as_bytes());
                let effects = statement.and_then(|s| s.effects.as_deref());
                effects.is_some_and(|all| all.iter().flat_map(|s| &s.effects).any(decides_names))
            }
            effect => decides_names(effect),
        };
        let decides = statements.iter().flat_map(|s| &s.effects).any(of_executed);
        self.client.names_unsure |= decides;
        decides
    }

    /// `needs` are the statements that this one names, under our names.
    fn note(&mut self, cache: &Arc<PoolCache>, judged: &Judged, needs: &[Arc<Statement>]) {
        if judged.begins {
            // A second one, with a warning, begins nothing.
            let idle = self.server.status == b'I' && !self.server.backlog.runs();
            self.server.only_reads = idle;
        } else if judged.read.is_err() {
            self.server.only_reads = false;
        }
        if judged.harmless {
            return;
        }
        for doing in &judged.doings {
            match doing {
                Doing::Changes(change) => self.server.writes.note(&cache.space, change),
                Doing::Executes(name) => {
                    let ours = needs.iter().find(|s| *s.name == *name.as_bytes());
                    let known = ours
                        .or_else(|| self.client.statement(name.as_bytes()))
                        .cloned();
                    match known {
                        // PostgreSQL cannot prepare an EXECUTE, so this does not go deeper.
                        Some(statement) => self.note_source(cache, &statement),
                        None => self.server.writes.note(&cache.space, &ANYTHING),
                    }
                }
            }
        }
        // Only inside a transaction block, and with nothing under way that may end it, is it sure
        // that this does not commit by itself.
        let in_block = self.server.status == b'T' && !self.server.backlog.runs();
        let writes = &mut self.server.writes;
        if !in_block || judged.may_commit || writes.is_exposed() {
            writes.publish();
        }
    }

    /// ReadyForQuery has come, with this status.
    #[inline]
    pub(super) fn settle_writes(&mut self, status: u8) {
        if !self.server.writes.is_empty() && status == b'I' && self.server.backlog.is_empty() {
            self.server.writes.end();
        }
    }
}
