use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

mod simulation;

fn limits() -> Limits {
    Limits {
        size: 3,
        reserve: 0,
        reserve_timeout: Duration::from_secs(5),
        max_queue: 0,
        patience: Duration::from_millis(5),
        max_connecting: 8,
        round_robin: false,
    }
}

fn whichever(_: &u32) -> bool {
    true
}

fn wait(core: &mut Core<u32, u32>, home: usize, now: Instant, who: u32) -> Ticket {
    match core.checkout(home, now, &who, whichever) {
        Checkout::Wait(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_freed_connection_goes_to_the_oldest_waiter() {
    let mut core = Core::new(limits(), 1);
    let t = Instant::now();
    let first = wait(&mut core, 0, t, 1);
    let second = wait(&mut core, 0, t + Duration::from_millis(1), 2);
    assert_eq!(core.start_connecting(t, 0), 2);
    assert_eq!(core.connected(0, 10, t), Some(1));
    assert_eq!(core.take(second), Granted::NotYet);
    assert_eq!(core.take(first), Granted::Server(10));
    assert_eq!(core.release(0, 10, t), Some(2));
    assert_eq!(core.take(second), Granted::Server(10));
    assert_eq!(core.release(0, 10, t), None);
    assert!(matches!(
        core.checkout(0, t, &3, whichever),
        Checkout::Ready(10)
    ));
}

#[test]
fn a_waiter_elsewhere_is_served_when_it_has_waited_longer() {
    let mut core = Core::new(limits(), 2);
    let t = Instant::now();
    wait(&mut core, 1, t, 1);
    wait(&mut core, 0, t + Duration::from_millis(3), 2);
    wait(&mut core, 0, t + Duration::from_millis(30), 3);
    core.start_connecting(t, 0);
    // 3 ms is less than the patience, so the local one comes first; 30 ms is more.
    assert_eq!(core.connected(0, 10, t), Some(2));
    assert_eq!(core.connected(0, 11, t), Some(1));
    assert_eq!(core.connected(0, 12, t), Some(3));
}

#[test]
fn the_queue_is_bounded() {
    let mut core = Core::new(
        Limits {
            max_queue: 1,
            ..limits()
        },
        1,
    );
    let t = Instant::now();
    let ticket = wait(&mut core, 0, t, 1);
    assert!(matches!(
        core.checkout(0, t, &2, whichever),
        Checkout::Refused
    ));
    assert_eq!(core.cancel(ticket), None);
    wait(&mut core, 0, t, 2);
}

#[test]
fn the_reserve_opens_when_somebody_has_waited_long() {
    let mut core = Core::new(
        Limits {
            size: 1,
            reserve: 1,
            ..limits()
        },
        1,
    );
    let t = Instant::now();
    wait(&mut core, 0, t, 1);
    wait(&mut core, 0, t, 2);
    assert_eq!(core.start_connecting(t, 0), 1);
    assert_eq!(core.start_connecting(t + Duration::from_secs(4), 0), 0);
    assert_eq!(core.start_connecting(t + Duration::from_secs(5), 0), 1);
    assert_eq!(core.start_connecting(t + Duration::from_secs(9), 0), 0);
}

#[test]
fn a_grant_that_nobody_takes_is_given_back() {
    let mut core = Core::new(limits(), 1);
    let t = Instant::now();
    let ticket = wait(&mut core, 0, t, 1);
    core.start_connecting(t, 0);
    core.connected(0, 10, t);
    assert_eq!(core.cancel(ticket), Some(10));
    assert_eq!(core.release(0, 10, t), None);
    assert_eq!(core.counts(t).idle, 1);
}

#[test]
fn a_preferred_connection_is_found() {
    let mut core = Core::new(limits(), 1);
    let t = Instant::now();
    core.start_connecting(t, 3);
    for server in [10, 11, 12] {
        core.connected(0, server, t);
    }
    assert!(matches!(
        core.checkout(0, t, &1, |s| *s == 10),
        Checkout::Ready(10)
    ));
    assert!(matches!(
        core.checkout(0, t, &1, |s| *s == 10),
        Checkout::Ready(12)
    ));
}

#[derive(Debug, Clone)]
enum Op {
    Checkout(usize),
    Cancel(usize),
    Release(usize),
    Lose(usize),
    Connect,
    FailConnect,
    FailAll,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0usize..3).prop_map(Op::Checkout),
        1 => any::<usize>().prop_map(Op::Cancel),
        3 => any::<usize>().prop_map(Op::Release),
        1 => any::<usize>().prop_map(Op::Lose),
        3 => Just(Op::Connect),
        1 => Just(Op::FailConnect),
        1 => Just(Op::FailAll),
    ]
}

proptest! {
    /// Whatever happens in whatever order: no connection is in two hands, none is lost, the limit
    /// holds, and nobody waits beside an idle connection.
    #[test]
    fn no_connection_is_lost_or_shared(ops in proptest::collection::vec(op(), 0..200)) {
        let mut core: Core<u32, u32> = Core::new(limits(), 3);
        let start = Instant::now();
        let mut next = 0;
        let mut held: Vec<(usize, u32)> = Vec::new();
        let mut tickets: Vec<(usize, Ticket)> = Vec::new();
        let mut alive: HashMap<u32, ()> = HashMap::new();
        for (n, op) in ops.into_iter().enumerate() {
            let now = start + Duration::from_millis(n as u64);
            match op {
                Op::Checkout(home) => match core.checkout(home, now, &0, |_| false) {
                    Checkout::Ready(s) => held.push((home, s)),
                    Checkout::Wait(t) => tickets.push((home, t)),
                    Checkout::Refused => unreachable!("the queue is unlimited"),
                },
                Op::Cancel(i) if !tickets.is_empty() => {
                    let (home, t) = tickets.swap_remove(i % tickets.len());
                    if let Some(s) = core.cancel(t) { core.release(home, s, now); }
                }
                Op::Release(i) if !held.is_empty() => {
                    let (home, s) = held.swap_remove(i % held.len());
                    core.release(home, s, now);
                }
                Op::Lose(i) if !held.is_empty() => {
                    let (_, s) = held.swap_remove(i % held.len());
                    alive.remove(&s);
                    core.lost();
                }
                Op::Connect => for _ in 0..core.start_connecting(now, 0) {
                    next += 1;
                    alive.insert(next, ());
                    core.connected(next as usize % 3, next, now);
                },
                Op::FailConnect => for _ in 0..core.start_connecting(now, 0) {
                    core.connect_failed();
                },
                Op::FailAll => { core.fail_waiters(); }
                _ => {}
            }
            tickets.retain(|(home, t)| match core.take(*t) {
                Granted::Server(s) => { held.push((*home, s)); false }
                Granted::Failed => false,
                Granted::NotYet => true,
            });
            let counts = core.counts(now);
            prop_assert_eq!(counts.lent, held.len());
            prop_assert_eq!(counts.idle + held.len(), alive.len());
            prop_assert_eq!(counts.waiting, tickets.len());
            prop_assert!(alive.len() <= 3);
            prop_assert!(counts.waiting == 0 || counts.idle == 0);
            let mut hands: Vec<u32> = held.iter().map(|(_, s)| *s).collect();
            hands.sort_unstable();
            hands.dedup();
            prop_assert_eq!(hands.len(), held.len());
        }
    }
}
