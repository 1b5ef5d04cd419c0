//! pgweir run as PgBouncer would be: with a `pgbouncer.ini`, sockets, a log file and a pid file.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::{Scratch, Wire, free_port, kill};

/// A running pgweir and its files.
pub struct Ini {
    pub port: u16,
    pub scratch: Scratch,
    child: Option<Child>,
    /// Name of the file that it is started with.
    config: &'static str,
}

impl Ini {
    /// `pgbouncer` are lines of that section, `rest` sections behind it. `postgres` may log in
    /// without a password and is an admin.
    pub fn start(pg_port: u16, pgbouncer: &str, rest: &str) -> Ini {
        let mut ini = Ini::stopped(pg_port, pgbouncer, rest);
        ini.run();
        ini
    }

    /// Only the files.
    pub fn stopped(pg_port: u16, pgbouncer: &str, rest: &str) -> Ini {
        let ini = Ini {
            port: free_port(),
            scratch: Scratch::new("ini"),
            child: None,
            config: "pgbouncer.ini",
        };
        ini.write(pg_port, pgbouncer, rest);
        ini
    }

    pub fn write(&self, pg_port: u16, pgbouncer: &str, rest: &str) {
        let dir = self.scratch.0.display();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={pg_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {}\nunix_socket_dir = {dir}\nauth_type = trust\nauth_file = {dir}/userlist.txt\n\
             admin_users = postgres\nlogfile = {dir}/log\npidfile = {dir}/pid\n{pgbouncer}\n{rest}\n",
            self.port
        );
        fs::write(
            self.file("userlist.txt"),
            "\"postgres\" \"\"\n\"amy\" \"secret\"\n",
        )
        .unwrap();
        fs::write(self.file("pgbouncer.ini"), text).unwrap();
    }

    /// Says the same in TOML from now on, with `general` for what only that can say.
    pub fn convert(&mut self, general: &str) {
        let converted = Command::new(env!("CARGO_BIN_EXE_pgweir"))
            .arg("convert")
            .arg(self.file("pgbouncer.ini"))
            .output()
            .unwrap();
        let toml = String::from_utf8(converted.stdout).unwrap();
        let toml = toml.replace("[general]\n", &format!("[general]\n{general}\n"));
        fs::write(self.file("pgweir.toml"), toml).unwrap();
        self.config = "pgweir.toml";
    }

    /// Starts it, again if it has ended.
    pub fn run(&mut self) {
        self.run_with(&[]);
    }

    /// The same, with environment variables.
    pub fn run_with(&mut self, variables: &[(&str, &str)]) {
        self.child = Some(self.launch_with(&[], variables));
    }

    /// A new process takes over; gives the one before it.
    pub fn upgrade(&mut self) -> Child {
        let new = self.launch(&["-R"]);
        self.child.replace(new).expect("it runs")
    }

    /// Starts a process and waits until it is ready.
    pub fn launch(&self, arguments: &[&str]) -> Child {
        self.launch_with(arguments, &[])
    }

    fn launch_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
        let started = |ini: &Ini| ini.log().matches("pgweir is ready").count();
        let before = started(self);
        let mut child = Command::new(env!("CARGO_BIN_EXE_pgweir"))
            .arg("-q")
            .args(arguments)
            .arg(self.file(self.config))
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while started(self) == before {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended: {}",
                self.log()
            );
            assert!(Instant::now() < deadline, "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.0.join(name)
    }

    pub fn log(&self) -> String {
        super::settled(&self.file("log"))
    }

    pub fn connect(&self, database: &str) -> Wire {
        Wire::connect(self.port, "postgres", database)
    }

    pub fn console(&self) -> Wire {
        self.connect("pgbouncer")
    }

    pub fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.file("pid")).unwrap();
        text.trim().parse().unwrap()
    }

    pub fn signal(&self, signal: &str) {
        kill(signal, self.pid());
    }

    /// psql on the Unix socket.
    pub fn psql(&self, user: &str, database: &str, sql: &str) -> Output {
        let target = format!(
            "host={} port={} user={user} dbname={database}",
            self.scratch.0.display(),
            self.port
        );
        let mut psql = Command::new("psql");
        psql.args(["-XAtc", sql, &target]);
        psql.output().expect("psql runs: see scripts/test")
    }

    /// Whether it ended well.
    pub fn wait_exit(&mut self) -> bool {
        let child = self.child.take().expect("it runs");
        self.ends_well(child)
    }

    /// Whether a process of this configuration ended well.
    pub fn ends_well(&self, mut child: Child) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.success();
            }
            assert!(Instant::now() < deadline, "{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Ini {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
