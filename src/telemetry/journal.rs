//! What has happened that an operator cares about, the newest of it: for the page.
//!
//! A ring in memory, apart from the log: it is there whatever `log.level` says, and holds what changed,
//! not every line about it. What can be seen by looking twice is found by [`look`], so that nothing that
//! serves queries has to report anything; the rest, what operators do, is noted by who does it.

use std::collections::VecDeque;
use std::time::SystemTime;

use parking_lot::Mutex;

pub mod look;

/// So many are kept.
pub const KEPT: usize = 200;
/// Characters of one.
const TEXT_MAX: usize = 300;

/// How much of a matter it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Info,
    Warn,
    /// Something does not work.
    Error,
}

impl Level {
    pub fn label(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    pub level: Level,
    /// One word, of a few.
    pub kind: &'static str,
    pub text: String,
}

/// That, and when.
#[derive(Debug, Clone)]
pub struct Event {
    /// From 1; without gaps.
    pub number: u64,
    pub at: SystemTime,
    pub what: Happening,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Journal(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    last: u64,
    events: VecDeque<Event>,
}

impl Journal {
    pub fn add(&self, mut what: Happening) {
        if let Some((end, _)) = what.text.char_indices().nth(TEXT_MAX) {
            what.text.truncate(end);
        }
        let mut ring = self.0.lock();
        ring.last += 1;
        if ring.events.len() >= KEPT {
            ring.events.pop_front();
        }
        let event = Event {
            number: ring.last,
            at: SystemTime::now(),
            what,
        };
        ring.events.push_back(event);
    }

    pub fn info(&self, kind: &'static str, text: impl Into<String>) {
        let (level, text) = (Level::Info, text.into());
        self.add(Happening { level, kind, text });
    }

    pub fn warn(&self, kind: &'static str, text: impl Into<String>) {
        let (level, text) = (Level::Warn, text.into());
        self.add(Happening { level, kind, text });
    }

    /// The number of the newest; 0: nothing has happened.
    pub fn last(&self) -> u64 {
        self.0.lock().last
    }

    /// All that are kept, the newest first.
    pub fn all(&self) -> Vec<Event> {
        self.0.lock().events.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_none_is_long() {
        let journal = Journal::default();
        assert_eq!((journal.last(), journal.all().len()), (0, 0));
        for n in 1..=KEPT + 5 {
            journal.info("test", n.to_string());
        }
        let all = journal.all();
        assert_eq!(all.len(), KEPT);
        assert_eq!((all[0].number, &*all[0].what.text), (205, "205"));
        assert_eq!(all[KEPT - 1].number, 6);
        journal.warn("test", "ü".repeat(1000));
        assert_eq!(journal.all()[0].what.text.chars().count(), TEXT_MAX);
    }
}
