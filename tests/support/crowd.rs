//! A small crowd of clients that goes on asking whatever happens. Each question carries a number of
//! its own that must come back: an answer for somebody else is noticed at once.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::operate::until;
use super::{Answer, Pgweir, Postgres, Wire, bind, execute, parse, query, sync};

/// What the clients have seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Questions that were answered.
    pub served: u64,
    /// Errors by SQLSTATE.
    pub errors: BTreeMap<String, u64>,
    /// Connections that ended without a word.
    pub dropped: u64,
    /// Logins that were refused or broken off, by SQLSTATE or kind of error.
    pub logins: BTreeMap<String, u64>,
    /// The longest that anybody waited for an answer, an error, or an end.
    pub longest: Duration,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// By client: its answered questions.
    served: Vec<AtomicU64>,
    nonce: AtomicU64,
}

pub struct Crowd {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Seen>>,
}

impl Crowd {
    /// Clients of this port: database and user `postgres`. Returns when all have been served.
    pub fn gather(port: u16, count: usize) -> Crowd {
        let shared = Arc::new(Shared {
            served: (0..count).map(|_| AtomicU64::new(0)).collect(),
            ..Shared::default()
        });
        let clients = (0..count).map(|n| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || live(port, n, &shared))
        });
        let clients = clients.collect();
        let crowd = Crowd { shared, clients };
        crowd.all_are_served();
        crowd
    }

    pub fn served(&self) -> u64 {
        let served = self.shared.served.iter();
        served.map(|n| n.load(Ordering::Relaxed)).sum()
    }

    /// Waits until every single client has been served once more.
    #[track_caller]
    pub fn all_are_served(&self) {
        let now = || self.shared.served.iter().map(|n| n.load(Ordering::Relaxed));
        let before: Vec<u64> = now().collect();
        let deadline = Instant::now() + Duration::from_secs(60);
        while now().zip(&before).any(|(now, before)| now <= *before) {
            let waiting = now().zip(&before).filter(|(now, before)| now <= before);
            assert!(
                Instant::now() < deadline,
                "{} are not served",
                waiting.count()
            );
            let ended = self.clients.iter().any(|c| c.is_finished());
            assert!(
                !ended || self.shared.stop.load(Ordering::Relaxed),
                "one has panicked"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// All leave; what they have seen, together.
    #[track_caller]
    pub fn leave(self) -> Seen {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for client in self.clients {
            let seen = client.join().expect("a client has found something wrong");
            all.served += seen.served;
            all.dropped += seen.dropped;
            all.longest = all.longest.max(seen.longest);
            for (total, part) in [
                (&mut all.errors, seen.errors),
                (&mut all.logins, seen.logins),
            ] {
                for (code, count) in part {
                    *total.entry(code).or_default() += count;
                }
            }
        }
        all
    }
}

impl Seen {
    /// No errors but these, and nobody was cut off without a word.
    #[track_caller]
    pub fn only(&self, codes: &[&str]) {
        let errors = self.errors.keys().chain(self.logins.keys());
        let others: Vec<_> = errors.filter(|c| !codes.contains(&c.as_str())).collect();
        assert!(others.is_empty() && self.dropped == 0, "{self:?}");
    }
}

fn live(port: u16, n: usize, shared: &Shared) -> Seen {
    let mut seen = Seen::default();
    let mut wire = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let Some(client) = &mut wire else {
            match log_in(port) {
                Ok(client) => wire = Some(client),
                Err(why) => {
                    *seen.logins.entry(why).or_default() += 1;
                    thread::sleep(Duration::from_millis(20));
                }
            }
            seen.longest = seen.longest.max(began.elapsed());
            continue;
        };
        let nonce = shared.nonce.fetch_add(1, Ordering::Relaxed);
        let answers = match nonce % 3 {
            0 => vec![ask(client, nonce)],
            1 => vec![ask_extended(client, nonce)],
            _ => in_a_transaction(client, nonce),
        };
        seen.longest = seen.longest.max(began.elapsed());
        let mut failed = false;
        for answer in &answers {
            if let Some(code) = answer.code() {
                *seen.errors.entry(code).or_default() += 1;
                failed = true;
            }
        }
        match answers.last().and_then(Answer::status) {
            None => {
                // FATAL errors are words enough.
                seen.dropped += u64::from(!failed);
                wire = None;
            }
            Some('I') if !failed => {
                seen.served += 1;
                shared.served[n].fetch_add(1, Ordering::Relaxed);
            }
            Some('I') => {}
            Some(_) => assert_eq!(client.query("rollback").code(), None, "{answers:?}"),
        }
        thread::sleep(Duration::from_millis(2));
    }
    seen
}

fn log_in(port: u16) -> Result<Wire, String> {
    let pairs = [("user", "postgres"), ("database", "postgres")];
    Wire::try_connect_with(port, &pairs).map_err(|error| match error.kind() {
        // What the server said: `Some("53300")`, or `None` for an end without a word.
        ErrorKind::Other => {
            let text = error.to_string();
            let code = text.split('"').nth(1);
            code.unwrap_or("closed").to_owned()
        }
        kind => format!("{kind:?}"),
    })
}

/// An answer has what was asked for, or nothing and an error.
#[track_caller]
fn must_be(answer: &Answer, nonce: u64) {
    let rows = answer.rows();
    let complete = answer.code().is_none() && answer.status().is_some();
    assert!(rows.len() == 1 || !complete, "no row: {answer:?}");
    for row in rows {
        assert_eq!(row, [nonce.to_string()], "another's answer");
    }
}

fn ask(wire: &mut Wire, nonce: u64) -> Answer {
    let answer = wire.query(&format!("select {nonce}"));
    must_be(&answer, nonce);
    answer
}

fn ask_extended(wire: &mut Wire, nonce: u64) -> Answer {
    let text = format!("select {nonce}");
    let sent = wire.send(&[parse("", &text), bind(""), execute(), sync()].concat());
    if sent.is_err() {
        return Answer::default();
    }
    let answer = wire.answer();
    must_be(&answer, nonce);
    answer
}

/// Up to the first error. A setting of the transaction must be there in it, and only there.
fn in_a_transaction(wire: &mut Wire, nonce: u64) -> Vec<Answer> {
    let mut answers = Vec::new();
    for text in [
        "begin".to_owned(),
        format!("set local my.nonce = '{nonce}'"),
        "select current_setting('my.nonce')".to_owned(),
        "commit".to_owned(),
    ] {
        let answer = match wire.send(&query(&text)) {
            Ok(()) => wire.answer(),
            Err(_) => Answer::default(),
        };
        if text.starts_with("select") {
            must_be(&answer, nonce);
        }
        let over = answer.code().is_some() || answer.status().is_none();
        answers.push(answer);
        if over {
            break;
        }
    }
    answers
}

/// After a fault and when all clients have left: no server connection is lent, nobody waits, the
/// server has as many sessions as pgweir says, and pgweir is alive.
#[track_caller]
pub fn at_rest(weir: &Pgweir, pg: &Postgres) {
    weir.assert_quiet();
    let sessions = "select count(*) from pg_stat_activity \
                    where backend_type = 'client backend' and pid <> pg_backend_pid()";
    let mut wire = pg.client();
    until("the server has the sessions that pgweir knows of", || {
        let pool = weir.show("POOLS");
        let pool = pool.iter().filter(|row| row["database"] == "postgres");
        let count = |row: &super::operate::Row| {
            let columns = ["sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login"];
            columns
                .map(|c| row[c].parse::<u64>().unwrap())
                .iter()
                .sum::<u64>()
        };
        let known: u64 = pool.map(count).sum();
        known.to_string() == wire.query(sessions).value()
    });
    let clients = weir.show("CLIENTS");
    let left = clients.iter().filter(|c| c["database"] == "postgres");
    assert_eq!(left.count(), 0, "{clients:?}");
}

/// Memory in use, in bytes.
pub fn memory(weir: &Pgweir) -> u64 {
    let path = format!("/proc/{}/status", weir.child.id());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}
