//! The cache as one pool sees it: what it is allowed to remember, and what it knows of the
//! server's catalogs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::admission::Admission;
use super::analysis::{analyse, strip_comments};
use super::catalog::{Catalog, SearchPath};
use super::counters::Counters;
use super::facts::Facts;
use super::fingerprint::fingerprint;
use super::judged::Judged;
use super::key::Key;
use super::memo::{Memo, Slot};
use super::path;
use super::planted::{Bug, is_planted};
use super::rules::Rules;
use super::space::Space;
use super::store::Store;
use crate::config::Database;
use crate::session::settings::Settings;

/// After a load, another one is not begun for this many times what it took.
const REST: u32 = 20;
const SHORTEST_REST: Duration = Duration::from_millis(200);
/// So long nothing is remembered after a change of the schema, at most, beside the time that reading takes.
const LONGEST_REST: Duration = Duration::from_secs(10);

thread_local! {
    /// Room to make fingerprints in, so that making one allocates nothing.
    static FINGERPRINT: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[derive(Debug)]
pub struct PoolCache {
    pub space: Arc<Space>,
    pub store: Arc<Store>,
    pub rules: Rules,
    pub counters: Counters,
    pub admission: Admission,
    /// As which the pool has logged in.
    user: Arc<str>,
    /// What all keys of this pool begin with, see [`prefix`].
    prefix: Box<[u8]>,
    known: ArcSwapOption<Known>,
    /// Somebody has missed it.
    wanted: AtomicBool,
    loading: AtomicBool,
    /// No load begins before this.
    rests_until: Mutex<Option<Instant>>,
    loads: AtomicU64,
}

/// What is known of the catalogs.
#[derive(Debug)]
struct Known {
    catalog: Catalog,
    /// [`Space::schema`] when they were read.
    schema: u64,
    memo: Arc<Memo>,
    read: Instant,
}

/// Which part of a key is the statement's text: behind the place, the user, what the pool gives its connections, and
/// the session's settings.
pub const TEXT: usize = 4;

/// Whatever an answer depends on that is the same for all sessions of a pool, before they have set anything.
fn prefix(space: &Space, user: &str, database: &Database) -> Box<[u8]> {
    let mut key = Key::default();
    key.part(space.name.as_bytes());
    if !is_planted(Bug::NoRole) {
        key.part(user.as_bytes());
    }
    let mut given = Key::default();
    for (name, value) in &database.parameters {
        if name != "application_name" {
            given.part(name.as_bytes());
            given.part(value.as_bytes());
        }
    }
    if let Some(query) = &database.connect_query {
        given.part(query.as_bytes());
    }
    key.part(given.bytes());
    key.bytes().into()
}

impl PoolCache {
    /// For connections of this database that have logged in as `user`.
    pub fn new(
        space: Arc<Space>,
        store: Arc<Store>,
        rules: Rules,
        user: Arc<str>,
        database: &Database,
    ) -> PoolCache {
        PoolCache {
            prefix: prefix(&space, &user, database),
            counters: Counters::default(),
            admission: Admission::default(),
            space,
            store,
            rules,
            user,
            known: ArcSwapOption::empty(),
            wanted: AtomicBool::new(false),
            loading: AtomicBool::new(false),
            rests_until: Mutex::new(None),
            loads: AtomicU64::new(0),
        }
    }

    /// Whether a pool for this database with such rules, in this space, would be the same.
    pub fn is_of(&self, space: &Arc<Space>, database: &Database) -> bool {
        Arc::ptr_eq(&self.space, space)
            && self.rules.are_of(&database.cache)
            && self.prefix == prefix(space, &self.user, database)
    }

    /// What a text does, whatever its comments say, and whether its answer may be remembered, for a
    /// session with these settings.
    pub fn judge(&self, text: &[u8], standard_strings: bool, settings: &Settings) -> Arc<Judged> {
        self.judge_in(None, text, standard_strings, settings)
    }

    /// The same for a statement that is bound again and again; `slot` is its own.
    pub fn judge_statement(
        &self,
        slot: &Slot,
        text: &[u8],
        standard_strings: bool,
        settings: &Settings,
    ) -> Arc<Judged> {
        self.judge_in(Some(slot), text, standard_strings, settings)
    }

    fn judge_in(
        &self,
        slot: Option<&Slot>,
        text: &[u8],
        standard_strings: bool,
        settings: &Settings,
    ) -> Arc<Judged> {
        let known = self.known.load();
        let Some(known) = &*known else {
            self.wanted.store(true, Ordering::Relaxed);
            let text = strip_comments(text, standard_strings);
            return Arc::new(Judged::without_catalog(&analyse(&text, standard_strings)));
        };
        let path_id = path::path_id(settings, |parts| {
            use std::hash::{BuildHasher, Hasher};
            let state = foldhash::quality::FixedState::with_seed(0x7061_7468);
            let mut hasher = state.build_hasher();
            for part in parts {
                hasher.write(part.as_bytes());
                hasher.write_u8(0xff);
            }
            hasher.finish()
        });
        let circumstances = path_id ^ u64::from(standard_strings);
        let look_up = || {
            let text = &*strip_comments(text, standard_strings);
            let judge = || {
                let facts = analyse(text, standard_strings);
                self.judge_facts(known, text, &facts, settings)
            };
            FINGERPRINT.with_borrow_mut(|fingerprint_of| {
                fingerprint_of.clear();
                let same = !self.rules.look_at_constants()
                    && fingerprint(text, standard_strings, fingerprint_of);
                let key = if same { &fingerprint_of[..] } else { text };
                known.memo.get(key, circumstances, judge)
            })
        };
        let judged = match slot {
            Some(slot) => known.memo.get_in_slot(slot, circumstances, look_up),
            None => look_up(),
        };
        if known.schema == self.space.schema() {
            return judged;
        }
        self.wanted.store(true, Ordering::Relaxed);
        Arc::new(judged.in_another_schema())
    }

    fn judge_facts(
        &self,
        known: &Known,
        text: &[u8],
        facts: &Facts,
        settings: &Settings,
    ) -> Judged {
        let path = path::search_path(settings, &known.catalog, &self.user);
        let verdict = known.catalog.judge(facts, &path, &self.rules.declared);
        Judged::new(&self.space, verdict, |tables| {
            let names = tables
                .iter()
                .filter_map(|oid| known.catalog.relation_name(*oid));
            self.rules.fitting(text, &names.collect::<Vec<_>>())
        })
    }

    /// Judges for the console, with the pool's own settings.
    pub fn explain(&self, text: &[u8]) -> Arc<Judged> {
        self.judge(text, true, &Settings::default())
    }

    /// Begins a key for a session with these settings.
    #[inline]
    pub fn begin_key(&self, key: &mut Key, settings: &Settings) {
        key.clear();
        key.raw(&self.prefix);
        if !is_planted(Bug::NoRole) {
            key.part(settings.result_key());
        }
    }

    /// Whether the catalogs should be read now. Whoever is told so must call
    /// [`PoolCache::learned`] in the end.
    pub fn wants_load(&self, now: Instant) -> bool {
        let known = self.known.load();
        let outdated = known.as_ref().is_none_or(|k| {
            k.schema != self.space.schema()
                || now.saturating_duration_since(k.read) > self.rules.catalog_refresh
        });
        if !outdated || !self.wanted.load(Ordering::Relaxed) {
            return false;
        }
        let rests = self.rests_until.lock().is_some_and(|until| now < until);
        !rests && !self.loading.swap(true, Ordering::SeqCst)
    }

    /// What was read, if it could be; `schema` is [`Space::schema`] before it was asked for.
    pub fn learned(&self, catalog: Option<Catalog>, schema: u64, took: Duration) {
        self.loads.fetch_add(1, Ordering::Relaxed);
        if let Some(catalog) = catalog {
            let before = self.known.load_full();
            // What was judged by the same catalogs is still right.
            let same = before.filter(|k| k.catalog.fingerprint() == catalog.fingerprint());
            self.wanted.store(false, Ordering::Relaxed);
            self.known.store(Some(Arc::new(Known {
                memo: same.map(|k| Arc::clone(&k.memo)).unwrap_or_default(),
                catalog,
                schema,
                read: Instant::now(),
            })));
        }
        let rest = (took * REST).clamp(SHORTEST_REST, LONGEST_REST);
        *self.rests_until.lock() = Some(Instant::now() + rest);
        self.loading.store(false, Ordering::SeqCst);
    }

    /// The catalogs are used, so they are worth reading again when they are old.
    #[inline]
    pub fn is_used(&self) {
        if !self.wanted.load(Ordering::Relaxed) {
            self.wanted.store(true, Ordering::Relaxed);
        }
    }

    /// How often the catalogs were read.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// Whether they are known at the moment.
    pub fn is_ready(&self) -> bool {
        let known = self.known.load();
        known
            .as_ref()
            .is_some_and(|k| k.schema == self.space.schema())
    }

    /// Whether a block that begins without asking for anything sees what others commit.
    pub fn is_read_committed(&self) -> bool {
        let known = self.known.load();
        known
            .as_ref()
            .is_some_and(|k| k.catalog.is_read_committed())
    }

    /// The name of a relation, for people.
    pub fn relation_name(&self, oid: super::Oid) -> Option<String> {
        let known = self.known.load();
        let (schema, name) = known.as_ref()?.catalog.relation_name(oid)?;
        Some(format!("{schema}.{name}"))
    }

    /// The relation of that name, as one without a schema is found by this pool's user.
    pub fn relation_oid(&self, name: &str) -> Option<super::Oid> {
        let known = self.known.load();
        let known = known.as_ref()?;
        let path = SearchPath::resolved(known.catalog.default_path());
        known.catalog.relation_oid(name, &path)
    }

    /// What was judged of which text, for the console.
    pub fn decisions(&self) -> Vec<(Box<[u8]>, Arc<Judged>)> {
        let known = self.known.load();
        known.as_ref().map(|k| k.memo.all()).unwrap_or_default()
    }
}
