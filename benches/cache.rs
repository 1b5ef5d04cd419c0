//! The pure parts of the query cache: judging a statement, making a key, giving an answer, and
//! invalidating.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use pgweir::cache::analysis::analyse;
use pgweir::cache::entry::{Age, Entry};
use pgweir::cache::judged::Judged;
use pgweir::cache::key::Key;
use pgweir::cache::mark::{Marks, Snapshot};
use pgweir::cache::memo::{Memo, Slot};
use pgweir::cache::packed::Packed;
use pgweir::cache::rules::Life;
use pgweir::cache::space::Space;
use pgweir::cache::store::Store;

const STATEMENTS: [(&str, &str); 3] = [
    (
        "point",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345",
    ),
    (
        "join",
        "SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer \
         WHERE o.state = 'open' AND o.total > 100 ORDER BY o.total DESC LIMIT 20",
    ),
    (
        "write",
        "INSERT INTO orders (id, customer, total) VALUES (1, 2, 3) ON CONFLICT (id) DO UPDATE SET total = 3",
    ),
];

fn classify(c: &mut Criterion) {
    let mut group = c.benchmark_group("cache/classify");
    for (name, text) in STATEMENTS {
        group.bench_function(format!("cold {name}"), |b| {
            b.iter(|| analyse(black_box(text.as_bytes()), true));
        });
    }
    let memo = Memo::default();
    let text = STATEMENTS[0].1.as_bytes();
    group.bench_function("memoized by text", |b| {
        b.iter(|| memo.get(black_box(text), 1, Judged::unknown));
    });
    let slot = Slot::default();
    group.bench_function("memoized with the statement", |b| {
        b.iter(|| memo.get_in_slot(black_box(&slot), 1, || Arc::new(Judged::unknown())));
    });
    group.finish();
}

fn make_key(key: &mut Key, store: &Store, n: u64) {
    key.clear();
    key.part(b"app at 10.0.0.1:5432");
    key.part(b"app");
    key.part(b"SET timezone TO 'UTC'\0");
    key.part(STATEMENTS[0].1.as_bytes());
    key.part(&n.to_be_bytes());
    key.finish(&store.hasher);
}

/// A store with so many entries that depend on one table, and the table's marks.
fn filled(entries: u64) -> (Arc<Space>, Marks, Store) {
    let space = Space::new("app at 10.0.0.1:5432".to_owned());
    let marks: Marks = vec![Arc::clone(space.whole()), space.mark(16384)].into();
    let store = Store::new(1 << 30, None);
    let mut key = Key::default();
    for n in 0..entries {
        make_key(&mut key, &store, n);
        let snapshot = Snapshot::take(&marks).expect("nothing is pending");
        let times = [0, u64::MAX, u64::MAX];
        let entry = Entry::new(key.bytes().into(), None, [0; 64].into(), snapshot, times);
        store.put(key.hash(), Arc::new(entry));
    }
    store.maintain();
    (space, marks, store)
}

fn hit(c: &mut Criterion) {
    let (_space, _marks, store) = filled(100_000);
    let mut key = Key::default();
    let life = Life {
        ttl: Duration::from_secs(60),
        stale: Duration::ZERO,
        errors: Duration::ZERO,
        passing: false,
    };
    let mut group = c.benchmark_group("cache/hit");
    group.bench_function("make the key", |b| {
        b.iter(|| make_key(black_box(&mut key), &store, 7));
    });
    group.bench_function("find and check the entry", |b| {
        b.iter(|| {
            let entry = store.get(black_box(&key)).expect("it is there");
            assert!(entry.snapshot.holds() && entry.age(1, &life) == Age::Fresh);
        });
    });
    group.finish();
}

fn invalidate(c: &mut Criterion) {
    let mut group = c.benchmark_group("cache/invalidate");
    for entries in [0, 100_000] {
        let (_space, marks, _store) = filled(entries);
        group.bench_function(format!("a table with {entries} entries"), |b| {
            b.iter(|| {
                marks[1].begin();
                marks[1].bump();
                marks[1].end();
            });
        });
    }
    group.finish();
}

fn pack(c: &mut Criterion) {
    let mut rows = Vec::new();
    for n in 0..100 {
        pgweir::protocol::encode::data_row(&mut rows, &[Some(n.to_string()), Some("x".repeat(40))]);
    }
    pgweir::protocol::encode::command_complete(&mut rows, "SELECT 100");
    let packed = Packed {
        key: [1; 200].into(),
        generations: [(0, 1), (16384, 2)].into(),
        times: [1, 2, 3],
        description: None,
        rows: rows.into(),
    };
    let mut group = c.benchmark_group("cache/shared");
    for (name, above) in [("plain", usize::MAX), ("compressed", 0)] {
        let bytes = packed.encode(above);
        group.bench_function(format!("pack 100 rows, {name}"), |b| {
            b.iter(|| packed.encode(black_box(above)));
        });
        group.bench_function(format!("unpack 100 rows, {name}"), |b| {
            b.iter(|| Packed::decode(black_box(&bytes), 1 << 20));
        });
    }
    group.finish();
}

criterion_group!(benches, classify, hit, invalidate, pack);
criterion_main!(benches);
