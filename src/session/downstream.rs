//! Server to client: each answer is attributed to what it answers, and forwarded, hidden or
//! replaced.

use std::sync::Arc;

use super::backlog::{Expect, Rejection};
use super::client::ClientState;
use super::lane::Lane;
use super::server::{Copy, ServerState};
use super::statement::{Registry, Statement};
use crate::config::SessionStatePolicy;
use crate::protocol::backend;
use crate::protocol::encode::{self, Severity};
use crate::protocol::frame::{self, HEADER};
use crate::protocol::sqlstate;
use crate::sql::{self, Effect};

/// Messages up to this size are collected before they are looked at or forwarded.
const WHOLE_MESSAGE_MAX: usize = 16 * 1024 * 1024;

/// Where the server raises "cached plan must not change result type" (0A000); asyncpg and pgjdbc
/// know the error by this name and prepare the statement again.
pub(super) const OUTDATED_ROUTINE: &str = "RevalidateCachedQuery";

/// The server said something that cannot be an answer to what it was asked. Its connection must be
/// closed: nothing is known of its state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error(transparent)]
    Length(#[from] frame::BadLength),
    #[error("unexpected message of type {:?} from server", char::from(*tag))]
    Unexpected { tag: u8 },
    #[error("message of type {:?} with {total} bytes from server is too large", char::from(*tag))]
    TooLarge { tag: u8, total: usize },
}

/// A FATAL error: the server is about to close the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWords {
    pub code: String,
    pub message: String,
}

/// Where a group of extended-query messages (up to a Sync) stands, so that it can be sent again
/// when a prepared statement turns out to be outdated.
#[derive(Debug, Default)]
pub struct Group {
    /// The client's messages as they came; empty if the group cannot be sent again.
    pub bytes: Vec<u8>,
    /// Set between its first message and its Sync.
    pub open: bool,
    /// Whether it may be sent again as far as its messages go.
    pub repeatable: bool,
    /// The client will learn the shape of the result anew.
    pub describes: bool,
    /// The client has seen an answer that must not be given twice.
    pub answered: bool,
    /// How many ParseCompletes of ours the client has seen.
    pub parses_answered: usize,
    /// ParseCompletes not to be given again.
    pub suppress: usize,
    /// This is the second attempt.
    pub retried: bool,
}

/// Counters that the shell takes over into its statistics.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub queries: u32,
    pub transactions: u32,
    pub errors: u32,
    pub client_parses: u32,
    pub server_parses: u32,
    pub binds: u32,
}

/// The part of a link that exists only while client and server are linked.
#[derive(Debug)]
pub struct Exchange {
    /// Client to server.
    pub up: Lane,
    /// Server to client.
    pub down: Lane,
    /// Open portals whose execution does something to the session.
    pub portals: Vec<(Box<[u8]>, Arc<Statement>)>,
    pub group: Group,
    /// Nothing may be sent before the settings' replay is answered.
    pub hold: bool,
    /// Ask for pinning state when the transaction is over.
    pub probe: bool,
    /// A statement ran that may have set what we cannot know.
    pub settings_unknown: bool,
    /// Settings that were set to what the text does not tell.
    pub ask_values: Vec<String>,
    /// The group in [`Group::bytes`] is to be sent again now.
    pub retry: bool,
    /// The replay of the client's settings failed, with this answer.
    pub replay_error: Option<LastWords>,
    pub last_words: Option<LastWords>,
    /// The running statement is being cancelled by us: what its error is to say.
    pub cancel_text: Option<&'static str>,
    pub tally: Tally,
}

/// What is the same for all messages of a pool.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    pub registry: &'a Registry,
    pub session_state: SessionStatePolicy,
    /// Of a message from the client, in bytes.
    pub max_packet_size: usize,
}

/// A client and the server connection that it has now.
#[derive(Debug)]
pub struct Link<'a> {
    pub client: &'a mut ClientState,
    pub server: &'a mut ServerState,
    pub x: &'a mut Exchange,
    pub rules: Rules<'a>,
}

// === impl Exchange ===

impl Exchange {
    pub fn new(up: usize, down: usize) -> Exchange {
        Exchange {
            up: Lane::new(up),
            down: Lane::new(down),
            portals: Vec::new(),
            group: Group::default(),
            hold: false,
            probe: false,
            settings_unknown: false,
            ask_values: Vec::new(),
            retry: false,
            replay_error: None,
            last_words: None,
            cancel_text: None,
            tally: Tally::default(),
        }
    }

    /// Forgets what belongs to the server connection that is given up; the client's unread bytes
    /// and those on their way to it stay.
    pub fn detach(&mut self) {
        self.portals.clear();
        self.group.bytes.clear();
        self.group.open = false;
        self.group.suppress = 0;
        self.hold = false;
        self.probe = false;
        self.settings_unknown = false;
        self.ask_values.clear();
        self.retry = false;
        self.replay_error = None;
        self.last_words = None;
        self.cancel_text = None;
    }

    /// For the next client.
    pub fn clear(&mut self) {
        self.detach();
        self.up.clear();
        self.down.clear();
    }
}

// === impl Link ===

impl Link<'_> {
    /// Looks at everything that has come from the server.
    ///
    /// # Errors
    /// [`Violation`]: the server connection must be closed.
    pub fn answers(&mut self) -> Result<(), Violation> {
        while !self.x.down.in_message() {
            let Some(header) = frame::header(self.x.down.unscanned())? else {
                break;
            };
            let have = self.x.down.unscanned().len();
            if have < header.total && !self.begin_large(header)? {
                break;
            } else if have >= header.total {
                self.answer(header)?;
            }
        }
        Ok(())
    }

    /// A message of which only a part has arrived: data is passed on as it comes if it is larger
    /// than the buffer, everything else is waited for. Says whether it was passed on.
    fn begin_large(&mut self, header: frame::Header) -> Result<bool, Violation> {
        let frame::Header { tag, total } = header;
        let visible = self.server.head().is_some_and(Expect::is_visible);
        if matches!(tag, b'D' | b'd') && visible && total > self.x.down.capacity() / 2 {
            self.x.group.answered = true;
            self.x.down.keep(total);
            return Ok(true);
        }
        if total > WHOLE_MESSAGE_MAX {
            return Err(Violation::TooLarge { tag, total });
        }
        self.x.down.reserve(total);
        Ok(false)
    }

    /// One complete message.
    #[inline]
    fn answer(&mut self, header: frame::Header) -> Result<(), Violation> {
        let frame::Header { tag, total } = header;
        match (tag, self.server.head()) {
            // By far the most frequent one first.
            (b'D', Some(Expect::Query(_) | Expect::Execute(_))) => {
                self.x.group.answered = true;
                self.x.down.keep(total);
            }
            (b'Z', _) => self.ready(total)?,
            (b'C' | b'I' | b's', _) => self.complete(tag, total)?,
            (b'E', _) => self.error(total),
            (b'S', head) => {
                let visible = head.is_none_or(Expect::is_visible);
                let body = self.body(total).to_vec();
                self.parameter_status(&body, visible);
                self.pass(total, visible);
            }
            (b'N' | b'A', head) => {
                let visible = tag == b'A' || head.is_none_or(Expect::is_visible);
                self.pass(total, visible);
            }
            (b'D', Some(Expect::Probe)) => {
                let mut pins = self.client.pins;
                pins.probed(self.body(total));
                self.client.pins = pins;
                self.x.down.skip(total);
            }
            (b'D', Some(Expect::Values)) => {
                let body = self.body(total).to_vec();
                self.setting_value(&body);
                self.x.down.skip(total);
            }
            (b'n' | b'T', Some(Expect::Shape(statement) | Expect::Describe(Some(statement)))) => {
                let statement = Arc::clone(statement);
                self.described(&statement, total);
            }
            (b't', Some(Expect::Shape(_))) => self.pass(total, false),
            (b'1', Some(Expect::Parse(_))) => {
                if let Some(Expect::Parse(statement)) = self.server.head() {
                    statement.prove();
                }
                let again = self.x.group.suppress > 0;
                self.x.group.suppress -= usize::from(again);
                self.pass(total, !again);
                self.pop();
            }
            (b'2', Some(Expect::Bind(_)))
            | (b'3', Some(Expect::ClosePortal))
            | (b'n' | b'T', Some(Expect::Describe(_))) => {
                self.pass(total, true);
                self.pop();
            }
            (b'1' | b'3', Some(Expect::Parsed(_) | Expect::Closed(_)))
            | (b'1' | b'2', Some(Expect::Step)) => {
                self.pass(total, false);
                self.pop();
            }
            (b't', Some(Expect::Describe(_))) | (b'V', Some(Expect::Function)) => {
                self.pass(total, true);
            }
            (b'G' | b'H' | b'W', Some(Expect::Query(_) | Expect::Execute(_))) => {
                self.begin_copy(tag);
                self.pass(total, true);
            }
            (b'd' | b'c', Some(Expect::Query(_) | Expect::Execute(_))) => self.pass(total, true),
            (b'D' | b'T' | b'd', Some(head)) => {
                let visible = head.is_visible();
                self.pass(total, visible);
            }
            _ => return Err(Violation::Unexpected { tag }),
        }
        Ok(())
    }

    /// A statement's result is described, to the client or to us.
    fn described(&mut self, statement: &Arc<Statement>, total: usize) {
        let same = statement.note_shape(self.body(total));
        let asked = matches!(self.server.head(), Some(Expect::Shape(_)));
        if asked {
            self.x.hold = false;
            if !same {
                self.server.evict(statement);
            }
        }
        self.pass(total, !asked);
        self.pop();
    }

    fn body(&self, total: usize) -> &[u8] {
        &self.x.down.unscanned()[HEADER..total]
    }

    #[inline]
    fn pass(&mut self, total: usize, visible: bool) {
        if visible {
            self.x.group.answered = true;
            self.x.down.keep(total);
        } else {
            self.x.down.skip(total);
        }
    }

    /// The head is answered; answers of our own that were waiting behind it are given.
    #[inline]
    fn pop(&mut self) -> Option<Expect> {
        let popped = self.server.backlog.pop();
        self.give_local_answers();
        popped
    }

    #[inline]
    fn give_local_answers(&mut self) {
        while matches!(
            self.server.head(),
            Some(Expect::LocalParse(_) | Expect::LocalClose)
        ) {
            match self.server.backlog.pop() {
                Some(Expect::LocalParse(_)) => self.give_parse_complete(),
                _ => self.give_close_complete(),
            }
        }
    }

    /// ParseComplete for a statement that the server has already: now, or in turn.
    pub(super) fn answer_parse(&mut self, statement: &Arc<Statement>) {
        if self.server.backlog.is_empty() {
            self.give_parse_complete();
        } else {
            let entry = Expect::LocalParse(Arc::clone(statement));
            self.server.backlog.push(entry);
        }
    }

    /// CloseComplete for a statement: only the client's name for it is gone.
    pub(super) fn answer_close(&mut self) {
        if self.server.backlog.is_empty() {
            self.give_close_complete();
        } else {
            self.server.backlog.push(Expect::LocalClose);
        }
    }

    fn give_parse_complete(&mut self) {
        if self.x.group.suppress > 0 {
            self.x.group.suppress -= 1;
            return;
        }
        self.x.group.parses_answered += 1;
        self.x
            .down
            .insert()
            .extend_from_slice(encode::PARSE_COMPLETE);
    }

    fn give_close_complete(&mut self) {
        self.x.group.answered = true;
        self.x
            .down
            .insert()
            .extend_from_slice(encode::CLOSE_COMPLETE);
    }

    fn begin_copy(&mut self, tag: u8) {
        self.server.copy = match tag {
            b'G' => Copy::In,
            b'H' => Copy::Out,
            _ => Copy::Both,
        };
        if matches!(self.server.head(), Some(Expect::Execute(_))) && tag != b'H' {
            self.server.backlog.forget_sync_behind_head();
        }
    }

    /// CommandComplete, EmptyQueryResponse or PortalSuspended.
    fn complete(&mut self, tag: u8, total: usize) -> Result<(), Violation> {
        self.server.copy = Copy::No;
        match self.server.backlog.head_mut() {
            Some(Expect::Query(None)) => {
                if tag == b'C' {
                    self.transaction_tag(total, &[]);
                }
                self.pass(total, true);
            }
            Some(Expect::Query(Some(_))) => self.complete_planned(tag, total),
            Some(Expect::Execute(_)) => {
                let statement = match self.server.backlog.head_mut() {
                    Some(Expect::Execute(statement)) => statement.take(),
                    _ => None,
                };
                let effects = statement.as_ref().and_then(|s| s.effects.as_deref());
                if tag == b'C' {
                    self.transaction_tag(total, effects.unwrap_or_default());
                }
                let answer = statement.as_ref().and_then(|s| s.answer);
                self.pass_or_answer(total, answer.filter(|_| tag == b'I'));
                // A suspended portal has begun to run: its functions may have been called.
                if let Some((name, made)) = statement.as_ref().and_then(|s| s.makes.as_ref()) {
                    self.prepared(name, Arc::clone(made));
                }
                for part in effects.unwrap_or_default() {
                    self.apply(&part.effects);
                }
                self.pop();
            }
            Some(Expect::Step) => {
                self.pass(total, false);
                self.pop();
            }
            Some(Expect::Replay | Expect::Probe | Expect::Values | Expect::Prepared(_)) => {
                self.pass(total, false);
            }
            _ => return Err(Violation::Unexpected { tag }),
        }
        Ok(())
    }

    fn pass_or_answer(&mut self, total: usize, answer: Option<&'static str>) {
        match answer {
            None => self.pass(total, true),
            Some(tag) => {
                self.x.group.answered = true;
                self.x.down.skip(total);
                encode::command_complete(self.x.down.insert(), tag);
            }
        }
    }

    /// One statement of a simple query of which some do something to the session.
    fn complete_planned(&mut self, tag: u8, total: usize) {
        let Some(Expect::Query(slot)) = self.server.backlog.head_mut() else {
            return;
        };
        let Some(mut plan) = slot.take() else { return };
        if tag == b'C' || plan.answer.is_some() {
            let statements = std::mem::take(&mut plan.statements);
            if let Some(statement) = statements.get(plan.done) {
                self.transaction_tag(total, std::slice::from_ref(statement));
                for effect in &statement.effects {
                    if let Effect::Prepare { .. } = effect
                        && let Some((name, prepared)) = plan.prepares.pop_front()
                    {
                        self.prepared(&name, prepared);
                    }
                }
                self.apply(&statement.effects);
            }
            plan.statements = statements;
            plan.done += 1;
        }
        let answer = plan.answer.filter(|_| tag == b'I');
        if let Some(Expect::Query(slot)) = self.server.backlog.head_mut() {
            *slot = Some(plan);
        }
        self.pass_or_answer(total, answer);
    }

    /// COMMIT and ROLLBACK decide what becomes of the settings. The tag tells which it was: a
    /// COMMIT of a failed transaction answers ROLLBACK. So does ROLLBACK TO, which `statements`
    /// tell apart.
    #[inline]
    fn transaction_tag(&mut self, total: usize, statements: &[sql::Statement]) {
        if self.client.settings.same(&self.client.committed) && self.client.savepoints.is_none() {
            return;
        }
        let tag = backend::command_tag(self.body(total));
        if tag == b"COMMIT" {
            self.client.savepoints = None;
            self.commit_settings();
        } else if tag == b"ROLLBACK" {
            let mut effects = statements.iter().flat_map(|s| &s.effects);
            if !effects.any(|e| matches!(e, Effect::RollbackTo { .. })) {
                self.client.savepoints = None;
                self.roll_back_settings();
            }
        }
    }

    fn ready(&mut self, total: usize) -> Result<(), Violation> {
        let unexpected = Violation::Unexpected { tag: b'Z' };
        if !self.server.head().is_some_and(Expect::ends_with_ready) {
            return Err(unexpected);
        }
        let Some(&[status]) = self.body(total).first_chunk::<1>() else {
            return Err(unexpected);
        };
        self.server.status = status;
        self.server.copy = Copy::No;
        let done = self.server.backlog.pop();
        match done {
            Some(Expect::Replay) => {
                self.x.hold = false;
                self.x.down.skip(total);
                self.tell_parameters();
            }
            Some(Expect::Probe | Expect::Values | Expect::Prepared(_) | Expect::QuietSync) => {
                self.x.down.skip(total);
            }
            Some(Expect::RetrySync) => {
                self.x.down.skip(total);
                self.x.retry = true;
            }
            _ => {
                self.end_of_exchange(status);
                self.x.down.keep(total);
            }
        }
        self.give_local_answers();
        Ok(())
    }

    fn end_of_exchange(&mut self, status: u8) {
        self.x.tally.queries += 1;
        if !self.x.group.open {
            self.x.group.answered = false;
            self.x.group.parses_answered = 0;
            self.x.group.suppress = 0;
            self.x.group.retried = false;
        }
        if status == b'I' {
            self.x.tally.transactions += 1;
            self.client.savepoints = None;
            if self.server.backlog.is_empty() {
                self.x.portals.clear();
            }
            self.commit_settings();
        }
    }

    /// Tells the client those parameters that differ on this server connection.
    pub fn tell_parameters(&mut self) {
        if self.client.seen.same(&self.server.reported) {
            return;
        }
        let out = self.x.down.insert();
        for (name, value) in self.client.seen.news(&self.server.reported) {
            encode::parameter_status(out, name, value);
        }
        self.client.seen = self.server.reported.clone();
    }

    fn error(&mut self, total: usize) {
        let fields = backend::error_fields(self.body(total));
        if matches!(fields.severity, b"FATAL" | b"PANIC") {
            self.x.last_words = Some(last_words(&fields));
            self.x.down.skip(total);
            return;
        }
        let outdated = fields.routine == OUTDATED_ROUTINE.as_bytes() && fields.code == b"0A000";
        let words = matches!(self.server.head(), Some(Expect::Replay)).then(|| last_words(&fields));
        self.x.tally.errors += 1;
        self.server.copy = Copy::No;
        match self.server.backlog.head_mut() {
            None => self.pass(total, true),
            Some(Expect::Replay) => {
                self.x.replay_error = words;
                self.server.settings = None;
                self.x.down.skip(total);
            }
            Some(Expect::Probe) => {
                self.client.pins.insert(super::pins::Pin::Forever);
                self.x.down.skip(total);
            }
            Some(Expect::Values) => {
                self.client.pins.insert(super::pins::Pin::Forever);
                self.x.down.skip(total);
            }
            Some(Expect::Prepared(_) | Expect::QuietSync | Expect::RetrySync) => {
                if let Some(Expect::Prepared(s)) = self.server.backlog.head() {
                    let s = Arc::clone(s);
                    self.server.drop_held(&s);
                }
                self.x.down.skip(total);
            }
            Some(Expect::Rejected(_)) => self.rejected(total),
            Some(Expect::Query(plan)) => {
                // What was planned after the failing statement will not happen.
                let plan = plan.take();
                if let Some(plan) = plan.filter(|_| outdated) {
                    plan.needs.iter().for_each(|s| self.server.evict(s));
                }
                self.roll_back_settings();
                self.pass_error(total);
            }
            Some(Expect::Sync | Expect::Function) => {
                self.roll_back_settings();
                self.pass_error(total);
            }
            Some(_) => self.extended_error(total, outdated),
        }
    }

    fn rejected(&mut self, total: usize) {
        self.roll_back_settings();
        self.x.group.answered = true;
        self.x.down.skip(total);
        let Some(Expect::Rejected(rejection)) = self.server.backlog.pop() else {
            return;
        };
        let Rejection {
            code,
            message,
            routine,
            simple,
        } = *rejection;
        let out = self.x.down.insert();
        match routine {
            None => encode::error(out, Severity::Error, code, &message, None),
            Some(routine) => encode::error_from_routine(out, code, &message, routine),
        }
        if simple {
            // ReadyForQuery is still to come.
            self.server.backlog.push_front(Expect::Query(None));
        } else {
            self.skip_to_sync();
        }
    }

    /// An error in an extended query: the server skips to the next Sync.
    fn extended_error(&mut self, total: usize, outdated: bool) {
        self.roll_back_settings();
        if outdated {
            self.retire_outdated();
        }
        if outdated && self.may_retry() {
            self.x.down.skip(total);
            self.x.group.suppress = self.x.group.parses_answered;
            self.skip_to_sync();
            if let Some(head) = self.server.backlog.head_mut() {
                *head = Expect::RetrySync;
            }
            return;
        }
        self.pass_error(total);
        self.skip_to_sync();
    }

    /// The server's error, or what we have to say if we caused it.
    fn pass_error(&mut self, total: usize) {
        let code = backend::error_fields(self.body(total)).code;
        match self.x.cancel_text.filter(|_| code == b"57014") {
            None => self.pass(total, true),
            Some(text) => {
                self.x.group.answered = true;
                self.x.down.skip(total);
                let code = sqlstate::QUERY_CANCELED;
                encode::error(self.x.down.insert(), Severity::Error, code, text, None);
            }
        }
    }

    /// Whether the group can be sent again without the client noticing. Exactly this group must be
    /// outstanding, complete, in a transaction of its own; and the client must be about to learn
    /// the result's new shape, or it would read the rows wrongly.
    fn may_retry(&self) -> bool {
        let group = &self.x.group;
        let syncs = self.server.backlog.iter().filter(|e| e.is_sync()).count();
        group.repeatable
            && group.describes
            && !group.bytes.is_empty()
            && !group.answered
            && !group.open
            && syncs == 1
            && self.server.status == b'I'
    }

    /// The schema changed under a statement: it is prepared afresh here, and whoever parses its
    /// text from now on gets a new one.
    fn retire_outdated(&mut self) {
        if let Some(Expect::Bind(Some(s)) | Expect::Describe(Some(s))) = self.server.head() {
            let statement = Arc::clone(s);
            statement.retire();
            self.server.evict(&statement);
        }
    }

    /// What the server skips gets no answer, and what it would have done is not done.
    fn skip_to_sync(&mut self) {
        while let Some(head) = self.server.head() {
            if head.is_sync() {
                return;
            }
            match self.server.backlog.pop() {
                Some(Expect::Parse(s)) => {
                    self.server.drop_held(&s);
                    self.client.disown(&s);
                }
                Some(Expect::Parsed(s) | Expect::Prepared(s)) => self.server.drop_held(&s),
                Some(Expect::LocalParse(s)) => self.client.disown(&s),
                Some(Expect::Closed(name)) => self.server.close_later.push(name),
                Some(Expect::Replay | Expect::Shape(_)) => self.x.hold = false,
                _ => {}
            }
        }
        self.server.skipping = true;
    }
}

fn last_words(fields: &backend::ErrorFields<'_>) -> LastWords {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    LastWords {
        code: if fields.code.len() == 5 {
            text(fields.code)
        } else {
            "08006".to_owned()
        },
        message: text(fields.message),
    }
}
