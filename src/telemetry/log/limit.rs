//! How many lines of one kind are written: a storm of them must not fill a disk.
//!
//! A kind is a place in the program that logs. Each has tokens of its own, so however much of one
//! there is, the others are heard.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Instant;

use parking_lot::Mutex;
use tracing::callsite::Identifier;

/// So many seconds' lines may come at once.
pub(in crate::telemetry) const BURST: u32 = 10;

#[derive(Debug, Default)]
pub(in crate::telemetry) struct Limits(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    per_second: u32,
    /// As many as there are places in the program.
    kinds: HashMap<Identifier, Kind>,
}

#[derive(Debug)]
struct Kind {
    tokens: f64,
    /// When tokens were added last.
    at: Instant,
    left_out: u64,
    /// What the first of them would have said.
    example: String,
}

/// Whether a line may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::telemetry) enum Admitted {
    Yes,
    No,
    /// No, and it is the first one: see [`Limits::remember`].
    First,
}

/// Lines of one kind that were not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::telemetry) struct LeftOut {
    pub kind: Identifier,
    pub count: u64,
    /// What the first of them would have said.
    pub example: String,
}

impl Limits {
    /// 0 is no limit.
    pub fn set(&self, per_second: u32) {
        self.0.lock().per_second = per_second;
    }

    pub fn admit(&self, kind: &Identifier, now: Instant) -> Admitted {
        let mut inner = self.0.lock();
        let rate = f64::from(inner.per_second);
        if inner.per_second == 0 {
            return Admitted::Yes;
        }
        let most = rate * f64::from(BURST);
        let kind = match inner.kinds.entry(kind.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Kind {
                tokens: most,
                at: now,
                left_out: 0,
                example: String::new(),
            }),
        };
        let since = now.saturating_duration_since(kind.at).as_secs_f64();
        kind.tokens = (kind.tokens + since * rate).min(most);
        kind.at = kind.at.max(now);
        if kind.tokens >= 1.0 {
            kind.tokens -= 1.0;
            return Admitted::Yes;
        }
        kind.left_out += 1;
        match kind.left_out {
            1 => Admitted::First,
            _ => Admitted::No,
        }
    }

    /// What the first one that was left out would have said.
    pub fn remember(&self, kind: &Identifier, example: String) {
        if let Some(kind) = self.0.lock().kinds.get_mut(kind) {
            kind.example = example;
        }
    }

    /// How many were left out of each kind since this was asked last.
    pub fn left_out(&self) -> Vec<LeftOut> {
        let mut inner = self.0.lock();
        let kinds = inner.kinds.iter_mut().filter(|(_, kind)| kind.left_out > 0);
        let counted = kinds.map(|(id, kind)| LeftOut {
            kind: id.clone(),
            count: std::mem::take(&mut kind.left_out),
            example: std::mem::take(&mut kind.example),
        });
        counted.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tracing::callsite::{Callsite, Identifier};
    use tracing::subscriber::Interest;

    use super::*;

    struct Place;

    impl Callsite for Place {
        fn set_interest(&self, _: Interest) {}
        fn metadata(&self) -> &tracing::Metadata<'_> {
            unreachable!("nothing asks a place in this test what it is")
        }
    }

    // Not of no size: each must have an address of its own.
    static PLACES: [(u8, Place); 2] = [(0, Place), (1, Place)];

    fn place(n: usize) -> Identifier {
        Identifier(&PLACES[n].1)
    }

    #[test]
    fn a_storm_of_one_kind_is_cut_and_counted_and_others_are_heard() {
        let limits = Limits::default();
        let (storm, other) = (place(0), place(1));
        let begin = Instant::now();
        let admit = |kind: &Identifier, now| match limits.admit(kind, now) {
            Admitted::First => {
                limits.remember(kind, "thunder".to_owned());
                false
            }
            admitted => admitted == Admitted::Yes,
        };
        limits.set(5);
        let mut written = 0;
        for n in 0..10_000 {
            let now = begin + Duration::from_millis(n);
            written += u32::from(admit(&storm, now));
            assert!(n % 1000 != 0 || admit(&other, now));
        }
        // The burst, and five in each of ten seconds.
        assert!((98..=101).contains(&written), "{written}");
        let left_out = LeftOut {
            kind: storm.clone(),
            count: 10_000 - u64::from(written),
            example: "thunder".to_owned(),
        };
        assert_eq!(limits.left_out(), [left_out]);
        assert_eq!(limits.left_out(), []);
        let end = begin + Duration::from_secs(10);
        while admit(&storm, end) {}
        assert_eq!(limits.left_out()[0].count, 1);
        // After a minute's calm it may storm again.
        assert!(admit(&storm, end + Duration::from_secs(60)));
        limits.set(0);
        assert!((0..1000).all(|_| admit(&storm, end)));
    }
}
