//! A password in a file.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{LONGEST, PasswordError, first_line};

/// Which file it is, and when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

/// `None`: it is not there.
pub(super) async fn stamp(path: &Path) -> Option<Stamp> {
    let path = path.to_owned();
    let look = move || std::fs::metadata(path).ok().map(|m| Stamp::of(&m));
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

pub(super) async fn read(path: &Path) -> Result<(String, Option<Stamp>), PasswordError> {
    let path = path.to_owned();
    let failed = |error: std::io::Error| PasswordError::File(error.to_string());
    let read = tokio::task::spawn_blocking(move || read_now(path)).await;
    let (bytes, stamp) = read
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(failed)?;
    Ok((first_line(&bytes)?, Some(stamp)))
}

fn read_now(path: PathBuf) -> std::io::Result<(Vec<u8>, Stamp)> {
    let file = std::fs::File::open(path)?;
    // Before it is read: what is written meanwhile is noticed next time.
    let stamp = Stamp::of(&file.metadata()?);
    let mut bytes = Vec::new();
    file.take(LONGEST as u64 + 2).read_to_end(&mut bytes)?;
    Ok((bytes, stamp))
}
