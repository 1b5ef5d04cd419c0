//! Server to client: each answer is attributed to what it answers, and forwarded, hidden or
//! naming.

use std::sync::Arc;

use super::backlog::{Closed, Expect, Naming};
use super::link::Link;
use super::server::Copy;
use super::statement::Statement;
use crate::protocol::backend;
use crate::protocol::encode;
use crate::protocol::frame::{self, HEADER};
use crate::sql::{self, Effect};

/// Messages up to this size are collected before they are looked at or forwarded.
const WHOLE_MESSAGE_MAX: usize = 16 * 1024 * 1024;

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
        self.x.counting.settle(self.rules.counted);
        Ok(())
    }

    /// A message of which only a part has arrived: data is passed on as it comes if it is larger
    /// than the buffer, everything else is waited for. Says whether it was passed on.
    fn begin_large(&mut self, header: frame::Header) -> Result<bool, Violation> {
        let frame::Header { tag, total } = header;
        let visible = self.server.head().is_some_and(Expect::is_visible);
        let recorded = self.x.recording.as_ref().is_some_and(|r| r.has_room(total));
        if matches!(tag, b'D' | b'd') && visible && !recorded && total > self.x.down.capacity() / 2
        {
            if let Some(recording) = &mut self.x.recording {
                recording.spoil();
            }
            self.x.group.answered = true;
            match tag {
                b'D' => self.x.counting.row(total),
                _ => self.x.counting.pass(total),
            }
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
        if self.x.recording.is_some() {
            self.record(total);
        }
        match (tag, self.server.head()) {
            // By far the most frequent one first.
            (b'D', Some(Expect::Query(..) | Expect::Execute(..))) => {
                self.x.counting.row(total);
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
            (b'1', Some(Expect::Parse(..))) => {
                if let Some(Expect::Parse(statement, _)) = self.server.head() {
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
            | (b'1' | b'2', Some(Expect::Step(_))) => {
                self.pass(total, false);
                self.pop();
            }
            (b't', Some(Expect::Describe(_))) | (b'V', Some(Expect::Function)) => {
                self.pass(total, true);
            }
            (b'G' | b'H' | b'W', Some(Expect::Query(..) | Expect::Execute(..))) => {
                self.begin_copy(tag);
                self.pass(total, true);
            }
            (b'd' | b'c', Some(Expect::Query(..) | Expect::Execute(..))) => self.pass(total, true),
            (b'D' | b'T' | b'd', Some(head)) => {
                let visible = head.is_visible();
                self.pass(total, visible);
            }
            _ => return Err(Violation::Unexpected { tag }),
        }
        Ok(())
    }

    /// Takes down what the client is about to get.
    fn record(&mut self, total: usize) {
        let head = self.server.head();
        if let Some(recording) = &mut self.x.recording
            && head.is_none_or(Expect::is_visible)
        {
            recording.see(&self.x.down.unscanned()[..total]);
        }
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

    pub(super) fn body(&self, total: usize) -> &[u8] {
        &self.x.down.unscanned()[HEADER..total]
    }

    #[inline]
    pub(super) fn pass(&mut self, total: usize, visible: bool) {
        if visible {
            self.x.group.answered = true;
            self.x.counting.pass(total);
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
            Some(Expect::LocalParse(..) | Expect::LocalClose(_))
        ) {
            match self.server.backlog.pop() {
                Some(Expect::LocalParse(..)) => self.give_parse_complete(),
                _ => self.give_close_complete(),
            }
        }
    }

    /// ParseComplete for a statement that the server has already: now, or in turn.
    pub(super) fn answer_parse(&mut self, statement: &Arc<Statement>, naming: Naming) {
        if self.server.backlog.is_empty() {
            self.give_parse_complete();
        } else {
            let entry = Expect::LocalParse(Arc::clone(statement), naming);
            self.server.backlog.push(entry);
        }
    }

    /// CloseComplete for a statement: only the client's name for it is gone.
    pub(super) fn answer_close(&mut self, closed: Option<Box<Closed>>) {
        if self.server.backlog.is_empty() {
            self.give_close_complete();
        } else {
            self.server.backlog.push(Expect::LocalClose(closed));
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
        if tag != b'G' {
            return;
        }
        if self.x.copies_ended > 0 {
            // All of the data has been sent already, and a Sync behind it counts.
            self.x.copies_ended -= 1;
            self.server.copy = Copy::No;
        } else if matches!(self.server.head(), Some(Expect::Execute(..))) {
            self.server.backlog.forget_sync_behind_head();
        }
    }

    /// CommandComplete, EmptyQueryResponse or PortalSuspended.
    fn complete(&mut self, tag: u8, total: usize) -> Result<(), Violation> {
        self.server.copy = Copy::No;
        let is_theirs = matches!(
            self.server.head(),
            Some(Expect::Query(..) | Expect::Execute(..))
        );
        if tag == b'C' && is_theirs {
            let body = &self.x.down.unscanned()[HEADER..total];
            self.x.counting.complete(body);
        }
        match self.server.backlog.head_mut() {
            Some(Expect::Query(None, _)) => {
                if tag == b'C' {
                    self.transaction_tag(total, &[]);
                }
                self.pass(total, true);
            }
            Some(Expect::Query(Some(_), _)) => self.complete_planned(tag, total),
            Some(Expect::Execute(statement, run)) => {
                let (statement, run) = (statement.take(), std::mem::take(run));
                let effects = statement.as_ref().and_then(|s| s.effects.as_deref());
                if tag == b'C' {
                    self.transaction_tag(total, effects.unwrap_or_default());
                }
                let answer = statement.as_ref().and_then(|s| s.answer);
                self.pass_or_answer(total, answer);
                self.x.counting.end(run);
                // A suspended portal has begun to run: its functions may have been called.
                if let Some((name, made)) = statement.as_ref().and_then(|s| s.makes.as_ref()) {
                    self.prepared(name, Arc::clone(made));
                }
                for part in effects.unwrap_or_default() {
                    self.apply(&part.effects, answer.is_some());
                }
                self.pop();
            }
            Some(Expect::Step(_)) => {
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
        let Some(Expect::Query(slot, _)) = self.server.backlog.head_mut() else {
            return;
        };
        let Some(mut plan) = slot.take() else { return };
        if tag == b'C' {
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
                self.apply(&statement.effects, plan.answer.is_some());
            }
            plan.statements = statements;
            plan.done += 1;
        }
        let answer = plan.answer;
        if let Some(Expect::Query(slot, _)) = self.server.backlog.head_mut() {
            *slot = Some(plan);
        }
        self.pass_or_answer(total, answer);
    }

    /// COMMIT and ROLLBACK decide what becomes of the settings. The tag tells which it was: a
    /// COMMIT of a failed transaction answers ROLLBACK. So does ROLLBACK TO, which `statements`
    /// tell apart.
    #[inline]
    fn transaction_tag(&mut self, total: usize, statements: &[sql::Statement]) {
        if self.client.settings.same(&self.client.committed)
            && self.client.savepoints.is_none()
            && self.x.locals.is_empty()
            && self.x.channels.is_empty()
        {
            return;
        }
        let tag = backend::command_tag(self.body(total));
        if tag == b"COMMIT" {
            self.x.locals_over = true;
            self.client.savepoints = None;
            self.commit_settings();
        } else if tag == b"ROLLBACK" {
            self.x.channels.clear();
            let mut effects = statements.iter().flat_map(|s| &s.effects);
            if !effects.any(|e| matches!(e, Effect::RollbackTo { .. })) {
                self.x.locals_over = true;
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
                let more = matches!(self.server.head(), Some(Expect::Replay));
                let asked = || {
                    self.server
                        .backlog
                        .iter()
                        .any(|e| matches!(e, Expect::Shape(_)))
                };
                self.x.hold &= more || asked();
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
            done => {
                if let Some(Expect::Query(_, run)) = done {
                    self.x.counting.end(run);
                }
                self.end_of_exchange(status);
                // The client must not take for done what it is about to be refused.
                if self.rules.statements_only && status != b'I' {
                    self.x.down.skip(total);
                } else {
                    self.x.down.keep(total);
                }
            }
        }
        self.give_local_answers();
        self.settle_writes(status);
        Ok(())
    }

    fn end_of_exchange(&mut self, status: u8) {
        self.x.tally.queries += 1;
        self.x.told.is_answered();
        self.x.prepare_error = None;
        if self.x.locals_over || status == b'I' {
            self.x.locals.clear();
            self.x.locals_over = false;
        }
        // Of the group that has ended, also where the next one has begun.
        self.x.group.suppress = 0;
        self.x.group.retried = false;
        if !self.x.group.open {
            self.x.group.answered = false;
            self.x.group.parses_answered = 0;
        }
        if self.server.backlog.is_empty() {
            // Those of a COPY that has failed are of no other one.
            self.x.copies_ended = 0;
        }
        if status == b'I' {
            self.x.tally.transactions += 1;
            self.x.channels_done.append(&mut self.x.channels);
            self.client.savepoints = None;
            self.client.local_environment = false;
            if self.server.backlog.is_empty() {
                self.client.names_unsure = false;
                self.x.portals.clear();
                self.x.counting.end_portals();
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
}
