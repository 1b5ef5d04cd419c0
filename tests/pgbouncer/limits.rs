//! Limits that are reached, and time that runs out.

use crate::script::Step::*;
use crate::script::{Scenario, compare};
use crate::stage::{INI, Ini};

const ALICE: (&str, &str) = ("alice", "");
const BOB: (&str, &str) = ("bob", "");

const fn with(settings: &'static str) -> Ini {
    Ini { settings, ..INI }
}

const TWO: &str = "app = $PG dbname=postgres\nagain = $PG dbname=postgres\n";

#[test]
fn limits() {
    compare(
        "limits",
        &[
            Scenario {
                name: "max_client_conn",
                ini: with("max_client_conn = 2"),
                steps: &[
                    // How it was seen to listen counts for a moment.
                    Retry("a", ALICE, "app"),
                    Retry("b", BOB, "app"),
                    Login("c", ALICE, "app"),
                    Query("a", "select 1"),
                    Leave("a"),
                    Retry("c", ALICE, "app"),
                    Query("c", "select 2"),
                ],
            },
            Scenario {
                name: "max_client_conn and the console",
                ini: with("max_client_conn = 1"),
                steps: &[
                    Retry("a", ALICE, "app"),
                    Login("admin", ("admin", ""), "pgbouncer"),
                    Query("admin", "reload"),
                    Login("b", BOB, "app"),
                ],
            },
            Scenario {
                name: "max_db_connections and query_wait_timeout",
                ini: Ini {
                    databases: TWO,
                    ..with("max_db_connections = 1\nquery_wait_timeout = 0.3")
                },
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "begin"),
                    // A server of another database, and a user that the pooler has not seen.
                    Login("other", ALICE, "again"),
                    Query("other", "select 1"),
                    Login("b", BOB, "app"),
                    Query("a", "commit"),
                    Login("b", BOB, "app"),
                    Query("b", "select 1"),
                ],
            },
            Scenario {
                name: "max_user_connections",
                ini: Ini {
                    databases: TWO,
                    ..with("max_user_connections = 1\nquery_wait_timeout = 0.3")
                },
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "begin"),
                    Login("other", BOB, "again"),
                    Query("other", "select 1"),
                    Login("b", ALICE, "app"),
                    Query("b", "select 1"),
                    Query("a", "commit"),
                ],
            },
            Scenario {
                name: "limits of entries",
                ini: Ini {
                    databases: "app = $PG dbname=postgres pool_size=1\n\
                                again = $PG dbname=postgres max_db_connections=1",
                    users: "alice = max_user_connections=1 pool_mode=session",
                    ..with("query_wait_timeout = 0.3")
                },
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "select 1"),
                    Login("b", ALICE, "app"),
                    Query("b", "select 1"),
                    Login("c", BOB, "again"),
                    Query("c", "begin"),
                    Login("d", BOB, "again"),
                    Query("d", "select 1"),
                    Show("DATABASES", "again", &["pool_size", "max_connections"]),
                    Show("USERS", "alice", &["pool_mode"]),
                ],
            },
            Scenario {
                name: "pool_size",
                ini: with("default_pool_size = 1"),
                steps: &[
                    Login("a", ALICE, "app"),
                    Login("b", ALICE, "app"),
                    Query("a", "begin"),
                    Send("b", "select 'waited'"),
                    Await("POOLS", "app", &[("cl_waiting", "1")]),
                    Show(
                        "POOLS",
                        "app",
                        &["user", "cl_active", "cl_waiting", "sv_active", "sv_idle"],
                    ),
                    Query("a", "commit"),
                    Read("b"),
                    Await("POOLS", "app", &[("sv_idle", "1"), ("cl_waiting", "0")]),
                ],
            },
            Scenario {
                name: "reserve_pool_size",
                ini: with(
                    "default_pool_size = 1\nreserve_pool_size = 1\nreserve_pool_timeout = 0.2",
                ),
                steps: &[
                    Login("a", ALICE, "app"),
                    Login("b", ALICE, "app"),
                    Query("a", "begin"),
                    Query("b", "select 'from the reserve'"),
                ],
            },
        ],
    );
}

/// A startup message, and nothing when a password is asked for.
fn mute() -> Vec<u8> {
    crate::support::startup(3 << 16, &[("user", "alice"), ("database", "app")])
}

#[test]
fn timeouts() {
    compare(
        "timeouts",
        &[
            Scenario {
                name: "query_timeout",
                ini: with("query_timeout = 0.5"),
                steps: &[Login("a", ALICE, "app"), Query("a", "select pg_sleep(20)")],
            },
            Scenario {
                name: "idle_transaction_timeout",
                ini: with("idle_transaction_timeout = 0.5"),
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "begin /* idle $SIDE */"),
                    AwaitServer(
                        "select count(*) from pg_stat_activity where state = 'idle in transaction' \
                         and query like '%idle $SIDE%' and pid <> pg_backend_pid()",
                        "0",
                    ),
                    Query("a", "select 1"),
                ],
            },
            Scenario {
                name: "client_idle_timeout",
                ini: with("client_idle_timeout = 0.5"),
                steps: &[Login("a", ALICE, "app"), Query("a", "select 1"), Ends("a")],
            },
            Scenario {
                name: "client_login_timeout",
                ini: with("client_login_timeout = 0.5\nauth_type = md5"),
                steps: &[
                    Open("silent", Vec::new),
                    Open("mute", mute),
                    Ends("silent"),
                    ReadTo("mute", b'R'),
                    Ends("mute"),
                ],
            },
            Scenario {
                name: "server_idle_timeout",
                ini: with("server_idle_timeout = 0.4"),
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "select 1"),
                    Await("POOLS", "app", &[("sv_idle", "1")]),
                    Await("POOLS", "app", &[("sv_idle", "0")]),
                    Query("a", "select 2"),
                ],
            },
            Scenario {
                name: "server_lifetime",
                ini: with("server_lifetime = 0.4"),
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "select 1"),
                    Await("POOLS", "app", &[("sv_idle", "1")]),
                    Await("POOLS", "app", &[("sv_idle", "0")]),
                    // A transaction is not cut short.
                    Query("a", "begin"),
                    Query("a", "select count(pg_sleep(0.6))"),
                    Query("a", "commit"),
                ],
            },
        ],
    );
}
