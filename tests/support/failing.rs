//! Processes that are stopped, killed, and started under limits.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Pgweir, Postgres, Scratch, Wire, configuration, free_port, kill};

impl Postgres {
    /// The server's process and those of its sessions.
    fn processes(&self) -> Vec<u32> {
        let postmaster = self.child.id();
        let parent = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // After the name, which may have anything in it.
            let fields = stat.rsplit(')').next()?;
            fields.split_whitespace().nth(1)?.parse::<u32>().ok()
        };
        let all = fs::read_dir("/proc").unwrap().flatten();
        let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let children = all.filter(|pid| parent(*pid) == Some(postmaster));
        [postmaster].into_iter().chain(children).collect()
    }

    /// SIGSTOP: the kernel goes on accepting connections, and nobody answers.
    pub fn freeze(&self) {
        self.each("-STOP");
    }

    pub fn thaw(&self) {
        self.each("-CONT");
    }

    fn each(&self, signal: &str) {
        for pid in self.processes() {
            // A session may have ended meanwhile.
            let _ = Command::new("kill")
                .args([signal, &pid.to_string()])
                .stderr(Stdio::null())
                .status();
        }
    }

    /// SIGKILL for all of it, as when the machine fails.
    pub fn crash(&mut self) {
        self.each("-KILL");
        let _ = self.child.wait();
    }

    /// Starts again after a crash.
    pub fn recover(&mut self) {
        self.child = Postgres::launch(&self.bin, &self.scratch.0, self.port);
    }
}

impl Pgweir {
    /// Started by a shell that has run `before`, with variables.
    pub fn start_after(
        before: &str,
        pg_port: u16,
        general: &str,
        variables: &[(&str, &str)],
    ) -> Pgweir {
        let scratch = Scratch::new("weir");
        let port = free_port();
        let config = scratch.0.join("pgweir.toml");
        fs::write(&config, configuration(port, pg_port, general)).unwrap();
        let log = fs::File::create(scratch.0.join("log")).unwrap();
        let child = Command::new("sh")
            .args(["-c", &format!("{before}\nexec \"$0\" \"$1\"")])
            .arg(env!("CARGO_BIN_EXE_pgweir"))
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
        while Wire::raw(port).is_err() {
            assert!(Instant::now() < deadline, "{}", weir.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        weir
    }

    /// Stops the process for so long.
    pub fn freeze_for(&self, time: Duration) {
        kill("-STOP", self.child.id());
        std::thread::sleep(time);
        kill("-CONT", self.child.id());
    }
}
