//! Answers from memory: looking for one, waiting for another's, and keeping one that was asked
//! for.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::asked::{Asked, Shape};
use super::io_steps::Fill as Filled;
use super::shared::{self, Looking};
use super::{ClientTask, End, Phase, Step};
use crate::cache::counters::{Bypass, count};
use crate::cache::entry::{Age, Entry};
use crate::cache::flight::{Flight, Flights, Lead, News, Part};
use crate::cache::mark::Snapshot;
use crate::cache::packed::Generations;
use crate::cache::planted::{Bug, is_planted};
use crate::cache::pool::PoolCache;
use crate::cache::request;
use crate::cache::rules::Life;
use crate::client::info::{Control, Now};
use crate::config::PoolMode;
use crate::protocol::encode;
use crate::protocol::sqlstate;
use crate::session::counted::tagged_rows;
use crate::session::fault::Fault;
use crate::session::recording::{Ending, Recording, State};
use crate::shared::Tier;
use crate::statement_stats::entry::Outcome as Counted;
use crate::telemetry::events::Timeout;

/// An answer that is being asked for, to be kept.
#[derive(Debug)]
pub(super) struct Fill {
    pub(super) cache: Arc<PoolCache>,
    pub(super) key: Box<[u8]>,
    pub(super) hash: u128,
    pub(super) snapshot: Snapshot,
    pub(super) life: Life,
    began: u64,
    /// Others wait for it.
    pub(super) lead: Option<Lead>,
    /// Other instances are given it, with these.
    pub(super) generations: Option<Generations>,
}

/// A request whose answer another client is asking for.
#[derive(Debug)]
pub(super) struct Waiting {
    flight: Arc<Flight>,
    cache: Arc<PoolCache>,
}

/// What was found about a request.
enum Outcome {
    /// It is answered.
    Hit,
    /// Ask the server.
    Server,
    Wait(Waiting),
    /// Other instances may have it.
    Look(Looking),
}

impl ClientTask {
    /// A request needs an answer: from memory, from another client's request, or from the server.
    pub(super) fn ask(&mut self, cx: &mut Context<'_>, now: Now) -> Step {
        if let Some(active) = &mut self.active {
            // Of another request.
            active.x.judged = None;
        }
        let settings = self.pool.settings();
        let has_rules = settings.overload.is_some();
        let shares_channels = settings.shares_channels;
        let cache = settings
            .cache
            .as_ref()
            .filter(|cache| cache.rules.enabled && settings.mode != PoolMode::Session);
        let cache = cache.cloned();
        drop(settings);
        if has_rules && let Some(step) = self.over_rate(cx, now) {
            return step;
        }
        if shares_channels && let Some(step) = self.ask_for_channels(cx, now) {
            return step;
        }
        let Some(cache) = cache else {
            return self.begin_checkout(cx, now);
        };
        let outcome = match self.look(&cache, cx, now) {
            Ok(outcome) => outcome,
            Err(why) => {
                cache.counters.bypass(why);
                Outcome::Server
            }
        };
        match outcome {
            Outcome::Hit => Step::Again,
            Outcome::Server => self.begin_checkout(cx, now),
            Outcome::Look(looking) => {
                self.wait_in(Phase::Looking(Box::new(looking)), now);
                Step::Again
            }
            Outcome::Wait(waiting) => {
                self.wait_in(Phase::Joined(Box::new(waiting)), now);
                self.watch_while_joined(cx)
            }
        }
    }

    /// Somebody else is asked, while the statement's time runs.
    pub(super) fn wait_in(&mut self, phase: Phase, now: Now) {
        if let Some(active) = &mut self.active {
            active.phase = phase;
            active.settings = Some(self.pool.settings_now());
            active.began = Some(now.micros);
            active.x.counting.asked_at.get_or_insert(now.micros);
        }
        self.set_joined_deadline(now);
    }

    /// # Errors
    /// As [`ClientTask::identify`].
    fn look(
        &mut self,
        cache: &Arc<PoolCache>,
        cx: &mut Context<'_>,
        now: Now,
    ) -> Result<Outcome, Bypass> {
        let Some(Asked {
            judged,
            life,
            shape,
        }) = self.identify(cache, now)?
        else {
            return Ok(Outcome::Server);
        };
        let (Some(active), Ok(plan)) = (self.active.as_mut(), &judged.read) else {
            return Ok(Outcome::Server);
        };
        let key = &active.key;
        let millis = now.millis();
        let tier = self.pool.shared().tier.as_ref();
        if !life.passing && cache.admission.is_new(key.hash()) {
            count(&cache.counters.misses);
            return Ok(Outcome::Server);
        }
        // To be given if others have not changed anything.
        let mut held = None;
        if !life.passing
            && let Some(entry) = cache.store.get(key)
        {
            if !entry.snapshot.holds() {
                if entry.snapshot.is_outdated() {
                    count(&cache.counters.outdated);
                    cache.store.forget(key);
                }
            } else if !entry.is_enough(shape.describes) {
                // It was asked for without its description.
            } else {
                match entry.age(millis, &life) {
                    Age::Over => count(&cache.counters.expired),
                    _ if tier.is_some_and(|t| t.is_strict()) => held = Some(entry),
                    age => {
                        if age == Age::Stale {
                            count(&cache.counters.stale_hits);
                        }
                        self.give(cache, &entry, shape, b'I', now);
                        return Ok(Outcome::Hit);
                    }
                }
            }
        }
        let Some(snapshot) = Snapshot::take(&plan.marks) else {
            return Err(Bypass::Pending);
        };
        let strict = tier.is_some_and(|t| t.is_strict());
        if held.is_none() && !life.passing {
            count(&cache.counters.misses);
            cache.admission.miss();
        }
        let part = Flights::part(&cache.space, key, &snapshot, shape.describes, cx.waker());
        let lead = match part {
            // What another has asked may be older than what a third has been told since.
            Part::Wait(flight) if !active.alone && !strict => {
                let cache = Arc::clone(cache);
                return Ok(Outcome::Wait(Waiting { flight, cache }));
            }
            Part::Lead(lead) => Some(lead),
            Part::Wait(_) | Part::Alone => None,
        };
        active.alone = false;
        let most = cache.rules.max_entry_size;
        let looks = !life.passing && (lead.is_some() || strict);
        let asked = tier.filter(|_| looks).and_then(|tier| {
            let marks = snapshot.marks();
            tier.look(&cache.space, marks, key.bytes(), most, millis)
        });
        let fill = Box::new(Fill {
            cache: Arc::clone(cache),
            key: key.bytes().into(),
            hash: key.hash(),
            snapshot,
            life,
            began: now.micros,
            lead,
            generations: None,
        });
        if let Some(asked) = asked {
            return Ok(Outcome::Look(Looking::new(asked, fill, held)));
        }
        if strict && !life.passing {
            // Nothing can be checked.
            return Err(Bypass::Feed);
        }
        if life.passing {
            cache.counters.bypass(Bypass::Off);
        }
        active.x.recording = Some(Box::new(fill.recording()));
        active.fill = Some(fill);
        Ok(Outcome::Server)
    }

    /// Answers the request from an entry.
    pub(super) fn give(
        &mut self,
        cache: &PoolCache,
        entry: &Entry,
        shape: Shape,
        status: u8,
        now: Now,
    ) {
        let asked = self.asked_entry();
        self.trace_hit(status != b'I', now);
        let Some(active) = self.active.as_mut() else {
            return;
        };
        active.x.up.skip(shape.length);
        active.paid = false;
        active.alone = false;
        let asked_at = active.x.counting.asked_at.take();
        let out = active.x.down.insert();
        let before = out.len();
        let bound = shape.bound && entry.ending != Ending::Error { bound: false };
        if bound {
            out.extend_from_slice(encode::BIND_COMPLETE);
        }
        if !shape.bound {
            // A simple query ends the unnamed statement.
            self.state.end_unnamed();
        }
        if shape.describes
            && let Some(description) = &entry.description
        {
            out.extend_from_slice(description);
        }
        out.extend_from_slice(&entry.rows);
        let failed = entry.ending != Ending::Complete;
        if shape.closes && !failed {
            // After an error, all up to Sync is passed over.
            out.extend_from_slice(encode::CLOSE_COMPLETE);
        }
        let outcome = Counted {
            micros: asked_at.map_or(0, |asked| now.micros.saturating_sub(asked)),
            rows: tagged_rows(&entry.rows),
            bytes: (out.len() - before) as u64,
            failed,
            hit: true,
            ..Counted::default()
        };
        encode::ready_for_query(out, status);
        entry.hit();
        if let Some((_, judged)) = &active.x.judged {
            judged.worth.hit();
        }
        cache.admission.hit();
        count(&cache.counters.hits);
        if failed {
            count(&cache.counters.error_hits);
        }
        let age = now.millis().saturating_sub(entry.filled);
        let ages = &cache.counters.age_at_hit;
        ages.fetch_add(age, std::sync::atomic::Ordering::Relaxed);
        let shard = self.pool.shard(self.worker.home());
        shard.queries.add(1);
        shard.transactions.add(u64::from(status == b'I'));
        shard.binds.add(u64::from(shape.bound));
        shard
            .client_parses
            .add(u64::from(active.x.tally.client_parses));
        active.x.tally.client_parses = 0;
        self.count(asked, outcome);
        match status {
            b'I' => self.set_idle_deadline(now),
            _ => self.set_idle_in_transaction_deadline(now),
        }
    }

    /// Another client is asking for what this one wants.
    pub(super) fn step_joined(&mut self, cx: &mut Context<'_>, now: Now) -> Step {
        let Some(active) = self.active.as_mut() else {
            return Step::Idle;
        };
        let Phase::Joined(waiting) = &active.phase else {
            return Step::Again;
        };
        match waiting.flight.news() {
            News::NotYet => {}
            News::Landed(entry) => {
                let cache = Arc::clone(&waiting.cache);
                count(&cache.counters.joined);
                self.set_detached(now);
                return self.give_landed(&cache, &entry, now);
            }
            News::Failed => {
                // Everybody asks for himself now, or one failure after another would hold them up.
                active.alone = true;
                self.set_detached(now);
                return Step::Again;
            }
        }
        if self.info.has_request()
            && let Some(step) = self.joined_request(now)
        {
            return step;
        }
        self.watch_while_joined(cx)
    }

    pub(super) fn give_landed(&mut self, cache: &PoolCache, entry: &Entry, now: Now) -> Step {
        let Some(active) = self.active.as_mut() else {
            return Step::Idle;
        };
        // It was complete when it was looked at first, and nothing was taken from it since.
        let Some(request) = request::request(active.x.up.unscanned()) else {
            return Step::Again;
        };
        let shape = Shape::of(&request);
        self.give(cache, entry, shape, b'I', now);
        Step::Again
    }

    pub(super) fn joined_request(&mut self, now: Now) -> Option<Step> {
        let killed = self.info.is_requested(Control::Kill);
        let cancelled = self.info.take(Control::Cancel);
        let expired = self.is_expired(now);
        if !(killed || cancelled || expired) {
            return None;
        }
        self.set_detached(now);
        if killed {
            return Some(Step::end(End::Killed));
        }
        if cancelled {
            self.refuse_cancelled();
        } else {
            self.note_timeout(Timeout::Query);
            let (code, text) = (sqlstate::QUERY_CANCELED, super::timeouts::STATEMENT);
            self.refuse(Fault::QueryTimeout, code, text);
        }
        Some(Step::Again)
    }

    pub(super) fn watch_while_joined(&mut self, cx: &mut Context<'_>) -> Step {
        match self.fill_up_if_ready(cx) {
            Poll::Pending | Poll::Ready(Ok(Filled::Full)) => Step::Wait,
            Poll::Ready(Ok(Filled::Bytes)) => Step::Again,
            Poll::Ready(gone) => Step::end(gone.map_or_else(End::from_read, |_| End::Eof)),
        }
    }

    /// Keeps the answer that has come, if it is one to be kept.
    #[inline]
    pub(super) fn settle_fill(&mut self, now: Now) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        if active.fill.is_none() {
            return;
        }
        match active.x.recording.as_ref().map(|r| r.state()) {
            Some(State::Running | State::Complete) => {}
            Some(State::Done) => {
                let (fill, recording) = (active.fill.take(), active.x.recording.take());
                if let (Some(fill), Some(recording)) = (fill, recording) {
                    let tier = self.pool.shared().tier.as_ref();
                    fill.keep(*recording, now, tier);
                }
            }
            Some(State::Spoiled) | None => self.drop_fill(),
        }
    }

    /// The answer will not be kept. Whoever waits for it is told.
    pub(super) fn drop_fill(&mut self) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        active.x.recording = None;
        if let Some(fill) = active.fill.take() {
            count(&fill.cache.counters.unfit);
        }
    }
}

impl Fill {
    pub(super) fn recording(&self) -> Recording {
        let errors = !self.life.errors.is_zero();
        Recording::new(self.cache.rules.max_entry_size, errors)
    }

    fn keep(self, recording: Recording, now: Now, tier: Option<&Arc<Tier>>) {
        let counters = &self.cache.counters;
        let micros = now.micros.saturating_sub(self.began);
        counters
            .fill_micros
            .fetch_add(micros, std::sync::atomic::Ordering::Relaxed);
        let ending = recording.ending();
        let (description, rows) = recording.into_parts();
        let (ttl, stale) = self.life.of(ending);
        // The answer is as old as the question.
        let filled = self.began / 1000;
        let expires = filled + ttl.as_millis() as u64;
        let times = [filled, expires, expires + stale.as_millis() as u64];
        let holds = self.snapshot.holds() || is_planted(Bug::NoOverlap);
        let snapshot = match Snapshot::take(self.snapshot.marks()) {
            Some(now) if is_planted(Bug::NoOverlap) => now,
            _ => self.snapshot,
        };
        let mut entry = Entry::new(self.key, description, rows, snapshot, times);
        entry.generations = self.generations.clone();
        entry.ending = ending;
        let entry = Arc::new(entry);
        if self.life.passing {
            // For those who wait only.
        } else if holds {
            self.cache.store.put(self.hash, Arc::clone(&entry));
            count(&counters.stored);
            if let (Some(tier), Some(generations), Ending::Complete) =
                (tier, self.generations, ending)
            {
                shared::give_away(tier, &self.cache, &entry, generations, now);
            }
        } else {
            count(&counters.overtaken);
        }
        // Who waits has asked when nothing had changed: the answer was true at that moment.
        if let Some(lead) = self.lead {
            lead.land(&entry);
        }
    }
}
