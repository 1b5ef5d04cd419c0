//! Replication connections: PostgreSQL's own tools and raw clients, through pgweir, to PostgreSQL 15.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::certificates::Certificates;
use support::ini::Ini;
use support::login::{psql, psycopg};
use support::operate::{error_text, last_words, postgres_tool, shared_postgres, until};
use support::{Answer, Message, Pgweir, Postgres, Scratch, Wire, kill, message, query, startup};

const PHYSICAL: (&str, &str) = ("replication", "yes");
const LOGICAL: (&str, &str) = ("replication", "database");

fn pairs<'a>(extra: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("user", "postgres"), ("database", "postgres")][..], extra].concat()
}

fn replication(weir: &Pgweir, kind: (&str, &str)) -> Wire {
    Wire::try_connect_with(weir.port, &pairs(&[kind])).unwrap()
}

/// How a login with these parameters is refused.
#[track_caller]
fn refused(port: u16, pairs: &[(&str, &str)]) -> (String, String) {
    let mut wire = Wire::raw(port).unwrap();
    wire.send(&startup(3 << 16, pairs)).unwrap();
    let answer = wire.answer();
    assert_eq!(answer.status(), None, "it was let in: {answer:?}");
    (answer.code().unwrap_or_default(), error_text(&answer))
}

/// Begins to stream; the server says what it has at any time from then on.
fn stream(wire: &mut Wire, from: &str) {
    wire.send(&query(&format!("START_REPLICATION PHYSICAL {from}")))
        .unwrap();
    assert_eq!(wire.read_message().unwrap().tag, b'W');
}

fn position(pg: &Postgres) -> String {
    pg.sql("select pg_current_wal_flush_lsn()").unwrap()
}

/// Senders that the server has.
fn senders(pg: &Postgres) -> String {
    let sql = "select count(*) from pg_stat_activity where backend_type = 'walsender'";
    pg.sql(sql).unwrap()
}

/// The `replication` column of `SHOW CLIENTS` or `SERVERS`, of those that are no ordinary ones.
fn kinds(weir: &Pgweir, show: &str) -> Vec<String> {
    let rows = weir.show(show).into_iter();
    let mut kinds: Vec<String> = rows.map(|row| row["replication"].clone()).collect();
    kinds.retain(|kind| kind != "none");
    kinds.sort();
    kinds
}

/// Neither of the two ends has left anything behind.
#[track_caller]
fn assert_gone(weir: &Pgweir, pg: &Postgres) {
    until("the client is gone", || kinds(weir, "CLIENTS").is_empty());
    until("its server connection is gone", || {
        kinds(weir, "SERVERS").is_empty()
    });
    until("the sender is gone", || senders(pg) == "0");
    weir.assert_quiet();
}

/// The error with which a connection ends.
fn end_of(wire: &mut Wire) -> (String, String) {
    let answer = Answer(last_words(wire));
    (answer.code().unwrap_or_default(), error_text(&answer))
}

struct Tool(Child);

impl Tool {
    fn start(name: &str, weir: &Pgweir, arguments: &[&str]) -> Tool {
        let mut command = postgres_tool(name);
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-w"]);
        command.args(["-p", &weir.port.to_string()]).args(arguments);
        Tool(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    fn signal(&self, signal: &str) {
        kill(signal, self.0.id());
    }

    fn succeeds(&mut self) -> bool {
        self.0.wait().unwrap().success()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_said_at_login_reaches_the_sender_and_the_answers_the_client() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "");
    for (kind, database) in [("database", "postgres"), ("true", "NULL")] {
        let mut wire = Wire::try_connect_with(
            weir.port,
            &pairs(&[
                ("replication", kind),
                ("application_name", "rep"),
                ("options", "-c enable_seqscan=off"),
                ("DateStyle", "SQL, DMY"),
            ]),
        )
        .unwrap();
        let row = wire.query("IDENTIFY_SYSTEM").rows().remove(0);
        assert_eq!(row[3], database);
        assert_eq!(wire.query("SHOW application_name").value(), "rep");
        assert_eq!(wire.query("SHOW enable_seqscan").value(), "off");
        assert_eq!(wire.query("SHOW datestyle").value(), "SQL, DMY");
        // Ordinary ones beside it, on ordinary connections.
        assert_eq!(weir.client().query("SHOW enable_seqscan").value(), "on");
        wire.send(&message(b'X', b"")).unwrap();
        assert_gone(&weir, &pg);
    }
    let conninfo = weir.conninfo("user=postgres replication=database");
    let row = psql(&conninfo, "IDENTIFY_SYSTEM").unwrap();
    assert!(row.ends_with("|postgres"), "{row}");
    assert!(
        weir.log().contains("client close request"),
        "{}",
        weir.log()
    );
}

#[test]
fn pg_receivewal_receives() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "");
    let scratch = Scratch::new("wal");
    pg.sql("select pg_create_physical_replication_slot('receive')");
    let directory = scratch.0.to_str().unwrap();
    let mut tool = Tool::start("pg_receivewal", &weir, &["-D", directory, "-S", "receive"]);
    until("it streams", || {
        pg.sql("select state from pg_stat_replication").as_deref() == Some("streaming")
    });
    assert_eq!(kinds(&weir, "CLIENTS"), ["physical"]);
    let servers = weir.show("SERVERS");
    let server = servers.iter().find(|s| s["replication"] == "physical");
    let server = server.unwrap();
    let client = &weir.show("CLIENTS")[0];
    assert_eq!(
        (&server["link"], &client["link"]),
        (&client["id"], &server["id"])
    );
    assert_eq!(server["state"], "active");
    pg.sql("create table t as select generate_series(1, 100000) n");
    pg.sql("select pg_switch_wal()");
    let is_whole = |name: String| name.len() == 24;
    until("a segment is there", || {
        let files = std::fs::read_dir(&scratch.0).unwrap();
        files
            .flatten()
            .any(|f| is_whole(f.file_name().into_string().unwrap()))
    });
    // Counted as they go, on both sides.
    let stats = weir.show("STATS");
    let row = stats.iter().find(|r| r["database"] == "replication");
    let sent: u64 = row.unwrap()["total_sent"].parse().unwrap();
    assert!(sent > 1_000_000, "{sent}");
    assert!(row.unwrap()["total_received"].parse::<u64>().unwrap() > 0);
    tool.signal("-INT");
    assert!(tool.succeeds());
    assert_gone(&weir, &pg);
}

#[test]
fn pg_basebackup_backs_up() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 2");
    let scratch = Scratch::new("backup");
    let directory = scratch.0.join("data");
    let directory = directory.to_str().unwrap();
    let arguments = ["-D", directory, "-X", "stream", "-c", "fast", "--no-sync"];
    assert!(Tool::start("pg_basebackup", &weir, &arguments).succeeds());
    let verified = postgres_tool("pg_verifybackup").arg(directory).output();
    assert!(verified.unwrap().status.success());
    assert_gone(&weir, &pg);
}

#[test]
fn pg_recvlogical_receives_what_ordinary_clients_write_beside_it() {
    let pg = Postgres::start();
    // One place for it, one for the two others.
    let weir = Pgweir::start(
        pg.port,
        "pool_mode = \"transaction\"\ndefault_pool_size = 2",
    );
    pg.sql("create table t (n int)");
    pg.sql("select pg_create_logical_replication_slot('logical', 'test_decoding')");
    let arguments = [
        "-d", "postgres", "-S", "logical", "--start", "-n", "-f", "-",
    ];
    let mut tool = Tool::start("pg_recvlogical", &weir, &arguments);
    let mut lines = BufReader::new(tool.0.stdout.take().unwrap()).lines();
    let mut writers = [weir.client(), weir.client()];
    for n in 0..20 {
        let sql = format!("begin; insert into t values ({n}); commit");
        assert_eq!(writers[n % 2].query(&sql).code(), None);
        let inserted = lines.find(|line| !line.as_ref().unwrap().contains("BEGIN"));
        let inserted = inserted.unwrap().unwrap();
        assert_eq!(inserted, format!("table public.t: INSERT: n[integer]:{n}"));
        assert!(lines.next().unwrap().unwrap().starts_with("COMMIT"));
    }
    assert_eq!(kinds(&weir, "CLIENTS"), ["logical"]);
    assert_eq!(weir.count("postgres", "sv_active"), 1);
    tool.signal("-INT");
    assert!(tool.succeeds());
    assert_gone(&weir, &pg);
}

#[test]
fn a_subscription_follows_through_it() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "");
    pg.sql("create database copy");
    pg.sql("create table t (n int)");
    pg.sql("create publication p for table t");
    pg.sql("insert into t values (1)");
    pg.sql("select pg_create_logical_replication_slot('s', 'pgoutput')");
    let mut copy = Wire::connect(pg.port, "postgres", "copy");
    copy.query("create table t (n int)");
    let port = weir.port;
    let subscribed = copy.query(&format!(
        "create subscription s connection 'host=127.0.0.1 port={port} user=postgres dbname=postgres' \
         publication p with (slot_name = s, create_slot = false)"
    ));
    assert_eq!(subscribed.code(), None, "{subscribed:?}");
    copy.wait_for("select count(*) from t", "1");
    pg.sql("insert into t values (2)");
    copy.wait_for("select count(*) from t", "2");
    // The server ends it in the middle of its stream; it comes back by itself.
    pg.sql("select pg_terminate_backend(pid) from pg_stat_replication");
    pg.sql("insert into t values (3)");
    copy.wait_for("select count(*) from t", "3");
    copy.query("alter subscription s disable");
    copy.query("alter subscription s set (slot_name = none)");
    assert_eq!(copy.query("drop subscription s").code(), None);
    assert_gone(&weir, &pg);
}

#[test]
fn psycopg_speaks_to_it_beside_others() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "pool_mode = \"transaction\"");
    let conninfo = weir.conninfo("user=postgres");
    let program = "
ordinary = [psycopg.connect({}, autocommit=True) for _ in range(2)]
logical = psycopg.connect({} + ' replication=database', autocommit=True, cursor_factory=psycopg.ClientCursor)
for n in range(5):
    assert logical.execute('select pg_backend_pid()').fetchone() == logical.execute('select pg_backend_pid()').fetchone()
    for each in ordinary:
        assert each.execute('select %s::int', (n,)).fetchone() == (n,)
logical.execute(\"set application_name = 'mine'\")
print(logical.execute('show application_name').fetchone()[0], [*filter(None, ordinary[0].execute('show application_name').fetchone())])
";
    assert_eq!(psycopg(&conninfo, program).as_deref(), Ok("mine []"));
}

#[test]
fn when_one_end_goes_the_other_does() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "");
    // The client, with and without a word, while the server streams and while it does not.
    for streams in [true, false] {
        for speaks in [true, false] {
            let mut wire = replication(&weir, PHYSICAL);
            if streams {
                stream(&mut wire, &position(&pg));
            }
            if speaks {
                wire.send(&message(b'X', b"")).unwrap();
            }
            drop(wire);
            assert_gone(&weir, &pg);
        }
    }
    // The sender.
    let mut idle = replication(&weir, LOGICAL);
    let mut streams = replication(&weir, PHYSICAL);
    stream(&mut streams, &position(&pg));
    until("both are there", || senders(&pg) == "2");
    pg.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'walsender'",
    );
    assert_eq!(end_of(&mut idle).0, "57P01");
    let (code, text) = end_of(&mut streams);
    assert_eq!(code, "57P01", "{text}");
    assert_gone(&weir, &pg);
    // A server that dies says nothing; the client is told where it can be.
    let mut idle = replication(&weir, LOGICAL);
    let pid: u32 = idle
        .query("select pg_backend_pid()")
        .value()
        .parse()
        .unwrap();
    kill("-KILL", pid);
    let (code, text) = end_of(&mut idle);
    assert_eq!(
        (&*code, &*text),
        ("08006", "server closed the connection unexpectedly")
    );
}

#[test]
fn operators_end_it() {
    let pg = Postgres::start();
    let mut weir = Pgweir::start(pg.port, "");
    let streaming = || {
        let mut wire = replication(&weir, PHYSICAL);
        stream(&mut wire, &position(&pg));
        wire
    };
    let mut killed = streaming();
    let id = weir.show("CLIENTS")[0]["id"].clone();
    weir.console().query(&format!("KILL_CLIENT {id}"));
    let (code, text) = end_of(&mut killed);
    assert_eq!((&*code, &*text), ("57P01", "admin forced disconnect"));
    assert_gone(&weir, &pg);

    // What is to be replaced is closed now: there is no end to wait for.
    let mut replaced = streaming();
    let mut console = weir.console();
    console.query("RECONNECT");
    assert_eq!(console.query("WAIT_CLOSE").code(), None);
    let (code, text) = end_of(&mut replaced);
    assert_eq!(
        (&*code, &*text),
        ("57P01", "database configuration changed")
    );

    let mut killed = streaming();
    console.query("KILL postgres");
    assert_eq!(end_of(&mut killed).1, "admin forced disconnect");
    console.query("RESUME postgres");
    console.query("DISABLE postgres");
    let (_, text) = refused(weir.port, &pairs(&[PHYSICAL]));
    assert_eq!(text, "database does not allow connections: postgres");
    console.query("ENABLE postgres");
    let (code, _) = refused(
        weir.port,
        &[("user", "postgres"), ("database", "pgweir"), PHYSICAL],
    );
    assert_eq!(code, "0A000");

    // PAUSE waits for those that are there, and those that come wait for RESUME.
    let there = streaming();
    console.send(&query("PAUSE")).unwrap();
    assert!(!console.answers_within(Duration::from_millis(200)));
    let mut comes = Wire::raw(weir.port).unwrap();
    comes.send(&startup(3 << 16, &pairs(&[LOGICAL]))).unwrap();
    assert!(!comes.answers_within(Duration::from_millis(300)));
    drop(there);
    assert_eq!(console.answer().code(), None);
    console.query("RESUME");
    assert_eq!(comes.answer().status(), Some('I'));
    drop(comes);
    assert_gone(&weir, &pg);

    // A drain waits for a command, not for a stream.
    let mut streams = streaming();
    let mut commands = replication(&weir, LOGICAL);
    commands.send(&query("select pg_sleep(1)")).unwrap();
    until("it runs", || {
        pg.sql("select count(*) from pg_stat_activity where query like 'select pg_sleep(1)'")
            == Some("1".to_owned())
    });
    weir.signal("-INT");
    assert_eq!(end_of(&mut streams).1, "server shutting down");
    assert_eq!(commands.answer().status(), Some('I'));
    assert_eq!(end_of(&mut commands).1, "server shutting down");
    assert!(weir.wait_exit().success());
    until("the senders are gone", || senders(&pg) == "0");
}

#[test]
fn it_counts_in_its_pool_and_idle_connections_make_room() {
    let pg = shared_postgres();
    let general = "default_pool_size = 2\nquery_wait_timeout = \"1s\"";
    let weir = Pgweir::start(pg.port, general);
    let mut ordinary = [weir.client(), weir.client()];
    for wire in &mut ordinary {
        wire.query("begin");
    }
    // All are in use.
    let (code, text) = refused(weir.port, &pairs(&[LOGICAL]));
    assert_eq!(code, "53300");
    assert!(text.starts_with("query_wait_timeout"), "{text}");
    let began = Instant::now();
    let mut waits = Wire::raw(weir.port).unwrap();
    waits.send(&startup(3 << 16, &pairs(&[LOGICAL]))).unwrap();
    until("it waits", || weir.count("postgres", "cl_waiting") == 1);
    ordinary[0].query("commit");
    assert_eq!(waits.answer().status(), Some('I'), "{:?}", began.elapsed());
    ordinary[1].query("commit");
    assert!(
        weir.log().contains("evicted for pool_size"),
        "{}",
        weir.log()
    );
    // Now one is idle; it makes room for another.
    let second = replication(&weir, PHYSICAL);
    assert_eq!(weir.count("postgres", "sv_active"), 2);
    assert_eq!(weir.count("postgres", "sv_idle"), 0);
    let answer = ordinary[0].query("select 1");
    assert_eq!(answer.code().as_deref(), Some("53300"));
    drop((waits, second));
    // Nothing of it is used again.
    assert_eq!(ordinary[0].query("select 1").value(), "1");
    until("all senders are gone", || {
        kinds(&weir, "SERVERS").is_empty()
    });
}

#[test]
fn limits_beyond_the_pool_hold() {
    let pg = shared_postgres();
    let weir = Pgweir::start(
        pg.port,
        "max_user_connections = 1\nmax_client_conn = 2\nquery_wait_timeout = \"5s\"",
    );
    // The ordinary connection that is idle is closed for it, though it is another pool's.
    let mut other = Wire::connect(weir.port, "postgres", "template1");
    other.query("select 1");
    let first = replication(&weir, LOGICAL);
    assert_eq!(weir.show("SERVERS").len(), 1);
    let (code, text) = refused(weir.port, &pairs(&[LOGICAL]));
    assert_eq!(code, "53300");
    assert!(text.contains("max_client_conn"), "{text}");
    drop((first, other));
    until("room", || {
        Wire::try_connect_with(weir.port, &pairs(&[LOGICAL])).is_ok()
    });
}

/// Nothing that limits queries, transactions or idle clients ends a stream.
#[test]
fn timeouts_do_not_apply() {
    let pg = Postgres::start();
    let weir = Pgweir::start(
        pg.port,
        "query_timeout = \"300ms\"\ntransaction_timeout = \"300ms\"\nclient_idle_timeout = \"300ms\"\n\
         idle_transaction_timeout = \"300ms\"\nserver_lifetime = \"300ms\"\nserver_idle_timeout = \"300ms\"",
    );
    let mut streams = replication(&weir, PHYSICAL);
    stream(&mut streams, &position(&pg));
    let mut idle = replication(&weir, LOGICAL);
    std::thread::sleep(Duration::from_millis(1500));
    pg.sql("create table t as select 1");
    assert_eq!(streams.read_message().unwrap().tag, b'd');
    assert_eq!(idle.query("select pg_sleep(0.5), 7").rows()[0][1], "7");
}

#[test]
fn its_command_can_be_cancelled() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "");
    let mut wire = replication(&weir, LOGICAL);
    let began = Instant::now();
    wire.send(&query("select pg_sleep(60)")).unwrap();
    while !wire.answers_within(Duration::from_millis(100)) {
        assert!(began.elapsed() < Duration::from_secs(30));
        wire.cancel();
    }
    assert_eq!(wire.answer().code().as_deref(), Some("57014"));
    assert_eq!(wire.query("select 2").value(), "2");
}

#[test]
fn a_client_that_does_not_read_is_not_waited_for() {
    let pg = Postgres::start();
    let weir = Pgweir::start(
        pg.port,
        "client_write_timeout = \"1s\"\ntcp_socket_buffer = 4096",
    );
    let from = position(&pg);
    pg.sql("create table t as select repeat('x', 100) t from generate_series(1, 200000)");
    let mut wire = replication(&weir, PHYSICAL);
    stream(&mut wire, &from);
    until("it is closed", || {
        weir.log().contains("client_write_timeout")
    });
    assert_gone(&weir, &pg);
    // One that reads slowly is served.
    let mut wire = replication(&weir, PHYSICAL);
    stream(&mut wire, &from);
    for _ in 0..4 {
        let _: Message = wire.read_message().unwrap();
        std::thread::sleep(Duration::from_millis(400));
    }
}

#[test]
fn rules_are_those_for_replication() {
    let pg = shared_postgres();
    let mut ini = Ini::stopped(pg.port, "", "");
    let dir = ini.scratch.0.display().to_string();
    let write = |ini: &Ini, rules: &str| {
        std::fs::write(ini.file("hba"), rules).unwrap();
        let lines = format!("auth_type = hba\nauth_hba_file = {dir}/hba");
        ini.write(pg.port, &lines, "");
    };
    write(
        &ini,
        "host replication postgres 127.0.0.1/32 trust\nhost all all 0.0.0.0/0 reject\n",
    );
    ini.run();
    let port = ini.port;
    let is_in = |kind| Wire::try_connect_with(port, &pairs(&[kind])).is_ok();
    // What is logical has a database.
    assert!(is_in(PHYSICAL));
    assert!(!is_in(LOGICAL) && !is_in(("replication", "off")));
    write(&ini, "host all postgres 127.0.0.1/32 trust\n");
    ini.signal("-HUP");
    until("the rules are read", || is_in(LOGICAL));
    assert!(!is_in(PHYSICAL) && is_in(("replication", "off")));
    // One cannot come as the one and be the other.
    let tricky = pairs(&[LOGICAL, ("options", "-c replication=yes")]);
    let (code, text) = refused(port, &tricky);
    assert_eq!(code, "42704", "{text}");
    assert!(ini.log().contains("replication=database"), "{}", ini.log());
}

#[test]
fn what_the_server_objects_to_is_told() {
    let pg = Postgres::with_hba(
        "host all amy 127.0.0.1/32 trust\nhost replication bob 127.0.0.1/32 trust",
        &["create role amy login", "create role bob login replication"],
    );
    let weir = Pgweir::with_config(&format!(
        "[auth]\ntype = \"trust\"\n[pools.\"*\"]\nport = {}\n[users.amy]\n[users.bob]\n",
        pg.port
    ));
    let as_user = |user, kind| [("user", user), ("database", "postgres"), kind];
    let (code, text) = refused(weir.port, &as_user("amy", LOGICAL));
    assert_eq!(code, "42501", "{text}");
    let (code, text) = refused(weir.port, &as_user("amy", PHYSICAL));
    assert_eq!(code, "28000", "{text}");
    assert!(Wire::try_connect_with(weir.port, &as_user("bob", PHYSICAL)).is_ok());
    // It has said nothing about others.
    let ordinary = [("user", "amy"), ("database", "postgres")];
    assert!(Wire::try_connect_with(weir.port, &ordinary).is_ok());
}

/// The user is looked up, and proves a password, on connections of the ordinary kind.
#[test]
fn auth_query_is_asked_elsewhere() {
    let pg = Postgres::with_hba(
        "host all,replication amy 127.0.0.1/32 scram-sha-256",
        &["create role amy login replication password 'secret'"],
    );
    let weir = Pgweir::with_config(&format!(
        "[auth]\nquery = \"select usename, passwd from pg_catalog.pg_shadow where usename = $1\"\n\
         user = \"postgres\"\n[pools.\"*\"]\nport = {}\n[users.postgres]\npassword = \"unused\"\n",
        pg.port
    ));
    for kind in ["database", "true"] {
        let rest = format!("user=amy password=secret replication={kind}");
        let row = psql(&weir.conninfo(&rest), "IDENTIFY_SYSTEM").unwrap();
        assert!(row.contains('|'), "{row}");
        let wrong = format!("user=amy password=wrong replication={kind}");
        assert!(psql(&weir.conninfo(&wrong), "IDENTIFY_SYSTEM").is_err());
    }
}

#[test]
fn a_server_that_comes_back_is_waited_for() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "");
    // All senders are taken, straight from the server.
    let all: Vec<Wire> = (0..10)
        .map_while(|_| Wire::try_connect_with(pg.port, &pairs(&[LOGICAL])).ok())
        .collect();
    let mut waits = Wire::raw(weir.port).unwrap();
    waits.send(&startup(3 << 16, &pairs(&[LOGICAL]))).unwrap();
    assert!(!waits.answers_within(Duration::from_millis(700)));
    drop(all);
    assert_eq!(waits.answer().status(), Some('I'));
}

/// Bytes that are no messages, from the client.
#[test]
fn nonsense_is_refused() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "max_packet_size = \"1KiB\"");
    for nonsense in [&b"Q\0\0\0\x01"[..], &message(b'Q', &[b'x'; 5000])] {
        let mut wire = replication(&weir, LOGICAL);
        wire.send(nonsense).unwrap();
        assert_eq!(end_of(&mut wire).0, "08P01");
    }
    let ini = Ini::start(pg.port, "disable_pqexec = 1", "");
    let mut wire = Wire::try_connect_with(ini.port, &pairs(&[LOGICAL])).unwrap();
    wire.send(&query("IDENTIFY_SYSTEM")).unwrap();
    assert_eq!(end_of(&mut wire).1, "PQexec disallowed");
}

#[test]
fn tls_makes_no_difference() {
    let pg = shared_postgres();
    let scratch = Scratch::new("tls");
    Certificates::new(&scratch.0);
    let dir = scratch.0.display();
    let weir = Pgweir::with_config(&format!(
        "[client_tls]\nsslmode = \"require\"\nkey_file = \"{dir}/server.key\"\ncert_file = \"{dir}/server.crt\"\n\
         [auth]\ntype = \"trust\"\n[pools.\"*\"]\nport = {}\n[users.postgres]\n",
        pg.port
    ));
    let conninfo = weir.conninfo("user=postgres sslmode=require replication=database");
    let rows = psql(
        &conninfo,
        "select repeat('x', 1000000) from generate_series(1, 20)",
    );
    assert_eq!(rows.unwrap().len(), 20 * 1_000_001 - 1);
}
