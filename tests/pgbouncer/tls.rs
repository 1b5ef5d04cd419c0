//! Each level of TLS, towards clients and towards servers.

use crate::script::Step::*;
use crate::script::{Scenario, compare, compare_at};
use crate::stage::{INI, Ini, secure_server};

const ALICE: (&str, &str) = ("alice", "");

/// Whether the pooler's connection to the server is under TLS.
const SHOWN: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

macro_rules! to_clients {
    ($mode:literal) => {
        Scenario {
            name: $mode,
            ini: Ini {
                settings: concat!(
                    "client_tls_ca_file = $CERTS/ca.crt\nclient_tls_cert_file = $CERTS/server.crt\n\
                     client_tls_key_file = $CERTS/server.key\nclient_tls_sslmode = ",
                    $mode
                ),
                ..INI
            },
            steps: &[
                Login("in clear", ALICE, "app"),
                client!("disable"),
                client!("prefer"),
                client!("require"),
                client!("verify-full sslrootcert=$CERTS/ca.crt"),
                client!("require sslcert=$CERTS/alice.crt sslkey=$CERTS/alice.key"),
                client!("require sslcert=$CERTS/other.crt sslkey=$CERTS/other.key"),
                // A Unix socket has no TLS, and needs none.
                Psql(
                    true,
                    "host=$DIR port=$PORT dbname=app user=alice",
                    "select 1",
                ),
            ],
        }
    };
}

macro_rules! client {
    ($mode:literal) => {
        Psql(
            true,
            concat!(
                "host=localhost hostaddr=127.0.0.1 port=$PORT dbname=app user=alice sslmode=",
                $mode
            ),
            "select 1",
        )
    };
}

macro_rules! to_servers {
    ($name:literal, $place:literal, $settings:literal) => {
        Scenario {
            name: $name,
            ini: Ini {
                databases: concat!("app = ", $place, " dbname=postgres"),
                settings: concat!("query_wait_timeout = 1\nserver_tls_sslmode = ", $settings),
                userlist: "\"admin\" \"\"\n\"alice\" \"\"\n\"tls\" \"\"\n\"plain\" \"\"\n",
                ..INI
            },
            steps: &[
                Login("a", ALICE, "app"),
                Query("a", SHOWN),
                Login("t", ("tls", ""), "app"),
                Query("t", SHOWN),
                Login("p", ("plain", ""), "app"),
                Query("p", SHOWN),
            ],
        }
    };
}

#[test]
fn levels_towards_clients() {
    compare(
        "towards clients",
        &[
            to_clients!("disable"),
            to_clients!("allow"),
            to_clients!("prefer"),
            to_clients!("require"),
            to_clients!("verify-ca"),
            to_clients!("verify-full"),
        ],
    );
}

#[test]
fn levels_towards_servers() {
    compare_at(
        &secure_server(),
        "towards servers",
        &[
            to_servers!("disable", "$PG", "disable"),
            to_servers!("allow", "$PG", "allow"),
            to_servers!("prefer", "$PG", "prefer"),
            to_servers!("require", "$PG", "require"),
            to_servers!(
                "verify-ca",
                "$PG",
                "verify-ca\nserver_tls_ca_file = $CERTS/ca.crt"
            ),
            to_servers!(
                "verify-ca, strange",
                "$PG",
                "verify-ca\nserver_tls_ca_file = $CERTS/other.crt"
            ),
            to_servers!(
                "verify-full",
                "$NAMED",
                "verify-full\nserver_tls_ca_file = $CERTS/ca.crt"
            ),
            to_servers!(
                "verify-full, other name",
                "$PG",
                "verify-full\nserver_tls_ca_file = $CERTS/ca.crt"
            ),
        ],
    );
}
