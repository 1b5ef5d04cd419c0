//! `pgweir health`: asks a running pgweir how it is by its HTTP port, for images and units that have no
//! curl. No TLS and no redirects: the port is plain HTTP, and on the same machine.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// More than any of the answers.
const ANSWER_MAX: u64 = 64 * 1024;

/// Why it is not known to be well.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    #[error("{0:?} is no address such as http://127.0.0.1:9127/readyz")]
    Url(String),
    #[error("{0}: {1}")]
    Io(String, io::Error),
    #[error("{0}: this is no HTTP")]
    NotHttp(String),
    #[error("{url}: {status}: {said}")]
    Unwell {
        url: String,
        status: u16,
        said: String,
    },
}

/// Asks, and gives what it says of itself.
///
/// # Errors
/// No answer within `limit`, or another one than 200.
pub fn ask(url: &str, limit: Duration) -> Result<String, HealthError> {
    let (authority, path) = parts(url).ok_or_else(|| HealthError::Url(url.to_owned()))?;
    let lost = |error| HealthError::Io(url.to_owned(), error);
    let answer = exchange(authority, path, Instant::now() + limit).map_err(lost)?;
    let (status, said) = read(&answer).ok_or_else(|| HealthError::NotHttp(url.to_owned()))?;
    let said = said.trim().to_owned();
    match status {
        200 => Ok(said),
        _ => Err(HealthError::Unwell {
            url: url.to_owned(),
            status,
            said,
        }),
    }
}

/// Host and port, and the path.
fn parts(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = authority.rsplit_once(':')?;
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    if host.is_empty() || port.parse::<u16>().is_err() || !is_plain(url) {
        return None;
    }
    Some((authority, if path.is_empty() { "/" } else { path }))
}

fn exchange(authority: &str, path: &str, deadline: Instant) -> io::Result<String> {
    let mut stream = connect(authority, deadline)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: pgweir\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while (answer.len() as u64) < ANSWER_MAX {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// To the first of its addresses that takes us.
fn connect(authority: &str, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let addresses: Vec<SocketAddr> = authority.to_socket_addrs()?.collect();
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

/// Status and body.
fn read(answer: &str) -> Option<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let rest = head.strip_prefix("HTTP/1.")?;
    let status = rest.split(' ').nth(1)?.parse().ok()?;
    Some((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(
            parts("http://127.0.0.1:9127/readyz"),
            Some(("127.0.0.1:9127", "/readyz"))
        );
        assert_eq!(parts("http://[::1]:80"), Some(("[::1]:80", "/")));
        for bad in [
            "127.0.0.1:9127/readyz",
            "https://a:1/",
            "http://a/",
            "http://:1/",
            "http://a:99999/",
            "http://a:1/\r\nX: y",
        ] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }

    #[test]
    fn answers_are_read() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\nstarting\n";
        assert_eq!(read(answer), Some((503, "starting\n")));
        assert_eq!(read("HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(read("SSH-2.0-x\r\n\r\n"), None);
    }

    #[test]
    fn who_says_nothing_is_not_waited_for() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/healthz", silent.local_addr().unwrap());
        let began = Instant::now();
        let error = ask(&url, Duration::from_millis(200)).unwrap_err();
        assert!(matches!(&error, HealthError::Io(_, e) if e.kind() == io::ErrorKind::TimedOut));
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
