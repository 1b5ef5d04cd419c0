//! The little that reading a configuration needs from the machine, behind a trait, so that
//! everything else is a function of the text.

use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::thread;

/// What [`super::Config::parse_with`] asks the machine.
pub trait Outside {
    /// An environment variable; `None` if it is not set or not UTF-8.
    fn env(&self, name: &str) -> Option<String>;

    /// The text of a file that holds a password.
    ///
    /// # Errors
    /// The file cannot be read or is not UTF-8.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// Whether a file is there and may be read.
    ///
    /// # Errors
    /// It is not, or may not.
    fn check_readable(&self, path: &Path) -> io::Result<()>;

    /// The addresses of a host name to listen on.
    ///
    /// # Errors
    /// The name does not resolve.
    fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>>;

    /// How many threads can run at once; at least 1.
    fn cores(&self) -> usize;
}

/// The machine that we run on.
#[derive(Debug, Clone, Copy)]
pub struct System;

impl Outside for System {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn check_readable(&self, path: &Path) -> io::Result<()> {
        // Opening a directory succeeds; reading it does not.
        fs::File::open(path)?.take(1).read_to_end(&mut Vec::new())?;
        Ok(())
    }

    fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|addr| addr.ip()).collect())
    }

    fn cores(&self) -> usize {
        thread::available_parallelism().map_or(1, |cores| cores.get())
    }
}

/// No machine at all, for checking and fuzzing a text by itself: files are taken to be readable,
/// while a password or an address that only the machine knows is an error.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

impl Outside for Nowhere {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn check_readable(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lookup(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn cores(&self) -> usize {
        1
    }
}
