//! Statements for another process. They keep their numbers and with them their names on server
//! connections, which go there, too.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Registry, Source, Statement, server_name};
use crate::cache::memo::Slot;
use crate::sql;

/// The tags that [`Statement::answer`] can be.
const ANSWERS: [&str; 2] = ["DEALLOCATE", "DEALLOCATE ALL"];

/// A [`Statement`]; others are mentioned by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRecord {
    pub id: u64,
    named: bool,
    /// SQL `PREPARE`, not a Parse message.
    is_sql: bool,
    text: ByteBuf,
    types: ByteBuf,
    effects: Option<Vec<sql::Statement>>,
    needs: Vec<u64>,
    makes: Option<(String, u64)>,
    answer: Option<String>,
    parse_environment: u64,
    shared: bool,
    stale: bool,
    proven: bool,
    shape: Option<u64>,
    reshaped: bool,
}

impl Statement {
    pub fn record(&self) -> StatementRecord {
        let (is_sql, text, types) = match &self.source {
            Source::Parse { query, types } => (false, query.to_vec(), types.to_vec()),
            Source::Sql { text } => (true, text.to_vec(), Vec::new()),
        };
        let makes = self.makes.as_ref();
        StatementRecord {
            id: self.id,
            named: !self.name.is_empty(),
            is_sql,
            text: ByteBuf::from(text),
            types: ByteBuf::from(types),
            effects: self.effects.as_ref().map(|e| e.to_vec()),
            needs: self.needs.iter().map(|s| s.id).collect(),
            makes: makes.map(|(name, made)| (name.clone(), made.id)),
            answer: self.answer.map(str::to_owned),
            parse_environment: self.parse_environment,
            shared: self.shared,
            stale: self.is_stale(),
            proven: self.proven.load(Ordering::Relaxed),
            shape: self.shape.get().copied(),
            reshaped: self.is_reshaped(),
        }
    }

    /// What it mentions.
    pub fn mentions(&self) -> impl Iterator<Item = &Arc<Statement>> {
        let made = self.makes.iter().map(|(_, made)| made);
        self.needs.iter().chain(made)
    }
}

impl Registry {
    /// Takes in a statement of another process. `known` gives what came before by its number;
    /// `None` if the record mentions what it does not know.
    pub fn adopt(
        &self,
        record: StatementRecord,
        known: impl Fn(u64) -> Option<Arc<Statement>>,
    ) -> Option<Arc<Statement>> {
        let needs: Option<Vec<_>> = record.needs.iter().map(|id| known(*id)).collect();
        let makes = match record.makes {
            Some((name, id)) => Some((name, known(id)?)),
            None => None,
        };
        let answer = match record.answer {
            Some(answer) => Some(*ANSWERS.iter().find(|a| **a == answer)?),
            None => None,
        };
        let shape = OnceLock::new();
        if let Some(known) = record.shape {
            let _ = shape.set(known);
        }
        let (text, types) = (record.text.into_vec(), record.types.into_vec());
        let source = match record.is_sql {
            true => Source::Sql { text: text.into() },
            false => Source::Parse {
                query: text.into(),
                types: types.into(),
            },
        };
        let statement = Arc::new(Statement {
            id: record.id,
            text_key: source.text_key(),
            known: AtomicUsize::new(0),
            together: Arc::clone(&self.together),
            name: match record.named {
                true => server_name(record.id),
                false => Box::default(),
            },
            source,
            effects: record.effects.map(Arc::from),
            needs: needs?,
            makes,
            answer,
            parse_environment: record.parse_environment,
            shared: record.shared,
            stale: AtomicBool::new(record.stale),
            proven: AtomicBool::new(record.proven),
            shape,
            reshaped: AtomicBool::new(record.reshaped),
            judged: Slot::default(),
        });
        if record.shared && !record.stale {
            self.offer(&statement);
        }
        Some(statement)
    }

    /// Whoever parses the same from now on gets it, unless there is one already.
    fn offer(&self, statement: &Arc<Statement>) {
        let Source::Parse { query, types } = &statement.source else {
            return;
        };
        let mut inner = self.inner.lock();
        let hash = inner.hash(query, types, statement.parse_environment);
        let there = inner.shared.get(&hash).and_then(std::sync::Weak::upgrade);
        if there.is_none_or(|s| s.is_stale()) {
            inner.insert(hash, Arc::downgrade(statement));
        }
    }
}
