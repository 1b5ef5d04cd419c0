//! The process itself: as whom it runs, in the background or not, and the file with its number.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal;
use nix::unistd::{self, Pid, User};

use crate::config::Config;

/// Gives up root's rights for those of `name`. Started by that user already, it does nothing.
///
/// # Errors
/// There is no such user, or this process may not become it.
pub fn become_user(name: &str) -> anyhow::Result<()> {
    let user = User::from_name(name)?.with_context(|| format!("no such user: {name}"))?;
    if unistd::geteuid() == user.uid {
        return Ok(());
    }
    if !unistd::geteuid().is_root() {
        bail!("only root can run it as {name}");
    }
    unistd::initgroups(&CString::new(name)?, user.gid)?;
    unistd::setgid(user.gid)?;
    unistd::setuid(user.uid)?;
    Ok(())
}

/// As many file descriptors as this process may have (`ulimit -Hn`), without being asked for: each
/// client needs one. Where that fails, there are as many as before.
pub fn raise_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Goes on in a new process without a terminal; returns in that one only. Nothing may have been
/// started yet.
///
/// # Errors
/// Nobody would hear of it there, or could end it; or the system refuses.
pub fn go_to_background(config: &Config) -> anyhow::Result<()> {
    if config.pidfile.is_none() {
        bail!("running in the background needs pidfile");
    }
    if config.log.file.is_none() && !config.log.syslog {
        bail!("running in the background needs a log file (logfile, log.file) or syslog");
    }
    let here = std::env::current_dir().context("current directory")?;
    daemonize::Daemonize::new()
        .working_directory(here)
        .umask(0o022)
        .start()
        .context("cannot go to the background")
}

/// The file with the process's number; removed at the end.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// # Errors
    /// Another process that has written it is still running.
    pub fn check(path: &Path) -> anyhow::Result<()> {
        if let Some(pid) = running(path) {
            bail!(
                "{} exists: another instance is running (process {pid})",
                path.display()
            );
        }
        Ok(())
    }

    /// To be written when all is ready: whoever sees it takes it for a sign.
    ///
    /// # Errors
    /// As [`PidFile::check`], or it cannot be written.
    pub fn write(path: &Path) -> anyhow::Result<PidFile> {
        PidFile::check(path)?;
        PidFile::take_over(path)
    }

    /// Whoever's number is there: that process ends.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn take_over(path: &Path) -> anyhow::Result<PidFile> {
        let file = PidFile(path.to_owned());
        file.write_again()?;
        Ok(file)
    }

    /// Another process may have written its own number, and has given up.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_again(&self) -> anyhow::Result<()> {
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            // Never empty: somebody may be reading it.
            let options = options.write(true).create(true).truncate(false);
            let mut file = options.open(&self.0)?;
            let text = format!("{}\n", std::process::id());
            file.write_all(text.as_bytes())?;
            file.set_len(text.len() as u64)
        };
        write().with_context(|| format!("pidfile: cannot write {}", self.0.display()))
    }
}

/// The process whose number is in the file, if it is another one and still runs.
fn running(path: &Path) -> Option<i32> {
    let pid: i32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let ours = u32::try_from(pid) == Ok(std::process::id());
    let alive = signal::kill(Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH);
    (pid > 0 && !ours && alive).then_some(pid)
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A process that has taken over writes its own number there.
        let ours = fs::read_to_string(&self.0);
        if ours.is_ok_and(|text| text.trim() == std::process::id().to_string()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// Makes the calling thread yield to others that want a core, as `nice` counts. For good: a thread may not take it
/// back. One that may not do so, as under some sandboxes, goes on as everybody else.
pub fn yield_to_others(niceness: i32) {
    use rustix::process::{getpriority_process, setpriority_process};
    // On Linux both are about the calling thread (setpriority(2), "C library/kernel differences").
    if getpriority_process(None).is_ok_and(|now| now < niceness) {
        let _ = setpriority_process(None, niceness);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_there_as_long_as_the_process() {
        let path = std::env::temp_dir().join(format!("pgweir-pid-{}", std::process::id()));
        let file = PidFile::write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        // Of a process that is gone; of one that runs: the parent of this one.
        fs::write(&path, "2147483646\n").unwrap();
        drop(PidFile::write(&path).unwrap());
        fs::write(&path, format!("{}", unistd::getppid())).unwrap();
        assert!(PidFile::write(&path).is_err());
        fs::remove_file(&path).unwrap();
    }
}
