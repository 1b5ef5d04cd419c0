//! How available pgweir is through everything that can fail: a primary with two standbys, users who write
//! and read all the time, one fault after the other, and probes beside pgweir that say when PostgreSQL
//! itself was there.
//!
//! `PGWEIR_AVAILABILITY_MINUTES` plays the faults again and again for so long, with more users and more time
//! in between, and `PGWEIR_AVAILABILITY_REPORT` is a file for the report: see `scripts/availability`.

mod cluster;
mod faults;
mod probe;
mod report;
mod users;

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use cluster::Cluster;
use faults::Scene;

/// How much of everything.
pub struct Plan {
    users: u64,
    /// Who come at once in a storm of logins.
    storm: u64,
    /// How long pgweir is stopped.
    stop: Duration,
    /// How long the network takes nothing, and how long a primary stands still before it is replaced.
    stall: Duration,
    /// Between two faults.
    rest: Duration,
    /// Rounds are begun for so long; one at least.
    time: Duration,
}

impl Plan {
    fn short() -> Plan {
        Plan {
            users: 12,
            storm: 60,
            stop: Duration::from_secs(2),
            stall: Duration::from_secs(1),
            rest: Duration::from_millis(1500),
            time: Duration::ZERO,
        }
    }

    fn long(minutes: f64) -> Plan {
        Plan {
            users: 32,
            storm: 300,
            stop: Duration::from_secs(10),
            stall: Duration::from_secs(3),
            rest: Duration::from_secs(6),
            time: Duration::from_secs_f64(60.0 * minutes),
        }
    }

    fn asked_for() -> Plan {
        let minutes = std::env::var("PGWEIR_AVAILABILITY_MINUTES").ok();
        minutes.map_or_else(Plan::short, |text| {
            Plan::long(text.parse().expect("minutes are a number"))
        })
    }
}

#[test]
fn almost_everything_is_served_through_all_faults_and_nothing_acknowledged_is_lost() {
    let plan = Plan::asked_for();
    let mut scene = Scene::set(Cluster::start(), plan.users);
    let began = Instant::now();
    scene.quiet();
    thread::sleep(plan.rest);
    let mut rounds = 0;
    while rounds == 0 || began.elapsed() < plan.time {
        scene.round(&plan);
        rounds += 1;
    }
    let took = began.elapsed();
    let played = scene.end();

    let mut report = report::report(&played.phases, &played.notes.requests);
    let (lost, unsure) = compare(&played.notes, &played.numbers);
    if !lost.is_empty() {
        let complaint = format!("acknowledged and lost: {lost:?}");
        report.complaints.push(complaint);
    }
    if played.notes.cut_off > 0 {
        let complaint = format!("{} connections were cut off", played.notes.cut_off);
        report.complaints.push(complaint);
    }
    let faults = played.phases.len() - 1;
    let times = played.notes.requests.iter().map(|r| r.ended - r.sent);
    let waited: Duration = times.filter(|t| *t > Duration::from_secs(1)).sum();
    let text = format!(
        "{}\n{} acknowledged writes, {} of them lost; of {} that failed {unsure} are there.\n\
         {:.2} % of the users' time went by waiting for longer than a second.\n\
         {faults} faults in {:.1} min. A round of all of them stands for an hour in which each happens once: \
         {rounds} hours, {:.0} times as fast.\n",
        report.text(),
        played.notes.acknowledged.len(),
        lost.len(),
        played.notes.uncertain.len(),
        100.0 * waited.as_secs_f64() / (took.as_secs_f64() * plan.users as f64),
        took.as_secs_f64() / 60.0,
        3600.0 * f64::from(rounds) / took.as_secs_f64(),
    );
    println!("\n{text}");
    if let Ok(path) = std::env::var("PGWEIR_AVAILABILITY_REPORT") {
        std::fs::write(path, text).unwrap();
    }
    assert!(
        played.notes.requests.len() > 1000,
        "too few to say anything"
    );
    assert!(report.complaints.is_empty(), "{:#?}", report.complaints);
}

/// Which acknowledged numbers are not in the table, and how many of the uncertain ones are. Nothing else
/// may be there.
fn compare(notes: &users::Notes, there: &BTreeSet<u64>) -> (Vec<u64>, usize) {
    let lost = notes.acknowledged.difference(there).copied().collect();
    let others: BTreeSet<u64> = there.difference(&notes.acknowledged).copied().collect();
    assert!(others.is_subset(&notes.uncertain), "nobody wrote that");
    (lost, others.len())
}
