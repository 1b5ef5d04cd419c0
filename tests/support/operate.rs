//! What an operator does: configurations of all kinds, signals, the console by column names, and
//! clients that people use.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::{Answer, Message, Pgweir, Postgres, Wire, configuration, kill, message, startup};

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One server for the tests of a file that run at the same time.
pub fn shared_postgres() -> Arc<Postgres> {
    static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    // A test that failed while it held the lock has not harmed the server.
    let mut shared = SHARED.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(running) = shared.upgrade() {
        return running;
    }
    let started = Arc::new(Postgres::start());
    *shared = Arc::downgrade(&started);
    started
}

pub type Row = HashMap<String, String>;

impl Pgweir {
    /// Puts another file in place; see [`Pgweir::start`].
    pub fn rewrite(&self, pg_port: u16, general: &str) {
        let text = configuration(self.port, pg_port, general);
        self.rewrite_all(&text);
    }

    pub fn rewrite_all(&self, text: &str) {
        fs::write(self.config_path(), text).unwrap();
    }

    pub fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    /// SIGHUP, and waits until the log says `outcome` once more.
    #[track_caller]
    pub fn reload(&self, outcome: &str) {
        let count = || self.log().matches(outcome).count();
        let before = count();
        self.signal("-HUP");
        until(&format!("{outcome} in {}", self.log()), || count() > before);
    }

    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let mut status = None;
        until("exit", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub fn connect(&self, user: &str, database: &str) -> Wire {
        Wire::connect(self.port, user, database)
    }

    /// A console command's rows, by column name.
    #[track_caller]
    pub fn show(&self, what: &str) -> Vec<Row> {
        let answer = self.console().query(&format!("SHOW {what}"));
        assert_eq!(answer.status(), Some('I'), "{what}: {answer:?}");
        table(&answer)
    }

    /// The row of `SHOW POOLS` for a database.
    #[track_caller]
    pub fn pool_of(&self, database: &str) -> Row {
        let mut rows = self.show("POOLS").into_iter();
        let row = rows.find(|r| r["database"] == database);
        row.unwrap_or_else(|| panic!("no pool {database}: {:?}", self.show("POOLS")))
    }

    /// A count of `SHOW POOLS`; 0 if there is no such pool.
    pub fn count(&self, database: &str, column: &str) -> u64 {
        let rows = self.show("POOLS");
        let row = rows.iter().find(|r| r["database"] == database);
        row.map_or(0, |r| r[column].parse().unwrap())
    }
}

pub fn column_names(answer: &Answer) -> Vec<String> {
    let Some(message) = answer.0.iter().find(|m| m.tag == b'T') else {
        return Vec::new();
    };
    let mut rest = &message.body[2..];
    let mut names = Vec::new();
    while let Some(end) = rest.iter().position(|b| *b == 0) {
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        rest = &rest[end + 19..];
    }
    names
}

pub fn table(answer: &Answer) -> Vec<Row> {
    let names = column_names(answer);
    let row = |values: Vec<String>| names.iter().cloned().zip(values).collect();
    answer.rows().into_iter().map(row).collect()
}

/// A field of the first error or notice: `M` its message, `C` its SQLSTATE.
pub fn field(answer: &Answer, tag: u8, field: u8) -> Option<String> {
    let message = answer.0.iter().find(|m| m.tag == tag)?;
    let mut fields = message.body.split(|b| *b == 0);
    let found = fields.find(|f| f.first() == Some(&field))?;
    Some(String::from_utf8_lossy(&found[1..]).into_owned())
}

/// The message of the first error.
pub fn error_text(answer: &Answer) -> String {
    field(answer, b'E', b'M').unwrap_or_default()
}

/// How a login is refused: SQLSTATE and message.
#[track_caller]
pub fn refusal(port: u16, user: &str, database: &str) -> (String, String) {
    let mut wire = Wire::raw(port).unwrap();
    let pairs = [("user", user), ("database", database)];
    wire.send(&startup(3 << 16, &pairs)).unwrap();
    let answer = wire.answer();
    assert_eq!(answer.status(), None, "it was let in: {answer:?}");
    (answer.code().unwrap_or_default(), error_text(&answer))
}

/// What the server says of its own accord up to the end of the connection.
pub fn last_words(wire: &mut Wire) -> Vec<Message> {
    std::iter::from_fn(|| wire.read_message().ok()).collect()
}

pub fn close_statement(name: &str) -> Vec<u8> {
    message(b'C', format!("S{name}\0").as_bytes())
}

/// psql, with nothing of the caller's own settings.
pub fn psql(port: u16, user: &str, database: &str, sql: &str) -> Output {
    let mut command = Command::new("psql");
    command.args([
        "-X",
        "-A",
        "-t",
        "-h",
        "127.0.0.1",
        "-U",
        user,
        "-d",
        database,
    ]);
    command.args(["-p", &port.to_string(), "-c", sql]);
    for name in ["PGOPTIONS", "PGAPPNAME", "PGSSLMODE", "PGSERVICE"] {
        command.env_remove(name);
    }
    command.output().expect("psql runs: see scripts/test")
}

/// Runs a program with psycopg 3 and asyncpg at hand; `PORT` is in its environment.
#[track_caller]
pub fn python(port: u16, program: &str) -> String {
    let output = python_command(port, program).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The same, beside the test; its output is to be read, and it may be written to.
pub fn python_child(port: u16, program: &str) -> Child {
    let mut command = python_command(port, program);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

fn python_command(port: u16, program: &str) -> Command {
    let mut command = Command::new(interpreter());
    command.args(["-c", program]).env("PORT", port.to_string());
    command
}

/// The one that scripts/test has installed.
fn interpreter() -> PathBuf {
    if let Ok(named) = std::env::var("PGWEIR_PYTHON") {
        return named.into();
    }
    let cache = std::env::var("PGWEIR_CACHE_DIR");
    let cache = cache.unwrap_or_else(|_| "/var/cache/pgweir".to_owned());
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    let mut pythons = entries
        .filter(|e| {
            e.file_name()
                .to_string_lossy()
                .starts_with("python-psycopg")
        })
        .map(|e| e.path().join("bin/python"));
    pythons
        .next()
        .expect("no Python with the drivers: run scripts/test, or set PGWEIR_PYTHON")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// A client program of PostgreSQL 15.
pub fn postgres_tool(name: &str) -> Command {
    let mut command = Command::new(super::postgres_bin(15).join(name));
    for (name, _) in std::env::vars() {
        if name.starts_with("PG") && !name.starts_with("PGWEIR") {
            command.env_remove(name);
        }
    }
    command
}
