//! Writes to PostgreSQL itself, past pgweir, all the time: when it is back says when pgweir could be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::cluster::locked;
use crate::support::Wire;

/// How often each server is asked.
const PAUSE: Duration = Duration::from_millis(10);

pub struct Probe {
    stop: Arc<AtomicBool>,
    /// Beginning and end of the last write that some server has taken.
    last: Arc<Mutex<Option<(Instant, Instant)>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Probe {
    /// Of the servers at these ports, of which one takes writes.
    pub fn start(ports: &[u16]) -> Probe {
        let (stop, last) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let start = |port: &u16| {
            let (port, stop, last) = (*port, Arc::clone(&stop), Arc::clone(&last));
            thread::spawn(move || probe(port, &stop, &last))
        };
        let threads = ports.iter().map(start).collect();
        Probe {
            stop,
            last,
            threads,
        }
    }

    /// Waits for a write that was begun after `fault` and acknowledged; gives when it was.
    #[track_caller]
    pub fn first_write_after(&self, fault: Instant) -> Instant {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match *locked(&self.last) {
                Some((began, ended)) if began > fault => return ended,
                _ => {}
            }
            assert!(Instant::now() < deadline, "no server takes writes");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a probe has an end");
        }
    }
}

fn probe(port: u16, stop: &AtomicBool, last: &Arc<Mutex<Option<(Instant, Instant)>>>) {
    let mut wire = None;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(PAUSE);
        let Some(open) = &mut wire else {
            wire = Wire::try_connect(port, "postgres", "postgres").ok();
            continue;
        };
        let began = Instant::now();
        let answer = open.query("update probe set a = a + 1");
        match (answer.status(), answer.code()) {
            (Some('I'), None) => *locked(last) = Some((began, Instant::now())),
            // A standby.
            (Some('I'), Some(_)) => {}
            _ => wire = None,
        }
    }
}
