//! Which writes a replica has for sure, by the time when they were over on the primary.
//!
//! Pure. A write that was over before a question was *sent* to the primary is in the log below the position
//! that the answer tells: the server inserts a commit before it is acknowledged, and says where it inserts
//! after that. A replica that has replayed up to there has the write. (`pg_current_wal_insert_lsn`, because an
//! asynchronous commit may be acknowledged before it is written; PostgreSQL docs, "System Administration
//! Functions".)

use std::time::Instant;

/// Answers that are kept. When there are more, the older ones become sparse: a replica far behind is then taken
/// to have a little less than it has.
const KEPT: usize = 64;

/// What a primary has said, and when it was asked.
#[derive(Debug, Default)]
pub struct Said {
    timeline: u32,
    /// Times and positions, both rising.
    answers: Vec<Answer>,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    sent: Instant,
    inserted: u64,
}

/// How far a replica has replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    pub position: u64,
    /// Of its last restart point: its log is that timeline's at least up to there, so that it has left no other
    /// one behind.
    pub timeline: u32,
}

impl Said {
    /// A question that was sent at `sent` was answered. What was said on another timeline counts no more.
    pub fn note(&mut self, timeline: u32, sent: Instant, inserted: u64) {
        if timeline != self.timeline {
            self.answers.clear();
            self.timeline = timeline;
        }
        // Several ask, so answers overtake each other: an older question with a later answer tells nothing new.
        if let Some(last) = self.answers.last()
            && (sent <= last.sent || inserted < last.inserted)
        {
            return;
        }
        // Nothing was written between the two: the later time holds for the same position.
        if let [.., last] = &mut self.answers[..]
            && last.inserted == inserted
        {
            last.sent = sent;
            return;
        }
        if self.answers.len() >= KEPT {
            let mut n = 0;
            self.answers.retain(|_| {
                n += 1;
                n > KEPT / 2 || n % 2 == 1
            });
        }
        self.answers.push(Answer { sent, inserted });
    }

    /// A replica that has replayed so far has all writes that were over before this moment; `None`: nothing can
    /// be told.
    pub fn seen_by(&self, replayed: Replayed) -> Option<Instant> {
        if replayed.timeline != self.timeline {
            return None;
        }
        let reached = |answer: &Answer| answer.inserted <= replayed.position;
        let count = self.answers.partition_point(reached);
        Some(self.answers.get(count.checked_sub(1)?)?.sent)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn replayed(position: u64) -> Replayed {
        Replayed {
            position,
            timeline: 1,
        }
    }

    #[test]
    fn a_replica_has_what_was_over_when_the_primary_was_asked() {
        let start = Instant::now();
        let at = |n| start + Duration::from_secs(n);
        let mut said = Said::default();
        assert_eq!(said.seen_by(replayed(u64::MAX)), None);
        said.note(1, at(1), 100);
        said.note(1, at(2), 200);
        assert_eq!(said.seen_by(replayed(99)), None);
        assert_eq!(said.seen_by(replayed(100)), Some(at(1)));
        assert_eq!(said.seen_by(replayed(250)), Some(at(2)));
        // Nobody writes: time goes on all the same.
        said.note(1, at(3), 200);
        assert_eq!(said.seen_by(replayed(200)), Some(at(3)));
        // On another timeline nothing of that counts, and a replica that was not seen on it has nothing.
        said.note(2, at(4), 150);
        assert_eq!(said.seen_by(replayed(1000)), None);
        let moved = Replayed {
            position: 150,
            timeline: 2,
        };
        assert_eq!(said.seen_by(moved), Some(at(4)));
    }

    #[test]
    fn a_replica_far_behind_is_not_forgotten_while_the_primary_goes_on() {
        let start = Instant::now();
        let mut said = Said::default();
        for n in 1..10_000 {
            said.note(1, start + Duration::from_secs(n), n);
        }
        assert!(said.answers.len() <= KEPT);
        assert!(said.seen_by(replayed(1)).is_some());
        let near = said.seen_by(replayed(9_998));
        assert_eq!(near, Some(start + Duration::from_secs(9_998)));
    }

    proptest! {
        /// Writes at known positions; questions in between, answered late and out of order; a replica somewhere.
        #[test]
        fn nothing_counts_as_seen_that_is_not_replayed(
            steps in prop::collection::vec((0u8..3, 0u64..4, 0usize..3), 1..400),
        ) {
            let start = Instant::now();
            let (mut clock, mut inserted, mut replica) = (0u64, 0u64, 0u64);
            let (mut said, mut writes) = (Said::default(), Vec::new());
            let mut asked: Vec<u64> = Vec::new();
            for (what, n, which) in steps {
                clock += 1;
                match what {
                    0 => {
                        inserted += n;
                        writes.push((clock, inserted));
                    }
                    1 => asked.push(clock),
                    _ => replica = inserted.min(replica + n),
                }
                if which == 0 && !asked.is_empty() {
                    // The answer is of any moment after the question.
                    let sent = asked.remove((n as usize) % asked.len());
                    said.note(1, start + Duration::from_micros(sent), inserted);
                }
                if let Some(seen) = said.seen_by(replayed(replica)) {
                    for (over, position) in &writes {
                        let over = start + Duration::from_micros(*over);
                        prop_assert!(over >= seen || *position <= replica);
                    }
                }
            }
        }
    }
}
