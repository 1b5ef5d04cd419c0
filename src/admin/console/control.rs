//! The commands that hold clients up, and those that close connections.

use std::time::{Duration, Instant};

use super::Console;
use crate::admin::session::{Answer, Until};
use crate::client::info::Control;
use crate::pool::Pool;
use crate::pool::registry::pausing::Hold;
use crate::protocol::sqlstate;

fn wrong(message: impl Into<String>) -> Answer {
    Answer::Error(sqlstate::PROTOCOL_VIOLATION, message.into())
}

fn done(tag: &'static str) -> Answer {
    Answer::Done(tag.into(), Vec::new())
}

impl Console {
    /// Whether there is such a database, and it is not the console's own.
    fn find(&self, database: &str, verb: &str) -> Result<(), Answer> {
        if matches!(database, "pgweir" | "pgbouncer") {
            return Err(wrong(format!("cannot {verb} admin db: {database}")));
        }
        match self.config().database(database) {
            Some(_) => Ok(()),
            None => Err(wrong(format!("no such database: {database}"))),
        }
    }

    pub(super) fn pause(&self, database: Option<String>) -> Answer {
        match &database {
            None => {
                if let Err(error) = self.pools.hold_all(Hold::Pause) {
                    return wrong(error.to_string());
                }
            }
            Some(name) => {
                if let Err(answer) = self.find(name, "pause") {
                    return answer;
                }
                self.pools.set_paused(name, true);
            }
        }
        Answer::Wait("PAUSE", Until::Quiet(database))
    }

    pub(super) fn resume(&self, database: Option<&str>) -> Answer {
        let Some(name) = database else {
            return match self.pools.resume_all() {
                Ok(()) => done("RESUME"),
                Err(error) => wrong(error.to_string()),
            };
        };
        if let Err(answer) = self.find(name, "resume") {
            return answer;
        }
        match self.pools.set_paused(name, false) {
            true => done("RESUME"),
            false => wrong(format!("database {name} is not paused")),
        }
    }

    /// Clients wait; what is under way goes on to the end of its transaction, for `suspend_timeout`.
    pub(super) fn suspend(&self) -> Answer {
        match self.pools.hold_all(Hold::Suspend) {
            Ok(()) => Answer::Wait("SUSPEND", Until::Suspended(Instant::now())),
            Err(error) => wrong(error.to_string()),
        }
    }

    pub(super) fn set_disabled(&self, database: &str, disabled: bool) -> Answer {
        let (tag, verb) = match disabled {
            true => ("DISABLE", "disable"),
            false => ("ENABLE", "enable"),
        };
        if let Err(answer) = self.find(database, verb) {
            return answer;
        }
        self.pools.set_disabled(database, disabled);
        done(tag)
    }

    /// Closes all connections at once; what is killed stays paused.
    pub(super) fn kill(&self, database: Option<&str>) -> Answer {
        match database {
            None => {
                // Paused already is as good.
                let _ = self.pools.hold_all(Hold::Pause);
            }
            Some(name) => {
                if let Err(answer) = self.find(name, "kill") {
                    return answer;
                }
                self.pools.set_paused(name, true);
            }
        }
        self.directory.for_each(|client| {
            if database.is_none_or(|name| *client.database == *name) {
                client.request(Control::Kill);
            }
        });
        let which = database.unwrap_or("all databases");
        self.journal
            .warn("kill", format!("{which}: all connections closed"));
        for pool in self.pools.of(database) {
            pool.kill();
        }
        Answer::Wait("KILL", Until::Quiet(database.map(str::to_owned)))
    }

    pub(super) fn reconnect(&self, database: Option<&str>) -> Answer {
        if let Some(name) = database
            && let Err(answer) = self.find(name, "reconnect")
        {
            return answer;
        }
        let which = database.unwrap_or("all databases");
        self.journal
            .info("reconnect", format!("{which}: new server connections"));
        for pool in self.pools.of(database) {
            pool.reconnect();
        }
        done("RECONNECT")
    }

    pub(super) fn wait_close(&self, database: Option<String>) -> Answer {
        if let Some(name) = &database
            && let Err(answer) = self.find(name, "wait in")
        {
            return answer;
        }
        Answer::Wait("WAIT_CLOSE", Until::Closed(database))
    }

    /// Whether the wait is over.
    pub(in crate::admin) fn is_over(&self, until: &Until) -> bool {
        let all = |database: &Option<String>, holds: fn(&Pool) -> bool| {
            let pools = self.pools.of(database.as_deref());
            pools.iter().all(|pool| holds(pool))
        };
        match until {
            // Somebody else has resumed it, perhaps.
            Until::Quiet(None) => self.pools.held().is_none() || all(&None, Pool::is_quiet),
            Until::Quiet(Some(name)) => {
                !self.pools.is_paused(name) || all(&Some(name.clone()), Pool::is_quiet)
            }
            Until::Suspended(since) => {
                let limit = self.config().suspend_timeout;
                self.pools.held().is_none()
                    || since.elapsed() >= limit.max(Duration::from_millis(1))
                    || all(&None, Pool::is_quiet)
            }
            Until::Closed(database) => all(database, |pool| !pool.is_closing()),
        }
    }
}
