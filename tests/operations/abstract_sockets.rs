//! Unix sockets without a file: names in Linux's abstract namespace, on both sides.
#![cfg(target_os = "linux")]

use std::process::{Command, Output};

use crate::support::Postgres;
use crate::support::ini::Ini;
use crate::support::operate::{table, text};

fn name(what: &str) -> String {
    format!("@pgweir-{what}-{}", std::process::id())
}

fn psql(host: &str, port: u16, user: &str, database: &str, sql: &str) -> Output {
    let target = format!("host={host} port={port} user={user} dbname={database}");
    let mut psql = Command::new("psql");
    psql.args(["-XAtc", sql, &target]);
    psql.output().expect("psql runs: see scripts/test")
}

#[test]
fn clients_come_and_servers_are_reached_without_a_file() {
    let (server, ours) = (name("server"), name("clients"));
    let mut postgres = Postgres::start();
    postgres.listen_on("127.0.0.1", &server);
    let lines = format!("unix_socket_dir = {ours}\nunix_socket_group = nosuchgroup\n");
    let databases = format!(
        "[databases]\ndb = host={server} port={} dbname=postgres\n",
        postgres.port
    );
    let mut ini = Ini::start(postgres.port, &lines, &databases);
    let output = psql(
        &ours,
        ini.port,
        "postgres",
        "db",
        "SELECT inet_server_addr() IS NULL",
    );
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("t".into(), "".into())
    );
    let rows = table(&ini.console().query("SHOW SERVERS"));
    assert_eq!((&*rows[0]["addr"], &*rows[0]["database"]), ("unix", "db"));
    let rows = table(&ini.console().query("SHOW DATABASES"));
    let row = rows.iter().find(|row| row["name"] == "db").unwrap();
    assert_eq!(row["host"], server);
    // Who runs it is let in here, too.
    let output = psql(&ours, ini.port, "pgbouncer", "pgbouncer", "SHOW VERSION");
    assert!(text(&output.stdout).starts_with("pgweir "), "{output:?}");
    assert!(
        ini.log()
            .contains(&format!("listening on {ours}/.s.PGSQL.{}", ini.port)),
        "{}",
        ini.log()
    );
    // A name that is taken is not taken over.
    let second = Ini::stopped(
        postgres.port,
        &format!("{lines}listen_port = {}\nlisten_addr =\n", ini.port),
        "",
    );
    let pgweir = env!("CARGO_BIN_EXE_pgweir");
    let output = Command::new(pgweir)
        .arg(second.file("pgbouncer.ini"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = format!("{}{}", text(&output.stderr), second.log());
    assert!(said.contains(&format!("cannot listen on {ours}")), "{said}");
    // It is free when its owner has gone.
    ini.signal("-QUIT");
    ini.wait_exit();
    ini.run();
    let output = psql(&ours, ini.port, "postgres", "db", "SELECT 1");
    assert_eq!(text(&output.stdout), "1");
    assert!(!std::path::Path::new(&ours).exists());
}

/// With no host, a server is where clients come, as in PgBouncer.
#[test]
fn a_database_without_a_host_is_in_the_same_namespace() {
    let both = name("both");
    let mut postgres = Postgres::start();
    postgres.listen_on("127.0.0.1", &both);
    let lines = format!("unix_socket_dir = {both}\n");
    let databases = format!("[databases]\ndb = port={} dbname=postgres\n", postgres.port);
    let ini = Ini::start(postgres.port, &lines, &databases);
    let output = psql(&both, ini.port, "postgres", "db", "SELECT 1");
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("1".into(), "".into())
    );
}

#[test]
fn a_name_that_is_too_long_is_told() {
    let ini = Ini::stopped(1, &format!("unix_socket_dir = @{}\n", "x".repeat(100)), "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgweir"));
    let output = command
        .arg("--check")
        .arg(ini.file("pgbouncer.ini"))
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(
        !output.status.success() && said.contains("unix_socket_dir"),
        "{said}"
    );
}
