//! Users who write and read all the time, and note of each request when it was sent, how long it took and
//! what came of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::cluster::locked;
use crate::support::{Answer, Wire, bind, execute, parse, sync};

/// Numbers of one user; no other one has them.
const NUMBERS: u64 = 1_000_000_000;

#[derive(Debug, Clone)]
pub struct Request {
    pub sent: Instant,
    pub ended: Instant,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Served,
    /// An SQLSTATE, or how the connection ended without one.
    Failed(String),
    /// An answer that cannot be.
    Wrong(String),
}

/// What all users have seen.
#[derive(Debug, Default)]
pub struct Notes {
    pub requests: Vec<Request>,
    /// Numbers whose commit was acknowledged.
    pub acknowledged: BTreeSet<u64>,
    /// Numbers that may be there or not.
    pub uncertain: BTreeSet<u64>,
    /// Connections that ended and had to be made anew.
    pub cut_off: u64,
}

pub struct Users {
    port: u16,
    stop: Arc<AtomicBool>,
    notes: Arc<Mutex<Notes>>,
    threads: Vec<JoinHandle<()>>,
}

impl Users {
    pub fn come(port: u16, count: u64) -> Users {
        let (stop, notes) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let start = |n: u64| {
            let (stop, notes) = (Arc::clone(&stop), Arc::clone(&notes));
            thread::spawn(move || User::new(port, n).live(&stop, &notes))
        };
        let threads = (1..=count).map(start).collect();
        Users {
            port,
            stop,
            notes,
            threads,
        }
    }

    /// So many more at the same moment, each with one request; returns when they have left.
    pub fn storm(&self, count: u64) {
        let start = |n: u64| {
            let (port, notes) = (self.port, Arc::clone(&self.notes));
            thread::spawn(move || {
                let mut user = User::new(port, 0);
                user.read("postgres", n);
                user.hand_over(&notes);
            })
        };
        let threads: Vec<_> = (0..count).map(start).collect();
        for thread in threads {
            thread.join().expect("a user comes to an end");
        }
    }

    pub fn leave(self) -> Notes {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a user comes to an end");
        }
        std::mem::take(&mut locked(&self.notes))
    }
}

/// One of them, with a connection to each of two pools.
struct User {
    port: u16,
    wires: [(&'static str, Option<Wire>); 2],
    /// The last number used, and the last one that was acknowledged.
    number: u64,
    acknowledged: Option<u64>,
    notes: Notes,
}

impl User {
    fn new(port: u16, n: u64) -> User {
        User {
            port,
            wires: [("postgres", None), ("app_ro", None)],
            number: n * NUMBERS,
            acknowledged: None,
            notes: Notes::default(),
        }
    }

    fn live(mut self, stop: &AtomicBool, notes: &Arc<Mutex<Notes>>) {
        while !stop.load(Ordering::Relaxed) {
            self.number += 1;
            let number = self.number;
            match number % 5 {
                0 => self.write(number),
                1 => self.transaction(number),
                2 => self.read_own(),
                3 => self.read("postgres", number),
                _ => self.read("app_ro", number),
            }
            // 10 to 29 ms, so that users do not march in step.
            let mixed = (number / 5).wrapping_mul(0x9E37_79B9) ^ (number / NUMBERS);
            thread::sleep(Duration::from_millis(10 + mixed % 20));
        }
        self.hand_over(notes);
    }

    fn hand_over(self, notes: &Arc<Mutex<Notes>>) {
        let mut all = locked(notes);
        all.requests.extend(self.notes.requests);
        all.acknowledged.extend(self.notes.acknowledged);
        all.uncertain.extend(self.notes.uncertain);
        all.cut_off += self.notes.cut_off;
    }

    fn note(&mut self, sent: Instant, outcome: Outcome) {
        let ended = Instant::now();
        let request = Request {
            sent,
            ended,
            outcome,
        };
        self.notes.requests.push(request);
    }

    /// A number of its own, in a statement of its own.
    fn write(&mut self, number: u64) {
        let sent = Instant::now();
        let sql = format!("insert into t values ({number})");
        let outcome = match self.ask("postgres", &sql) {
            Ok(_) => Outcome::Served,
            Err(why) => Outcome::Failed(why),
        };
        self.written(number, sent, outcome);
    }

    /// The same in a transaction, which sees it.
    fn transaction(&mut self, number: u64) {
        let sent = Instant::now();
        let outcome = match self.steps(number) {
            Ok(seen) if seen == [[number.to_string()]] => Outcome::Served,
            Ok(seen) => Outcome::Wrong(format!("{number} is {seen:?} in its transaction")),
            Err(why) => Outcome::Failed(why),
        };
        self.written(number, sent, outcome);
    }

    fn steps(&mut self, number: u64) -> Result<Vec<Vec<String>>, String> {
        self.ask("postgres", "begin")?;
        self.ask("postgres", &format!("insert into t values ({number})"))?;
        let sql = format!("select a from t where a = {number}");
        let seen = self.ask("postgres", &sql)?.rows();
        self.ask("postgres", "commit")?;
        Ok(seen)
    }

    fn written(&mut self, number: u64, sent: Instant, outcome: Outcome) {
        if outcome == Outcome::Served {
            self.notes.acknowledged.insert(number);
            self.acknowledged = Some(number);
        } else {
            self.notes.uncertain.insert(number);
        }
        self.note(sent, outcome);
    }

    /// What was acknowledged last must be there, whichever server is the primary now.
    fn read_own(&mut self) {
        let Some(number) = self.acknowledged else {
            return;
        };
        let sent = Instant::now();
        let sql = format!("select a from t where a = {number}");
        let outcome = match self.ask("postgres", &sql) {
            Ok(answer) if answer.rows() == [[number.to_string()]] => Outcome::Served,
            Ok(answer) => Outcome::Wrong(format!("{number} was acknowledged: {:?}", answer.rows())),
            Err(why) => Outcome::Failed(why),
        };
        self.note(sent, outcome);
    }

    /// By the extended protocol: the number must come back.
    fn read(&mut self, pool: &str, number: u64) {
        let sent = Instant::now();
        let text = format!("select {number}, count(*) from probe");
        let request = [parse("", &text), bind(""), execute(), sync()].concat();
        let outcome = match self.exchange(pool, &request) {
            Ok(answer) => match answer.rows().first() {
                Some(row) if row[0] == number.to_string() => Outcome::Served,
                other => Outcome::Wrong(format!("{number} was asked for: {other:?}")),
            },
            Err(why) => Outcome::Failed(why),
        };
        self.note(sent, outcome);
    }

    fn ask(&mut self, pool: &str, sql: &str) -> Result<Answer, String> {
        self.exchange(pool, &crate::support::query(sql))
    }

    /// Logs in if need be: that is part of the request. After an error the transaction, if there is one, is
    /// rolled back.
    fn exchange(&mut self, pool: &str, request: &[u8]) -> Result<Answer, String> {
        let port = self.port;
        let slot = self.wires.iter_mut().find(|(name, _)| *name == pool);
        let slot = &mut slot.expect("one of the two pools").1;
        let wire = match slot {
            Some(wire) => wire,
            None => {
                let wire = Wire::try_connect(port, "postgres", pool);
                slot.insert(wire.map_err(|error| format!("login: {error}"))?)
            }
        };
        let answer = match wire.send(request) {
            Ok(()) => wire.answer(),
            Err(_) => Answer::default(),
        };
        let code = answer.code();
        match answer.status() {
            None => {
                *slot = None;
                self.notes.cut_off += 1;
                return Err(code.unwrap_or_else(|| "closed".to_owned()));
            }
            Some('I') => {}
            Some(_) if code.is_none() => {}
            Some(_) => {
                let rolled_back = wire.query("rollback");
                if rolled_back.code().is_some() || rolled_back.status() != Some('I') {
                    return Err(format!("rollback: {:?}", rolled_back.code()));
                }
            }
        }
        code.map_or(Ok(answer), Err)
    }
}
