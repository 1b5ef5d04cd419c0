use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::pool::core::{Checkout, Core, Granted, Limits};

const fn claim(priority: Priority, party: u64) -> Claim {
    Claim { priority, party }
}

const CRITICAL: Claim = claim(Priority::Critical, 0);
const NORMAL: Claim = claim(Priority::Normal, 0);
const BACKGROUND: Claim = claim(Priority::Background, 0);

/// One connection, which is lent; `max_queue` is 0.
fn core(now: Instant) -> Core<u32, u32> {
    let limits = Limits {
        size: 1,
        reserve: 0,
        reserve_timeout: Duration::from_secs(5),
        max_queue: 0,
        patience: Duration::from_millis(5),
        max_connecting: 8,
        round_robin: false,
    };
    let mut core = Core::new(limits, 2);
    core.start_connecting(now, 1);
    core.connected(0, 7, now);
    assert!(matches!(
        core.checkout(0, now, &0, |_| true),
        Checkout::Ready(7)
    ));
    core
}

/// Frees the connection again and again; gives who got it. In the end it is idle.
fn served(core: &mut Core<u32, u32>, count: usize, now: Instant) -> Vec<u32> {
    (0..count).map_while(|_| core.release(0, 7, now)).collect()
}

#[test]
fn the_more_urgent_is_served_first_and_the_least_urgent_not_never() {
    let t = Instant::now();
    let mut core = core(t);
    for _ in 0..200 {
        core.wait_as(Some(BACKGROUND), 0, t, &3);
        core.wait_as(Some(NORMAL), 1, t, &2);
        core.wait_as(Some(CRITICAL), 0, t, &1);
    }
    let all = served(&mut core, 146, t);
    let count = |who| all.iter().filter(|w| **w == who).count();
    assert_eq!((count(1), count(2), count(3)), (128, 16, 2));
    assert_eq!(all[0], 1);
    // When the urgent ones are served, the others get everything.
    let rest = served(&mut core, 600, t);
    assert_eq!(rest.len(), 600 - 146);
    assert_eq!(rest.last(), Some(&3));
}

#[test]
fn who_comes_late_does_not_make_up_for_lost_time() {
    let t = Instant::now();
    let mut core = core(t);
    for _ in 0..100 {
        core.wait_as(Some(NORMAL), 0, t, &2);
    }
    served(&mut core, 50, t);
    core.wait_as(Some(BACKGROUND), 0, t, &3);
    core.wait_as(Some(BACKGROUND), 0, t, &3);
    let next = served(&mut core, 20, t);
    let at: Vec<_> = (0..20).filter(|n| next[*n] == 3).collect();
    assert_eq!(at, [8, 17], "behind eight normal ones each");
    core.wait_as(Some(CRITICAL), 0, t, &1);
    assert_eq!(served(&mut core, 2, t), [1, 2]);
}

#[test]
fn parties_take_turns_whatever_number_each_has() {
    let t = Instant::now();
    let mut core = core(t);
    for _ in 0..1000 {
        core.wait_as(Some(claim(Priority::Normal, 10)), 0, t, &1);
    }
    core.wait_as(Some(claim(Priority::Normal, 20)), 1, t, &2);
    core.wait_as(Some(claim(Priority::Normal, 30)), 0, t, &3);
    core.wait_as(Some(claim(Priority::Normal, 20)), 0, t, &2);
    assert_eq!(served(&mut core, 7, t), [1, 2, 3, 1, 2, 1, 1]);
}

#[test]
fn those_without_a_claim_go_before_and_all_are_failed_together() {
    let t = Instant::now();
    let mut core = core(t);
    let claimed = core.wait_as(Some(CRITICAL), 0, t, &1);
    let plain = core.wait(1, t + Duration::from_secs(1), &2);
    assert_eq!(served(&mut core, 1, t), [2]);
    assert_eq!(core.take(plain), Granted::Server(7));
    let later = t + Duration::from_secs(3);
    assert_eq!(core.counts(later).longest_wait, Duration::from_secs(3));
    assert_eq!(core.fail_waiters(), [1]);
    assert_eq!(core.take(claimed), Granted::Failed);
    assert_eq!(core.counts(t).waiting, 0);
}

#[test]
fn one_party_may_have_only_so_many_waiters() {
    let t = Instant::now();
    let mut core = core(t);
    let ask = |party| Ask {
        claim: claim(Priority::Normal, party),
        max_party: 2,
        patience: None,
    };
    let first = core.wait_as(Some(ask(1).claim), 0, t, &1);
    // In whatever class.
    core.wait_as(Some(claim(Priority::Background, 1)), 0, t, &1);
    assert_eq!(core.admits(&ask(1)), Err(Turned::Party));
    assert_eq!(core.admits(&ask(2)), Ok(()));
    core.cancel(first);
    assert_eq!(core.admits(&ask(1)), Ok(()));
    // Nobody has to wait where a connection is idle, and nobody is told while all is held up.
    core.wait_as(Some(ask(1).claim), 0, t, &1);
    core.hold(true, t);
    assert_eq!(core.admits(&ask(1)), Ok(()));
}

#[test]
fn who_would_wait_too_long_is_told_so() {
    let mut t = Instant::now();
    let mut core = core(t);
    let ask = |priority, millis| Ask {
        claim: claim(priority, 0),
        max_party: 0,
        patience: Some(Duration::from_millis(millis)),
    };
    for _ in 0..165 {
        core.wait_as(Some(NORMAL), 0, t, &1);
    }
    let hopeless = core.admits(&ask(Priority::Normal, 1));
    assert_eq!(hopeless, Ok(()), "nothing is known yet");
    for _ in 0..65 {
        t += Duration::from_millis(10);
        served(&mut core, 1, t);
    }
    // 100 wait, each takes 10 ms.
    assert_eq!(core.admits(&ask(Priority::Normal, 1100)), Ok(()));
    let told = core.admits(&ask(Priority::Normal, 900));
    let Err(Turned::Hopeless(expected)) = told else {
        panic!("{told:?}");
    };
    assert!(
        (expected.as_secs_f64() - 1.01).abs() < 0.001,
        "{expected:?}"
    );
    // The urgent need not wait for all those, and the others wait for them, too.
    assert_eq!(core.admits(&ask(Priority::Critical, 100)), Ok(()));
    core.wait_as(Some(BACKGROUND), 0, t, &1);
    let background = core.admits(&ask(Priority::Background, 150));
    assert!(background.is_err());
    // When the queue was empty, another time begins.
    served(&mut core, 200, t);
    assert!(matches!(
        core.checkout(0, t, &0, |_| true),
        Checkout::Ready(7)
    ));
    core.wait_as(Some(NORMAL), 0, t, &1);
    assert_eq!(core.admits(&ask(Priority::Normal, 1)), Ok(()));
}

#[derive(Debug, Clone)]
enum Op {
    Wait(Option<u8>, u8),
    Cancel(usize),
    Release,
    Fail,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (prop::option::of(0u8..3), 0u8..4).prop_map(|(class, party)| Op::Wait(class, party)),
        2 => any::<usize>().prop_map(Op::Cancel),
        5 => Just(Op::Release),
        1 => Just(Op::Fail),
    ]
}

proptest! {
    #[test]
    fn everybody_is_served_once_or_told(ops in prop::collection::vec(op(), 1..300)) {
        let now = Instant::now();
        let mut core = core(now);
        let mut waiting: Vec<(u32, Ticket)> = Vec::new();
        let mut next = 0;
        for op in ops {
            match op {
                Op::Wait(class, party) => {
                    next += 1;
                    let claim = class.map(|c| claim(ALL[usize::from(c)], party.into()));
                    waiting.push((next, core.wait_as(claim, usize::from(party % 2), now, &next)));
                }
                Op::Cancel(n) if !waiting.is_empty() => {
                    let (_, ticket) = waiting.swap_remove(n % waiting.len());
                    prop_assert_eq!(core.cancel(ticket), None);
                }
                Op::Cancel(_) => {}
                Op::Release => {
                    let woken = core.release(0, 7, now);
                    prop_assert_eq!(woken.is_some(), !waiting.is_empty());
                    match woken {
                        Some(who) => {
                            let at = waiting.iter().position(|(w, _)| *w == who).unwrap();
                            let (_, ticket) = waiting.swap_remove(at);
                            prop_assert_eq!(core.take(ticket), Granted::Server(7));
                        }
                        None => {
                            let again = core.checkout(0, now, &0, |_| true);
                            prop_assert!(matches!(again, Checkout::Ready(7)));
                        }
                    }
                }
                Op::Fail => {
                    prop_assert_eq!(core.fail_waiters().len(), waiting.len());
                    for (_, ticket) in waiting.drain(..) {
                        prop_assert_eq!(core.take(ticket), Granted::Failed);
                    }
                }
            }
            prop_assert_eq!(core.counts(now).waiting, waiting.len());
            prop_assert_eq!(core.fair.waiting() <= waiting.len(), true);
        }
    }

    /// However many others come, it waits for no more than this.
    #[test]
    fn a_bound_on_waiting(priority in 0usize..3, others in 1u64..5) {
        let now = Instant::now();
        let mut core = core(now);
        for n in 0..200u64 {
            for other in ALL {
                core.wait_as(Some(claim(other, 1 + n % others)), 0, now, &1);
            }
        }
        core.wait_as(Some(claim(ALL[priority], 99)), 0, now, &2);
        let at = served(&mut core, 600, now).iter().position(|who| *who == 2);
        prop_assert!(at.unwrap() < 73 * (others as usize + 1));
    }
}
