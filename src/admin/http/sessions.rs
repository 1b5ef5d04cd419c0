//! Browsers that have logged in. In memory only: a restart logs everybody out.
//!
//! Pure: time and tokens are arguments.

use std::fmt;
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, digest};

use crate::auth::secret::Secret;

/// So many are remembered; of more, the oldest has to log in again.
const SESSIONS_MAX: usize = 64;
/// After that one has to log in again, whatever one does.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Viewer,
    Admin,
}

struct Session {
    /// A hash of the token, so that comparing takes as long whatever is right about it.
    token: digest::Digest,
    role: Role,
    /// What it was let in with: when that changes, it is out.
    secret: Secret,
    began: Instant,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?})", self.role)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sessions(Vec<Session>);

fn hash(token: &str) -> digest::Digest {
    digest::digest(&digest::SHA256, token.as_bytes())
}

impl Sessions {
    pub fn enter(&mut self, token: &str, role: Role, secret: Secret, now: Instant) {
        self.0
            .retain(|s| now.saturating_duration_since(s.began) < LIFETIME);
        if self.0.len() >= SESSIONS_MAX {
            self.0.remove(0);
        }
        self.0.push(Session {
            token: hash(token),
            role,
            secret,
            began: now,
        });
    }

    /// What the one with this token may do; `current` gives what a role takes now.
    pub fn role(
        &self,
        token: &str,
        current: impl Fn(Role) -> Option<Secret>,
        now: Instant,
    ) -> Option<Role> {
        let session = self.find(token).map(|at| &self.0[at])?;
        let is_fresh = now.saturating_duration_since(session.began) < LIFETIME;
        let holds = current(session.role).is_some_and(|secret| secret == session.secret);
        (is_fresh && holds).then_some(session.role)
    }

    pub fn leave(&mut self, token: &str) {
        if let Some(at) = self.find(token) {
            self.0.remove(at);
        }
    }

    fn find(&self, token: &str) -> Option<usize> {
        let token = hash(token);
        self.0.iter().position(|session| {
            constant_time::verify_slices_are_equal(session.token.as_ref(), token.as_ref()).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from(text)
    }

    #[test]
    fn a_session_ends_with_its_time_its_password_or_by_itself() {
        let mut sessions = Sessions::default();
        let now = Instant::now();
        let current = |_| Some(secret("one"));
        sessions.enter("t", Role::Admin, secret("one"), now);
        assert_eq!(sessions.role("t", current, now), Some(Role::Admin));
        assert_eq!(sessions.role("u", current, now), None);
        assert_eq!(sessions.role("", current, now), None);
        assert_eq!(sessions.role("t", current, now + LIFETIME), None);
        assert_eq!(sessions.role("t", |_| Some(secret("two")), now), None);
        assert_eq!(sessions.role("t", |_| None, now), None);
        sessions.leave("t");
        assert_eq!(sessions.role("t", current, now), None);
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut sessions = Sessions::default();
        let now = Instant::now();
        for n in 0..=SESSIONS_MAX {
            sessions.enter(&n.to_string(), Role::Viewer, secret("one"), now);
        }
        let role = |token: &str| sessions.role(token, |_| Some(secret("one")), now);
        assert_eq!(sessions.0.len(), SESSIONS_MAX);
        assert_eq!((role("0"), role("1")), (None, Some(Role::Viewer)));
    }
}
