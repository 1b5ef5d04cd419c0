//! A password that a command prints.

use std::io;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{LIMIT, LONGEST, PasswordError, first_line};

/// So much of what it complains about is logged, in bytes.
const COMPLAINT: usize = 4096;

/// What a command has come to.
struct Outcome {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Runs it, with the environment that pgweir has; its first line is the password.
pub(super) async fn run(command: &[String]) -> Result<String, PasswordError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(PasswordError::Start("there is none".to_owned()));
    };
    let start = |error: io::Error| PasswordError::Start(error.to_string());
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // What it starts itself goes with it when it takes too long.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    let outcome = match timeout(LIMIT, wait(&mut child)).await {
        Ok(outcome) => outcome.map_err(|error| PasswordError::Failed(error.to_string()))?,
        Err(_) => {
            end(&mut child).await;
            return Err(PasswordError::TooSlow);
        }
    };
    let password = first_line(&outcome.stdout);
    complain(program, &outcome, password.as_deref().ok());
    if !outcome.status.success() {
        return Err(PasswordError::Failed(outcome.status.to_string()));
    }
    password
}

async fn wait(child: &mut Child) -> io::Result<Outcome> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::join!(
        // One byte too many shows that it is too long.
        beginning(stdout, LONGEST + 3),
        beginning(stderr, COMPLAINT)
    );
    Ok(Outcome {
        status: child.wait().await?,
        stdout: stdout?,
        stderr: stderr?,
    })
}

/// The first bytes of what is said; the rest is read, so that nobody is held up, and dropped.
async fn beginning(from: Option<impl AsyncRead + Unpin>, limit: usize) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let Some(mut from) = from else {
        return Ok(kept);
    };
    let mut chunk = [0; 4096];
    loop {
        let length = from.read(&mut chunk).await?;
        if length == 0 {
            return Ok(kept);
        }
        let room = limit - kept.len();
        kept.extend_from_slice(&chunk[..length.min(room)]);
    }
}

async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(group) = group {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.kill().await;
}

/// Logs what it says to its standard error, where the password must not be.
fn complain(program: &str, outcome: &Outcome, password: Option<&str>) {
    let said = String::from_utf8_lossy(&outcome.stderr);
    let said = match password {
        Some(password) => said.replace(password, "***"),
        None => said.into_owned(),
    };
    for line in said.lines().filter(|line| !line.trim().is_empty()) {
        let line = line.replace(char::is_control, " ");
        match outcome.status.success() {
            true => tracing::info!(program, "password_command says: {line}"),
            false => tracing::warn!(program, "password_command says: {line}"),
        }
    }
}
