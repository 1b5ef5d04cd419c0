//! Looking for an answer among those that several instances share.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::asked::Shape;
use super::cached::Fill;
use super::{ClientTask, Phase, Step};
use crate::cache::entry::Entry;
use crate::cache::packed::{Generations, Packed};
use crate::cache::pool::PoolCache;
use crate::cache::request;
use crate::client::info::Now;
use crate::shared::{Looked, Tier, unix_millis};

/// A question to the shared tier, and what is to be done if it has nothing.
#[derive(Debug)]
pub(super) struct Looking {
    answer: oneshot::Receiver<Looked>,
    /// `None` when it has been answered.
    fill: Option<Box<Fill>>,
    /// What is in memory, to be given if nobody has changed anything.
    held: Option<Arc<Entry>>,
}

impl Looking {
    pub fn new(
        answer: oneshot::Receiver<Looked>,
        fill: Box<Fill>,
        held: Option<Arc<Entry>>,
    ) -> Looking {
        Looking {
            answer,
            fill: Some(fill),
            held,
        }
    }
}

impl ClientTask {
    /// The answer comes soon, if only that there is none.
    pub(super) fn step_looking(&mut self, cx: &mut Context<'_>, now: Now) -> Step {
        if self.info.has_request()
            && let Some(step) = self.joined_request(now)
        {
            return step;
        }
        let Some(active) = self.active.as_mut() else {
            return Step::Idle;
        };
        let Phase::Looking(looking) = &mut active.phase else {
            return Step::Again;
        };
        let looked = match Pin::new(&mut looking.answer).poll(cx) {
            Poll::Pending => return self.watch_while_joined(cx),
            Poll::Ready(looked) => looked.unwrap_or_default(),
        };
        let (fill, held) = (looking.fill.take(), looking.held.take());
        self.set_detached(now);
        let Some(fill) = fill else {
            return Step::Again;
        };
        let unchanged =
            |e: &Arc<Entry>| e.generations.is_some() && e.generations == looked.generations;
        if let Some(entry) = held.filter(unchanged).filter(|e| self.is_enough(e)) {
            return self.give_landed(&fill.cache, &entry, now);
        }
        match looked.found.and_then(|packed| unpack(&fill, packed, now)) {
            Some(mut entry) if self.is_enough(&entry) => {
                entry.generations = looked.generations;
                let entry = Arc::new(entry);
                fill.cache.store.put(fill.hash, Arc::clone(&entry));
                let cache = Arc::clone(&fill.cache);
                if let Some(lead) = fill.lead {
                    lead.land(&entry);
                }
                self.give_landed(&cache, &entry, now)
            }
            _ => self.ask_server(fill, looked.generations, cx, now),
        }
    }

    /// Whether it has all that the request asks for.
    fn is_enough(&self, entry: &Entry) -> bool {
        let active = self.active.as_ref();
        let request = active.and_then(|a| request::request(a.x.up.unscanned()));
        let describes = request.is_none_or(|r| Shape::of(&r).describes);
        entry.snapshot.holds() && entry.is_enough(describes)
    }

    fn ask_server(
        &mut self,
        mut fill: Box<Fill>,
        generations: Option<Generations>,
        cx: &mut Context<'_>,
        now: Now,
    ) -> Step {
        if let Some(active) = self.active.as_mut() {
            fill.generations = generations;
            active.x.recording = Some(Box::new(fill.recording()));
            active.fill = Some(fill);
        }
        self.begin_checkout(cx, now)
    }
}

/// An entry of this process, if it is young enough for this pool's rules.
fn unpack(fill: &Fill, packed: Packed, now: Now) -> Option<Entry> {
    let [filled, expires, stale_until] = packed.times;
    let age = unix_millis().saturating_sub(filled);
    // Neither the rules of the one who stored it nor our own may be overdone.
    let life = expires
        .saturating_sub(filled)
        .min(fill.life.ttl.as_millis() as u64);
    let stale = stale_until
        .saturating_sub(expires)
        .min(fill.life.stale.as_millis() as u64);
    if age >= life {
        return None;
    }
    let expires = now.millis() + (life - age);
    let filled = now.millis().saturating_sub(age);
    let times = [filled, expires, expires + stale];
    let (key, snapshot) = (fill.key.clone(), fill.snapshot.clone());
    Some(Entry::new(
        key,
        packed.description,
        packed.rows,
        snapshot,
        times,
    ))
}

/// Lets other instances have an answer.
pub(super) fn give_away(
    tier: &Arc<Tier>,
    cache: &PoolCache,
    entry: &Entry,
    generations: Generations,
    now: Now,
) {
    let wall = unix_millis();
    let millis = now.millis();
    let on_the_wall = |at: u64| (wall + at).saturating_sub(millis);
    let packed = Packed {
        key: entry.key.clone(),
        generations,
        times: [entry.filled, entry.expires, entry.stale_until].map(on_the_wall),
        description: entry.description.clone(),
        rows: entry.rows.clone(),
    };
    tier.store(&cache.space, entry.snapshot.marks(), packed);
}
