//! Replicas that die or fall silent while reads go to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::routing::{PORT, Pair, weir};
use crate::support::{Wire, query};

#[test]
fn reads_go_on_when_the_replica_dies_and_come_back_to_it() {
    let Pair { primary, standby } = Pair::start("create table t (a int); insert into t values (1)");
    let mut pair = Pair { primary, standby };
    let lines = "reads = \"auto\"\nread_your_writes = \"off\"";
    let weir = weir(&pair.primary, &pair.standby, lines);
    pair.wait_for(&mut weir.client(), PORT, "replica");
    let stop = Arc::new(AtomicBool::new(false));
    let crowd: Vec<_> = (0..8)
        .map(|_| {
            let (stop, port) = (Arc::clone(&stop), weir.port);
            thread::spawn(move || {
                let mut wire = Wire::connect(port, "postgres", "postgres");
                let (mut errors, mut longest) = (Vec::new(), Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    errors.extend(wire.query("select a from t").code());
                    longest = longest.max(began.elapsed());
                }
                (errors, longest)
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(500));
    let mut inside = weir.client();
    assert_eq!(inside.query("begin read only").code(), None);
    assert_eq!(pair.place(&mut inside, PORT), "replica");
    pair.standby.crash();
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(pair.place(&mut weir.client(), PORT), "primary");
    // Nothing of a transaction goes on elsewhere: it is lost.
    let lost = inside.query(PORT);
    assert_eq!(
        (lost.code().as_deref(), lost.status()),
        (Some("08006"), Some('E'))
    );
    assert_eq!(inside.query(PORT).code().as_deref(), Some("25P02"));
    assert_eq!(inside.query("rollback").status(), Some('I'));
    inside.query("begin read only");
    assert_eq!(pair.place(&mut inside, PORT), "primary");
    assert_eq!(inside.query("commit").status(), Some('I'));
    pair.standby.recover();
    pair.wait_for(&mut weir.client(), PORT, "replica");
    stop.store(true, Ordering::Relaxed);
    for client in crowd {
        let (errors, longest) = client.join().unwrap();
        // What it was being asked when it died, over one connection after another; nobody is cut off, and
        // nobody waits.
        assert!(errors.len() <= 8, "{errors:?}");
        assert!(
            errors
                .iter()
                .all(|code| code == "08006" || code.starts_with("57P")),
            "{errors:?}"
        );
        assert!(longest < Duration::from_secs(3), "{longest:?}");
    }
    weir.assert_quiet();
}

#[test]
fn a_replica_that_falls_silent_is_not_waited_for() {
    let pair = Pair::start("create table t (a int)");
    let lines = "pool_size = 1\nreads = \"auto\"\nread_your_writes = \"off\"";
    let weir = weir(&pair.primary, &pair.standby, lines);
    let mut inside = weir.client();
    pair.wait_for(&mut inside, PORT, "replica");
    assert_eq!(inside.query("begin read only").code(), None);
    assert_eq!(pair.place(&mut inside, PORT), "replica");
    let mut waiting = weir.client();
    waiting.send(&query(PORT)).unwrap();
    pair.standby.freeze();
    let began = Instant::now();
    let lost = inside.query(PORT);
    assert_eq!(lost.code().as_deref(), Some("08006"), "{lost:?}");
    assert_eq!(pair.name(&waiting.answer().value()), "primary");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(inside.query("rollback").status(), Some('I'));
    assert_eq!(pair.place(&mut inside, PORT), "primary");
    pair.standby.thaw();
    pair.wait_for(&mut inside, PORT, "replica");
    weir.assert_quiet();
}
