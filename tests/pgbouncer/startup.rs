//! What clients say first.

use crate::script::Step::*;
use crate::script::{Scenario, compare};
use crate::stage::{INI, Ini};
use crate::support::startup;

const ALICE: (&str, &str) = ("alice", "");

const fn with(settings: &'static str) -> Ini {
    Ini { settings, ..INI }
}

const SHOWN: &str = "select current_setting('application_name'), current_setting('datestyle'), \
     current_setting('timezone'), current_setting('client_encoding'), \
     current_setting('standard_conforming_strings'), current_setting('intervalstyle')";

/// The name without the client's port.
const NAME: &str = r"select regexp_replace(current_setting('application_name'), '\d+$', 'PORT')";

#[test]
fn parameters() {
    compare(
        "startup",
        &[
            Scenario {
                name: "parameters that are followed",
                ini: INI,
                steps: &[
                    LoginWith(
                        "a",
                        ALICE,
                        "app",
                        &[
                            ("application_name", "mine"),
                            ("DateStyle", "SQL, DMY"),
                            ("TimeZone", "Asia/Tokyo"),
                            ("client_encoding", "LATIN1"),
                            ("standard_conforming_strings", "on"),
                        ],
                    ),
                    Query("a", SHOWN),
                    Greeting("a", &["application_name", "client_encoding"]),
                    LoginWith("b", ALICE, "app", &[("application_name", "another")]),
                    Query("b", SHOWN),
                    Greeting("b", &["client_encoding", "DateStyle", "IntervalStyle"]),
                    Query("a", SHOWN),
                    Query("a", "set application_name to 'changed'"),
                    Query("b", SHOWN),
                    Query("a", SHOWN),
                    LoginWith("c", ALICE, "app", &[("IntervalStyle", "iso_8601")]),
                    Query("c", SHOWN),
                ],
            },
            Scenario {
                name: "parameters that are not",
                ini: INI,
                steps: &[
                    LoginWith("a", ALICE, "app", &[("extra_float_digits", "3")]),
                    LoginWith("b", ALICE, "app", &[("nonsense", "3")]),
                    LoginWith("c", ALICE, "app", &[("options", "-c work_mem=1MB")]),
                    LoginWith("d", ALICE, "app", &[("client_encoding", "nonsense")]),
                    LoginWith("e", ALICE, "app", &[("replication", "database")]),
                    LoginWith("f", ALICE, "app", &[("replication", "off")]),
                ],
            },
            Scenario {
                name: "ignore_startup_parameters",
                ini: with("ignore_startup_parameters = extra_float_digits, options, nonsense"),
                steps: &[
                    LoginWith(
                        "a",
                        ALICE,
                        "app",
                        &[("extra_float_digits", "3"), ("nonsense", "3")],
                    ),
                    Query("a", "show extra_float_digits"),
                    LoginWith("b", ALICE, "app", &[("options", "-c work_mem=1MB")]),
                    Query("b", "show work_mem"),
                ],
            },
            Scenario {
                name: "application_name_add_host",
                ini: with("application_name_add_host = 1"),
                steps: &[
                    LoginWith("a", ALICE, "app", &[("application_name", "mine")]),
                    Query("a", NAME),
                    Login("b", ALICE, "app"),
                    Query("b", NAME),
                ],
            },
            Scenario {
                name: "what an entry of [databases] sets",
                ini: Ini {
                    databases: "app = $PG dbname=postgres datestyle='SQL, DMY' \
                                timezone=Asia/Tokyo client_encoding=LATIN1 application_name=entry \
                                connect_query='set work_mem to ''3MB'''",
                    ..INI
                },
                steps: &[
                    Login("a", ALICE, "app"),
                    Query("a", SHOWN),
                    Query("a", "show work_mem"),
                    LoginWith(
                        "b",
                        ALICE,
                        "app",
                        &[("application_name", "mine"), ("TimeZone", "GMT")],
                    ),
                    Query("b", SHOWN),
                ],
            },
            Scenario {
                name: "no startup messages",
                ini: INI,
                steps: &[
                    Open("no user", || startup(3 << 16, &[("database", "app")])),
                    Ends("no user"),
                    Open("protocol 2", || startup(2 << 16, &[("user", "alice")])),
                    Ends("protocol 2"),
                    Open("length", || vec![0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0]),
                    Ends("length"),
                    Open("too short", || vec![0, 0, 0, 4, 0, 3, 0, 0]),
                    Ends("too short"),
                    Open("unknown key", || {
                        let words = [16, 80_877_102, 4711, 4711u32];
                        words.iter().flat_map(|w| w.to_be_bytes()).collect()
                    }),
                    Ends("unknown key"),
                    Psql(
                        false,
                        "host=127.0.0.1 port=$PORT dbname=app user=alice sslmode=require",
                        "select 1",
                    ),
                    Psql(
                        false,
                        "host=127.0.0.1 port=$PORT dbname=app user=alice sslmode=prefer",
                        "select 1",
                    ),
                ],
            },
        ],
    );
}
