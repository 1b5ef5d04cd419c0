//! The pool under thousands of random schedules: clients of several workers that come, wait, are
//! woken late, give up or lose their connection; logins that succeed and fail; places; limits that
//! change; pauses; time. A model beside it knows who has what, and after each step the two must
//! agree.
//!
//! A seed that fails is printed; `PGWEIR_SEED=n cargo test --lib simulation` plays it again, and
//! `PGWEIR_SEEDS=n` plays more than the usual number.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::places::Place;
use super::*;

mod random;
mod world;

use random::Random;
use world::World;

const SEEDS: u64 = 1500;
const STEPS: usize = 300;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a seed is a number"))
}

fn play(seed: u64) {
    let mut world = World::new(Random::new(seed));
    for _ in 0..STEPS {
        world.step();
        world.check();
    }
    world.come_to_rest();
}

#[test]
fn whatever_happens_nobody_is_forgotten_and_nothing_is_lost() {
    if let Some(seed) = number("PGWEIR_SEED") {
        return play(seed);
    }
    for seed in 0..number("PGWEIR_SEEDS").unwrap_or(SEEDS) {
        // What a step found wrong has been printed by then.
        let outcome = catch_unwind(AssertUnwindSafe(|| play(seed)));
        assert!(
            outcome.is_ok(),
            "seed {seed} fails: PGWEIR_SEED={seed} cargo test --lib simulation"
        );
    }
}

/// The tickets of those who have given up do not pile up behind one who waits on.
#[test]
fn who_comes_and_gives_up_leaves_no_memory_behind() {
    let mut core: Core<u32, u32> = Core::new(limits(), 1);
    let t = Instant::now();
    core.hold(true, t);
    wait(&mut core, 0, t, 1);
    core.wait_for_place(t, &1).expect("there is no bound");
    for who in 2..10_000 {
        let ticket = wait(&mut core, 0, t, who);
        assert_eq!(core.cancel(ticket), None);
        let ticket = core.wait_for_place(t, &who).expect("there is no bound");
        assert_eq!(core.cancel(ticket), None);
    }
    assert!(core.queues[0].len() < 200, "{}", core.queues[0].len());
    assert!(core.places.len() < 200, "{}", core.places.len());
    assert!(core.slots.len() < 10, "{}", core.slots.len());
    core.hold(false, t);
    assert_eq!(core.give_place(t).map(|place| place.waker), Some(1));
    assert_eq!(core.start_connecting(t, 0), 1);
    assert_eq!(core.connected(0, 7, t), Some(1));
}
