//! Errors on a link: the server's, attributed and passed on or acted upon, and ours, made to fail
//! the server's transaction exactly as the real thing would have.

use std::sync::Arc;

use super::backlog::{Expect, Naming, Rejection};
use super::counted::Run;
use super::detached::ABORTED;
use super::fault::Fault;
use super::link::{LastWords, Link};
use super::pins::Pin;
use super::server::Copy;
use crate::protocol::backend;
use crate::protocol::encode::{self, Severity};
use crate::protocol::sqlstate::{self, Class, SqlState};

/// Where the server raises "cached plan must not change result type" (0A000); asyncpg and pgjdbc
/// know the error by this name and prepare the statement again.
const OUTDATED_ROUTINE: &str = "RevalidateCachedQuery";

/// Text that no version of PostgreSQL can parse.
const BROKEN: &[u8] = b"pgweir: this statement was rejected";

impl Link<'_> {
    pub(super) fn error(&mut self, total: usize) {
        let fields = backend::error_fields(self.body(total));
        let class = Class::of(fields.code);
        let last = matches!(fields.severity, b"FATAL" | b"PANIC").then(|| last_words(&fields));
        let outdated = fields.routine == OUTDATED_ROUTINE.as_bytes() && fields.code == b"0A000";
        let words = matches!(self.server.head(), Some(Expect::Replay)).then(|| last_words(&fields));
        self.x.tally.errors += 1;
        self.x.error_classes.push(class);
        if last.is_some() {
            self.x.last_words = last;
            self.x.down.skip(total);
            return;
        }
        self.x.channels.clear();
        self.server.copy = Copy::No;
        match self.server.backlog.head_mut() {
            None => self.pass(total, true),
            Some(Expect::Replay) => {
                self.x.replay_error = words;
                self.server.settings = None;
                self.x.down.skip(total);
            }
            Some(Expect::Probe) => {
                self.client.pins.insert(Pin::Forever);
                self.x.down.skip(total);
            }
            Some(Expect::Values) => {
                self.client.pins.insert(Pin::Forever);
                self.x.down.skip(total);
            }
            Some(Expect::Prepared(_) | Expect::QuietSync | Expect::RetrySync) => {
                if let Some(Expect::Prepared(s)) = self.server.backlog.head() {
                    let s = Arc::clone(s);
                    self.server.drop_held(&s);
                    self.keep_prepare_error(total);
                } else {
                    self.x.down.skip(total);
                }
            }
            Some(Expect::Rejected(_)) => self.rejected(total),
            Some(Expect::Query(plan, _)) => {
                self.x.counting.fail();
                // What was planned after the failing statement will not happen.
                if let Some(plan) = plan.take() {
                    if outdated {
                        plan.needs.iter().for_each(|s| self.server.evict(s));
                    }
                    let failing = plan.statements.get(plan.done..=plan.done);
                    self.failed(failing.unwrap_or_default());
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

    /// A statement of ours could not be prepared: the client will be told when it is to be run.
    fn keep_prepare_error(&mut self, total: usize) {
        self.x.prepare_error = self.x.down.unscanned().get(..total).map(<[u8]>::to_vec);
        self.x.down.skip(total);
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
        self.x.faults.push(match code {
            sqlstate::IN_FAILED_TRANSACTION => Fault::FailedTransaction,
            _ => Fault::Statement,
        });
        let out = self.x.down.insert();
        match routine {
            None => encode::error(out, Severity::Error, code, &message, None),
            Some(routine) => encode::error_from_routine(out, code, &message, routine),
        }
        if simple {
            // ReadyForQuery is still to come.
            self.server
                .backlog
                .push_front(Expect::Query(None, Run::default()));
        } else {
            self.skip_to_sync();
        }
    }

    /// An error in an extended query: the server skips to the next Sync.
    fn extended_error(&mut self, total: usize, outdated: bool) {
        self.roll_back_settings();
        let sync = self.server.backlog.iter().find(|e| e.is_sync());
        if matches!(sync, Some(Expect::QuietSync)) {
            // Nothing of this the client has sent.
            self.keep_prepare_error(total);
            return self.skip_to_sync();
        }
        if let Some(Expect::Execute(Some(statement), _)) = self.server.head() {
            let statement = Arc::clone(statement);
            self.failed(statement.effects.as_deref().unwrap_or_default());
        }
        if outdated {
            self.retire_outdated();
        }
        let lost = self.has_lost_statement(total);
        if lost {
            // Somebody has deallocated it behind our back, and others perhaps with it.
            self.server.forget_statements();
        }
        // Prepared anew, a lost statement has the shape that it had.
        let describes = self.x.group.describes;
        self.x.group.describes |= lost;
        if (outdated || lost) && self.may_retry() {
            self.x.tally.retries += 1;
            self.x.down.skip(total);
            self.x.group.suppress = self.x.group.parses_answered;
            self.skip_to_sync();
            if let Some(head) = self.server.backlog.head_mut() {
                *head = Expect::RetrySync;
            }
            return;
        }
        self.x.group.describes = describes;
        self.pass_error(total);
        if let Some(run) = self.server.backlog.take_run() {
            self.x.counting.fail();
            self.x.counting.end(run);
        }
        self.skip_to_sync();
    }

    /// Whether the server does not know a statement that we believed to be there.
    fn has_lost_statement(&self, total: usize) -> bool {
        let believed = match self.server.head() {
            Some(Expect::Bind(Some(s)) | Expect::Describe(Some(s)) | Expect::Shape(s)) => {
                !s.name.is_empty()
            }
            _ => false,
        };
        believed && backend::error_fields(self.body(total)).code == b"26000"
    }

    /// The server's error, or what we have to say if we caused it.
    fn pass_error(&mut self, total: usize) {
        let code = backend::error_fields(self.body(total)).code;
        let cancelled = code == b"57014";
        if matches!(code, b"26000" | b"25P02")
            && let Some(reason) = self.x.prepare_error.take()
        {
            self.x.group.answered = true;
            self.x.down.skip(total);
            self.x.down.insert().extend_from_slice(&reason);
            return;
        }
        match self.x.cancel_text.filter(|_| cancelled) {
            None => self.pass(total, true),
            Some(text) => {
                self.x.group.answered = true;
                self.x.down.skip(total);
                self.x.faults.push(Fault::QueryTimeout);
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

    /// What the server skips gets no answer, and what it would have done is not done. The head
    /// itself has failed.
    fn skip_to_sync(&mut self) {
        let mut skipped = Vec::new();
        let mut failed = true;
        while self.server.head().is_some_and(|head| !head.is_sync()) {
            match self.server.backlog.pop() {
                // A failed Parse has ended the unnamed statement that was there before.
                Some(Expect::Parse(s, naming)) if failed => {
                    self.server.drop_held(&s);
                    match naming {
                        Naming::Named(name) => self.client.remove_statement(&name),
                        _ => self.client.end_unnamed(),
                    }
                }
                Some(Expect::Parse(s, naming)) => {
                    self.server.drop_held(&s);
                    skipped.push(Expect::Parse(s, naming));
                }
                Some(Expect::Parsed(s) | Expect::Prepared(s) | Expect::Step(s)) => {
                    self.server.drop_held(&s);
                }
                Some(entry @ (Expect::LocalParse(..) | Expect::LocalClose(_))) => {
                    skipped.push(entry);
                }
                Some(Expect::Closed(name)) => self.server.close_later.push(name),
                Some(Expect::Replay | Expect::Shape(_)) => self.x.hold = false,
                _ => {}
            }
            failed = false;
        }
        self.server.skipping = self.server.backlog.is_empty();
        // The last first, so that what was there before the first is there in the end.
        for entry in skipped.into_iter().rev() {
            self.undo(entry);
        }
    }

    /// The client's names are what they were before this was sent.
    fn undo(&mut self, skipped: Expect) {
        match skipped {
            Expect::Parse(_, naming) | Expect::LocalParse(_, naming) => match naming {
                Naming::Same => {}
                Naming::Named(name) => self.client.remove_statement(&name),
                Naming::Unnamed(Some(before)) => self.client.set_statement(b"", before),
                Naming::Unnamed(None) => self.client.end_unnamed(),
            },
            Expect::LocalClose(Some(closed)) => {
                self.client.set_statement(&closed.name, closed.statement);
            }
            _ => {}
        }
    }

    /// Sends something that fails in place of an extended-query message, so that the server's
    /// transaction fails as it should; the client gets this error instead of the server's.
    pub(super) fn reject_extended(&mut self, code: SqlState, message: String) {
        self.break_group(Rejection {
            code,
            message,
            routine: None,
            simple: false,
        });
    }

    /// The client has no such statement.
    pub(super) fn reject_unknown(&mut self, name: &str) {
        let message = if name.is_empty() {
            "unnamed prepared statement does not exist".to_owned()
        } else {
            format!("prepared statement \"{name}\" does not exist")
        };
        self.reject_extended(sqlstate::INVALID_SQL_STATEMENT_NAME, message);
    }

    /// What would be parsed is known to be right, but not in this transaction.
    pub(super) fn reject_in_failed_transaction(&mut self) {
        self.reject_extended(sqlstate::IN_FAILED_TRANSACTION, ABORTED.to_owned());
    }

    /// What the server itself would say if it held the statement.
    pub(super) fn reject_outdated(&mut self) {
        self.break_group(Rejection {
            code: sqlstate::FEATURE_NOT_SUPPORTED,
            message: "cached plan must not change result type".to_owned(),
            routine: Some(OUTDATED_ROUTINE),
            simple: false,
        });
    }

    fn break_group(&mut self, rejection: Rejection) {
        // What was found out about the request is not of the next one.
        self.x.judged = None;
        self.x.group.repeatable = false;
        self.x.group.bytes.clear();
        self.server.unnamed = 0;
        encode::parse(self.x.up.insert(), b"", BROKEN, b"\0\0");
        self.server
            .backlog
            .push(Expect::Rejected(Box::new(rejection)));
    }

    pub(super) fn reject_simple(&mut self, code: SqlState, message: String) {
        self.x.judged = None;
        encode::query(self.x.up.insert(), BROKEN);
        self.server
            .backlog
            .push(Expect::Rejected(Box::new(Rejection {
                code,
                message,
                routine: None,
                simple: true,
            })));
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
