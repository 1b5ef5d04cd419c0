//! Several processes on one port that pass cancel requests on to each other. Each is reached by a
//! Unix socket of its own, too, so that a test decides where a request lands.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::ini::Ini;
use crate::support::operate::{shared_postgres, table, until};
use crate::support::{Postgres, Wire, free_port, query, startup};

/// As many processes as there are `others`; each has its number, beginning with 1, and the lines
/// that are for it.
fn processes(pg_port: u16, lines: &[&str], peers: impl Fn(&[PathBuf]) -> String) -> Vec<Ini> {
    let port = free_port();
    let mut all: Vec<Ini> = lines
        .iter()
        .map(|_| Ini::stopped(pg_port, "", ""))
        .collect();
    let directories: Vec<PathBuf> = all.iter().map(|ini| ini.scratch.0.clone()).collect();
    let peers = peers(&directories).replace("PORT", &port.to_string());
    for (n, (ini, lines)) in all.iter_mut().zip(lines).enumerate() {
        ini.port = port;
        let own = format!(
            "so_reuseport = 1\npeer_id = {}\nverbose = 1\n{lines}",
            n + 1
        );
        ini.write(pg_port, &own, &format!("[peers]\n{peers}"));
        ini.run();
    }
    all
}

/// Every process, by its Unix socket.
fn by_sockets(directories: &[PathBuf]) -> String {
    let each = directories.iter().enumerate();
    each.map(|(n, dir)| format!("{} = host={} port=PORT\n", n + 1, dir.display()))
        .collect()
}

/// A client of this very process, whoever else listens on the port.
struct Client {
    stream: UnixStream,
    key: (i32, Vec<u8>),
}

impl Client {
    fn of(ini: &Ini) -> Client {
        Client::with_version(ini, 3 << 16)
    }

    fn with_version(ini: &Ini, version: u32) -> Client {
        let mut stream = socket(ini);
        let pairs = [("user", "postgres"), ("database", "postgres")];
        stream.write_all(&startup(version, &pairs)).unwrap();
        let mut client = Client {
            stream,
            key: (0, Vec::new()),
        };
        let answers = client.until_ready();
        let (_, key) = answers.iter().find(|(tag, _)| *tag == b'K').expect("a key");
        let (pid, secret) = key.split_at(4);
        client.key = (i32::from_be_bytes(pid.try_into().unwrap()), secret.to_vec());
        client
    }

    fn until_ready(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut answers = Vec::new();
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4;
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).unwrap();
            answers.push((head[0], body));
            if head[0] == b'Z' {
                return answers;
            }
        }
    }

    /// Begins something long; returns when the server is at it.
    fn sleep(&mut self, postgres: &Postgres) {
        let sql = long_statement();
        self.stream.write_all(&query(&sql)).unwrap();
        wait_for(postgres, &sql);
    }

    /// How the long statement ends.
    fn is_cancelled(&mut self) -> bool {
        let answers = self.until_ready();
        let error = answers.iter().find(|(tag, _)| *tag == b'E');
        error.is_some_and(|(_, body)| body.windows(6).any(|w| w == b"C57014"))
    }

    fn runs(&mut self) -> bool {
        let limit = Some(Duration::from_millis(300));
        self.stream.set_read_timeout(limit).unwrap();
        let came = peek(&self.stream);
        self.stream.set_read_timeout(Some(WAIT)).unwrap();
        !came
    }

    fn packet(&self) -> Vec<u8> {
        cancel(self.key.0, &self.key.1)
    }
}

/// A different one each time.
fn long_statement() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let n = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("SELECT pg_sleep(60) AS n{n}")
}

fn wait_for(postgres: &Postgres, sql: &str) {
    let running =
        format!("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = '{sql}'");
    postgres.client().wait_for(&running, "1");
}

const WAIT: Duration = Duration::from_secs(60);

/// Whether something comes in time. Nothing is taken.
fn peek(stream: &UnixStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    socket2::SockRef::from(stream).peek(&mut byte).is_ok()
}

fn socket(ini: &Ini) -> UnixStream {
    let stream = UnixStream::connect(ini.file(&format!(".s.PGSQL.{}", ini.port))).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream
}

fn cancel(pid: i32, secret: &[u8]) -> Vec<u8> {
    let mut body = 80_877_102u32.to_be_bytes().to_vec();
    body.extend_from_slice(&pid.to_be_bytes());
    body.extend_from_slice(secret);
    [&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat()
}

/// Sends it to this very process, and waits until it has closed the connection.
fn send(ini: &Ini, packet: &[u8]) -> Duration {
    let began = Instant::now();
    let mut stream = socket(ini);
    stream.write_all(packet).unwrap();
    assert_eq!(
        stream.read(&mut [0]).unwrap(),
        0,
        "it is closed without a word"
    );
    began.elapsed()
}

/// The console of this very process.
fn show(ini: &Ini, what: &str) -> Vec<Vec<String>> {
    let output = ini.psql("postgres", "pgbouncer", &format!("SHOW {what}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    let rows = text.lines().map(|line| line.split('|').map(str::to_owned));
    rows.map(Iterator::collect).collect()
}

fn given_up(ini: &Ini, why: &str) -> usize {
    ini.log().matches(why).count()
}

#[test]
fn a_request_that_lands_on_the_wrong_process_is_passed_on() {
    let postgres = shared_postgres();
    let all = processes(postgres.port, &["", ""], by_sockets);
    let [one, two] = &all[..] else { unreachable!() };
    for version in [3 << 16, (3 << 16) | 2] {
        for (home, other) in [(one, two), (two, one)] {
            let mut client = Client::with_version(home, version);
            assert_eq!(client.key.1.len(), if version & 2 == 2 { 32 } else { 4 });
            for lands_on in [other, home] {
                client.sleep(&postgres);
                send(lands_on, &client.packet());
                assert!(client.is_cancelled());
            }
            // Nothing is left of it that would hit the next one.
            client.stream.write_all(&query("SELECT 1")).unwrap();
            let tags: Vec<u8> = client.until_ready().iter().map(|(tag, _)| *tag).collect();
            assert_eq!(tags, b"TDCZ");
        }
    }
}

#[test]
fn on_one_port_wherever_the_kernel_sends_it() {
    let postgres = shared_postgres();
    let all = processes(postgres.port, &["", "", ""], by_sockets);
    let mut client = Wire::connect(all[0].port, "postgres", "postgres");
    for _ in 0..12 {
        let sql = long_statement();
        client.send(&query(&sql)).unwrap();
        wait_for(&postgres, &sql);
        client.cancel();
        assert_eq!(client.answer().code().as_deref(), Some("57014"));
    }
    let forwarded: usize = all
        .iter()
        .map(|ini| given_up(ini, "forwarding a cancel request"))
        .sum();
    assert!(forwarded > 0, "all twelve landed on the right one of three");
}

#[test]
fn forged_keys_do_nothing() {
    let postgres = shared_postgres();
    let all = processes(postgres.port, &["", ""], by_sockets);
    let [one, two] = &all[..] else { unreachable!() };
    let mut client = Client::of(one);
    client.sleep(&postgres);
    let (pid, secret) = client.key.clone();
    for bit in 0..30 {
        let mut forged = secret.clone();
        // But for the two that count hops.
        forged[bit / 8] ^= 0x80 >> (bit % 8);
        send(two, &cancel(pid, &forged));
        send(one, &cancel(pid, &forged));
    }
    // Of nobody, of a peer that there is not, and with a secret of another length.
    send(two, &cancel(pid ^ 1, &secret));
    send(two, &cancel(pid | 0x00ff_0000, &secret));
    send(two, &cancel(pid, &[0; 256]));
    assert_eq!(
        given_up(two, "could not find peer to forward request to"),
        1
    );
    assert!(client.runs());
    send(two, &client.packet());
    assert!(client.is_cancelled());
}

/// Each takes another one for the third, as after a mistake in the files.
#[test]
fn a_circle_ends_after_three_hops() {
    let postgres = shared_postgres();
    let all = processes(postgres.port, &["", ""], |directories| {
        let [one, two] = directories else {
            unreachable!()
        };
        // What one says of 3 goes to two; two's own file is changed below.
        let (one, two) = (one.display(), two.display());
        format!("1 = host={one} port=PORT\n2 = host={two} port=PORT\n3 = host={two} port=PORT\n")
    });
    let [one, two] = &all[..] else { unreachable!() };
    let peers = format!(
        "[peers]\n1 = host={0} port=PORT\n3 = host={0} port=PORT\n",
        one.scratch.0.display()
    );
    let peers = peers.replace("PORT", &one.port.to_string());
    two.write(
        postgres.port,
        "so_reuseport = 1\npeer_id = 2\nverbose = 1",
        &peers,
    );
    two.signal("-HUP");
    until("reload", || two.log().contains("configuration reloaded"));
    let key = 3 << 16;
    send(one, &cancel(key, &[1, 2, 3, 0xff]));
    let hops =
        given_up(one, "forwarding a cancel request") + given_up(two, "forwarding a cancel request");
    assert_eq!(hops, 3);
    assert_eq!(given_up(two, "its TTL was exhausted"), 1);
    // From a client that has no hops left, it is not passed on at all.
    send(one, &cancel(key, &[1, 2, 3, 0xfc]));
    assert_eq!(given_up(one, "its TTL was exhausted"), 1);
}

#[test]
fn a_peer_that_is_down_or_hangs_holds_nothing_up_for_long() {
    let postgres = shared_postgres();
    // It takes connections, and reads nothing.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs_at = hanging.local_addr().unwrap().port();
    let down_at = free_port();
    let limits = "cancel_wait_timeout = 1\nserver_connect_timeout = 2\ndefault_pool_size = 3";
    let all = processes(postgres.port, &[limits], |_| {
        format!(
            "2 = host=127.0.0.1 port={down_at}\n3 = host=127.0.0.1 port={hangs_at} pool_size=1\n"
        )
    });
    let one = &all[0];
    assert_eq!(
        show(one, "PEERS"),
        [
            ["2", "127.0.0.1", &down_at.to_string(), "3"],
            ["3", "127.0.0.1", &hangs_at.to_string(), "1"],
        ]
    );
    assert!(send(one, &cancel(2 << 16, &[0xff; 4])) < Duration::from_secs(2));
    assert_eq!(given_up(one, "failed to send cancel request"), 1);
    // One is sent; the others wait for the only place.
    let began = Instant::now();
    let hung: Vec<UnixStream> = (0..4)
        .map(|n| {
            let mut stream = socket(one);
            let key = cancel(3 << 16, &[n, 0, 0, 0xff]);
            stream.write_all(&key).unwrap();
            stream
        })
        .collect();
    until("peer pool", || {
        show(one, "PEER_POOLS") == [["2", "0", "0", "0", "0"], ["3", "1", "3", "1", "0"]]
    });
    let clients = show(one, "CLIENTS");
    let in_state = |state: &str| clients.iter().filter(|row| row[4] == state).count();
    assert_eq!(in_state("waiting_cancel_req"), 3, "{clients:?}");
    assert_eq!(in_state("active_cancel_req"), 1, "{clients:?}");
    let lists = show(one, "LISTS");
    let items = |list: &str| lists.iter().find(|row| row[0] == list).unwrap()[1].clone();
    assert_eq!(
        (items("peers"), items("peer_pools")),
        ("2".to_owned(), "2".to_owned())
    );
    for mut stream in hung {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(given_up(one, "cancel_wait_timeout"), 3);
    assert_eq!(show(one, "PEER_POOLS")[1], ["3", "0", "0", "0", "0"]);
    drop(hanging);
    // It serves on.
    assert_eq!(one.connect("postgres").query("SELECT 1").value(), "1");
}

#[test]
fn a_reload_adds_and_removes_peers() {
    let postgres = shared_postgres();
    let all = processes(postgres.port, &["", ""], |_| String::new());
    let [one, two] = &all[..] else { unreachable!() };
    let unknown = || given_up(two, "could not find peer to forward request to");
    let mut client = Client::of(one);
    client.sleep(&postgres);
    send(two, &client.packet());
    assert!(client.runs() && unknown() == 1);
    let with = |peers: &str| {
        let own = "so_reuseport = 1\npeer_id = 2\nverbose = 1";
        two.write(postgres.port, own, &format!("[peers]\n{peers}"));
        let output = two.psql("postgres", "pgbouncer", "RELOAD");
        assert!(output.status.success(), "{output:?}");
    };
    let entry = format!("1 = host={} port={}\n", one.scratch.0.display(), one.port);
    with(&entry);
    send(two, &client.packet());
    assert!(client.is_cancelled());
    // Gone again.
    with("");
    client.sleep(&postgres);
    send(two, &client.packet());
    assert!(client.runs() && unknown() == 2);
    // A key that was handed out before the process had this number is still good at home.
    one.write(
        postgres.port,
        "so_reuseport = 1\npeer_id = 0\nverbose = 1",
        "",
    );
    assert!(one.psql("postgres", "pgbouncer", "RELOAD").status.success());
    send(one, &client.packet());
    assert!(client.is_cancelled());
    let plain = Client::of(one);
    assert!(plain.key.0 > 0);
}

/// A way to the server on which cancel requests take a second.
fn slow_cancels(server: u16) -> u16 {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = door.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in door.incoming() {
            let Ok(from) = stream else { return };
            std::thread::spawn(move || let_through(from, server));
        }
    });
    port
}

fn let_through(mut from: TcpStream, server: u16) {
    let mut first = vec![0; 8];
    if from.read_exact(&mut first).is_err() {
        return;
    }
    if first[4..] == 80_877_102u32.to_be_bytes() {
        std::thread::sleep(Duration::from_secs(1));
    }
    let mut to = TcpStream::connect(("127.0.0.1", server)).unwrap();
    to.write_all(&first).unwrap();
    let (mut back, mut out) = (to.try_clone().unwrap(), from.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut out);
        let _ = out.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// The columns of `SHOW POOLS` that are about cancel requests.
fn counts(ini: &Ini) -> [String; 4] {
    let answer = ini.console().query("SHOW POOLS");
    let mut rows = table(&answer).into_iter();
    let row = rows.find(|row| row["database"] == "postgres").unwrap();
    [
        "cl_active_cancel_req",
        "cl_waiting_cancel_req",
        "sv_active_cancel",
        "sv_being_canceled",
    ]
    .map(|column| row[column].clone())
}

/// Who sends a request and waits for the end of the connection knows that it is over.
#[test]
fn a_request_is_held_until_the_server_has_taken_it() {
    let postgres = shared_postgres();
    let port = slow_cancels(postgres.port);
    let lines = "server_tls_sslmode = disable\npool_mode = transaction";
    let ini = Ini::start(port, lines, "");
    let mut client = Client::of(&ini);
    client.sleep(&postgres);
    let packet = client.packet();
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| send(&ini, &packet));
        until("the request is under way", || {
            counts(&ini) == ["1", "0", "1", "0"]
        });
        let took = sent.join().unwrap();
        assert!(took >= Duration::from_millis(900), "{took:?}");
        assert_eq!(counts(&ini), ["0"; 4]);
    });
    assert!(client.is_cancelled());

    // A statement that ends by itself meanwhile: its server connection is nobody's until then.
    let half = long_statement().replace("60", "0.5");
    client.stream.write_all(&query(&half)).unwrap();
    wait_for(&postgres, &half);
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| send(&ini, &packet));
        assert!(!client.is_cancelled(), "it was over before");
        until("it waits", || counts(&ini) == ["1", "0", "1", "1"]);
        let servers = show(&ini, "SERVERS");
        // There may be another one, which was made for a login.
        let cancelled = servers.iter().filter(|row| row[4] == "being_canceled");
        assert_eq!(cancelled.count(), 1, "{servers:?}");
        sent.join().unwrap();
    });
    client.stream.write_all(&query("SELECT 1")).unwrap();
    assert!(!client.is_cancelled());
}
