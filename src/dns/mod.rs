//! The addresses of servers' host names: asked for once for all who want them at the same time,
//! kept for a while, and asked for again when their zone has changed.
//!
//! [`cache`] decides (pure), [`name_servers`] asks, and this module is the shell around both. It
//! runs on the control runtime. Names are never given to the operating system's resolver.

pub mod cache;
pub mod name_servers;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use self::cache::{Answer, Cache, HostRow, Limits, LookupError, Outcome, ZoneRow};

/// What the configuration says about names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSettings {
    pub limits: Limits,
    /// How often serial numbers of zones are asked for; zero: never.
    pub zone_check_period: Duration,
    /// Instead of the system's `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
}

/// Who knows names.
pub trait Ask: Send + Sync + std::fmt::Debug {
    /// All addresses of a name.
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Outcome>;

    /// The serial number of a zone; `None` if nobody could tell.
    fn serial<'a>(&'a self, zone: &'a str) -> BoxFuture<'a, Option<u32>>;
}

/// Shared by all that connect to servers.
#[derive(Debug)]
pub struct Resolver {
    ask: Box<dyn Ask>,
    inner: Mutex<Inner>,
    /// The settings have changed.
    changed: Notify,
}

/// Who wants to know the same thing at the same time waits for the same answer.
type Flight = watch::Receiver<Option<Answer>>;

#[derive(Debug)]
struct Inner {
    cache: Cache,
    zone_check_period: Duration,
    flights: HashMap<Arc<str>, Flight>,
    /// A serial number is being asked for.
    asks_zone: bool,
}

impl Resolver {
    pub fn new(settings: &DnsSettings, ask: Box<dyn Ask>) -> Arc<Resolver> {
        Arc::new(Resolver {
            ask,
            inner: Mutex::new(Inner {
                cache: Cache::new(settings.limits),
                zone_check_period: settings.zone_check_period,
                flights: HashMap::new(),
                asks_zone: false,
            }),
            changed: Notify::new(),
        })
    }

    /// Takes over new settings, but for `resolv_conf`, and forgets names that are not `wanted`.
    pub fn configure(&self, settings: &DnsSettings, wanted: impl Fn(&str) -> bool) {
        let mut inner = self.inner.lock();
        inner.cache.set_limits(settings.limits);
        inner.cache.keep(wanted);
        inner.zone_check_period = settings.zone_check_period;
        drop(inner);
        self.changed.notify_one();
    }

    /// The addresses of `name`, at least one, in the order in which they are to be tried.
    ///
    /// # Errors
    /// [`LookupError`]. Dropping the future leaves the question to others who wait for it.
    pub async fn addresses(self: &Arc<Resolver>, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let addresses = self.answer(name).await?;
        Ok(self.inner.lock().cache.in_turn(name, &addresses))
    }

    async fn answer(self: &Arc<Resolver>, name: &str) -> Answer {
        let mut flight = {
            let mut inner = self.inner.lock();
            if let Some(answer) = inner.cache.ask(name, Instant::now()) {
                return answer;
            }
            self.flight(&mut inner, name)
        };
        let abandoned = || Err(LookupError::Failed("the look-up was abandoned".to_owned()));
        match flight.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(abandoned),
            Err(_) => abandoned(),
        }
    }

    /// The question that is under way, or a new one.
    fn flight(self: &Arc<Resolver>, inner: &mut Inner, name: &str) -> Flight {
        // One whose other end is gone will never land.
        let under_way = inner.flights.get(name);
        if let Some(flight) = under_way.filter(|flight| flight.has_changed().is_ok()) {
            return flight.clone();
        }
        let (tell, flight) = watch::channel(None);
        let name: Arc<str> = name.into();
        inner.flights.insert(Arc::clone(&name), flight.clone());
        let resolver = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = resolver.ask.addresses(&name).await;
            tell.send_replace(Some(resolver.land(&name, outcome)));
        });
        flight
    }

    fn land(&self, name: &str, outcome: Outcome) -> Answer {
        if let Outcome::Failed(why) = &outcome {
            tracing::warn!("DNS lookup failed: {name}: {why}");
        }
        let mut inner = self.inner.lock();
        inner.flights.remove(name);
        let learned = inner.cache.learn(name, outcome, Instant::now());
        drop(inner);
        if !learned.gone.is_empty() {
            tracing::info!(gone = ?learned.gone, "{name} has other addresses");
        }
        learned.answer
    }

    /// Whether the name had this address, and has others now.
    pub fn has_left(&self, name: &str, address: IpAddr) -> bool {
        self.inner.lock().cache.has_left(name, address)
    }

    /// Watches zones for ever (`dns_zone_check_period`).
    pub async fn watch_zones(self: Arc<Resolver>) {
        loop {
            let period = self.inner.lock().zone_check_period;
            let pause = async {
                match period.is_zero() {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(period).await,
                }
            };
            tokio::select! {
                () = pause => self.check_zones().await,
                () = self.changed.notified() => {}
            }
        }
    }

    /// Asks for the serial number of one zone after the other.
    async fn check_zones(self: &Arc<Resolver>) {
        let zones = self.inner.lock().cache.zones();
        for zone in zones {
            self.inner.lock().asks_zone = true;
            let serial = self.ask.serial(&zone).await;
            let mut inner = self.inner.lock();
            inner.asks_zone = false;
            let Some(serial) = serial else {
                tracing::debug!("failure to get zone '{zone}' serial");
                continue;
            };
            let old = inner.cache.serial(&zone, serial);
            if !old.is_empty() {
                tracing::info!("zone '{zone}' serial changed: new={serial}");
            }
            for name in old {
                self.flight(&mut inner, &name);
            }
        }
    }

    pub fn host_rows(&self) -> Vec<HostRow> {
        self.inner.lock().cache.host_rows(Instant::now())
    }

    pub fn zone_rows(&self) -> Vec<ZoneRow> {
        self.inner.lock().cache.zone_rows()
    }

    /// Questions that are under way.
    pub fn queries(&self) -> usize {
        let inner = self.inner.lock();
        inner.flights.len() + usize::from(inner.asks_zone)
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
