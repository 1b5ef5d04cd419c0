//! Scenarios: steps that are taken with each pooler, and whose outcomes are compared.

use std::collections::{BTreeMap, HashMap};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::known::{Difference, KNOWN};
use crate::stage::{Ini, Pooler, Server, Side, server};
use crate::support::{query, unprivileged};

/// A user with a password.
pub type Who = (&'static str, &'static str);

/// What is done. Clients have names: the first field of most steps.
#[derive(Clone, Copy)]
pub enum Step {
    /// Logs in to a database.
    Login(&'static str, Who, &'static str),
    /// As [`Step::Login`], with further startup parameters.
    LoginWith(
        &'static str,
        Who,
        &'static str,
        &'static [(&'static str, &'static str)],
    ),
    /// As [`Step::Login`], until it is let in.
    Retry(&'static str, Who, &'static str),
    /// Connects and sends these bytes instead of a startup message.
    Open(&'static str, fn() -> Vec<u8>),
    /// What parameters the client was told of at its login, by name; values of these.
    Greeting(&'static str, &'static [&'static str]),
    /// Sends a query and reads up to ReadyForQuery.
    Query(&'static str, &'static str),
    /// Sends a query, and reads nothing.
    Send(&'static str, &'static str),
    /// Sends bytes, and reads nothing.
    Bytes(&'static str, fn() -> Vec<u8>),
    /// Reads up to ReadyForQuery.
    Read(&'static str),
    /// Reads up to a message of this type.
    ReadTo(&'static str, u8),
    /// Reads to the end of the connection.
    Ends(&'static str),
    Leave(&'static str),
    /// A CancelRequest.
    Cancel(&'static str),
    /// A command at the console, by an admin on a connection of its own.
    Console(&'static str),
    /// Columns of a SHOW, from the rows that have this value first.
    Show(&'static str, &'static str, &'static [&'static str]),
    /// Waits until a SHOW has a row with this value first where these columns have these values.
    Await(
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
    ),
    /// Waits until the server itself answers so.
    AwaitServer(&'static str, &'static str),
    /// Other files are put in place; the pooler is not told.
    Files(Ini),
    Signal(&'static str),
    /// Waits for the process to end: its exit code.
    Exit,
    /// Starts another process that takes over (`-R`).
    Restart,
    /// Waits for the one before it to end.
    ExitOfTheOld,
    /// psql with this connection string, in which `$PORT`, `$DIR` and `$CERTS` are the pooler's; as the
    /// pooler's own user of the operating system if it is `true`.
    Psql(bool, &'static str, &'static str),
}

#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub ini: Ini,
    pub steps: &'static [Step],
}

/// So many scenarios are played at a time: they mostly wait.
const AT_A_TIME: usize = 4;

/// Plays all of them to both poolers; fails with every difference that is not a known one, and with
/// every known one that was not found.
pub fn compare(group: &str, scenarios: &[Scenario]) {
    compare_at(&server(), group, scenarios);
}

/// The same, before another server.
pub fn compare_at(postgres: &Server, group: &str, scenarios: &[Scenario]) {
    let known = Known::of(group);
    let next = AtomicUsize::new(0);
    let report = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME.min(scenarios.len()) {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let differences = differences(postgres, scenario, &known);
                    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                    report.extend(differences);
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap();
    report.extend(known.stale());
    assert!(report.is_empty(), "\n{}", report.join("\n"));
}

/// What is known to differ in a group of scenarios, and whether it was seen.
struct Known(Vec<(&'static Difference, AtomicBool)>);

impl Known {
    fn of(group: &str) -> Known {
        let known = KNOWN.iter().filter(|d| d.groups.contains(&group));
        Known(known.map(|d| (d, AtomicBool::new(false))).collect())
    }

    /// Whether these are the same, or differ in the way that is known: as a whole, or line by line.
    fn allows(&self, bouncer: &str, weir: &str) -> bool {
        let same = |bouncer: &str, weir: &str| {
            bouncer == weir
                || self.0.iter().any(|(known, seen)| {
                    let is_known = known.is(bouncer, weir);
                    seen.fetch_or(is_known, Ordering::Relaxed);
                    is_known
                })
        };
        let mut lines = bouncer.lines().zip(weir.lines());
        same(bouncer, weir)
            || (bouncer.lines().count() == weir.lines().count()
                && lines.all(|(bouncer, weir)| same(bouncer, weir)))
    }

    fn stale(self) -> Vec<String> {
        let unseen = self
            .0
            .into_iter()
            .filter(|(_, seen)| !seen.load(Ordering::Relaxed));
        unseen
            .map(|(d, _)| {
                format!(
                    "== no such difference any more, take it from the table\n{}\n{}\n({})",
                    d.bouncer, d.weir, d.why
                )
            })
            .collect()
    }
}

fn differences(postgres: &Server, scenario: &Scenario, known: &Known) -> Vec<String> {
    let [bouncer, weir] = std::thread::scope(|scope| {
        let sides = [Side::Bouncer, Side::Weir];
        let played = sides.map(|side| scope.spawn(move || play(postgres, side, scenario)));
        played.map(|thread| thread.join())
    });
    let (Ok(bouncer), Ok(weir)) = (bouncer, weir) else {
        return vec![format!("== {}: panicked, see above", scenario.name)];
    };
    if std::env::var_os("PGWEIR_COMPARE_SHOW").is_some() {
        println!("== {}\n{}", scenario.name, bouncer.outcomes.join("\n"));
    }
    let mut report = Vec::new();
    let outcomes = bouncer.outcomes.iter().zip(&weir.outcomes);
    for (n, (b, w)) in outcomes.enumerate() {
        if !known.allows(b, w) {
            report.push(format!(
                "== {}, step {}\n-- PgBouncer\n{b}\n-- pgweir\n{w}",
                scenario.name,
                n + 1
            ));
        }
    }
    if !report.is_empty() && std::env::var_os("PGWEIR_COMPARE_LOG").is_some() {
        for played in [&bouncer, &weir] {
            report.push(format!("-- log\n{}", played.log));
        }
    }
    report
}

struct Played {
    /// One for each step.
    outcomes: Vec<String>,
    log: String,
}

fn play(postgres: &Server, side: Side, scenario: &Scenario) -> Played {
    let pooler = Pooler::start(side, postgres, &scenario.ini);
    let mut stage = Stage {
        pooler,
        postgres,
        clients: HashMap::new(),
    };
    let outcomes = scenario.steps.iter();
    let outcomes = outcomes.map(|step| stage.take(step).join("\n")).collect();
    Played {
        outcomes,
        log: stage.pooler.log(),
    }
}

struct Stage<'a> {
    pooler: Pooler,
    postgres: &'a Server,
    clients: HashMap<&'static str, Client>,
}

impl Stage<'_> {
    /// Does something with a client, if it was let in.
    fn with(&mut self, name: &str, act: impl FnOnce(&mut Client) -> Vec<String>) -> Vec<String> {
        match self.clients.get_mut(name) {
            Some(client) => act(client),
            None => vec![format!("{name} is not logged in")],
        }
    }

    /// Texts of both sides can be told apart at the server by `$SIDE`.
    fn own(&self, text: &str) -> String {
        let side = match self.pooler.side {
            Side::Bouncer => "bouncer",
            Side::Weir => "weir",
        };
        text.replace("$SIDE", side)
    }

    /// Sends a query; what a client is told when it is closed already is still to be read.
    fn send(&mut self, name: &str, text: &str) -> Vec<String> {
        let bytes = query(&self.own(text));
        self.send_bytes(name, &bytes)
    }

    fn send_bytes(&mut self, name: &str, bytes: &[u8]) -> Vec<String> {
        self.with(name, |client| {
            let _ = client.wire.send(bytes);
            Vec::new()
        })
    }

    fn log_in(
        &mut self,
        name: &'static str,
        (user, password): Who,
        database: &str,
        more: &[(&str, &str)],
    ) -> Vec<String> {
        let mut parameters = vec![("user", user), ("database", database)];
        parameters.extend(more);
        let (lines, client) = Client::log_in(self.pooler.port, password, &parameters);
        if let Some(client) = client {
            self.clients.insert(name, client);
        }
        lines
    }

    fn take(&mut self, step: &Step) -> Vec<String> {
        match *step {
            Step::Login(name, who, database) => self.log_in(name, who, database, &[]),
            Step::LoginWith(name, who, database, more) => self.log_in(name, who, database, more),
            Step::Retry(name, who, database) => self.wait("a login", |stage| {
                stage.log_in(name, who, database, &[]);
                stage.clients.contains_key(name)
            }),
            Step::Open(name, bytes) => {
                let mut client = Client::raw(self.pooler.port);
                let _ = client.wire.send(&bytes());
                self.clients.insert(name, client);
                Vec::new()
            }
            Step::Greeting(name, values) => self.with(name, |client| {
                let greeting: BTreeMap<_, _> = client.greeting.iter().cloned().collect();
                let line = |(name, value): (String, String)| match values.contains(&&*name) {
                    true => format!("{name} = {value}"),
                    false => name,
                };
                greeting.into_iter().map(line).collect()
            }),
            Step::Query(name, sql) => {
                let mut lines = self.send(name, sql);
                lines.extend(self.with(name, Client::answer));
                lines
            }
            Step::Send(name, sql) => self.send(name, sql),
            Step::Bytes(name, bytes) => self.send_bytes(name, &bytes()),
            Step::Read(name) => self.with(name, Client::answer),
            Step::ReadTo(name, tag) => self.with(name, |client| client.until(|t| t == tag)),
            Step::Ends(name) => self.with(name, |client| client.until(|_| false)),
            Step::Leave(name) => {
                let lines = self.send_bytes(name, b"X\0\0\0\x04");
                self.clients.remove(name);
                lines
            }
            Step::Cancel(name) => self.with(name, |client| {
                client.wire.cancel();
                Vec::new()
            }),
            Step::Console(command) => self.console(|console| console.query(command)),
            Step::Show(what, first, columns) => {
                let rows = self.show(what).into_iter();
                let rows = rows.filter(|row| row.first == first);
                rows.map(|row| row.values(columns)).collect()
            }
            Step::Await(what, first, wanted) => {
                self.wait(&format!("{what} {first} {wanted:?}"), |stage| {
                    let rows = stage.show(what).into_iter();
                    let mut rows = rows.filter(|row| row.first == first);
                    rows.any(|row| wanted.iter().all(|(column, v)| row.columns[*column] == *v))
                })
            }
            Step::AwaitServer(sql, value) => self.wait(sql, |stage| {
                stage.postgres.sql(&stage.own(sql)).as_deref() == Some(value)
            }),
            Step::Files(ini) => {
                self.pooler.rewrite(&ini);
                Vec::new()
            }
            Step::Signal(signal) => {
                self.pooler.signal(signal);
                Vec::new()
            }
            Step::Exit => vec![format!("exit {:?}", self.pooler.wait_exit().code())],
            Step::Restart => {
                self.pooler.restart();
                Vec::new()
            }
            Step::ExitOfTheOld => {
                vec![format!(
                    "exit {:?}",
                    self.pooler.wait_exit_of_the_old().code()
                )]
            }
            Step::Psql(as_pooler, conninfo, sql) => self.psql(as_pooler, conninfo, sql),
        }
    }

    /// Something that must come to be so in time; there is nothing to compare in it.
    fn wait(&mut self, what: &str, so: impl Fn(&mut Self) -> bool) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !so(self) {
            if Instant::now() > deadline {
                return vec![format!("in vain: {what}")];
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Vec::new()
    }

    /// The console is left open: a scenario may have taken all other places.
    fn console(&mut self, run: impl FnOnce(&mut Client) -> Vec<String>) -> Vec<String> {
        if !self.clients.contains_key("(console)") {
            let lines = self.log_in("(console)", ("admin", "secret-admin"), "pgbouncer", &[]);
            if !self.clients.contains_key("(console)") {
                return lines;
            }
        }
        self.with("(console)", run)
    }

    fn show(&mut self, what: &str) -> Vec<Row> {
        let answer = self.console(|console| console.query(&format!("SHOW {what}")));
        let names = answer.iter().find_map(|line| line.strip_prefix("columns "));
        let names: Vec<&str> = names
            .unwrap_or_default()
            .split(' ')
            .map(|c| c.split(':').next().unwrap_or_default())
            .collect();
        let rows = answer.iter().filter_map(|line| line.strip_prefix("row "));
        rows.map(|row| Row::new(&names, row)).collect()
    }

    fn psql(&self, as_pooler: bool, conninfo: &str, sql: &str) -> Vec<String> {
        let dir = self.pooler.dir().to_str().unwrap();
        let conninfo = conninfo
            .replace("$PORT", &self.pooler.port.to_string())
            .replace("$DIR", dir)
            .replace("$CERTS", self.postgres.certificates());
        let mut command = Command::new("psql");
        if as_pooler {
            unprivileged(&mut command);
        }
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
            command.env_remove(name);
        }
        // Certificates of whoever runs the tests are of no use here.
        command.env("HOME", dir);
        let command = command.args(["-XAtqd", &conninfo, "-c", sql]);
        let output = command.current_dir("/").output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let complaint = text(&output.stderr);
        // Before that psql says where it was connecting.
        let complaint = complaint
            .split_once("failed: ")
            .map_or(&*complaint, |(_, c)| c);
        vec![format!("{}{complaint}", text(&output.stdout))]
    }
}

impl Client {
    fn query(&mut self, text: &str) -> Vec<String> {
        let _ = self.wire.send(&query(text));
        self.answer()
    }
}

struct Row {
    first: String,
    columns: HashMap<String, String>,
}

impl Row {
    fn new(names: &[&str], row: &str) -> Row {
        let values: Vec<&str> = row.split('|').collect();
        let columns = names.iter().zip(&values);
        Row {
            first: values[0].to_owned(),
            columns: columns
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
        }
    }

    fn values(&self, columns: &[&str]) -> String {
        let values = columns
            .iter()
            .map(|c| format!("{c} = {}", self.columns[*c]));
        values.collect::<Vec<_>>().join(", ")
    }
}
