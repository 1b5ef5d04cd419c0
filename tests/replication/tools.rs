//! What people replicate with.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use super::support::login::psycopg;
use super::support::operate::{postgres_tool, shared_postgres, until};
use super::support::{Pgweir, Postgres, Scratch, Wire, kill};
use super::{assert_gone, kinds};

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
