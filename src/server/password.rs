//! Passwords that change while pgweir runs: from a command (a cloud's token, a vault) or from a file
//! that somebody else writes.
//!
//! What was learned last is used until it is too old, the file changes, or the server refuses it. A
//! command or file that fails does not make a password forgotten that may still be good. Whoever needs
//! one while it is being fetched waits for that.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use self::file::Stamp;
use super::auth::Credentials;
use super::connect::{ConnectError, ServerError};
use crate::auth::secret::Secret;
use crate::config::PasswordSource;

mod command;
mod file;
#[cfg(test)]
mod tests;

/// Longest password, in bytes.
const LONGEST: usize = 64 * 1024;
/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(10);
/// A command that has failed is not run again before, as long as there is an old password.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// A server that refuses what a command has just said does not make it run again before.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// SQLSTATEs with which a server refuses a password (invalid_password, and
/// invalid_authorization_specification for methods such as PAM).
const REFUSED: [&str; 2] = ["28P01", "28000"];

/// No password was to be had. Says nothing that a client should not see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("password_command cannot be run: {0}")]
    Start(String),
    #[error("password_command has failed: {0}")]
    Failed(String),
    #[error("password_command has taken longer than {LIMIT:?}")]
    TooSlow,
    #[error("password_file cannot be read: {0}")]
    File(String),
    #[error(
        "the password is empty, is longer than {LONGEST} bytes, has a NUL in it or is not UTF-8"
    )]
    Unusable,
}

/// One source, shared by all who use it.
#[derive(Debug)]
pub struct Passwords {
    source: PasswordSource,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    /// When it was last tried to get one, and how that failed, if it did.
    tried: Option<(Instant, Option<PasswordError>)>,
}

struct Known {
    password: Arc<str>,
    since: Instant,
    /// Of the file that it was in.
    stamp: Option<Stamp>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known")
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

impl Passwords {
    pub fn new(source: PasswordSource) -> Passwords {
        Passwords {
            source,
            state: Mutex::default(),
        }
    }

    pub fn source(&self) -> &PasswordSource {
        &self.source
    }

    /// Connects with the password; once more, with another, if the server refuses it and there is
    /// another by now.
    ///
    /// # Errors
    /// [`ConnectError`] of the last attempt, or why there is no password. That it was refused is
    /// [`ConnectError::PasswordRefused`]: where passwords change, one side may be ahead of the other.
    pub async fn connect_with<T, F>(
        &self,
        connect: impl Fn(Credentials) -> F,
    ) -> Result<T, ConnectError>
    where
        F: Future<Output = Result<T, ConnectError>>,
    {
        let password = self.current().await?;
        let refusal = match connect(plain(&password)).await {
            Err(ConnectError::Server(error)) if is_refusal(&error) => error,
            outcome => return outcome,
        };
        let Some(newer) = self.after_refusal(&password).await else {
            return Err(ConnectError::PasswordRefused(refusal));
        };
        match connect(plain(&newer)).await {
            Err(ConnectError::Server(error)) if is_refusal(&error) => {
                Err(ConnectError::PasswordRefused(error))
            }
            outcome => outcome,
        }
    }

    /// The password to use now.
    async fn current(&self) -> Result<Arc<str>, PasswordError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(known) = &state.known
            && self.is_fresh(known, &state).await
        {
            return Ok(Arc::clone(&known.password));
        }
        // Somebody has tried while we waited, and so need not we.
        let failed = state.tried.as_ref().filter(|(at, _)| *at >= asked);
        if let (None, Some((_, Some(error)))) = (&state.known, failed) {
            return Err(error.clone());
        }
        match (self.fetch(&mut state).await, &state.known) {
            (Ok(()), Some(known)) => Ok(Arc::clone(&known.password)),
            (Ok(()), None) => Err(PasswordError::Unusable),
            (Err(error), Some(known)) => {
                tracing::warn!(%error, "the password that was known is used on");
                Ok(Arc::clone(&known.password))
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn is_fresh(&self, known: &Known, state: &State) -> bool {
        match &self.source {
            PasswordSource::Command { refresh, .. } => {
                let recently = |(at, error): &(Instant, Option<_>)| {
                    error.is_some() && at.elapsed() < TRY_AGAIN
                };
                refresh.is_zero()
                    || known.since.elapsed() < *refresh
                    || state.tried.as_ref().is_some_and(recently)
            }
            PasswordSource::File(path) => {
                // One that is gone for a moment has not changed.
                let now = file::stamp(path).await;
                now.is_none() || now == known.stamp
            }
        }
    }

    /// The server has refused `tried`. Gives another password, if there is one.
    async fn after_refusal(&self, tried: &Arc<str>) -> Option<Arc<str>> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        let other = |state: &State| {
            let known = state.known.as_ref()?;
            (known.password != *tried).then(|| Arc::clone(&known.password))
        };
        if let Some(newer) = other(&state) {
            return Some(newer);
        }
        let just_asked = |(at, _): &(Instant, _)| *at >= asked || at.elapsed() < ASK_AGAIN;
        let is_command = matches!(self.source, PasswordSource::Command { .. });
        if is_command && state.tried.as_ref().is_some_and(just_asked) {
            return None;
        }
        tracing::info!("the server refuses the password: asking for another");
        if let Err(error) = self.fetch(&mut state).await {
            tracing::warn!(%error, "there is no other password");
        }
        other(&state)
    }

    async fn fetch(&self, state: &mut State) -> Result<(), PasswordError> {
        let fetched = match &self.source {
            PasswordSource::Command { command, .. } => {
                command::run(command).await.map(|password| (password, None))
            }
            PasswordSource::File(path) => file::read(path).await,
        };
        let now = Instant::now();
        let outcome = fetched.map(|(password, stamp)| {
            state.known = Some(Known {
                password: password.into(),
                since: now,
                stamp,
            });
        });
        state.tried = Some((now, outcome.clone().err()));
        outcome
    }
}

fn is_refusal(error: &ServerError) -> bool {
    REFUSED.contains(&error.code.as_str())
}

fn plain(password: &Arc<str>) -> Credentials {
    Credentials::Secret(Secret::Plain(Arc::clone(password)))
}

/// The first line, without its end.
fn first_line(bytes: &[u8]) -> Result<String, PasswordError> {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let usable = !line.is_empty() && line.len() <= LONGEST && !line.contains(&0);
    let text = std::str::from_utf8(line).ok().filter(|_| usable);
    text.map(str::to_owned).ok_or(PasswordError::Unusable)
}
