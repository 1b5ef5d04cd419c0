//! Runs a script directly and through pgweir, and compares what the clients see.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::script::{Message, Step};
use super::support::{Message as Raw, Pgweir, Postgres, Wire};
use pgweir::protocol::backend;

pub const CLIENTS: usize = 3;

/// A client that gets no answer for so long gets none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reported parameters that are not worth showing.
const ALWAYS_THE_SAME: [&str; 4] = [
    "server_version",
    "server_encoding",
    "integer_datetimes",
    "in_hot_standby",
];
const USUAL: [(&str, &str); 8] = [
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("application_name", ""),
    ("client_encoding", "UTF8"),
    ("default_transaction_read_only", "off"),
    ("is_superuser", "on"),
    ("session_authorization", "postgres"),
    ("standard_conforming_strings", "on"),
];

/// What every script finds.
const SCHEMA: &str = include_str!("schema.sql");

/// What is set back before each run.
const REFRESH: &str = "truncate w restart identity; \
    drop table if exists ddl, ddl0, ddl1, ddl2, other.ddl, other.ddl0, other.ddl1, other.ddl2; drop function if exists scratch(); \
    alter sequence counter restart; alter table shape drop column if exists added; \
    drop table if exists gone; create table gone(x int)";

pub struct Bench {
    pg: Postgres,
    admin: Wire,
    /// By [`Mode::index`].
    weirs: Vec<Pgweir>,
    consoles: Vec<Wire>,
}

/// How a script is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Direct,
    /// One server connection: each client gets what the one before it has left.
    One,
    /// Two.
    Two,
    /// Four, with a client in the way that makes the others change from one to the next.
    Switching,
}

impl Mode {
    pub const POOLED: [Mode; 3] = [Mode::One, Mode::Two, Mode::Switching];

    fn index(self) -> usize {
        Mode::POOLED.iter().position(|m| *m == self).unwrap_or(0)
    }

    pub fn size(self) -> usize {
        [1, 2, 4][self.index()]
    }
}

/// What the clients saw, step by step.
type Transcript = Vec<Vec<String>>;

impl Bench {
    pub fn start() -> Bench {
        let pg = Postgres::start();
        let mut admin = pg.client();
        let answer = admin.query(SCHEMA);
        assert_eq!(answer.code(), None, "{answer:?}");
        let weirs: Vec<_> = Mode::POOLED.iter().map(|m| pooler(&pg, *m)).collect();
        let consoles = weirs.iter().map(Pgweir::console).collect();
        Bench {
            pg,
            admin,
            weirs,
            consoles,
        }
    }

    /// The first difference, if there is one.
    pub fn difference(&mut self, steps: &[Step], mode: Mode) -> Option<String> {
        let direct = self.run(steps, Mode::Direct);
        let pooled = self.run(steps, mode);
        let different = steps
            .iter()
            .zip(direct.iter().zip(&pooled))
            .find(|(_, (direct, pooled))| direct != pooled);
        if let Some((step, (direct, pooled))) = different {
            let (direct, pooled) = (direct.join(", "), pooled.join(", "));
            return Some(format!(
                "{mode:?}, step `{step}`\n  direct {direct}\n  pooled {pooled}"
            ));
        }
        self.stained(mode)
    }

    /// After a failure: what it has left on the server connections must not fail the next.
    pub fn renew(&mut self, mode: Mode) {
        let weir = pooler(&self.pg, mode);
        self.consoles[mode.index()] = weir.console();
        self.weirs[mode.index()] = weir;
    }

    /// Nothing has leaked, and nothing has panicked.
    pub fn assert_quiet(&self) {
        self.weirs.iter().for_each(Pgweir::assert_quiet);
    }

    fn run(&mut self, steps: &[Step], mode: Mode) -> Transcript {
        let answer = self.admin.query(REFRESH);
        assert_eq!(answer.code(), None, "{answer:?}");
        let port = match mode {
            Mode::Direct => self.pg.port,
            _ => self.weirs[mode.index()].port,
        };
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(port)).collect();
        let mut blocker = (mode == Mode::Switching).then(|| Client::new(port));
        let mut transcript = Vec::new();
        for (n, step) in steps.iter().enumerate() {
            if let Some(blocker) = &mut blocker {
                blocker.simple(if n % 2 == 0 { "begin" } else { "rollback" });
            }
            let client = &mut clients[step.client];
            let leaves = matches!(step.messages[0], Message::Reconnect | Message::Startup(_));
            if leaves {
                let pid = client.pid.take();
                client.leave();
                let others = CLIENTS - 1 + usize::from(blocker.is_some());
                self.wait_for_end(mode, pid, others);
            }
            transcript.push(client.step(step));
        }
        let pids: Vec<_> = clients.iter_mut().map(|c| c.pid.take()).collect();
        drop((clients, blocker));
        for pid in pids {
            self.wait_for_end(mode, pid, 0);
        }
        transcript
    }

    /// What a session leaves behind is gone only when its process is, or when pgweir has cleaned
    /// up; `clients` are still there.
    fn wait_for_end(&mut self, mode: Mode, pid: Option<i32>, clients: usize) {
        let sql = format!(
            "select count(*) from pg_stat_activity where pid = {}",
            pid.unwrap_or(0)
        );
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let gone = match mode {
                Mode::Direct => self.admin.query(&sql).value() == "0",
                _ => self.pooled(mode, clients),
            };
            if gone {
                return;
            }
            assert!(Instant::now() < deadline, "{mode:?}: session does not end");
            sleep(Duration::from_millis(1));
        }
    }

    /// Whether so many clients are there and, if it is none, no server connection is lent.
    fn pooled(&mut self, mode: Mode, clients: usize) -> bool {
        let rows = self.consoles[mode.index()].query("SHOW POOLS").rows();
        rows.iter().filter(|row| row[0] == "postgres").all(|row| {
            // cl_active, cl_waiting; sv_active.
            let number = |column: usize| row[column].parse::<usize>().unwrap();
            number(2) + number(3) == clients && (clients > 0 || number(6) == 0)
        })
    }

    /// What new clients see on the server connections, if it is not what a new session is.
    fn stained(&mut self, mode: Mode) -> Option<String> {
        let expected = pristine(&mut self.pg.client());
        // All at once, so that each has a connection of its own.
        let mut clients: Vec<Wire> = (0..mode.size())
            .map(|_| self.weirs[mode.index()].client())
            .collect();
        for client in &mut clients {
            let answer = client.query("begin");
            if answer.code().is_some() {
                return Some(format!(
                    "{mode:?}: a connection is not given back: {answer:?}"
                ));
            }
        }
        for client in &mut clients {
            let seen = pristine(client);
            let news: Vec<_> = seen.iter().filter(|row| !expected.contains(row)).collect();
            if !news.is_empty() || seen.len() != expected.len() {
                return Some(format!("{mode:?}: a new client sees {news:?}"));
            }
            client.query("rollback");
        }
        None
    }
}

fn pooler(pg: &Postgres, mode: Mode) -> Pgweir {
    let size = mode.size();
    // By the listening connection, notifications come a moment later (see tests/sessions/listen.rs).
    let pin = "listen_channels = 'pin'";
    let lines = format!("default_pool_size = {size}\nquery_wait_timeout = 2\n{pin}");
    Pgweir::start(pg.port, &lines)
}

/// Everything that a new session can see of itself. A setting with a dot that was ever made on a
/// connection stays there, empty, as long as the connection lasts: PostgreSQL cannot remove it.
fn pristine(wire: &mut Wire) -> Vec<Vec<String>> {
    let answer = wire.query(
        "select name, setting from pg_settings \
           where name not like 'plpgsql.%' and not (name like '%.%' and coalesce(setting, '') = '') \
             and name not like 'transaction%' and name <> 'in_hot_standby' \
         union all select 'user', session_user || ' ' || current_user \
         union all select 'statement', name from pg_prepared_statements \
           where name !~ '^pgweir_[0-9]+$' \
         union all select 'cursor', name from pg_cursors where name <> '' \
         union all select 'temporary', relname from pg_class \
           where relnamespace = pg_my_temp_schema() \
         union all select 'temporary', proname from pg_proc \
           where pronamespace = pg_my_temp_schema() \
         union all select 'lock', objid::text from pg_locks \
           where locktype = 'advisory' and pid = pg_backend_pid() \
         union all select 'channel', c from pg_listening_channels() c",
    );
    assert_eq!(answer.code(), None, "{answer:?}");
    answer.rows()
}

/// A client whose answers are read into a form that can be compared.
struct Client {
    port: u16,
    pairs: Vec<(String, String)>,
    wire: Option<Wire>,
    pid: Option<i32>,
    parameters: BTreeMap<String, String>,
    closed: bool,
    /// After an error in an extended query: nothing is answered up to a Sync.
    skipping: bool,
}

impl Client {
    fn new(port: u16) -> Client {
        let mut client = Client {
            port,
            pairs: Vec::new(),
            wire: None,
            pid: None,
            parameters: BTreeMap::new(),
            closed: false,
            skipping: false,
        };
        client.connect();
        client
    }

    fn leave(&mut self) {
        if let Some(mut wire) = self.wire.take() {
            let _ = wire.send(&[b'X', 0, 0, 0, 4]);
        }
    }

    fn connect(&mut self) -> Vec<String> {
        let mut pairs = vec![("user", "postgres"), ("database", "postgres")];
        pairs.extend(self.pairs.iter().map(|(n, v)| (&**n, &**v)));
        let mut wire = Wire::raw(self.port).unwrap();
        wire.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        wire.send(&super::support::startup(3 << 16, &pairs))
            .unwrap();
        self.parameters.clear();
        self.closed = false;
        self.skipping = false;
        let mut seen = Vec::new();
        while let Ok(message) = wire.read_message() {
            match message.tag {
                b'K' => {
                    let pid = message.body[..4].try_into().unwrap();
                    self.pid = Some(i32::from_be_bytes(pid));
                }
                b'R' => {}
                _ => self.note(&message, &mut seen),
            }
            if message.tag == b'Z' {
                break;
            }
        }
        self.wire = Some(wire);
        seen
    }

    fn simple(&mut self, sql: &str) -> Vec<String> {
        self.step(&Step {
            client: 0,
            messages: vec![Message::Query(sql.into())],
        })
    }

    fn step(&mut self, step: &Step) -> Vec<String> {
        match &step.messages[0] {
            Message::Reconnect => return self.connect(),
            Message::Startup(pairs) => {
                self.pairs = pairs.clone();
                return self.connect();
            }
            Message::Wait(millis) => {
                sleep(Duration::from_millis(*millis));
                return Vec::new();
            }
            _ => {}
        }
        let bytes: Vec<u8> = step.messages.iter().flat_map(Message::encode).collect();
        let mut seen = Vec::new();
        let sent = self.wire.as_mut().unwrap().send(&bytes);
        if sent.is_err() || self.closed {
            return vec!["closed".into()];
        }
        let mut readies: usize = step.messages.iter().map(Message::readies).sum();
        let answered = step.messages.iter().filter(|m| m.is_answered()).count();
        let waits_for_each = readies == 0 && !self.skipping;
        let mut singles = if waits_for_each { answered } else { 0 };
        while readies + singles > 0 {
            let message = match self.wire.as_mut().unwrap().read_message() {
                Ok(message) => message,
                Err(error) => {
                    self.closed = true;
                    let silent = error.kind() == std::io::ErrorKind::WouldBlock;
                    seen.push(if silent { "no answer" } else { "closed" }.into());
                    break;
                }
            };
            match message.tag {
                b'Z' => {
                    self.skipping = false;
                    readies = readies.saturating_sub(1);
                }
                b'E' => {
                    self.skipping = true;
                    singles = 0;
                }
                b'1' | b'2' | b'3' | b'n' | b'T' | b'C' | b's' | b'I' | b'G' => {
                    singles = singles.saturating_sub(1)
                }
                _ => {}
            }
            self.note(&message, &mut seen);
        }
        let parameters = self.parameters.iter().map(|(n, v)| format!("{n}={v}"));
        seen.push(parameters.collect::<Vec<_>>().join(" "));
        seen
    }

    fn note(&mut self, message: &Raw, seen: &mut Vec<String>) {
        if message.tag == b'S' {
            if let Some((name, value)) = backend::parameter_status(&message.body) {
                let usual = USUAL.contains(&(&*name, &*value));
                if usual || ALWAYS_THE_SAME.contains(&&*name) {
                    self.parameters.remove(&*name);
                } else {
                    self.parameters.insert(name, value);
                }
            }
            return;
        }
        seen.push(shown(message));
    }
}

fn shown(message: &Raw) -> String {
    let body = &message.body;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let tag = char::from(message.tag);
    match message.tag {
        b'D' => {
            let values = backend::data_row(body).unwrap();
            let values: Vec<String> = values
                .into_iter()
                .map(|v| v.map_or("NULL".into(), text))
                .collect();
            format!("D {}", values.join("|"))
        }
        b'E' | b'N' => {
            let fields = backend::error_fields(body);
            let words = text(fields.message);
            // Names of ours appear in place of the client's.
            let words = if words.contains("pgweir_") || words.contains("prepared statement") {
                String::new()
            } else {
                words
            };
            format!(
                "{tag} {} {} {words}",
                text(fields.severity),
                text(fields.code)
            )
        }
        // The pid of the notifying session comes first.
        b'A' => format!("A {}", text(&body[4..])),
        b'T' => format!("T {}", columns(body).join("|")),
        b'Z' | b'C' | b't' | b'd' | b'G' | b'H' => format!("{tag} {}", text(body)),
        _ => tag.to_string(),
    }
}

/// Name, type and format of each column; tables have other OIDs in each run.
fn columns(body: &[u8]) -> Vec<String> {
    let mut rest = &body[2..];
    let mut columns = Vec::new();
    while let Some(end) = rest.iter().position(|b| *b == 0) {
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        let fixed = &rest[end + 1..end + 19];
        let of_type = u32::from_be_bytes(fixed[6..10].try_into().unwrap());
        // Types of the script's own have another OID in each run.
        let of_type = of_type.min(16_384);
        columns.push(format!("{name} {of_type} {}", fixed[17]));
        rest = &rest[end + 19..];
    }
    columns
}
