//! Commands while clients are at work.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::stage::{INI, Ini, Pooler, Side, server};
use crate::support::query;

const CLIENTS: usize = 16;

fn console(pooler: &Pooler, command: &str) -> Vec<String> {
    let who = [("user", "admin"), ("database", "pgbouncer")];
    let mut console = Client::log_in(pooler.port, "", &who).1.expect("an admin");
    console.wire.send(&query(command)).unwrap();
    console.answer()
}

/// Value of a column of the only pool.
fn pool(pooler: &Pooler, column: &str) -> u64 {
    let lines = console(pooler, "SHOW POOLS");
    let names = lines
        .iter()
        .find_map(|l| l.strip_prefix("columns "))
        .unwrap();
    let at = names
        .split(' ')
        .position(|n| n.split(':').next() == Some(column));
    let mut rows = lines.iter().filter_map(|l| l.strip_prefix("row "));
    let row = rows.find(|r| r.starts_with("app|")).unwrap();
    row.split('|').nth(at.unwrap()).unwrap().parse().unwrap()
}

/// What the console says while `commands` are given again and again; and what clients are told that is
/// not the answer to their queries, and whether they go on.
fn under_load(
    side: Side,
    commands: &[&str],
    quiet_after: Option<usize>,
) -> (Vec<String>, Vec<String>) {
    let postgres = server();
    let settings = "default_pool_size = 4";
    let pooler = Pooler::start(side, &postgres, &Ini { settings, ..INI });
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut outcomes, mut complaints) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let (pooler, stop, done) = (&pooler, &stop, &done);
                scope.spawn(move || {
                    let who = [("user", "alice"), ("database", "app")];
                    let mut client = Client::log_in(pooler.port, "", &who).1.unwrap();
                    let mut wrong = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        client.wire.send(&query(&format!("select {n}"))).unwrap();
                        let answer = client.answer();
                        if answer.get(1) != Some(&format!("row {n}")) {
                            wrong.extend(answer);
                            break;
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    wrong
                })
            })
            .collect();
        for round in 0..10 {
            let before = done.load(Ordering::Relaxed);
            for (n, command) in commands.iter().enumerate() {
                let said = console(&pooler, command).join(", ");
                if round == 0 {
                    outcomes.push(format!("{command}: {said}"));
                }
                if quiet_after == Some(n) {
                    outcomes.push(format!("active {}", pool(&pooler, "sv_active")));
                }
            }
            let progress = || done.load(Ordering::Relaxed) > before + 2 * CLIENTS as u64;
            let patience = (0..1000).any(|_| {
                thread::sleep(Duration::from_millis(10));
                progress()
            });
            if !patience {
                complaints.push(format!("they do not go on after round {round}"));
            }
        }
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            complaints.extend(client.join().unwrap());
        }
    });
    (outcomes, complaints)
}

fn compare_under_load(commands: &[&str], quiet_after: Option<usize>) {
    let [bouncer, weir] = [Side::Bouncer, Side::Weir].map(|s| under_load(s, commands, quiet_after));
    assert_eq!(bouncer.0, weir.0);
    // PgBouncer's clients may be told that server logins have been failing, and closed: those that the
    // command has cut off. Here nobody may be told anything, and all go on.
    assert!(weir.1.is_empty(), "{:#?}", weir.1);
}

#[test]
fn pause_and_resume_under_load() {
    compare_under_load(&["PAUSE", "RESUME"], Some(0));
    compare_under_load(&["PAUSE app", "RESUME app"], Some(0));
}

#[test]
fn reconnect_and_reload_under_load() {
    compare_under_load(&["RECONNECT", "RELOAD"], None);
}
