//! The console's tables, with PgBouncer's columns in PgBouncer's order; columns of our own come
//! after them.

use self::sockets::{clients, servers};
use super::command::Show;
use super::console::Console;
use crate::client::cancels::Target;
use crate::client::info::ClientInfo;
use crate::client::task::ClientTask;
use crate::config::{Database, User};
use crate::pool::Pool;
use crate::pool::registry::pausing::Hold;
use crate::protocol::encode::Column;
use crate::server::{Activity, Server, ServerInfo};

pub(super) mod cache;
mod channels;
mod config;
mod dns;
mod fds;
mod hosts;
mod peers;
mod prepared;
mod routing;
mod sockets;
pub(super) mod statements;
mod stats;

/// A result: columns and rows.
#[derive(Debug)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Option<String>>>,
}

/// `name` and one letter for the type, as in PgBouncer's own tables: s text, i int4, q int8,
/// N numeric, b bytea.
fn columns(list: &[(&'static str, char)]) -> Vec<Column> {
    list.iter()
        .map(|(name, kind)| {
            let (oid, size) = match kind {
                'i' => (23, 4),
                'q' => (20, 8),
                'N' => (1700, -1),
                'b' => (17, -1),
                _ => (25, -1),
            };
            Column { name, oid, size }
        })
        .collect()
}

fn s(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

/// The table for one SHOW.
pub fn table(console: &Console, show: Show) -> Table {
    match show {
        // That is a notice.
        Show::Help => none(&[]),
        Show::Pools => pools(console),
        Show::Clients => clients(console),
        Show::Servers => servers(console),
        Show::Stats => stats::stats(console),
        Show::StatsTotals => stats::totals(console),
        Show::StatsAverages => stats::averages(console),
        Show::Totals => stats::sums(console),
        Show::Config => config::config(console),
        Show::Sockets => sockets::all(console, |_| true),
        Show::ActiveSockets => sockets::all(console, sockets::is_linked),
        Show::Fds => fds::fds(console),
        Show::Mem => mem(console),
        Show::DnsHosts => dns::hosts(console),
        Show::DnsZones => dns::zones(console),
        Show::Hosts => hosts::hosts(console),
        Show::Channels => channels::channels(console),
        Show::Routing => routing::routing(console),
        Show::Peers => peers::peers(console),
        Show::PeerPools => peers::pools(console),
        Show::Prepared => prepared::prepared(console),
        Show::Refusals => refusals(console),
        Show::Statements => statements::statements(console),
        Show::Databases => databases(console),
        Show::Users => users(console),
        Show::Lists => lists(console),
        Show::Cache => cache::pools(console),
        Show::CacheTables => cache::tables(console),
        Show::CacheTop => cache::top(console),
        Show::CacheFeeds => cache::feeds(console),
        Show::CacheShared => cache::shared(console),
        Show::CacheDecisions => cache::decisions(console),
        Show::Version => Table {
            columns: columns(&[("version", 's')]),
            rows: vec![vec![s(concat!("pgweir ", env!("CARGO_PKG_VERSION")))]],
        },
        Show::State => Table {
            columns: columns(&[("key", 's'), ("value", 's')]),
            rows: state(console),
        },
    }
}

/// How often clients were refused, by reason.
fn refusals(console: &Console) -> Table {
    let rows = console.pools().shared().refusals.all();
    Table {
        columns: columns(&[("reason", 's'), ("count", 'q')]),
        rows: rows
            .map(|(reason, count)| vec![s(reason), s(count)])
            .collect(),
    }
}

/// A table that never has rows here.
fn none(names: &[(&'static str, char)]) -> Table {
    Table {
        columns: columns(names),
        rows: Vec::new(),
    }
}

fn state(console: &Console) -> Vec<Vec<Option<String>>> {
    let held = console.pools().held();
    let states = [
        ("active", held.is_none()),
        ("paused", held == Some(Hold::Pause)),
        ("suspended", held == Some(Hold::Suspend)),
    ];
    let rows = states.into_iter();
    rows.map(|(key, is)| vec![s(key), s(if is { "yes" } else { "no" })])
        .collect()
}

/// What there is of each kind, with the size of its fixed part.
fn mem(console: &Console) -> Table {
    let config = console.config();
    let pools = console.pools();
    let rows = [
        ("user_cache", size_of::<User>(), config.users.len()),
        ("db_cache", size_of::<Database>(), config.databases.len()),
        ("pool_cache", size_of::<Pool>(), pools.all().len()),
        (
            "client_cache",
            size_of::<ClientTask>() + size_of::<ClientInfo>(),
            console.directory().len(),
        ),
        (
            "server_cache",
            size_of::<Server>() + size_of::<ServerInfo>(),
            pools.servers().len(),
        ),
    ];
    let rows = rows.into_iter();
    Table {
        columns: columns(&[
            ("name", 's'),
            ("size", 'i'),
            ("used", 'i'),
            ("free", 'i'),
            ("memtotal", 'i'),
        ]),
        rows: rows
            .map(|(name, size, used)| vec![s(name), s(size), s(used), s(0), s(size * used)])
            .collect(),
    }
}

fn pools(console: &Console) -> Table {
    let clients = console.directory().all();
    let servers = console.pools().servers();
    let requests = console.cancel_requests();
    let rows = console.pools().all().into_iter().map(|pool| {
        let counts = pool.counts();
        let own = |server: &&std::sync::Arc<ServerInfo>| pool.has(server);
        // Lent to pgweir itself: being checked or cleaned, or asked something.
        let tested = servers.iter().filter(own);
        let tested = tested.filter(|server| server.activity() == Activity::Tested);
        let (cancelled, tested): (Vec<_>, Vec<_>) = tested.partition(|s| s.waits_for_cancels());
        let cancelled = cancelled.len().min(counts.lent);
        let tested = tested.len().min(counts.lent - cancelled);
        let cancels: usize = servers.iter().filter(own).map(|s| s.cancels()).sum();
        let requests = requests.iter().filter(|request| match &request.target {
            Target::Client(c) => c.database == pool.database && same_user(&pool.user, c, &pool),
            Target::Peer(_) => false,
        });
        let (taken, asked): (Vec<_>, Vec<_>) = requests.partition(|r| r.is_active());
        let mine = |c: &&std::sync::Arc<ClientInfo>| c.database == pool.database;
        let all = clients.iter().filter(mine);
        let all = all.filter(|c| same_user(&pool.user, c, &pool)).count();
        // Not by their own states: those are not all of the moment at which the pool was asked.
        let active = all.saturating_sub(counts.waiting);
        vec![
            s(&pool.database),
            s(&pool.user),
            s(active),
            s(counts.waiting),
            s(taken.len()),
            s(asked.len()),
            s(counts.lent - tested - cancelled),
            s(cancels),
            s(cancelled),
            s(counts.idle),
            s(0),
            s(tested),
            s(counts.connecting),
            s(counts.longest_wait.as_secs()),
            s(counts.longest_wait.subsec_micros()),
            s(pool.settings().mode.as_str()),
            balance(&pool.settings().database),
        ]
    });
    let mut rows: Vec<_> = rows.collect();
    if console.shows_itself() {
        let name = || s("pgbouncer");
        let mut row = vec![name(), name(), s(console.operators().len())];
        row.extend((0..12).map(|_| s(0)));
        row.extend([s("statement"), None]);
        rows.push(row);
    }
    Table {
        columns: columns(&[
            ("database", 's'),
            ("user", 's'),
            ("cl_active", 'i'),
            ("cl_waiting", 'i'),
            ("cl_active_cancel_req", 'i'),
            ("cl_waiting_cancel_req", 'i'),
            ("sv_active", 'i'),
            ("sv_active_cancel", 'i'),
            ("sv_being_canceled", 'i'),
            ("sv_idle", 'i'),
            ("sv_used", 'i'),
            ("sv_tested", 'i'),
            ("sv_login", 'i'),
            ("maxwait", 'i'),
            ("maxwait_us", 'i'),
            ("pool_mode", 's'),
            ("load_balance_hosts", 's'),
        ]),
        rows,
    }
}

/// With a forced server user all clients of a database share the pool.
fn same_user(server_user: &str, client: &ClientInfo, pool: &crate::pool::Pool) -> bool {
    *client.user == *server_user || pool.settings().database.user.is_some()
}

/// Entries of the file, and the names that clients use below "*".
fn databases(console: &Console) -> Table {
    let config = console.config();
    let mut used: Vec<_> = console
        .pools()
        .all()
        .iter()
        .map(|p| p.database.clone())
        .collect();
    used.dedup();
    used.retain(|name| !config.databases.contains_key(&**name));
    let listed = config.databases.values().chain(config.fallback.as_ref());
    let listed = listed.map(|database| (&*database.name, database));
    let made_up = config.fallback.iter();
    let made_up = made_up.flat_map(|database| used.iter().map(move |name| (&**name, database)));
    let rows = listed.chain(made_up);
    let rows = rows.map(|(name, database)| database_row(console, name, database));
    let mut rows: Vec<_> = rows.collect();
    if console.shows_itself() {
        rows.push(own_row(console));
    }
    Table {
        columns: columns(&[
            ("name", 's'),
            ("host", 's'),
            ("port", 'i'),
            ("database", 's'),
            ("force_user", 's'),
            ("pool_size", 'i'),
            ("min_pool_size", 'i'),
            ("reserve_pool_size", 'i'),
            ("server_lifetime", 'i'),
            ("pool_mode", 's'),
            ("load_balance_hosts", 's'),
            ("max_connections", 'i'),
            ("current_connections", 'i'),
            ("max_client_connections", 'i'),
            ("current_client_connections", 'i'),
            ("paused", 'i'),
            ("disabled", 'i'),
        ]),
        rows,
    }
}

/// The console itself, as PgBouncer shows its own.
fn own_row(console: &Console) -> Vec<Option<String>> {
    let name = || s("pgbouncer");
    vec![
        name(),
        None,
        s(console.config().listen.port),
        name(),
        name(),
        s(2),
        s(0),
        s(0),
        s(console.config().pool_defaults.server.lifetime.as_secs()),
        s("statement"),
        None,
        s(0),
        s(0),
        s(0),
        s(console.operators().len()),
        s(0),
        s(0),
    ]
}

/// How its hosts are used, if there are several.
fn balance(database: &Database) -> Option<String> {
    let balance = database.balances()?;
    Some(balance.as_str().to_owned())
}

fn database_row(console: &Console, name: &str, d: &Database) -> Vec<Option<String>> {
    let host = d.host_names();
    let servers = console.pools().servers();
    let clients = console.directory().all();
    vec![
        s(name),
        s(host),
        s(d.port),
        s(d.dbname.as_deref().unwrap_or(name)),
        d.user.clone(),
        s(d.pool_size),
        s(d.min_pool_size),
        s(d.reserve_pool_size),
        s(d.server.lifetime.as_secs()),
        s(d.pool_mode.as_str()),
        balance(d),
        s(d.max_db_connections),
        s(servers.iter().filter(|x| *x.database == *name).count()),
        s(d.max_db_client_connections),
        s(clients.iter().filter(|x| *x.database == *name).count()),
        s(u8::from(console.pools().is_paused(name))),
        s(u8::from(console.pools().is_disabled(name))),
    ]
}

/// Users of the file, and those who are connected though they are not in it.
fn users(console: &Console) -> Table {
    let config = console.config();
    let servers = console.pools().servers();
    let clients = console.directory().all();
    let connected = clients.iter().map(|c| &*c.user);
    let connected = connected.chain(servers.iter().map(|s| &*s.user));
    let listed = config.users.keys().map(String::as_str);
    let names: std::collections::BTreeSet<&str> = listed.chain(connected).collect();
    let rows = names.into_iter().map(|name| {
        let user = config.users.get(name).unwrap_or(&config.default_user);
        vec![
            s(name),
            user.pool_size.map(|n| n.to_string()),
            user.reserve_pool_size.map(|n| n.to_string()),
            user.pool_mode.map(|mode| mode.as_str().to_owned()),
            s(user.max_user_connections),
            s(servers.iter().filter(|x| *x.user == *name).count()),
            s(user.max_user_client_connections),
            s(clients.iter().filter(|x| *x.user == *name).count()),
        ]
    });
    Table {
        columns: columns(&[
            ("name", 's'),
            ("pool_size", 's'),
            ("reserve_pool_size", 's'),
            ("pool_mode", 's'),
            ("max_user_connections", 'i'),
            ("current_connections", 'i'),
            ("max_user_client_connections", 'i'),
            ("current_client_connections", 'i'),
        ]),
        rows: rows.collect(),
    }
}

fn lists(console: &Console) -> Table {
    let config = console.config();
    let servers = console.pools().servers();
    let idle = servers
        .iter()
        .filter(|x| x.activity() == Activity::Idle)
        .count();
    let resolver = &console.pools().shared().resolver;
    let rows = [
        (
            "databases",
            config.databases.len() + usize::from(config.fallback.is_some()),
        ),
        ("users", config.users.len()),
        ("peers", config.peering.peers.len()),
        ("pools", console.pools().all().len()),
        ("peer_pools", console.peers().len()),
        ("free_clients", 0),
        ("used_clients", console.directory().len()),
        ("login_clients", 0),
        ("free_servers", idle),
        ("used_servers", servers.len() - idle),
        ("dns_names", resolver.host_rows().len()),
        ("dns_zones", resolver.zone_rows().len()),
        ("dns_queries", resolver.queries()),
        // Nothing waits before it is asked for.
        ("dns_pending", 0),
    ];
    Table {
        columns: columns(&[("list", 's'), ("items", 'i')]),
        rows: rows.into_iter().map(|(l, n)| vec![s(l), s(n)]).collect(),
    }
}
