//! What has happened between two looks at the process.
//!
//! Pure. What comes and goes between two looks is not seen, except for what is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Happening, Level};

/// Of the same kind in one look, so many are told one by one; of more, how many there are.
const ONE_BY_ONE: usize = 5;
/// What is counted is told at once, and then not before this has passed again.
const COUNTED_EVERY: Duration = Duration::from_secs(30);

/// What is known of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSeen {
    pub standing: &'static str,
    /// How often its breaker has opened, and whether it is closed.
    pub opened: u64,
    pub is_closed: bool,
}

/// One look.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What all is held up by: "paused" or "suspended".
    pub held: Option<&'static str>,
    /// Databases.
    pub paused: BTreeSet<String>,
    pub disabled: BTreeSet<String>,
    /// Another number: another configuration.
    pub configuration: usize,
    pub is_draining: bool,
    pub hosts: BTreeMap<String, HostSeen>,
    /// Pools that cannot reach their server, with why.
    pub unreachable: BTreeMap<String, String>,
    /// How often that was, in words that follow a number.
    pub counted: BTreeMap<&'static str, u64>,
}

/// Compares looks.
#[derive(Debug, Default)]
pub struct Watch {
    before: Option<Seen>,
    /// What was counted when it was last told, and when that was.
    told: BTreeMap<&'static str, (u64, Duration)>,
}

fn happening(level: Level, kind: &'static str, text: impl Into<String>) -> Happening {
    let text = text.into();
    Happening { level, kind, text }
}

impl Watch {
    /// What has happened since the look before; nothing at the first. `now` is any clock that
    /// does not go back.
    pub fn look(&mut self, seen: Seen, now: Duration) -> Vec<Happening> {
        let mut happened = Vec::new();
        let Some(before) = self.before.take() else {
            for (what, count) in &seen.counted {
                self.told.insert(what, (*count, Duration::ZERO));
            }
            self.before = Some(seen);
            return happened;
        };
        process(&before, &seen, &mut happened);
        hosts(&before.hosts, &seen.hosts, &mut happened);
        pools(&before.unreachable, &seen.unreachable, &mut happened);
        self.counted(&seen, now, &mut happened);
        self.before = Some(seen);
        happened
    }

    fn counted(&mut self, seen: &Seen, now: Duration, happened: &mut Vec<Happening>) {
        for (what, count) in &seen.counted {
            let (told, again) = self.told.entry(what).or_default();
            let more = count.saturating_sub(*told);
            if more > 0 && now >= *again {
                happened.push(happening(Level::Warn, "refusal", format!("{more} {what}")));
                (*told, *again) = (*count, now + COUNTED_EVERY);
            }
        }
    }
}

fn process(before: &Seen, seen: &Seen, happened: &mut Vec<Happening>) {
    if before.configuration != seen.configuration {
        happened.push(happening(Level::Info, "reload", "configuration changed"));
    }
    match (before.held, seen.held) {
        (before, Some(held)) if before != Some(held) => {
            happened.push(happening(
                Level::Warn,
                "pause",
                format!("all databases {held}"),
            ));
        }
        (Some(_), None) => happened.push(happening(Level::Info, "resume", "all databases resumed")),
        _ => {}
    }
    let texts = |names: &BTreeSet<String>, others: &BTreeSet<String>, what: &str| {
        let new = names.difference(others);
        new.map(|name| format!("database {name} {what}")).collect()
    };
    let (old, new) = (&before.paused, &seen.paused);
    few(
        Level::Warn,
        "pause",
        "databases paused",
        texts(new, old, "paused"),
        happened,
    );
    few(
        Level::Info,
        "resume",
        "databases resumed",
        texts(old, new, "resumed"),
        happened,
    );
    let (old, new) = (&before.disabled, &seen.disabled);
    few(
        Level::Warn,
        "disable",
        "databases disabled",
        texts(new, old, "disabled"),
        happened,
    );
    few(
        Level::Info,
        "enable",
        "databases enabled",
        texts(old, new, "enabled"),
        happened,
    );
    if seen.is_draining && !before.is_draining {
        happened.push(happening(Level::Warn, "shutdown", "shutting down"));
    }
}

fn hosts(
    before: &BTreeMap<String, HostSeen>,
    seen: &BTreeMap<String, HostSeen>,
    happened: &mut Vec<Happening>,
) {
    let (mut opened, mut closed, mut roles) = (Vec::new(), Vec::new(), Vec::new());
    let unknown = HostSeen {
        is_closed: true,
        standing: "unknown",
        ..HostSeen::default()
    };
    for (host, now) in seen {
        let was = before.get(host).unwrap_or(&unknown);
        if now.opened > was.opened {
            opened.push(format!("{host}: circuit breaker opened"));
        }
        if now.is_closed && (!was.is_closed || now.opened > was.opened) {
            closed.push(format!("{host}: circuit breaker closed"));
        }
        if now.standing != was.standing && now.standing != "unknown" {
            roles.push(format!("{host}: {}, was {}", now.standing, was.standing));
        }
    }
    few(
        Level::Error,
        "breaker",
        "circuit breakers opened",
        opened,
        happened,
    );
    few(
        Level::Info,
        "breaker",
        "circuit breakers closed",
        closed,
        happened,
    );
    few(
        Level::Warn,
        "role",
        "servers have other roles",
        roles,
        happened,
    );
}

fn pools(
    before: &BTreeMap<String, String>,
    seen: &BTreeMap<String, String>,
    happened: &mut Vec<Happening>,
) {
    let down = seen.iter().filter(|(pool, _)| !before.contains_key(*pool));
    let down = down.map(|(pool, why)| format!("pool {pool} is down: {why}"));
    let up = before.keys().filter(|pool| !seen.contains_key(*pool));
    let up = up.map(|pool| format!("pool {pool} is up again, or gone"));
    few(
        Level::Error,
        "pool",
        "pools are down",
        down.collect(),
        happened,
    );
    few(
        Level::Info,
        "pool",
        "pools are up again, or gone",
        up.collect(),
        happened,
    );
}

/// One by one, or their number.
fn few(
    level: Level,
    kind: &'static str,
    many: &str,
    texts: Vec<String>,
    happened: &mut Vec<Happening>,
) {
    if texts.len() > ONE_BY_ONE {
        happened.push(happening(level, kind, format!("{} {many}", texts.len())));
    } else {
        happened.extend(texts.into_iter().map(|text| happening(level, kind, text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(happened: Vec<Happening>) -> Vec<String> {
        happened.into_iter().map(|h| h.text).collect()
    }

    fn after(before: &Seen, seen: &Seen) -> Vec<String> {
        let mut watch = Watch::default();
        assert_eq!(watch.look(before.clone(), Duration::ZERO), []);
        texts(watch.look(seen.clone(), Duration::ZERO))
    }

    #[test]
    fn what_is_held_up_and_let_go() {
        let free = Seen::default();
        let held = Seen {
            held: Some("paused"),
            paused: ["a".to_owned()].into(),
            ..Seen::default()
        };
        assert_eq!(after(&free, &free), [""; 0]);
        assert_eq!(after(&held, &held), [""; 0]);
        assert_eq!(
            after(&free, &held),
            ["all databases paused", "database a paused"]
        );
        assert_eq!(
            after(&held, &free),
            ["all databases resumed", "database a resumed"]
        );
    }

    #[test]
    fn a_breaker_that_was_open_between_two_looks_is_seen() {
        let seen = |opened, is_closed, standing| Seen {
            hosts: [(
                "db:5432".to_owned(),
                HostSeen {
                    standing,
                    opened,
                    is_closed,
                },
            )]
            .into(),
            ..Seen::default()
        };
        let (closed, open) = (seen(0, true, "primary"), seen(1, false, "primary"));
        assert_eq!(after(&closed, &open), ["db:5432: circuit breaker opened"]);
        assert_eq!(
            after(&open, &seen(1, true, "primary")),
            ["db:5432: circuit breaker closed"]
        );
        assert_eq!(
            after(&closed, &seen(1, true, "primary")),
            [
                "db:5432: circuit breaker opened",
                "db:5432: circuit breaker closed"
            ]
        );
        assert_eq!(
            after(&closed, &seen(0, true, "replica")),
            ["db:5432: replica, was primary"]
        );
    }

    #[test]
    fn many_pools_at_once_are_one_event() {
        let down = |count| Seen {
            unreachable: (0..count)
                .map(|n| (format!("d{n}.u"), "no route".to_owned()))
                .collect(),
            ..Seen::default()
        };
        assert_eq!(after(&down(0), &down(1)), ["pool d0.u is down: no route"]);
        assert_eq!(after(&down(0), &down(5)).len(), 5);
        assert_eq!(after(&down(0), &down(900)), ["900 pools are down"]);
        assert_eq!(
            after(&down(900), &down(0)),
            ["900 pools are up again, or gone"]
        );
    }

    #[test]
    fn what_is_counted_is_told_at_once_and_then_summed_up() {
        let seen = |count| Seen {
            counted: [("wrong passwords", count)].into(),
            ..Seen::default()
        };
        let mut watch = Watch::default();
        let mut at = |second, count| texts(watch.look(seen(count), Duration::from_secs(second)));
        assert_eq!(at(0, 3), [""; 0]);
        assert_eq!(at(1, 4), ["1 wrong passwords"]);
        assert_eq!(at(2, 50), [""; 0]);
        assert_eq!(at(30, 90), [""; 0]);
        assert_eq!(at(31, 100), ["96 wrong passwords"]);
        assert_eq!(at(99, 100), [""; 0]);
    }
}
