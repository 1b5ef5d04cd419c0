//! What metrics say while the cache does not hear of others' writes.

use super::feeds::{self, Followed};
use super::shared::{self, Fleet};
use crate::support::kill;
use crate::support::metrics::Metrics;
use crate::support::operate::until;

#[test]
fn a_silent_feed_and_a_lost_one() {
    let metrics = Metrics::new();
    let mut followed = Followed::with("notify", 15, &metrics.section(), &[]);
    let database = format!("postgres at 127.0.0.1:{}", followed.port());
    let of = |name: &str| {
        let series = format!("pgweir_cache_feed_{name}{{server_database=\"{database}\"}}");
        metrics.value(&series).expect("the feed is in demand")
    };
    until("it is followed", || of("up") == 1.0);
    let before = of("events_total");
    followed.outside.query("update plain set n = 1");
    until("the change is counted", || of("events_total") > before);
    let processes = followed.processes();
    assert!(!processes.is_empty());
    processes.iter().for_each(|pid| kill("-STOP", *pid));
    until("nothing is heard", || of("up") == 0.0);
    let lag = of("lag_seconds");
    assert!(lag >= feeds::LAG, "{lag}");
    processes.iter().for_each(|pid| kill("-CONT", *pid));
    until("it is heard again", || {
        of("up") == 1.0 && of("lag_seconds") < feeds::LAG
    });
    assert_eq!(of("losses_total"), 0.0, "it was only late");
    processes.iter().for_each(|pid| kill("-TERM", *pid));
    until("the loss is counted", || of("losses_total") == 1.0);
    until("it is followed again", || of("up") == 1.0);
}

#[test]
fn a_redis_that_is_gone_for_a_while() {
    let metrics = Metrics::new();
    let settings = format!("max_lag = '{}s'{}", shared::LAG, metrics.section());
    let mut fleet = Fleet::with(1, &settings, "");
    let of = |name: &str| metrics.value(&format!("pgweir_cache_shared_{name}"));
    until("it is heard", || of("up") == Some(1.0));
    let mut client = fleet.weirs[0].client();
    let stored = "total{what=\"stored\"}";
    until("an answer is stored", || {
        client.query("select n from plain where id = 1");
        of(stored) > Some(0.0)
    });
    fleet.redis.stop();
    until("it is gone", || of("up") == Some(0.0));
    fleet.redis.start_again();
    until("it is heard again", || {
        of("up") == Some(1.0) && of("lag_seconds") < Some(shared::LAG)
    });
}
