//! The checker: many clients write and read at once, and every answer is held against the history.
//!
//! Each cell is a row that one writer alone writes, with rising versions. An answer must not be
//! older than the last version whose commit was acknowledged before the question was sent, nor newer
//! than the last one that was sent when the answer was there, nor one that was rolled back; and no
//! role may see what is another's.
//!
//! `PGWEIR_CHECK_SECONDS` says how long (60 unless set), `PGWEIR_CHECK_SEED` with what random numbers.
//! That the checker finds anything at all is seen by planting bugs.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::operate::until;
use crate::support::redis::Redis;
use crate::support::{Pgweir, Postgres, Wire, execute, message, parse, sync};

/// Rows of each kind.
const ROWS: usize = 4;
const ROLES: [&str; 3] = ["amy", "bob", "cat"];

const SCHEMA: &str = "
create table items (id int primary key, v bigint);
create view seen as select id, v from items;
create view seen_again as select s.id, s.v from seen s;
create table part (id int, v bigint) partition by list (id);
create table part_0 partition of part for values in (0, 1);
create table part_1 partition of part for values in (2, 3);
create table up (id int primary key, key bigint unique);
create table down (id int, key bigint references up (key) on update cascade);
create table source (id int primary key, v bigint);
create table mirror (id int primary key, v bigint);
create function copy_it() returns trigger language plpgsql as $$
begin
    insert into mirror values (new.id, new.v) on conflict (id) do update set v = excluded.v;
    return new;
end $$;
create trigger t after insert or update on source for each row execute function copy_it();
create table called (id int primary key, v bigint);
create function write_called(i int, k bigint) returns void language sql as
    $$ update called set v = k where id = i $$;
create function nap(bigint) returns bigint language plpgsql immutable as
    $$ begin perform pg_sleep(0.02); return $1; end $$;
create table owned (owner text, secret text);
create view mine as select owner, secret from owned where owner = current_user;
create table guarded (owner text, secret text);
alter table guarded enable row level security;
create policy p on guarded using (owner = current_user);
";

/// A kind of cell: how it is written and how it is read.
struct Kind {
    name: &'static str,
    /// `$i` is the row, `$v` the new version; `;;` separates what is sent one after the other.
    writes: &'static [&'static str],
    reads: &'static [&'static str],
    /// What is read is the version times this, and something smaller.
    factor: i64,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "items",
        writes: &[
            "update items set v = $v where id = $i",
            "begin;;update items set v = -1 where id = $i;;update items set v = $v where id = $i;;commit",
            "with x as (update items set v = $v where id = $i returning v) select v from x",
            "update seen set v = $v where id = $i",
            "insert into items values ($i, $v) on conflict (id) do update set v = excluded.v",
            "begin;;savepoint a;;update items set v = -2 where id = $i;;rollback to a;;update items set v = $v where id = $i;;end",
            "do $$ begin update items set v = $v where id = $i; end $$",
            "begin; update items set v = $v where id = $i; commit",
        ],
        reads: &[
            "select v from items where id = $i",
            "select v from seen where id = $i",
            "select max(v) from seen_again where id = $i",
            "select nap(v) from items where id = $i",
            "with x as (select * from items) select x.v from x where x.id = $i",
            "select i.v from items i join seen s using (id) where id = $i",
        ],
        factor: 1,
    },
    Kind {
        name: "part",
        writes: &[
            "update part set v = $v where id = $i",
            "delete from part where id = $i;;insert into part values ($i, $v)",
        ],
        reads: &[
            "select coalesce(max(v), -3) from part where id = $i",
            "select coalesce(max(v), -3) from (select * from part_0 union all select * from part_1) x where id = $i",
            "select coalesce(max(nap(v)), -3) from part where id = $i",
        ],
        factor: 1,
    },
    Kind {
        name: "cascade",
        writes: &["update up set key = $v * 10 + $i where id = $i"],
        reads: &[
            "select key from down where id = $i",
            "select u.key from up u join down d using (key) where d.id = $i",
        ],
        factor: 10,
    },
    Kind {
        name: "trigger",
        writes: &["update source set v = $v where id = $i"],
        reads: &[
            "select v from mirror where id = $i",
            "select nap(v) from mirror where id = $i",
        ],
        factor: 1,
    },
    Kind {
        name: "function",
        writes: &["select write_called($i, $v)"],
        reads: &["select v from called where id = $i"],
        factor: 1,
    },
];

#[derive(Default)]
struct Cell {
    sent: AtomicI64,
    acknowledged: AtomicI64,
}

struct Check {
    /// Of the instances.
    ports: Vec<u16>,
    cells: Vec<[Cell; ROWS]>,
    stop: AtomicBool,
    reads: AtomicU64,
    writes: AtomicU64,
    /// The first thing that was wrong.
    wrong: Mutex<Option<String>>,
}

/// xorshift64*: what a seed gives can be had again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

impl Check {
    fn report(&self, wrong: String) {
        self.wrong.lock().unwrap().get_or_insert(wrong);
        self.stop.store(true, Ordering::SeqCst);
    }

    fn connect(&self, random: &mut Random, user: &str) -> Wire {
        Wire::connect(random.pick(&self.ports), user, "postgres")
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    /// Writes the cells of one row of each kind.
    fn write(&self, row: usize, mut random: Random) {
        let mut client = self.connect(&mut random, "postgres");
        let mut next = vec![1i64; KINDS.len()];
        while self.goes_on() {
            // Rarely those that forget everything.
            let kind = if random.below(12) == 0 {
                3 + random.below(2)
            } else {
                random.below(3)
            };
            let write = random.pick(KINDS[kind].writes);
            if write.starts_with("do ") && random.below(8) > 0 {
                continue;
            }
            let cell = &self.cells[kind][row];
            let version = next[kind];
            next[kind] += 1;
            if random.below(6) == 0 {
                // One that comes to nothing.
                for statement in [
                    "begin",
                    &fill(write.split(";;").next().unwrap(), row, -5),
                    "rollback",
                ] {
                    if !statement.contains("begin;") {
                        client.query(statement);
                    }
                }
                client.query("rollback");
            }
            cell.sent.store(version, Ordering::SeqCst);
            let sql = fill(write, row, version);
            for statement in sql.split(";;") {
                let answer = if random.below(2) == 0 && !statement.contains(';') {
                    let messages = [parse("", statement), bind_with("", &[]), execute(), sync()];
                    client.send(&messages.concat()).unwrap();
                    client.answer()
                } else {
                    client.query(statement)
                };
                if let Some(code) = answer.code() {
                    return self.report(format!("{statement}: {code}"));
                }
            }
            cell.acknowledged.store(version, Ordering::SeqCst);
            self.writes.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_micros(random.next() % 12_000));
        }
    }

    fn read(&self, mut random: Random) {
        let mut client = self.connect(&mut random, "postgres");
        let names: Vec<(usize, &str, String)> = KINDS
            .iter()
            .enumerate()
            .flat_map(|(k, kind)| kind.reads.iter().map(move |r| (k, *r)))
            .enumerate()
            .map(|(n, (k, read))| (k, read, format!("r{n}")))
            .collect();
        for (_, read, name) in &names {
            let sql = read.replace("$i", "$1::int");
            client.send(&[parse(name, &sql), sync()].concat()).unwrap();
            assert_eq!(client.answer().code(), None, "{sql}");
        }
        while self.goes_on() {
            let (kind, read, name) = &names[random.below(names.len())];
            let row = random.below(ROWS);
            let cell = &self.cells[*kind][row];
            let in_block = random.below(5) == 0;
            if in_block {
                client.query("begin");
            }
            let least = cell.acknowledged.load(Ordering::SeqCst);
            let answer = if random.below(2) == 0 {
                client.query(&fill(read, row, 0))
            } else {
                let messages = [bind_with(name, &[&row.to_string()]), execute(), sync()];
                client.send(&messages.concat()).unwrap();
                client.answer()
            };
            let most = cell.sent.load(Ordering::SeqCst);
            if in_block {
                client.query("commit");
            }
            let Some(found) = answer.rows().first().and_then(|r| r[0].parse::<i64>().ok()) else {
                return self.report(format!("{read}: no version in {:?}", answer.rows()));
            };
            let version = found.div_euclid(KINDS[*kind].factor);
            // Between delete and insert there is no row, which is right.
            let gone = found == -3 && KINDS[*kind].name == "part";
            if !gone && !(least..=most).contains(&version) {
                return self.report(format!(
                    "{read} of row {row}: version {version} is not from {least} to {most}"
                ));
            }
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Nobody sees what is another's, be the role that of the login or set later.
    fn look_around(&self, mut random: Random) {
        let mut logins: Vec<(Wire, &str)> = ROLES
            .iter()
            .map(|r| (self.connect(&mut random, r), *r))
            .collect();
        let mut changing = self.connect(&mut random, "postgres");
        while self.goes_on() {
            let table = random.pick(&["mine", "guarded", "mine where secret > ''"]);
            let sql = format!("select owner, secret from {table}");
            let (answer, role) = if random.below(2) == 0 {
                let n = random.below(logins.len());
                let (client, role) = &mut logins[n];
                (client.query(&sql), *role)
            } else {
                let role = random.pick(&ROLES);
                changing.query(&format!("set role {role}"));
                (changing.query(&sql), role)
            };
            let rows = answer.rows();
            if rows.len() != 1 || rows.iter().any(|r| r[0] != role) {
                return self.report(format!("{role} sees {rows:?} by {sql}"));
            }
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn fill(sql: &str, row: usize, version: i64) -> String {
    sql.replace("$i", &row.to_string())
        .replace("$v", &version.to_string())
}

fn bind_with(statement: &str, values: &[&str]) -> Vec<u8> {
    let mut body = format!("\0{statement}\0\0\0").into_bytes();
    body.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    body.extend_from_slice(&[0, 0]);
    message(b'B', &body)
}

struct Found {
    wrong: Option<String>,
    reads: u64,
    writes: u64,
    hits: u64,
}

fn check(planted: Option<&str>, limit: Duration, seed: u64, instances: usize) -> Found {
    let pg = Postgres::start();
    let mut admin = pg.client();
    let setup = |admin: &mut Wire, sql: &str| {
        let answer = admin.query(sql);
        assert_eq!(answer.code(), None, "{sql}");
    };
    setup(&mut admin, SCHEMA);
    for row in 0..ROWS {
        for table in ["items", "part", "source", "called"] {
            setup(
                &mut admin,
                &format!("insert into {table} values ({row}, 0)"),
            );
        }
        setup(&mut admin, &format!("insert into up values ({row}, {row})"));
        setup(
            &mut admin,
            &format!("insert into down values ({row}, {row})"),
        );
    }
    for role in ROLES {
        setup(&mut admin, &format!("create role {role} login"));
        for table in ["owned", "guarded"] {
            setup(
                &mut admin,
                &format!("insert into {table} values ('{role}', 'of {role}')"),
            );
        }
    }
    setup(&mut admin, "grant select on mine, guarded to amy, bob, cat");
    let users: String = ROLES.iter().map(|r| format!("[users.{r}]\n")).collect();
    // Strict: what one has acknowledged no other may contradict.
    let redis = (instances > 1).then(Redis::start);
    let shared = redis.as_ref().map_or(String::new(), |redis| {
        format!(
            "[cache.shared]\nurl = 'redis://127.0.0.1:{}'\nconsistency = 'strict'\n\
             max_lag = '10s'\nmember_timeout = '60s'\ntimeout = '10s'\n",
            redis.port
        )
    });
    let config = format!(
        "default_pool_size = 12\n[pools.postgres]\nhost = '127.0.0.1'\nport = {}\n\
         [pools.postgres.cache]\nenabled = true\nttl = '1h'\nrow_security = 'key'\n{users}{shared}",
        pg.port
    );
    let variables: Vec<(&str, &str)> = planted.iter().map(|b| ("PGWEIR_PLANTED_BUG", *b)).collect();
    let start = |_| Pgweir::start_with(pg.port, &config, &variables);
    let weirs: Vec<Pgweir> = (0..instances).map(start).collect();
    for weir in &weirs {
        let mut first = weir.client();
        until("the cache is ready", || {
            first.query("select 1");
            weir.show("CACHE")[0]["state"] == "ready"
        });
    }
    let check = Arc::new(Check {
        ports: weirs.iter().map(|w| w.port).collect(),
        cells: KINDS.iter().map(|_| Default::default()).collect(),
        stop: AtomicBool::new(false),
        reads: AtomicU64::new(0),
        writes: AtomicU64::new(0),
        wrong: Mutex::new(None),
    });
    let mut threads = Vec::new();
    let mut start = |n: u64, run: fn(&Check, Random, u64)| {
        let check = Arc::clone(&check);
        // Never zero, which xorshift does not leave.
        let random = Random(seed.wrapping_add(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        threads.push(thread::spawn(move || run(&check, random, n)));
    };
    for row in 0..ROWS as u64 {
        start(row, |check, random, row| check.write(row as usize, random));
    }
    (10..18).for_each(|n| start(n, |check, random, _| check.read(random)));
    (20..22).for_each(|n| start(n, |check, random, _| check.look_around(random)));
    let deadline = Instant::now() + limit;
    while check.goes_on() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    check.stop.store(true, Ordering::SeqCst);
    for thread in threads {
        thread
            .join()
            .expect("no thread of the checker fails by itself");
    }
    let shown = weirs.iter().flat_map(|weir| weir.show("CACHE"));
    let hits = shown.filter_map(|r| r["hits"].parse::<u64>().ok()).sum();
    if planted.is_none() {
        weirs.iter().for_each(Pgweir::assert_quiet);
    }
    let wrong = check.wrong.lock().unwrap().take();
    Found {
        wrong,
        reads: check.reads.load(Ordering::Relaxed),
        writes: check.writes.load(Ordering::Relaxed),
        hits,
    }
}

fn seed() -> u64 {
    let set = std::env::var("PGWEIR_CHECK_SEED").ok();
    set.and_then(|s| s.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()))
}

#[test]
fn no_answer_is_wrong() {
    let seconds = std::env::var("PGWEIR_CHECK_SECONDS").ok();
    let seconds = seconds.map_or(60, |s| s.parse().expect("a number of seconds"));
    check_for(seconds, 1);
}

#[test]
fn no_answer_is_wrong_through_two_instances() {
    let seconds = std::env::var("PGWEIR_CHECK_SECONDS").ok();
    let seconds = seconds.map_or(30, |s| s.parse().expect("a number of seconds"));
    check_for(seconds, 2);
}

fn check_for(seconds: u64, instances: usize) {
    let seed = seed();
    let found = check(None, Duration::from_secs(seconds), seed, instances);
    println!(
        "seed {seed}, {instances} instances: {} reads, {} of them from memory, {} writes",
        found.reads, found.hits, found.writes
    );
    assert_eq!(found.wrong, None, "seed {seed}");
    // Otherwise nothing was checked.
    assert!(
        found.hits > found.reads / 20,
        "{} hits of {}",
        found.hits,
        found.reads
    );
    assert!(found.writes > seconds * 3, "{} writes", found.writes);
}

#[test]
fn planted_bugs_are_found() {
    for bug in ["no-invalidation", "too-early", "no-overlap", "no-role"] {
        let found = check(Some(bug), Duration::from_secs(60), seed(), 1);
        let wrong = found.wrong.unwrap_or_else(|| {
            panic!(
                "{bug} was not found in {} reads, {} hits",
                found.reads, found.hits
            )
        });
        println!("{bug}: {wrong} ({} reads)", found.reads);
    }
}
