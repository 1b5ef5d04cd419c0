//! What happens to queries in each pool mode.

use crate::script::Step::*;
use crate::script::{Scenario, compare};
use crate::stage::{INI, Ini};
use crate::support::{bind, describe_portal, execute, message, parse, sync};

const ALICE: (&str, &str) = ("alice", "");

const fn with(settings: &'static str) -> Ini {
    Ini { settings, ..INI }
}

/// A row, and the end of the data.
fn copied() -> Vec<u8> {
    [message(b'd', b"7\tseven\n"), message(b'c', b"")].concat()
}

fn copy_failed() -> Vec<u8> {
    message(b'f', b"the client gave up\0")
}

fn extended() -> Vec<u8> {
    [
        parse("", "select 1 as one"),
        bind(""),
        describe_portal(),
        execute(),
        sync(),
    ]
    .concat()
}

fn nonsense() -> Vec<u8> {
    message(b'~', b"what?")
}

#[test]
fn modes() {
    compare(
        "modes",
        &[
            Scenario {
                name: "statement mode",
                ini: with("pool_mode = statement"),
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "select 1"),
                    Query("a", "select 1; select 2"),
                    Query("a", "select nonsense"),
                    Query("a", "begin"),
                    Ends("a"),
                    Login("b", ALICE, "app"),
                    Bytes("b", extended),
                    Read("b"),
                    Query("b", "start transaction read only"),
                ],
            },
            Scenario {
                name: "session mode",
                ini: with("pool_mode = session\ndefault_pool_size = 1"),
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "set search_path to pg_catalog"),
                    Query("a", "create temp table mine (n int)"),
                    Query("a", "prepare p as select 3"),
                    Query("a", "show search_path"),
                    Query("a", "execute p"),
                    Query("a", "listen x"),
                    Query("a", "insert into mine values (1), (2)"),
                    Query("a", "select count(*) from mine"),
                    Leave("a"),
                    // It is cleaned before somebody else has it.
                    Await("POOLS", "app", &[("cl_active", "0"), ("sv_idle", "1")]),
                    Login("b", ALICE, "app"),
                    Query("b", "show search_path"),
                    Query("b", "execute p"),
                    Query("b", "select to_regclass('mine')"),
                ],
            },
            Scenario {
                name: "transaction mode",
                ini: with("default_pool_size = 1"),
                steps: &[
                    Login("a", ALICE, "app"),
                    Login("b", ALICE, "app"),
                    Query("a", "begin"),
                    Query("a", "select nonsense"),
                    Query("a", "select 1"),
                    Query("a", "rollback"),
                    Query("b", ""),
                    Query("b", ";"),
                    Query("b", "select 1; select nonsense; select 2"),
                    Bytes("b", extended),
                    Read("b"),
                    Query("b", "set local work_mem = '1MB'"),
                    Query("b", "do $$ begin raise notice 'a notice'; end $$"),
                    Query("b", "commit"),
                    Query(
                        "a",
                        "begin; set local application_name to 'inside'; show application_name",
                    ),
                    Query("a", "commit"),
                    Query("b", "show application_name"),
                ],
            },
            Scenario {
                name: "COPY",
                ini: with(""),
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "begin"),
                    Send("a", "copy copied from stdin"),
                    ReadTo("a", b'G'),
                    Bytes("a", copied),
                    Read("a"),
                    Query("a", "copy copied to stdout"),
                    Query("a", "rollback"),
                    Send("a", "copy copied from stdin"),
                    ReadTo("a", b'G'),
                    Bytes("a", copy_failed),
                    Read("a"),
                    Query("a", "copy (select generate_series(1, 3)) to stdout"),
                    Query("a", "copy nonsense from stdin"),
                ],
            },
            Scenario {
                name: "cancelling a query",
                ini: with("default_pool_size = 1"),
                steps: &[
                    Login("a", ALICE, "app"),
                    Send("a", "select pg_sleep(30) -- cancelled $SIDE"),
                    AwaitServer(
                        "select count(*) from pg_stat_activity where state = 'active' \
                         and query like '%cancelled $SIDE' and pid <> pg_backend_pid()",
                        "1",
                    ),
                    Cancel("a"),
                    Read("a"),
                    Query("a", "select 1"),
                    // Nothing runs: nothing happens.
                    Cancel("a"),
                    Query("a", "select 2"),
                ],
            },
            Scenario {
                name: "cancelling a wait",
                ini: with("default_pool_size = 1\nquery_wait_timeout = 0.7"),
                steps: &[
                    Login("a", ALICE, "app"),
                    Login("b", ALICE, "app"),
                    Query("a", "begin"),
                    Send("b", "select 1"),
                    Await("POOLS", "app", &[("cl_waiting", "1")]),
                    Cancel("b"),
                    Read("b"),
                    Query("a", "commit"),
                ],
            },
            Scenario {
                name: "a server that is lost",
                ini: with(""),
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "begin /* lost $SIDE */"),
                    AwaitServer(
                        "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                         where query like '%lost $SIDE%' and pid <> pg_backend_pid()",
                        "1",
                    ),
                    Await("POOLS", "app", &[("sv_active", "0")]),
                    Query("a", "select 1"),
                    Retry("a", ALICE, "app"),
                    Query("a", "select 2"),
                    Query("a", "select pg_terminate_backend(pg_backend_pid())"),
                ],
            },
            Scenario {
                name: "a message that there is none of",
                ini: with(""),
                steps: &[Login("a", ALICE, "app"), Bytes("a", nonsense), Ends("a")],
            },
        ],
    );
}
