//! Passwords that others judge: a directory ([`ldap`]) or the operating system ([`pam`]). Both are
//! only there if pgweir was built with them.
//!
//! The user's name and password go to the judge and nowhere else. A judge that cannot be asked has
//! not let the user in; why is told the log, and not the client.

#[cfg(feature = "ldap")]
mod ldap;
#[cfg(feature = "pam")]
mod pam;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::auth::ldap::LdapOptions;

/// Questions to a directory under way at once; the others wait.
const LDAP_AT_ONCE: usize = 32;
/// The same for PAM, each of which takes a thread. A wrong password takes seconds there.
const PAM_AT_ONCE: usize = 16;

/// Bounds how much is asked at once.
#[derive(Debug)]
pub struct Turns {
    #[cfg_attr(not(feature = "ldap"), allow(dead_code))]
    ldap: Semaphore,
    #[cfg_attr(not(feature = "pam"), allow(dead_code))]
    pam: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            ldap: Semaphore::new(LDAP_AT_ONCE),
            pam: Arc::new(Semaphore::new(PAM_AT_ONCE)),
        }
    }
}

/// Who judges.
#[derive(Debug, Clone)]
pub enum Judge {
    Ldap(Arc<LdapOptions>),
    /// The service's name (pam.d(5)).
    Pam(String),
}

impl Judge {
    /// As the client is told.
    pub fn label(&self) -> &'static str {
        match self {
            Judge::Ldap(_) => "LDAP",
            Judge::Pam(_) => "PAM",
        }
    }

    /// Whether the password is this user's. Dropping the future gives up the question, though PAM may
    /// still work on it.
    ///
    /// # Errors
    /// Why there is no verdict.
    pub async fn accepts(
        &self,
        turns: &Turns,
        user: &str,
        password: &str,
        from: Option<IpAddr>,
    ) -> Result<bool, String> {
        // Neither has a use for a name that ends early.
        if user.contains('\0') || password.contains('\0') {
            return Ok(false);
        }
        match self {
            Judge::Ldap(options) => ask_directory(turns, options, user, password).await,
            Judge::Pam(service) => ask_system(turns, service, user, password, from).await,
        }
    }
}

#[cfg(feature = "ldap")]
async fn ask_directory(
    turns: &Turns,
    options: &LdapOptions,
    user: &str,
    password: &str,
) -> Result<bool, String> {
    let _turn = turns.ldap.acquire().await.map_err(|e| e.to_string())?;
    // Boxed: its state is large, and every login would carry room for it, whoever judges.
    Box::pin(ldap::accepts(options, user, password)).await
}

#[cfg(feature = "pam")]
async fn ask_system(
    turns: &Turns,
    service: &str,
    user: &str,
    password: &str,
    from: Option<IpAddr>,
) -> Result<bool, String> {
    let turn = Arc::clone(&turns.pam).acquire_owned().await;
    let turn = turn.map_err(|e| e.to_string())?;
    let question = pam::Question {
        service: service.to_owned(),
        user: user.to_owned(),
        password: password.to_owned(),
        from,
    };
    let asked = tokio::task::spawn_blocking(move || {
        // Until it is over, whether or not somebody still waits for it.
        let _turn = turn;
        question.ask()
    });
    asked.await.map_err(|e| e.to_string())?
}

/// The configuration cannot ask for it, then.
#[cfg(not(feature = "ldap"))]
async fn ask_directory(_: &Turns, _: &LdapOptions, _: &str, _: &str) -> Result<bool, String> {
    Err("this pgweir was built without it".to_owned())
}

#[cfg(not(feature = "pam"))]
async fn ask_system(
    _: &Turns,
    _: &str,
    _: &str,
    _: &str,
    _: Option<IpAddr>,
) -> Result<bool, String> {
    Err("this pgweir was built without it".to_owned())
}
