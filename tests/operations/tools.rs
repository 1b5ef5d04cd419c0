//! Tools that were made for PgBouncer, unchanged, against pgweir with an ini: the Prometheus exporter
//! and the pytest fixture from PyPI.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::ini::Ini;
use crate::support::operate::{shared_postgres, until};
use crate::support::{Scratch, free_port};

/// The directory of the tools' programs: scripts/test has installed them.
fn tools() -> PathBuf {
    let cache = std::env::var("PGWEIR_CACHE_DIR");
    let cache = cache.unwrap_or_else(|_| "/var/cache/pgweir".to_owned());
    let named = std::env::var("PGWEIR_TOOLS").map(PathBuf::from);
    let bin = named.unwrap_or_else(|_| PathBuf::from(cache).join("python-pgbouncer-tools/bin"));
    assert!(
        bin.join("python").exists(),
        "no tools in {}: run scripts/test",
        bin.display()
    );
    bin
}

struct Exporter(Child);

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scrape(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// By name, with database and user if it has them.
fn values(text: &str) -> HashMap<String, f64> {
    let lines = text.lines().filter(|line| line.starts_with("pgbouncer_"));
    let each = lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    each.collect()
}

#[test]
fn the_prometheus_exporter_scrapes_it_and_agrees_with_the_console() {
    let pg = shared_postgres();
    let ini = Ini::start(
        pg.port,
        "pool_mode = transaction\nmax_db_connections = 9",
        "",
    );
    let mut client = ini.connect("postgres");
    for _ in 0..7 {
        client.query("select 1");
    }
    client.query("begin");
    let scratch = Scratch::new("exporter");
    let port = free_port();
    let config = scratch.0.join("config.yml");
    let text = format!(
        "exporter_host: 127.0.0.1\nexporter_port: {port}\npgbouncers:\n  - dsn: \
         postgresql://postgres@127.0.0.1:{}/pgbouncer?sslmode=disable\n    connect_timeout: 5\n",
        ini.port
    );
    fs::write(&config, text).unwrap();
    let _exporter = Exporter(
        Command::new(tools().join("pgbouncer-exporter"))
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(fs::File::create(scratch.0.join("log")).unwrap())
            .spawn()
            .unwrap(),
    );
    let mut text = String::new();
    until("the exporter answers", || {
        text = scrape(port).unwrap_or_default();
        text.contains("pgbouncer_up")
    });
    let log = fs::read_to_string(scratch.0.join("log")).unwrap();
    let found = values(&text);
    let value = |name: &str| {
        *found
            .get(name)
            .unwrap_or_else(|| panic!("{name} in {text}\n{log}"))
    };
    assert_eq!(value("pgbouncer_up"), 1.0, "{log}");
    let console = |show: &str, column: &str| -> f64 {
        let answer = ini.console().query(&format!("SHOW {show}"));
        let names = crate::support::operate::column_names(&answer);
        let at = names.iter().position(|n| n == column).unwrap();
        let rows = answer.rows();
        let row = rows.iter().find(|r| r[0] == "postgres").unwrap();
        row[at].parse().unwrap()
    };
    let of = "{database=\"postgres\"}";
    let queries = value(&format!("pgbouncer_stats_queries_total{of}"));
    assert_eq!(queries, 8.0);
    assert_eq!(queries, console("STATS", "total_query_count"));
    let transactions = value(&format!("pgbouncer_stats_transactions_total{of}"));
    assert_eq!(transactions, console("STATS", "total_xact_count"));
    let received = value(&format!("pgbouncer_stats_received_bytes_total{of}"));
    assert_eq!(received, console("STATS", "total_received"));
    let of = "{database=\"postgres\",user=\"postgres\"}";
    assert_eq!(
        value(&format!("pgbouncer_pools_client_active_connections{of}")),
        1.0
    );
    assert_eq!(
        value(&format!("pgbouncer_pools_server_active_connections{of}")),
        1.0
    );
    let of = "{backend_database=\"postgres\",database=\"postgres\"}";
    let of = match found.contains_key(&format!("pgbouncer_databases_database_pool_size{of}")) {
        true => of,
        false => "{database=\"postgres\",backend_database=\"postgres\"}",
    };
    assert_eq!(
        value(&format!("pgbouncer_databases_database_pool_size{of}")),
        20.0
    );
    assert_eq!(
        value(&format!("pgbouncer_databases_database_max_connections{of}")),
        9.0
    );
    assert_eq!(value("pgbouncer_config_max_client_conn"), 100.0);
}

#[test]
fn the_pytest_fixture_runs_it_as_it_runs_pgbouncer() {
    let pg = shared_postgres();
    let scratch = Scratch::new("fixture");
    // Called so, it is PgBouncer.
    let link = scratch.0.join("pgbouncer");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pgweir"), &link).unwrap();
    let program = format!(
        r#"
import psycopg2
from pgbouncer import PGBouncerFixture
bouncer = PGBouncerFixture()
bouncer.pgbouncer = {link:?}
bouncer.databases["postgres"] = "host=127.0.0.1 port={port} dbname=postgres user=postgres"
bouncer.users["amy"] = "secret"
bouncer.admin_users = ["amy"]
def ask(database, sql):
    connection = psycopg2.connect(host=bouncer.host, port=bouncer.port, dbname=database,
                                  user="amy", password="secret")
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(sql)
    rows = cursor.fetchall()
    connection.close()
    return rows
with bouncer:
    assert ask("postgres", "select 1") == [(1,)]
    assert ask("pgbouncer", "show version")[0][0].startswith("pgweir ")
    assert [row[0] for row in ask("pgbouncer", "show pools")] == ["postgres", "pgbouncer"]
    assert bouncer.get_pgbouncer_version() >= 12300
    bouncer.stop()
    assert not bouncer.is_running
    bouncer.start()
    assert ask("postgres", "select 2") == [(2,)]
"#,
        port = pg.port
    );
    let output = Command::new(tools().join("python"))
        .args(["-c", &program])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
}
