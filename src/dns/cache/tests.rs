use super::*;

const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
const SIX: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn cache() -> Cache {
    Cache::new(Limits {
        max_ttl: seconds(15),
        nothing: seconds(5),
    })
}

fn found(addresses: &[IpAddr], ttl: u64) -> Outcome {
    Outcome::Found {
        addresses: addresses.to_vec(),
        ttl: seconds(ttl),
        whole: true,
    }
}

fn names(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn failed() -> Outcome {
    Outcome::Failed("timed out".to_owned())
}

/// A name that was asked for, and what came of it at `now`.
fn learn(cache: &mut Cache, name: &str, outcome: Outcome, now: Instant) -> Learned {
    cache.ask(name, now);
    cache.learn(name, outcome, now)
}

#[test]
fn an_answer_is_kept_as_long_as_its_ttl_and_the_limit_say() {
    let now = Instant::now();
    for (ttl, kept) in [(3, 3), (60, 15), (0, 0)] {
        let mut cache = cache();
        assert_eq!(cache.ask("db", now), None);
        cache.learn("db", found(&[A], ttl), now);
        if kept > 0 {
            let last = now + seconds(kept) - Duration::from_millis(1);
            assert_eq!(cache.ask("db", last), Some(Ok([A].into())), "ttl {ttl}");
        }
        assert_eq!(cache.ask("db", now + seconds(kept)), None, "ttl {ttl}");
    }
}

#[test]
fn a_new_limit_holds_for_what_is_known() {
    let (mut cache, now) = (cache(), Instant::now());
    learn(&mut cache, "db", found(&[A], 60), now);
    cache.set_limits(Limits {
        max_ttl: seconds(2),
        nothing: seconds(5),
    });
    assert!(cache.ask("db", now + seconds(1)).is_some());
    assert!(cache.ask("db", now + seconds(2)).is_none());
}

#[test]
fn that_there_is_no_such_name_is_kept_for_its_own_time() {
    let (mut cache, now) = (cache(), Instant::now());
    let learned = learn(&mut cache, "db", Outcome::Nothing, now);
    assert_eq!(learned.answer, Err(LookupError::Nothing));
    let nothing = Some(Err(LookupError::Nothing));
    assert_eq!(cache.ask("db", now + seconds(4)), nothing);
    assert_eq!(cache.ask("db", now + seconds(5)), None);
}

#[test]
fn the_last_addresses_serve_while_nobody_can_tell() {
    let (mut cache, now) = (cache(), Instant::now());
    let first = learn(&mut cache, "db", failed(), now);
    assert_eq!(
        first.answer,
        Err(LookupError::Failed("timed out".to_owned()))
    );
    cache.learn("db", found(&[A], 60), now);
    let later = cache.learn("db", failed(), now + seconds(20));
    assert_eq!(later.answer, Ok([A].into()));
    assert!(later.gone.is_empty());
    // It is asked again soon.
    assert!(cache.ask("db", now + seconds(24)).is_some());
    assert!(cache.ask("db", now + seconds(25)).is_none());
}

#[test]
fn a_name_that_is_gone_has_no_address_but_its_connections_stay() {
    let (mut cache, now) = (cache(), Instant::now());
    learn(&mut cache, "db", found(&[A], 1), now);
    let learned = cache.learn("db", Outcome::Nothing, now);
    assert_eq!(learned.answer, Err(LookupError::Nothing));
    assert!(learned.gone.is_empty());
    assert!(!cache.has_left("db", A));
    // When it is back, it is compared with what it had.
    assert_eq!(cache.learn("db", found(&[B], 1), now).gone, [A]);
    assert!(cache.has_left("db", A));
}

#[test]
fn an_address_that_a_name_no_longer_has_is_noticed() {
    let (mut cache, now) = (cache(), Instant::now());
    let first = learn(&mut cache, "db", found(&[A, B], 1), now);
    assert!(first.gone.is_empty());
    assert_eq!(cache.learn("db", found(&[B], 1), now).gone, [A]);
    assert!(cache.has_left("db", A) && !cache.has_left("db", B));
    assert!(
        !cache.has_left("other", A),
        "nothing is known of other names"
    );
}

#[test]
fn an_answer_by_halves_takes_nothing_away_from_the_other_half() {
    let (mut cache, now) = (cache(), Instant::now());
    learn(&mut cache, "db", found(&[A, SIX], 1), now);
    let half = found(&[B], 1).and(failed());
    let learned = cache.learn("db", half, now);
    assert_eq!(learned.answer, Ok([B, SIX].into()));
    assert_eq!(learned.gone, [A]);
    let whole = found(&[B], 1).and(Outcome::Nothing);
    assert_eq!(cache.learn("db", whole, now).gone, [SIX]);
}

#[test]
fn halves_of_a_question() {
    use Outcome::Nothing;
    let both = found(&[A], 9).and(found(&[SIX], 3));
    assert_eq!(both, found(&[A, SIX], 3));
    assert_eq!(Nothing.and(found(&[SIX], 3)), found(&[SIX], 3));
    assert_eq!(Nothing.and(Nothing), Nothing);
    // There may be one of the other kind.
    assert_eq!(Nothing.and(failed()), failed());
    assert_eq!(failed().and(Nothing), failed());
    assert_eq!(failed().and(failed()), failed());
}

#[test]
fn each_address_has_its_turn() {
    let (mut cache, now) = (cache(), Instant::now());
    learn(&mut cache, "db", found(&[A, B], 1), now);
    let firsts: Vec<IpAddr> = (0..4).map(|_| cache.in_turn("db", &[A, B])[0]).collect();
    assert_eq!(firsts, [A, B, A, B]);
    assert_eq!(cache.in_turn("unknown", &[A, B]), [A, B]);
}

#[test]
fn a_later_serial_number_makes_the_names_of_its_zone_old() {
    let (mut cache, now) = (cache(), Instant::now());
    for name in ["a.x.org", "b.x.org", "c.y.org", "x", "x."] {
        learn(&mut cache, name, found(&[A], 1), now);
    }
    assert_eq!(cache.zones(), names(&["x.org", "y.org"]));
    assert!(
        cache.serial("x.org", 7).is_empty(),
        "the first says nothing"
    );
    assert!(cache.serial("x.org", 7).is_empty());
    let old = cache.serial("x.org", 8);
    assert_eq!(old, names(&["a.x.org", "b.x.org"]));
    // An earlier one comes from a server that is behind.
    assert!(cache.serial("x.org", 7).is_empty());
    assert!(cache.serial("x.org", 8).is_empty());
    assert!(cache.serial("z.org", 1).is_empty());
    assert_eq!(cache.zone_rows()[0].serial, 8);
    // They wrap around.
    cache.serial("y.org", u32::MAX);
    assert_eq!(cache.serial("y.org", 2), names(&["c.y.org"]));
}

#[test]
fn what_the_console_shows() {
    let (mut cache, now) = (cache(), Instant::now());
    learn(&mut cache, "a.x.org", found(&[A, B], 60), now);
    learn(&mut cache, "b.x.org", Outcome::Nothing, now);
    cache.ask("c", now);
    let rows = cache.host_rows(now + seconds(4));
    let row = |name: &str, left, addresses: &[IpAddr]| HostRow {
        name: name.into(),
        left: seconds(left),
        addresses: addresses.into(),
    };
    let expected = [
        row("a.x.org", 11, &[A, B]),
        row("b.x.org", 1, &[]),
        row("c", 0, &[]),
    ];
    assert_eq!(rows, expected);
    let zone = ZoneRow {
        zone: "x.org".into(),
        serial: 0,
        names: 2,
    };
    assert_eq!(cache.zone_rows(), [zone]);
}

#[test]
fn names_that_nobody_wants_are_forgotten_with_their_zones() {
    let (mut cache, now) = (cache(), Instant::now());
    learn(&mut cache, "a.x.org", found(&[A], 60), now);
    learn(&mut cache, "b.y.org", found(&[A], 60), now);
    cache.keep(|name| name == "b.y.org");
    assert_eq!(cache.host_rows(now).len(), 1);
    assert_eq!(cache.zones(), names(&["y.org"]));
    // Who still waits for it gets it.
    let learned = cache.learn("a.x.org", found(&[B], 60), now);
    assert_eq!(learned.answer, Ok([B].into()));
    assert_eq!(cache.host_rows(now).len(), 1);
}
