//! The PROXY protocol: load balancers name the client, and only they can.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::certificates::Certificates;
use crate::support::login::psql;
use crate::support::operate::{Row, error_text, last_words, shared_postgres, table, until};
use crate::support::{Answer, Pgweir, Postgres, Scratch, Wire, free_port, query, startup};
use socket2::{Domain, Socket, Type};

/// Where the load balancer is; clients are at 127.0.0.1.
const BALANCER: &str = "127.0.0.2";
/// Whoever may log in, by address.
const RULES: &str = "host all postgres 192.0.2.7/32 trust\nhost all postgres 2001:db8::/32 trust\n\
                     host all postgres 127.0.0.1/32 trust\nhost template1 postgres 127.0.0.2/32 trust\n";
const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

struct Front {
    weir: Pgweir,
    pg: Arc<Postgres>,
    scratch: Scratch,
}

fn start(general: &str) -> Front {
    let pg = shared_postgres();
    let scratch = Scratch::new("front");
    std::fs::write(scratch.0.join("hba"), RULES).unwrap();
    Certificates::new(&scratch.0);
    let text = configuration(
        pg.port,
        &scratch,
        &format!("proxy_protocol = [\"{BALANCER}\"]\n{general}"),
    );
    let weir = Pgweir::with_config(&text);
    Front { weir, pg, scratch }
}

fn configuration(pg_port: u16, scratch: &Scratch, general: &str) -> String {
    let dir = scratch.0.display();
    format!(
        "admin_users = [\"postgres\"]\nunix_socket_dir = \"\"\n{general}\n\
         [client_tls]\nsslmode = \"allow\"\nkey_file = \"{dir}/server.key\"\n\
         cert_file = \"{dir}/server.crt\"\n[auth]\ntype = \"hba\"\nhba_file = \"{dir}/hba\"\n\
         [pools.\"*\"]\nport = {pg_port}\n[users.postgres]\npassword = \"unused\"\n"
    )
}

impl Front {
    /// A connection from the load balancer.
    fn balancer(&self) -> Wire {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let address = |text: String| text.parse::<SocketAddr>().unwrap().into();
        socket.bind(&address(format!("{BALANCER}:0"))).unwrap();
        let port = self.weir.port;
        socket
            .connect(&address(format!("127.0.0.1:{port}")))
            .unwrap();
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).unwrap();
        let limit = Some(Duration::from_secs(60));
        stream.set_read_timeout(limit).unwrap();
        Wire {
            stream,
            key: None,
            port,
        }
    }

    /// What a client gets whom the load balancer names so.
    fn behind(&self, header: &[u8], database: &str) -> (Wire, Answer) {
        let mut wire = self.balancer();
        wire.send(&[header, &login(database)].concat()).unwrap();
        let answer = wire.answer();
        let key = answer.0.iter().find(|m| m.tag == b'K');
        wire.key = key.map(|m| {
            let pid = i32::from_be_bytes(m.body[..4].try_into().unwrap());
            (pid, m.body[4..].to_vec())
        });
        (wire, answer)
    }

    fn clients(&self) -> Vec<Row> {
        let mut rows = table(&self.weir.console().query("SHOW CLIENTS"));
        rows.retain(|row| row["database"] != "pgbouncer");
        rows
    }
}

fn login(database: &str) -> Vec<u8> {
    let pairs = [
        ("user", "postgres"),
        ("database", database),
        ("application_name", "app"),
    ];
    startup(3 << 16, &pairs)
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [
        &b"\r\n\r\n\0\r\nQUIT\n"[..],
        &[0x20 | command, family],
        &length,
        body,
    ]
    .concat()
}

/// 192.0.2.7:4660, with an extension behind it.
fn v2_of_four() -> Vec<u8> {
    v2(
        1,
        0x11,
        b"\xc0\x00\x02\x07\x7f\x00\x00\x01\x12\x34\x15\x38\x04\0\x01x",
    )
}

fn v2_of_six() -> Vec<u8> {
    let body = [
        &[0x20, 1, 0xd, 0xb8][..],
        &[0; 11],
        &[7],
        &[0; 16],
        b"\x12\x34\x15\x38",
    ]
    .concat();
    v2(1, 0x21, &body)
}

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 4660 5432\r\n";

#[test]
fn the_address_that_is_named_is_the_clients_everywhere() {
    let front = start("application_name_add_host = true");
    for (header, addr) in [
        (LINE.to_vec(), "192.0.2.7"),
        (v2_of_four(), "192.0.2.7"),
        (v2_of_six(), "2001:db8::7"),
        (
            b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4660 1\r\n".to_vec(),
            "192.0.2.7",
        ),
    ] {
        let (mut wire, answer) = front.behind(&header, "postgres");
        assert_eq!(answer.status(), Some('I'), "{answer:?}");
        let clients = front.clients();
        assert_eq!(clients.len(), 1);
        assert_eq!((&*clients[0]["addr"], &*clients[0]["port"]), (addr, "4660"));
        assert_eq!(clients[0]["local_addr"], "127.0.0.1");
        let named = SocketAddr::new(addr.parse().unwrap(), 4660).to_string();
        let name = wire.query("show application_name").value();
        assert_eq!(name, format!("app - {named}"));
        let log = front.weir.log();
        let attempt = format!("peer={named}");
        assert!(log.contains(&attempt), "{attempt} in {log}");
        // A cancel request comes the same way.
        let began = Instant::now();
        wire.send(&query("select pg_sleep(60)")).unwrap();
        let (pid, secret) = wire.key.clone().unwrap();
        let body = [
            &80_877_102u32.to_be_bytes()[..],
            &pid.to_be_bytes(),
            &secret,
        ]
        .concat();
        let packet = [&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat();
        while !wire.answers_within(Duration::from_millis(100)) {
            assert!(began.elapsed() < Duration::from_secs(30));
            front
                .balancer()
                .send(&[&header[..], &packet].concat())
                .unwrap();
        }
        assert_eq!(wire.answer().code().as_deref(), Some("57014"));
        drop(wire);
        until("it has left", || front.clients().is_empty());
    }
}

#[test]
fn rules_decide_by_the_named_address() {
    let front = start("");
    let refused = |header: &[u8], database| error_text(&front.behind(header, database).1);
    let other = b"PROXY TCP4 192.0.2.8 127.0.0.1 4660 5432\r\n";
    assert_eq!(refused(other, "postgres"), "login rejected");
    // To name an address that may do less takes nothing away from others, and the reverse.
    assert_eq!(refused(LINE, "template1"), "");
    // Its own connections, and those of whom it knows nothing, come from itself.
    for own in [
        v2(0, 0, b""),
        v2(0, 0x11, &[0; 12]),
        v2(1, 0, b""),
        b"PROXY UNKNOWN\r\n".to_vec(),
    ] {
        assert_eq!(refused(&own, "template1"), "", "{}", own.escape_ascii());
        assert_eq!(refused(&own, "postgres"), "login rejected");
    }
}

#[test]
fn a_header_may_come_in_any_pieces() {
    let front = start("");
    for header in [LINE.to_vec(), v2_of_four()] {
        for piece in [1, 7, 15] {
            let mut wire = front.balancer();
            for part in [&header[..], &login("postgres")].concat().chunks(piece) {
                wire.send(part).unwrap();
                wire.stream.flush().unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(wire.answer().status(), Some('I'));
        }
    }
}

#[test]
fn who_must_send_one_and_does_not_is_refused() {
    let front = start("client_login_timeout = \"1s\"");
    for (bytes, text) in [
        (login("postgres"), "PROXY protocol header expected"),
        (SSL_REQUEST.to_vec(), "PROXY protocol header expected"),
        (
            b"PROXY TCP4 nonsense\r\n".to_vec(),
            "malformed PROXY protocol header",
        ),
        (v2(1, 0x12, &[0; 12]), "malformed PROXY protocol header"),
        (
            v2(1, 0x11, &[0; 600]),
            "PROXY protocol header of more than 536 bytes",
        ),
    ] {
        let mut wire = front.balancer();
        wire.send(&bytes).unwrap();
        let answer = Answer(last_words(&mut wire));
        assert_eq!(answer.code().as_deref(), Some("08P01"), "{answer:?}");
        assert_eq!(error_text(&answer), text);
    }
    // One that does not end is not waited for.
    for begun in [&b""[..], b"PROX", &LINE[..30], &v2_of_four()[..20]] {
        let mut wire = front.balancer();
        wire.send(begun).unwrap();
        let began = Instant::now();
        assert!(last_words(&mut wire).is_empty());
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    assert!(!front.weir.log().contains("panicked"));
}

#[test]
fn nobody_else_can_name_an_address() {
    let front = start("");
    assert_eq!(front.weir.client().query("select 1").value(), "1");
    for header in [LINE.to_vec(), v2_of_four()] {
        let mut wire = Wire::raw(front.weir.port).unwrap();
        wire.send(&[&header[..], &login("postgres")].concat())
            .unwrap();
        let answer = Answer(last_words(&mut wire));
        assert_eq!(error_text(&answer), "invalid length of startup packet");
    }
    // Who may is read again with the rest.
    let text = configuration(
        front.pg.port,
        &front.scratch,
        "proxy_protocol = [\"127.0.0.1/32\"]",
    );
    let said = front.weir.reload_with(&text);
    assert!(said.contains("general.proxy_protocol"), "{said}");
    let mut wire = Wire::raw(front.weir.port).unwrap();
    wire.send(&[LINE, &login("postgres")].concat()).unwrap();
    assert_eq!(wire.answer().status(), Some('I'));
}

struct Haproxy(Child);

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// TLS goes through it to the end; it sees only the header that it has sent itself.
#[test]
fn haproxy_stands_in_front() {
    let front = start("");
    for send in ["send-proxy", "send-proxy-v2"] {
        let port = free_port();
        let config = front.scratch.0.join("haproxy.cfg");
        let text = format!(
            "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  \
             timeout server 60s\nlisten pg\n  bind 127.0.0.1:{port}\n  source {BALANCER}\n  \
             server weir 127.0.0.1:{} {send} check inter 100ms\n",
            front.weir.port
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&config);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let _haproxy = Haproxy(child.expect("haproxy runs: see scripts/test"));
        let rest = "host=127.0.0.1 user=postgres dbname=postgres";
        until("haproxy listens", || {
            psql(&format!("{rest} port={port}"), "select 1").as_deref() == Ok("1")
        });
        for sslmode in ["disable", "require"] {
            let conninfo = format!("{rest} port={port} sslmode={sslmode}");
            // Only 127.0.0.1 may use this database, and haproxy comes from elsewhere.
            assert_eq!(psql(&conninfo, "select 2").as_deref(), Ok("2"), "{sslmode}");
        }
        // Its checks do no harm.
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(front.weir.client().query("select 3").value(), "3");
    }
    assert!(!front.weir.log().contains("panicked"));
}
