//! What a new client is told at login: the parameters that hold in its session.
//!
//! The client's startup message may set parameters. Whether a server accepts them, and how it
//! spells their values, only a server can say; so the first client that asks for some set of
//! values has them tried on a server connection, and the answer is remembered.

use std::collections::HashMap;
use std::sync::Arc;

use super::Pool;
use super::lease::LeaseError;
use crate::server::dialogue::DialogueError;
use crate::session::reported::Reported;
use crate::session::settings::{Settings, replay_raw};

/// So many different sets of parameters are remembered.
const REMEMBERED: usize = 512;

/// Names (lower case) and values, sorted.
type Parameters = Box<[(Box<str>, Box<str>)]>;

type Known<K> = HashMap<K, (Settings, Reported), foldhash::quality::RandomState>;

#[derive(Debug, Default)]
pub struct Memory {
    known: Known<Parameters>,
    /// The same with the application's name. Clients that are alike share one copy: it is less to
    /// keep, and whether they are alike is seen by comparing pointers.
    named: Known<(Parameters, Box<str>)>,
}

impl Memory {
    pub fn forget(&mut self) {
        self.known.clear();
        self.named.clear();
    }

    fn with_name(
        &mut self,
        parameters: Parameters,
        name: &str,
        (settings, reported): &(Settings, Reported),
    ) -> (Settings, Reported) {
        if self.named.len() >= REMEMBERED {
            self.named.clear();
        }
        let known = self.named.entry((parameters, name.into()));
        let named = known.or_insert_with(|| {
            let replay = replay_raw("application_name", name);
            let settings = settings.with("application_name", &replay);
            (settings, reported.with("application_name", name))
        });
        named.clone()
    }
}

/// The login cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WelcomeError {
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The server does not accept a startup parameter.
    #[error("{message}")]
    Refused { code: String, message: String },
    #[error(transparent)]
    Dialogue(DialogueError),
}

impl Pool {
    /// The settings that `startup` amounts to, and what the client is to be told.
    ///
    /// # Errors
    /// [`WelcomeError`].
    pub async fn welcome(
        self: &Arc<Pool>,
        startup: &[(String, String)],
    ) -> Result<(Settings, Reported), WelcomeError> {
        let (name, parameters) = canonical(startup);
        let known = self.welcome.lock().known.get(&parameters).cloned();
        let known = match known {
            Some(known) => known,
            None => {
                let tried = self.try_parameters(&parameters).await?;
                let mut memory = self.welcome.lock();
                if memory.known.len() >= REMEMBERED {
                    memory.known.clear();
                }
                memory.known.insert(parameters.clone(), tried.clone());
                tried
            }
        };
        Ok(match name {
            Some(name) => self.welcome.lock().with_name(parameters, name, &known),
            None => known,
        })
    }

    async fn try_parameters(
        self: &Arc<Pool>,
        parameters: &Parameters,
    ) -> Result<(Settings, Reported), WelcomeError> {
        let mut lease = self.lease().await?;
        let server = lease.server();
        let wanted = parameters
            .iter()
            .fold(Settings::default(), |s, (name, value)| {
                s.with(name, &replay_raw(name, value))
            });
        // From the server's defaults, and not from what the client before had: a DateStyle may
        // name its style only, and keeps the order that it finds.
        let forgotten = server.forget_settings().await;
        forgotten.map_err(WelcomeError::Dialogue)?;
        let sql = Settings::default().difference(&wanted);
        server.state.settings = None;
        if !sql.is_empty()
            && let Err(error) = server.simple(&sql).await
        {
            return Err(match error {
                DialogueError::Server { code, message } => {
                    lease.release();
                    WelcomeError::Refused { code, message }
                }
                other => WelcomeError::Dialogue(other),
            });
        }
        let reported = server.state.reported.clone();
        let settings = spelled_by_server(&wanted, parameters, &reported, &server.state.baseline);
        server.state.settings = Some(settings.clone());
        lease.release();
        Ok((settings, reported))
    }
}

/// A reported parameter is kept as the server spells it, and not at all if it says nothing new;
/// then clients that mean the same have equal settings.
fn spelled_by_server(
    wanted: &Settings,
    parameters: &Parameters,
    reported: &Reported,
    baseline: &Reported,
) -> Settings {
    let mut settings = wanted.clone();
    for (name, _) in parameters {
        match reported.get(name) {
            Some(value) if baseline.get(name) == Some(value) => settings = settings.without(name),
            Some(value) => settings = settings.with(name, &replay_raw(name, value)),
            None => {}
        }
    }
    settings
}

/// The application's name apart, because it differs between clients that are alike otherwise, and
/// because a plain one is reported as it is: up to 63 printable ASCII characters.
fn canonical(startup: &[(String, String)]) -> (Option<&str>, Parameters) {
    let mut application_name = None;
    let mut parameters: Vec<(Box<str>, Box<str>)> = Vec::new();
    for (name, value) in startup {
        let name = name.to_lowercase();
        if name == "application_name"
            && value.len() < 64
            && value.bytes().all(|b| (32..127).contains(&b))
        {
            application_name = Some(value.as_str());
            continue;
        }
        parameters.retain(|(n, _)| **n != *name);
        parameters.push((name.into(), value.as_str().into()));
    }
    parameters.sort();
    (
        application_name.filter(|n| !n.is_empty()),
        parameters.into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(n, v)| (n.to_string(), v.to_string()))
            .collect()
    }

    #[test]
    fn the_application_name_is_not_part_of_what_is_remembered() {
        let a = pairs(&[("application_name", "a"), ("TimeZone", "UTC")]);
        let b = pairs(&[("timezone", "UTC"), ("application_name", "b")]);
        assert_eq!(canonical(&a).1, canonical(&b).1);
        assert_eq!(canonical(&a).0, Some("a"));
        // One that the server would change has to be tried.
        let odd = pairs(&[("application_name", "ä")]);
        assert_eq!(canonical(&odd).0, None);
        assert_eq!(canonical(&odd).1.len(), 1);
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        let twice = pairs(&[("DateStyle", "ISO"), ("datestyle", "German")]);
        let (_, parameters) = canonical(&twice);
        assert_eq!(&*parameters[0].1, "German");
        assert_eq!(parameters.len(), 1);
    }

    #[test]
    fn what_is_the_default_anyway_is_not_a_setting() {
        let baseline = Reported::new(vec![
            ("client_encoding".into(), "UTF8".into()),
            ("TimeZone".into(), "UTC".into()),
        ]);
        let reported = baseline.with("TimeZone", "Europe/Berlin");
        let asked = pairs(&[
            ("client_encoding", "utf-8"),
            ("timezone", "europe/berlin"),
            ("work_mem", "1MB"),
        ]);
        let (_, parameters) = canonical(&asked);
        let wanted = parameters.iter().fold(Settings::default(), |s, (n, v)| {
            s.with(n, &replay_raw(n, v))
        });
        let settings = spelled_by_server(&wanted, &parameters, &reported, &baseline);
        assert!(settings.get("client_encoding").is_none());
        assert_eq!(
            &*settings.get("timezone").unwrap().replay,
            replay_raw("timezone", "Europe/Berlin")
        );
        assert!(settings.get("work_mem").is_some());
    }
}
