use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::*;
use crate::server::connect::ServerError;

/// A directory of its own, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("pgweir-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn write(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.0.join("password")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn shell(script: &str, refresh: Duration) -> Passwords {
    let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Passwords::new(PasswordSource::Command { command, refresh })
}

/// Prints what is in the file, and counts in another how often it runs.
fn counting(dir: &Path, refresh: Duration) -> Passwords {
    let dir = dir.display();
    shell(
        &format!("echo x >>{dir}/runs; sleep 0.1; cat {dir}/password"),
        refresh,
    )
}

fn runs(dir: &Path) -> usize {
    let runs = std::fs::read_to_string(dir.join("runs"));
    runs.unwrap_or_default().lines().count()
}

const LONG: Duration = Duration::from_secs(600);

fn refusal() -> ConnectError {
    ConnectError::Server(Box::new(ServerError {
        severity: "FATAL".to_owned(),
        code: "28P01".to_owned(),
        message: "no".to_owned(),
        raw: bytes::Bytes::new(),
    }))
}

/// A server that knows one password; gives how often it was tried.
async fn log_in(passwords: &Passwords, right: &str) -> (bool, usize) {
    let tries = Cell::new(0);
    let outcome = passwords
        .connect_with(|credentials| {
            tries.set(tries.get() + 1);
            let is_right = match credentials {
                Credentials::Secret(Secret::Plain(p)) => *p == *right,
                _ => false,
            };
            std::future::ready(is_right.then_some(()).ok_or_else(refusal))
        })
        .await;
    (outcome.is_ok(), tries.get())
}

#[tokio::test]
async fn a_command_is_run_once_for_all_who_wait_and_again_when_the_server_refuses() {
    let scratch = Scratch::new("command");
    scratch.write("first\n");
    let passwords = counting(&scratch.0, LONG);
    let both = tokio::join!(log_in(&passwords, "first"), log_in(&passwords, "first"));
    assert_eq!(both, ((true, 1), (true, 1)));
    assert_eq!(runs(&scratch.0), 1);
    // The password changes on the server, and then where the command finds it.
    scratch.write("second\n");
    tokio::time::sleep(ASK_AGAIN).await;
    let both = tokio::join!(log_in(&passwords, "second"), log_in(&passwords, "second"));
    assert!(both.0.0 && both.1.0, "{both:?}");
    assert_eq!(runs(&scratch.0), 2);
    // A wrong one does not make it run for each login.
    tokio::time::sleep(ASK_AGAIN).await;
    for _ in 0..3 {
        assert_eq!(log_in(&passwords, "third").await, (false, 1));
    }
    assert_eq!(runs(&scratch.0), 3);
}

#[tokio::test]
async fn a_command_that_fails_leaves_the_old_password() {
    let scratch = Scratch::new("failing");
    scratch.write("good\n");
    let passwords = counting(&scratch.0, Duration::from_millis(1));
    assert_eq!(log_in(&passwords, "good").await, (true, 1));
    std::fs::remove_file(scratch.file()).unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    for _ in 0..3 {
        assert_eq!(log_in(&passwords, "good").await, (true, 1));
    }
    assert_eq!(
        runs(&scratch.0),
        2,
        "it is not run for each login while it fails"
    );
}

#[tokio::test]
async fn a_password_that_is_old_is_asked_for_again() {
    let scratch = Scratch::new("refresh");
    scratch.write("one\n");
    let passwords = counting(&scratch.0, Duration::from_millis(200));
    assert_eq!(log_in(&passwords, "one").await, (true, 1));
    scratch.write("two\n");
    assert_eq!(log_in(&passwords, "one").await, (true, 1));
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(log_in(&passwords, "two").await, (true, 1));
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let scratch = Scratch::new("file");
    scratch.write("one\r\nrest");
    let passwords = Passwords::new(PasswordSource::File(scratch.file()));
    assert_eq!(log_in(&passwords, "one").await, (true, 1));
    scratch.write("other");
    assert_eq!(log_in(&passwords, "other").await, (true, 1));
    // Replaced by renaming, and gone.
    std::fs::write(scratch.0.join("new"), "third").unwrap();
    std::fs::rename(scratch.0.join("new"), scratch.file()).unwrap();
    assert_eq!(log_in(&passwords, "third").await, (true, 1));
    std::fs::remove_file(scratch.file()).unwrap();
    assert_eq!(log_in(&passwords, "third").await, (true, 1));
    scratch.write("");
    assert_eq!(log_in(&passwords, "third").await, (true, 1));
}

#[tokio::test]
async fn what_is_no_password_is_an_error_that_says_why() {
    let error = async |script: &str| {
        let tried = Cell::new(false);
        let passwords = shell(script, LONG);
        let outcome = passwords.connect_with(|_| {
            tried.set(true);
            std::future::ready(Ok(()))
        });
        let outcome = outcome.await;
        assert!(!tried.get(), "{script}");
        let error = outcome.unwrap_err();
        assert!(error.is_transient());
        error.to_string()
    };
    assert!(error("exit 3").await.contains("exit status: 3"));
    assert!(
        error("echo secret; exit 1")
            .await
            .contains("exit status: 1")
    );
    let unusable = PasswordError::Unusable.to_string();
    for script in [
        "true",
        "echo",
        "printf '\\303'",
        "printf 'a\\0b'",
        "head -c 70000 /dev/zero | tr '\\0' a",
    ] {
        assert_eq!(error(script).await, unusable, "{script}");
    }
    let missing = vec!["/nonexistent/program".to_owned()];
    let refresh = LONG;
    let passwords = Passwords::new(PasswordSource::Command {
        command: missing,
        refresh,
    });
    let failed = passwords.current().await.unwrap_err().to_string();
    assert!(failed.contains("cannot be run"), "{failed}");
    let gone = Passwords::new(PasswordSource::File("/nonexistent/file".into()));
    assert!(matches!(gone.current().await, Err(PasswordError::File(_))));
}

#[tokio::test]
async fn much_output_and_a_long_password_are_no_trouble() {
    let script = "head -c 60000 /dev/zero | tr '\\0' a; echo; yes | head -c 1000000; yes >&2 & sleep 0.1; kill $!";
    let passwords = shell(script, LONG);
    assert_eq!(passwords.current().await.unwrap().len(), 60_000);
}

#[tokio::test]
async fn a_command_that_hangs_is_ended_with_what_it_has_started() {
    let scratch = Scratch::new("hanging");
    let pid = scratch.0.join("pid");
    let script = format!("sleep 1000 & echo $! >{}; wait", pid.display());
    let began = Instant::now();
    let outcome = shell(&script, LONG).current().await;
    assert_eq!(outcome, Err(PasswordError::TooSlow));
    assert!(began.elapsed() < LIMIT + Duration::from_secs(5));
    let started = std::fs::read_to_string(pid).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    // Gone, or waiting for whoever inherits it.
    let runs = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", started.trim()));
        stat.is_ok_and(|stat| !stat.contains(") Z"))
    };
    while runs() {
        assert!(Instant::now() < deadline, "{started} still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
