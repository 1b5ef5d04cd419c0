//! All that the process remembers: the store, and the databases that it is about.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::outbox::Outbox;
use super::pool::PoolCache;
use super::rules::Rules;
use super::space::Space;
use super::store::Store;
use crate::config::{
    CacheLimits, Config, Consistency, Database, Invalidation, Placed, Reads, share_a_server,
};

/// By database and servers; with the servers.
type Spaces = HashMap<String, (Vec<Placed>, Arc<Space>)>;

#[derive(Debug)]
pub struct Caches {
    store: Arc<Store>,
    spaces: Mutex<Spaces>,
    /// Rung when there is something to tell other instances, if there are any.
    bell: Option<Arc<Notify>>,
    /// They must be told before a write is acknowledged.
    strict: bool,
    /// As long as this is held somewhere, nothing is remembered or given.
    suspended: Mutex<Option<Weak<dyn Any + Send + Sync>>>,
}

impl Caches {
    pub fn new(limits: &CacheLimits, bell: Option<Arc<Notify>>) -> Caches {
        let idle = Some(limits.idle_timeout).filter(|t| !t.is_zero());
        Caches {
            store: Arc::new(Store::new(limits.max_size, idle)),
            spaces: Mutex::default(),
            bell,
            strict: limits
                .shared
                .as_ref()
                .is_some_and(|s| s.consistency == Consistency::Strict),
            suspended: Mutex::default(),
        }
    }

    /// Nothing is remembered or given as long as `held` is held: somebody else writes, and nobody
    /// tells us what.
    pub fn suspend(&self, held: &Arc<dyn Any + Send + Sync>) {
        *self.suspended.lock() = Some(Arc::downgrade(held));
        for space in self.spaces() {
            space.flush();
            space.wait_for(Arc::downgrade(held));
        }
    }

    fn space(&self, place: String, servers: Vec<Placed>) -> Arc<Space> {
        let mut spaces = self.spaces.lock();
        if let Some((_, space)) = spaces.get(&place) {
            return Arc::clone(space);
        }
        let outbox = self
            .bell
            .clone()
            .map(|bell| Arc::new(Outbox::new(bell, self.strict)));
        let space = Space::shared(place.clone(), outbox);
        if let Some(held) = &*self.suspended.lock()
            && held.strong_count() > 0
        {
            space.wait_for(Weak::clone(held));
        }
        spaces.insert(place, (servers.clone(), Arc::clone(&space)));
        // Roles, for one, are those of all databases of a server.
        let near = |servers: &[Placed]| -> Vec<Arc<Space>> {
            let all = spaces.values();
            let near = all.filter(|(theirs, _)| share_a_server(theirs, servers));
            near.map(|(_, space)| Arc::clone(space)).collect()
        };
        for (theirs, one) in spaces.values() {
            if share_a_server(theirs, &servers) {
                let near = near(theirs);
                let others = near.iter().filter(|other| !Arc::ptr_eq(one, other));
                one.set_neighbours(others.map(Arc::downgrade).collect());
            }
        }
        space
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub fn spaces(&self) -> Vec<Arc<Space>> {
        let spaces = self.spaces.lock();
        let mut spaces: Vec<_> = spaces
            .values()
            .map(|(_, space)| Arc::clone(space))
            .collect();
        spaces.sort_by(|a, b| a.name.cmp(&b.name));
        spaces
    }

    /// The cache of a pool, if its database has one: where another pool's answers are remembered,
    /// this one's writes must be followed; where reads are told from writes, it says which they are. `before` is used again if nothing has changed about it.
    pub fn of_pool(
        &self,
        config: &Config,
        database: &Database,
        name: &str,
        user: &Arc<str>,
        before: Option<&Arc<PoolCache>>,
    ) -> Option<Arc<PoolCache>> {
        let dbname = database.dbname.as_deref().unwrap_or(name);
        // A pool that leads there as well follows what this one writes, and the other way round. The check of
        // the configuration sees to it that there is only one such place.
        let others = config.databases.values().chain(&config.fallback);
        let mut remembering = others.filter(|other| {
            other.cache.enabled
                && other.shares_a_server_with(database)
                && other.database_there().is_none_or(|named| named == dbname)
        });
        let remembering = match database.cache.enabled {
            true => Some(database),
            false => remembering.next().map(|other| &**other),
        };
        // Whether a statement is a read is judged by the same means as whether its answer may be kept.
        if remembering.is_none() && database.roles.reads != Reads::Auto {
            return None;
        }
        let there = remembering.unwrap_or(database);
        let place = format!("{dbname} at {}", there.server_names());
        let space = self.space(place, there.servers());
        if database.cache.enabled && database.cache.invalidation != Invalidation::Ttl {
            // Before the first client: until the feed is there, nothing is given.
            space.follow.demand(true);
        }
        if let Some(before) = before
            && before.is_of(&space, database)
        {
            return Some(Arc::clone(before));
        }
        let rules = Rules::new(&database.cache);
        let store = Arc::clone(&self.store);
        Some(Arc::new(PoolCache::new(
            space,
            store,
            rules,
            Arc::clone(user),
            database,
        )))
    }
}
