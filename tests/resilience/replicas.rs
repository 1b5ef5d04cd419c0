//! Servers with roles: a primary and a streaming standby, failover, replicas that fall behind.

use std::collections::BTreeSet;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::metrics::Metrics;
use crate::support::operate::until;
use crate::support::proxy::Proxy;
use crate::support::{Pgweir, Postgres, Wire, query};

/// Pools `postgres` (writes), `ro` (replicas only) and `app_ro` (replicas, if there are any).
fn weir(servers: &[&Postgres], further: &str) -> Pgweir {
    let hosts: Vec<String> = servers
        .iter()
        .map(|pg| format!("{{ host = \"127.0.0.1\", port = {} }}", pg.port))
        .collect();
    let pool = |name: &str, lines: &str| {
        format!(
            "[pools.{name}]\ndbname = \"postgres\"\nhosts = [{}]\nprobe_interval = \"200ms\"\n\
             max_lag = \"1s\"\n{lines}\n",
            hosts.join(", ")
        )
    };
    let pools = [
        pool("postgres", ""),
        pool("ro", "target = \"replica\"\nserver_login_retry = \"1s\""),
        pool("app_ro", "target = \"prefer-replica\""),
    ];
    Pgweir::start(servers[0].port, &format!("{further}\n{}", pools.concat()))
}

const WHERE: &str = "select pg_is_in_recovery(), current_setting('port')";

/// The port of the server that answers, once that is `expected`.
fn wait_for_server(wire: &mut Wire, expected: &Postgres) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let rows = wire.query(WHERE).rows();
        if rows
            .first()
            .is_some_and(|row| row[1] == expected.port.to_string())
        {
            return;
        }
        assert!(Instant::now() < deadline, "{rows:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn host_row(weir: &Pgweir, pg: &Postgres) -> Vec<String> {
    let rows = weir.console().query("SHOW HOSTS").rows();
    let port = pg.port.to_string();
    rows.into_iter().find(|row| row[1] == port).unwrap()
}

fn wait_for_role(weir: &Pgweir, pg: &Postgres, role: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while host_row(weir, pg)[2] != role {
        assert!(Instant::now() < deadline, "{:?}", host_row(weir, pg));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn writes_go_to_the_primary_and_reads_to_the_replica_however_they_are_listed() {
    let primary = Postgres::start();
    let standby = primary.standby();
    for servers in [[&primary, &standby], [&standby, &primary]] {
        let weir = weir(&servers, "");
        for _ in 0..4 {
            let mut wire = weir.client();
            let rows = wire.query(WHERE).rows();
            assert_eq!(rows[0], ["f".to_owned(), primary.port.to_string()]);
            let mut reader = Wire::connect(weir.port, "postgres", "ro");
            let rows = reader.query(WHERE).rows();
            assert_eq!(rows[0], ["t".to_owned(), standby.port.to_string()]);
            let refused = reader.query("create table t (a int)").code();
            assert_eq!(refused.as_deref(), Some("25006"));
        }
        let row = host_row(&weir, &standby);
        assert_eq!((&*row[2], &*row[4]), ("replica", "closed"));
        assert_eq!(host_row(&weir, &primary)[2], "primary");
        weir.assert_quiet();
    }
}

#[test]
fn without_a_replica_reads_go_to_the_primary_or_are_refused_as_the_target_says() {
    let primary = Postgres::start();
    let mut standby = primary.standby();
    let weir = weir(&[&primary, &standby], "");
    let mut reader = Wire::connect(weir.port, "postgres", "app_ro");
    let mut strict = Wire::connect(weir.port, "postgres", "ro");
    wait_for_server(&mut reader, &standby);
    standby.crash();
    wait_for_role(&weir, &standby, "down");
    wait_for_server(&mut reader, &primary);
    // It is told in the end, and can go on when there is one again.
    let began = Instant::now();
    let refused = loop {
        let answer = strict.query("select 1");
        assert_eq!(answer.code().as_deref(), Some("08006"), "{answer:?}");
        let text = format!("{answer:?}");
        if began.elapsed() > Duration::from_secs(2) {
            break text;
        }
    };
    drop(refused);
    standby.recover();
    wait_for_server(&mut strict, &standby);
    wait_for_server(&mut reader, &standby);
    weir.assert_quiet();
}

#[test]
fn a_replica_that_falls_behind_gets_no_reads_until_it_has_caught_up() {
    let primary = Postgres::start();
    primary.client().query("create table t (a int)");
    let standby = primary.standby();
    let metrics = Metrics::new();
    let weir = weir(&[&primary, &standby], &metrics.section());
    let mut reader = Wire::connect(weir.port, "postgres", "app_ro");
    wait_for_server(&mut reader, &standby);
    let measured = |pg: &Postgres| {
        let of = format!(r#"host="127.0.0.1",port="{}""#, pg.port);
        metrics.value(&format!("pgweir_host_lag_seconds{{{of}}}"))
    };
    // Where nobody writes, nobody is behind.
    thread::sleep(Duration::from_millis(1500));
    wait_for_server(&mut reader, &standby);
    standby.client().query("select pg_wal_replay_pause()");
    primary.client().query("insert into t values (1)");
    wait_for_server(&mut reader, &primary);
    let lag: f64 = host_row(&weir, &standby)[3].parse().unwrap();
    assert!(lag > 1.0, "{lag}");
    until("the lag is measured", || measured(&standby) > Some(1.0));
    assert_eq!(measured(&primary), None);
    standby.client().query("select pg_wal_replay_resume()");
    wait_for_server(&mut reader, &standby);
    until("it has caught up", || measured(&standby) < Some(1.0));
    assert!(measured(&standby).is_some());
}

/// What a crowd that inserts has been told.
#[derive(Default)]
struct Told {
    acknowledged: BTreeSet<u64>,
    errors: Vec<String>,
    last_success: Option<Instant>,
    longest_gap: Duration,
}

/// Inserts number after number until it is told to stop.
fn insert(port: u16, client: u64, stop: &AtomicBool, told: &Mutex<Told>) {
    let mut wire = Wire::connect(port, "postgres", "postgres");
    let mut errors = 0;
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let number = client * 1_000_000 + n;
        let answer = wire.query(&format!("insert into t values ({number})"));
        assert_eq!(
            answer.status(),
            Some('I'),
            "the client is cut off: {answer:?}"
        );
        let mut told = told.lock().unwrap();
        match answer.code() {
            None => {
                told.acknowledged.insert(number);
                let now = Instant::now();
                if let Some(last) = told.last_success.replace(now) {
                    told.longest_gap = told.longest_gap.max(now - last);
                }
            }
            Some(code) => {
                errors += 1;
                told.errors.push(code);
            }
        }
    }
    assert!(errors <= 2, "client {client} got {errors} errors");
}

#[test]
fn a_primary_that_dies_is_replaced_under_a_crowd_and_nothing_acknowledged_is_lost() {
    let mut primary = Postgres::start();
    primary
        .client()
        .query("create table t (a bigint primary key)");
    let standby = primary.standby();
    primary.be_synchronous();
    let weir = weir(&[&primary, &standby], "default_pool_size = 5");
    let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let crowd: Vec<_> = (0..24)
        .map(|client| {
            let (stop, told, port) = (Arc::clone(&stop), Arc::clone(&told), weir.port);
            thread::spawn(move || insert(port, client, &stop, &told))
        })
        .collect();
    let told: Arc<Mutex<Told>> = told;
    thread::sleep(Duration::from_secs(1));
    // One more is in a transaction, and says nothing.
    let mut inside = weir.client();
    inside.query("begin");
    inside.query("select 1");
    primary.crash();
    standby.promote();
    let promoted = Instant::now();
    let before = told.lock().unwrap().acknowledged.len();
    assert!(before > 0);
    while told.lock().unwrap().acknowledged.len() < before + 100 {
        let limit = Duration::from_secs(10);
        assert!(promoted.elapsed() < limit, "{}", weir.log());
        thread::sleep(Duration::from_millis(10));
    }
    stop.store(true, Ordering::Relaxed);
    crowd.into_iter().for_each(|client| client.join().unwrap());
    // One clear error, and then it can go on.
    let lost = inside.query("select 1");
    assert_eq!(lost.code().as_deref(), Some("08006"), "{lost:?}");
    inside.query("rollback");
    assert_eq!(inside.query("select 1").code(), None);

    let told = told.lock().unwrap();
    let kinds: BTreeSet<&str> = told.errors.iter().map(String::as_str).collect();
    let allowed = BTreeSet::from(["08006", "57P01", "57P02"]);
    assert!(kinds.is_subset(&allowed), "{kinds:?}");
    assert!(
        told.longest_gap < Duration::from_secs(5),
        "{:?}",
        told.longest_gap
    );
    let mut wire = standby.client();
    let there = wire.query("select a from t").rows();
    let there: BTreeSet<u64> = there.iter().map(|row| row[0].parse().unwrap()).collect();
    let lost: Vec<_> = told.acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "{lost:?}");

    // The old primary comes back, and thinks it is one.
    primary.recover();
    wait_for_role(&weir, &primary, "primary");
    let rows = |pg: &Postgres| pg.client().query("select count(*) from t").value();
    let old = rows(&primary);
    for n in 0..20 {
        // Over new connections, each of which might go there.
        weir.console().query("RECONNECT");
        let mut wire = weir.client();
        let answer = wire.query(&format!("insert into t values (-1 - {n})"));
        assert_eq!(answer.code(), None);
    }
    assert_eq!(rows(&primary), old);
    weir.assert_quiet();
}

#[test]
fn when_another_one_is_promoted_the_old_primary_loses_its_clients_at_once() {
    let primary = Postgres::start();
    primary.client().query("create table t (a bigint)");
    let standby = primary.standby();
    let weir = weir(&[&primary, &standby], "");
    let mut inside = weir.client();
    inside.query("begin");
    assert_eq!(inside.query("insert into t values (1)").code(), None);
    standby.promote();
    wait_for_role(&weir, &standby, "primary");
    wait_for_server(&mut weir.client(), &standby);
    // Those who are inside are told a moment later.
    thread::sleep(Duration::from_millis(500));
    let told = inside.query("commit");
    assert_eq!(told.code().as_deref(), Some("08006"), "{told:?}");
    inside.query("rollback");
    assert_eq!(inside.query("insert into t values (2)").code(), None);
    assert_eq!(standby.client().query("select a from t").value(), "2");
    assert_eq!(
        primary.client().query("select count(*) from t").value(),
        "0"
    );
    weir.assert_quiet();
}

#[test]
fn a_primary_that_falls_silent_is_not_waited_for_once_there_is_another() {
    let primary = Postgres::start();
    let standby = primary.standby();
    let weir = weir(&[&primary, &standby], "");
    let mut wire = weir.client();
    wire.query("select 1");
    wait_for_role(&weir, &primary, "primary");
    primary.freeze();
    let began = Instant::now();
    wire.send(&query("select 2")).unwrap();
    standby.promote();
    let answer = wire.answer();
    assert_eq!(answer.code().as_deref(), Some("08006"), "{answer:?}");
    assert_eq!(wire.query("select 3").value(), "3");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    wait_for_role(&weir, &primary, "down");
    primary.thaw();
    weir.assert_quiet();
}

/// The pause after many failures in a row is not waited for when another server becomes the primary.
#[test]
fn a_promotion_ends_the_pause_of_those_who_wait_for_a_primary() {
    let primary = Postgres::start();
    let standby = primary.standby();
    let door = Proxy::start(primary.port);
    let host = |port: u16| format!("{{ host = \"127.0.0.1\", port = {port} }}");
    let pools = format!(
        "host_max_delay = 60\nserver_login_retry = 60\n\
         [pools.standby]\ndbname = \"postgres\"\nhosts = [{}]\ntarget = \"prefer-replica\"\n\
         probe_interval = \"100ms\"\n\
         [pools.postgres]\nhosts = [{}, {}]\nprobe_interval = \"60s\"",
        host(standby.port),
        host(door.port),
        host(standby.port)
    );
    let weir = Pgweir::start(door.port, &pools);
    // One pool watches the standby; the other one the primary, and will not look at it again for long. Who has
    // looked stays connected: the primary counts as there.
    let looked = "select count(*) from pg_stat_activity where state = 'idle' \
                  and pid <> pg_backend_pid() and query like '%pg_is_in_recovery() AS r%'";
    let mut watching = Wire::connect(weir.port, "postgres", "standby");
    wait_for_server(&mut watching, &standby);
    standby.client().wait_for(looked, "1");
    let mut wire = weir.client();
    wait_for_server(&mut wire, &primary);
    primary.client().wait_for(looked, "1");
    door.refuse();
    assert_eq!(weir.console().query("RECONNECT").tags(), "CZ");
    wire.send(&query("select 7")).unwrap();
    let failures = || {
        let rows = weir.console().query("SHOW HOSTS").rows();
        let port = door.port.to_string();
        let row = rows.into_iter().find(|row| row[1] == port).unwrap();
        row[5].parse::<u32>().unwrap()
    };
    // The pause after the eighth is at least 4.8 s.
    until("attempts have failed", || failures() >= 8);
    standby.promote();
    wait_for_role(&weir, &standby, "primary");
    let began = Instant::now();
    assert_eq!(wire.answer().value(), "7");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    wait_for_server(&mut wire, &standby);
    weir.assert_quiet();
}

/// Hangs up on everybody, until it is told to pass on to the server; counts who comes.
struct Door {
    port: u16,
    open: Arc<AtomicBool>,
    came: Arc<AtomicUsize>,
}

impl Door {
    fn before(server: u16) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Door {
            port: listener.local_addr().unwrap().port(),
            open: Arc::default(),
            came: Arc::default(),
        };
        let (open, came) = (Arc::clone(&door.open), Arc::clone(&door.came));
        thread::spawn(move || {
            for client in listener.incoming() {
                came.fetch_add(1, Ordering::Relaxed);
                if open.load(Ordering::Relaxed) {
                    pass_on(client.unwrap(), server);
                }
            }
        });
        door
    }
}

fn pass_on(client: TcpStream, server: u16) {
    let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
    }
}

#[test]
fn a_host_that_fails_is_knocked_at_once_at_a_time_by_all_pools_together() {
    let pg = Postgres::start();
    let door = Door::before(pg.port);
    let users: Vec<String> = (0..10).map(|n| format!("user{n}")).collect();
    for user in &users {
        pg.client().query(&format!("create role {user} login"));
    }
    let known: Vec<String> = users
        .iter()
        .map(|user| format!("[users.{user}]\npassword = \"unused\""))
        .collect();
    let general = "host_failures = 3\nserver_login_retry = 60";
    let weir = Pgweir::start(door.port, &format!("{general}\n{}", known.join("\n")));
    let port = weir.port;
    let clients: Vec<_> = users
        .into_iter()
        .map(|user| {
            thread::spawn(move || {
                Wire::connect(port, &user, "postgres")
                    .query("select 1")
                    .value()
            })
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(10);
    let row = loop {
        let rows = weir.console().query("SHOW HOSTS").rows();
        let row = rows.into_iter().find(|row| row[4] != "closed");
        if let Some(row) = row {
            break row;
        }
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!((&*row[1], &*row[6]), (&*door.port.to_string(), "1"));
    let before = door.came.load(Ordering::Relaxed);
    thread::sleep(Duration::from_secs(5));
    // Each waits for 750 ms at least, and the first few for less.
    let knocks = door.came.load(Ordering::Relaxed) - before;
    assert!((2..=12).contains(&knocks), "{knocks}");
    door.open.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.join().unwrap(), "1");
    }
    let row = &weir.console().query("SHOW HOSTS").rows()[0];
    assert_eq!((&*row[4], &*row[5], &*row[6]), ("closed", "0", "1"));
}
