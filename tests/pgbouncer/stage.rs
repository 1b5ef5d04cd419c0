//! The two poolers, started on the same `pgbouncer.ini` in front of the same server.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::support::certificates::Certificates;
use crate::support::{Postgres, Scratch, free_port, is_root, kill, unprivileged};

/// Which pooler a scenario is played to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Bouncer,
    Weir,
}

impl Side {
    fn program(self) -> PathBuf {
        match self {
            Side::Weir => env!("CARGO_BIN_EXE_pgweir").into(),
            Side::Bouncer => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
                // Where Debian has it, which is on no PATH but root's.
                dirs.push("/usr/sbin".into());
                let mut found = dirs.into_iter().map(|dir| dir.join("pgbouncer"));
                found.find(|program| program.exists()).expect(
                    "PgBouncer is not installed: run scripts/test, or apt-get install pgbouncer",
                )
            }
        }
    }
}

/// What is written into the files. `$PG` stands for the server's host and port, `$NAMED` for the same
/// with a host name, `$DIR` for the pooler's directory, `$CERTS` for that of certificates. `settings` come after what every scenario has: of a setting that is there
/// twice the last one counts.
#[derive(Debug, Clone, Copy)]
pub struct Ini {
    pub databases: &'static str,
    pub settings: &'static str,
    pub users: &'static str,
    pub userlist: &'static str,
    /// `$DIR/hba`.
    pub hba: &'static str,
}

/// One database, everybody trusted, transaction pooling.
pub const INI: Ini = Ini {
    databases: "app = $PG dbname=postgres",
    settings: "",
    users: "",
    userlist: "\"admin\" \"\"\n\"watcher\" \"\"\n\"alice\" \"\"\n\"bob\" \"\"\n\"pgbouncer\" \"\"\n",
    hba: "",
};

/// The roles of the server; who has a password has `secret-NAME`.
const ROLES: &[&str] = &[
    // A verifier with a salt that is known, so that a userlist can have the same.
    "CREATE ROLE scram LOGIN PASSWORD 'SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$qPDlHsgeYaVazPmBtJA0+QMRLCBdNq5RfEUk4Q6Ulo8=:FqMywPLEzjJ0dvJUr55C4f20Sxz68mQxlVyvW2eSifc='",
    "SET password_encryption = 'md5'; CREATE ROLE md5 LOGIN PASSWORD 'secret-md5'",
    "CREATE ROLE alice LOGIN PASSWORD 'secret-alice'",
    "CREATE ROLE bob LOGIN PASSWORD 'secret-bob'",
    "CREATE ROLE forced LOGIN",
    "CREATE ROLE lookup SUPERUSER LOGIN",
    "CREATE DATABASE other",
    "CREATE TABLE copied (n int, t text)",
    "GRANT ALL ON copied TO PUBLIC",
];

const HBA: &str = "host all scram 127.0.0.1/32 scram-sha-256
host all md5 127.0.0.1/32 md5
host all all 127.0.0.1/32 trust";

/// PostgreSQL, and certificates beside its data: of the pooler, `server`, and of clients, `alice`
/// and `stranger`, all from `ca`.
pub struct Server {
    postgres: Postgres,
    certificates: PathBuf,
}

impl std::ops::Deref for Server {
    type Target = Postgres;

    fn deref(&self) -> &Postgres {
        &self.postgres
    }
}

impl Server {
    fn start() -> Server {
        let postgres = Postgres::with_hba(HBA, ROLES);
        let scratch = Scratch::new("certificates");
        let made = Certificates::new(&scratch.0);
        made.issue("ca", "alice", "alice");
        made.issue("ca", "stranger", "stranger");
        let mut certificates = PathBuf::new();
        for name in ["ca", "other", "server", "alice", "stranger"] {
            for kind in ["crt", "key"] {
                // Where a pooler that is not root may read them, too.
                let given = postgres.give(&made.path(&format!("{name}.{kind}")));
                certificates = given.parent().unwrap().to_owned();
            }
        }
        Server {
            postgres,
            certificates,
        }
    }

    pub fn certificates(&self) -> &str {
        self.certificates.to_str().unwrap()
    }
}

/// One server for all scenarios that run at the same time.
pub fn server() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    shared(&SHARED)
}

/// Another, which can TLS, wants it of the role `tls` and does not of `plain`.
pub fn secure_server() -> Arc<Server> {
    let server = Server::start();
    for sql in [
        "CREATE ROLE tls LOGIN",
        "CREATE ROLE plain LOGIN",
        "ALTER SYSTEM SET ssl_cert_file = 'server.crt'",
        "ALTER SYSTEM SET ssl_key_file = 'server.key'",
        "ALTER SYSTEM SET ssl = on",
    ] {
        server.sql(sql);
    }
    server.set_hba(&format!(
        "hostssl all tls 127.0.0.1/32 trust\nhostnossl all plain 127.0.0.1/32 trust\n\
         host all tls,plain 127.0.0.1/32 reject\n{HBA}"
    ));
    Arc::new(server)
}

fn shared(one: &Mutex<Weak<Server>>) -> Arc<Server> {
    // A test that failed while it held the lock has not harmed the server.
    let mut shared = one.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(running) = shared.upgrade() {
        return running;
    }
    let started = Arc::new(Server::start());
    *shared = Arc::downgrade(&started);
    started
}

/// A running pooler.
pub struct Pooler {
    pub side: Side,
    pub port: u16,
    /// What the names in the files stand for.
    places: [(&'static str, String); 4],
    child: Child,
    /// The one that another has taken over from.
    before: Option<Child>,
    scratch: Scratch,
}

impl Pooler {
    /// Starts it and waits until it listens.
    pub fn start(side: Side, server: &Server, ini: &Ini) -> Pooler {
        let mut said = String::new();
        // Another test may have taken the port meanwhile.
        for _ in 0..3 {
            let mut pooler = Pooler::launch(side, server, ini);
            let deadline = Instant::now() + Duration::from_secs(30);
            let own = pooler.scratch.0.join(format!(".s.PGSQL.{}", pooler.port));
            while pooler.exited().is_none() {
                // The port alone may be another's.
                if own.exists() && TcpStream::connect(("127.0.0.1", pooler.port)).is_ok() {
                    return pooler;
                }
                assert!(Instant::now() < deadline, "{side:?}: {}", pooler.log());
                std::thread::sleep(Duration::from_millis(5));
            }
            said = pooler.log();
        }
        panic!("{side:?} does not start: {said}");
    }

    /// Starts it, without waiting for anything.
    pub fn launch(side: Side, server: &Server, ini: &Ini) -> Pooler {
        let scratch = Scratch::new("pooler");
        let port = free_port();
        let log = fs::File::create(scratch.0.join("log")).unwrap();
        let places = [
            ("$PG", format!("host=127.0.0.1 port={}", server.port)),
            ("$NAMED", format!("host=localhost port={}", server.port)),
            ("$DIR", scratch.0.display().to_string()),
            ("$CERTS", server.certificates().to_owned()),
        ];
        write_files(&scratch.0, port, &places, ini);
        if is_root() {
            std::os::unix::fs::chown(&scratch.0, Some(65534), Some(65534)).unwrap();
        }
        Pooler {
            side,
            port,
            places,
            child: run(side, &scratch.0, &[], log),
            before: None,
            scratch,
        }
    }

    /// Starts another process that takes over, and waits until it has.
    pub fn restart(&mut self) {
        let path = self.scratch.0.join("log of the next");
        let log = fs::File::create(&path).unwrap();
        let next = run(self.side, &self.scratch.0, &["-R"], log);
        self.before = Some(std::mem::replace(&mut self.child, next));
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let log = fs::read_to_string(&path).unwrap();
            if log.contains("process up") || log.contains("pgweir is ready") {
                return;
            }
            assert!(self.exited().is_none(), "{:?}: {log}", self.side);
            assert!(Instant::now() < deadline, "{:?}: {log}", self.side);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How the process ended that was before.
    pub fn wait_exit_of_the_old(&mut self) -> ExitStatus {
        let old = self.before.as_mut().expect("there was one before");
        ends(old).unwrap_or_else(|| panic!("{:?} does not exit: {}", self.side, self.log()))
    }

    pub fn dir(&self) -> &Path {
        &self.scratch.0
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.0.join("log")).unwrap_or_default()
    }

    /// Puts other files in place; the pooler is not told.
    pub fn rewrite(&self, ini: &Ini) {
        write_files(&self.scratch.0, self.port, &self.places, ini);
    }

    pub fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Fails when it does not exit in time.
    pub fn wait_exit(&mut self) -> ExitStatus {
        ends(&mut self.child)
            .unwrap_or_else(|| panic!("{:?} does not exit: {}", self.side, self.log()))
    }
}

/// How a process ends, if it does so in time.
fn ends(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// PgBouncer does not run as root; and both are to see their operators with the same eyes.
fn run(side: Side, dir: &Path, arguments: &[&str], log: fs::File) -> Child {
    unprivileged(&mut Command::new(side.program()))
        .args(arguments)
        .arg(dir.join("pgbouncer.ini"))
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for Pooler {
    fn drop(&mut self) {
        for child in self.before.iter_mut().chain([&mut self.child]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn write_files(dir: &Path, port: u16, places: &[(&str, String)], ini: &Ini) {
    let Ini {
        databases,
        settings,
        users,
        userlist,
        hba,
    } = ini;
    let text = format!(
        "[databases]\n{databases}\n[users]\n{users}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir = $DIR\nauth_file = $DIR/userlist.txt\n\
         admin_users = admin\nstats_users = watcher\nauth_type = trust\npool_mode = transaction\n\
         server_login_retry = 0.1\n{settings}\n"
    );
    let text = places
        .iter()
        .fold(text, |text, (name, place)| text.replace(name, place));
    fs::write(dir.join("pgbouncer.ini"), text).unwrap();
    fs::write(dir.join("userlist.txt"), userlist).unwrap();
    fs::write(dir.join("hba"), hba).unwrap();
}
