//! The promise of transaction mode, taken at its word: whatever a client does, it is answered as if
//! it had a connection of its own, and what it leaves behind is seen by nobody.
//!
//! * `script` is the language of the sequences, `run` runs them both ways and compares;
//! * `table` reads sequences thought out by hand: `table.txt` holds those that are answered the
//!   same, `open.txt` those that should be and are not yet, `known.txt` those that cannot be helped.
//!   `PGWEIR_DIFFERENTIAL_ONLY` picks the cases with that in their names,
//!   `PGWEIR_DIFFERENTIAL_SHOW` prints what differs in the last two;
//! * `random` makes them up. `PGWEIR_DIFFERENTIAL_SECONDS` says for how long (10),
//!   `PGWEIR_DIFFERENTIAL_SEED` with which seed to begin.

#[path = "../support/mod.rs"]
mod support;

mod random;
mod run;
mod script;
mod table;

use std::time::{Duration, Instant};

use run::{Bench, Mode};
use script::Step;

#[test]
fn every_client_is_answered_as_if_it_had_a_connection_of_its_own() {
    let mut bench = Bench::start();
    let mut failures = Vec::new();
    for case in wanted(table::all()) {
        for &mode in case.modes() {
            if let Some(difference) = bench.difference(&case.steps, mode) {
                failures.push(format!("{}: {difference}", case.name));
                bench.renew(mode);
            }
        }
    }
    bench.assert_quiet();
    let number = failures.len();
    let text = failures.join("\n\n");
    assert!(failures.is_empty(), "{text}\n{number} differences");
}

/// When one of these does not differ any more, it belongs into the table.
#[test]
fn open_findings_and_known_differences_are_still_there() {
    let mut bench = Bench::start();
    let mut same = Vec::new();
    for case in wanted(table::open_findings()).chain(wanted(table::known())) {
        let found = case.modes().iter().find_map(|&mode| {
            let difference = bench.difference(&case.steps, mode);
            if std::env::var("PGWEIR_DIFFERENTIAL_SHOW").is_ok() {
                println!("{} {difference:?}", case.name);
            }
            difference.is_some().then(|| bench.renew(mode))
        });
        if found.is_none() {
            same.push(case.name);
        }
    }
    assert!(same.is_empty(), "these do not differ any more: {same:#?}");
}

fn wanted(cases: Vec<table::Case>) -> impl Iterator<Item = table::Case> {
    let only = std::env::var("PGWEIR_DIFFERENTIAL_ONLY").unwrap_or_default();
    let wanted = move |case: &table::Case| case.name.contains(&only);
    cases.into_iter().filter(wanted)
}

#[test]
fn sequences_made_up_at_random_are_answered_the_same() {
    let number = |name: &str| std::env::var(name).ok().map(|s| s.parse::<u64>().unwrap());
    let seconds = number("PGWEIR_DIFFERENTIAL_SECONDS").unwrap_or(10);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut bench = Bench::start();
    let first = number("PGWEIR_DIFFERENTIAL_SEED").unwrap_or(1);
    let mut seed = first;
    while Instant::now() < end {
        for mode in Mode::POOLED {
            let steps = random::Random::new(seed).script(mode);
            if let Some(difference) = bench.difference(&steps, mode) {
                let (steps, difference) = shrink(&mut bench, steps, mode, difference);
                let script: Vec<String> = steps.iter().map(Step::to_string).collect();
                panic!("seed {seed}, {difference}\n\n{}", script.join("\n"));
            }
        }
        seed += 1;
    }
    bench.assert_quiet();
    println!("seeds {first} to {}: no difference", seed - 1);
}

/// SQLSTATE of a client that has waited too long.
const NO_CONNECTION: &str = " 53300 ";

/// Drops steps as long as there is a difference without them. With the end of a transaction dropped,
/// clients wait for each other, which is another thing.
fn shrink(
    bench: &mut Bench,
    mut steps: Vec<Step>,
    mode: Mode,
    mut difference: String,
) -> (Vec<Step>, String) {
    bench.renew(mode);
    if difference.contains(NO_CONNECTION) {
        return (steps, difference);
    }
    let mut size = steps.len().div_ceil(2);
    loop {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            match bench.difference(&fewer, mode) {
                Some(found) if !found.contains(NO_CONNECTION) => {
                    (steps, difference) = (fewer, found);
                    bench.renew(mode);
                }
                found => {
                    at += size;
                    if found.is_some() {
                        bench.renew(mode);
                    }
                }
            }
        }
        if size == 1 {
            return (steps, difference);
        }
        size = size.div_ceil(2);
    }
}
