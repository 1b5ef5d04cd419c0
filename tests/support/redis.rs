//! A real Redis.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Scratch, free_port, kill};

/// A throw-away Redis, from Debian's package.
pub struct Redis {
    pub port: u16,
    child: Child,
    _scratch: Scratch,
}

impl Redis {
    pub fn start() -> Redis {
        let scratch = Scratch::new("redis");
        let port = free_port();
        let child = Redis::launch(port, &scratch);
        Redis {
            port,
            child,
            _scratch: scratch,
        }
    }

    fn launch(port: u16, scratch: &Scratch) -> Child {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--daemonize", "no", "--dir"])
            .arg(&scratch.0)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed by scripts/test");
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "Redis does not start");
            thread::sleep(Duration::from_millis(20));
        }
        child
    }

    pub fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn start_again(&mut self) {
        self.child = Redis::launch(self.port, &self._scratch);
    }

    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
