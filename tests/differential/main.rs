//! The promise of transaction mode, taken at its word: whatever a client does, it is answered as if
//! it had a connection of its own, and what it leaves behind is seen by nobody.
//!
//! * `script` is the language of the sequences, `run` runs them both ways and compares;
//! * `table` holds sequences thought out by hand, `findings` those that fail or cannot be helped;
//! * `random` makes them up. `PGWEIR_DIFFERENTIAL_SECONDS` says for how long (10),
//!   `PGWEIR_DIFFERENTIAL_SEED` with which seed to begin.

#[path = "../support/mod.rs"]
mod support;

mod random;
mod run;
mod script;
mod table;

use run::Bench;

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
            difference.is_some().then(|| bench.renew(mode))
        });
        if found.is_none() {
            same.push(case.name);
        }
    }
    assert!(same.is_empty(), "these do not differ any more: {same:#?}");
}

/// `PGWEIR_DIFFERENTIAL_ONLY` picks the cases with that in their names.
fn wanted(cases: Vec<table::Case>) -> impl Iterator<Item = table::Case> {
    let only = std::env::var("PGWEIR_DIFFERENTIAL_ONLY").unwrap_or_default();
    let wanted = move |case: &table::Case| case.name.contains(&only);
    cases.into_iter().filter(wanted)
}
