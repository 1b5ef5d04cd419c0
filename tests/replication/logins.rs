//! Who is let in, and what the sender is told.

use std::time::Duration;

use super::support::certificates::Certificates;
use super::support::ini::Ini;
use super::support::login::psql;
use super::support::operate::{shared_postgres, until};
use super::support::{Pgweir, Postgres, Scratch, Wire, message, startup};
use super::{LOGICAL, PHYSICAL, assert_gone, pairs, refused};

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
