//! All pools, and all server connections, of the process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use super::budget::Budget;
use super::overload::Classes;
use super::settings::PoolSettings;
use super::stats::Times;
use super::{NewPool, Pool, Shared};
use crate::cache::caches::Caches;
use crate::cache::pool::PoolCache;
use crate::config::{Config, Database, Placed, User};
use crate::dns::Resolver;
use crate::net::tls_client::{TlsClient, TlsClientError};
use crate::server::ServerInfo;
use crate::server::auth::{Credentials, KeyCache};
use crate::server::connect::{Endpoint, Keepalive};
use crate::server::endpoints::{Choice, Endpoints, Member};
use crate::server::hosts::{HostRow, Hosts};
use crate::server::password::Passwords;

pub mod pausing;
mod reading;
#[cfg(test)]
mod tests;

use pausing::Holds;

/// Every server connection that exists.
#[derive(Debug, Clone, Default)]
pub struct ServerList(Arc<Mutex<Vec<Weak<ServerInfo>>>>);

impl ServerList {
    pub fn enter(&self, info: &Arc<ServerInfo>) {
        let mut list = self.0.lock();
        if list.len() == list.capacity() {
            list.retain(|s| s.strong_count() > 0);
        }
        list.push(Arc::downgrade(info));
    }

    pub fn all(&self) -> Vec<Arc<ServerInfo>> {
        let mut list = self.0.lock();
        list.retain(|s| s.strong_count() > 0);
        list.iter().filter_map(Weak::upgrade).collect()
    }
}

/// The TLS settings of a database cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("pools.{database}.server_tls: {source}")]
pub struct TlsSettingsError {
    pub database: String,
    pub source: Box<TlsClientError>,
}

/// Where there are more pools than that, unused ones are not kept for their counters only.
const UNUSED_KEPT: usize = 100;

type Key = (Arc<str>, Arc<str>);

#[derive(Debug)]
pub struct Pools {
    shared: Arc<Shared>,
    servers: ServerList,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Arc<Config>,
    resolver: Arc<Resolver>,
    pools: HashMap<Key, Arc<Pool>>,
    /// By the name of the database's entry.
    tls: BTreeMap<String, Arc<TlsClient>>,
    total: Arc<Budget>,
    by_database: HashMap<Arc<str>, Arc<Budget>>,
    by_user: HashMap<Arc<str>, Arc<Budget>>,
    /// SCRAM keys by (database entry), so that a login storm derives each once.
    scram_keys: HashMap<String, Arc<KeyCache>>,
    hosts: Hosts,
    /// By database entry, for all its pools.
    passwords: HashMap<String, Arc<Passwords>>,
    caches: Arc<Caches>,
    classes: Arc<Classes>,
    holds: Holds,
}

fn set_limits(config: &Config, shared: &Shared) {
    let (all, each) = (config.max_clients_memory, config.max_client_memory);
    shared.memory.set_limits(all, each);
    shared.statements.set_most(config.max_counted_statements);
}

impl Pools {
    /// # Errors
    /// [`TlsSettingsError`]: certificates or keys that cannot be read.
    pub fn new(config: Arc<Config>, shared: Arc<Shared>) -> Result<Pools, TlsSettingsError> {
        let tls = tls_clients(&config)?;
        set_limits(&config, &shared);
        let bell = shared.tier.as_ref().map(|tier| tier.bell());
        let caches = Caches::new(&config.cache, bell);
        Ok(Pools {
            servers: ServerList::default(),
            inner: Mutex::new(Inner {
                resolver: Arc::clone(&shared.resolver),
                total: Budget::new("max_server_conn", config.max_server_conn),
                pools: HashMap::new(),
                tls,
                by_database: HashMap::new(),
                by_user: HashMap::new(),
                scram_keys: HashMap::new(),
                hosts: Hosts::default(),
                passwords: HashMap::new(),
                caches: Arc::new(caches),
                classes: Arc::new(Classes::new(&config, &Classes::default())),
                holds: Holds::default(),
                config,
            }),
            shared,
        })
    }

    pub fn caches(&self) -> Arc<Caches> {
        Arc::clone(&self.inner.lock().caches)
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub fn servers(&self) -> Vec<Arc<ServerInfo>> {
        self.servers.all()
    }

    /// What is known of the hosts that there are pools for.
    pub fn hosts(&self) -> Vec<HostRow> {
        self.inner.lock().hosts.rows()
    }

    /// The configuration that is in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.inner.lock().config)
    }

    pub fn all(&self) -> Vec<Arc<Pool>> {
        self.all_and_gone().0
    }

    /// All pools, and what was timed in those that are gone and had no series of their own.
    pub fn all_and_gone(&self) -> (Vec<Arc<Pool>>, Times) {
        let inner = self.inner.lock();
        let gone = self.shared.series.gone();
        let mut pools: Vec<_> = inner.pools.values().cloned().collect();
        pools.sort_by(|a, b| (&a.database, &a.user).cmp(&(&b.database, &b.user)));
        (pools, gone)
    }

    /// The pool for clients that say `user` and `name`; `database` is the entry that serves
    /// `name`.
    pub fn get(&self, name: &str, database: &Arc<Database>, user: &str) -> Arc<Pool> {
        let server_user: Arc<str> = database.user.as_deref().unwrap_or(user).into();
        let key = (Arc::from(name), Arc::clone(&server_user));
        let mut inner = self.inner.lock();
        if let Some(pool) = inner.pools.get(&key) {
            return Arc::clone(pool);
        }
        let cache = inner
            .caches
            .of_pool(&inner.config, database, name, &server_user, None);
        let settings = inner.settings(database, &server_user, cache);
        let pool = Pool::new(NewPool {
            endpoints: inner.endpoints(database),
            credentials: inner.credentials(database, &server_user),
            passwords: inner.passwords(database, &server_user),
            budgets: inner.budgets(&key.0, database, &server_user),
            settings,
            database: Arc::clone(&key.0),
            user: server_user,
            servers: self.servers.clone(),
            shared: Arc::clone(&self.shared),
            reads_of: None,
        });
        pool.set_reads(inner.new_reads(database, &pool, &self.servers));
        inner.pools.insert(key, Arc::clone(&pool));
        if let hold @ Some(_) = inner.holds.of(name) {
            pool.hold(hold);
        }
        pool
    }

    /// Pools that can be named without a client, because the server user is forced, and that keep
    /// connections open even if nobody comes.
    pub fn open_minimum(&self) {
        let config = self.config();
        for database in config.databases.values() {
            if let Some(user) = database
                .user
                .as_deref()
                .filter(|_| database.min_pool_size > 0)
            {
                self.get(&database.name, database, user);
            }
        }
    }

    /// Forgets pools that nobody has used for too long, with their counters: those of names below
    /// `"*"`, which are made up by clients, and the others if the configuration says so.
    pub fn forget_unused(&self) {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        let Inner { config, pools, .. } = &mut *inner;
        let many = pools.len() > UNUSED_KEPT;
        pools.retain(|(name, _), pool| {
            let counts = pool.counts();
            // A client holds its pool, and new ones get it under the lock that we hold.
            let used = Arc::strong_count(pool) > 1 || counts.lent + counts.waiting > 0;
            let unused = pool.note_use(used, now);
            let listed = config.databases.contains_key(&**name);
            let limit = match listed {
                true => config.pool_idle_timeout,
                false => config.autodb_idle_timeout,
            };
            let too_long = !limit.is_zero() && unused >= limit;
            // Anybody can make names up.
            let for_room = !used && !listed && many && counts.is_empty();
            let goes = !used && (too_long || for_room);
            if goes {
                tracing::info!(?pool, "cleaning up idle pool");
                pool.close();
                self.shared.series.retire(pool);
            }
            !goes
        });
        let Inner {
            pools, by_database, ..
        } = &mut *inner;
        by_database.retain(|name, budget| {
            Arc::strong_count(budget) > 1 || pools.keys().any(|(used, _)| used == name)
        });
    }

    /// Connections to addresses that their host's name no longer has are closed as they become
    /// free.
    pub fn leave_old_addresses(&self) {
        let servers = self.servers();
        let left = servers.iter();
        left.filter(|server| server.is_left_behind(&self.shared.resolver))
            .for_each(|server| server.set_closing());
    }

    /// Takes over a new configuration; pools whose database is gone are closed.
    ///
    /// # Errors
    /// [`TlsSettingsError`]; nothing has changed then.
    pub fn apply(&self, config: Arc<Config>) -> Result<(), TlsSettingsError> {
        let tls = tls_clients(&config)?;
        let mut inner = self.inner.lock();
        let old = std::mem::replace(&mut inner.config, Arc::clone(&config));
        inner.tls = tls;
        inner.classes = Arc::new(Classes::new(&config, &inner.classes));
        inner.total.set_limit(config.max_server_conn);
        set_limits(&config, &self.shared);
        let pools: Vec<_> = inner.pools.values().cloned().collect();
        for pool in pools {
            let before = old.database(&pool.database);
            let database = config.database(&pool.database).filter(|database| {
                // Its clients belong to another pool when the server user is another.
                before.as_ref().is_none_or(|b| b.user == database.user)
            });
            let Some(database) = database else {
                pool.close();
                let key = (Arc::clone(&pool.database), Arc::clone(&pool.user));
                inner.pools.remove(&key);
                self.shared.series.retire(&pool);
                continue;
            };
            let moved = before.is_none_or(|b| {
                b.servers() != database.servers()
                    || b.target() != database.target()
                    || b.dbname != database.dbname
                    || b.password != database.password
                    || b.password_source != database.password_source
                    || b.server_tls != database.server_tls
                    || b.parameters != database.parameters
                    || b.connect_query != database.connect_query
            });
            inner.budgets(&pool.database, &database, &pool.user);
            let before = pool.settings_now();
            let cache = inner.caches.of_pool(
                &config,
                &database,
                &pool.database,
                &pool.user,
                before.cache.as_ref(),
            );
            if let (None, Some(cache)) = (&before.cache, &cache) {
                let held = Arc::clone(&before) as Arc<dyn std::any::Any + Send + Sync>;
                cache.space.wait_for(Arc::downgrade(&held));
            }
            drop(before);
            let settings = inner.settings(&database, &pool.user, cache);
            pool.offer_credentials(inner.credentials(&database, &pool.user));
            pool.set_passwords(inner.passwords(&database, &pool.user));
            pool.apply(settings, inner.endpoints(&database), moved);
            inner.apply_reads(&database, &pool, &self.servers, moved);
        }
        drop(inner);
        self.shared
            .resolver
            .configure(&config.dns, |name| config.has_host(name));
        Ok(())
    }
}

fn tls_clients(config: &Config) -> Result<BTreeMap<String, Arc<TlsClient>>, TlsSettingsError> {
    let entries = config.databases.values().chain(config.fallback.as_ref());
    entries
        .map(|database| {
            let client =
                TlsClient::new(&database.server_tls).map_err(|source| TlsSettingsError {
                    database: database.name.clone(),
                    source: Box::new(source),
                })?;
            Ok((database.name.clone(), Arc::new(client)))
        })
        .collect()
}

impl Inner {
    /// Of the pool of a database and a server user.
    fn settings(
        &self,
        database: &Arc<Database>,
        user: &str,
        cache: Option<Arc<PoolCache>>,
    ) -> PoolSettings {
        let (user, log) = (self.user(user), &self.config.log);
        PoolSettings::new(database, user, log, cache, &self.classes)
    }

    fn user(&self, name: &str) -> &User {
        self.config
            .users
            .get(name)
            .unwrap_or(&self.config.default_user)
    }

    fn endpoints(&mut self, database: &Database) -> Endpoints {
        let limits = self.config.host_limits;
        let each = database.servers().into_iter().map(|server| Member {
            endpoint: Arc::new(self.endpoint(database, &server)),
            state: self.hosts.get(&server.host, server.port, limits),
            role: server.role,
            weight: server.weight,
        });
        let each: Vec<_> = each.map(Arc::new).collect();
        let choice = Choice {
            balance: database.load_balance_hosts,
            target: database.target(),
            max_lag: database.roles.max_lag,
        };
        Endpoints::new(each, choice)
    }

    fn endpoint(&mut self, database: &Database, server: &Placed) -> Endpoint {
        let tls = self.tls.get(&database.name).cloned();
        Endpoint {
            host: server.host.clone(),
            port: server.port,
            resolver: Arc::clone(&self.resolver),
            tls: tls.unwrap_or_else(|| Arc::new(TlsClient::disabled())),
            connect_timeout: database.server.connect_timeout,
            keepalive: Keepalive::from(&self.config.listen),
            scram_keys: Arc::clone(
                self.scram_keys
                    .entry(database.name.clone())
                    .or_insert_with(|| Arc::new(KeyCache::new())),
            ),
        }
    }

    fn credentials(&self, database: &Database, user: &str) -> Credentials {
        let of_database = database
            .password
            .clone()
            .filter(|_| database.user.as_deref() == Some(user));
        let secret = of_database.or_else(|| self.user(user).secret.clone());
        secret.map_or(Credentials::None, Credentials::Secret)
    }

    /// What is known of them outlives a change of the configuration that is not about them.
    fn passwords(&mut self, database: &Database, user: &str) -> Option<Arc<Passwords>> {
        let Some(source) = &database.password_source else {
            self.passwords.remove(&database.name);
            return None;
        };
        if database.user.as_deref() != Some(user) {
            return None;
        }
        let known = self.passwords.get(&database.name);
        if let Some(same) = known.filter(|known| known.source() == source) {
            return Some(Arc::clone(same));
        }
        let new = Arc::new(Passwords::new(source.clone()));
        self.passwords
            .insert(database.name.clone(), Arc::clone(&new));
        Some(new)
    }

    fn budgets(
        &mut self,
        name: &Arc<str>,
        database: &Database,
        user: &Arc<str>,
    ) -> Arc<[Arc<Budget>]> {
        let of_database = self
            .by_database
            .entry(Arc::clone(name))
            .or_insert_with(|| Budget::new("max_db_connections", 0));
        of_database.set_limit(database.max_db_connections);
        let of_database = Arc::clone(of_database);
        let limit = self.user(user).max_user_connections;
        let of_user = self
            .by_user
            .entry(Arc::clone(user))
            .or_insert_with(|| Budget::new("max_user_connections", 0));
        of_user.set_limit(limit);
        vec![Arc::clone(&self.total), of_database, Arc::clone(of_user)].into()
    }
}
