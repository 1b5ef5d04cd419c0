//! A new process takes over from the running one, and clients do not notice.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::certificates::Certificates;
use crate::support::ini::Ini;
use crate::support::operate::{shared_postgres, table, until};
use crate::support::{
    Answer, Postgres, Wire, bind, describe_portal, execute, kill, parse, query, sync,
};

const TRANSACTION: &str = "pool_mode = transaction";

fn pid_of(wire: &mut Wire) -> String {
    wire.query("select pg_backend_pid()").value()
}

/// Asks for a prepared statement's row in the extended protocol.
fn run_prepared(wire: &mut Wire, name: &str) -> String {
    let group = [bind(name), describe_portal(), execute(), sync()].concat();
    wire.send(&group).unwrap();
    wire.answer().value()
}

#[test]
fn clients_keep_what_they_have() {
    let pg = shared_postgres();
    let mut ini = Ini::start(pg.port, TRANSACTION, "");
    let mut idle = ini.connect("postgres");
    idle.query("set search_path to pg_catalog, public");
    idle.query("prepare q as select 'sql ' || current_setting('search_path')");
    idle.send(&[parse("p", "select 'protocol'"), sync()].concat())
        .unwrap();
    assert_eq!(idle.answer().tags(), "1Z");
    let mut listening = ini.connect("postgres");
    // In a block, so that it is by a server connection of its own.
    listening.query("begin; listen upgrade_test; commit");
    let its_backend = pid_of(&mut listening);
    let mut writing = ini.connect("postgres");
    writing.query("create table if not exists upgrade_test (n int)");
    writing.query("begin");
    writing.query("insert into upgrade_test values (1)");
    let ids = |ini: &Ini| {
        let rows = ini.console().query("SHOW CLIENTS").rows();
        let rows = rows.into_iter().filter(|r| r[2] == "postgres");
        let mut ids: Vec<_> = rows
            .map(|r| (r[9].clone(), r.last().unwrap().clone()))
            .collect();
        ids.sort();
        ids
    };
    let (before, first_pid) = (ids(&ini), ini.pid());
    let mut old = ini.upgrade();
    assert_ne!(ini.pid(), first_pid);
    // Two have moved, with their numbers and times.
    until("two are there", || ids(&ini).len() == 2);
    assert!(
        ids(&ini).iter().all(|id| before.contains(id)),
        "{before:?} {:?}",
        ids(&ini)
    );
    assert_eq!(idle.query("execute q").value(), "sql pg_catalog, public");
    assert_eq!(run_prepared(&mut idle, "p"), "protocol");
    // The connection that is its own has moved, too.
    assert_eq!(pid_of(&mut listening), its_backend);
    idle.query("notify upgrade_test");
    assert_eq!(listening.query("select 1").tags().matches('A').count(), 1);
    // The transaction goes on in the old process, until it is over.
    assert!(old.try_wait().unwrap().is_none());
    writing.query("insert into upgrade_test values (2)");
    assert_eq!(writing.query("commit").status(), Some('I'));
    assert!(ini.ends_well(old), "{}", ini.log());
    let sum = writing.query("select sum(n) from upgrade_test; drop table upgrade_test");
    assert_eq!(sum.value(), "3");
    assert_eq!(ids(&ini), before);
    // A cancel request reaches the client where it is now.
    writing.send(&query("select pg_sleep(60)")).unwrap();
    thread::sleep(Duration::from_millis(200));
    writing.cancel();
    assert_eq!(writing.answer().code().as_deref(), Some("57014"));
    // The Unix socket's file is the new process's, and goes with it.
    assert!(
        ini.psql("postgres", "postgres", "select 1")
            .status
            .success()
    );
    ini.signal("-INT");
    assert!(ini.wait_exit());
    assert!(!ini.file(&format!(".s.PGSQL.{}", ini.port)).exists());
    assert!(!ini.file("pid").exists());
    assert!(!ini.log().contains("panicked"));
}

#[test]
fn session_mode_keeps_its_connections() {
    let pg = shared_postgres();
    let mut ini = Ini::start(pg.port, "pool_mode = session", "");
    let mut client = ini.connect("postgres");
    client.query("create temp table t as select 7 as n");
    client
        .send(&[parse("p", "select n from t"), sync()].concat())
        .unwrap();
    client.answer();
    let backend = pid_of(&mut client);
    for _ in 0..2 {
        let old = ini.upgrade();
        assert!(ini.ends_well(old));
        assert_eq!(pid_of(&mut client), backend);
        assert_eq!(run_prepared(&mut client, "p"), "7");
    }
    // It counts as the pool's, and is cleaned and given back in the end.
    let pool = |ini: &Ini, column: usize| {
        let rows = ini.console().query("SHOW POOLS").rows();
        let row = rows.into_iter().find(|r| r[0] == "postgres");
        row.unwrap()[column].clone()
    };
    assert_eq!(pool(&ini, 6), "1");
    drop(client);
    until("it is idle", || {
        pool(&ini, 6) == "0" && pool(&ini, 9) == "1"
    });
    let mut next = ini.connect("postgres");
    assert_eq!(
        next.query("select to_regclass('pg_temp.t') is null")
            .value(),
        "t"
    );
}

#[test]
fn who_waits_goes_on_waiting_there() {
    let pg = shared_postgres();
    let mut ini = Ini::start(pg.port, TRANSACTION, "");
    let mut client = ini.connect("postgres");
    assert_eq!(client.query("select 1").value(), "1");
    ini.console().query("PAUSE");
    client.send(&query("select 2")).unwrap();
    thread::sleep(Duration::from_millis(100));
    let old = ini.upgrade();
    assert!(ini.ends_well(old));
    // Still paused, and the request is not lost.
    assert!(!client.answers_within(Duration::from_millis(300)));
    assert_eq!(ini.console().query("RESUME").status(), Some('I'));
    assert_eq!(client.answer().value(), "2");
}

#[test]
fn a_cancel_request_finds_who_has_not_moved_yet() {
    let pg = shared_postgres();
    let mut ini = Ini::start(pg.port, TRANSACTION, "");
    let mut client = ini.connect("postgres");
    client.send(&query("select pg_sleep(60)")).unwrap();
    thread::sleep(Duration::from_millis(200));
    let old = ini.upgrade();
    client.cancel();
    assert_eq!(client.answer().code().as_deref(), Some("57014"));
    assert!(ini.ends_well(old));
    assert_eq!(client.query("select 1").value(), "1");
}

#[test]
fn a_successor_that_fails_changes_nothing() {
    let pg = shared_postgres();
    let mut ini = Ini::start(pg.port, TRANSACTION, "");
    let mut client = ini.connect("postgres");
    let pid = ini.pid();
    // It does not come as far as the sockets.
    let text = std::fs::read_to_string(ini.file("pgbouncer.ini")).unwrap();
    std::fs::write(ini.file("pgbouncer.ini"), format!("{text}nonsense = 1\n")).unwrap();
    let failed = Command::new(env!("CARGO_BIN_EXE_pgweir"))
        .args(["-q", "-R"])
        .arg(ini.file("pgbouncer.ini"))
        .status();
    assert!(!failed.unwrap().success());
    std::fs::write(ini.file("pgbouncer.ini"), &text).unwrap();
    // One that asks and goes, and one that says nonsense.
    let socket = ini.file(&format!(".s.PGSQL.{}", ini.port));
    for more in [b"".as_slice(), b"E\xff\xff\xff\xffnonsense"] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(b"\0\0\0\x08wei\x01").unwrap();
        stream.write_all(more).unwrap();
        let mut answer = [0; 64];
        assert!(stream.read(&mut answer).unwrap() > 0);
    }
    until("it goes on", || {
        ini.log().matches("not handed over: going on").count() == 2
    });
    assert_eq!(client.query("select 1").value(), "1");
    assert_eq!(ini.connect("postgres").query("select 2").value(), "2");
    // Killed while clients still have to move: they stay with the old one.
    let mut busy = ini.connect("postgres");
    busy.query("begin");
    let mut new = ini.launch(&["-R"]);
    kill("-KILL", new.id());
    new.wait().unwrap();
    until("it goes on", || {
        ini.log().matches("not handed over: going on").count() == 3
    });
    assert_eq!(ini.pid(), pid);
    assert_eq!(busy.query("commit").status(), Some('I'));
    assert_eq!(busy.query("select 3").value(), "3");
    assert_eq!(ini.connect("postgres").query("select 4").value(), "4");
    assert!(
        ini.psql("postgres", "postgres", "select 5")
            .status
            .success()
    );
    // And the next one takes over all the same.
    let old = ini.upgrade();
    assert!(ini.ends_well(old));
    assert_eq!(busy.query("select 6").value(), "6");
}

#[test]
fn what_logins_have_proved_is_known_there() {
    let role = "SET password_encryption = 'scram-sha-256'; CREATE ROLE scram LOGIN PASSWORD 'x'";
    let pg = Postgres::with_hba("host all scram 127.0.0.1/32 scram-sha-256", &[role]);
    let verifier = pg.sql("select rolpassword from pg_authid where rolname = 'scram'");
    let settings = format!("{TRANSACTION}\nserver_lifetime = 0");
    let mut ini = Ini::start(pg.port, &settings, "");
    let userlist = format!("\"postgres\" \"\"\n\"scram\" \"{}\"\n", verifier.unwrap());
    std::fs::write(ini.file("userlist.txt"), userlist).unwrap();
    let text = std::fs::read_to_string(ini.file("pgbouncer.ini")).unwrap();
    let text = text.replace("auth_type = trust", "auth_type = scram-sha-256");
    std::fs::write(ini.file("pgbouncer.ini"), text).unwrap();
    ini.signal("-HUP");
    until("it is read", || {
        ini.log().contains("configuration reloaded")
    });
    let program = "import os, psycopg, sys
port = os.environ['PORT']
client = psycopg.connect(f'host=127.0.0.1 port={port} user=scram password=x dbname=postgres', autocommit=True)
for line in sys.stdin:
    print(client.execute('select session_user').fetchone()[0], flush=True)
";
    let mut python = crate::support::operate::python_child(ini.port, program);
    let mut ask = python.stdin.take().unwrap();
    let mut lines = BufReader::new(python.stdout.take().unwrap()).lines();
    for upgrade in 0..3 {
        ask.write_all(b"?\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "scram", "{}", ini.log());
        if upgrade < 2 {
            let old = ini.upgrade();
            assert!(ini.ends_well(old));
        }
    }
    drop(ask);
    assert!(python.wait().unwrap().success());
}

#[test]
fn as_long_as_there_are_two_nothing_is_answered_from_memory() {
    let pg = shared_postgres();
    pg.client()
        .query("create table upgrade_cached as select 1 as n");
    let mut ini = Ini::stopped(pg.port, TRANSACTION, "");
    ini.convert("");
    let toml = std::fs::read_to_string(ini.file("pgweir.toml")).unwrap();
    let toml = format!("{toml}\n[pools.\"*\".cache]\nenabled = true\n");
    std::fs::write(ini.file("pgweir.toml"), toml).unwrap();
    ini.run();
    let read = "select n from upgrade_cached";
    let hits = |ini: &Ini| -> u64 {
        let rows = table(&ini.console().query("SHOW CACHE"));
        rows.iter()
            .filter_map(|r| r["hits"].parse::<u64>().ok())
            .sum()
    };
    let mut reader = ini.connect("postgres");
    let remembered = |ini: &Ini, reader: &mut Wire| {
        let before = hits(ini);
        (0..10).for_each(|_| drop(reader.query(read)));
        hits(ini) > before + 5
    };
    until("it is remembered", || remembered(&ini, &mut reader));
    let mut writer = ini.connect("postgres");
    writer.query("begin");
    let old = ini.upgrade();
    // The reader is in the new process, the writer in the old one.
    for _ in 0..30 {
        assert_eq!(reader.query(read).value(), "1");
        thread::sleep(Duration::from_millis(20));
    }
    writer.query("update upgrade_cached set n = 2");
    assert_eq!(writer.query("commit").status(), Some('I'));
    assert_eq!(reader.query(read).value(), "2");
    assert!(ini.ends_well(old));
    until("it is remembered again", || remembered(&ini, &mut reader));
    pg.client().query("drop table upgrade_cached");
}

#[test]
fn without_a_process_it_starts_as_usual() {
    let pg = shared_postgres();
    let mut ini = Ini::stopped(pg.port, TRANSACTION, "");
    let child = ini.launch(&["-R"]);
    assert!(ini.log().contains("no process to take over from"));
    assert_eq!(ini.connect("postgres").query("select 1").value(), "1");
    ini.signal("-INT");
    assert!(ini.ends_well(child));
    // Sockets are asked for by a Unix socket only.
    ini.write(pg.port, "unix_socket_dir =", "");
    let refused = Command::new(env!("CARGO_BIN_EXE_pgweir"))
        .arg("-R")
        .arg(ini.file("pgbouncer.ini"))
        .stdout(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned() + &ini.log();
    assert!(
        !refused.status.success() && text.contains("unix_socket_dir"),
        "{text}"
    );
    ini.run();
}

/// The new process would begin to listen too late: so the old one goes on, and tells it to connect anew.
#[test]
fn who_listens_misses_nothing_in_silence() {
    let pg = shared_postgres();
    let mut ini = Ini::stopped(pg.port, TRANSACTION, "");
    ini.convert("upgrade_timeout = '4s'");
    ini.run();
    let (mut listening, mut gone_deaf) = (ini.connect("postgres"), ini.connect("postgres"));
    listening.query("listen who_listens");
    gone_deaf.query("listen who_listens");
    gone_deaf.query("unlisten who_listens");
    let old = ini.upgrade();
    until("the other one moves", || {
        let rows = ini.console().query("SHOW CLIENTS").rows();
        rows.iter().filter(|r| r[2] == "postgres").count() == 1
    });
    let began = Instant::now();
    for n in 1.. {
        pg.client().query(&format!("notify who_listens, '{n}'"));
        let message = listening.read_message().unwrap();
        if message.tag != b'A' {
            let words = Answer(vec![message]);
            assert_eq!(words.code().as_deref(), Some("57P01"), "{words:?}");
            break;
        }
        assert_eq!(
            message.body[4..],
            format!("who_listens\0{n}\0").into_bytes()
        );
        thread::sleep(Duration::from_millis(50));
    }
    assert!(began.elapsed() > Duration::from_secs(1));
    assert!(ini.ends_well(old), "{}", ini.log());
    assert_eq!(gone_deaf.query("listen who_listens").tags(), "CZ");
    pg.client().query("notify who_listens");
    assert_eq!(gone_deaf.read_message().unwrap().tag, b'A');
    assert!(!ini.log().contains("panicked"));
}

#[test]
fn what_cannot_move_is_told_to_go_in_time() {
    let pg = shared_postgres();
    let mut ini = Ini::stopped(pg.port, TRANSACTION, "");
    let certificates = Certificates::new(&ini.scratch.0);
    let (key, certificate) = (
        certificates.file("server.key"),
        certificates.file("server.crt"),
    );
    let tls = format!(
        "{TRANSACTION}\nclient_tls_sslmode = allow\nclient_tls_key_file = {key}\nclient_tls_cert_file = {certificate}"
    );
    ini.write(pg.port, &tls, "");
    ini.convert("upgrade_timeout = '4s'");
    ini.run();
    // Two under TLS: one that works on, and one that is in a transaction for too long.
    let program = "import os, psycopg, time
def connect():
    port = os.environ['PORT']
    return psycopg.connect(f'host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=require', autocommit=True)
idle, stuck = connect(), connect()
stuck.execute('begin')
print('ready', flush=True)
began = time.time()
try:
    while True:
        assert idle.execute('select 1').fetchone() == (1,)
        time.sleep(0.05)
except psycopg.Error as error:
    print(round(time.time() - began), error.sqlstate, 'shutting down' in str(error), flush=True)
try:
    while True:
        stuck.execute('select 1')
        time.sleep(0.05)
except psycopg.Error as error:
    print(round(time.time() - began), error.sqlstate, flush=True)
";
    let mut python = crate::support::operate::python_child(ini.port, program);
    let mut lines = BufReader::new(python.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    assert_eq!(line(), "ready");
    let mut plain = ini.connect("postgres");
    plain.query("begin");
    let old = ini.upgrade();
    let began = Instant::now();
    // The one without TLS that is in a transaction has the same time, and is not told to go after it.
    thread::sleep(Duration::from_secs(3).saturating_sub(began.elapsed()));
    assert_eq!(plain.query("commit").status(), Some('I'));
    let told = line();
    let words: Vec<&str> = told.split(' ').collect();
    assert!(
        matches!(words[0], "2" | "3") && words[1..] == ["57P01", "True"],
        "{told}"
    );
    let cut_off = line();
    let words: Vec<&str> = cut_off.split(' ').collect();
    assert!(matches!(words[0], "4" | "5" | "6"), "{cut_off}");
    assert!(python.wait().unwrap().success());
    assert!(ini.ends_well(old), "{}", ini.log());
    assert_eq!(plain.query("select 1").value(), "1");
}

/// Clients that never stop, and what became of what they asked for.
struct Crowd {
    runtime: tokio::runtime::Runtime,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Result<(), String>>>,
    committed: Arc<AtomicU64>,
}

async fn connect(port: u16) -> Result<tokio_postgres::Client, String> {
    let parameters = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let connected = tokio_postgres::connect(&parameters, tokio_postgres::NoTls).await;
    let (client, connection) = connected.map_err(|e| format!("connecting: {e:?}"))?;
    tokio::spawn(connection);
    Ok(client)
}

/// A transaction whose answers must be its own.
async fn transaction(client: &mut tokio_postgres::Client, n: i64) -> Result<(), String> {
    let told = |e: tokio_postgres::Error| format!("client {n}: {e:?}");
    let work = client.transaction().await.map_err(told)?;
    let update = "update crowd set n = n + 1 where id = $1 returning $1::int8 * 2";
    let row = work.query_one(update, &[&n]).await.map_err(told)?;
    if row.get::<_, i64>(0) != n * 2 {
        return Err(format!("client {n} got another's answer"));
    }
    work.commit().await.map_err(told)
}

impl Crowd {
    fn start(port: u16, staying: i64, coming: i64) -> Crowd {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let committed = Arc::new(AtomicU64::new(0));
        let tasks = (0..staying + coming).map(|n| {
            let (stop, committed) = (Arc::clone(&stop), Arc::clone(&committed));
            runtime.spawn(async move {
                let mut client = connect(port).await?;
                while !stop.load(Ordering::Relaxed) {
                    if n >= staying {
                        client = connect(port).await?;
                    }
                    transaction(&mut client, n).await?;
                    committed.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20 + n as u64 % 80)).await;
                }
                Ok(())
            })
        });
        Crowd {
            tasks: tasks.collect(),
            runtime,
            stop,
            committed,
        }
    }

    /// How many transactions were committed, and what went wrong.
    fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.runtime.block_on(async {
            let mut ended = Vec::new();
            for task in self.tasks {
                ended.push(task.await.unwrap());
            }
            ended
        });
        let errors = ended.into_iter().filter_map(Result::err).collect();
        (self.committed.load(Ordering::Relaxed), errors)
    }
}

#[test]
fn five_upgrades_under_500_busy_clients() {
    let pg = shared_postgres();
    let settings = format!("{TRANSACTION}\nmax_client_conn = 2000\ndefault_pool_size = 20");
    let mut ini = Ini::start(pg.port, &settings, "");
    let mut operator = pg.client();
    operator.query("create table crowd (id int8 primary key, n int8)");
    operator.query("insert into crowd select n, 0 from generate_series(0, 499) n");
    let crowd = Crowd::start(ini.port, 480, 20);
    let done = |crowd: &Crowd| crowd.committed.load(Ordering::Relaxed);
    until("they are all at work", || done(&crowd) > 1000);
    for upgrade in 1..=5 {
        let (before, began) = (done(&crowd), Instant::now());
        let old = ini.upgrade();
        assert!(ini.ends_well(old), "{}", ini.log());
        println!("upgrade {upgrade}: over after {:?}", began.elapsed());
        until("they go on", || done(&crowd) > before + 1000);
    }
    let (committed, errors) = crowd.end();
    assert!(
        errors.is_empty(),
        "{} of {committed}: {errors:#?}",
        errors.len()
    );
    // Nothing that was acknowledged is lost, and nothing was done twice.
    let sum = operator.query("select sum(n) from crowd").value();
    assert_eq!(sum, committed.to_string());
    operator.query("drop table crowd");
}
