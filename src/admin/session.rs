//! An operator's session: the console's simple and extended protocol. A client that is logged in
//! already comes in here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::command::{self, Command};
use super::console::{Console, ConsoleUser, Giver};
use super::results::{self, Formats};
use super::show::Table;
use crate::client::info::ClientInfo;
use crate::net::stream::Stream;
use crate::protocol::encode::{self, Severity};
use crate::protocol::frame::{self, HEADER};
use crate::protocol::frontend::{self, Target};
use crate::protocol::sqlstate::{self, SqlState};

/// How often it is seen whether what a command waits for has come true.
const LOOK: Duration = Duration::from_millis(20);

const HELP: &str = "\n\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION\n\
    \tSHOW PEERS|PEER_POOLS\n\
    \tSHOW FDS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE\n\
    \tSHOW DNS_HOSTS|DNS_ZONES\n\
    \tSHOW PREPARED\n\
    \tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS\n\
    \tSHOW REFUSALS\n\
    \tSHOW STATEMENTS [RESET]\n\
    \tSHOW HOSTS|ROUTING\n\
    \tSHOW CACHE [TABLES|TOP|FEEDS|SHARED|DECISIONS]\n\
    \tSHOW CACHE FOR 'sql'\n\
    \tSET key = arg\n\
    \tRELOAD\n\
    \tPAUSE [<db>]\n\
    \tRESUME [<db>]\n\
    \tDISABLE <db>\n\
    \tENABLE <db>\n\
    \tRECONNECT [<db>]\n\
    \tKILL [<db>]\n\
    \tKILL_CLIENT <client_id>\n\
    \tSUSPEND\n\
    \tSHUTDOWN\n\
    \tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS\n\
    \tWAIT_CLOSE [<db>]\n\
    \tCACHE FLUSH [ALL|DATABASE <db>|TABLE <table>]";

/// Longest message from an operator, in bytes.
const MESSAGE_MAX: usize = 64 * 1024;

/// What a command came to.
#[derive(Debug)]
pub(super) enum Answer {
    Empty,
    Table(Table),
    /// With the command's tag, and notices.
    Done(Cow<'static, str>, Vec<String>),
    /// With the command's tag, when something has come true.
    Wait(&'static str, Until),
    /// What there is to say, as a notice.
    Help,
    Error(SqlState, String),
}

/// What a command waits for.
#[derive(Debug)]
pub(super) enum Until {
    /// No server connection is in use, of one database or of all.
    Quiet(Option<String>),
    /// The same, but not for ever. Since then.
    Suspended(Instant),
    /// What was to be closed is closed.
    Closed(Option<String>),
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
            // Waited for before.
            Answer::Wait(tag, _) => encode::command_complete(out, tag),
            Answer::Help => {
                encode::notice(out, "00000", "Console usage", Some(HELP));
                encode::command_complete(out, "SHOW");
            }
            Answer::Done(tag, notices) => {
                for notice in notices {
                    encode::notice(out, "00000", &notice, None);
                }
                encode::command_complete(out, &tag);
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
pub async fn serve(
    mut stream: Stream,
    user: ConsoleUser,
    info: Arc<ClientInfo>,
    console: Arc<Console>,
) {
    console.welcome(&info);
    let mut session = Session {
        user,
        info,
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
        let message: Vec<u8> = buffer.drain(..header.total).collect();
        let answered = session.message(header.tag, &message[HEADER..], &mut out);
        tokio::select! {
            biased;
            () = answered => {}
            // Whoever has sent a command and waits has nothing more to say.
            () = gone(&mut stream, &mut buffer) => return,
        }
        if matches!(header.tag, b'Q' | b'E') {
            session.console.count(header.total, out.len());
        }
        if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        out.clear();
    }
}

/// Returns when the operator has left. What comes meanwhile is kept.
async fn gone(stream: &mut Stream, buffer: &mut Vec<u8>) {
    loop {
        if buffer.len() > MESSAGE_MAX {
            return std::future::pending().await;
        }
        match stream.read_buf(buffer).await {
            Ok(n) if n > 0 => {}
            _ => return,
        }
    }
}

struct Session {
    user: ConsoleUser,
    info: Arc<ClientInfo>,
    console: Arc<Console>,
    statements: HashMap<Vec<u8>, Vec<u8>>,
    portals: HashMap<Vec<u8>, (Vec<u8>, Formats)>,
    /// After an error in the extended protocol, up to Sync.
    skipping: bool,
}

/// So many statements and portals may be open at a console.
const NAMES_MAX: usize = 100;

impl Session {
    /// Carries out a command, and waits for what it waits for.
    async fn execute(&self, text: &[u8]) -> Answer {
        let by = Giver::Operator(&self.info);
        let answer = self.console.execute(&self.user, &by, text);
        if let Answer::Wait(_, until) = &answer {
            while !self.console.is_over(until) {
                tokio::time::sleep(LOOK).await;
            }
        }
        answer
    }

    async fn message(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) {
        match tag {
            b'S' => {
                self.skipping = false;
                encode::ready_for_query(out, b'I');
            }
            _ if self.skipping => {}
            b'Q' => {
                let text = frontend::query_text(body).unwrap_or_default();
                let answer = self.execute(text).await;
                let formats = Formats::default();
                if matches!(answer, Answer::Table(_)) {
                    answer.describe(&formats, out);
                }
                answer.give(&formats, out);
                encode::ready_for_query(out, b'I');
            }
            b'H' => {}
            _ => {
                if let Err((code, message)) = self.extended(tag, body, out).await {
                    encode::error(out, Severity::Error, code, &message, None);
                    self.skipping = true;
                }
            }
        }
    }

    async fn extended(
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
                if !self.execute(text).await.give(formats, out) {
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
                let by = Giver::Operator(&self.info);
                let answer = self.console.run(&self.user, &by, command);
                answer.describe(formats, out);
            }
            _ => out.extend_from_slice(encode::NO_DATA),
        }
    }
}
