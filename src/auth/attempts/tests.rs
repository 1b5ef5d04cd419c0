use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const RULES: Rules = Rules {
    user_failures: 3,
    address_failures: 5,
    window: Duration::from_secs(60),
    backoff: SECOND,
    max_backoff: Duration::from_secs(8),
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A wrong password; says whether it was looked at.
fn guess(attempts: &mut Attempts, user: &str, from: &str, now: Instant) -> bool {
    let begun = attempts.begin(&RULES, user, ip(from), now);
    begun
        .map(|attempt| attempts.failed(&RULES, &attempt, now))
        .is_ok()
}

fn wait(attempts: &mut Attempts, user: &str, from: &str, now: Instant) -> Option<Duration> {
    attempts.begin(&RULES, user, ip(from), now).err()
}

#[test]
fn waits_begin_after_so_many_failures_and_double_up_to_a_bound() {
    let (mut attempts, mut now) = (Attempts::default(), Instant::now());
    for _ in 0..3 {
        assert!(guess(&mut attempts, "amy", "10.0.0.1", now));
    }
    for seconds in [1, 2, 4, 8, 8] {
        let left = wait(&mut attempts, "amy", "10.0.0.1", now);
        assert_eq!(left, Some(seconds * SECOND));
        now += seconds * SECOND;
        assert!(guess(&mut attempts, "amy", "10.0.0.1", now), "{seconds}");
    }
}

#[test]
fn nobody_else_is_hindered() {
    let (mut attempts, now) = (Attempts::default(), Instant::now());
    for _ in 0..3 {
        guess(&mut attempts, "amy", "10.0.0.1", now);
    }
    assert!(wait(&mut attempts, "amy", "10.0.0.1", now).is_some());
    assert_eq!(wait(&mut attempts, "amy", "10.0.0.2", now), None);
    assert_eq!(wait(&mut attempts, "bob", "10.0.0.1", now), None);
}

#[test]
fn an_address_that_guesses_for_many_users_waits_as_a_whole() {
    let (mut attempts, now) = (Attempts::default(), Instant::now());
    for user in ["a", "b", "c", "d", "e"] {
        assert!(guess(&mut attempts, user, "2001:db8::1", now));
    }
    // Of one customer's network, any address.
    assert!(wait(&mut attempts, "f", "2001:db8::ffff", now).is_some());
    assert_eq!(wait(&mut attempts, "f", "2001:db8:0:1::1", now), None);
    // An IPv4 address is the same in either form.
    for user in ["a", "b", "c", "d", "e"] {
        guess(&mut attempts, user, "::ffff:10.0.0.1", now);
    }
    assert!(wait(&mut attempts, "f", "10.0.0.1", now).is_some());
}

#[test]
fn failures_long_ago_do_not_count() {
    let (mut attempts, mut now) = (Attempts::default(), Instant::now());
    for _ in 0..9 {
        assert!(guess(&mut attempts, "amy", "10.0.0.1", now));
        now += Duration::from_secs(31);
    }
    for _ in 0..3 {
        guess(&mut attempts, "amy", "10.0.0.1", now);
    }
    // A wait that was over long ago begins anew.
    now += SECOND + RULES.window + SECOND;
    for _ in 0..3 {
        assert!(guess(&mut attempts, "amy", "10.0.0.1", now));
    }
    assert_eq!(wait(&mut attempts, "amy", "10.0.0.1", now), Some(SECOND));
}

#[test]
fn after_a_wait_one_is_looked_at_and_what_it_shows_decides() {
    let (mut attempts, mut now) = (Attempts::default(), Instant::now());
    let from = ip("10.0.0.1");
    // Many at once: those that were under way count once.
    let begun: Vec<_> = (0..20)
        .map(|_| attempts.begin(&RULES, "amy", from, now).unwrap())
        .collect();
    for attempt in &begun {
        attempts.failed(&RULES, attempt, now);
    }
    assert_eq!(wait(&mut attempts, "amy", "10.0.0.1", now), Some(SECOND));
    now += SECOND;
    let probe = attempts.begin(&RULES, "amy", from, now).unwrap();
    assert!(attempts.begin(&RULES, "amy", from, now).is_err());
    attempts.succeeded(&probe, now);
    // Of the user nothing is left, and of the address no wait; but it goes on being looked at singly.
    let probe = attempts.begin(&RULES, "amy", from, now).unwrap();
    assert!(attempts.begin(&RULES, "bob", from, now).is_err());
    attempts.failed(&RULES, &probe, now);
    assert_eq!(
        wait(&mut attempts, "bob", "10.0.0.1", now),
        Some(2 * SECOND)
    );
}

#[test]
fn limits_of_zero_are_none() {
    let (mut attempts, now) = (Attempts::default(), Instant::now());
    let rules = Rules {
        user_failures: 0,
        address_failures: 0,
        ..RULES
    };
    for _ in 0..100 {
        let attempt = attempts.begin(&rules, "amy", ip("10.0.0.1"), now).unwrap();
        attempts.failed(&rules, &attempt, now);
    }
    assert!(attempts.is_empty());
}

proptest! {
    #[test]
    fn it_stays_small_and_waits_are_bounded(
        ops in prop::collection::vec((0u8..4, 0u8..40, 0u16..3000, any::<bool>()), 1..400)
    ) {
        let mut attempts = Attempts::with_room(NonZeroUsize::new(16).unwrap());
        let mut now = Instant::now();
        for (user, host, millis, right) in ops {
            now += Duration::from_millis(millis.into());
            let from = IpAddr::from([10, 0, 0, host]);
            match attempts.begin(&RULES, &format!("u{user}"), from, now) {
                Ok(attempt) if right => attempts.succeeded(&attempt, now),
                Ok(attempt) => attempts.failed(&RULES, &attempt, now),
                Err(left) => prop_assert!(left > Duration::ZERO && left <= RULES.max_backoff),
            }
            prop_assert!(attempts.len() <= 16);
        }
    }

    #[test]
    fn who_never_fails_never_waits(
        others in prop::collection::vec((0u8..4, 0u8..4, 0u16..3000), 1..300)
    ) {
        let (mut attempts, mut now) = (Attempts::default(), Instant::now());
        for (user, host, millis) in others {
            now += Duration::from_millis(millis.into());
            guess(&mut attempts, &format!("u{user}"), &format!("10.0.0.{host}"), now);
            let mine = attempts.begin(&RULES, "u0", ip("10.0.1.1"), now);
            prop_assert!(mine.is_ok());
            attempts.succeeded(&mine.unwrap(), now);
        }
    }
}
