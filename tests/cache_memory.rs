//! What the cache is allowed to take is what it takes: the process grows by little more than
//! `cache.max_size`, be the entries small or large.

mod support;

use std::thread;

use support::operate::until;
use support::{Pgweir, Postgres, Wire};

const MAX_SIZE: u64 = 48 << 20;
const CLIENTS: u64 = 4;

/// Resident memory in bytes.
fn resident(weir: &Pgweir) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", weir.child.id())).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

fn usage(weir: &Pgweir) -> u64 {
    let rows = weir.show("CACHE");
    let all = rows.iter().find(|r| r["database"] == "(all)").unwrap();
    all["bytes"].parse().unwrap()
}

fn check(column: &str, entries: u64) {
    let pg = Postgres::start();
    pg.client()
        .query("create table t (id int primary key, x text); insert into t values (1, '')");
    let config = format!(
        "default_pool_size = {CLIENTS}\n[cache]\nmax_size = {MAX_SIZE}\n[pools.postgres]\n\
         host = '127.0.0.1'\nport = {}\n[pools.postgres.cache]\nenabled = true\nttl = '1h'\n",
        pg.port
    );
    let weir = Pgweir::start(pg.port, &config);
    let mut clients: Vec<Wire> = (0..CLIENTS).map(|_| weir.client()).collect();
    until("the cache is ready", || {
        clients.iter_mut().for_each(|c| drop(c.query("select 1")));
        weir.show("CACHE")[0]["state"] == "ready"
    });
    let before = resident(&weir);
    thread::scope(|scope| {
        for (n, client) in clients.iter_mut().enumerate() {
            scope.spawn(move || {
                let from = n as u64 * entries / CLIENTS;
                for key in from..from + entries / CLIENTS {
                    let sql = format!("select {column} from t where id <> {key}");
                    // Where nothing is asked for twice, nothing is stored.
                    for _ in 0..2 {
                        assert_eq!(client.query(&sql).code(), None);
                    }
                }
            });
        }
    });
    let (after, used) = (resident(&weir), usage(&weir));
    let growth = after.saturating_sub(before);
    // 1.1 times as a rule, and 1.4 in one run of ten, when the allocator's free blocks lie badly.
    println!("{column}: {used} bytes by the cache's own account, the process grew by {growth}");
    assert!(used > MAX_SIZE * 8 / 10, "it is not full: {used}");
    assert!(used <= MAX_SIZE, "{used}");
    assert!(
        growth <= MAX_SIZE * 16 / 10,
        "grew by {growth}, of which {used} are known"
    );
}

#[test]
fn small_entries() {
    check("id", 78_000);
}

#[test]
fn large_entries() {
    check("repeat('x', 8000)", 9_000);
}
