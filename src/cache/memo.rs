//! Judgements of texts, remembered: the same few hundred texts come over and over.

use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use lru::LruCache;
use parking_lot::Mutex;

use super::judged::Judged;

const SHARDS: usize = 16;
/// Judgements kept a shard.
const KEPT: usize = 512;
/// Longer texts are judged each time.
const LONGEST: usize = 4 * 1024;

#[derive(Debug)]
struct Remembered {
    text: Box<[u8]>,
    /// What else the judgement depends on.
    circumstances: u64,
    judged: Arc<Judged>,
}

/// The judgement of a prepared statement, kept with it: nothing has to be looked up for each Bind.
#[derive(Debug, Default)]
pub struct Slot(ArcSwapOption<InSlot>);

#[derive(Debug)]
struct InSlot {
    memo: u64,
    circumstances: u64,
    judged: Arc<Judged>,
}

/// Belongs to one state of the catalogs.
#[derive(Debug)]
pub struct Memo {
    /// Of no other memo of this process.
    id: u64,
    shards: [Mutex<LruCache<u64, Remembered, foldhash::fast::RandomState>>; SHARDS],
    hasher: foldhash::quality::RandomState,
}

impl Default for Memo {
    fn default() -> Memo {
        // Invariant: KEPT is not zero.
        let kept = const { NonZeroUsize::new(KEPT).unwrap() };
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Memo {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            shards: std::array::from_fn(|_| {
                Mutex::new(LruCache::with_hasher(
                    kept,
                    foldhash::fast::RandomState::default(),
                ))
            }),
            hasher: foldhash::quality::RandomState::default(),
        }
    }
}

impl Memo {
    /// What is in the slot, if it is of this memo and these circumstances, or else what `judge` says.
    pub fn get_in_slot(
        &self,
        slot: &Slot,
        circumstances: u64,
        judge: impl FnOnce() -> Arc<Judged>,
    ) -> Arc<Judged> {
        if let Some(known) = &*slot.0.load()
            && known.memo == self.id
            && known.circumstances == circumstances
        {
            return Arc::clone(&known.judged);
        }
        let judged = judge();
        slot.0.store(Some(Arc::new(InSlot {
            memo: self.id,
            circumstances,
            judged: Arc::clone(&judged),
        })));
        judged
    }

    /// What was judged of this text in these circumstances, or what `judge` says now.
    pub fn get(
        &self,
        text: &[u8],
        circumstances: u64,
        judge: impl FnOnce() -> Judged,
    ) -> Arc<Judged> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(text);
        hasher.write_u64(circumstances);
        let hash = hasher.finish();
        let shard = &self.shards[hash as usize % SHARDS];
        if let Some(known) = shard.lock().get(&hash)
            && known.circumstances == circumstances
            && *known.text == *text
        {
            return Arc::clone(&known.judged);
        }
        let judged = Arc::new(judge());
        if text.len() <= LONGEST {
            let remembered = Remembered {
                text: text.into(),
                circumstances,
                judged: Arc::clone(&judged),
            };
            shard.lock().put(hash, remembered);
        }
        judged
    }

    /// All of them, for the console.
    pub fn all(&self) -> Vec<(Box<[u8]>, Arc<Judged>)> {
        let shards = self.shards.iter().map(|s| s.lock());
        let each = shards.flat_map(|shard| {
            let each = shard
                .iter()
                .map(|(_, r)| (r.text.clone(), Arc::clone(&r.judged)));
            each.collect::<Vec<_>>()
        });
        each.collect()
    }
}
