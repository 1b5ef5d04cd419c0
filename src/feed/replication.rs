//! Following by the write-ahead log: a temporary replication slot, which ends with its connection
//! and so never makes the server keep anything for a pgweir that is gone (PostgreSQL docs,
//! "Streaming Replication Protocol").
//!
//! A second connection asks where the log ends. When the first one has been sent everything up to
//! there, everything is known that was committed before the question.
//!
//! The log tells of a commit before other sessions see it. What was read in between is old, and may
//! have been stored after the commit was told: so what a transaction has changed counts as changed
//! once more each time that everything is known, until a question has found the transaction over.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::install::{MATERIALIZED, PREFIX, quoted, quoted_name};
use super::pgoutput::{Change, Lsn, Said, Snapshot, said, status};
use super::relations::cover;
use super::wire::{FeedWire, Message};
use super::{FeedError, Job, LOOK_AGAIN};
use crate::cache::Oid;
use crate::cache::space::Space;
use crate::protocol::encode;
use crate::protocol::startup::Replication;

/// The first version whose pgoutput passes on messages (`pg_logical_emit_message`).
const MESSAGES_SINCE: u32 = 14;
/// While the sender is behind, it is asked this often how far it is.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// The two connections.
struct Lines {
    stream: FeedWire,
    side: FeedWire,
    slot: String,
}

/// What has been told of the transaction that is being told, and of relations.
struct Reader<'a> {
    job: &'a Job,
    now: Commit,
    /// Told, but perhaps not visible yet.
    unsettled: Vec<Commit>,
    descriptions: HashMap<Oid, u64>,
    hasher: RandomState,
}

/// What a transaction has changed.
#[derive(Debug, Default)]
struct Commit {
    xid: u32,
    relations: HashSet<Oid>,
    schema: bool,
}

/// A question how far the log goes and who is done, and its answer.
#[derive(Debug)]
struct Question {
    asked: u64,
    end: Lsn,
    snapshot: Snapshot,
}

pub(super) async fn follow(job: &Job) -> Result<Infallible, FeedError> {
    let mut lines = Lines::open(job).await?;
    let mut schema = look(job, &mut lines).await?;
    lines.start(job).await?;
    job.begin();

    let mut reader = Reader::new(job);
    let mut questions = interval(job.interval());
    questions.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open: Option<Question> = None;
    let (mut heard, mut looked) = (Instant::now(), Instant::now());
    let mut ask_again = Instant::now();
    let mut sent = Lsn(0);
    loop {
        tokio::select! {
            message = lines.stream.read() => match reader.read(&message?)? {
                Some((position, wants_answer)) => {
                    sent = position.max(sent);
                    if wants_answer {
                        lines.stream.send(&status(sent, false)).await?;
                    }
                    if let Some(question) = open.take_if(|q| sent >= q.end) {
                        heard = Instant::now();
                        reader.settle(&question.snapshot);
                        job.known(question.asked);
                    }
                    ask_again = Instant::now() + ASK_AGAIN;
                }
                None => continue,
            },
            () = sleep_until(ask_again), if open.is_some() => {
                ask_again = Instant::now() + job.interval();
                lines.stream.send(&status(sent, true)).await?;
            }
            _ = questions.tick() => {
                if heard.elapsed() > job.patience() {
                    return Err(FeedError::Silent(job.patience()));
                }
                if job.space.schema() != schema || looked.elapsed() > LOOK_AGAIN {
                    schema = look(job, &mut lines).await?;
                    looked = Instant::now();
                }
                if open.is_none() {
                    open = Some(lines.question(job).await?);
                    ask_again = Instant::now();
                }
            }
        }
    }
}

impl Lines {
    async fn open(job: &Job) -> Result<Lines, FeedError> {
        let stream = job.connect(Replication::Logical).await?;
        let side = job.connect(Replication::None).await?;
        let slot = format!(
            "pgweir_cache_{}_{:08x}",
            std::process::id(),
            RandomState::new().hash_one(job.now()) as u32
        );
        Ok(Lines { stream, side, slot })
    }

    async fn start(&mut self, job: &Job) -> Result<(), FeedError> {
        // Waits for the end of all transactions that are open now.
        let create = format!(
            "CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT",
            quoted_name(&self.slot)
        );
        self.stream.query_unlimited(&create).await?;
        let messages = match self.stream.major >= MESSAGES_SINCE {
            true => ", messages 'true'",
            false => "",
        };
        // The list is one of names in double quotes within a constant.
        let names = quoted_name(&job.what.settings.publication).replace('\'', "''");
        let start = format!(
            "START_REPLICATION SLOT {} LOGICAL 0/0 (proto_version '1', publication_names '{names}'{messages})",
            quoted_name(&self.slot)
        );
        let mut out = Vec::new();
        encode::query(&mut out, start.as_bytes());
        self.stream.send(&out).await?;
        loop {
            let message = self.stream.read().await?;
            match message.tag {
                b'W' => return Ok(()),
                b'E' => return Err(super::wire::error(&message)),
                b'N' | b'S' => {}
                tag => {
                    let tag = char::from(tag);
                    return Err(FeedError::Other(format!("unexpected message {tag:?}")));
                }
            }
        }
    }

    /// Where does the log end, and how much of it is kept for us?
    async fn question(&mut self, job: &Job) -> Result<Question, FeedError> {
        let asked = job.now();
        let sql = format!(
            "select pg_catalog.pg_current_wal_insert_lsn(), (select pg_catalog.pg_wal_lsn_diff(\
             pg_catalog.pg_current_wal_insert_lsn(), restart_lsn)::pg_catalog.int8 \
             from pg_catalog.pg_replication_slots where slot_name = {}), \
             pg_catalog.pg_current_snapshot()",
            quoted(&self.slot)
        );
        let rows = self.side.query(&sql).await?;
        let row = rows.first().map_or(&[][..], |row| &row[..]);
        let end = row.first().and_then(|end| Lsn::parse(end.as_deref()?));
        let snapshot = row.get(2).and_then(|s| Snapshot::parse(s.as_deref()?));
        let (Some(end), Some(snapshot)) = (end, snapshot) else {
            return Err(FeedError::Other("no end of the log".to_owned()));
        };
        let kept = row
            .get(1)
            .and_then(|kept| kept.as_deref()?.parse::<u64>().ok());
        let most = job.what.settings.max_wal;
        if kept.is_some_and(|kept| kept > most as u64) {
            tracing::error!(database = %job.space.name, slot = self.slot, kept, limit = most,
                "the server keeps too much of its log for the cache: the replication slot is dropped");
            let text = "the server had to keep more of its log than feed_max_wal allows";
            return Err(FeedError::Other(text.to_owned()));
        }
        let end = end.end_of_records();
        Ok(Question {
            asked,
            end,
            snapshot,
        })
    }
}

/// Asks which tables are published; gives the number of the schema that this is true of.
async fn look(job: &Job, lines: &mut Lines) -> Result<u64, FeedError> {
    let schema = job.space.schema();
    let name = quoted(&job.what.settings.publication);
    let sql = format!(
        "select pubinsert and pubupdate and pubdelete and pubtruncate and not pubviaroot \
         from pg_catalog.pg_publication where pubname = {name}"
    );
    let rows = lines.side.query(&sql).await?;
    let Some(whole) = rows.first() else {
        return Err(FeedError::Other(format!("there is no publication {name}")));
    };
    if whole.first() != Some(&Some("t".to_owned())) {
        return Err(FeedError::Other(format!(
            "publication {name} must publish insert, update, delete and truncate, and not via the root"
        )));
    }
    // Which rows are told may be restricted since 15.
    let filter = match lines.side.major >= 15 {
        true => " and p.rowfilter is null",
        false => "",
    };
    // A partitioned table has no rows of its own.
    let mut sql = format!(
        "select c.oid from pg_catalog.pg_publication_tables p \
         join pg_catalog.pg_namespace n on n.nspname = p.schemaname \
         join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = p.tablename \
         where p.pubname = {name} and c.relpersistence = 'p'{filter} \
         union all select oid from pg_catalog.pg_class where relkind = 'p'"
    );
    if lines.side.major >= MESSAGES_SINCE {
        sql = format!("{sql} union all {MATERIALIZED}");
    }
    let rows = lines.side.query(&sql).await?;
    cover(job, &rows)?;
    Ok(schema)
}

impl Reader<'_> {
    fn new(job: &Job) -> Reader<'_> {
        Reader {
            job,
            now: Commit::default(),
            unsettled: Vec::new(),
            descriptions: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// Gives how far the sender says that it is, and whether it wants an answer.
    fn read(&mut self, message: &Message) -> Result<Option<(Lsn, bool)>, FeedError> {
        match message.tag {
            b'd' => {}
            b'E' => return Err(super::wire::error(message)),
            b'c' | b'C' | b'Z' => return Err(FeedError::Other("the stream has ended".to_owned())),
            _ => return Ok(None),
        }
        let said = said(&message.body);
        let said =
            said.ok_or_else(|| FeedError::Other("a change was not understood".to_owned()))?;
        let change = match said {
            Said::Alive { sent, wants_answer } => return Ok(Some((sent, wants_answer))),
            Said::Change(change) => change,
        };
        match change {
            Change::Row(oid) => {
                self.now.relations.insert(oid);
            }
            Change::Truncate(oids) => self.now.relations.extend(oids),
            Change::Relation { oid, description } => {
                // Told again when it may be another one; often it is not.
                let hash = self.hasher.hash_one((description, message.length));
                let before = self.descriptions.insert(oid, hash);
                self.now.schema |= before.is_some_and(|before| before != hash);
            }
            Change::Message { prefix } => self.now.schema |= prefix == PREFIX.as_bytes(),
            Change::Commit => self.commit(),
            Change::Begin { xid } => {
                self.now = Commit {
                    xid,
                    ..Commit::default()
                };
            }
            Change::Other => {}
        }
        Ok(None)
    }

    fn commit(&mut self) {
        let commit = std::mem::take(&mut self.now);
        if commit.schema || !commit.relations.is_empty() {
            commit.tell(&self.job.space);
            self.unsettled.push(commit);
        }
    }

    /// Everything is known that was committed before this.
    fn settle(&mut self, snapshot: &Snapshot) {
        self.unsettled.retain(|commit| {
            commit.tell(&self.job.space);
            !snapshot.is_over(commit.xid)
        });
    }
}

impl Commit {
    fn tell(&self, space: &Space) {
        if self.schema {
            space.schema_changed_elsewhere();
        }
        let relations = self.relations.iter();
        relations.for_each(|oid| space.changed_elsewhere(*oid));
    }
}
