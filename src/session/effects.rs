//! What a completed statement has done to the session, on both sides of the link.

use std::sync::Arc;

use super::backlog::Expect;
use super::link::{ChannelChange, Link};
use super::settings::{Settings, matters_to_plans, replay_raw};
use super::statement::Statement;
use crate::config::SessionStatePolicy;
use crate::protocol::backend;
use crate::session::pins::Pin;
use crate::sql::{self, Effect, PinKind};

impl Link<'_> {
    /// Applies `effects` of a statement that the server has just completed; with `in_name_only`
    /// something harmless was run in its place.
    pub(super) fn apply(&mut self, effects: &[Effect], in_name_only: bool) {
        for effect in effects {
            if let Effect::Prepare { .. } = effect {
                // What follows is what the prepared statement will do when it is executed.
                return;
            }
            if matches!(effect, Effect::DeallocateAll) && !in_name_only {
                self.server.forget_statements();
            }
            if matches!(
                effect,
                Effect::DeallocateAll | Effect::Deallocate { .. } | Effect::DiscardAll
            ) {
                self.x.probe |= self.client.pins.contains(Pin::Prepared);
            }
            self.apply_one(effect);
        }
    }

    /// A statement has failed. What it had done to the session is undone, but not everything is
    /// transactional: locks that it had taken are still there.
    pub(super) fn failed(&mut self, statements: &[sql::Statement]) {
        for effect in statements.iter().flat_map(|s| &s.effects) {
            match effect {
                Effect::MayPin(PinKind::Load) => self.client.pins.insert(Pin::Forever),
                Effect::MayPin(_) | Effect::MayUnpin(_) => self.x.probe = true,
                Effect::Execute { name, .. } => {
                    let statement = self.client.statement(name.as_bytes());
                    if let Some(effects) = statement.and_then(|s| s.effects.clone()) {
                        // PostgreSQL cannot prepare an EXECUTE, so this does not go deeper.
                        self.failed(&effects);
                    }
                }
                Effect::Unknown => {
                    self.x.probe = true;
                    // It may have committed what it had done before it failed.
                    self.x.settings_unknown = true;
                }
                _ => {}
            }
        }
    }

    fn apply_one(&mut self, effect: &Effect) {
        match effect {
            Effect::Set {
                local: true, name, ..
            }
            | Effect::SetConfig {
                local: true, name, ..
            } => self.set_local(&name.to_lowercase()),
            Effect::Set {
                name,
                replay: Some(replay),
                ..
            } => self.set(name, replay),
            Effect::Set {
                name, replay: None, ..
            }
            | Effect::Reset { name } => self.reset(name),
            Effect::SetConfig { name, value, .. } => {
                self.set(&name.to_lowercase(), &replay_raw(name, value))
            }
            Effect::ResetAll => self.reset_all(),
            Effect::DiscardAll => {
                self.client.settings = self.client.startup.clone();
                if self.server.settings.is_some() {
                    self.server.settings = Some(Settings::default());
                }
                self.server.forget_statements();
                self.client.forget_statements();
                self.client.unnamed = None;
                self.x.probe = true;
                self.x.channels.push(ChannelChange::Unlisten(None));
            }
            Effect::Listen { channel } => {
                if self.rules.session_state != SessionStatePolicy::Allow {
                    // Until the server has been asked: it may be lost before that.
                    self.client.pins.insert(Pin::Listen);
                }
                self.x.channels.push(ChannelChange::Listen(channel.clone()));
            }
            Effect::Unlisten { channel } => {
                let change = ChannelChange::Unlisten(channel.clone());
                self.x.channels.push(change);
            }
            Effect::DeallocateAll => self.client.forget_statements(),
            Effect::Deallocate { name, .. } => {
                if let Some(statement) = self.client.statement(name.as_bytes()).cloned() {
                    self.server.evict(&statement);
                    self.client.remove_statement(name.as_bytes());
                }
            }
            Effect::Savepoint { name } => {
                let settings = self.client.settings.clone();
                self.client
                    .savepoints
                    .get_or_insert_default()
                    .push((name.clone(), settings));
            }
            Effect::Release { name } => {
                self.cut_savepoints(name, false);
            }
            Effect::RollbackTo { name } => {
                self.x.channels.clear();
                if let Some(settings) = self.cut_savepoints(name, true) {
                    self.server.settings = Some(settings.clone());
                    self.client.settings = settings;
                }
            }
            Effect::MayPin(PinKind::Load) => self.client.pins.insert(Pin::Forever),
            Effect::MayPin(_) | Effect::MayUnpin(_) | Effect::DiscardTemp => self.x.probe = true,
            Effect::Unknown => {
                self.x.probe = true;
                self.x.settings_unknown = true;
            }
            Effect::SetConfigNamed { name } => {
                // For the transaction only, perhaps.
                self.client.local_environment |= matters_to_plans(&name.to_lowercase());
                self.x.ask_values.push(name.clone());
            }
            // It cannot even be asked for.
            Effect::SetConfigUnknown => self.client.pins.insert(Pin::Forever),
            Effect::Ddl => self.rules.registry.schema_changed(),
            Effect::Execute { name, .. } => self.executed(name),
            // PREPARE is registered with its name by the caller; the boundaries of transactions
            // are seen in the server's answers.
            _ => {}
        }
    }

    /// SQL `EXECUTE`: does what the prepared statement does.
    fn executed(&mut self, name: &str) {
        let statement = self.client.statement(name.as_bytes());
        let Some(effects) = statement.and_then(|s| s.effects.clone()) else {
            return;
        };
        for part in effects.iter() {
            // PostgreSQL cannot prepare an EXECUTE, so this does not go deeper.
            let own = part.effects.iter();
            own.filter(|e| !matches!(e, Effect::Execute { .. }))
                .for_each(|e| self.apply_one(e));
        }
    }

    /// The server's answer about a setting: name and value.
    pub(super) fn setting_value(&mut self, row: &[u8]) {
        let values = backend::data_row(row).unwrap_or_default();
        let [Some(name), Some(value)] = values[..] else {
            return;
        };
        let name = String::from_utf8_lossy(name).to_lowercase();
        match std::str::from_utf8(value) {
            Ok(value) => self.set(&name, &replay_raw(&name, value)),
            Err(_) => self.client.pins.insert(Pin::Forever),
        }
        self.commit_settings();
    }

    /// Until the end of the transaction, what the server reports of it is not the session's value.
    fn set_local(&mut self, name: &str) {
        self.client.local_environment |= matters_to_plans(name);
        if REPORTED_AND_SETTABLE.contains(&name) && !self.x.locals.iter().any(|n| &**n == name) {
            self.x.locals.push(name.into());
        }
    }

    /// Whether the server's report of this setting is about the transaction only. Servers before
    /// PostgreSQL 14 report before the statement is complete.
    fn is_local(&self, name: &str) -> bool {
        let running = match self.server.head() {
            Some(Expect::Query(Some(plan), _)) => &plan.statements[..],
            Some(Expect::Execute(Some(statement), _)) => {
                statement.effects.as_deref().unwrap_or_default()
            }
            _ => &[],
        };
        let mut effects = running.iter().flat_map(|s| &s.effects);
        self.x.locals.iter().any(|n| &**n == name)
            || effects.any(|e| {
                matches!(e, Effect::Set { local: true, name: n, .. } | Effect::SetConfig { local: true, name: n, .. }
                    if n.eq_ignore_ascii_case(name))
            })
    }

    fn set(&mut self, name: &str, replay: &str) {
        if !replay.is_ascii() && self.server.reported.get("client_encoding") != Some("UTF8") {
            // We keep texts in UTF-8 and do not know how to get this one there.
            self.client.pins.insert(Pin::Forever);
        }
        self.client.settings = self.client.settings.with(name, replay);
        if let Some(settings) = &mut self.server.settings {
            *settings = settings.with(name, replay);
        }
        // SET SESSION AUTHORIZATION sets the role back.
        if name == "session_authorization" {
            self.reset("role");
        }
    }

    /// The server is back at its own default; the client's is what its startup message said. The
    /// difference is replayed before the client's next message.
    fn reset(&mut self, name: &str) {
        self.client.settings = match self.client.startup.get(name) {
            Some(setting) => self.client.settings.with(name, &setting.replay),
            None => self.client.settings.without(name),
        };
        if let Some(settings) = &mut self.server.settings {
            *settings = settings.without(name);
        }
        if name == "session_authorization" {
            self.reset("role");
        }
    }

    fn reset_all(&mut self) {
        // RESET ALL leaves these two alone.
        let kept: Vec<_> = ["role", "session_authorization"]
            .iter()
            .filter_map(|name| self.client.settings.get(name).cloned())
            .collect();
        let with_kept = |base: &Settings| {
            kept.iter()
                .fold(base.clone(), |s, e| s.with(&e.name, &e.replay))
        };
        self.client.settings = with_kept(&self.client.startup);
        if self.server.settings.is_some() {
            self.server.settings = Some(with_kept(&Settings::default()));
        }
    }

    /// Drops savepoints from the newest of that name on; with `keep` that one stays open.
    fn cut_savepoints(&mut self, name: &str, keep: bool) -> Option<Settings> {
        let savepoints = self.client.savepoints.as_mut()?;
        let at = savepoints.iter().rposition(|(n, _)| n == name)?;
        let settings = savepoints[at].1.clone();
        savepoints.truncate(at + usize::from(keep));
        Some(settings)
    }

    /// A PREPARE has completed.
    pub(super) fn prepared(&mut self, name: &str, statement: Arc<Statement>) {
        if let Some(evicted) = self.server.hold(&statement) {
            self.x.tally.statement_evictions += 1;
            self.server.close_later.push(evicted.name.clone());
        }
        self.client.set_statement(name.as_bytes(), statement);
    }

    /// The settings of the transaction's beginning hold again.
    pub(super) fn roll_back_settings(&mut self) {
        if !self.client.settings.same(&self.client.committed) {
            self.client.settings = self.client.committed.clone();
            if self.server.settings.is_some() {
                self.server.settings = Some(self.client.committed.clone());
            }
        }
    }

    pub(super) fn commit_settings(&mut self) {
        if !self.client.settings.same(&self.client.committed) {
            self.client.committed = self.client.settings.clone();
            self.client.share(self.rules.registry.together());
        }
    }

    /// The server reports a parameter: its word is better than our reading of the statement.
    pub(super) fn parameter_status(&mut self, body: &[u8], visible: bool) {
        let Some((name, value)) = backend::parameter_status(body) else {
            return;
        };
        let told = self.client.seen.same(&self.server.reported);
        self.server.reported = self.server.reported.with(&name, &value);
        if !visible {
            return;
        }
        self.client.seen = if told {
            self.server.reported.clone()
        } else {
            self.client.seen.with(&name, &value)
        };
        let name = name.to_lowercase();
        if REPORTED_AND_SETTABLE.contains(&&*name) && !self.is_local(&name) {
            self.reported_setting(&name, &value);
        }
    }

    fn reported_setting(&mut self, name: &str, value: &str) {
        let Some(settings) = &mut self.server.settings else {
            return;
        };
        let agreed = self.client.settings.get(name) == settings.get(name);
        let new = if self.server.baseline.get(name) == Some(value) {
            settings.without(name)
        } else {
            settings.with(name, &replay_raw(name, value))
        };
        if agreed {
            self.client.settings = match new.get(name) {
                Some(setting) => self.client.settings.with(name, &setting.replay),
                None => self.client.settings.without(name),
            };
        }
        *settings = if self.client.settings == new {
            self.client.settings.clone()
        } else {
            new
        };
    }
}

/// Of the parameters that servers report, those that a session can set and that `SET` names the
/// same way.
const REPORTED_AND_SETTABLE: &[&str] = &[
    "application_name",
    "client_encoding",
    "datestyle",
    "default_transaction_read_only",
    "intervalstyle",
    "search_path",
    "standard_conforming_strings",
    "timezone",
];
