//! What a server says of its role: whether it is in recovery, on which timeline, how far it is.
//!
//! Pure. PostgreSQL docs, "System Administration Functions": recovery information and backup control.

use std::time::{Duration, Instant};

use super::dialogue::Row;
use super::hosts::Standing;

/// Asks for everything in one row. Of a primary: where it writes, and the file of that, whose name begins
/// with the timeline; where it inserts. Of a replica: how far it has replayed, whether that is all that it has
/// received, how old the last transaction is that it has replayed, and the timeline of its last restart point.
/// Everybody may ask.
pub const QUESTION: &str = "\
    SELECT r.in_recovery, \
    CASE WHEN r.in_recovery THEN pg_catalog.pg_last_wal_replay_lsn() \
    ELSE pg_catalog.pg_current_wal_lsn() END, \
    CASE WHEN NOT r.in_recovery THEN \
    pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END, \
    CASE WHEN r.in_recovery THEN \
    pg_catalog.pg_last_wal_receive_lsn() OPERATOR(pg_catalog.<=) pg_catalog.pg_last_wal_replay_lsn() END, \
    CASE WHEN r.in_recovery THEN pg_catalog.date_part('epoch', \
    pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.pg_last_xact_replay_timestamp()) END, \
    CASE WHEN NOT r.in_recovery THEN pg_catalog.pg_current_wal_insert_lsn() END, \
    CASE WHEN r.in_recovery THEN (SELECT c.timeline_id FROM pg_catalog.pg_control_checkpoint() AS c) END \
    FROM pg_catalog.pg_is_in_recovery() AS r (in_recovery)";

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found {
    Primary {
        timeline: u32,
        /// Position in the write-ahead log, in bytes.
        written: u64,
        /// Where the next record goes, at least as far.
        inserted: u64,
    },
    Replica {
        /// `None`: nothing yet.
        replayed: Option<u64>,
        /// It has replayed all that it has received.
        caught_up: bool,
        /// Of the last transaction that it has replayed; `None`: it has replayed none.
        age: Option<Duration>,
        /// Of its last restart point.
        timeline: Option<u32>,
    },
}

/// Reads the answer to [`QUESTION`]; `None` if it is something else.
pub fn read(rows: &[Row]) -> Option<Found> {
    let [row] = rows else { return None };
    let text = |n: usize| {
        let value: Option<&Vec<u8>> = row.get(n)?.as_ref();
        std::str::from_utf8(value?).ok()
    };
    match text(0)? {
        "f" => Some(Found::Primary {
            written: position(text(1)?)?,
            timeline: u32::from_str_radix(text(2)?.get(..8)?, 16).ok()?,
            inserted: position(text(5)?)?,
        }),
        "t" => Some(Found::Replica {
            replayed: text(1).and_then(position),
            caught_up: text(3) == Some("t"),
            age: text(4).and_then(|seconds| {
                let seconds: f64 = seconds.parse().ok()?;
                // Clocks differ.
                Duration::try_from_secs_f64(seconds.max(0.0)).ok()
            }),
            timeline: text(6).and_then(|timeline| timeline.parse().ok()),
        }),
        _ => None,
    }
}

/// As in `16/B374D848`: two halves of a number, in hexadecimal.
fn position(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let half = |text| u32::from_str_radix(text, 16).ok().map(u64::from);
    Some(half(high)? << 32 | half(low)?)
}

/// Whether a replica had everything when it was asked before. Without it, the first write after a quiet hour
/// would make a replica an hour late that has it a moment later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum History {
    /// Not since anybody asks.
    #[default]
    Unknown,
    Complete,
    LacksSince(Instant),
}

impl History {
    /// Takes note of another answer; says how long it may have lacked something.
    fn note(&mut self, has_all: bool, now: Instant) -> Duration {
        if has_all {
            *self = History::Complete;
            return Duration::ZERO;
        }
        match *self {
            History::Unknown => Duration::MAX,
            History::Complete => {
                *self = History::LacksSince(now);
                Duration::ZERO
            }
            History::LacksSince(since) => now.saturating_duration_since(since),
        }
    }
}

impl Found {
    /// What the server is, where a primary had written up to `written` (0: nobody knows). `history` is what
    /// was found before.
    ///
    /// A replica that has everything which the primary had when it was last asked is not behind, however
    /// old that is: where nobody writes, the last transaction is old. Where no primary is known, one that
    /// has replayed all it has received is taken to be up to date.
    pub fn standing(self, written: u64, history: &mut History, now: Instant) -> Standing {
        match self {
            Found::Primary { timeline, .. } => Standing::Primary { timeline },
            Found::Replica {
                replayed,
                caught_up,
                age,
                ..
            } => {
                let has_all = match written {
                    0 => caught_up,
                    written => replayed.is_some_and(|replayed| replayed >= written),
                };
                let lacks_for = history.note(has_all, now);
                let lag = age.unwrap_or(Duration::MAX).min(lacks_for);
                Standing::Replica { lag }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: [Option<&str>; 7]) -> Vec<Row> {
        let row = values.map(|value| value.map(|text| text.as_bytes().to_vec()));
        vec![row.to_vec()]
    }

    #[test]
    fn both_kinds_of_answers_are_read() {
        let file = Some("0000000A00000016000000B3");
        let inserts = Some("16/B374D900");
        let primary = read(&row([
            Some("f"),
            Some("16/B374D848"),
            file,
            None,
            None,
            inserts,
            None,
        ]));
        let written = 0x16_B374_D848;
        assert_eq!(
            primary,
            Some(Found::Primary {
                timeline: 10,
                written,
                inserted: 0x16_B374_D900,
            })
        );
        let replica = read(&row([
            Some("t"),
            Some("0/10"),
            None,
            Some("f"),
            Some("1.5"),
            None,
            Some("10"),
        ]));
        let expected = Found::Replica {
            replayed: Some(16),
            caught_up: false,
            age: Some(Duration::from_millis(1500)),
            timeline: Some(10),
        };
        assert_eq!(replica, Some(expected));
        let odd = |first, second| read(&row([first, second, None, None, None, None, None]));
        assert_eq!(odd(Some("x"), None), None);
        assert_eq!(odd(Some("f"), Some("1")), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn a_replica_is_behind_by_what_it_lacks() {
        let replica = |replayed, caught_up| Found::Replica {
            replayed: Some(replayed),
            caught_up,
            age: Some(Duration::from_secs(100)),
            timeline: Some(1),
        };
        let now = Instant::now();
        let mut history = History::default();
        let mut lag_at = |found: Found, written, seconds| {
            let now = now + Duration::from_secs(seconds);
            match found.standing(written, &mut history, now) {
                Standing::Replica { lag } => lag.as_secs(),
                other => panic!("{other:?}"),
            }
        };
        // Who was never seen with everything is as late as its last transaction is old.
        assert_eq!(lag_at(replica(49, true), 50, 0), 100);
        assert_eq!(lag_at(replica(50, true), 50, 1), 0);
        // Else it lacks what is new for no longer than that.
        assert_eq!(lag_at(replica(50, true), 51, 2), 0);
        assert_eq!(lag_at(replica(50, true), 60, 5), 3);
        assert_eq!(lag_at(replica(50, true), 60, 500), 100);
        let lag =
            |found: Found, written| match found.standing(written, &mut History::default(), now) {
                Standing::Replica { lag } => lag.as_secs(),
                other => panic!("{other:?}"),
            };
        // All that there was; and all that it has got, but there is more.
        assert_eq!(lag(replica(50, false), 50), 0);
        assert_eq!(lag(replica(49, true), 50), 100);
        assert_eq!(lag(replica(49, true), 0), 0);
        assert_eq!(lag(replica(49, false), 0), 100);
    }
}
