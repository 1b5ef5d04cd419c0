//! What operators say to the console.

use crate::script::Step::*;
use crate::script::{Scenario, compare};
use crate::stage::{INI, Ini};
use crate::support::{bind, describe_portal, execute, parse, sync};

const ALICE: (&str, &str) = ("alice", "");
const ADMIN: (&str, &str) = ("admin", "");

const TWO: Ini = Ini {
    databases: "app = $PG dbname=postgres\nother = $PG dbname=other",
    ..INI
};

fn extended() -> Vec<u8> {
    [
        parse("", "show timezone"),
        bind(""),
        describe_portal(),
        execute(),
        sync(),
    ]
    .concat()
}

#[test]
fn words() {
    compare(
        "words",
        &[Scenario {
            name: "what is no command, or hardly one",
            ini: TWO,
            steps: &[
                Login("op", ADMIN, "pgbouncer"),
                Query("op", ""),
                Query("op", ";"),
                Query("op", "show"),
                Query("op", "show nonsense"),
                Query("op", "nonsense"),
                Query("op", "select 1"),
                Query("op", "begin"),
                Query("op", "show timezone; show timezone"),
                Query("op", "SHOW TimeZone;"),
                Query("op", " show  standard_conforming_strings"),
                Query("op", "select client_encoding"),
                Query("op", "show datestyle"),
                Query("op", "show default_transaction_isolation"),
                Query("op", "show pools nonsense"),
                Query("op", "reload nonsense"),
                Query("op", "set datestyle to 'ISO'"),
                Query("op", "set client_encoding = 'UTF8'"),
                Query("op", "shutdown nonsense"),
                Bytes("op", extended),
                Read("op"),
            ],
        }],
    );
}

#[test]
fn set() {
    compare(
        "set",
        &[Scenario {
            name: "SET",
            ini: INI,
            steps: &[
                Console("SET query_timeout = 5"),
                Show("CONFIG", "query_timeout", &["value"]),
                Console("set Query_Timeout='7.5'"),
                Show("CONFIG", "query_timeout", &["value"]),
                Console("SET pool_mode TO 'session'"),
                Show("CONFIG", "pool_mode", &["value", "default"]),
                Console("SET pool_mode = nonsense"),
                Show("CONFIG", "pool_mode", &["value"]),
                Console("SET nonsense = 1"),
                Console("SET query_timeout = nonsense"),
                Console("SET listen_port = 1"),
                Console("SET query_timeout"),
                Console("SET"),
                Console("RELOAD"),
                Show("CONFIG", "query_timeout", &["value"]),
            ],
        }],
    );
}

#[test]
fn pausing() {
    compare(
        "pausing",
        &[
            Scenario {
                name: "PAUSE and RESUME",
                ini: TWO,
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "select 1"),
                    Console("RESUME"),
                    Console("PAUSE"),
                    Show("POOLS", "app", &["sv_active", "sv_idle"]),
                    Send("a", "select 2"),
                    Await("POOLS", "app", &[("cl_waiting", "1")]),
                    Console("PAUSE"),
                    Console("RESUME"),
                    Read("a"),
                    Console("RESUME"),
                ],
            },
            Scenario {
                name: "PAUSE waits for transactions",
                ini: TWO,
                steps: &[
                    Login("a", ALICE, "app"),
                    Login("op", ADMIN, "pgbouncer"),
                    Query("a", "begin"),
                    Send("op", "PAUSE"),
                    Query("a", "select 1"),
                    Query("a", "commit"),
                    Read("op"),
                    Console("RESUME"),
                    Query("a", "select 2"),
                ],
            },
            Scenario {
                name: "PAUSE of a database",
                ini: TWO,
                steps: &[
                    Login("a", ALICE, "app"),
                    Login("b", ALICE, "other"),
                    Query("a", "select 1"),
                    Console("PAUSE app"),
                    Show("DATABASES", "app", &["paused", "disabled"]),
                    Show("DATABASES", "other", &["paused", "disabled"]),
                    Query("b", "select 2"),
                    Send("a", "select 3"),
                    Await("POOLS", "app", &[("cl_waiting", "1")]),
                    Console("PAUSE app"),
                    Console("RESUME other"),
                    Console("RESUME app"),
                    Read("a"),
                    Console("RESUME app"),
                    Console("PAUSE nonsense"),
                    Console("RESUME nonsense"),
                    Console("PAUSE pgbouncer"),
                    Console("RESUME pgbouncer"),
                ],
            },
            Scenario {
                name: "SUSPEND",
                ini: TWO,
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "select 1"),
                    Console("SUSPEND"),
                    Console("SUSPEND"),
                    Console("RESUME"),
                    Query("a", "select 2"),
                ],
            },
        ],
    );
}

#[test]
fn doors() {
    compare(
        "doors",
        &[
            Scenario {
                name: "DISABLE and ENABLE",
                ini: TWO,
                steps: &[
                    Login("a", ALICE, "app"),
                    Console("DISABLE app"),
                    Show("DATABASES", "app", &["paused", "disabled"]),
                    Query("a", "select 1"),
                    Login("b", ALICE, "app"),
                    Login("c", ALICE, "other"),
                    Console("DISABLE app"),
                    Console("ENABLE app"),
                    Console("ENABLE app"),
                    Login("b", ALICE, "app"),
                    Console("DISABLE"),
                    Console("ENABLE"),
                    Console("DISABLE nonsense"),
                    Console("ENABLE nonsense"),
                    Console("DISABLE pgbouncer"),
                ],
            },
            Scenario {
                name: "KILL of a database",
                ini: TWO,
                steps: &[
                    Login("a", ALICE, "app"),
                    Login("b", ALICE, "other"),
                    Query("a", "begin"),
                    Console("KILL app"),
                    Ends("a"),
                    Query("b", "select 1"),
                    Show("DATABASES", "app", &["paused", "disabled"]),
                    Console("RESUME app"),
                    Retry("a", ALICE, "app"),
                    Query("a", "select 2"),
                    Console("KILL nonsense"),
                    Console("KILL pgbouncer"),
                    Console("KILL"),
                ],
            },
        ],
    );
}

#[test]
fn reconnecting() {
    compare(
        "reconnecting",
        &[Scenario {
            name: "RECONNECT and WAIT_CLOSE",
            ini: TWO,
            steps: &[
                Login("a", ALICE, "app"),
                Login("op", ADMIN, "pgbouncer"),
                Query("a", "begin"),
                Console("RECONNECT"),
                Send("op", "WAIT_CLOSE"),
                Query("a", "select 1"),
                Query("a", "commit"),
                Read("op"),
                Query("a", "begin"),
                Console("RECONNECT app"),
                Send("op", "WAIT_CLOSE app"),
                Query("a", "commit"),
                Read("op"),
                Query("a", "select 2"),
                Console("RECONNECT nonsense"),
                Console("RECONNECT pgbouncer"),
                Console("WAIT_CLOSE"),
                Console("WAIT_CLOSE app"),
                Console("WAIT_CLOSE nonsense"),
                Console("WAIT_CLOSE pgbouncer"),
            ],
        }],
    );
}

#[test]
fn shutting_down() {
    compare(
        "shutting down",
        &[Scenario {
            name: "SHUTDOWN",
            ini: TWO,
            steps: &[
                Login("a", ALICE, "app"),
                Query("a", "begin"),
                Login("op", ADMIN, "pgbouncer"),
                Send("op", "SHUTDOWN"),
                Ends("op"),
                Ends("a"),
                Exit,
            ],
        }],
    );
}
