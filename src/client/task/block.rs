//! Answers from memory inside a transaction block: before it has done anything but read, at READ
//! COMMITTED, the server would answer a read as it does outside of one.

use std::sync::Arc;

use super::{ClientTask, Phase};
use crate::cache::counters::count;
use crate::cache::entry::Age;
use crate::client::info::Now;
use crate::config::PoolMode;
use crate::session::detached;
use crate::session::recording::Ending;

impl ClientTask {
    /// Answers the next request if it is a read that is remembered; nothing is asked for otherwise,
    /// because what is read inside a block is never kept.
    #[inline]
    pub(super) fn answer_in_block(&mut self, now: Now) -> bool {
        let only_reads = self
            .active
            .as_ref()
            .is_some_and(|active| match &active.phase {
                Phase::Attached(server) => server.state.only_reads,
                _ => false,
            });
        // What is remembered may be newer than what a replica shows.
        only_reads && !self.is_lent() && self.is_at_rest_in_block() && self.look_in_block(now)
    }

    /// Everything so far is answered, and nothing that was set in the block would have to be undone.
    fn is_at_rest_in_block(&self) -> bool {
        let Some(active) = &self.active else {
            return false;
        };
        let Phase::Attached(server) = &active.phase else {
            return false;
        };
        let (server, x) = (&server.state, &active.x);
        server.is_at_rest_in_block()
            && server.writes.is_empty()
            && !(x.hold || x.retry || x.group.open || x.up.in_message())
            && active.cancelling.is_none()
            && !self.state.local_environment
            && self.state.settings.same(&self.state.committed)
            && self
                .state
                .settings
                .get("default_transaction_isolation")
                .is_none()
    }

    fn look_in_block(&mut self, now: Now) -> bool {
        let settings = self.pool.settings();
        let cache = settings.cache.as_ref();
        let cache = cache.filter(|c| c.rules.enabled && settings.mode == PoolMode::Transaction);
        let Some(cache) = cache.map(Arc::clone) else {
            return false;
        };
        drop(settings);
        let tier = self.pool.shared().tier.as_ref();
        if !cache.is_read_committed() || tier.is_some_and(|t| t.is_strict()) {
            return false;
        }
        let Some(active) = &mut self.active else {
            return false;
        };
        // Of another request.
        active.x.judged = None;
        // A Parse before it needs no server either, if some server knows the statement.
        let rules = super::rules(
            &self.pool,
            active.settings.as_deref(),
            &self.context,
            self.worker.home(),
        );
        detached::parses_known(&mut self.state, &mut active.x, rules);
        let Ok(Some(asked)) = self.identify(&cache, now) else {
            return false;
        };
        if asked.shape.named_portal {
            // It stays open until the end of the block.
            return false;
        }
        let Some(active) = &mut self.active else {
            return false;
        };
        let Some(entry) = cache.store.get(&active.key) else {
            return false;
        };
        let failed = entry.ending != Ending::Complete;
        if failed || asked.life.passing || !entry.is_enough(asked.shape.describes) {
            return false;
        }
        if !(entry.snapshot.holds() && entry.age(now.millis(), &asked.life) == Age::Fresh) {
            return false;
        }
        self.give(&cache, &entry, asked.shape, b'T', now);
        count(&cache.counters.hits_in_block);
        true
    }
}
