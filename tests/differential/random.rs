//! Sequences made up at random, from a seed.
//!
//! A client's actions come in units: one action, a transaction, or something that pins and is
//! cleaned up. In the middle of one it may hold a server connection, so that not more clients are in
//! the middle of one than there are connections.

use super::run::{CLIENTS, Mode};
use super::script::{Step, parse};

/// Findings of `open.txt` that the generator keeps away from; with a number taken out, it goes
/// there.
const OPEN: &[u32] = &[];

fn avoids(finding: u32) -> bool {
    OPEN.contains(&finding)
}

const STEPS: usize = 60;

const SETTINGS: &[(&str, &[&str])] = &[
    ("work_mem", &["'5MB'", "'6MB'", "7168"]),
    ("timezone", &["'Asia/Tokyo'", "UTC", "-7", "'america/lima'"]),
    (
        "search_path",
        &["other", "other, public", "'$user', public", "''"],
    ),
    ("datestyle", &["german", "'SQL, DMY'", "iso, ymd"]),
    ("intervalstyle", &["iso_8601", "'sql_standard'"]),
    ("my.a", &["'x'", r"E'it\'s'", "'back\\slash'", "\"Quoted\""]),
    ("\"My\".b", &["1", "'two'"]),
    ("application_name", &["'some name'", "other"]),
    ("standard_conforming_strings", &["off", "on"]),
    ("bytea_output", &["escape"]),
    ("client_encoding", &["latin1", "'utf-8'", "sql_ascii"]),
    ("default_transaction_read_only", &["on", "off"]),
    ("default_transaction_isolation", &["'repeatable read'"]),
    ("enable_seqscan", &["off"]),
    ("lock_timeout", &["'15s'"]),
    ("nonsense", &["1"]),
    ("work_mem", &["'too much'"]),
];

const LOOKS: &[&str] = &[
    "show work_mem",
    "show timezone",
    "show search_path",
    "show datestyle",
    "show application_name",
    "show transaction_isolation",
    "show default_transaction_isolation",
    "select coalesce(current_setting('my.a', true), ''), coalesce(current_setting('my.b', true), '')",
    "select current_user, session_user",
    "select x from t where id = 2",
    "select date '2020-02-01' + 1, interval '1 day 2 hours', '\\x41'::bytea",
    "select set_config('work_mem', '9MB', false) where false",
    "select 'set work_mem = 1' as a -- ; set work_mem = 2",
    "select $$; set work_mem = 1; $$ as a /* ; set work_mem = 2 */",
    "select 'a\\'; set work_mem = 1024; --' as a",
    "select E'a\\'; set work_mem = 1024; --' as a; show work_mem",
];

const FAILURES: &[&str] = &[
    "select 1/0",
    "selec",
    "select fails()",
    "select * from nowhere",
];

const TEXTS: &[&str] = &[
    "select 1 as one",
    "select x from t where id = 3",
    "select 'two' as two",
    "show work_mem",
    "select current_setting('timezone') as zone",
    "insert into w(x) values ('prepared') returning x",
    "set work_mem = '11MB'",
    "select set_config('timezone', 'Europe/Berlin', false) as zone",
    "select id from t order by id",
];

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A script for this mode.
    pub fn script(&mut self, mode: Mode) -> Vec<Step> {
        // The one in the way takes one of four.
        let holders_max = mode.size().min(CLIENTS);
        let mut queues: [Vec<String>; CLIENTS] = Default::default();
        let mut lines = Vec::new();
        while lines.len() < STEPS || queues.iter().any(|q| !q.is_empty()) {
            let inside: Vec<usize> = (0..CLIENTS).filter(|c| !queues[*c].is_empty()).collect();
            let full = inside.len() >= holders_max || lines.len() >= STEPS;
            let client = if full {
                self.pick(&inside)
            } else {
                self.below(CLIENTS)
            };
            if queues[client].is_empty() {
                queues[client] = self.unit(client);
                queues[client].reverse();
            }
            let step = queues[client].pop().unwrap();
            lines.push(format!("{} {step}", char::from(b'A' + client as u8)));
        }
        parse(&lines.join("\n"))
    }

    fn unit(&mut self, client: usize) -> Vec<String> {
        match self.below(20) {
            0..7 => vec![self.action(client, false, false)],
            // If it fails behind its BEGIN, the transaction is open.
            7..9 => vec![self.several(), "Q rollback".into()],
            9..15 => self.transaction(client),
            15..17 => self.pinning(client),
            17 => self.role(),
            18 => vec!["X".to_owned()],
            _ if avoids(4) => vec![
                "Q reset role".into(),
                "Q set session authorization default".into(),
                "Q discard all".into(),
            ],
            _ => vec!["Q discard all".to_owned()],
        }
    }

    fn transaction(&mut self, client: usize) -> Vec<String> {
        let begin = [
            "begin",
            "begin",
            "start transaction isolation level repeatable read",
        ];
        let mut steps = vec![format!("Q {}", self.pick(&begin))];
        let mut failed = false;
        for _ in 0..self.below(8) {
            let step = match self.below(10) {
                0 => "Q savepoint a".to_owned(),
                1 => "Q savepoint b".to_owned(),
                2 => "Q rollback to a".to_owned(),
                3 => format!(
                    "Q {}",
                    self.pick(&["rollback to b", "release a", "release b"])
                ),
                4 => format!("Q {}", self.pick(FAILURES)),
                5 if !avoids(22) => "Q commit and chain".to_owned(),
                5 => "Q rollback and chain".to_owned(),
                _ => self.action(client, true, failed),
            };
            // Whether it has really failed is not known here.
            failed = failed || !(step.starts_with("Q sav") || step.starts_with("Q show"));
            steps.push(step);
        }
        steps.push(format!("Q {}", self.pick(&["commit", "rollback", "end"])));
        steps.push("Q rollback".into());
        steps
    }

    /// Makes state that pins, does something, and cleans up.
    fn pinning(&mut self, client: usize) -> Vec<String> {
        let mut steps = Vec::new();
        for _ in 0..1 + self.below(4) {
            steps.push(match self.below(12) {
                0 => "Q create temp table mine(a int)".to_owned(),
                1 => "Q create temp table t(x text, id int)".to_owned(),
                2 => "Q select 1 as a into temp mine".to_owned(),
                3 => "Q begin; create temp table mine(a int) on commit drop; commit".to_owned(),
                4 => "Q begin; create temp table mine(a int); rollback".to_owned(),
                5 => format!("Q select pg_advisory_lock({client})"),
                6 => "Q select pg_try_advisory_lock(99)".to_owned(),
                7 => format!("Q listen c{client}"),
                8 => format!("Q begin; declare c{client} cursor with hold for table t; commit"),
                9 => format!("Q do $$ begin perform pg_advisory_lock({client}); end $$"),
                10 => "Q do $$ begin create temp table mine(a int); end $$".to_owned(),
                _ => format!("P -: listen c{client} // B - - // E - 0 // S"),
            });
            steps.push("Q rollback".into());
            steps.push(match self.below(6) {
                0 => "Q select count(*) from mine".to_owned(),
                1 => format!("Q fetch 2 from c{client}"),
                2 => format!("Q notify c{client}, 'own'"),
                3 => format!("Q select pg_advisory_unlock({client})"),
                4 => "Q drop table mine".to_owned(),
                _ => self.action(client, false, false),
            });
        }
        let clean = [
            "unlisten *",
            "select pg_advisory_unlock_all()",
            "discard temp",
            "close all",
        ];
        steps.extend(clean.map(|sql| format!("Q {sql}")));
        steps
    }

    fn role(&mut self) -> Vec<String> {
        let roles = [
            "set role plain",
            "set role another",
            "set role none",
            "reset role",
            "set session authorization plain",
            "set session authorization default",
            "reset session authorization",
            "begin; set local role plain; select current_user; commit",
            "begin; set role plain; rollback",
        ];
        let mut steps = vec![format!("Q {}", self.pick(&roles))];
        if avoids(23) {
            steps.insert(0, "Q reset role".into());
        }
        steps
    }

    /// One step; it leaves no transaction open. In one that may have `failed`, findings 12 and 13
    /// would show.
    fn action(&mut self, client: usize, inside: bool, failed: bool) -> String {
        match self.below(20) {
            0..6 => format!("Q {}", self.setting(inside)),
            6..10 => format!("Q {}", self.pick(LOOKS)),
            10 => format!("Q execute {}", self.pick(&["q", "r", "s"])),
            11 if !(failed && avoids(12)) => {
                let texts = [
                    "deallocate q",
                    "deallocate r",
                    "deallocate all",
                    "discard plans",
                ];
                format!("Q {}", self.pick(&texts))
            }
            12 if !(failed && avoids(13)) => {
                let name = self.pick(&["q", "r"]);
                format!("Q prepare {name} as select '{client}' as x")
            }
            13 if !(failed && avoids(13)) => {
                let (name, text) = (self.pick(&["s", "u"]), self.pick(TEXTS));
                format!("P {name}: {text} // DS {name} // S")
            }
            14 => {
                let names = ["s", "u", "q"];
                let all = if failed && avoids(27) { 2 } else { 3 };
                let (name, rows) = (self.pick(&names[..all]), self.below(3));
                format!("B - {name} // E - {rows} // S")
            }
            15 => format!("CS {} // S", self.pick(&["s", "u", "q"])),
            16 if !(failed && avoids(13)) => {
                format!("P -: {} // B - - // DP - // E - 0 // S", self.pick(TEXTS))
            }
            17 if !inside => self.pipeline(),
            18 => self.copy(),
            _ => self.block(client),
        }
    }

    fn setting(&mut self, inside: bool) -> String {
        let (name, values) = self.pick(SETTINGS);
        let value = self.pick(values);
        let quoted = match value.strip_prefix('\'') {
            Some(_) => value.to_owned(),
            None => format!("'{}'", value.replace('\'', "''")),
        };
        let called = name.replace('"', "");
        match self.below(12) {
            0..4 => format!("set {name} to {value}"),
            4 => format!("SET SESSION {name} = {value}"),
            5 if inside => format!("set local {name} = {value}"),
            6 => format!("select set_config('{called}', {quoted}, false)"),
            7 if inside => format!("select set_config('{called}', {quoted}, true)"),
            8 => format!("reset {name}"),
            9 => format!("set {name} to default"),
            10 => self
                .pick(&[
                    "reset all",
                    "set time zone 'UTC'",
                    "set time zone local",
                    "set names",
                ])
                .to_owned(),
            _ => format!("select set_config('{called}', {quoted} || '', false)"),
        }
    }

    /// Several statements in one query.
    fn several(&mut self) -> String {
        let (a, b) = (self.setting(false), self.setting(false));
        let (look, failure) = (self.pick(LOOKS), self.pick(FAILURES));
        let text = match self.below(7) {
            0 => format!("{a}; {failure}; {b}"),
            1 => format!("begin; {a}; rollback"),
            2 => format!("begin; {a}; commit; {b}; {failure}"),
            3 => format!("{a}; commit; {b}"),
            4 => format!("begin; savepoint a; {a}; rollback to a; {b}; commit"),
            5 => format!("{a}; {b}; {look}"),
            _ => format!("insert into w(n) values (1), (1); {a}"),
        };
        // What a text means is decided before any of it is run.
        format!("Q {}", text.replace("; --", ";"))
    }

    fn pipeline(&mut self) -> String {
        let mut parts = Vec::new();
        for _ in 0..1 + self.below(4) {
            parts.push(match self.below(5) {
                0 => "P -: select 1 // B - - // E - 0 // S".to_owned(),
                1 => "P -: select 1/0 // B - - // E - 0 // S".to_owned(),
                2 => "P -: insert into w(x) values ('p') // B - - // E - 0 // S".to_owned(),
                3 => "B - u // E - 1 // B - s // E - 0 // S".to_owned(),
                _ => "P -: select id from t // B - - // E - 2 // E - 2 // S".to_owned(),
            });
        }
        if avoids(7) {
            // A statement of TEXTS may set something.
            parts.retain(|part| !part.starts_with("B - u"));
        }
        parts.push(format!("Q {}", self.setting(false)));
        parts.join(" // ")
    }

    fn copy(&mut self) -> String {
        self.pick(&[
            "Q copy w(x) from stdin // d a // d b // c",
            "Q copy w(n) from stdin // d 1 // d nonsense // c",
            "Q copy w(x) from stdin // d a // f no more",
            "Q copy (select id from t order by id limit 2) to stdout",
            "P -: copy (values (1)) to stdout // B - - // E - 0 // S",
        ])
        .to_owned()
    }

    fn block(&mut self, client: usize) -> String {
        match self.below(6) {
            0 => "Q do $$ begin perform 1; end $$".to_owned(),
            1 => "Q do $$ begin perform set_config('timezone', 'Asia/Tokyo', false); end $$".into(),
            2 => "Q select sets_timezone('Europe/Berlin')".to_owned(),
            3 => "Q do $$ begin perform fails(); end $$".to_owned(),
            4 => format!("Q create table if not exists ddl{client}(a int)"),
            _ => format!("Q drop table if exists ddl{client}"),
        }
    }
}
