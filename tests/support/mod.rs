//! Real parts for tests: a throw-away PostgreSQL, pgweir itself, and a client that speaks the
//! protocol byte by byte.
#![allow(dead_code)] // Each test file uses its own part of this.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub mod certificates;
pub mod crowd;
pub mod dnsmasq;
pub mod failing;
pub mod ini;
pub mod login;
pub mod metrics;
pub mod operate;
pub mod postgres;
pub mod proxy;
pub mod redis;
pub mod slapd;
pub mod standby;

pub use postgres::Postgres;
use postgres::postgres_bin;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A directory of its own, removed in the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(what: &str) -> Scratch {
        let n = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pgweir-{what}-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A log file, when what was said before is in it: a thread writes it.
pub fn settled(path: &Path) -> String {
    let mut before = String::new();
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(5));
        let now = fs::read_to_string(path).unwrap_or_default();
        if now == before && !now.is_empty() {
            break;
        }
        before = now;
    }
    before
}

/// A port that nobody listens on, below those that the system gives to connections: one of those may
/// be taken by a client before the server that it is meant for gets there.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    // Processes that run at the same time begin far apart.
    let begin = std::process::id().wrapping_mul(7919);
    loop {
        let n = NUMBER.fetch_add(1, Ordering::Relaxed);
        let port = (FIRST + begin.wrapping_add(n) % COUNT) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// PostgreSQL does not run as root.
pub fn unprivileged(command: &mut Command) -> &mut Command {
    if is_root() {
        command.uid(65534).gid(65534)
    } else {
        command
    }
}

pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

pub fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// pgweir in front of a server; everybody is trusted, `postgres` is an admin.
pub struct Pgweir {
    pub port: u16,
    pub child: Child,
    scratch: Scratch,
}

impl Pgweir {
    /// `general` are lines of that section.
    pub fn start(pg_port: u16, general: &str) -> Pgweir {
        Pgweir::start_with(pg_port, general, &[])
    }

    /// With environment variables.
    pub fn start_with(pg_port: u16, general: &str, variables: &[(&str, &str)]) -> Pgweir {
        let scratch = Scratch::new("weir");
        let port = free_port();
        let config = scratch.0.join("pgweir.toml");
        fs::write(&config, configuration(port, pg_port, general)).unwrap();
        let log = fs::File::create(scratch.0.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_pgweir"))
            .arg(&config)
            .envs(variables.iter().copied())
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let weir = Pgweir {
            port,
            child,
            scratch,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "{}", weir.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        weir
    }

    pub fn log(&self) -> String {
        settled(&self.scratch.0.join("log"))
    }

    pub fn config_path(&self) -> PathBuf {
        self.scratch.0.join("pgweir.toml")
    }

    pub fn client(&self) -> Wire {
        Wire::connect(self.port, "postgres", "postgres")
    }

    pub fn console(&self) -> Wire {
        Wire::connect(self.port, "postgres", "pgweir")
    }

    /// A number from `SHOW POOLS`, by column, for the pool of `postgres`.
    pub fn pool(&self, column: usize) -> usize {
        let rows = self.console().query("SHOW POOLS").rows();
        rows.iter()
            .find(|r| r[0] == "postgres")
            .map_or(0, |r| r[column].parse().unwrap())
    }

    /// Waits until no server connection is lent and nobody waits: nothing has leaked.
    pub fn assert_quiet(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            // cl_waiting; sv_active and sv_tested.
            let (waiting, lent) = (self.pool(3), self.pool(6) + self.pool(11));
            if waiting == 0 && lent == 0 {
                break;
            }
            let state = self.console().query("SHOW POOLS").rows();
            assert!(Instant::now() < deadline, "{state:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }
}

pub fn configuration(port: u16, pg_port: u16, general: &str) -> String {
    format!(
        r#"
[general]
listen_addr = "127.0.0.1"
listen_port = {port}
unix_socket_dir = ""
workers = 2
admin_users = ["postgres"]
{general}
[auth]
type = "trust"
[pools."*"]
host = "127.0.0.1"
port = {pg_port}
[users.postgres]
password = "unused"
"#
    )
}

impl Drop for Pgweir {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One message from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

/// What came up to ReadyForQuery, or to the end of the connection.
#[derive(Debug, Clone, Default)]
pub struct Answer(pub Vec<Message>);

impl Answer {
    pub fn rows(&self) -> Vec<Vec<String>> {
        let rows = self.0.iter().filter(|m| m.tag == b'D');
        rows.map(|m| {
            let values = pgweir::protocol::backend::data_row(&m.body).unwrap();
            let text =
                |v: Option<&[u8]>| String::from_utf8_lossy(v.unwrap_or(b"NULL")).into_owned();
            values.into_iter().map(text).collect()
        })
        .collect()
    }

    /// The first value of the first row.
    pub fn value(&self) -> String {
        match self.rows().first() {
            Some(row) => row[0].clone(),
            None => panic!("no row in {self:?}"),
        }
    }

    /// SQLSTATE of the first error.
    pub fn code(&self) -> Option<String> {
        let error = self.0.iter().find(|m| m.tag == b'E')?;
        let fields = pgweir::protocol::backend::error_fields(&error.body);
        Some(String::from_utf8_lossy(fields.code).into_owned())
    }

    /// `I`, `T` or `E`; `None` if the connection was closed.
    pub fn status(&self) -> Option<char> {
        let last = self.0.last().filter(|m| m.tag == b'Z')?;
        Some(char::from(last.body[0]))
    }

    pub fn tags(&self) -> String {
        self.0.iter().map(|m| char::from(m.tag)).collect()
    }
}

/// A client that speaks the protocol.
pub struct Wire {
    pub stream: TcpStream,
    pub key: Option<(i32, Vec<u8>)>,
    pub port: u16,
}

pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[tag][..], &length, body].concat()
}

pub fn startup(version: u32, pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in pairs {
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    [&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat()
}

impl Wire {
    pub fn raw(port: u16) -> io::Result<Wire> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_nodelay(true)?;
        Ok(Wire {
            stream,
            key: None,
            port,
        })
    }

    pub fn connect(port: u16, user: &str, database: &str) -> Wire {
        Wire::try_connect(port, user, database).unwrap()
    }

    pub fn try_connect(port: u16, user: &str, database: &str) -> io::Result<Wire> {
        Wire::try_connect_with(port, &[("user", user), ("database", database)])
    }

    pub fn try_connect_with(port: u16, pairs: &[(&str, &str)]) -> io::Result<Wire> {
        let mut wire = Wire::raw(port)?;
        wire.send(&startup(3 << 16, pairs))?;
        let answer = wire.answer();
        if answer.status() != Some('I') {
            return Err(io::Error::other(format!("{:?}", answer.code())));
        }
        let key = answer.0.iter().find(|m| m.tag == b'K');
        wire.key = key.map(|m| {
            let pid = i32::from_be_bytes(m.body[..4].try_into().unwrap());
            (pid, m.body[4..].to_vec())
        });
        Ok(wire)
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn read_message(&mut self) -> io::Result<Message> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Message { tag: head[0], body })
    }

    /// Up to ReadyForQuery or the end. A connection that neither speaks nor ends fails the test.
    /// Whether something comes within this time. Nothing is taken.
    pub fn answers_within(&mut self, limit: Duration) -> bool {
        let before = self.stream.read_timeout().unwrap();
        self.stream.set_read_timeout(Some(limit)).unwrap();
        let came = self.stream.peek(&mut [0]).is_ok();
        self.stream.set_read_timeout(before).unwrap();
        came
    }

    pub fn answer(&mut self) -> Answer {
        let mut answer = Answer::default();
        loop {
            match self.read_message() {
                Ok(message) => {
                    let ready = message.tag == b'Z';
                    answer.0.push(message);
                    if ready {
                        return answer;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("no answer in time; so far {:?}", answer.tags())
                }
                Err(_) => return answer,
            }
        }
    }

    pub fn query(&mut self, sql: &str) -> Answer {
        if self.send(&query(sql)).is_err() {
            return Answer::default();
        }
        self.answer()
    }

    /// Asks until the answer's first value is `expected`.
    pub fn wait_for(&mut self, sql: &str, expected: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.query(sql).value() != expected {
            assert!(
                Instant::now() < deadline,
                "{sql} does not become {expected}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a CancelRequest with this client's key.
    pub fn cancel(&self) {
        let (pid, secret) = self.key.clone().unwrap();
        let mut body = 80_877_102u32.to_be_bytes().to_vec();
        body.extend_from_slice(&pid.to_be_bytes());
        body.extend_from_slice(&secret);
        let packet = [&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat();
        let mut wire = Wire::raw(self.port).unwrap();
        wire.send(&packet).unwrap();
        // The server closes when it has taken note.
        let _ = wire.stream.read(&mut [0]);
    }
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(
        b'P',
        &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"].concat(),
    )
}

/// No parameters, text results.
pub fn bind(statement: &str) -> Vec<u8> {
    message(
        b'B',
        &[b"\0", statement.as_bytes(), b"\0\0\0\0\0\0\0"].concat(),
    )
}

pub fn describe_portal() -> Vec<u8> {
    message(b'D', b"P\0")
}

pub fn execute() -> Vec<u8> {
    message(b'E', b"\0\0\0\0\0")
}

pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}
