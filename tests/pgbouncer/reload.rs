//! Files that change, and files that cannot be read.

use crate::script::Step::*;
use crate::script::{Scenario, compare};
use crate::stage::{INI, Ini, Pooler, Side, server};

const ALICE: (&str, &str) = ("alice", "");

const fn with(settings: &'static str) -> Ini {
    Ini { settings, ..INI }
}

const fn databases(databases: &'static str) -> Ini {
    Ini { databases, ..INI }
}

const fn userlist(userlist: &'static str) -> Ini {
    Ini {
        userlist,
        ..with("auth_type = md5")
    }
}

const WHERE: &str = "select current_database(), current_user";

const CHANGES: &[Scenario] = &[
    Scenario {
        name: "databases come, change and go",
        ini: INI,
        steps: &[
            Login("a", ALICE, "app"),
            Query("a", WHERE),
            Login("b", ALICE, "new"),
            Files(databases(
                "app = $PG dbname=other\nnew = $PG dbname=postgres user=forced",
            )),
            Console("RELOAD"),
            Login("b", ALICE, "new"),
            Query("b", WHERE),
            Query("a", WHERE),
            Login("c", ALICE, "app"),
            Query("c", WHERE),
            Files(databases("new = $PG dbname=other")),
            Console("RELOAD"),
            Login("d", ALICE, "app"),
            Query("b", WHERE),
            Query("a", WHERE),
        ],
    },
    Scenario {
        name: "a transaction outlives a change",
        ini: INI,
        steps: &[
            Login("a", ALICE, "app"),
            Query("a", "begin"),
            Files(databases("app = $PG dbname=other")),
            Console("RELOAD"),
            Query("a", WHERE),
            Query("a", "commit"),
            Query("a", WHERE),
        ],
    },
    Scenario {
        name: "users come, change and go",
        ini: userlist("\"admin\" \"secret-admin\"\n\"alice\" \"one\"\n\"bob\" \"one\"\n"),
        steps: &[
            Login("a", ("alice", "one"), "app"),
            Login("b", ("bob", "one"), "app"),
            Login("m", ("md5", "one"), "app"),
            Files(userlist(
                "\"admin\" \"secret-admin\"\n\"alice\" \"second\"\n\"md5\" \"secret-md5\"\n",
            )),
            Console("RELOAD"),
            Login("old", ("alice", "one"), "app"),
            Login("new", ("alice", "second"), "app"),
            Login("bob", ("bob", "one"), "app"),
            Login("m", ("md5", "secret-md5"), "app"),
            // Who is in stays in.
            Query("a", "select 1"),
            Query("b", "select 1"),
        ],
    },
    Scenario {
        name: "settings change",
        ini: with("query_wait_timeout = 10"),
        steps: &[
            Show(
                "CONFIG",
                "query_wait_timeout",
                &["value", "default", "changeable"],
            ),
            Show("CONFIG", "pool_mode", &["value", "changeable"]),
            Show(
                "CONFIG",
                "unix_socket_mode",
                &["value", "default", "changeable"],
            ),
            Files(with(
                "pool_mode = statement\nunix_socket_mode = 0700\nlog_stats = 0",
            )),
            Console("RELOAD"),
            Show("CONFIG", "query_wait_timeout", &["value"]),
            Show("CONFIG", "pool_mode", &["value"]),
            Show("CONFIG", "unix_socket_mode", &["value"]),
            Show("CONFIG", "log_stats", &["value"]),
            Login("a", ALICE, "app"),
            Query("a", "begin"),
            Files(with("admin_users = bob, admin")),
            Signal("-HUP"),
            Retry("bob", ("bob", ""), "pgbouncer"),
            Query("bob", "reload"),
        ],
    },
    Scenario {
        name: "a broken file",
        ini: INI,
        steps: &[
            Login("a", ALICE, "app"),
            Files(with("this is no setting")),
            Console("RELOAD"),
            Files(with("pool_mode = nonsense")),
            Console("RELOAD"),
            Files(with("nonsense = 1")),
            Console("RELOAD"),
            Show("CONFIG", "pool_mode", &["value"]),
            Files(databases("app = $PG dbname=postgres nonsense=1")),
            Console("RELOAD"),
            Files(databases("app = $PG dbname='postgres")),
            Console("RELOAD"),
            Query("a", WHERE),
            Files(databases("app = $PG dbname=other")),
            Console("RELOAD"),
            Query("a", WHERE),
        ],
    },
];

#[test]
fn reload() {
    compare("reload", CHANGES);
}

/// The file's last line has the mistake.
#[test]
fn a_broken_file_at_the_start() {
    let postgres = server();
    let broken = [
        "this is no setting",
        "nonsense = 1",
        "pool_mode = nonsense",
        "max_client_conn = many",
        "[nonsense]\nx = 1",
        "[databases\n",
        "[databases]\nx = host=$DIR nonsense=1",
        "[databases]\nx = host='",
        "[databases]\npgbouncer = host=127.0.0.1",
        "[users]\nx = nonsense=1",
        "%include $DIR/missing.ini",
    ];
    for settings in broken {
        for side in [Side::Bouncer, Side::Weir] {
            let mut pooler = Pooler::launch(side, &postgres, &with(settings));
            let status = pooler.wait_exit();
            let log = pooler.log();
            assert_eq!(status.code(), Some(1), "{side:?} {settings:?}: {log}");
            // PgBouncer does not name the line of every mistake.
            if side == Side::Weir {
                let text = std::fs::read_to_string(pooler.dir().join("pgbouncer.ini")).unwrap();
                let line = format!("pgbouncer.ini:{}", text.trim_end().lines().count());
                assert!(log.contains(&line), "{line}: {log}");
            }
        }
    }
}
