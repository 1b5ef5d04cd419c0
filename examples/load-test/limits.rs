//! Open files: one for each user.

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of this process to what is needed.
///
/// # Errors
/// When the hard limit is lower, with what to do about it.
pub fn raise_open_files(needed: u64) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read RLIMIT_NOFILE")?;
    if soft >= needed {
        return Ok(());
    }
    if hard < needed {
        bail!(
            "needs {needed} open files, but the hard limit is {hard}. Raise it: as root `ulimit -Hn {needed}` \
             in the shell that runs this, for good `* hard nofile {needed}` in /etc/security/limits.conf or \
             LimitNOFILE={needed} in a systemd unit; or ask for fewer users (--stages)"
        );
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).context("cannot raise RLIMIT_NOFILE")
}

/// Clock ticks of a second, in which /proc counts CPU time.
pub fn ticks() -> f64 {
    use nix::unistd::{SysconfVar, sysconf};
    // 100 on every Linux of the last twenty years.
    sysconf(SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .map_or(100.0, |ticks| ticks as f64)
}
