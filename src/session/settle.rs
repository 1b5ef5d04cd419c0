//! What we send of our own account around the client's messages, to bring the server connection to
//! where the client believes it to be, and to learn what the client has done to it.

use super::backlog::Expect;
use super::link::Link;
use super::pins::PROBE;
use super::server::Copy;
use super::settings::quote_literal;
use crate::protocol::encode;

impl Link<'_> {
    /// Replays the client's settings if the server's differ, and asks for what was left open.
    /// Says whether something must be waited for.
    pub fn settle_settings(&mut self) -> bool {
        if !self.server.close_later.is_empty() {
            self.close_left_behind();
        }
        if self.server.status == b'E' || self.server.copy != Copy::No {
            return false;
        }
        let sql = match &self.server.settings {
            Some(settings) if settings.same(&self.client.settings) => return false,
            Some(settings) => settings.difference(&self.client.settings),
            None => self.client.settings.from_unknown(),
        };
        let safe = self.server.settings.is_some() && self.client.settings.replay_is_safe();
        self.server.settings = Some(self.client.settings.clone());
        if sql.is_empty() {
            return false;
        }
        self.server.unnamed = 0;
        if sql.is_ascii() || self.server.reported.get("client_encoding") == Some("UTF8") {
            self.replay(&sql);
        } else {
            // A message is read in the encoding that holds when it arrives.
            self.replay("SET client_encoding TO 'UTF8'");
            let encoding = self.client.settings.get("client_encoding");
            let back = encoding.map_or("RESET client_encoding", |s| &*s.replay);
            let sql = format!("{sql}{back}");
            self.replay(&sql);
        }
        self.x.hold = !safe;
        self.x.hold
    }

    fn replay(&mut self, sql: &str) {
        encode::query(self.x.up.insert(), sql.as_bytes());
        self.server.backlog.push(Expect::Replay);
    }

    fn close_left_behind(&mut self) {
        if self.server.status != b'I' || !self.server.backlog.is_empty() {
            return;
        }
        for name in std::mem::take(&mut self.server.close_later) {
            encode::close_statement(self.x.up.insert(), &name);
            self.server.backlog.push(Expect::Closed(name));
        }
    }

    /// Asks what the settings are that a statement has set to something computed.
    pub fn ask_for_values(&mut self) {
        let names = std::mem::take(&mut self.x.ask_values);
        let selects: Vec<String> = names
            .iter()
            .map(|name| quote_literal(name))
            .map(|name| format!("SELECT {name}, pg_catalog.current_setting({name}, true)"))
            .collect();
        self.server.unnamed = 0;
        encode::query(self.x.up.insert(), selects.join(";").as_bytes());
        self.server.backlog.push(Expect::Values);
        self.server.backlog.unsettle();
    }

    /// Asks what pins the session.
    pub fn ask_for_pins(&mut self) {
        self.x.probe = false;
        self.x.asked_itself = true;
        self.server.unnamed = 0;
        encode::query(self.x.up.insert(), PROBE.as_bytes());
        self.server.backlog.push(Expect::Probe);
        self.server.backlog.unsettle();
    }

    /// The client is linked to this server connection from now on. Where their settings differ,
    /// the difference goes out with the first message, and parameters are compared after it.
    pub fn attached(&mut self) {
        if self.server.settings.as_ref() == Some(&self.client.settings) {
            // Equal contents: the same pointer from now on.
            self.server.settings = Some(self.client.settings.clone());
            self.tell_parameters();
        }
    }
}
