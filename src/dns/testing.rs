//! Somebody who knows names by heart.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::cache::{Limits, Outcome};
use super::{Ask, DnsSettings, Resolver};

/// Knows `localhost`.
#[derive(Debug)]
struct Localhost;

impl Ask for Localhost {
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Outcome> {
        let outcome = match name {
            "localhost" => Outcome::Found {
                addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
                ttl: Duration::from_secs(60),
                whole: true,
            },
            _ => Outcome::Nothing,
        };
        std::future::ready(outcome).boxed()
    }

    fn serial<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Option<u32>> {
        std::future::ready(None).boxed()
    }
}

pub(crate) fn settings() -> DnsSettings {
    DnsSettings {
        limits: Limits {
            max_ttl: Duration::from_secs(15),
            nothing: Duration::from_secs(15),
        },
        zone_check_period: Duration::ZERO,
        resolv_conf: None,
    }
}

pub(crate) fn localhost() -> Arc<Resolver> {
    Resolver::new(&settings(), Box::new(Localhost))
}
