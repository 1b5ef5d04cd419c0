//! What a request asks for, as far as the cache wants to know it.

use std::sync::Arc;

use super::ClientTask;
use crate::cache::analysis::{Hint, leading_hint, strip_comments};
use crate::cache::counters::Bypass;
use crate::cache::judged::Judged;
use crate::cache::pool::PoolCache;
use crate::cache::request::{self, Request, What};
use crate::cache::rules::Life;
use crate::client::info::Now;
use crate::session::statement::Source;
use crate::sql;

/// The parts of a request that matter, without its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub length: usize,
    pub bound: bool,
    pub describes: bool,
    pub closes: bool,
    pub named_portal: bool,
}

/// A request whose answer may be remembered.
#[derive(Debug)]
pub(super) struct Asked {
    /// With a plan.
    pub judged: Arc<Judged>,
    pub life: Life,
    pub shape: Shape,
}

impl Shape {
    pub fn of(request: &Request<'_>) -> Shape {
        let (bound, describes, closes, named_portal) = match request.what {
            What::Query { .. } => (false, true, false, false),
            What::Bound {
                describes,
                closes,
                named_portal,
                ..
            } => (true, describes, closes, named_portal),
        };
        Shape {
            length: request.length,
            bound,
            describes,
            closes,
            named_portal,
        }
    }
}

impl ClientTask {
    /// What is asked for, with its key in the task's: what its answer depends on, and how long it may
    /// be given.
    ///
    /// # Errors
    /// Why the answer can neither be looked for nor kept.
    pub(super) fn identify(
        &mut self,
        cache: &Arc<PoolCache>,
        now: Now,
    ) -> Result<Option<Asked>, Bypass> {
        let Some(active) = self.active.as_mut() else {
            return Ok(None);
        };
        if !self.state.settings.allow_cache() || !self.state.pins.is_empty() {
            return Err(Bypass::Off);
        }
        let strings = self.state.seen.standard_conforming_strings();
        let request = request::request(active.x.up.unscanned()).ok_or(Bypass::Protocol)?;
        let settings = &self.state.settings;
        let mut bound = None;
        let (text, judged) = match request.what {
            What::Query { text } => (text, cache.judge(text, strings, settings)),
            What::Bound {
                statement, values, ..
            } => {
                let statement = self.state.statement(statement).ok_or(Bypass::Statement)?;
                let Source::Parse { query, types } = &statement.source else {
                    return Err(Bypass::Statement);
                };
                if statement.effects.is_some() || statement.answer.is_some() {
                    return Err(Bypass::Statement);
                }
                bound = Some((types, values));
                let slot = &statement.judged;
                let judged = cache.judge_statement(slot, query, strings, settings);
                (&query[..], judged)
            }
        };
        active.x.judged = Some((cache.space.schema(), Arc::clone(&judged)));
        let Ok(plan) = &judged.read else {
            judged.count_refusal();
            return Err(Bypass::Refused);
        };
        let hint = leading_hint(text);
        if hint == Some(Hint::NoCache) {
            return Err(Bypass::Off);
        }
        if !judged.worth.is_looked_for() {
            return Err(Bypass::Cold);
        }
        let key = &mut active.key;
        cache.begin_key(key, settings);
        key.part(&strip_comments(text, strings));
        if let Some((types, values)) = bound {
            let each = request::values(values).ok_or(Bypass::Protocol)?;
            if each.iter().any(|v| sql::names_datetime(v)) {
                return Err(Bypass::DateWord);
            }
            key.part(types);
            key.part(values);
        }
        let shape = Shape::of(&request);
        let application_name = self.info.application_name.as_deref().unwrap_or_default();
        let life = cache
            .rules
            .life(&plan.rules, &self.info.user, application_name);
        let mut life = life.ok_or(Bypass::Off)?;
        if let Some(Hint::Cache { ttl: Some(ttl) }) = hint
            && !life.passing
        {
            life.ttl = ttl;
        }
        cache.is_used();
        let millis = now.millis();
        let tier = self.pool.shared().tier.as_ref();
        if !cache.space.follow.allows(millis) || tier.is_some_and(|t| !t.follow.allows(millis)) {
            return Err(Bypass::Feed);
        }
        if !cache.space.follow.covers(&plan.marks) {
            return Err(Bypass::NotFollowed);
        }
        key.finish(&cache.store.hasher);
        Ok(Some(Asked {
            judged,
            life,
            shape,
        }))
    }
}
