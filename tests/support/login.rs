//! Parts for tests of logins: PostgreSQL with its own `pg_hba.conf`, pgweir with any
//! configuration, and the clients that people use.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::{Message, Pgweir, Postgres, Scratch, Wire, free_port, kill};

impl Postgres {
    /// A server where `postgres` is trusted and everybody else is let in as `hba` says.
    pub fn with_hba(hba: &str, sql: &[&str]) -> Postgres {
        let postgres = Postgres::start();
        for statement in sql {
            postgres.sql(statement);
        }
        postgres.set_hba(hba);
        postgres
    }

    /// Who is let in besides `postgres`; what ALTER SYSTEM has said holds from then on, too.
    pub fn set_hba(&self, hba: &str) {
        let all =
            format!("local all postgres trust\nhost all postgres 127.0.0.1/32 trust\n{hba}\n");
        std::fs::write(self.scratch.0.join("data/pg_hba.conf"), all).unwrap();
        self.reload();
    }

    /// Runs one statement; gives the first value, if any.
    pub fn sql(&self, statement: &str) -> Option<String> {
        let answer = self.client().query(statement);
        assert_eq!(answer.code(), None, "{statement}: {answer:?}");
        let rows = answer.rows();
        rows.first().map(|row| row[0].clone())
    }

    /// Returns when the postmaster has read its files again.
    pub fn reload(&self) {
        let loaded = || self.sql("SELECT pg_conf_load_time()");
        let before = loaded();
        self.sql("SELECT pg_reload_conf()");
        wait_until("the configuration is loaded", || loaded() != before);
    }

    /// Copies a file to where the server may read it; keys must be its own.
    pub fn give(&self, file: &Path) -> PathBuf {
        let to = self.scratch.0.join("data").join(file.file_name().unwrap());
        std::fs::copy(file, &to).unwrap();
        if super::is_root() {
            std::os::unix::fs::chown(&to, Some(65534), Some(65534)).unwrap();
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&to, mode).unwrap();
        to
    }

    /// Starts again with a Unix socket; gives its directory.
    pub fn listen_on_socket(&mut self) -> PathBuf {
        let dir = self.scratch.0.clone();
        self.listen_on("127.0.0.1", dir.to_str().unwrap());
        dir
    }

    /// Starts again with other addresses and Unix sockets. 127.0.0.1 must be among them.
    pub fn listen_on(&mut self, addresses: &str, sockets: &str) {
        self.signal("-INT");
        self.child.wait().unwrap();
        let dir = self.scratch.0.clone();
        let mut command = Command::new(super::postgres_bin(15).join("postgres"));
        self.child = super::unprivileged(&mut command)
            .arg("-D")
            .arg(dir.join("data"))
            .args(["-p", &self.port.to_string(), "-k", sockets])
            .args(["-c", "fsync=off", "-c"])
            .arg(format!("listen_addresses={addresses}"))
            .current_dir("/")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let port = self.port;
        wait_until("PostgreSQL starts", || {
            Wire::try_connect(port, "postgres", "postgres").is_ok()
        });
    }

    /// The log, for what clients are not told.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.0.join("log")).unwrap_or_default()
    }
}

impl Pgweir {
    /// `rest` follows `listen_addr` and `listen_port` in `[general]`; `$DIR` in it is a directory
    /// of its own.
    pub fn with_config(rest: &str) -> Pgweir {
        let scratch = Scratch::new("weir");
        let port = free_port();
        let config = scratch.0.join("pgweir.toml");
        write_config(&scratch.0, port, rest);
        let log = std::fs::File::create(scratch.0.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_pgweir"))
            .arg(&config)
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
        while !weir.log().contains("pgweir is ready") {
            assert!(Instant::now() < deadline, "{}", weir.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        weir
    }

    pub fn dir(&self) -> &Path {
        &self.scratch.0
    }

    /// Reloads; returns when the log says how it went, and gives what it says.
    pub fn reload_with(&self, rest: &str) -> String {
        write_config(&self.scratch.0, self.port, rest);
        self.hang_up()
    }

    /// As [`Pgweir::reload_with`], with the files as they are.
    pub fn hang_up(&self) -> String {
        let before = self.log().len();
        kill("-HUP", self.child.id());
        let said = || self.log()[before..].to_owned();
        wait_until("the reload is logged", || said().contains("reload"));
        said()
    }

    /// A libpq connection string.
    pub fn conninfo(&self, rest: &str) -> String {
        format!("host=127.0.0.1 port={} dbname=postgres {rest}", self.port)
    }
}

fn write_config(dir: &Path, port: u16, rest: &str) {
    let rest = rest.replace("$DIR", dir.to_str().unwrap());
    let text = format!(
        "[general]\nlisten_addr = \"127.0.0.1\"\nlisten_port = {port}\nworkers = 1\n{rest}\n"
    );
    std::fs::write(dir.join("pgweir.toml"), text).unwrap();
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a query through psql: its output, or what it complained about.
pub fn psql(conninfo: &str, sql: &str) -> Result<String, String> {
    let mut command = clean(Command::new("psql"));
    outcome(command.args(["-XAtqd", conninfo, "-c", sql]))
}

/// Runs a program in Python with psycopg 3, whose libpq is new; `{}` in it stands for a
/// connection string.
pub fn psycopg(conninfo: &str, program: &str) -> Result<String, String> {
    let mut command = clean(Command::new(python()));
    command.env("CONNINFO", conninfo);
    let program = program.replace("{}", "os.environ['CONNINFO']");
    outcome(command.args(["-c", &format!("import os, psycopg\n{program}")]))
}

/// One query with psycopg, as [`psql`].
pub fn psycopg_query(conninfo: &str, sql: &str) -> Result<String, String> {
    let program = format!("print(psycopg.connect({{}}).execute({sql:?}).fetchone()[0])");
    psycopg(conninfo, &program)
}

/// Nothing in the environment decides how to connect.
fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars() {
        if name.starts_with("PG") && !name.starts_with("PGWEIR") {
            command.env_remove(name);
        }
    }
    command.env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

fn outcome(command: &mut Command) -> Result<String, String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    if status.success() {
        Ok(text(stdout))
    } else {
        Err(text(stderr))
    }
}

/// The interpreter that scripts/lib/need.sh sets up.
fn python() -> PathBuf {
    if let Ok(named) = std::env::var("PGWEIR_PYTHON") {
        return named.into();
    }
    let cache = std::env::var("PGWEIR_CACHE_DIR").unwrap_or_else(|_| "/var/cache/pgweir".into());
    let found = std::fs::read_dir(&cache).into_iter().flatten().flatten();
    let mut found: Vec<_> = found
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("/python-psycopg"))
        .collect();
    found.sort();
    let newest = found.pop();
    let newest = newest.unwrap_or_else(|| panic!("no psycopg in {cache}: run scripts/test"));
    newest.join("bin/python")
}

/// SQLSTATE and text of the first error among `messages`.
pub fn refusal(messages: &[Message]) -> (String, String) {
    let error = messages.iter().find(|m| m.tag == b'E');
    let error = error.unwrap_or_else(|| panic!("no error in {messages:?}"));
    let fields = pgweir::protocol::backend::error_fields(&error.body);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(fields.code), text(fields.message))
}

/// A client on a Unix socket, for as much as a login needs.
pub struct UnixWire(std::os::unix::net::UnixStream);

impl Wire {
    pub fn raw_unix(dir: &Path, port: u16) -> UnixWire {
        let path = dir.join(format!(".s.PGSQL.{port}"));
        let stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        let limit = Some(Duration::from_secs(60));
        stream.set_read_timeout(limit).unwrap();
        UnixWire(stream)
    }
}

impl UnixWire {
    pub fn send(&mut self, bytes: &[u8]) {
        std::io::Write::write_all(&mut self.0, bytes).unwrap();
    }

    pub fn read(&mut self) -> Message {
        let mut exactly = |length: usize| {
            let mut bytes = vec![0; length];
            std::io::Read::read_exact(&mut self.0, &mut bytes).unwrap();
            bytes
        };
        let head = exactly(5);
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let body = exactly(length - 4);
        Message { tag: head[0], body }
    }
}
