//! The console: what an operator's client says to the database `pgweir`, and is answered. Simple
//! and extended protocol; a client that is logged in already comes in here.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::command::{self, Command};
use super::show::{self, Table};
use crate::client::directory::Directory;
use crate::client::info::{Clock, Control};
use crate::client::login::Door;
use crate::config::Config;
use crate::net::stream::Stream;
use crate::pool::registry::Pools;
use crate::pool::stats::Totals;
use crate::protocol::encode::{self, Severity};
use crate::protocol::frame::{self, HEADER};
use crate::protocol::frontend::{self, Target};
use crate::protocol::sqlstate::{self, SqlState};

/// Longest message from an operator, in bytes.
const MESSAGE_MAX: usize = 64 * 1024;
/// Averages are over this many seconds (`stats_period`).
const PERIOD: u64 = 60;

/// Who is at the console.
#[derive(Debug, Clone)]
pub struct ConsoleUser {
    pub name: String,
    /// May do more than look.
    pub is_admin: bool,
}

/// Whom a shutdown waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    Immediate,
    WaitForServers,
    WaitForClients,
}

/// What the console can do to the process.
pub trait Actions: Send + Sync + std::fmt::Debug {
    /// Reads the configuration again; gives warnings.
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed.
    fn reload(&self) -> Result<Vec<String>, String>;
    fn shutdown(&self, mode: ShutdownMode);
}

/// Totals at the two ends of the last full period.
#[derive(Debug, Default, Clone, Copy)]
pub struct Period {
    pub start: Totals,
    pub end: Totals,
    pub seconds: u64,
}

/// What the console and the HTTP port look at.
#[derive(Debug)]
pub struct Console {
    pools: Arc<Pools>,
    directory: Arc<Directory>,
    clock: Clock,
    actions: Box<dyn Actions>,
    door: Weak<Door>,
    periods: Mutex<HashMap<Arc<str>, Period>>,
}

impl Console {
    pub fn new(
        pools: Arc<Pools>,
        directory: Arc<Directory>,
        clock: Clock,
        actions: Box<dyn Actions>,
        door: Weak<Door>,
    ) -> Arc<Console> {
        Arc::new(Console {
            pools,
            directory,
            clock,
            actions,
            door,
            periods: Mutex::default(),
        })
    }

    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Milliseconds on the process's clock.
    pub fn now(&self) -> u64 {
        self.clock.millis(Instant::now())
    }

    pub fn config(&self) -> Arc<Config> {
        self.pools.config()
    }

    pub fn is_draining(&self) -> bool {
        self.door.upgrade().is_none_or(|door| door.is_draining())
    }

    fn by_database(&self) -> BTreeMap<Arc<str>, Totals> {
        let mut all: BTreeMap<Arc<str>, Totals> = BTreeMap::new();
        for pool in self.pools.all() {
            let totals = all.entry(Arc::clone(&pool.database)).or_default();
            pool.add_totals(totals);
        }
        all
    }

    /// By database: totals now, and the last period.
    pub fn totals(&self) -> Vec<(Arc<str>, Totals, Period)> {
        let periods = self.periods.lock();
        self.by_database()
            .into_iter()
            .map(|(database, totals)| {
                let period = periods.get(&database).copied().unwrap_or_default();
                (database, totals, period)
            })
            .collect()
    }

    /// Closes a period every minute. Runs for ever.
    pub async fn keep_averages(self: Arc<Console>) {
        let mut interval = tokio::time::interval(std::time::Duration::from_secs(PERIOD));
        interval.tick().await;
        loop {
            interval.tick().await;
            let mut periods = self.periods.lock();
            for (database, end) in self.by_database() {
                let period = periods.entry(database).or_default();
                *period = Period {
                    start: period.end,
                    end,
                    seconds: PERIOD,
                };
            }
        }
    }

    /// Carries a command out.
    fn run(&self, user: &ConsoleUser, command: Command) -> Answer {
        if !user.is_admin
            && !matches!(
                command,
                Command::Show(_) | Command::Parameter(..) | Command::SetIgnored | Command::Empty
            )
        {
            return Answer::Error(
                sqlstate::INSUFFICIENT_PRIVILEGE,
                "admin access needed".into(),
            );
        }
        match command {
            Command::Empty => Answer::Empty,
            Command::Show(show) => Answer::Table(show::table(self, show)),
            Command::Parameter(name, value) => Answer::Table(Table {
                columns: vec![encode::Column {
                    name,
                    oid: 25,
                    size: -1,
                }],
                rows: vec![vec![Some(value.to_owned())]],
            }),
            Command::SetIgnored => Answer::Done("SET", vec!["SET ignored".to_owned()]),
            Command::Reload => match self.actions.reload() {
                Ok(warnings) => Answer::Done("RELOAD", warnings),
                Err(error) => {
                    tracing::error!("reload failed, nothing has changed: {error}");
                    Answer::Error(
                        sqlstate::CONFIG_FILE_ERROR,
                        "RELOAD failed, see logs for additional details".into(),
                    )
                }
            },
            Command::Reconnect(database) => self.reconnect(database.as_deref()),
            Command::KillClient(id) => self.kill_client(id),
            Command::Shutdown(mode) => {
                self.actions.shutdown(mode);
                Answer::Done("SHUTDOWN", Vec::new())
            }
        }
    }

    fn reconnect(&self, database: Option<&str>) -> Answer {
        let mut found = database.is_none();
        for pool in self.pools.all() {
            if database.is_none_or(|d| d == &*pool.database) {
                found = true;
                pool.reconnect();
            }
        }
        match (found, database) {
            (false, Some(name)) => Answer::Error(
                sqlstate::PROTOCOL_VIOLATION,
                format!("no such database: {name}"),
            ),
            _ => Answer::Done("RECONNECT", Vec::new()),
        }
    }

    fn kill_client(&self, id: u64) -> Answer {
        let mut found = false;
        self.directory.for_each(|client| {
            if client.id == id {
                found = true;
                client.request(Control::Kill);
            }
        });
        if found {
            Answer::Done("KILL_CLIENT", Vec::new())
        } else {
            Answer::Error(sqlstate::PROTOCOL_VIOLATION, "client not found".into())
        }
    }

    fn execute(&self, user: &ConsoleUser, text: &[u8]) -> Answer {
        match command::parse(&String::from_utf8_lossy(text)) {
            Ok(command) => self.run(user, command),
            Err(message) => Answer::Error(sqlstate::SYNTAX_ERROR, message),
        }
    }
}

/// What a command came to.
#[derive(Debug)]
enum Answer {
    Empty,
    Table(Table),
    /// With the command's tag, and notices.
    Done(&'static str, Vec<String>),
    Error(SqlState, String),
}

impl Answer {
    fn describe(&self, out: &mut Vec<u8>) {
        match self {
            Answer::Table(table) => encode::row_description(out, &table.columns),
            _ => out.extend_from_slice(encode::NO_DATA),
        }
    }

    /// Everything up to CommandComplete; `false` after an error.
    fn give(self, out: &mut Vec<u8>) -> bool {
        match self {
            Answer::Empty => out.extend_from_slice(encode::EMPTY_QUERY_RESPONSE),
            Answer::Table(table) => {
                for row in &table.rows {
                    encode::data_row(out, row);
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
    portals: HashMap<Vec<u8>, Vec<u8>>,
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
                if let Answer::Table(table) = &answer {
                    encode::row_description(out, &table.columns);
                }
                answer.give(out);
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
                if asks_for_binary(&body[names.consumed..]) {
                    let message = "the console gives results in text format only".to_owned();
                    return Err((sqlstate::FEATURE_NOT_SUPPORTED, message));
                }
                let text = text.clone();
                if self.portals.len() >= NAMES_MAX {
                    self.portals.clear();
                }
                self.portals.insert(names.portal.to_vec(), text);
                out.extend_from_slice(encode::BIND_COMPLETE);
            }
            b'D' => {
                let (text, statement) = match frontend::target(body).ok_or_else(malformed)? {
                    Target::Statement(name) => (self.statements.get(name), true),
                    Target::Portal(name) => (self.portals.get(name), false),
                };
                let text = text.ok_or_else(missing)?;
                if statement {
                    // No parameters.
                    out.extend_from_slice(b"t\0\0\0\x06\0\0");
                }
                self.describe(text, out);
            }
            b'E' => {
                let portal = frontend::execute_portal(body).ok_or_else(malformed)?;
                let text = self.portals.get(portal).ok_or_else(missing)?;
                if !self.console.execute(&self.user, text).give(out) {
                    self.skipping = true;
                }
            }
            b'C' => {
                match frontend::target(body).ok_or_else(malformed)? {
                    Target::Statement(name) => self.statements.remove(name),
                    Target::Portal(name) => self.portals.remove(name),
                };
                out.extend_from_slice(encode::CLOSE_COMPLETE);
            }
            _ => return Err(malformed()),
        }
        Ok(())
    }

    /// Only a SHOW has a result, and looking does no harm.
    fn describe(&self, text: &[u8], out: &mut Vec<u8>) {
        match command::parse(&String::from_utf8_lossy(text)) {
            Ok(command @ (Command::Show(_) | Command::Parameter(..))) => {
                self.console.run(&self.user, command).describe(out);
            }
            _ => out.extend_from_slice(encode::NO_DATA),
        }
    }
}

/// The result formats at the end of a Bind: parameter formats, parameters (the console has none),
/// then the formats.
fn asks_for_binary(rest: &[u8]) -> bool {
    let Some((parameters, formats)) = skip_formats(rest).and_then(|r| r.split_first_chunk::<2>())
    else {
        return false;
    };
    if *parameters != [0, 0] {
        return false;
    }
    formats
        .get(2..)
        .is_some_and(|f| f.chunks(2).any(|code| code == [0, 1]))
}

fn skip_formats(bytes: &[u8]) -> Option<&[u8]> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    rest.get(2 * usize::from(u16::from_be_bytes(*count))..)
}
