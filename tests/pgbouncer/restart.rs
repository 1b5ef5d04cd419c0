//! `-R`: another process takes over.

use crate::script::Step::*;
use crate::script::{Scenario, compare};
use crate::stage::{INI, Ini};
use crate::support::{parse, sync};

const ALICE: (&str, &str) = ("alice", "");

const fn with(settings: &'static str) -> Ini {
    Ini { settings, ..INI }
}

fn unnamed() -> Vec<u8> {
    [parse("", "select 1"), sync()].concat()
}

#[test]
fn taking_over() {
    compare(
        "taking over",
        &[
            Scenario {
                name: "idle clients and new ones",
                ini: INI,
                steps: &[
                    Login("a", ALICE, "app"),
                    Login("b", ALICE, "app"),
                    Query("a", "select 1"),
                    Bytes("b", unnamed),
                    Read("b"),
                    Restart,
                    ExitOfTheOld,
                    Query("a", "select 2"),
                    Query("b", "select 3"),
                    Login("c", ALICE, "app"),
                    Query("c", "select 4"),
                    Psql(
                        true,
                        "host=$DIR port=$PORT dbname=app user=alice",
                        "select 5",
                    ),
                    Restart,
                    ExitOfTheOld,
                    Query("a", "select 6"),
                    Signal("-INT"),
                    Exit,
                ],
            },
            Scenario {
                name: "in a transaction",
                ini: INI,
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "begin"),
                    Query("a", "create temp table t (n int) on commit drop"),
                    Restart,
                    Query("a", "insert into t values (7)"),
                    Query("a", "select * from t"),
                    Query("a", "commit"),
                    ExitOfTheOld,
                    Query("a", "select 1"),
                ],
            },
            Scenario {
                name: "a session",
                ini: with("pool_mode = session"),
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", "create temp table t as select 5 as n"),
                    Query("a", "set search_path to pg_catalog, pg_temp"),
                    Query("a", "prepare p as select n from t"),
                    Restart,
                    ExitOfTheOld,
                    Query("a", "execute p"),
                    Query("a", "show search_path"),
                    Show("POOLS", "app", &["cl_active", "sv_active"]),
                    Leave("a"),
                    Await("POOLS", "app", &[("cl_active", "0"), ("sv_active", "0")]),
                    Login("b", ALICE, "app"),
                    Query("b", "select to_regclass('pg_temp.t')"),
                ],
            },
        ],
    );
}
