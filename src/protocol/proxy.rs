//! The header with which a load balancer says whom it speaks for: the PROXY protocol, version 1 (a line
//! of text) and version 2 (binary), as HAProxy's proxy-protocol.txt describes it.
//!
//! A header is told from anything else by its first [`FIRST`] bytes, which no PostgreSQL packet begins
//! with. It is never read past its end: what follows belongs to somebody else, perhaps to TLS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// So many bytes are there whether it is a header or the shortest packet of a client.
const FIRST: usize = 8;
/// Longest header of version 1, its line end included.
const LINE_MAX: usize = 107;
/// Longest header of version 2 that is accepted, in bytes: room for more than any address.
const BINARY_MAX: usize = 536;
const LINE_START: &[u8] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;

/// What the bytes so far amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// At least so many bytes more belong to the header.
    More(usize),
    /// It is complete. It names where the client has connected from, or says that the connection is
    /// the load balancer's own (a health check) or of a kind that has no address.
    Done(Option<SocketAddr>),
}

/// The peer does not speak the protocol, though it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("PROXY protocol header expected")]
    Missing,
    #[error("malformed PROXY protocol header")]
    Malformed,
    #[error("PROXY protocol header of more than {BINARY_MAX} bytes")]
    TooLong,
}

/// Looks at the bytes that were read so far: all that earlier calls asked for.
///
/// # Errors
/// [`ProxyError`]: the connection is of no use.
pub fn step(bytes: &[u8]) -> Result<Step, ProxyError> {
    if bytes.len() < FIRST {
        return Ok(Step::More(FIRST - bytes.len()));
    }
    if bytes.starts_with(LINE_START) {
        return line(bytes);
    }
    if bytes[..FIRST] == SIGNATURE[..FIRST] {
        return binary(bytes);
    }
    Err(ProxyError::Missing)
}

/// `PROXY TCP4 SOURCE DESTINATION PORT PORT`, or `PROXY UNKNOWN` and anything.
fn line(bytes: &[u8]) -> Result<Step, ProxyError> {
    let Some(text) = bytes.strip_suffix(b"\r\n") else {
        // The end may be half there.
        let more = if bytes.ends_with(b"\r") { 1 } else { 2 };
        return match bytes.len() + more <= LINE_MAX {
            true => Ok(Step::More(more)),
            false => Err(ProxyError::Malformed),
        };
    };
    let text = std::str::from_utf8(text).map_err(|_| ProxyError::Malformed)?;
    let mut words = text.split(' ').skip(1);
    let mut next = || words.next().ok_or(ProxyError::Malformed);
    let source = match next()? {
        "UNKNOWN" => return Ok(Step::Done(None)),
        "TCP4" => {
            let source: Ipv4Addr = parsed(next()?)?;
            parsed::<Ipv4Addr>(next()?)?;
            IpAddr::V4(source)
        }
        "TCP6" => {
            let source: Ipv6Addr = parsed(next()?)?;
            parsed::<Ipv6Addr>(next()?)?;
            IpAddr::V6(source)
        }
        _ => return Err(ProxyError::Malformed),
    };
    let port = port(next()?)?;
    self::port(next()?)?;
    match words.next() {
        None => Ok(named(source, port)),
        Some(_) => Err(ProxyError::Malformed),
    }
}

fn parsed<T: FromStr>(word: &str) -> Result<T, ProxyError> {
    word.parse().map_err(|_| ProxyError::Malformed)
}

/// Digits only, without leading zeros.
fn port(word: &str) -> Result<u16, ProxyError> {
    let port: u16 = parsed(word)?;
    match port.to_string() == word {
        true => Ok(port),
        false => Err(ProxyError::Malformed),
    }
}

fn binary(bytes: &[u8]) -> Result<Step, ProxyError> {
    if bytes.len() < FIXED {
        return Ok(Step::More(FIXED - bytes.len()));
    }
    let (fixed, body) = bytes.split_at(FIXED);
    let (version, command) = (fixed[12] >> 4, fixed[12] & 0x0f);
    if fixed[..12] != SIGNATURE[..] || version != 2 {
        return Err(ProxyError::Malformed);
    }
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED + length > BINARY_MAX {
        return Err(ProxyError::TooLong);
    }
    match length.checked_sub(body.len()) {
        Some(0) => {}
        Some(more) => return Ok(Step::More(more)),
        None => return Err(ProxyError::Malformed),
    }
    match (command, fixed[13]) {
        // The load balancer's own: addresses in it mean nothing.
        (0, _) => Ok(Step::Done(None)),
        // Unspecified, or a client of the load balancer's Unix socket.
        (1, 0x00 | 0x31) => Ok(Step::Done(None)),
        // TCP over IPv4, over IPv6: both addresses, both ports, and extensions, which tell us nothing.
        (1, 0x11) => v4(body).ok_or(ProxyError::Malformed),
        (1, 0x21) => v6(body).ok_or(ProxyError::Malformed),
        _ => Err(ProxyError::Malformed),
    }
}

fn v4(body: &[u8]) -> Option<Step> {
    let (source, rest) = body.split_first_chunk::<4>()?;
    let (_, rest) = rest.split_first_chunk::<4>()?;
    Some(named(IpAddr::from(*source), ports(rest)?))
}

fn v6(body: &[u8]) -> Option<Step> {
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (_, rest) = rest.split_first_chunk::<16>()?;
    Some(named(IpAddr::from(*source), ports(rest)?))
}

/// The first of two.
fn ports(rest: &[u8]) -> Option<u16> {
    let (ports, _) = rest.split_first_chunk::<4>()?;
    Some(u16::from_be_bytes([ports[0], ports[1]]))
}

/// An IPv4 address inside an IPv6 one counts as what it is: rules are written for it.
fn named(ip: IpAddr, port: u16) -> Step {
    Step::Done(Some(SocketAddr::new(ip.to_canonical(), port)))
}

#[cfg(test)]
mod tests;
