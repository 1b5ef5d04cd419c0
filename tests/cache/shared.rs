//! Several instances and one Redis: each other's answers are used, each other's writes are heard, and
//! a Redis that is slow or gone is a bypass.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::operate::{Row, until};
use crate::support::redis::Redis;
use crate::support::{Pgweir, Postgres, Wire, query};

/// `max_lag`, in seconds.
pub const LAG: f64 = 1.0;

pub struct Fleet {
    pg: Postgres,
    pub redis: Redis,
    pub weirs: Vec<Pgweir>,
}

const SCHEMA: &str = "
create table plain (id int primary key, n bigint);
insert into plain values (1, 0), (2, 0), (3, 0);
create view seen as select * from plain;
create table busy (n bigint);
create table calm (n bigint);
create table rare (n bigint);
insert into busy values (0);
insert into calm values (0);
insert into rare values (0);
create table large (id int primary key, t text);
insert into large select i, repeat('x', 10000) from generate_series(1, 3) i;
";

impl Fleet {
    fn start(instances: usize) -> Fleet {
        Fleet::with(instances, "", "")
    }

    pub fn with(instances: usize, shared: &str, bug: &str) -> Fleet {
        let pg = Postgres::start();
        assert_eq!(pg.client().query(SCHEMA).code(), None);
        let redis = Redis::start();
        let mut fleet = Fleet {
            pg,
            redis,
            weirs: Vec::new(),
        };
        for _ in 0..instances {
            fleet.add(shared, bug);
        }
        for weir in &fleet.weirs {
            fleet.wait(weir, "connected");
        }
        fleet
    }

    fn add(&mut self, shared: &str, bug: &str) {
        let usual = format!("max_lag = '{LAG}s'\nmember_timeout = '3s'\ntimeout = '1s'");
        let shared = if shared.is_empty() { &usual } else { shared };
        let config = format!(
            "[cache.shared]\nurl = 'redis://127.0.0.1:{}'\n{shared}\n\
             [pools.postgres]\nhost = '127.0.0.1'\nport = {}\n\
             [pools.postgres.cache]\nenabled = true\nttl = '10m'\n",
            self.redis.port, self.pg.port
        );
        let variables = [("PGWEIR_PLANTED_BUG", bug)];
        let weir = Pgweir::start_with(self.pg.port, &config, &variables);
        self.weirs.push(weir);
    }

    /// Until the tier is in that state, with the catalogs known.
    fn wait(&self, weir: &Pgweir, state: &str) {
        let mut client = weir.client();
        until("the tier's state", || {
            client.query("select n from plain where id = 3");
            let ready = weir.show("CACHE").iter().any(|r| r["state"] == "ready");
            ready && tier(weir)["state"] == state
        });
    }
}

fn tier(weir: &Pgweir) -> Row {
    weir.show("CACHE SHARED").remove(0)
}

fn shared(weir: &Pgweir, column: &str) -> u64 {
    tier(weir)[column].parse().unwrap()
}

fn hits(weir: &Pgweir) -> u64 {
    let rows = weir.show("CACHE");
    let row = rows.iter().find(|r| r["user"] == "postgres");
    row.unwrap()["hits"].parse().unwrap()
}

/// The answer; whether it came from memory, and whether from what is shared.
fn ask(weir: &Pgweir, client: &mut Wire, sql: &str) -> (String, bool, bool) {
    let before = (hits(weir), shared(weir, "hits"));
    let answer = client.query(sql);
    assert_eq!(answer.code(), None, "{sql}");
    let from_shared = shared(weir, "hits") > before.1;
    let from_memory = !from_shared && hits(weir) > before.0;
    (answer.value(), from_memory, from_shared)
}

/// Asks one until it has stored the answer for all.
#[track_caller]
fn warm(weir: &Pgweir, client: &mut Wire, sql: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let stored = shared(weir, "stored");
    while shared(weir, "stored") == stored {
        client.query(sql);
        assert!(
            Instant::now() < deadline,
            "{:?}\n{}",
            tier(weir),
            weir.log()
        );
        if hits(weir) > 0 && shared(weir, "stored") == stored {
            client.query("update plain set n = n where id = 2");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn what_one_has_asked_for_the_others_need_not() {
    let fleet = Fleet::start(2);
    let [a, b] = &fleet.weirs[..] else { panic!() };
    let (mut on_a, mut on_b) = (a.client(), b.client());
    for sql in [
        "select n from plain where id = 1",
        "select t from large where id = 1",
        "select count(*) from seen",
    ] {
        warm(a, &mut on_a, sql);
        let direct = fleet.pg.client().query(sql);
        let from_b = on_b.query(sql);
        assert_eq!(from_b.0, direct.0, "the same bytes");
        assert!(shared(b, "hits") > 0, "{:?}", tier(b));
        let (_, memory, shared) = ask(b, &mut on_b, sql);
        assert!(memory && !shared, "now it is in memory");
    }
    assert!(shared(b, "hits") >= 3);
    // 10,000 bytes of the same compress well.
    let keys = fleet.redis.cli(&["--scan", "--pattern", "pgweir:*:e:*"]);
    for key in keys.lines() {
        let length: usize = fleet.redis.cli(&["strlen", key]).trim().parse().unwrap();
        assert!(length < 2000, "{key}: {length}");
        let life: i64 = fleet.redis.cli(&["pttl", key]).trim().parse().unwrap();
        assert!((1..=600_000).contains(&life), "{life}");
    }
    // Another role's answer is another one.
    fleet.pg.client().query("create role amy login");
    let mut amy = Wire::connect(b.port, "postgres", "postgres");
    let denied = amy.query("set role amy; select n from plain where id = 1");
    assert_eq!(denied.code().as_deref(), Some("42501"));
}

#[test]
fn a_write_is_seen_at_once_here_and_soon_elsewhere() {
    let fleet = Fleet::start(2);
    let [a, b] = &fleet.weirs[..] else { panic!() };
    let (mut on_a, mut on_b) = (a.client(), b.client());
    let read = "select n from plain where id = 1";
    for n in 1..=20 {
        // Both have it in memory.
        on_a.query(read);
        on_b.query(read);
        on_b.query(read);
        let (writer, mut reader) = match n % 2 {
            0 => (&mut on_a, b.client()),
            _ => (&mut on_b, a.client()),
        };
        writer.query(&format!("update plain set n = {n} where id = 1"));
        let written = Instant::now();
        assert_eq!(writer.query(read).value(), n.to_string());
        until("the other sees it", || {
            let asked = written.elapsed().as_secs_f64();
            let value = reader.query(read).value();
            assert!(
                value == n.to_string() || asked < LAG,
                "{value} after {asked}"
            );
            value == n.to_string()
        });
    }
    // DDL, too.
    on_b.query("select count(*) from seen");
    on_b.query("select count(*) from seen");
    on_a.query("create or replace view seen as select * from plain where id = 1");
    thread::sleep(Duration::from_secs_f64(LAG));
    assert_eq!(on_b.query("select count(*) from seen").value(), "1");
    let mut console = a.console();
    assert_eq!(console.query("CACHE FLUSH").code(), None);
}

#[test]
fn without_redis_the_cache_is_bypassed_and_nobody_notices() {
    let mut fleet = Fleet::start(2);
    let read = "select n from plain where id = 1";
    for round in 1..=2 {
        let (mut on_a, mut on_b) = (fleet.weirs[0].client(), fleet.weirs[1].client());
        on_a.query(read);
        on_b.query(read);
        let lost: u64 = shared(&fleet.weirs[1], "losses");
        if round == 1 {
            fleet.redis.stop();
        } else {
            fleet.redis.signal("-STOP");
        }
        let stopped = Instant::now();
        on_a.query(&format!("update plain set n = {round} where id = 1"));
        while stopped.elapsed().as_secs_f64() < LAG {
            assert_eq!(on_b.query(read).code(), None);
            thread::sleep(Duration::from_millis(20));
        }
        // Bypassed, and right.
        let before = hits(&fleet.weirs[1]);
        for _ in 0..3 {
            assert_eq!(on_b.query(read).value(), round.to_string());
        }
        assert_eq!(hits(&fleet.weirs[1]), before);
        assert_eq!(tier(&fleet.weirs[1])["state"], "bypassed");
        if round == 1 {
            until("the loss is counted", || {
                shared(&fleet.weirs[1], "losses") > lost
            });
            fleet.redis.start_again();
        } else {
            fleet.redis.signal("-CONT");
        }
        for weir in &fleet.weirs {
            fleet.wait(weir, "connected");
        }
        let before = hits(&fleet.weirs[1]);
        for _ in 0..3 {
            assert_eq!(on_b.query(read).value(), round.to_string());
        }
        assert!(hits(&fleet.weirs[1]) > before);
    }
}

#[test]
fn a_dead_instance_holds_the_others_up_for_a_while_and_a_leaving_one_does_not() {
    let mut fleet = Fleet::start(3);
    let read = "select n from plain where id = 1";
    // SIGTERM: an orderly end.
    let mut leaving = fleet.weirs.pop().unwrap();
    leaving.signal("-TERM");
    leaving.wait_exit();
    let stopped = Instant::now();
    let mut client = fleet.weirs[0].client();
    while stopped.elapsed().as_secs_f64() < 2.0 * LAG {
        client.query(read);
        assert_eq!(tier(&fleet.weirs[0])["state"], "connected");
        thread::sleep(Duration::from_millis(50));
    }
    // kill -9: what it has changed last is not known.
    let mut dying = fleet.weirs.pop().unwrap();
    dying.child.kill().unwrap();
    until("it is missed", || {
        tier(&fleet.weirs[0])["state"] == "bypassed"
    });
    fleet.wait(&fleet.weirs[0], "connected");
    assert!(fleet.weirs[0].log().contains("everything is forgotten"));
}

#[test]
fn what_several_were_writing_when_they_died_is_remembered_again() {
    let settings = format!(
        "max_lag = '{LAG}s'\nmember_timeout = '3s'\ntimeout = '1s'\nconsistency = 'strict'"
    );
    let mut fleet = Fleet::with(4, &settings, "");
    let mut writers = Vec::new();
    let reads = ["busy", "calm", "rare"].map(|table| format!("select n from {table}"));
    for (weir, table) in fleet.weirs[1..].iter().zip(["busy", "calm", "rare"]) {
        let update = format!("update {table} set n = 1 where (select pg_sleep(100)) is not null");
        let mut writer = weir.client();
        writer.send(&query(&update)).unwrap();
        writers.push(writer);
        fleet.pg.client().wait_for(
            &format!("select count(*) from pg_stat_activity where query = '{update}'"),
            "1",
        );
    }
    let survivor = &fleet.weirs[0];
    let mut client = survivor.client();
    let before = hits(survivor);
    for _ in 0..3 {
        reads.iter().for_each(|read| drop(client.query(read)));
    }
    assert_eq!(hits(survivor), before, "somebody is writing to them");
    for mut dying in fleet.weirs.drain(1..).collect::<Vec<_>>() {
        dying.child.kill().unwrap();
    }
    let survivor = &fleet.weirs[0];
    for read in &reads {
        until("it is remembered again", || {
            let before = hits(survivor);
            client.query(read);
            hits(survivor) > before
        });
    }
}

#[test]
fn what_redis_forgets_or_spoils_is_no_answer() {
    let fleet = Fleet::start(2);
    let [a, b] = &fleet.weirs[..] else { panic!() };
    let (mut on_a, mut on_b) = (a.client(), b.client());
    let read = "select n from plain where id = 1";
    warm(a, &mut on_a, read);
    // Evicted generations make entries worthless.
    for key in fleet
        .redis
        .cli(&["--scan", "--pattern", "pgweir:*:g*"])
        .lines()
    {
        fleet.redis.cli(&["del", key]);
    }
    let (value, memory, shared_hit) = ask(b, &mut on_b, read);
    assert_eq!((value.as_str(), memory, shared_hit), ("0", false, false));
    let second = "select n from plain where id = 2";
    warm(a, &mut on_a, second);
    for key in fleet
        .redis
        .cli(&["--scan", "--pattern", "pgweir:*:e:*"])
        .lines()
    {
        fleet
            .redis
            .cli(&["setrange", key, "40", "garbage garbage garbage"]);
    }
    let (value, memory, shared_hit) = ask(b, &mut on_b, second);
    assert_eq!((value.as_str(), memory, shared_hit), ("0", false, false));
}

#[test]
fn a_slow_redis_opens_the_breaker() {
    let fleet = Fleet::with(
        1,
        "max_lag = '60s'\nmember_timeout = '60s'\ntimeout = '50ms'",
        "",
    );
    let weir = &fleet.weirs[0];
    let mut client = weir.client();
    let ask_anew = |client: &mut Wire, n: u32| {
        let began = Instant::now();
        let sql = format!("select n from plain where id = 1 and {n} = {n}");
        assert_eq!(client.query(&sql).value(), "0");
        began.elapsed()
    };
    ask_anew(&mut client, 0);
    fleet.redis.cli(&["client", "pause", "4000", "all"]);
    let mut slow = 0;
    until("the breaker opens", || {
        slow += 1;
        ask_anew(&mut client, slow);
        tier(weir)["breaker"] == "open"
    });
    assert!(slow >= 5, "{slow}");
    // Most do not even ask.
    let quick = (100..150).filter(|n| ask_anew(&mut client, *n) < Duration::from_millis(40));
    assert!(quick.count() >= 40);
    until("the breaker closes", || {
        slow += 1;
        ask_anew(&mut client, slow);
        tier(weir)["breaker"] == "closed"
    });
    assert!(shared(weir, "failures") >= 5);
    assert!(weir.log().contains("is not asked for a while"));
}

/// Written more and less often: what is written seldom is remembered for long.
const TABLES: [&str; 3] = ["busy", "calm", "rare"];

/// How to check.
#[derive(Default, Clone, Copy)]
struct How {
    bug: &'static str,
    strict: bool,
    /// Redis is stopped and killed meanwhile.
    trouble: bool,
}

/// Writers and readers on all instances: gives what was too old, and hits of both tiers.
fn check(how: How, seconds: u64) -> (Vec<String>, u64, u64) {
    let settings = match how.strict {
        true => "consistency = 'strict'\nmax_lag = '1s'\nmember_timeout = '60s'\ntimeout = '1s'",
        false => "",
    };
    let fleet = Fleet::with(2, settings, how.bug);
    let Fleet {
        pg,
        mut redis,
        weirs,
    } = fleet;
    let lag = if how.strict { 0.0 } else { LAG };
    let weirs = &weirs;
    let faults = std::sync::Mutex::new(Vec::new());
    let start = Instant::now();
    // By table: when which version was acknowledged, by which instance.
    let history: [std::sync::Mutex<Vec<(f64, i64, usize)>>; 3] = Default::default();
    let sent: [AtomicI64; 3] = Default::default();
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for row in 0..3 {
            let mut writers = [weirs[0].client(), weirs[1].client()];
            let (history, sent, stop) = (&history[row], &sent[row], &stop);
            scope.spawn(move || {
                for version in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    sent.store(version, Ordering::SeqCst);
                    // Several in a row by the same one, so that the other one depends on hearing.
                    let on = version as usize / 4 % 2;
                    let sql = format!("update {} set n = {version}", TABLES[row]);
                    assert_eq!(writers[on].query(&sql).code(), None);
                    let at = start.elapsed().as_secs_f64();
                    history.lock().unwrap().push((at, version, on));
                    thread::sleep(Duration::from_millis([7, 150, 700][row]));
                }
            });
        }
        let seen: &[AtomicI64; 3] = Box::leak(Box::default());
        // The last asks the server itself: what it sees is there, acknowledged or not.
        for reader in 0..7 {
            let on = reader % 2;
            let is_direct = reader == 6;
            let mut client = match is_direct {
                true => pg.client(),
                false => weirs[on].client(),
            };
            let (history, sent, stop, reads, faults) = (&history, &sent, &stop, &reads, &faults);
            scope.spawn(move || {
                for n in reader.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let row = n % 3;
                    let asked = start.elapsed().as_secs_f64();
                    let seen_before = seen[row].load(Ordering::SeqCst);
                    let sql = format!("select n from {} where {} > 0", TABLES[row], 1 + n / 3 % 2);
                    let got: i64 = client.query(&sql).value().parse().unwrap();
                    let newest = sent[row].load(Ordering::SeqCst);
                    let history = history[row].lock().unwrap();
                    // Of this instance at once, of the other within the bound.
                    let known = |(at, _, by): &&(f64, i64, usize)| {
                        *at < asked - if *by == on { 0.0 } else { lag }
                    };
                    let before = history.iter().filter(known).map(|(_, version, _)| *version);
                    let mut oldest = before.max().unwrap_or(0);
                    if how.strict {
                        oldest = oldest.max(seen_before);
                        seen[row].fetch_max(got, Ordering::SeqCst);
                    }
                    if got < oldest || got > newest {
                        let mut faults = faults.lock().unwrap();
                        faults.push(format!("{on}: {sql}: {got} is not in {oldest}..={newest}"));
                        stop.store(true, Ordering::Relaxed);
                    }
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let redis = &mut redis;
        let mut trouble = 0;
        while start.elapsed() < Duration::from_secs(seconds) && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
            if how.trouble && start.elapsed().as_secs() / 4 > trouble {
                trouble += 1;
                match trouble % 2 {
                    1 => redis.signal("-STOP"),
                    _ => redis.stop(),
                }
                thread::sleep(Duration::from_millis(2500));
                match trouble % 2 {
                    1 => redis.signal("-CONT"),
                    _ => redis.start_again(),
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (mut memory, mut from_shared) = (0, 0);
    for weir in weirs {
        memory += hits(weir);
        from_shared += shared(weir, "hits");
    }
    let reads = reads.load(Ordering::Relaxed);
    println!("{reads} reads, {memory} hits, {from_shared} of them shared");
    (faults.into_inner().unwrap(), memory, from_shared)
}

#[test]
fn no_answer_of_two_instances_is_too_old() {
    let (faults, memory, from_shared) = check(How::default(), 10);
    assert!(faults.is_empty(), "{faults:?}");
    assert!(memory > 100 && from_shared > 10, "{memory}, {from_shared}");
}

#[test]
fn strict_consistency_shows_every_acknowledged_write_everywhere() {
    let how = How {
        strict: true,
        ..How::default()
    };
    let (faults, memory, _) = check(how, 8);
    assert!(faults.is_empty(), "{faults:?}");
    assert!(memory > 100, "{memory}");
}

#[test]
fn strict_consistency_holds_while_redis_does_not() {
    let how = How {
        strict: true,
        trouble: true,
        ..How::default()
    };
    let (faults, memory, _) = check(how, 20);
    assert!(faults.is_empty(), "{faults:?}");
    assert!(memory > 100, "{memory}");
}

#[test]
fn instances_that_do_not_hear_are_found() {
    let deaf = How {
        bug: "deaf",
        ..How::default()
    };
    assert!(!check(deaf, 60).0.is_empty());
    // Without invalidation nothing is told, and strictness does not help.
    let mute = How {
        bug: "no-invalidation",
        strict: true,
        ..How::default()
    };
    assert!(!check(mute, 60).0.is_empty());
    // What is committed but not acknowledged is seen by one and not by another.
    let hasty = How {
        bug: "no-lease",
        ..mute
    };
    assert!(!check(hasty, 60).0.is_empty());
}
