//! Lines of the log that say who it was, and what became of somebody who stays.

use std::fs;
use std::time::Duration;

use super::logs::objects;
use crate::support::ini::Ini;
use crate::support::login::wait_until;
use crate::support::operate::shared_postgres;
use crate::support::{Pgweir, Postgres, Wire, query, startup};

/// A client with a name of its own for its application.
fn named(weir: &Pgweir, database: &str, application: &str) -> std::io::Result<Wire> {
    let pairs = [
        ("user", "postgres"),
        ("database", database),
        ("application_name", application),
    ];
    Wire::try_connect_with(weir.port, &pairs)
}

/// That such a line says who it was: address, user, database, application and number.
#[track_caller]
fn says_who(weir: &Pgweir, message: &str, peer: &str, [user, database, application]: [&str; 3]) {
    let is_theirs = |line: &String| line.contains(&format!("\"peer\": \"{peer}\""));
    let mut line = None;
    wait_until(&format!("{message} of {peer}"), || {
        line = objects(weir, message).into_iter().find(is_theirs);
        line.is_some()
    });
    let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
    assert_eq!(line["user"], user, "{line}");
    assert_eq!(line["database"], database, "{line}");
    assert_eq!(line["application"], application, "{line}");
    assert!(line["client"].as_u64().unwrap() > 0, "{line}");
}

#[test]
fn lines_about_clients_say_who_they_are() {
    let pg = Postgres::start();
    let lines = "query_timeout = \"500ms\"\n[log]\nstyle = \"json\"\nslow_query = \"1ms\"";
    let weir = Pgweir::start(pg.port, lines);
    let mut client = named(&weir, "postgres", "web").unwrap();
    let peer = client.stream.local_addr().unwrap().to_string();
    client.query("listen x; select pg_advisory_lock(7)");
    client.query("select pg_sleep(5)");
    drop(client);
    let web = ["postgres", "postgres", "web"];
    wait_until("it is gone", || weir.log().contains("client gone"));
    for message in [
        "login attempt",
        "client is pinned",
        "timed out",
        "slow query",
        "client gone",
    ] {
        says_who(&weir, message, &peer, web);
    }
    // One that may not log in.
    let mut nobody = Wire::raw(weir.port).unwrap();
    let peer = nobody.stream.local_addr().unwrap().to_string();
    let pairs = [
        ("user", "nobody"),
        ("database", "x"),
        ("application_name", "guess"),
    ];
    nobody.send(&startup(3 << 16, &pairs)).unwrap();
    assert!(nobody.answer().code().is_some());
    for message in ["login attempt", "pooler error", "login failed"] {
        says_who(&weir, message, &peer, ["nobody", "x", "guess"]);
    }
}

#[test]
fn commands_say_who_has_given_them() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "[log]\nstyle = \"json\"");
    let mut console = named(&weir, "pgweir", "night shift").unwrap();
    let peer = console.stream.local_addr().unwrap().to_string();
    let admin = ["postgres", "pgbouncer", "night shift"];
    let victim = weir.client();
    let id = weir.show("CLIENTS").remove(0)["id"].clone();
    for (command, told) in [
        ("PAUSE postgres", "PAUSE 'postgres'"),
        ("RESUME postgres", "RESUME 'postgres'"),
        ("PAUSE", "PAUSE"),
        ("RESUME", "RESUME"),
        ("SUSPEND", "SUSPEND"),
        ("RESUME", "RESUME"),
        ("DISABLE postgres", "DISABLE 'postgres'"),
        ("ENABLE postgres", "ENABLE 'postgres'"),
        ("RECONNECT postgres", "RECONNECT 'postgres'"),
        ("WAIT_CLOSE", "WAIT_CLOSE"),
        ("SET query_timeout = 7", "SET 'query_timeout'"),
        ("RELOAD", "RELOAD"),
        ("CACHE FLUSH", "CACHE FLUSH"),
        ("SHOW STATEMENTS RESET", "SHOW STATEMENTS RESET"),
        ("KILL postgres", "KILL 'postgres'"),
    ] {
        assert_eq!(console.query(command).code(), None, "{command}");
        says_who(&weir, &format!("{told} command issued"), &peer, admin);
    }
    drop(victim);
    assert!(console.query(&format!("KILL_CLIENT {id}")).code().is_some());
    says_who(&weir, &format!("KILL_CLIENT {id} failed"), &peer, admin);
    assert!(console.query("RESUME nosuch").code().is_some());
    says_who(&weir, "RESUME 'nosuch' failed", &peer, admin);
    console.send(&query("SHUTDOWN")).unwrap();
    says_who(&weir, "SHUTDOWN command issued", &peer, admin);
}

/// Each limit has a line, though the client stays; what it ran is in it only if slow queries are shown.
#[test]
fn limits_that_are_over_are_told() {
    let pg = Postgres::start();
    for shown in [true, false] {
        let slow = if shown { "1h" } else { "0s" };
        let lines = format!(
            "default_pool_size = 1\nquery_timeout = \"800ms\"\ntransaction_timeout = \"1800ms\"\n\
             idle_transaction_timeout = \"700ms\"\nquery_wait_timeout = \"300ms\"\n\
             cancel_wait_timeout = \"300ms\"\n[log]\nstyle = \"json\"\nslow_query = \"{slow}\""
        );
        let weir = Pgweir::start(pg.port, &lines);
        let mut client = weir.client();
        client.query("select pg_sleep(5), 'secret'");
        client.query("begin; select 1");
        let mut other = weir.client();
        assert_eq!(other.query("select 2").code().unwrap(), "53300");
        std::thread::sleep(Duration::from_millis(500));
        assert!(client.query("select 3").code().is_some());
        client.query("rollback");
        client.query("begin");
        for _ in 0..5 {
            client.query("select pg_sleep(0.5)");
        }
        client.query("rollback");
        // A cancel request may come as two signals, one to the process and one to its group.
        client.query(
            "do $$ begin for n in 1..3 loop begin perform pg_sleep(3), 'secret'; \
             exception when query_canceled then null; end; end loop; end $$",
        );
        client.query("select 'here'");
        // The first of them twice.
        let told = || objects(&weir, "timed out");
        wait_until("a line for each", || told().len() >= 6);
        let lines = told();
        for (reason, limit, statement) in [
            ("query_timeout", "800ms", "select pg_sleep(?), ?"),
            ("query_wait_timeout", "300ms", ""),
            ("idle_transaction_timeout", "700ms", ""),
            ("transaction_timeout", "1.8s", "select pg_sleep(?)"),
            ("cancel_wait_timeout", "300ms", "do ?"),
        ] {
            let is_this = |line: &&String| line.contains(&format!("\"reason\": \"{reason}\""));
            let line = lines.iter().find(is_this);
            let line = line.unwrap_or_else(|| panic!("no {reason}: {lines:#?}"));
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["limit"], limit, "{line}");
            assert_eq!(line["level"], "WARN", "{line}");
            let told = line["statement"].as_str();
            let expected = (shown && !statement.is_empty()).then_some(statement);
            assert_eq!(told, expected, "{line}");
            let has_server = line["server_connection"].is_u64();
            assert_eq!(has_server, reason != "query_wait_timeout", "{line}");
        }
        assert!(!weir.log().contains("secret"), "{}", weir.log());
        assert!(!weir.log().contains("client gone"), "they stay");
    }
}

/// A client that the new process has no place for is named by that.
#[test]
fn who_cannot_be_taken_over_is_named() {
    let pg = shared_postgres();
    let mut ini = Ini::start(pg.port, "", "");
    let client = ini.connect("postgres");
    let peer = client.stream.local_addr().unwrap();
    let file = ini.file("pgbouncer.ini");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\n* = ", "\nother = ")).unwrap();
    let mut old = ini.upgrade();
    let told = format!(": postgres/postgres@{peer} cannot take over a client: error=database");
    wait_until("it is told", || ini.log().contains(&told));
    assert!(old.wait().unwrap().success());
}
