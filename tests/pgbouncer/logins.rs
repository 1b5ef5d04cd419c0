//! Who is let in, and what the others are told.

use crate::script::Step::*;
use crate::script::{Scenario, Step, compare};
use crate::stage::{INI, Ini};

const ALICE: (&str, &str) = ("alice", "secret-alice");

/// A password, a hash, and a verifier of `secret-scram`, as a userlist has them.
const SECRETS: &str = "\"alice\" \"secret-alice\"
\"md5\" \"md53bdac0539b7f16cc4b47babefed6028f\"
\"scram\" \"SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$qPDlHsgeYaVazPmBtJA0+QMRLCBdNq5RfEUk4Q6Ulo8=:FqMywPLEzjJ0dvJUr55C4f20Sxz68mQxlVyvW2eSifc=\"
\"empty\" \"\"
";

const fn with(settings: &'static str) -> Ini {
    Ini {
        settings,
        userlist: SECRETS,
        ..INI
    }
}

const WHO: &str = "select current_user";

/// Everybody who may come to the door.
macro_rules! everybody {
    () => {
        &[
            Login("plain", ALICE, "app"),
            Login("wrong", ("alice", "wrong"), "app"),
            Login("no password", ("alice", ""), "app"),
            Login("md5", ("md5", "secret-md5"), "app"),
            Login("wrong", ("md5", "wrong"), "app"),
            Login("scram", ("scram", "secret-scram"), "app"),
            Login("wrong", ("scram", "wrong"), "app"),
            Login("empty", ("empty", ""), "app"),
            Login("empty", ("empty", "any"), "app"),
            Login("nobody", NOBODY, "app"),
            Login("nowhere", ALICE, "nowhere"),
            Login("nowhere", NOBODY, "nowhere"),
            Login("console", ALICE, "pgbouncer"),
        ]
    };
}

const fn case(name: &'static str, ini: Ini, steps: &'static [Step]) -> Scenario {
    Scenario { name, ini, steps }
}

const MD5: Ini = with("auth_type = md5");
const SCRAM: Ini = with("auth_type = scram-sha-256");
const NOBODY: (&str, &str) = ("nobody", "secret-nobody");

#[test]
fn auth_types() {
    compare(
        "auth types",
        &[
            case("auth_type = md5", MD5, everybody!()),
            case("auth_type = scram-sha-256", SCRAM, everybody!()),
            case("auth_type = trust", with(""), everybody!()),
            case(
                "auth_type = any",
                Ini {
                    databases: "app = $PG dbname=postgres user=forced",
                    ..with("auth_type = any")
                },
                &[
                    Login("a", ("nobody", "any"), "app"),
                    Query("a", WHO),
                    Login("console", ("nobody", ""), "pgbouncer"),
                ],
            ),
            case(
                "auth_type = plain",
                with("auth_type = plain"),
                &[
                    Psql(
                        false,
                        "host=$DIR port=$PORT dbname=app user=alice password=secret-alice",
                        WHO,
                    ),
                    Psql(
                        false,
                        "host=$DIR port=$PORT dbname=app user=alice password=wrong",
                        WHO,
                    ),
                    Psql(false, "host=$DIR port=$PORT dbname=app user=alice", WHO),
                    Psql(
                        false,
                        "host=$DIR port=$PORT dbname=app user=md5 password=secret-md5",
                        WHO,
                    ),
                    Psql(
                        false,
                        "host=$DIR port=$PORT dbname=app user=nobody password=x",
                        WHO,
                    ),
                    Psql(
                        false,
                        "host=$DIR port=$PORT dbname=nowhere user=alice password=secret-alice",
                        WHO,
                    ),
                    Login("tcp", ALICE, "app"),
                    Login("tcp", ("alice", "wrong"), "app"),
                ],
            ),
        ],
    );
}

#[test]
fn databases() {
    const FORCED: &str = "app = $PG dbname=postgres user=forced\n\
        secret = $PG dbname=postgres user=scram password=secret-scram\n\
        wrong = $PG dbname=postgres user=scram password=wrong\n\
        gone = $PG dbname=missing\n\
        * = $PG";
    compare(
        "databases",
        &[
            case(
                "forced users and *",
                Ini {
                    databases: FORCED,
                    ..INI
                },
                &[
                    Login("a", ALICE, "app"),
                    Query("a", WHO),
                    Login("b", ALICE, "secret"),
                    Query("b", WHO),
                    Login("c", ALICE, "wrong"),
                    Login("d", ALICE, "gone"),
                    Login("e", ALICE, "other"),
                    Query("e", "select current_user, current_database()"),
                    Login("f", ALICE, "missing"),
                    // No database is named: it is the user's name.
                    LoginWith("g", ("lookup", ""), "", &[]),
                ],
            ),
            case(
                "no server",
                Ini {
                    databases: "app = host=127.0.0.1 port=1",
                    settings: "query_wait_timeout = 0.5",
                    ..INI
                },
                &[Login("a", ALICE, "app"), Login("b", ALICE, "app")],
            ),
        ],
    );
}

#[test]
fn auth_query() {
    const SHADOW: &str = "auth_type = scram-sha-256\nauth_user = lookup\n\
        auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename=$1";
    const OWN: &str = "app = $PG dbname=postgres\nnone = $PG dbname=postgres auth_user=alice\n\
        fixed = $PG dbname=postgres user=forced";
    let ini = |settings| Ini {
        databases: OWN,
        settings,
        userlist: "\"lookup\" \"\"\n\"admin\" \"secret-admin\"\n",
        ..INI
    };
    compare(
        "auth_query",
        &[
            case(
                "auth_query",
                ini(SHADOW),
                &[
                    Login("a", ("scram", "secret-scram"), "app"),
                    Query("a", WHO),
                    Login("b", ("scram", "wrong"), "app"),
                    Login("c", ("nobody", "any"), "app"),
                    // A role without a password.
                    Login("d", ("forced", "any"), "app"),
                    Login("e", ("scram", "secret-scram"), "fixed"),
                    Query("e", WHO),
                    Login("f", ("scram", "secret-scram"), "nowhere"),
                    Login("h", ("admin", "secret-admin"), "pgbouncer"),
                ],
            ),
            case(
                "auth_query with MD5",
                ini(
                    "auth_type = md5\nauth_user = lookup\nauth_query = SELECT usename, passwd FROM pg_shadow WHERE usename=$1",
                ),
                &[
                    Login("a", ("md5", "secret-md5"), "app"),
                    Query("a", WHO),
                    Login("b", ("scram", "secret-scram"), "app"),
                    Query("b", WHO),
                    Login("c", ("md5", "wrong"), "app"),
                    Login("d", ("nobody", "any"), "app"),
                ],
            ),
            case(
                "auth_query that fails",
                ini(
                    "auth_type = md5\nauth_user = lookup\nauth_query = SELECT usename, nonsense FROM pg_shadow WHERE usename=$1",
                ),
                &[Login("a", ("md5", "secret-md5"), "app")],
            ),
            case(
                "auth_query without the right",
                ini(
                    "auth_type = md5\nauth_user = lookup\nauth_query = SELECT usename, passwd FROM pg_shadow WHERE usename=$1",
                ),
                &[Login("a", ("md5", "secret-md5"), "none")],
            ),
        ],
    );
}

#[test]
fn console_access() {
    const USERLIST: &str =
        "\"admin\" \"secret-admin\"\n\"watcher\" \"secret-watcher\"\n\"alice\" \"secret-alice\"\n";
    const WATCHER: (&str, &str) = ("watcher", "secret-watcher");
    compare(
        "console access",
        &[
            case(
                "console access",
                Ini {
                    userlist: USERLIST,
                    settings: "auth_type = scram-sha-256",
                    ..INI
                },
                &[
                    Login("admin", ("admin", "secret-admin"), "pgbouncer"),
                    Query("admin", "reload"),
                    Login("wrong", ("admin", "wrong"), "pgbouncer"),
                    Login("watcher", WATCHER, "pgbouncer"),
                    Query("watcher", "show client_encoding"),
                    Query("watcher", "reload"),
                    Query("watcher", "shutdown"),
                    Query("watcher", "reconnect"),
                    Query("watcher", "nonsense"),
                    Query("watcher", "show nonsense"),
                    Login("alice", ALICE, "pgbouncer"),
                    Login("nobody", NOBODY, "pgbouncer"),
                    // An operator may use the databases like anybody.
                    Login("app", ("admin", "secret-admin"), "app"),
                    Greeting(
                        "admin",
                        &[
                            "client_encoding",
                            "DateStyle",
                            "TimeZone",
                            "standard_conforming_strings",
                        ],
                    ),
                ],
            ),
            case(
                "console over the Unix socket",
                Ini {
                    userlist: USERLIST,
                    settings: "auth_type = scram-sha-256",
                    ..INI
                },
                &[
                    Psql(
                        true,
                        "host=$DIR port=$PORT dbname=pgbouncer user=pgbouncer",
                        "show client_encoding",
                    ),
                    Psql(
                        true,
                        "host=$DIR port=$PORT dbname=pgbouncer user=pgbouncer",
                        "reload",
                    ),
                    Psql(
                        true,
                        "host=$DIR port=$PORT dbname=pgbouncer user=alice password=secret-alice",
                        "reload",
                    ),
                    Psql(
                        true,
                        "host=$DIR port=$PORT dbname=app user=pgbouncer",
                        "select 1",
                    ),
                    Psql(
                        true,
                        "host=127.0.0.1 port=$PORT dbname=pgbouncer user=pgbouncer",
                        "reload",
                    ),
                    Psql(
                        true,
                        "host=$DIR port=$PORT dbname=pgbouncer user=admin password=secret-admin",
                        "reload",
                    ),
                ],
            ),
        ],
    );
}

#[test]
fn certificates() {
    const TLS: &str = "auth_type = cert\nclient_tls_sslmode = verify-full\n\
        client_tls_ca_file = $CERTS/ca.crt\nclient_tls_cert_file = $CERTS/server.crt\n\
        client_tls_key_file = $CERTS/server.key";
    macro_rules! with {
        ($user:literal, $certificate:literal) => {
            Psql(
                true,
                concat!(
                    "host=127.0.0.1 port=$PORT dbname=app sslmode=require user=",
                    $user,
                    " sslcert=$CERTS/",
                    $certificate,
                    ".crt sslkey=$CERTS/",
                    $certificate,
                    ".key"
                ),
                WHO,
            )
        };
    }
    compare(
        "certificates",
        &[case(
            "auth_type = cert",
            with(TLS),
            &[
                with!("alice", "alice"),
                with!("md5", "alice"),
                with!("alice", "stranger"),
                with!("nobody", "alice"),
                Login("in clear", ALICE, "app"),
            ],
        )],
    );
}
