//! One worker's table of statements.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::{Mutex, MutexGuard};

use super::entry::{Entry, Outcome};
use super::normal::{LONGEST, canonical, readable};
use super::recent::Recent;
use super::skeleton::skeleton;
use super::{Common, Owner, hash, text_key};
use crate::session::reported::Reported;

/// So many bytes of a text are kept to be shown.
const SHOWN: usize = 1024;
/// Texts up to this size are not looked for as they are: that would save little.
const SHORT: usize = 128;
/// How much less what a statement has been used for counts whenever room is made.
const DECAY: f64 = 0.99;
/// What is shown of a text that is not in an encoding that we can read.
pub const UNREADABLE: &str = "<unreadable>";

/// A statement's text as a client has sent it, in a session with these parameters.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    pub text: &'a [u8],
    pub reported: &'a Reported,
}

impl Text<'_> {
    fn standard_strings(&self) -> bool {
        self.reported.standard_conforming_strings()
    }

    /// Whether what looks like a backslash may be a part of another character.
    fn is_odd(&self) -> bool {
        const ODD: [&str; 7] = [
            "SJIS",
            "BIG5",
            "GBK",
            "UHC",
            "GB18030",
            "JOHAB",
            "SHIFT_JIS_2004",
        ];
        let encoding = self.reported.get("client_encoding");
        encoding.is_some_and(|encoding| ODD.contains(&encoding)) && !self.text.is_ascii()
    }
}

/// See [`super`]. Each worker's is on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Recorder {
    common: Arc<Common>,
    /// For the worker alone.
    table: Mutex<Table>,
    /// What is in the table, for others to look at. The worker does not wait for them.
    listed: Mutex<Vec<Arc<Entry>>>,
}

#[derive(Debug, Default)]
struct Table {
    epoch: u64,
    recent: Recent,
    entries: HashMap<u64, Held, foldhash::fast::RandomState>,
    /// For texts that are looked at.
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Held {
    entry: Arc<Entry>,
    /// How much it was used, and how often it had been when that was last looked at.
    weight: f64,
    calls: u64,
}

impl Recorder {
    pub(super) fn new(common: Arc<Common>) -> Recorder {
        Recorder {
            common,
            table: Mutex::default(),
            listed: Mutex::default(),
        }
    }

    #[inline]
    fn epoch(&self) -> u64 {
        self.common.epoch.load(Ordering::Relaxed)
    }

    /// Of a text that is asked for only if `key` is not known.
    #[inline]
    pub(super) fn find<'t>(
        &self,
        owner: &Owner,
        key: u64,
        text: impl FnOnce() -> Text<'t>,
    ) -> Option<Arc<Entry>> {
        let mut table = self.table()?;
        let key = key ^ owner.id;
        if let Some(entry) = table.recent.get(key) {
            return Some(Arc::clone(entry));
        }
        let entry = self.enter(&mut table, owner, text())?;
        table.recent.put(key, Arc::clone(&entry));
        Some(entry)
    }

    #[inline]
    pub(super) fn find_text(&self, owner: &Owner, text: Text<'_>) -> Option<Arc<Entry>> {
        let mut table = self.table()?;
        let bytes = text.text;
        let as_it_is = (bytes.len() > SHORT).then(|| text_key(bytes) ^ owner.id);
        if let Some(key) = as_it_is
            && let Some(entry) = table.recent.get(key)
        {
            return Some(Arc::clone(entry));
        }
        let skeleton = table.skeleton(bytes).map(|key| key ^ owner.id);
        let known = skeleton.and_then(|key| table.recent.get(key).cloned());
        let entry = match known {
            Some(entry) => entry,
            None => {
                let entry = self.enter(&mut table, owner, text)?;
                if let Some(key) = skeleton {
                    table.recent.put(key, Arc::clone(&entry));
                }
                entry
            }
        };
        if let Some(key) = as_it_is {
            table.recent.put(key, Arc::clone(&entry));
        }
        Some(entry)
    }

    /// Nobody else holds it but who has just forgotten everything.
    #[inline]
    fn table(&self) -> Option<MutexGuard<'_, Table>> {
        let mut table = self.table.try_lock()?;
        table.renew(self.epoch());
        Some(table)
    }

    /// The entry of a text that has not come lately.
    fn enter(&self, table: &mut Table, owner: &Owner, text: Text<'_>) -> Option<Arc<Entry>> {
        let odd = text.is_odd();
        let scratch = &mut table.scratch;
        scratch.clear();
        match odd {
            true => scratch.extend_from_slice(UNREADABLE.as_bytes()),
            false => canonical(text.text, text.standard_strings(), scratch),
        }
        if scratch.is_empty() {
            return None;
        }
        let fingerprint = hash(scratch);
        if let Some(held) = table.entries.get(&(fingerprint ^ owner.id)) {
            return Some(Arc::clone(&held.entry));
        }
        let shown = match odd {
            true => Arc::from(UNREADABLE),
            false => shown(text, scratch),
        };
        self.insert(table, fingerprint, owner, shown)
    }

    fn insert(
        &self,
        table: &mut Table,
        fingerprint: u64,
        owner: &Owner,
        text: Arc<str>,
    ) -> Option<Arc<Entry>> {
        let mut listed = self.listed.try_lock()?;
        let most = self.common.most.load(Ordering::Relaxed);
        if table.entries.len() >= most {
            let evicted = table.make_room(most);
            self.common.evicted.fetch_add(evicted, Ordering::Relaxed);
            listed.retain(|entry| !entry.is_gone());
        }
        let entry = Arc::new(Entry::new(fingerprint, owner.clone(), text, table.epoch));
        let held = Held {
            entry: Arc::clone(&entry),
            weight: 1.0,
            calls: 0,
        };
        table.entries.insert(fingerprint ^ owner.id, held);
        listed.push(Arc::clone(&entry));
        Some(entry)
    }

    /// Counts one run of a statement. If its entry has been forgotten meanwhile, it gets a new one.
    #[inline]
    pub fn add(&self, entry: &Arc<Entry>, outcome: Outcome) {
        if entry.is_gone() || entry.epoch != self.epoch() {
            return self.add_again(entry, outcome);
        }
        entry.add(outcome);
    }

    fn add_again(&self, entry: &Entry, outcome: Outcome) {
        if self.common.most.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Some(mut table) = self.table() else {
            return;
        };
        let known = table.entries.get(&(entry.fingerprint ^ entry.owner.id));
        let now = match known {
            Some(held) => Some(Arc::clone(&held.entry)),
            None => {
                let text = Arc::clone(&entry.text);
                self.insert(&mut table, entry.fingerprint, &entry.owner, text)
            }
        };
        if let Some(now) = now {
            now.add(outcome);
        }
    }

    /// What is in the table.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        let epoch = self.epoch();
        let mut all = self.listed.lock().clone();
        all.retain(|entry| entry.epoch == epoch && !entry.is_gone());
        all
    }

    /// All has been forgotten. If the worker is at its table just now, it forgets it when it looks next.
    pub(super) fn unlist(&self) {
        let epoch = self.epoch();
        if let Some(mut table) = self.table.try_lock() {
            table.renew(epoch);
        }
        self.listed.lock().retain(|entry| entry.epoch == epoch);
    }
}

/// The text without its constants, as it is shown.
fn shown(text: Text<'_>, scratch: &mut Vec<u8>) -> Arc<str> {
    scratch.clear();
    readable(text.text, text.standard_strings(), scratch);
    let is_long = scratch.len() > SHOWN;
    scratch.truncate(SHOWN);
    let mut shown = String::from_utf8_lossy(scratch);
    if is_long {
        let cut = shown.trim_end_matches('\u{fffd}').to_owned();
        shown = (cut + " ...").into();
    }
    shown.into()
}

impl Table {
    #[inline]
    fn renew(&mut self, epoch: u64) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.recent.clear();
            self.entries = HashMap::default();
        }
    }

    /// What texts with the same skeleton are found by.
    #[inline]
    fn skeleton(&mut self, text: &[u8]) -> Option<u64> {
        if text.len() > LONGEST {
            return None;
        }
        self.scratch.clear();
        skeleton(text, &mut self.scratch).then(|| hash(&self.scratch))
    }

    /// Takes out those that are used least: a twentieth, and what is too much. Gives how many.
    fn make_room(&mut self, most: usize) -> u64 {
        let mut weights: Vec<f64> = Vec::with_capacity(self.entries.len());
        for held in self.entries.values_mut() {
            let calls = held.entry.calls.get();
            held.weight = held.weight * DECAY + (calls - held.calls) as f64;
            held.calls = calls;
            weights.push(held.weight);
        }
        let too_many = (self.entries.len() + 1).saturating_sub(most);
        let goes = (most / 20).max(too_many).clamp(1, weights.len().max(1));
        if weights.is_empty() {
            return 0;
        }
        let (_, limit, _) = weights.select_nth_unstable_by(goes - 1, f64::total_cmp);
        let limit = *limit;
        let mut left = goes;
        self.entries.retain(|_, held| {
            let stays = left == 0 || held.weight > limit;
            if !stays {
                left -= 1;
                held.entry.gone.store(true, Ordering::Relaxed);
            }
            stays
        });
        self.recent.sweep();
        (goes - left) as u64
    }
}
