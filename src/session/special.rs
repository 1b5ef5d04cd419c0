//! SQL texts of the client: the ordinary ones, and those that touch the session.
//!
//! Names of SQL-level prepared statements are naming by the pool's own, `DEALLOCATE` of a name
//! that exists only for the client becomes an empty query with the right answer, and what the
//! pool does not allow is made to fail on the server.

use std::collections::VecDeque;
use std::sync::Arc;

use super::backlog::{Expect, Naming, Plan};
use super::counted::Run;
use super::detached::ABORTED;
use super::link::Link;
use super::pins::Pin;
use super::server::Copy;
use super::statement::{OUR_NAMES, Source, Statement, Traits};
use super::upstream::{Body, ClientViolation, malformed};
use crate::config::SessionStatePolicy;
use crate::protocol::encode;
use crate::protocol::frame::{HEADER, Header};
use crate::protocol::frontend;
use crate::protocol::sqlstate;
use crate::sql::{self, Class, Effect};
use crate::statement_stats::normal::LONGEST;

/// Run where nothing is to be done: it fails in a failed transaction, as any statement does, and is
/// allowed everywhere else.
const HARMLESS: &[u8] = b"UNLISTEN pgweir_nothing";

/// A simple query up to this size is looked at; a longer one is taken to do anything.
const QUERY_MAX: usize = 4 * 1024 * 1024;

/// A text with the client's statement names naming by ours.
#[derive(Debug, Default)]
struct Renamed {
    text: Vec<u8>,
    needs: Vec<Arc<Statement>>,
    prepares: VecDeque<(String, Arc<Statement>)>,
}

impl Link<'_> {
    pub(super) fn on_query(&mut self, header: Header) -> Result<bool, ClientViolation> {
        if header.total > QUERY_MAX {
            if self.x.up.unscanned().len() < HEADER + LONGEST {
                // So much of it is looked at, however it is cut.
                self.x.up.reserve(HEADER + LONGEST);
                return Ok(false);
            }
            self.x.probe = true;
            self.x.settings_unknown = true;
            self.note_anything();
            let beginning = &self.x.up.unscanned()[HEADER..HEADER + LONGEST];
            let strings = self.server.reported.standard_conforming_strings();
            self.x.told.text(beginning, strings);
            self.x.told.is_sent();
            let run = self.run_of_text(beginning);
            self.server.backlog.push(Expect::Query(None, run));
            self.x.up.keep(header.total);
            return Ok(true);
        }
        if self.x.up.unscanned().len() < header.total {
            self.x.up.reserve(header.total);
            self.admit(header.total)?;
            return Ok(false);
        }
        let judged = self.judge_query();
        let body = &self.x.up.unscanned()[HEADER..header.total];
        let text = frontend::query_text(body).ok_or_else(|| malformed("Query"))?;
        let strings = self.server.reported.standard_conforming_strings();
        // The unnamed statement does not survive a simple query.
        match sql::classify(text, strings) {
            Class::Plain => {
                self.x.told.text(text, strings);
                self.x.told.is_sent();
                let run = self.run_of_text(text);
                self.note_query(judged);
                self.server.unnamed = 0;
                self.client.end_unnamed();
                self.server.backlog.push(Expect::Query(None, run));
                self.x.up.keep(header.total);
            }
            Class::Special(statements) => {
                if self.server.backlog.iter().any(Expect::is_visible)
                    && self.server.copy == Copy::No
                {
                    // How it is dealt with depends on the state of the transaction.
                    self.server.backlog.unsettle();
                    return Ok(true);
                }
                self.x.told.text(text, strings);
                self.x.told.is_sent();
                let text = text.to_vec();
                self.admit(text.len())?;
                let judged = match self.decide_names(&statements) {
                    true => self.judge_query(),
                    false => judged,
                };
                self.note_query(judged);
                self.client.end_unnamed();
                self.special_query(header, &text, statements);
            }
        }
        Ok(true)
    }

    fn special_query(&mut self, header: Header, text: &[u8], statements: Vec<sql::Statement>) {
        self.x.up.skip(header.total);
        self.server.unnamed = 0;
        if let Some(message) = self.refusal(text, &statements) {
            return self.reject_simple(sqlstate::FEATURE_NOT_SUPPORTED, message);
        }
        if let Some(answer) = self.local_deallocate(&statements) {
            encode::query(self.x.up.insert(), HARMLESS);
            let run = self.run_of_text(text);
            let plan = Plan {
                statements,
                done: 0,
                prepares: VecDeque::new(),
                needs: Vec::new(),
                answer: Some(answer),
            };
            return self.push_plan(plan, run);
        }
        let renamed = match self.rename(text, &statements) {
            Ok(renamed) => renamed,
            Err(name) => {
                let (code, message) = self.taken(&name);
                return self.reject_simple(code, message);
            }
        };
        for needed in &renamed.needs {
            self.ensure_held(needed, false);
        }
        encode::query(self.x.up.insert(), &renamed.text);
        let run = match &renamed.needs[..] {
            // EXECUTE alone is the statement that it executes.
            [executed] if statements.len() == 1 => self.run_of_statement(executed),
            _ => self.run_of_text(text),
        };
        let plan = Plan {
            statements,
            done: 0,
            prepares: renamed.prepares,
            needs: renamed.needs,
            answer: None,
        };
        self.push_plan(plan, run);
    }

    fn push_plan(&mut self, plan: Plan, run: Run) {
        let unsettling = plan.statements.iter().any(is_unsettling);
        self.server
            .backlog
            .push(Expect::Query(Some(Box::new(plan)), run));
        if unsettling {
            self.server.backlog.unsettle();
        }
    }

    /// A Parse whose statement this client did not just use.
    pub(super) fn on_new_parse(
        &mut self,
        header: Header,
        body: Body,
    ) -> Result<bool, ClientViolation> {
        self.admit(header.total)?;
        let bytes = body.of(self.x.up.unscanned());
        let message = frontend::parse(bytes).ok_or_else(|| malformed("Parse"))?;
        let named = !message.name.is_empty();
        let environment = self.client.settings.parse_environment();
        // The second attempt at a group finds the names that the first has made.
        let again = self.x.group.retried && self.x.group.suppress > 0;
        if named && !again && self.client.statement(message.name).is_some() {
            let (code, message) = self.taken(&String::from_utf8_lossy(message.name));
            self.x.up.skip(header.total);
            self.reject_extended(code, message);
            return Ok(true);
        }
        let strings = self.server.reported.standard_conforming_strings();
        let statement = match sql::classify(message.query, strings) {
            Class::Plain => {
                let shareable =
                    !self.client.local_environment && !sql::mentions_datetime_word(message.query);
                let registry = self.rules.registry;
                let shared = shareable
                    .then(|| registry.shared(named, message.query, message.types, environment))
                    .flatten();
                shared.unwrap_or_else(|| {
                    let source = Source::Parse {
                        query: message.query.into(),
                        types: message.types.into(),
                    };
                    registry.private(source, named, Traits::default())
                })
            }
            Class::Special(statements) => {
                let (query, types) = (message.query.to_vec(), message.types.to_vec());
                match self.special_parse(&query, &types, named, statements) {
                    Ok(statement) => statement,
                    Err((code, message)) => {
                        self.x.up.skip(header.total);
                        self.reject_extended(code, message);
                        return Ok(true);
                    }
                }
            }
        };
        // Read again: the message has not moved.
        let bytes = body.of(self.x.up.unscanned());
        let name: Box<[u8]> = frontend::parse(bytes).map_or(Box::default(), |m| m.name.into());
        if self.fails_here(&statement) {
            if name.is_empty() {
                self.client.end_unnamed();
            }
            self.x.up.skip(header.total);
            self.reject_in_failed_transaction();
            return Ok(true);
        }
        let naming = if name.is_empty() {
            Naming::Unnamed(self.client.statement(b"").cloned())
        } else {
            Naming::Named(name.clone())
        };
        self.client.set_statement(&name, Arc::clone(&statement));
        self.prepare(header, &statement, naming);
        Ok(true)
    }

    fn special_parse(
        &mut self,
        query: &[u8],
        types: &[u8],
        named: bool,
        statements: Vec<sql::Statement>,
    ) -> Result<Arc<Statement>, (sqlstate::SqlState, String)> {
        if let Some(message) = self.refusal(query, &statements) {
            return Err((sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        let registry = self.rules.registry;
        let source = |query: Vec<u8>| Source::Parse {
            query: query.into(),
            types: types.into(),
        };
        if let Some(answer) = self.local_deallocate(&statements) {
            let traits = Traits {
                effects: Some(statements.into()),
                answer: Some(answer),
                ..Traits::default()
            };
            return Ok(registry.private(source(HARMLESS.to_vec()), named, traits));
        }
        let mut renamed = self
            .rename(query, &statements)
            .map_err(|name| self.taken(&name))?;
        let traits = Traits {
            effects: Some(statements.into()),
            needs: renamed.needs,
            makes: renamed.prepares.pop_front(),
            answer: None,
        };
        Ok(registry.private(source(renamed.text), named, traits))
    }

    /// Why the pool does not allow these statements, if it does not.
    fn refusal(&self, text: &[u8], statements: &[sql::Statement]) -> Option<String> {
        if self.rules.session_state != SessionStatePolicy::Reject {
            return None;
        }
        let refused = statements.iter().find(|s| {
            s.effects
                .iter()
                .any(|e| matches!(e, Effect::MayPin(_) | Effect::SetConfigUnknown))
        })?;
        let shown = text.get(refused.range.clone()).unwrap_or(text);
        let shown: String = String::from_utf8_lossy(shown)
            .trim()
            .chars()
            .take(80)
            .collect();
        Some(format!(
            "session_state = \"reject\" does not allow this statement here: {shown}"
        ))
    }

    /// A lone DEALLOCATE of what only the client knows by that name: the answer's tag.
    fn local_deallocate(&self, statements: &[sql::Statement]) -> Option<&'static str> {
        let [statement] = statements else { return None };
        match statement.effects.as_slice() {
            // One that the client pins the connection with is there by its own name.
            [Effect::DeallocateAll] if self.client.pins.contains(Pin::Prepared) => None,
            [Effect::DeallocateAll] => Some("DEALLOCATE ALL"),
            [Effect::Deallocate { name, .. }] => {
                self.client.statement(name.as_bytes()).map(|_| "DEALLOCATE")
            }
            _ => None,
        }
    }

    /// What is said to a client that uses a name twice; that its transaction has failed comes first.
    fn taken(&self, name: &str) -> (sqlstate::SqlState, String) {
        if self.server.status == b'E' {
            return (sqlstate::IN_FAILED_TRANSACTION, ABORTED.to_owned());
        }
        let message = format!("prepared statement \"{name}\" already exists");
        (sqlstate::DUPLICATE_PREPARED_STATEMENT, message)
    }

    /// Replaces the client's statement names. The error is a name that is taken already.
    fn rename(&self, text: &[u8], statements: &[sql::Statement]) -> Result<Renamed, String> {
        let mut renamed = Renamed {
            text: text.to_vec(),
            ..Renamed::default()
        };
        let mut made: Vec<(String, Arc<Statement>)> = Vec::new();
        let mut gone = Gone::default();
        let mut edits = Vec::new();
        for statement in statements {
            for effect in &statement.effects {
                match effect {
                    Effect::Prepare { name, name_range } => {
                        let existed = self.client.statement(name.as_bytes()).is_some();
                        if (existed && !gone.has(name)) || made.iter().any(|(n, _)| n == name) {
                            return Err(name.clone());
                        }
                        let body = body_effects(statement);
                        let prepared = self.rules.registry.sql(body, |ours| {
                            let own = statement.range.clone();
                            let within = name_range.start - own.start..name_range.end - own.start;
                            sql::splice(&text[own], within, ours)
                        });
                        edits.push((name_range.clone(), prepared.name.clone()));
                        made.push((name.clone(), Arc::clone(&prepared)));
                        renamed.prepares.push_back((name.clone(), prepared));
                    }
                    Effect::Execute { name, name_range }
                    | Effect::Deallocate { name, name_range } => {
                        let own = made.iter().find(|(n, _)| n == name).map(|(_, s)| s);
                        let before = self.client.statement(name.as_bytes());
                        match own.or_else(|| before.filter(|_| !gone.has(name))) {
                            Some(known) => {
                                edits.push((name_range.clone(), known.name.clone()));
                                if own.is_none() {
                                    renamed.needs.push(Arc::clone(known));
                                }
                            }
                            None if name.as_bytes().starts_with(OUR_NAMES) => {
                                // It must not reach one of ours.
                                let nobodys = [OUR_NAMES, b"no_", name.as_bytes()].concat();
                                let quoted = quote_identifier(&nobodys);
                                edits.push((name_range.clone(), quoted.into()));
                            }
                            None => {}
                        }
                        if matches!(effect, Effect::Deallocate { .. }) {
                            made.retain(|(n, _)| n != name);
                            gone.names.push(name.clone());
                        }
                    }
                    Effect::DeallocateAll | Effect::DiscardAll => {
                        made.clear();
                        gone.all = true;
                    }
                    _ => {}
                }
            }
        }
        // From the end, so that the ranges before stay right.
        edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        for (range, name) in edits {
            renamed.text = sql::splice(&renamed.text, range, &name);
        }
        Ok(renamed)
    }

    /// Whether what has been run makes it necessary to ask what pins the session.
    pub fn wants_probe(&self) -> bool {
        self.x.probe && self.rules.session_state != SessionStatePolicy::Allow
    }
}

/// Statements that a text has deallocated so far.
#[derive(Default)]
struct Gone {
    all: bool,
    names: Vec<String>,
}

impl Gone {
    fn has(&self, name: &str) -> bool {
        self.all || self.names.iter().any(|n| n == name)
    }
}

fn quote_identifier(name: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for &byte in name {
        quoted.extend_from_slice(if byte == b'"' {
            b"\"\""
        } else {
            std::slice::from_ref(&byte)
        });
    }
    quoted.push(b'"');
    quoted
}

/// Whether the next request cannot be read rightly before this statement is answered.
pub(super) fn is_unsettling(statement: &sql::Statement) -> bool {
    statement.effects.iter().any(|effect| {
        !matches!(
            effect,
            Effect::MayPin(_)
                | Effect::MayUnpin(_)
                | Effect::Listen { .. }
                | Effect::Unlisten { .. }
                | Effect::Ddl
                | Effect::Savepoint { .. }
                | Effect::Release { .. }
                | Effect::Begin
                | Effect::DiscardTemp
                | Effect::DiscardOther
        )
    })
}

/// What running a prepared statement does: the effects behind that of `PREPARE` itself.
fn body_effects(statement: &sql::Statement) -> Option<Arc<[sql::Statement]>> {
    let is_prepare = |e: &Effect| matches!(e, Effect::Prepare { .. });
    let at = statement.effects.iter().position(is_prepare)?;
    let effects = statement.effects[at + 1..].to_vec();
    let range = statement.range.clone();
    (!effects.is_empty()).then(|| vec![sql::Statement { range, effects }].into())
}
