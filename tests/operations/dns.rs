//! Servers by their host names, with a real name server: names that move, that are not there, and
//! a name server that is gone.

use std::process::Command;

use crate::support::dnsmasq::Dnsmasq;
use crate::support::ini::Ini;
use crate::support::operate::{field, refusal, table, until};
use crate::support::{Answer, Postgres, Wire};

/// PostgreSQL on two addresses.
fn postgres() -> Postgres {
    let mut postgres = Postgres::start();
    postgres.listen_on("127.0.0.1,127.0.0.2", "");
    postgres
}

/// pgweir in front of `db.weir.test`, with lines of `[pgbouncer]`.
fn pgweir(postgres: &Postgres, names: &Dnsmasq, lines: &str) -> Ini {
    let conf = names.resolv_conf();
    let general = format!(
        "resolv_conf = {}\npool_mode = transaction\n",
        conf.display()
    );
    let databases = format!(
        "[databases]\ndb = host=db.weir.test port={} dbname=postgres\n",
        postgres.port
    );
    Ini::start(postgres.port, &format!("{general}{lines}"), &databases)
}

/// A column of a console's table, for the rows of server connections to `db`, or of all.
fn column(ini: &Ini, what: &str, column: &str) -> Vec<String> {
    let rows = table(&ini.console().query(&format!("SHOW {what}")));
    let rows = rows
        .iter()
        .filter(|row| row.get("database").is_none_or(|name| name == "db"));
    rows.map(|row| row[column].clone()).collect()
}

fn list(ini: &Ini, name: &str) -> String {
    let rows = table(&ini.console().query("SHOW LISTS"));
    let row = rows.into_iter().find(|row| row["list"] == name);
    row.unwrap()["items"].clone()
}

/// A client in a transaction, which keeps a server connection.
fn busy(ini: &Ini) -> Wire {
    let mut client = ini.connect("db");
    assert_eq!(client.query("BEGIN").status(), Some('T'));
    client
}

const SERVER: &str = "SELECT inet_server_addr()";

fn ask(client: &mut Wire) -> Answer {
    client.query(SERVER)
}

#[test]
fn connections_follow_a_name_that_moves() {
    let Some(names) = Dnsmasq::start(1, "127.0.0.1 db.weir.test") else {
        return;
    };
    let postgres = postgres();
    let ini = pgweir(&postgres, &names, "dns_max_ttl = 0.5\n");
    let (mut first, second) = (busy(&ini), busy(&ini));
    assert_eq!(column(&ini, "SERVERS", "addr"), ["127.0.0.1"; 2]);
    assert_eq!(column(&ini, "DNS_HOSTS", "hostname"), ["db.weir.test"]);
    assert_eq!(column(&ini, "DNS_HOSTS", "addrs"), ["127.0.0.1:0"]);
    drop(second); // its connection becomes idle
    names.change("127.0.0.2 db.weir.test");
    // A new connection makes pgweir ask again, once what it knows is old.
    std::thread::sleep(std::time::Duration::from_millis(600));
    let (_third, mut fourth) = (busy(&ini), busy(&ini));
    assert_eq!(ask(&mut fourth).value(), "127.0.0.2");
    assert_eq!(column(&ini, "DNS_HOSTS", "addrs"), ["127.0.0.2:0"]);
    // Connections to the old address end when they are free: not before, and no later.
    until("what is lent is marked", || {
        let closing = column(&ini, "SERVERS", "close_needed");
        closing.iter().filter(|mark| *mark == "1").count() == 2
    });
    assert_eq!(ask(&mut first).value(), "127.0.0.1");
    assert_eq!(first.query("COMMIT").status(), Some('I'));
    assert_eq!(ask(&mut first).value(), "127.0.0.2");
    let log = ini.log();
    assert!(log.contains("db.weir.test has other addresses"), "{log}");
    assert!(
        log.contains("closing because: obsolete connection"),
        "{log}"
    );
}

#[test]
fn idle_connections_to_an_old_address_are_closed() {
    let Some(names) = Dnsmasq::start(2, "127.0.0.1 db.weir.test") else {
        return;
    };
    let postgres = postgres();
    let ini = pgweir(&postgres, &names, "dns_max_ttl = 0\n");
    drop((busy(&ini), busy(&ini)));
    names.change("127.0.0.2 db.weir.test");
    let _clients = (busy(&ini), busy(&ini), busy(&ini));
    drop(_clients);
    until("only the new address is left", || {
        column(&ini, "SERVERS", "addr") == ["127.0.0.2"]
    });
}

#[test]
fn a_changed_serial_number_makes_names_be_looked_up_again() {
    let Some(mut names) = Dnsmasq::start(3, "127.0.0.1 db.weir.test") else {
        return;
    };
    let postgres = postgres();
    let ini = pgweir(
        &postgres,
        &names,
        "dns_max_ttl = 3600\ndns_zone_check_period = 0.2\n",
    );
    let mut client = ini.connect("db");
    assert_eq!(ask(&mut client).value(), "127.0.0.1");
    until("the serial is known", || {
        column(&ini, "DNS_ZONES", "serial") == ["1"]
    });
    assert_eq!(column(&ini, "DNS_ZONES", "zonename"), ["weir.test"]);
    assert_eq!(column(&ini, "DNS_ZONES", "count"), ["1"]);
    assert_eq!(
        (&*list(&ini, "dns_names"), &*list(&ini, "dns_zones")),
        ("1", "1")
    );
    // Without a new number nobody notices.
    names.edit("127.0.0.2 db.weir.test", 1);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(ask(&mut client).value(), "127.0.0.1");
    names.edit("127.0.0.2 db.weir.test", 2);
    until("the connection is replaced", || {
        ask(&mut client).value() == "127.0.0.2"
    });
    assert_eq!(column(&ini, "DNS_ZONES", "serial"), ["2"]);
    assert!(
        ini.log().contains("zone 'weir.test' serial changed"),
        "{}",
        ini.log()
    );
}

#[test]
fn a_name_that_is_not_there_is_told_and_asked_for_again_in_time() {
    let Some(names) = Dnsmasq::start(4, "127.0.0.1 other.weir.test") else {
        return;
    };
    let postgres = postgres();
    let lines = "dns_nxdomain_ttl = 3600\nserver_login_retry = 0\n";
    let mut ini = pgweir(&postgres, &names, lines);
    let (code, text) = refusal(ini.port, "postgres", "db");
    assert_eq!(code, "08006");
    assert!(
        text.contains("server DNS lookup failed: db.weir.test"),
        "{text}"
    );
    names.change("127.0.0.1 db.weir.test");
    // It is remembered.
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let (_, text) = refusal(ini.port, "postgres", "db");
        assert!(text.contains("server DNS lookup failed"), "{text}");
    }
    let asked = names.log().matches("query[A] db.weir.test").count();
    assert_eq!(asked, 1, "{}", names.log());
    assert_eq!(column(&ini, "DNS_HOSTS", "addrs"), [""]);
    // A reload says for how long.
    let path = ini.file("pgbouncer.ini");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("dns_nxdomain_ttl = 3600", "dns_nxdomain_ttl = 0"),
    )
    .unwrap();
    ini.signal("-HUP");
    until("the name is found", || {
        Wire::try_connect(ini.port, "postgres", "db").is_ok()
    });
    assert_eq!(ask(&mut ini.connect("db")).value(), "127.0.0.1");
    ini.signal("-QUIT");
    ini.wait_exit();
}

#[test]
fn the_last_addresses_serve_while_the_name_server_is_gone() {
    let Some(mut names) = Dnsmasq::start(5, "127.0.0.1 db.weir.test") else {
        return;
    };
    let postgres = postgres();
    let ini = pgweir(&postgres, &names, "dns_max_ttl = 0\ndns_nxdomain_ttl = 0\n");
    let mut client = ini.connect("db");
    assert_eq!(ask(&mut client).value(), "127.0.0.1");
    names.stop();
    assert_eq!(ini.console().query("RECONNECT").status(), Some('I'));
    assert_eq!(ask(&mut client).value(), "127.0.0.1");
    let log = ini.log();
    assert!(log.contains("DNS lookup failed: db.weir.test"), "{log}");
    // And when it is back, it is heard.
    names.edit("127.0.0.2 db.weir.test", 1);
    assert_eq!(ini.console().query("RECONNECT").status(), Some('I'));
    assert_eq!(ask(&mut client).value(), "127.0.0.2");
}

#[test]
fn several_addresses_of_a_name_are_used_in_turn() {
    let hosts = "127.0.0.1 db.weir.test|127.0.0.2 db.weir.test|127.0.0.9 half.weir.test|127.0.0.1 half.weir.test";
    let Some(names) = Dnsmasq::start(6, hosts) else {
        return;
    };
    let postgres = postgres();
    let half = format!(
        "half = host=half.weir.test port={} dbname=postgres\n",
        postgres.port
    );
    let conf = names.resolv_conf();
    let general = format!(
        "resolv_conf = {}\npool_mode = transaction\n",
        conf.display()
    );
    let databases = format!(
        "[databases]\ndb = host=db.weir.test port={0} dbname=postgres\n{half}\
         here = host=localhost port={0} dbname=postgres\n",
        postgres.port
    );
    let ini = Ini::start(postgres.port, &general, &databases);
    let clients = [busy(&ini), busy(&ini), busy(&ini), busy(&ini)];
    let mut addresses = column(&ini, "SERVERS", "addr");
    addresses.sort();
    assert_eq!(
        addresses,
        ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"]
    );
    drop(clients);
    // One where nobody listens is passed over.
    let all = [ini.connect("half"), ini.connect("half")];
    for mut client in all {
        assert_eq!(ask(&mut client).value(), "127.0.0.1");
    }
    // /etc/hosts goes first, and its names are in no zone.
    assert_eq!(ask(&mut ini.connect("here")).code(), None);
    assert!(!names.log().contains("localhost"), "{}", names.log());
    assert_eq!(list(&ini, "dns_names"), "3");
    assert_eq!(list(&ini, "dns_zones"), "1");
    assert_eq!(list(&ini, "dns_queries"), "0");
}

#[test]
fn ipv6_addresses_are_found_too() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return eprintln!("skipped: there is no IPv6 here");
    }
    let Some(names) = Dnsmasq::start(7, "::1 db.weir.test") else {
        return;
    };
    let mut postgres = Postgres::start();
    postgres.listen_on("127.0.0.1,::1", "");
    let ini = pgweir(&postgres, &names, "");
    assert_eq!(ask(&mut ini.connect("db")).value(), "::1");
    assert_eq!(column(&ini, "DNS_HOSTS", "addrs"), ["[::1]:0"]);
}

#[test]
fn resolv_conf_must_be_there_and_name_a_server() {
    let ini = Ini::stopped(1, "resolv_conf = /nonexistent/resolv.conf\n", "");
    let check = |ini: &Ini| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgweir"));
        let output = command
            .arg("--check")
            .arg(ini.file("pgbouncer.ini"))
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = check(&ini);
    assert!(
        text.contains("pgbouncer.ini:12") && text.contains("resolv_conf"),
        "{text}"
    );
    std::fs::write(ini.file("resolv.conf"), "search weir.test\n").unwrap();
    let line = format!("resolv_conf = {}\n", ini.file("resolv.conf").display());
    ini.write(1, &line, "");
    let text = check(&ini);
    assert!(
        text.contains("resolv_conf") && text.contains("nameserver"),
        "{text}"
    );
}

#[test]
fn another_resolv_conf_needs_a_restart() {
    let postgres = Postgres::start();
    let mut ini = Ini::start(postgres.port, "", "");
    std::fs::write(ini.file("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    let line = format!("resolv_conf = {}\n", ini.file("resolv.conf").display());
    ini.write(postgres.port, &line, "");
    let answer = ini.console().query("RELOAD");
    let notice = field(&answer, b'N', b'M').unwrap_or_default();
    let kept = "general.resolv_conf cannot change while pgweir runs";
    assert!(notice.contains(kept), "{answer:?}");
    let rows = table(&ini.console().query("SHOW CONFIG"));
    let row = rows.iter().find(|row| row["key"] == "resolv_conf").unwrap();
    assert_eq!((&*row["value"], &*row["changeable"]), ("", "no"));
    ini.signal("-QUIT");
    ini.wait_exit();
}
