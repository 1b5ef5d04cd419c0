//! Cipher suites and curves, with OpenSSL at the other end: `openssl s_client`, and PostgreSQL.

use std::process::{Command, Stdio};

use crate::support::certificates::Certificates;
use crate::support::login::psql;
use crate::support::{Pgweir, Postgres, Scratch};

/// What `openssl s_client` says of a handshake with these options; `None` if it fails.
fn handshake(weir: &Pgweir, options: &str) -> Option<String> {
    let target = format!("127.0.0.1:{}", weir.port);
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-starttls",
            "postgres",
            "-brief",
            "-connect",
            &target,
        ])
        .args(options.split(' '))
        .stdin(Stdio::null())
        .output()
        .expect("openssl: see scripts/test");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.contains("CONNECTION ESTABLISHED").then_some(said)
}

fn suite(said: &str) -> &str {
    let mut lines = said.lines();
    let line = lines.find_map(|line| line.strip_prefix("Ciphersuite: "));
    line.unwrap_or_else(|| panic!("{said}"))
}

const AES128: &str = "ECDHE-ECDSA-AES128-GCM-SHA256";
const AES256: &str = "ECDHE-ECDSA-AES256-GCM-SHA384";
const CHACHA20: &str = "ECDHE-ECDSA-CHACHA20-POLY1305";

#[test]
fn clients_get_the_suites_that_were_chosen() {
    let scratch = Scratch::new("certs");
    let certificates = Certificates::new(&scratch.0);
    let dir = certificates.0.display();
    let with = |lines: &str| {
        format!(
            "unix_socket_dir = \"\"\n[client_tls]\nsslmode = \"require\"\nkey_file = \"{dir}/server.key\"\n\
             cert_file = \"{dir}/server.crt\"\n{lines}\n[auth]\ntype = \"trust\"\n[pools.\"*\"]\n"
        )
    };
    let weir = Pgweir::with_config(&with(""));
    let tls12 = |offered: &str| {
        let said = handshake(&weir, &format!("-tls1_2 -cipher {offered}"));
        said.map(|said| suite(&said).to_owned())
    };
    let tls13 = |offered: &str| {
        let said = handshake(&weir, &format!("-tls1_3 -ciphersuites {offered}"));
        said.map(|said| suite(&said).to_owned())
    };
    for one in [AES128, AES256, CHACHA20] {
        assert_eq!(tls12(one).as_deref(), Some(one), "by default it has all");
    }
    weir.reload_with(&with(
        "ciphers = \"HIGH:!AES256:+AES128\"\ntls13_ciphers = \"TLS_AES_256_GCM_SHA384\"",
    ));
    assert_eq!(tls12(AES128).as_deref(), Some(AES128));
    assert_eq!(tls12(AES256), None);
    // Our order counts, and not the client's.
    let offered = format!("{AES128}:{CHACHA20}");
    assert_eq!(tls12(&offered).as_deref(), Some(CHACHA20));
    let one = "TLS_AES_256_GCM_SHA384";
    assert_eq!(tls13(one).as_deref(), Some(one));
    assert_eq!(tls13("TLS_AES_128_GCM_SHA256"), None);
    // Curves. That of the certificate must be among the client's.
    weir.reload_with(&with("ecdhcurve = \"secp384r1\""));
    for version in ["-tls1_2", "-tls1_3"] {
        let said = handshake(&weir, &format!("{version} -groups P-256:P-384")).unwrap();
        assert!(said.contains("Server Temp Key: ECDH, secp384r1"), "{said}");
        assert!(handshake(&weir, &format!("{version} -groups X25519:P-256")).is_none());
    }
    // A list of which nothing is left changes nothing.
    let said = weir.reload_with(&with("ciphers = \"RC4\""));
    assert!(
        said.contains("leaves no cipher suite for TLS 1.2"),
        "{said}"
    );
    assert!(handshake(&weir, "-tls1_2 -groups P-256").is_none());
    let said = weir.reload_with(&with("ciphers = \"RC4:CHACHA20\""));
    let note = "client_tls.ciphers: rustls has nothing that is called RC4";
    crate::support::login::wait_until("a note", || weir.log().contains(note));
    assert!(said.contains("configuration reloaded"), "{said}");
    assert_eq!(tls12(AES128), None);
}

#[test]
fn servers_are_offered_the_suites_that_were_chosen() {
    let scratch = Scratch::new("certs");
    let certificates = Certificates::new(&scratch.0);
    let postgres = Postgres::with_hba(
        "hostssl all app 127.0.0.1/32 trust",
        &["CREATE ROLE app LOGIN"],
    );
    for (setting, name) in [
        ("ssl_cert_file", "server.crt"),
        ("ssl_key_file", "server.key"),
    ] {
        let file = postgres.give(&certificates.path(name));
        postgres.sql(&format!(
            "ALTER SYSTEM SET {setting} = '{}'",
            file.display()
        ));
    }
    postgres.sql(&format!(
        "ALTER SYSTEM SET ssl_ciphers = '{AES256}:{CHACHA20}'"
    ));
    postgres.sql("ALTER SYSTEM SET ssl = on");
    postgres.reload();
    let mut text = "unix_socket_dir = \"\"\n[auth]\ntype = \"trust\"\n[users.app]\n[server_tls]\n\
                    sslmode = \"require\"\nprotocols = \"tlsv1.2\"\n"
        .to_owned();
    for (pool, lines) in [
        ("all", ""),
        ("left_in", "ciphers = \"ECDHE+CHACHA20\""),
        ("left_out", "ciphers = \"ECDHE+AES128\""),
        (
            "tls13",
            "protocols = \"tlsv1.3\"\ntls13_ciphers = \"TLS_CHACHA20_POLY1305_SHA256\"",
        ),
    ] {
        text += &format!(
            "[pools.{pool}]\ndbname = \"postgres\"\nhost = \"127.0.0.1\"\nport = {}\n\
             [pools.{pool}.server_tls]\n{lines}\n",
            postgres.port
        );
    }
    let weir = Pgweir::with_config(&text);
    let used = |pool: &str| {
        let login = weir.conninfo(&format!("dbname={pool} user=app"));
        let sql = "SELECT cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        psql(&login, sql)
    };
    assert_eq!(used("all").as_deref(), Ok(AES256));
    assert_eq!(used("left_in").as_deref(), Ok(CHACHA20));
    assert!(used("left_out").is_err());
    assert_eq!(used("tls13").as_deref(), Ok("TLS_CHACHA20_POLY1305_SHA256"));
}
