use super::super::key::KeyHasher;
use super::super::mark::{Mark, Marks};
use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn key(text: &str, hasher: &KeyHasher) -> Key {
    let mut key = Key::default();
    key.part(text.as_bytes());
    key.finish(hasher);
    key
}

fn entry(snapshot: &Snapshot) -> Arc<Entry> {
    let none: Box<[u8]> = Box::default();
    Arc::new(Entry::new(
        none.clone(),
        None,
        none,
        snapshot.clone(),
        [0; 3],
    ))
}

#[test]
fn one_asks_and_the_others_get_what_it_gets() {
    let space = Space::new("d".to_owned());
    let hasher = KeyHasher::default();
    let marks: Marks = vec![Mark::new(1)].into();
    let snapshot = Snapshot::take(&marks).unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let part = |text: &str, describes| {
        let now = Snapshot::take(&marks).unwrap();
        Flights::part(&space, &key(text, &hasher), &now, describes, &waker)
    };
    let Part::Lead(lead) = part("a", false) else {
        panic!("the first leads")
    };
    let Part::Wait(flight) = part("a", false) else {
        panic!("the second waits")
    };
    assert!(
        matches!(part("a", true), Part::Alone),
        "it needs more than was asked for"
    );
    assert!(matches!(flight.news(), News::NotYet));
    assert!(
        matches!(part("b", false), Part::Lead(_)),
        "that one is dropped at once"
    );
    lead.land(&entry(&snapshot));
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert!(matches!(flight.news(), News::Landed(_)));
    assert!(space.flights.is_empty());
    assert!(matches!(part("a", false), Part::Lead(_)));
}

#[test]
fn a_failure_wakes_them_all() {
    let space = Space::new("d".to_owned());
    let hasher = KeyHasher::default();
    let marks: Marks = vec![Mark::new(1)].into();
    let snapshot = Snapshot::take(&marks).unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let key = key("a", &hasher);
    let Part::Lead(lead) = Flights::part(&space, &key, &snapshot, true, &waker) else {
        panic!("the first leads")
    };
    let waiting: Vec<_> = (0..3)
        .map(
            |_| match Flights::part(&space, &key, &snapshot, false, &waker) {
                Part::Wait(flight) => flight,
                other => panic!("{other:?}"),
            },
        )
        .collect();
    drop(lead);
    assert_eq!(woken.0.load(Ordering::SeqCst), 3);
    assert!(waiting.iter().all(|f| matches!(f.news(), News::Failed)));
    assert!(space.flights.is_empty());
}

#[test]
fn who_comes_after_a_write_does_not_get_what_was_asked_before_it() {
    let space = Space::new("d".to_owned());
    let hasher = KeyHasher::default();
    let marks: Marks = vec![Mark::new(1)].into();
    let before = Snapshot::take(&marks).unwrap();
    let key = key("a", &hasher);
    let waker = Waker::noop();
    let Part::Lead(lead) = Flights::part(&space, &key, &before, true, waker) else {
        panic!("the first leads")
    };
    marks[0].bump();
    let after = Snapshot::take(&marks).unwrap();
    assert!(matches!(
        Flights::part(&space, &key, &after, true, waker),
        Part::Alone
    ));
    drop(lead);
}
