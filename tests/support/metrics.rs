//! Single values of an exposition, for tests of other things.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::free_port;

/// A port for HTTP.
#[derive(Clone, Copy)]
pub struct Metrics(u16);

impl Metrics {
    pub fn new() -> Metrics {
        Metrics(free_port())
    }

    /// Of the configuration.
    pub fn section(self) -> String {
        format!("\n[http]\nlisten = '127.0.0.1:{}'\n", self.0)
    }

    /// The value of `name{labels}`, as it was a few milliseconds ago at the earliest: an exposition serves
    /// all who ask soon after.
    pub fn value(self, series: &str) -> Option<f64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.0)).unwrap();
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let mut lines = answer.lines().filter_map(|line| line.rsplit_once(' '));
        let (_, value) = lines.find(|(name, _)| *name == series)?;
        Some(value.trim().parse().unwrap())
    }

    /// Errors that pgweir itself has given to clients.
    pub fn client_errors(self, reason: &str) -> f64 {
        let series = format!("pgweir_client_errors_total{{reason=\"{reason}\"}}");
        self.value(&series).expect("all reasons are there")
    }
}
