use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt as _;

use super::*;

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// Takes its time, and counts.
#[derive(Debug, Default)]
struct Slow {
    asked: AtomicU32,
    serial: AtomicU32,
    /// The next questions are never answered.
    dies: std::sync::atomic::AtomicBool,
}

#[derive(Debug)]
struct Shared(Arc<Slow>);

impl Ask for Shared {
    fn addresses<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Outcome> {
        async {
            self.0.asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!self.0.dies.load(Ordering::Relaxed), "on purpose");
            Outcome::Found {
                addresses: vec![A],
                ttl: Duration::ZERO,
                whole: true,
            }
        }
        .boxed()
    }

    fn serial<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Option<u32>> {
        std::future::ready(Some(self.0.serial.load(Ordering::Relaxed))).boxed()
    }
}

fn slow() -> (Arc<Slow>, Arc<Resolver>) {
    let slow = Arc::new(Slow::default());
    let ask = Box::new(Shared(Arc::clone(&slow)));
    (slow, Resolver::new(&testing::settings(), ask))
}

#[tokio::test]
async fn who_asks_at_the_same_time_shares_one_question() {
    let (slow, resolver) = slow();
    let all = (0..10).map(|_| resolver.addresses("db"));
    let all = futures_util::future::join_all(all).await;
    // Though it may not be kept at all.
    assert!(all.iter().all(|answer| *answer == Ok(vec![A])));
    assert_eq!(slow.asked.load(Ordering::Relaxed), 1);
    assert_eq!(resolver.addresses("db").await, Ok(vec![A]));
    assert_eq!(slow.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn who_gives_up_leaves_the_question_to_others() {
    let (slow, resolver) = slow();
    let impatient = tokio::time::timeout(Duration::from_millis(10), resolver.addresses("db"));
    assert!(impatient.await.is_err());
    assert_eq!(resolver.queries(), 1);
    assert_eq!(resolver.addresses("db").await, Ok(vec![A]));
    assert_eq!(slow.asked.load(Ordering::Relaxed), 1);
    assert_eq!(resolver.queries(), 0);
}

#[tokio::test]
async fn a_question_that_is_lost_is_asked_again() {
    let (slow, resolver) = slow();
    slow.dies.store(true, Ordering::Relaxed);
    assert!(resolver.addresses("db").await.is_err());
    slow.dies.store(false, Ordering::Relaxed);
    assert_eq!(resolver.addresses("db").await, Ok(vec![A]));
}

#[tokio::test]
async fn a_zone_that_has_changed_has_its_names_looked_up_again() {
    let (slow, resolver) = slow();
    tokio::spawn(Arc::clone(&resolver).watch_zones());
    resolver.addresses("db.x.org").await.unwrap();
    let asked = |slow: &Slow| slow.asked.load(Ordering::Relaxed);
    slow.serial.store(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(resolver.zone_rows()[0].serial, 0, "it is off");
    let settings = DnsSettings {
        zone_check_period: Duration::from_millis(20),
        ..testing::settings()
    };
    resolver.configure(&settings, |_| true);
    let known = |serial| resolver.zone_rows()[0].serial == serial;
    while !known(1) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(asked(&slow), 1);
    slow.serial.store(2, Ordering::Relaxed);
    while !(known(2) && asked(&slow) == 2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
