//! The statements that took most, of all workers together.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Statements;
use super::entry::Entry;
use super::times::{CLASSES, quantile};

/// What is known of one statement of one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The same for statements that differ in their constants only.
    pub fingerprint: u64,
    pub database: Arc<str>,
    pub user: Arc<str>,
    /// How often it was run, errors and answers from memory among them.
    pub calls: u64,
    /// Without the time that it waited for a server connection.
    pub total_micros: u64,
    pub p95_micros: u64,
    pub rows: u64,
    /// Of answers.
    pub bytes: u64,
    /// Answers from memory.
    pub cache_hits: u64,
    pub wait_micros: u64,
    pub errors: u64,
    /// Without constants.
    pub text: Arc<str>,
}

impl Row {
    pub fn mean_micros(&self) -> u64 {
        self.total_micros / self.calls.max(1)
    }
}

struct Sum {
    row: Row,
    times: [u64; CLASSES],
}

impl Statements {
    /// Those that took most time, first the one that took most; `most` of them at most.
    pub fn top(&self, most: usize) -> Vec<Row> {
        let mut sums: HashMap<_, Sum> = HashMap::new();
        for entry in self.recorders.iter().flat_map(|recorder| recorder.all()) {
            let owner = &entry.owner;
            let key = (
                entry.fingerprint,
                Arc::clone(&owner.database),
                Arc::clone(&owner.user),
            );
            sums.entry(key)
                .or_insert_with(|| Sum::new(&entry))
                .add(&entry);
        }
        let mut rows: Vec<Row> = sums.into_values().map(Sum::row).collect();
        // What has not ended yet was not called yet.
        rows.retain(|row| row.calls > 0);
        rows.sort_by(|a, b| {
            let by_time = b.total_micros.cmp(&a.total_micros);
            let by_calls = by_time.then(b.calls.cmp(&a.calls));
            by_calls.then_with(|| (&a.text, a.fingerprint).cmp(&(&b.text, b.fingerprint)))
        });
        rows.truncate(most.min(self.common.most.load(Ordering::Relaxed)));
        rows
    }
}

impl Sum {
    fn new(entry: &Entry) -> Sum {
        Sum {
            row: Row {
                fingerprint: entry.fingerprint,
                database: Arc::clone(&entry.owner.database),
                user: Arc::clone(&entry.owner.user),
                calls: 0,
                total_micros: 0,
                p95_micros: 0,
                rows: 0,
                bytes: 0,
                cache_hits: 0,
                wait_micros: 0,
                errors: 0,
                text: Arc::clone(&entry.text),
            },
            times: [0; CLASSES],
        }
    }

    fn add(&mut self, entry: &Entry) {
        let row = &mut self.row;
        row.calls += entry.calls.get();
        row.total_micros += entry.micros.get();
        row.rows += entry.rows.get();
        row.bytes += entry.bytes.get();
        row.cache_hits += entry.hits.get();
        row.wait_micros += entry.wait_micros.get();
        row.errors += entry.errors.get();
        entry.times.add_to(&mut self.times);
    }

    fn row(self) -> Row {
        Row {
            p95_micros: quantile(&self.times, 0.95),
            ..self.row
        }
    }
}
