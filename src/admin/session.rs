//! An operator's session: the console's simple and extended protocol. A client that is logged in
//! already comes in here.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::command::{self, Command};
use super::console::{Console, ConsoleUser};
use super::results::{self, Formats};
use super::show::Table;
use crate::net::stream::Stream;
use crate::protocol::encode::{self, Severity};
use crate::protocol::frame::{self, HEADER};
use crate::protocol::frontend::{self, Target};
use crate::protocol::sqlstate::{self, SqlState};

/// Longest message from an operator, in bytes.
const MESSAGE_MAX: usize = 64 * 1024;

/// What a command came to.
#[derive(Debug)]
pub(super) enum Answer {
    Empty,
    Table(Table),
    /// With the command's tag, and notices.
    Done(&'static str, Vec<String>),
    Error(SqlState, String),
}

impl Answer {
    fn describe(&self, formats: &Formats, out: &mut Vec<u8>) {
        match self {
            Answer::Table(table) => results::description(out, &table.columns, formats),
            _ => out.extend_from_slice(encode::NO_DATA),
        }
    }

    /// Everything up to CommandComplete; `false` after an error.
    fn give(self, formats: &Formats, out: &mut Vec<u8>) -> bool {
        match self {
            Answer::Empty => out.extend_from_slice(encode::EMPTY_QUERY_RESPONSE),
            Answer::Table(table) => {
                for row in &table.rows {
                    results::row(out, &table.columns, row, formats);
                }
                encode::command_complete(out, "SHOW");
            }
            Answer::Done(tag, notices) => {
                for notice in notices {
                    encode::notice(out, "00000", &notice, None);
                }
                encode::command_complete(out, tag);
            }
            Answer::Error(code, message) => {
                encode::error(out, Severity::Error, code, &message, None);
                return false;
            }
        }
        true
    }
}

/// Serves one operator until it leaves.
pub async fn serve(mut stream: Stream, user: ConsoleUser, console: Arc<Console>) {
    let mut session = Session {
        user,
        console,
        statements: HashMap::new(),
        portals: HashMap::new(),
        skipping: false,
    };
    let mut buffer = Vec::with_capacity(1024);
    let mut out = Vec::new();
    loop {
        let header = match frame::header(&buffer) {
            Ok(Some(header)) if header.total <= MESSAGE_MAX => header,
            Ok(None) => match stream.read_buf(&mut buffer).await {
                Ok(n) if n > 0 => continue,
                _ => return,
            },
            _ => return,
        };
        if buffer.len() < header.total {
            match stream.read_buf(&mut buffer).await {
                Ok(n) if n > 0 => continue,
                _ => return,
            }
        }
        if header.tag == b'X' {
            return;
        }
        session.message(header.tag, &buffer[HEADER..header.total], &mut out);
        buffer.drain(..header.total);
        if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        out.clear();
    }
}

struct Session {
    user: ConsoleUser,
    console: Arc<Console>,
    statements: HashMap<Vec<u8>, Vec<u8>>,
    portals: HashMap<Vec<u8>, (Vec<u8>, Formats)>,
    /// After an error in the extended protocol, up to Sync.
    skipping: bool,
}

/// So many statements and portals may be open at a console.
const NAMES_MAX: usize = 100;

impl Session {
    fn message(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) {
        match tag {
            b'S' => {
                self.skipping = false;
                encode::ready_for_query(out, b'I');
            }
            _ if self.skipping => {}
            b'Q' => {
                let text = frontend::query_text(body).unwrap_or_default();
                let answer = self.console.execute(&self.user, text);
                let formats = Formats::default();
                if matches!(answer, Answer::Table(_)) {
                    answer.describe(&formats, out);
                }
                answer.give(&formats, out);
                encode::ready_for_query(out, b'I');
            }
            b'H' => {}
            _ => {
                if let Err((code, message)) = self.extended(tag, body, out) {
                    encode::error(out, Severity::Error, code, &message, None);
                    self.skipping = true;
                }
            }
        }
    }

    fn extended(
        &mut self,
        tag: u8,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), (SqlState, String)> {
        let malformed = || (sqlstate::PROTOCOL_VIOLATION, "malformed message".to_owned());
        let missing = || {
            let code = sqlstate::INVALID_SQL_STATEMENT_NAME;
            (code, "prepared statement does not exist".to_owned())
        };
        match tag {
            b'P' => {
                let message = frontend::parse(body).ok_or_else(malformed)?;
                command::parse(&String::from_utf8_lossy(message.query))
                    .map_err(|message| (sqlstate::SYNTAX_ERROR, message))?;
                if self.statements.len() >= NAMES_MAX {
                    self.statements.clear();
                }
                self.statements
                    .insert(message.name.to_vec(), message.query.to_vec());
                out.extend_from_slice(encode::PARSE_COMPLETE);
            }
            b'B' => {
                let names = frontend::bind_names(body).ok_or_else(malformed)?;
                let text = self.statements.get(names.statement).ok_or_else(missing)?;
                let formats = results::formats(&body[names.consumed..]).ok_or_else(malformed)?;
                let text = text.clone();
                if self.portals.len() >= NAMES_MAX {
                    self.portals.clear();
                }
                self.portals.insert(names.portal.to_vec(), (text, formats));
                out.extend_from_slice(encode::BIND_COMPLETE);
            }
            b'D' => {
                let text_only = Formats::default();
                let (text, formats) = match frontend::target(body).ok_or_else(malformed)? {
                    Target::Statement(name) => {
                        let text = self.statements.get(name).ok_or_else(missing)?;
                        // No parameters.
                        out.extend_from_slice(b"t\0\0\0\x06\0\0");
                        (text, &text_only)
                    }
                    Target::Portal(name) => {
                        let (text, formats) = self.portals.get(name).ok_or_else(missing)?;
                        (text, formats)
                    }
                };
                self.describe(text, formats, out);
            }
            b'E' => {
                let portal = frontend::execute_portal(body).ok_or_else(malformed)?;
                let (text, formats) = self.portals.get(portal).ok_or_else(missing)?;
                if !self.console.execute(&self.user, text).give(formats, out) {
                    self.skipping = true;
                }
            }
            b'C' => {
                match frontend::target(body).ok_or_else(malformed)? {
                    Target::Statement(name) => drop(self.statements.remove(name)),
                    Target::Portal(name) => drop(self.portals.remove(name)),
                }
                out.extend_from_slice(encode::CLOSE_COMPLETE);
            }
            _ => return Err(malformed()),
        }
        Ok(())
    }

    /// Only a SHOW has a result, and looking does no harm.
    fn describe(&self, text: &[u8], formats: &Formats, out: &mut Vec<u8>) {
        match command::parse(&String::from_utf8_lossy(text)) {
            Ok(command @ (Command::Show(_) | Command::Parameter(..))) => {
                self.console.run(&self.user, command).describe(formats, out);
            }
            _ => out.extend_from_slice(encode::NO_DATA),
        }
    }
}
