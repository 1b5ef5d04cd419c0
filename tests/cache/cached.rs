//! What the tests of answers and of rules start from.

use crate::support::operate::{Row, until};
use crate::support::{Pgweir, Postgres, Wire};

const SCHEMA: &str = include_str!("schema.sql");

/// A server with tables of every kind, and pgweir with a cache in front.
pub struct Cached {
    pub pg: Postgres,
    pub weir: Pgweir,
}

impl Cached {
    pub fn start() -> Cached {
        Cached::with("", "")
    }

    pub fn of_version(version: u32) -> Cached {
        Cached::on(Postgres::start_version(version), "", "")
    }

    /// `cache` goes below `[pools.postgres.cache]`, `general` below `[general]`.
    pub fn with(cache: &str, general: &str) -> Cached {
        Cached::on(Postgres::start(), cache, general)
    }

    fn on(pg: Postgres, cache: &str, general: &str) -> Cached {
        let mut admin = pg.client();
        for statement in SCHEMA.split("--;") {
            let answer = admin.query(statement);
            assert_eq!(answer.code(), None, "{statement}");
        }
        let config = format!(
            "default_pool_size = 8\n{general}\n[pools.postgres]\nhost = '127.0.0.1'\nport = {}\n\
             [pools.postgres.cache]\nenabled = true\n{cache}\n[users.amy]\npassword = 'x'\n",
            pg.port
        );
        let weir = Pgweir::start(pg.port, &config);
        let cached = Cached { pg, weir };
        cached.wait_ready(&mut cached.client());
        cached
    }

    pub fn client(&self) -> Wire {
        self.weir.client()
    }

    pub fn row(&self, user: &str) -> Row {
        let mut rows = self.weir.show("CACHE").into_iter();
        rows.find(|r| r["user"] == user)
            .expect("the pool has a cache")
    }

    pub fn count(&self, column: &str) -> u64 {
        self.row("postgres")[column].parse().unwrap()
    }

    /// The catalogs are known: only then anything is remembered.
    pub fn wait_ready(&self, client: &mut Wire) {
        until("the cache is ready", || {
            client.query("select count(*) from plain");
            self.row("postgres")["state"] == "ready"
        });
    }

    /// The answer, and whether it came from memory.
    pub fn ask(&self, client: &mut Wire, sql: &str) -> (Vec<Vec<String>>, bool) {
        let before = self.count("hits");
        let answer = client.query(sql);
        assert_eq!((answer.code(), answer.status()), (None, Some('I')), "{sql}");
        (answer.rows(), self.count("hits") > before)
    }

    #[track_caller]
    pub fn assert_hit(&self, client: &mut Wire, sql: &str) {
        self.ask(client, sql);
        assert!(
            self.ask(client, sql).1,
            "not remembered: {sql}: {:?}",
            self.why(sql)
        );
    }

    #[track_caller]
    pub fn assert_never(&self, client: &mut Wire, sql: &str) {
        for _ in 0..3 {
            assert!(!self.ask(client, sql).1, "remembered: {sql}");
        }
    }

    pub fn why(&self, sql: &str) -> Vec<Row> {
        self.weir
            .show(&format!("CACHE FOR '{}'", sql.replace('\'', "''")))
    }
}
