//! Asking what is shared for an answer, and giving it one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::RedisError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Link, Tier, keys};
use crate::cache::Oid;
use crate::cache::mark::Marks;
use crate::cache::packed::{Generation, Generations, Packed};
use crate::cache::space::Space;

/// So many entries may be on their way at once; more are not written.
const STORING_MAX: usize = 1000;
/// Longest life of an entry: shorter than that of a generation, which must be there to compare.
const LONGEST_LIFE: u64 = 86_400_000;
/// For the generation of everything.
const ALL: Oid = Oid::MAX;
/// Bytes of an entry beside its rows: its key, its description.
const MORE: usize = 256 * 1024;

/// What was found.
#[derive(Debug, Default)]
pub struct Looked {
    /// An entry that is valid now.
    pub found: Option<Packed>,
    /// For an entry that is made of what the server says from now on.
    pub generations: Option<Generations>,
}

/// A question, without the one who asks.
struct Question {
    space: Arc<Space>,
    marks: Marks,
    key: Box<[u8]>,
    most: usize,
}

impl Tier {
    /// Looks for an entry of that key that depends on these and has at most `most` bytes. `None` if
    /// nobody can be asked. The answer comes within `timeout` of the settings; none is as good as an
    /// empty one.
    pub fn look(
        self: &Arc<Tier>,
        space: &Arc<Space>,
        marks: &Marks,
        key: &[u8],
        most: usize,
        now: u64,
    ) -> Option<oneshot::Receiver<Looked>> {
        if owes(space, marks) {
            // What is shared may be older than a commit that this instance has acknowledged.
            return None;
        }
        let link = self.link.load_full()?;
        if !self.breaker.allows(now) {
            return None;
        }
        let question = Question {
            space: Arc::clone(space),
            marks: Arc::clone(marks),
            key: key.into(),
            most: most + MORE,
        };
        let (answer, answered) = oneshot::channel();
        let tier = Arc::clone(self);
        self.control.spawn(async move {
            let limit = tier.settings.timeout;
            let looked = timeout(limit, tier.ask(&link, &question)).await;
            let looked = tier.judge(looked.map_err(|_| limit));
            // Nobody may be there any longer.
            let _ = answer.send(looked.unwrap_or_default());
        });
        Some(answered)
    }

    /// Counts an outcome for the breaker; `None` for a failure.
    fn judge<T>(&self, outcome: Result<Result<T, RedisError>, Duration>) -> Option<T> {
        let why = match outcome {
            Ok(Ok(good)) => {
                self.breaker.succeeded();
                return Some(good);
            }
            Ok(Err(error)) => error.to_string(),
            Err(limit) => format!("no answer for {limit:?}"),
        };
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        let was_open = self.breaker.is_open();
        self.breaker.failed(self.now());
        if !was_open && self.breaker.is_open() {
            tracing::warn!(why, "the shared cache is not asked for a while");
        }
        None
    }

    async fn ask(&self, link: &Link, question: &Question) -> Result<Looked, RedisError> {
        let keys = generation_keys(&link.namespace, question);
        let mut connection = link.connection.clone();
        let mut get = redis::cmd("MGET");
        get.arg(keys::entry(&link.namespace, &question.key));
        keys.iter().for_each(|k| {
            get.arg(k);
        });
        let mut values: Vec<Option<Vec<u8>>> = if self.is_strict() {
            let mut pipe = redis::pipe();
            // Leases first: one that ends in between has changed the generation.
            pipe.cmd("EXISTS");
            for mark in question.marks.iter() {
                let space = &question.space.name;
                pipe.arg(keys::lease(&link.namespace, space, mark.oid));
            }
            pipe.add_command(get);
            let (leases, values): (u64, _) = pipe.query_async(&mut connection).await?;
            if leases > 0 {
                return Ok(Looked::default());
            }
            values
        } else {
            get.query_async(&mut connection).await?
        };
        let packed = if values.is_empty() {
            None
        } else {
            values.remove(0)
        };
        let generations = match pair(question, &values) {
            Some(generations) => generations,
            None => match self.make(&mut connection, question, &keys).await? {
                Some(generations) => generations,
                None => return Ok(Looked::default()),
            },
        };
        let packed = packed.and_then(|bytes| Packed::decode(&bytes, question.most));
        let packed = packed.filter(|p| p.key == question.key);
        let counters = &self.counters;
        let (counter, found) = match packed {
            None => (&counters.misses, None),
            Some(packed) if packed.generations != generations => (&counters.outdated, None),
            // While it was asked for, something has changed here.
            Some(_) if owes(&question.space, &question.marks) => (&counters.outdated, None),
            Some(packed) => (&counters.hits, Some(packed)),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(Looked {
            found,
            generations: Some(generations),
        })
    }

    /// Gives those a generation that have none, and reads them all.
    async fn make(
        &self,
        connection: &mut redis::aio::MultiplexedConnection,
        question: &Question,
        keys: &[String],
    ) -> Result<Option<Generations>, RedisError> {
        let mut pipe = redis::pipe();
        for key in keys {
            let generation = self.new_generation().to_le_bytes();
            pipe.cmd("SET").arg(key).arg(&generation[..]).arg("NX");
            pipe.arg("EX").arg(keys::LIFE).ignore();
        }
        pipe.cmd("MGET");
        keys.iter().for_each(|k| {
            pipe.arg(k);
        });
        let (values,): (Vec<Option<Vec<u8>>>,) = pipe.query_async(connection).await?;
        Ok(pair(question, &values))
    }

    /// Writes an entry, some time soon, perhaps.
    pub fn store(self: &Arc<Tier>, space: &Arc<Space>, marks: &Marks, packed: Packed) {
        let life = packed.times[2]
            .saturating_sub(unix_millis())
            .min(LONGEST_LIFE);
        let Some(link) = self.link.load_full() else {
            return;
        };
        if life == 0 || owes(space, marks) || !self.breaker.allows(self.now()) {
            return;
        }
        if self.storing.fetch_add(1, Ordering::Relaxed) >= STORING_MAX {
            self.storing.fetch_sub(1, Ordering::Relaxed);
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let tier = Arc::clone(self);
        self.control.spawn(async move {
            let mut connection = link.connection.clone();
            let bytes = packed.encode(tier.settings.compress_above);
            let mut set = redis::cmd("SET");
            set.arg(keys::entry(&link.namespace, &packed.key));
            set.arg(bytes).arg("PX").arg(life);
            let limit = tier.settings.timeout;
            let stored = timeout(limit, set.exec_async(&mut connection)).await;
            if tier.judge(stored.map_err(|_| limit)).is_some() {
                tier.counters.stored.fetch_add(1, Ordering::Relaxed);
            }
            tier.storing.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn owes(space: &Space, marks: &Marks) -> bool {
    space.outbox().is_none_or(|outbox| outbox.owes(marks))
}

fn generation_keys(namespace: &str, question: &Question) -> Vec<String> {
    let of_marks = question.marks.iter();
    let of_marks = of_marks.map(|m| keys::generation(namespace, &question.space.name, m.oid));
    std::iter::once(keys::all(namespace))
        .chain(of_marks)
        .collect()
}

/// `None` if one is missing.
fn pair(question: &Question, values: &[Option<Vec<u8>>]) -> Option<Generations> {
    let oids = std::iter::once(ALL).chain(question.marks.iter().map(|m| m.oid));
    let generation = |value: &Option<Vec<u8>>| -> Option<Generation> {
        let bytes = value.as_deref()?.try_into().ok()?;
        Some(Generation::from_le_bytes(bytes))
    };
    oids.zip(values)
        .map(|(oid, value)| Some((oid, generation(value)?)))
        .collect()
}

/// By the clock on the wall, which instances have more or less in common.
pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
