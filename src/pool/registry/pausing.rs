//! PAUSE, SUSPEND, DISABLE and their opposites: what an operator holds up, in all databases or one.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Inner, Pools};
use crate::pool::Pool;

/// How a pool is held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// Server connections are closed as they become free; clients wait.
    Pause,
    /// Server connections stay open; clients wait.
    Suspend,
}

/// What an operator has said. Names stay here whether there are pools for them or not.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Holds {
    all: Option<Hold>,
    paused: HashSet<String>,
    disabled: HashSet<String>,
}

impl Holds {
    /// What everything is held up by.
    pub fn all(&self) -> Option<Hold> {
        self.all
    }

    /// Databases that are paused by name.
    pub fn paused(&self) -> impl Iterator<Item = &str> {
        self.paused.iter().map(String::as_str)
    }

    /// Databases that take no new clients.
    pub fn disabled(&self) -> impl Iterator<Item = &str> {
        self.disabled.iter().map(String::as_str)
    }

    pub fn of(&self, database: &str) -> Option<Hold> {
        let own = self.paused.contains(database).then_some(Hold::Pause);
        // Of the two the one that closes connections.
        match (self.all, own) {
            (Some(Hold::Suspend), Some(own)) => Some(own),
            (all, own) => all.or(own),
        }
    }
}

/// What is not as the command takes it to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    #[error("already suspended/paused")]
    Already,
    #[error("pooler is not paused/suspended")]
    NotHeld,
}

impl Pools {
    pub fn holds(&self) -> Holds {
        self.inner.lock().holds.clone()
    }

    /// Goes on to hold up what another process did.
    pub fn set_holds(&self, holds: Holds) {
        let mut inner = self.inner.lock();
        inner.holds = holds;
        inner.apply_holds(|_| true);
    }

    /// What holds everything up.
    pub fn held(&self) -> Option<Hold> {
        self.inner.lock().holds.all
    }

    pub fn is_paused(&self, database: &str) -> bool {
        self.inner.lock().holds.paused.contains(database)
    }

    pub fn is_disabled(&self, database: &str) -> bool {
        self.inner.lock().holds.disabled.contains(database)
    }

    /// Holds everything up.
    ///
    /// # Errors
    /// [`HoldError::Already`].
    pub fn hold_all(&self, hold: Hold) -> Result<(), HoldError> {
        let mut inner = self.inner.lock();
        if inner.holds.all.is_some() {
            return Err(HoldError::Already);
        }
        inner.holds.all = Some(hold);
        inner.apply_holds(|_| true);
        Ok(())
    }

    /// Lets go what [`Pools::hold_all`] holds.
    ///
    /// # Errors
    /// [`HoldError::NotHeld`].
    pub fn resume_all(&self) -> Result<(), HoldError> {
        let mut inner = self.inner.lock();
        inner.holds.all.take().ok_or(HoldError::NotHeld)?;
        inner.apply_holds(|_| true);
        Ok(())
    }

    /// Pauses one database, or resumes it; says whether that was a change.
    pub fn set_paused(&self, database: &str, paused: bool) -> bool {
        let mut inner = self.inner.lock();
        let changed = set(&mut inner.holds.paused, database, paused);
        inner.apply_holds(|pool| *pool.database == *database);
        changed
    }

    /// New clients of the database are refused, or no longer.
    pub fn set_disabled(&self, database: &str, disabled: bool) {
        set(&mut self.inner.lock().holds.disabled, database, disabled);
    }

    /// The pools of a database, or all.
    pub fn of(&self, database: Option<&str>) -> Vec<Arc<Pool>> {
        let mut all = self.all();
        all.retain(|pool| database.is_none_or(|name| *pool.database == *name));
        all
    }
}

fn set(names: &mut HashSet<String>, name: &str, on: bool) -> bool {
    match on {
        true => names.insert(name.into()),
        false => names.remove(name),
    }
}

impl Inner {
    fn apply_holds(&self, which: impl Fn(&Pool) -> bool) {
        for pool in self.pools.values().filter(|pool| which(pool)) {
            pool.hold(self.holds.of(&pool.database));
        }
    }
}
