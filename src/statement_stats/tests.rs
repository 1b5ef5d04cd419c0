use std::sync::Arc;

use super::entry::{Entry, Outcome};
use super::recorder::{Text, UNREADABLE};
use super::top::Row;
use super::{Counted, Owner, Statements, text_key};
use crate::session::reported::Reported;
use crate::worker::Home;

fn owner(database: &str) -> Owner {
    Owner::new(&Arc::from(database), &Arc::from("u"))
}

fn find_in(encoding: &str, counted: Counted<'_>, text: &[u8]) -> Option<Arc<Entry>> {
    let reported = Reported::new(vec![("client_encoding".into(), encoding.into())]);
    let reported = &reported;
    let by_text = counted.find_text(Text { text, reported })?;
    // As if it had been prepared.
    let by_key = counted.find(text_key(text), || Text { text, reported })?;
    assert!(Arc::ptr_eq(&by_text, &by_key));
    Some(by_text)
}

fn find(counted: Counted<'_>, text: &str) -> Option<Arc<Entry>> {
    find_in("UTF8", counted, text.as_bytes())
}

fn run(statements: &Statements, worker: u16, owner: &Owner, text: &str, micros: u64) {
    let counted = statements.counted(Home::Worker(worker), owner).unwrap();
    let entry = find(counted, text).unwrap();
    let outcome = Outcome {
        micros,
        rows: 2,
        bytes: 10,
        ..Outcome::default()
    };
    counted.recorder.add(&entry, outcome);
}

fn made(most: usize) -> Statements {
    let statements = Statements::new(2);
    statements.set_most(most);
    statements
}

fn texts(statements: &Statements) -> Vec<(String, u64)> {
    let rows = statements.top(usize::MAX).into_iter();
    rows.map(|row| (row.text.to_string(), row.calls)).collect()
}

#[test]
fn workers_are_added_up_and_pools_are_not() {
    let statements = made(100);
    let (a, b) = (owner("a"), owner("b"));
    for n in 0..10 {
        run(&statements, 0, &a, &format!("select {n}"), 100);
        run(&statements, 1, &a, &format!("SELECT '{n}'"), 300);
    }
    run(&statements, 1, &b, "select 1", 7);
    let rows = statements.top(10);
    let [first, second] = &rows[..] else {
        panic!("{rows:?}");
    };
    let expected = Row {
        calls: 20,
        total_micros: 4000,
        rows: 40,
        bytes: 200,
        p95_micros: first.p95_micros,
        ..first.clone()
    };
    assert_eq!(*first, expected);
    assert_eq!(first.mean_micros(), 200);
    assert!(
        (256..384).contains(&first.p95_micros),
        "{}",
        first.p95_micros
    );
    assert!(first.text.eq_ignore_ascii_case("select $1"));
    assert_eq!((&*second.database, second.total_micros), ("b", 7));
    assert_eq!(second.fingerprint, first.fingerprint);
    assert_eq!(statements.top(1).len(), 1);
}

#[test]
fn those_that_are_used_stay() {
    let statements = made(50);
    let a = owner("a");
    for n in 0..5000 {
        run(&statements, 0, &a, &format!("select c{n}"), 1);
        for used in 0..5 {
            run(&statements, 0, &a, &format!("select used{used}"), 1);
        }
    }
    let texts = texts(&statements);
    assert!((40..=50).contains(&texts.len()), "{}", texts.len());
    for used in 0..5 {
        assert!(
            texts.contains(&(format!("select used{used}"), 5000)),
            "{texts:?}"
        );
    }
    assert_eq!(statements.evicted() as usize, 5005 - texts.len());
}

/// A statement that runs long is not lost because many others have come meanwhile.
#[test]
fn what_is_forgotten_while_it_runs_comes_back() {
    let statements = made(20);
    let a = owner("a");
    let counted = statements.counted(Home::Worker(0), &a).unwrap();
    let slow = find(counted, "select slow").unwrap();
    for n in 0..100 {
        run(&statements, 0, &a, &format!("select c{n}"), 1);
    }
    assert!(slow.is_gone());
    counted.recorder.add(
        &slow,
        Outcome {
            micros: 5_000_000,
            ..Outcome::default()
        },
    );
    assert_eq!(texts(&statements)[0], ("select slow".to_owned(), 1));
}

#[test]
fn a_reset_forgets_all_that_has_ended() {
    let statements = made(20);
    let a = owner("a");
    run(&statements, 0, &a, "select 1", 1);
    let counted = statements.counted(Home::Worker(0), &a).unwrap();
    let running = find(counted, "select 1").unwrap();
    statements.reset();
    assert_eq!(statements.top(9), []);
    counted.recorder.add(&running, Outcome::default());
    assert_eq!(texts(&statements), [("select $1".to_owned(), 1)]);
    run(&statements, 0, &a, "select 2", 1);
    assert_eq!(texts(&statements), [("select $1".to_owned(), 2)]);
    statements.set_most(0);
    assert!(statements.counted(Home::Worker(0), &a).is_none());
    assert_eq!(statements.top(9), []);
    counted.recorder.add(&running, Outcome::default());
    statements.set_most(5);
    assert_eq!(statements.top(9), []);
}

#[test]
fn fewer_are_kept_from_now_on() {
    let statements = made(100);
    let a = owner("a");
    for n in 0..100 {
        run(&statements, 0, &a, &format!("select c{n}"), 1);
    }
    statements.set_most(10);
    run(&statements, 0, &a, "select one", 1);
    assert!(texts(&statements).len() <= 10);
    assert!(statements.recorders[0].all().len() <= 10);
}

#[test]
fn some_texts_are_not_shown_as_they_are() {
    let statements = made(100);
    let a = owner("a");
    let counted = statements.counted(Home::Worker(0), &a).unwrap();
    for text in ["", " ; ", "/* only a comment */"] {
        assert!(find(counted, text).is_none(), "{text}");
    }
    let odd = |text: &[u8]| find_in("SJIS", counted, text).unwrap().text.to_string();
    // The last byte of a character of SJIS is a backslash here.
    assert_eq!(odd(b"select E'\x83\\', 'secret'"), UNREADABLE);
    assert_eq!(odd(b"select 'plain'"), "select $1");
    let long = format!("select {}", "x, ".repeat(1000));
    let shown = find(counted, &long).unwrap();
    assert!(shown.text.ends_with(" ...") && shown.text.len() < 1100);
    let bytes = find_in("LATIN1", counted, b"select \xff");
    assert_eq!(&*bytes.unwrap().text, "select \u{fffd}");
}
