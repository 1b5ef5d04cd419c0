//! `auth_type = hba`: the first rule that fits decides.

use crate::script::Step::*;
use crate::script::{Scenario, compare};
use crate::stage::{INI, Ini};

const SECRETS: &str = "\"alice\" \"secret-alice\"
\"bob\" \"secret-bob\"
\"md5\" \"md53bdac0539b7f16cc4b47babefed6028f\"
\"scram\" \"SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$qPDlHsgeYaVazPmBtJA0+QMRLCBdNq5RfEUk4Q6Ulo8=:FqMywPLEzjJ0dvJUr55C4f20Sxz68mQxlVyvW2eSifc=\"
\"admin\" \"\"
";

const fn with(hba: &'static str) -> Ini {
    Ini {
        databases: "app = $PG dbname=postgres\nother = $PG\nalice = $PG dbname=postgres",
        settings: "auth_type = hba\nauth_hba_file = $DIR/hba",
        userlist: SECRETS,
        hba,
        ..INI
    }
}

const CLOSED: Ini = with("host all admin 127.0.0.1/32 trust\nhost app all 127.0.0.1/32 reject\n");

const ALICE: (&str, &str) = ("alice", "secret-alice");
const WRONG: (&str, &str) = ("alice", "wrong");
const BOB: (&str, &str) = ("bob", "secret-bob");

#[test]
fn rules() {
    compare(
        "rules",
        &[
            Scenario {
                name: "in order",
                ini: with(
                    "# the console first\n\
                     host pgbouncer admin 127.0.0.1/32 trust\n\
                     host other alice 127.0.0.1/32 reject\n\
                     host other all 127.0.0.1/32 trust\n\
                     host app \"alice\", bob 127.0.0.1/32 md5\n\
                     host app bob 127.0.0.1/32 reject\n\
                     host app md5 127.0.0.1 255.255.255.255 md5\n\
                     host app scram 127.0.0.0/8 scram-sha-256\n\
                     host all all 10.0.0.0/8 trust\n",
                ),
                steps: &[
                    Login("a", ALICE, "app"),
                    Login("wrong", WRONG, "app"),
                    Login("b", BOB, "app"),
                    Login("rejected", ALICE, "other"),
                    Login("trusted", ("bob", ""), "other"),
                    Query("trusted", "select current_user"),
                    Login("md5", ("md5", "secret-md5"), "app"),
                    Login("scram", ("scram", "secret-scram"), "app"),
                    Login("scram wrong", ("scram", "wrong"), "app"),
                    Login("nobody", ("nobody", "x"), "app"),
                    Login("no rule", ALICE, "alice"),
                    Login("console", ("admin", ""), "pgbouncer"),
                    Login("no console", ALICE, "pgbouncer"),
                ],
            },
            Scenario {
                name: "sameuser, all, local and TLS",
                ini: with(
                    "host pgbouncer admin 127.0.0.1/32 trust\n\
                     host sameuser all 127.0.0.1/32 trust\n\
                     hostssl app bob 127.0.0.1/32 trust\n\
                     hostnossl app alice 127.0.0.1/32 md5\n\
                     local app bob md5\n\
                     local all all trust\n",
                ),
                steps: &[
                    Login("same", ("alice", ""), "alice"),
                    Login("not the same", ("bob", ""), "alice"),
                    Login("only with TLS", ("bob", ""), "app"),
                    Login("only without", ALICE, "app"),
                    Psql(
                        true,
                        "host=$DIR port=$PORT dbname=app user=bob password=secret-bob",
                        "select current_user",
                    ),
                    Psql(
                        true,
                        "host=$DIR port=$PORT dbname=app user=bob password=wrong",
                        "select 1",
                    ),
                    Psql(
                        true,
                        "host=$DIR port=$PORT dbname=other user=alice",
                        "select current_user",
                    ),
                ],
            },
            Scenario {
                name: "read again with a reload",
                ini: with("host all admin 127.0.0.1/32 trust\nhost app all 127.0.0.1/32 trust\n"),
                steps: &[
                    Login("a", ("alice", ""), "app"),
                    Files(CLOSED),
                    Login("before", ("alice", ""), "app"),
                    Console("RELOAD"),
                    Login("after", ("alice", ""), "app"),
                    Query("a", "select 1"),
                ],
            },
        ],
    );
}
