//! Rules by connection (`auth_type = hba`), as PgBouncer's, through real sockets.

use std::process::Command;

use crate::support::ini::Ini;
use crate::support::operate::{refusal, shared_postgres};
use crate::support::{Postgres, Wire};

/// `rules` go into the HBA file, `maps` into the ident file.
fn start(pg: &Postgres, rules: &str, maps: &str) -> Ini {
    let mut ini = Ini::stopped(pg.port, "", "");
    write(&ini, pg, rules, maps);
    ini.run();
    ini
}

fn write(ini: &Ini, pg: &Postgres, rules: &str, maps: &str) {
    std::fs::write(ini.file("hba"), rules).unwrap();
    std::fs::write(ini.file("ident"), maps).unwrap();
    let dir = ini.scratch.0.display();
    let lines =
        format!("auth_type = hba\nauth_hba_file = {dir}/hba\nauth_ident_file = {dir}/ident");
    ini.write(pg.port, &lines, "");
}

fn os_user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What psql says on the Unix socket.
fn on_unix(ini: &Ini, user: &str, database: &str) -> Result<String, String> {
    let output = ini.psql(user, database, "select 1");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let pg = shared_postgres();
    let rules = "host template1 all 127.0.0.1/32 reject\nhost all postgres 127.0.0.1 255.255.255.255 trust\n\
                 host all amy ::1/128 trust\nhost all amy all scram-sha-256\nlocal all postgres trust\n";
    let ini = start(&pg, rules, "");
    assert_eq!(ini.connect("postgres").query("select 1").value(), "1");
    let (code, message) = refusal(ini.port, "postgres", "template1");
    assert_eq!((&*code, &*message), ("08P01", "login rejected"));
    // Nothing fits.
    let (_, message) = refusal(ini.port, "bob", "postgres");
    assert_eq!(message, "login rejected");
    // A password is asked for (SASL), not given by trust for another address.
    let mut amy = Wire::raw(ini.port).unwrap();
    let pairs = [("user", "amy"), ("database", "postgres")];
    amy.send(&crate::support::startup(3 << 16, &pairs)).unwrap();
    let asked = amy.read_message().unwrap();
    assert_eq!((asked.tag, &asked.body[..4]), (b'R', &[0, 0, 0, 10][..]));
    // Trust is for users that there are.
    assert_eq!(on_unix(&ini, "postgres", "postgres"), Ok("1\n".to_owned()));
    assert!(on_unix(&ini, "amy", "postgres").is_err());
    // The console has a name, too.
    assert!(ini.console().query("show version").code().is_none());
}

#[test]
fn peers_are_who_the_system_says() {
    let pg = shared_postgres();
    let us = os_user();
    let ini = start(
        &pg,
        "local all all peer map=os\n",
        &format!("os {us} postgres\nos nobody amy\n"),
    );
    assert_eq!(on_unix(&ini, "postgres", "postgres"), Ok("1\n".to_owned()));
    let error = on_unix(&ini, "amy", "postgres").unwrap_err();
    assert!(error.contains("unix socket login rejected"), "{error}");
}

#[test]
fn rules_are_read_again_and_bad_ones_left_out() {
    let pg = shared_postgres();
    let ini = start(
        &pg,
        "host all all nonsense md5\nhost all postgres all trust\n",
        "",
    );
    assert!(
        ini.log().contains("hba:1: rule left out: "),
        "{}",
        ini.log()
    );
    assert_eq!(ini.connect("postgres").query("select 1").value(), "1");
    write(&ini, &pg, "host pgbouncer postgres all trust\n", "");
    assert_eq!(ini.console().query("RELOAD").code(), None);
    assert_eq!(
        refusal(ini.port, "postgres", "postgres").1,
        "login rejected"
    );
    // Without the file, what was there stays.
    std::fs::remove_file(ini.file("hba")).unwrap();
    assert_eq!(
        ini.console().query("RELOAD").code().as_deref(),
        Some("F0000")
    );
    assert_eq!(
        refusal(ini.port, "postgres", "postgres").1,
        "login rejected"
    );
}

/// PgBouncer lets whoever runs it in as `pgbouncer`, whatever the rules say.
#[test]
fn whoever_runs_it_is_let_in_to_the_console() {
    let pg = shared_postgres();
    let ini = start(&pg, "local all all reject\n", "");
    let shown = ini.psql("pgbouncer", "pgbouncer", "show version");
    assert!(shown.status.success(), "{shown:?}");
    let paused = ini.psql("pgbouncer", "pgbouncer", "pause");
    assert!(paused.status.success(), "it is an admin: {paused:?}");
    assert!(
        !ini.psql("pgbouncer", "postgres", "select 1")
            .status
            .success()
    );
    assert_eq!(
        refusal(ini.port, "pgbouncer", "pgbouncer").1,
        "login rejected"
    );
}
