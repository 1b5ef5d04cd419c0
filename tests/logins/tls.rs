//! TLS on both sides, with real clients, a real server and certificates made by OpenSSL.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::support::certificates::Certificates;
use crate::support::login::{psql, psycopg, psycopg_query, refusal};
use crate::support::{Pgweir, Postgres, Scratch, Wire};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// A configuration in front of `postgres`, where `app` and `postgres` may log in.
fn config(certificates: &Certificates, pg_port: u16, sslmode: &str, auth: &str) -> String {
    let dir = certificates.0.display();
    let ca = if sslmode.starts_with("verify") {
        format!("ca_file = \"{dir}/ca.crt\"")
    } else {
        String::new()
    };
    format!(
        r#"unix_socket_dir = ""
[client_tls]
sslmode = "{sslmode}"
key_file = "{dir}/server.key"
cert_file = "{dir}/server.crt"
{ca}
[auth]
type = "{auth}"
[pools."*"]
host = "127.0.0.1"
port = {pg_port}
user = "postgres"
[users.app]
password = "secret"
[users.localhost]
password = "secret"
"#
    )
}

#[test]
fn levels_towards_clients() {
    let postgres = Postgres::start();
    let scratch = Scratch::new("certs");
    let certificates = Certificates::new(&scratch.0);
    certificates.issue("ca", "client", "app");
    certificates.issue("other", "stranger", "app");
    let with = |level: &str| config(&certificates, postgres.port, level, "trust");
    let weir = Pgweir::with_config(&with("disable"));
    // Some(true): over TLS. None: refused.
    let outcome = |sslmode: &str, certificate: &str| {
        let pair = match certificate {
            "" => String::new(),
            name => format!(
                "sslcert={} sslkey={}",
                certificates.file(&format!("{name}.crt")),
                certificates.file(&format!("{name}.key"))
            ),
        };
        let login = weir.conninfo(&format!("user=app sslmode={sslmode} {pair}"));
        let said = psql(&login, "\\conninfo");
        said.ok().map(|text| text.contains("SSL connection"))
    };
    for (level, plain, prefer, require) in [
        ("disable", Some(false), Some(false), None),
        ("allow", Some(false), Some(true), Some(true)),
        ("prefer", Some(false), Some(true), Some(true)),
        ("require", None, Some(true), Some(true)),
        ("verify-ca", None, None, None),
        ("verify-full", None, None, None),
    ] {
        weir.reload_with(&with(level));
        assert_eq!(outcome("disable", ""), plain, "{level}");
        assert_eq!(outcome("prefer", ""), prefer, "{level}");
        assert_eq!(outcome("require", ""), require, "{level}");
        if level.starts_with("verify") {
            assert_eq!(outcome("require", "client"), Some(true), "{level}");
            assert_eq!(outcome("require", "stranger"), None, "{level}");
        }
    }
}

#[test]
fn what_libpq_checks_and_negotiates() {
    let postgres = Postgres::start();
    let scratch = Scratch::new("certs");
    let certificates = Certificates::new(&scratch.0);
    let with = config(&certificates, postgres.port, "prefer", "scram-sha-256");
    let weir = Pgweir::with_config(&with);
    let (ca, other) = (certificates.file("ca.crt"), certificates.file("other.crt"));
    let login = |rest: &str| {
        weir.conninfo(&format!(
            "user=app password=secret hostaddr=127.0.0.1 {rest}"
        ))
    };
    let good = format!("host=localhost sslmode=verify-full sslrootcert={ca}");
    for more in [
        "",
        "channel_binding=require",
        "channel_binding=disable",
        "channel_binding=require sslnegotiation=direct",
        "channel_binding=require ssl_max_protocol_version=TLSv1.2",
        "sslnegotiation=direct ssl_max_protocol_version=TLSv1.2",
        "require_auth=scram-sha-256",
    ] {
        let conninfo = login(&format!("{good} {more}"));
        let program = "print(psycopg.connect({}).pgconn.ssl_in_use)";
        assert_eq!(psycopg(&conninfo, program).as_deref(), Ok("True"), "{more}");
        if !more.contains("sslnegotiation") && !more.contains("require_auth") {
            // An older libpq.
            assert_eq!(psql(&conninfo, "SELECT 1").as_deref(), Ok("1"), "{more}");
        }
    }
    for (bad, why) in [
        (
            format!("host=localhost sslmode=verify-full sslrootcert={other}"),
            "verify failed",
        ),
        (
            format!("host=elsewhere sslmode=verify-full sslrootcert={ca}"),
            "does not match",
        ),
        (
            "host=localhost sslmode=disable channel_binding=require".to_owned(),
            "channel binding",
        ),
    ] {
        let said = psycopg_query(&login(&bad), "SELECT 1").unwrap_err();
        assert!(said.contains(why), "{bad}: {said}");
    }
}

/// A password in clear is asked for only where nobody can read it on its way.
#[test]
fn passwords_in_clear_need_tls() {
    let postgres = Postgres::start();
    let scratch = Scratch::new("certs");
    let certificates = Certificates::new(&scratch.0);
    let weir = Pgweir::with_config(&config(&certificates, postgres.port, "prefer", "plain"));
    let login = |password: &str, sslmode: &str| {
        let login = format!("user=app password={password} sslmode={sslmode}");
        psql(&weir.conninfo(&login), "SELECT 1")
    };
    assert_eq!(login("secret", "require").as_deref(), Ok("1"));
    let refused = login("wrong", "require").unwrap_err();
    assert!(
        refused.contains("password authentication failed"),
        "{refused}"
    );
    let refused = login("secret", "disable").unwrap_err();
    assert!(refused.contains("not encrypted"), "{refused}");
}

/// What comes without SSLRequest must at least say by its name which protocol it means.
#[test]
fn direct_tls_needs_the_protocols_name() {
    let scratch = Scratch::new("certs");
    let certificates = Certificates::new(&scratch.0);
    let weir = Pgweir::with_config(&config(&certificates, 1, "require", "scram-sha-256"));
    let program = r#"
import socket, ssl
context = ssl.create_default_context(cafile=os.environ["CONNINFO"])
names = NAMES
if names:
    context.set_alpn_protocols(names)
raw = socket.create_connection(("127.0.0.1", PORT))
try:
    tls = context.wrap_socket(raw, server_hostname="localhost")
    body = b"\0\3\0\0user\0app\0\0"
    tls.sendall((len(body) + 4).to_bytes(4, "big") + body)
    print(tls.recv(1).decode())
except OSError as error:
    print("refused")
"#;
    let first_byte = |names: &str| {
        let program = program.replace("PORT", &weir.port.to_string());
        let ca = certificates.file("ca.crt");
        psycopg(&ca, &program.replace("NAMES", names)).unwrap()
    };
    assert_eq!(first_byte("['postgresql']"), "R");
    assert_eq!(first_byte("['http/1.1', 'postgresql']"), "R");
    assert_ne!(first_byte("[]"), "R");
    assert_ne!(first_byte("['http/1.1']"), "R");
}

#[test]
fn a_certificate_instead_of_a_password() {
    let postgres = Postgres::start();
    let scratch = Scratch::new("certs");
    let certificates = Certificates::new(&scratch.0);
    certificates.issue("ca", "client", "app");
    certificates.issue("other", "stranger", "app");
    let with = config(&certificates, postgres.port, "verify-full", "cert");
    let weir = Pgweir::with_config(&with);
    let login = |user: &str, name: &str| {
        let (crt, key) = (format!("{name}.crt"), format!("{name}.key"));
        let (crt, key) = (certificates.file(&crt), certificates.file(&key));
        let pair = format!("sslcert={crt} sslkey={key}");
        let login = weir.conninfo(&format!("user={user} sslmode=require {pair}"));
        psql(&login, "SELECT 1")
    };
    assert_eq!(login("app", "client").as_deref(), Ok("1"));
    assert_eq!(login("localhost", "server").as_deref(), Ok("1"));
    let refused = login("localhost", "client").unwrap_err();
    assert!(
        refused.contains("certificate authentication failed"),
        "{refused}"
    );
    login("app", "stranger").unwrap_err();
    login("app", "missing").unwrap_err();
}

#[test]
fn a_new_certificate_at_reload() {
    let postgres = Postgres::start();
    let scratch = Scratch::new("certs");
    let certificates = Certificates::new(&scratch.0);
    let with = config(&certificates, postgres.port, "require", "trust");
    let weir = Pgweir::with_config(&with);
    certificates.issue("other", "new", "localhost");
    let conninfo = weir.conninfo("user=app host=localhost hostaddr=127.0.0.1 sslmode=verify-full");
    let old_stays = format!(
        r#"
import shutil, signal, time
connect = lambda ca: psycopg.connect({{}}, sslrootcert=f"{dir}/{{ca}}.crt", autocommit=True)
old = connect("ca")
for kind in "crt", "key":
    shutil.copy(f"{dir}/new.{{kind}}", f"{dir}/server.{{kind}}")
os.kill({pid}, signal.SIGHUP)
deadline = time.monotonic() + 10
while True:
    try:
        new = connect("other")
        break
    except psycopg.OperationalError as error:
        assert "verify failed" in str(error) and time.monotonic() < deadline, error
print(old.execute("SELECT 1").fetchone()[0] + new.execute("SELECT 1").fetchone()[0])
"#,
        dir = certificates.0.display(),
        pid = weir.child.id(),
    );
    assert_eq!(
        psycopg(&conninfo, &old_stays).as_deref(),
        Ok("2"),
        "{}",
        weir.log()
    );

    // One that cannot be used changes nothing, and the log says which file it is.
    let new = format!("{conninfo} sslrootcert={}", certificates.file("other.crt"));
    for (name, contents) in [("server.crt", "no certificate"), ("server.key", "no key")] {
        let path = certificates.path(name);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, contents).unwrap();
        let said = weir.hang_up();
        assert!(
            said.contains("nothing has changed") && said.contains(name),
            "{said}"
        );
        assert_eq!(psql(&new, "SELECT 1").as_deref(), Ok("1"));
        std::fs::write(&path, good).unwrap();
    }
    // A certificate whose key is another's, likewise.
    std::fs::copy(certificates.path("ca.key"), certificates.path("server.key")).unwrap();
    let said = weir.hang_up();
    assert!(said.contains("nothing has changed"), "{said}");
    assert_eq!(psql(&new, "SELECT 1").as_deref(), Ok("1"));
}

/// CVE-2021-23214: what somebody has put behind the request must not be taken for the client's.
#[test]
fn plain_bytes_behind_the_request_are_refused() {
    let scratch = Scratch::new("certs");
    let certificates = Certificates::new(&scratch.0);
    let weir = Pgweir::with_config(&config(&certificates, 1, "prefer", "trust"));
    let injected = crate::support::startup(3 << 16, &[("user", "app")]);
    let mut wire = Wire::raw(weir.port).unwrap();
    wire.send(&[&SSL_REQUEST[..], &injected].concat()).unwrap();
    let (code, text) = refusal(&wire.answer().0);
    assert_eq!(code, "08P01");
    assert!(
        text.contains("unencrypted data after SSL request"),
        "{text}"
    );
}

/// CVE-2021-23222, the same towards the server.
#[test]
fn plain_bytes_behind_the_servers_answer_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let attacker = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.read_exact(&mut [0; 8]).unwrap();
        socket.write_all(b"SR\0\0\0\x08\0\0\0\0").unwrap();
        // Nothing is ever sent to somebody like that.
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        rest
    });
    let weir = Pgweir::with_config(&format!(
        r#"unix_socket_dir = ""
server_login_retry = 0
[auth]
type = "trust"
[server_tls]
sslmode = "require"
[pools."*"]
port = {port}
[users.app]
"#
    ));
    let refused = psql(&weir.conninfo("user=app"), "SELECT 1").unwrap_err();
    assert!(refused.contains("unencrypted bytes"), "{refused}");
    drop(weir);
    assert_eq!(attacker.join().unwrap(), b"");
}

/// What happens with each level at a server that has TLS, that has none for this user, and so on.
#[test]
fn levels_towards_the_server() {
    let scratch = Scratch::new("certs");
    let certificates = Certificates::new(&scratch.0);
    certificates.issue("ca", "client", "holder");
    let hba = "hostssl all holder 127.0.0.1/32 cert
host all app,late 127.0.0.1/32 trust
hostssl all tls 127.0.0.1/32 trust
hostnossl all plain 127.0.0.1/32 trust";
    let roles = ["holder", "app", "late", "tls", "plain"];
    let roles = roles.map(|role| format!("CREATE ROLE {role} LOGIN"));
    let postgres = Postgres::with_hba(hba, &roles.each_ref().map(String::as_str));
    for (setting, name) in [
        ("ssl_cert_file", "server.crt"),
        ("ssl_key_file", "server.key"),
        ("ssl_ca_file", "ca.crt"),
    ] {
        let file = postgres.give(&certificates.path(name));
        postgres.sql(&format!(
            "ALTER SYSTEM SET {setting} = '{}'",
            file.display()
        ));
    }
    postgres.sql("ALTER SYSTEM SET ssl = on");
    postgres.reload();

    let weir = Pgweir::with_config(&server_pools(&certificates, postgres.port));
    // Some("t"): over TLS. None: refused.
    let outcome = |pool: &str, user: &str| {
        let login = weir.conninfo(&format!("dbname={pool} user={user}"));
        psql(
            &login,
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        )
    };
    let plain = Some("f");
    let tls = Some("t");
    for (pool, user, expected) in [
        ("disable", "app", plain),
        ("allow", "app", plain),
        ("prefer", "app", tls),
        ("require", "app", tls),
        ("require-ca", "app", tls),
        ("require-other", "app", None),
        ("verify-ca", "app", tls),
        ("verify-ca-other", "app", None),
        ("verify-full", "app", tls),
        ("verify-full-ip", "app", None),
        ("disable", "tls", None),
        ("allow", "tls", tls),
        ("prefer", "tls", tls),
        ("allow", "plain", plain),
        ("prefer", "plain", plain),
        ("require", "plain", None),
        ("verify-full", "holder", None),
        ("with-certificate", "holder", tls),
    ] {
        let outcome = outcome(pool, user);
        let got = outcome.as_deref().ok();
        assert_eq!(got, expected, "{pool} {user}: {outcome:?}");
    }
    postgres.sql("ALTER SYSTEM SET ssl = off");
    postgres.reload();
    assert_eq!(outcome("prefer", "late").as_deref(), Ok("f"));
    let refused = outcome("require", "late").unwrap_err();
    assert!(refused.contains("TLS"), "{refused}");
}

fn server_pools(certificates: &Certificates, port: u16) -> String {
    let dir = certificates.0.display();
    let mut text = "unix_socket_dir = \"\"\n[auth]\ntype = \"trust\"\n".to_owned();
    for user in ["holder", "app", "late", "tls", "plain"] {
        text += &format!("[users.{user}]\n");
    }
    let ca = format!("ca_file = \"{dir}/ca.crt\"");
    let other = format!("ca_file = \"{dir}/other.crt\"");
    let pair = format!("{ca}\nkey_file = \"{dir}/client.key\"\ncert_file = \"{dir}/client.crt\"");
    for (name, host, sslmode, more) in [
        ("disable", "127.0.0.1", "disable", ""),
        ("allow", "127.0.0.1", "allow", ""),
        ("prefer", "127.0.0.1", "prefer", ""),
        ("require", "127.0.0.1", "require", ""),
        ("require-ca", "127.0.0.1", "require", &ca),
        ("require-other", "127.0.0.1", "require", &other),
        ("verify-ca", "127.0.0.1", "verify-ca", &ca),
        ("verify-ca-other", "127.0.0.1", "verify-ca", &other),
        ("verify-full", "localhost", "verify-full", &ca),
        ("verify-full-ip", "127.0.0.1", "verify-full", &ca),
        ("with-certificate", "localhost", "verify-full", &pair),
    ] {
        text += &format!(
            "[pools.{name}]\ndbname = \"postgres\"\nhost = \"{host}\"\nport = {port}\n\
             [pools.{name}.server_tls]\nsslmode = \"{sslmode}\"\n{more}\n"
        );
    }
    text
}

#[test]
fn a_client_under_tls_is_notified() {
    let postgres = Postgres::start();
    let scratch = Scratch::new("certs");
    let certificates = Certificates::new(&scratch.0);
    let with = config(&certificates, postgres.port, "require", "scram-sha-256");
    let weir = Pgweir::with_config(&with);
    let login = weir.conninfo("user=app password=secret sslmode=require");
    // Idle, and in a transaction, with more than fits into one record.
    let program = "
with psycopg.connect({}, autocommit=True) as one, psycopg.connect({}, autocommit=True) as other:
    one.execute('listen news')
    other.execute('select pg_notify($$news$$, repeat($$x$$, 7000) || n) from generate_series(1, 20) n')
    got = [n.payload.strip('x') for n in one.notifies(timeout=10, stop_after=20)]
    assert got == [str(n) for n in range(1, 21)], got
    with one.transaction():
        one.execute('select 1')
        other.execute('notify news, $$later$$')
        assert not list(one.notifies(timeout=0.3))
    print(*[n.payload for n in one.notifies(timeout=10, stop_after=1)])
";
    assert_eq!(psycopg(&login, program).as_deref(), Ok("later"));
}
