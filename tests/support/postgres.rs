//! A throw-away PostgreSQL server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Scratch, Wire, free_port, is_root, kill, unprivileged};

pub(super) fn postgres_bin(version: u32) -> PathBuf {
    let variable = format!("PGWEIR_PG_BIN_{version}");
    let named = std::env::var(&variable).map(PathBuf::from);
    let bin = named.unwrap_or_else(|_| format!("/usr/lib/postgresql/{version}/bin").into());
    assert!(
        bin.join("postgres").exists(),
        "no PostgreSQL in {}: run scripts/test, or set {variable}",
        bin.display()
    );
    bin
}

/// A throw-away server; user `postgres`, no passwords.
pub struct Postgres {
    pub port: u16,
    pub(super) bin: PathBuf,
    pub(super) child: Child,
    pub(super) scratch: Scratch,
}

impl Postgres {
    pub fn start() -> Postgres {
        Postgres::start_version(15)
    }

    /// Versions other than 15 are installed by `scripts/test`, which also says where they are.
    pub fn start_version(version: u32) -> Postgres {
        let bin = postgres_bin(version);
        let scratch = Scratch::new("pg");
        if is_root() {
            std::os::unix::fs::chown(&scratch.0, Some(65534), Some(65534)).unwrap();
        }
        copy(&template(&bin), &scratch.0.join("data"));
        let port = free_port();
        let child = Postgres::launch(&bin, &scratch.0, port);
        Postgres {
            port,
            bin,
            child,
            scratch,
        }
    }

    pub(super) fn launch(bin: &Path, dir: &Path, port: u16) -> Child {
        let log = fs::File::create(dir.join("log")).unwrap();
        let child = unprivileged(&mut Command::new(bin.join("postgres")))
            .arg("-D")
            .arg(dir.join("data"))
            .args(["-p", &port.to_string(), "-k", ""])
            .args(["-c", "fsync=off", "-c", "max_connections=100"])
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "wal_level=logical",
            ])
            .current_dir("/")
            .stderr(log)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while Wire::try_connect(port, "postgres", "postgres").is_err() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        child
    }

    /// SIGINT is a fast shutdown: sessions are ended with 57P01.
    pub fn restart(&mut self) {
        self.signal("-INT");
        self.child.wait().unwrap();
        self.child = Postgres::launch(&self.bin, &self.scratch.0, self.port);
    }

    pub fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    pub fn client(&self) -> Wire {
        Wire::connect(self.port, "postgres", "postgres")
    }
}

/// A data directory as `initdb` leaves it, made once for each server version: a copy takes a tenth
/// of the time.
fn template(bin: &Path) -> PathBuf {
    static KNOWN: Mutex<BTreeMap<PathBuf, PathBuf>> = Mutex::new(BTreeMap::new());
    // A test that fails here has inserted nothing, so the others may go on.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let place = known.entry(bin.to_owned());
    place.or_insert_with(|| find_or_make(bin)).clone()
}

/// What earlier test programs have made is used again.
fn find_or_make(bin: &Path) -> PathBuf {
    let version = Command::new(bin.join("postgres"))
        .arg("--version")
        .output()
        .unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let name: String = version
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '.')
        .collect();
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = tmp.join(&name);
    if place.exists() {
        return place;
    }
    let scratch = Scratch::new("template");
    if is_root() {
        std::os::unix::fs::chown(&scratch.0, Some(65534), Some(65534)).unwrap();
    }
    let data = scratch.0.join("data");
    let initdb = unprivileged(&mut Command::new(bin.join("initdb")))
        .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"])
        .arg("-D")
        .arg(&data)
        .current_dir("/")
        .output()
        .unwrap();
    assert!(initdb.status.success(), "{initdb:?}");
    // Complete or not there at all: another test program may be looking for it right now.
    let nearly = tmp.join(format!("{name}-{}", std::process::id()));
    copy(&data, &nearly);
    if fs::rename(&nearly, &place).is_err() {
        fs::remove_dir_all(&nearly).unwrap();
    }
    place
}

/// With owners and permissions: both must be right for PostgreSQL.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.unwrap().success());
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A test that has failed may have left it dead.
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal("-QUIT");
        // Or it may have stopped it.
        self.signal("-CONT");
        let _ = self.child.wait();
    }
}
