//! The pure parts of the hot path, each by itself.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pgweir::pool::core::{Checkout, Core, Limits};
use pgweir::protocol::{encode, frame, startup};
use pgweir::session::reported::Reported;
use pgweir::session::statement::Registry;
use pgweir::sql;
use pgweir::statement_stats::entry::{Entry, Outcome};
use pgweir::statement_stats::recorder::Text;
use pgweir::statement_stats::{Owner, Statements, text_key};
use pgweir::worker::Home;

fn frames(c: &mut Criterion) {
    let mut rows = Vec::new();
    for n in 0..1000 {
        encode::data_row(&mut rows, &[Some(n.to_string()), Some("x".repeat(40))]);
    }
    let mut group = c.benchmark_group("frame");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("scan 1000 rows", |b| {
        b.iter(|| {
            let mut at = 0;
            while let Ok(Some(header)) = frame::header(black_box(&rows[at..])) {
                at += header.total;
            }
            at
        });
    });
    group.finish();
}

fn startups(c: &mut Criterion) {
    let body =
        b"\0\x03\0\0user\0app\0database\0app\0application_name\0psql\0client_encoding\0UTF8\0\0";
    let packet = [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat();
    c.bench_function("startup/parse", |b| {
        b.iter(|| startup::packet(black_box(&packet)));
    });
}

fn classify(c: &mut Criterion) {
    let mut group = c.benchmark_group("classify");
    for (name, text) in [
        (
            "select",
            "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;",
        ),
        ("begin", "BEGIN"),
        ("set", "SET search_path TO a, b"),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| sql::classify(black_box(text.as_bytes()), true));
        });
    }
    group.finish();
}

fn checkout(c: &mut Criterion) {
    let limits = Limits {
        size: 20,
        reserve: 0,
        reserve_timeout: Duration::ZERO,
        max_queue: 0,
        patience: Duration::from_millis(5),
        max_connecting: 20,
        round_robin: false,
    };
    let mut core: Core<u64, u32> = Core::new(limits, 2);
    let now = Instant::now();
    for server in 0..core.start_connecting(now, 20) {
        core.connected(0, server as u64, now);
    }
    c.bench_function("pool/checkout and release", |b| {
        b.iter(|| {
            if let Checkout::Ready(server) = core.checkout(0, now, &1, |_| true) {
                core.release(0, server, now);
            }
        });
    });
}

fn prepared(c: &mut Criterion) {
    let registry = Registry::default();
    let text = b"SELECT abalance FROM pgbench_accounts WHERE aid = $1";
    let _held = registry.shared(true, text, b"\0\0", 0);
    c.bench_function("statement/find by text", |b| {
        b.iter(|| registry.shared(true, black_box(text), b"\0\0", 0));
    });
}

/// Finding a statement in the statistics, and counting it.
fn statement_stats(c: &mut Criterion) {
    let statements = Statements::new(1);
    statements.set_most(1000);
    let owner = Owner::new(&"app".into(), &"app".into());
    let Some(counted) = statements.counted(Home::Worker(0), &owner) else {
        return;
    };
    let reported = &Reported::new(Vec::new());
    let add = |entry: Option<Arc<Entry>>| {
        if let Some(entry) = entry {
            let (micros, rows) = (100, 1);
            let outcome = Outcome {
                micros,
                rows,
                ..Outcome::default()
            };
            counted.recorder.add(&entry, outcome);
        }
    };
    let texts = |text: &dyn Fn(usize) -> String| (0..100_000).map(text).collect::<Vec<_>>();
    let other_constants =
        texts(&|n| format!("SELECT abalance FROM pgbench_accounts WHERE aid = {n};"));
    let others = texts(&|n| format!("SELECT abalance FROM pgbench_accounts_{n} WHERE aid = 1;"));
    let long = vec![format!("SELECT {}", "\"order\".\"column\", ".repeat(50))];
    let mut group = c.benchmark_group("statement");
    for (name, texts) in [
        ("other constants", &other_constants),
        ("a long text again", &long),
        ("never seen before", &others),
    ] {
        let mut texts = texts.iter().cycle();
        group.bench_function(name, |b| {
            b.iter(|| {
                let text = texts.next().map_or(&b""[..], |text| text.as_bytes());
                add(counted.find_text(Text { text, reported }));
            });
        });
    }
    let text = other_constants[0].as_bytes();
    let key = text_key(text);
    group.bench_function("prepared", |b| {
        b.iter(|| add(counted.find(black_box(key), || Text { text, reported })));
    });
    group.finish();
}

criterion_group!(
    benches,
    frames,
    startups,
    classify,
    checkout,
    prepared,
    statement_stats
);
criterion_main!(benches);
