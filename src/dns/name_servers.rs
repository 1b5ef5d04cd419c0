//! Asking: `/etc/hosts` first, then the servers that `resolv.conf` names (resolv.conf(5)), with its
//! search list. Both files are read again when they change. What else `nsswitch.conf` may name is
//! not asked.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hickory_resolver::config::{
    NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use parking_lot::Mutex;

use super::Ask;
use super::cache::Outcome;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// For one name or zone, whatever `resolv.conf` says about time-outs and attempts.
const LIMIT: Duration = Duration::from_secs(30);

/// The name servers of a `resolv.conf`.
#[derive(Debug)]
pub struct NameServers {
    servers: FromFile<Servers>,
    hosts: FromFile<Hosts>,
}

/// What one `resolv.conf` says.
struct Servers {
    resolver: TokioResolver,
    search: Vec<Name>,
    /// A name with fewer dots is looked for in the search list first.
    dots: usize,
}

/// Something that is read from a file, and again when the file has changed.
#[derive(Debug)]
struct FromFile<T> {
    path: PathBuf,
    read: fn(&Path) -> io::Result<T>,
    last: Mutex<(Stamp, Arc<T>)>,
}

/// Tells two states of a file apart; `None`: there is no file.
type Stamp = Option<(SystemTime, u64)>;

// === impl NameServers ===

impl NameServers {
    /// `None` is the system's own `resolv.conf`, without which, as in the C library, the server is
    /// on this machine.
    ///
    /// # Errors
    /// The file that was named cannot be read, or names no server.
    pub fn new(resolv_conf: Option<&Path>) -> io::Result<NameServers> {
        let servers = match resolv_conf {
            Some(path) => FromFile::new(path, |path| Servers::new(&fs::read(path)?))?,
            None => FromFile::new(Path::new(RESOLV_CONF), |path| {
                let text = fs::read(path).unwrap_or_default();
                Servers::new(&text).or_else(|_| Servers::new(b"nameserver 127.0.0.1"))
            })?,
        };
        let hosts = FromFile::new(Path::new(HOSTS), |path| {
            let mut hosts = Hosts::default();
            match File::open(path) {
                Ok(file) => hosts.read_hosts_conf(file)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            Ok(hosts)
        })?;
        Ok(NameServers { servers, hosts })
    }

    async fn look_up(&self, text: &str) -> Outcome {
        let name = match Name::from_str_relaxed(text) {
            Ok(name) => name,
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let listed = [RecordType::A, RecordType::AAAA].map(|kind| {
            let hosts = self.hosts.get();
            let found = hosts.lookup_static_host(&Query::query(name.clone(), kind));
            found.map_or(Outcome::Nothing, |found| addresses(&found))
        });
        let [four, six] = listed;
        let listed = four.and(six);
        if listed != Outcome::Nothing {
            return listed;
        }
        let servers = self.servers.get();
        let mut nothing = Outcome::Nothing;
        for candidate in candidates(&name, &servers.search, servers.dots) {
            let (four, six) = tokio::join!(
                servers.resolver.lookup(candidate.clone(), RecordType::A),
                servers.resolver.lookup(candidate, RecordType::AAAA),
            );
            match outcome(four).and(outcome(six)) {
                found @ Outcome::Found { .. } => return found,
                // Another may be found; if not, nobody can tell.
                failed @ Outcome::Failed(_) => nothing = failed,
                Outcome::Nothing => {}
            }
        }
        nothing
    }

    async fn look_up_serial(&self, zone: &str) -> Option<u32> {
        let mut name = Name::from_str_relaxed(zone).ok()?;
        name.set_fqdn(true);
        let servers = self.servers.get();
        match servers.resolver.lookup(name, RecordType::SOA).await {
            Ok(found) => found
                .answers()
                .iter()
                .find_map(|record| match &record.data {
                    RData::SOA(soa) => Some(soa.serial),
                    _ => None,
                }),
            // Where names are given out more than one level deep, the server says which zone it is.
            Err(error) => error.into_soa().map(|record| record.data.serial),
        }
    }
}

impl Ask for NameServers {
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Outcome> {
        let limited = tokio::time::timeout(LIMIT, self.look_up(name));
        let outcome = limited.map(|o| o.unwrap_or_else(|_| Outcome::Failed("timed out".into())));
        outcome.boxed()
    }

    fn serial<'a>(&'a self, zone: &'a str) -> BoxFuture<'a, Option<u32>> {
        let limited = tokio::time::timeout(LIMIT, self.look_up_serial(zone));
        limited.map(|serial| serial.ok().flatten()).boxed()
    }
}

// === impl Servers ===

impl Servers {
    fn new(text: &[u8]) -> io::Result<Servers> {
        let (config, mut options) = parse_resolv_conf(text).map_err(io::Error::other)?;
        let (domain, search, servers) = config.into_parts();
        let search = match search.is_empty() {
            true => domain.into_iter().collect(),
            false => search,
        };
        let dots = options.ndots;
        options.cache_size = 0; // ours decides
        options.use_hosts_file = ResolveHosts::Never;
        // As the C library: the next one when one does not answer.
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        options.num_concurrent_reqs = 1;
        Ok(Servers {
            resolver: resolver(servers, options).map_err(io::Error::other)?,
            search,
            dots,
        })
    }
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Servers")
            .field("search", &self.search)
            .finish_non_exhaustive()
    }
}

fn resolver(
    servers: Vec<NameServerConfig>,
    options: ResolverOpts,
) -> Result<TokioResolver, NetError> {
    let config = ResolverConfig::from_name_servers(servers);
    let provider = TokioRuntimeProvider::default();
    TokioResolver::builder_with_config(config, provider)
        .with_options(options)
        .build()
}

// === impl FromFile ===

impl<T> FromFile<T> {
    fn new(path: &Path, read: fn(&Path) -> io::Result<T>) -> io::Result<FromFile<T>> {
        let stamp = stamp(path);
        let first = Arc::new(read(path)?);
        Ok(FromFile {
            path: path.to_owned(),
            read,
            last: Mutex::new((stamp, first)),
        })
    }

    /// What the file says now, or said when it could be read last.
    fn get(&self) -> Arc<T> {
        let mut last = self.last.lock();
        let stamp = stamp(&self.path);
        if stamp != last.0 {
            match (self.read)(&self.path) {
                Ok(new) => last.1 = Arc::new(new),
                Err(error) => tracing::warn!("cannot read {}: {error}", self.path.display()),
            }
            last.0 = stamp;
        }
        Arc::clone(&last.1)
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

// === functions ===

/// The names to try one after the other, as the C library does (resolv.conf(5), `search` and
/// `ndots`).
fn candidates(name: &Name, search: &[Name], dots: usize) -> Vec<Name> {
    let mut itself = name.clone();
    itself.set_fqdn(true);
    if name.is_fqdn() {
        return vec![itself];
    }
    // A domain that would make it too long is left out.
    let searched = search.iter().filter_map(|domain| {
        let mut longer = name.clone().append_domain(domain).ok()?;
        longer.set_fqdn(true);
        Some(longer)
    });
    let has_dots = usize::from(name.num_labels()) > dots;
    let mut names: Vec<Name> = searched.collect();
    let at = if has_dots { 0 } else { names.len() };
    names.insert(at, itself);
    names
}

fn outcome(answer: Result<Lookup, NetError>) -> Outcome {
    match answer {
        Ok(found) => addresses(&found),
        Err(error) if error.is_no_records_found() => Outcome::Nothing,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn addresses(found: &Lookup) -> Outcome {
    let records = found.answers().iter();
    let addresses: Vec<_> = records.filter_map(|record| record.data.ip_addr()).collect();
    match addresses.is_empty() {
        true => Outcome::Nothing,
        false => Outcome::Found {
            addresses,
            ttl: found
                .valid_until()
                .saturating_duration_since(Instant::now()),
            whole: true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_str_relaxed(text).unwrap()
    }

    #[test]
    fn the_search_list_comes_first_for_names_with_few_dots() {
        let search = [name("svc.local"), name("local.")];
        let tried = |text: &str, dots| {
            let names = candidates(&name(text), &search, dots);
            names.iter().map(Name::to_string).collect::<Vec<_>>()
        };
        let short = ["db.svc.local.", "db.local.", "db."];
        assert_eq!(tried("db", 1), short);
        let long = ["db.org.", "db.org.svc.local.", "db.org.local."];
        assert_eq!(tried("db.org", 1), long);
        let of_kubernetes = ["db.org.svc.local.", "db.org.local.", "db.org."];
        assert_eq!(tried("db.org", 5), of_kubernetes);
        assert_eq!(tried("db.", 5), ["db."]);
        // Underscores are in no host name by the book, and in many by use.
        assert_eq!(tried("my_db.org.", 1), ["my_db.org."]);
    }

    #[test]
    fn a_file_is_read_again_when_it_changes() {
        let path = std::env::temp_dir().join(format!("pgweir-dns-{}", std::process::id()));
        fs::write(&path, "one").unwrap();
        let file = FromFile::new(&path, |path| fs::read_to_string(path)).unwrap();
        assert_eq!(*file.get(), "one");
        fs::write(&path, "two, longer").unwrap();
        assert_eq!(*file.get(), "two, longer");
        fs::remove_file(&path).unwrap();
        assert_eq!(*file.get(), "two, longer");
    }

    #[test]
    fn a_file_without_servers_is_an_error() {
        assert!(Servers::new(b"search x.org\n").is_err());
        let servers = Servers::new(b"nameserver 127.0.0.1\nsearch x.org\noptions ndots:3\n");
        let servers = servers.unwrap();
        assert_eq!(
            (servers.dots, &servers.search[..]),
            (3, &[name("x.org")][..])
        );
        assert!(NameServers::new(Some(Path::new("/nonexistent"))).is_err());
    }
}
