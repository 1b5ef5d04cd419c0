//! Who is let in: every method of authentication on both sides, with real clients and servers.

use std::time::{Duration, Instant};

use crate::support::login::{psql, psycopg, psycopg_query, refusal};
use crate::support::{Pgweir, Postgres, Wire, message, startup};
use pgweir::auth::scram::{ITERATIONS, ScramVerifier};

/// Each user has the password `secret-NAME`.
const USERS: &[&str] = &[
    "SET password_encryption = 'scram-sha-256'; CREATE ROLE scram LOGIN PASSWORD 'secret-scram'",
    "SET password_encryption = 'md5'; CREATE ROLE md5 LOGIN PASSWORD 'secret-md5'",
    "CREATE ROLE clear LOGIN PASSWORD 'secret-clear'",
    "CREATE ROLE trusted LOGIN",
    "CREATE ROLE lookup LOGIN PASSWORD 'secret-lookup'",
];

const HBA: &str = "host all scram,lookup 127.0.0.1/32 scram-sha-256
host all md5 127.0.0.1/32 md5
host all clear 127.0.0.1/32 password
host all trusted 127.0.0.1/32 trust";

fn postgres() -> Postgres {
    Postgres::with_hba(HBA, USERS)
}

fn pool(postgres: &Postgres) -> String {
    let port = postgres.port;
    format!("[pools.\"*\"]\nhost = \"127.0.0.1\"\nport = {port}\n")
}

/// What PostgreSQL stores of a user's password.
fn stored(postgres: &Postgres, user: &str) -> String {
    let query = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'");
    postgres.sql(&query).unwrap()
}

fn whoami(weir: &Pgweir, user: &str, password: &str) -> Result<String, String> {
    let login = weir.conninfo(&format!("user={user} password={password}"));
    psql(&login, "SELECT current_user")
}

#[test]
fn every_method_towards_the_server() {
    let postgres = postgres();
    let config = format!(
        r#"unix_socket_dir = ""
[auth]
type = "scram-sha-256"
{}
[users.scram]
password = "secret-scram"
[users.md5]
password = "secret-md5"
[users.clear]
password = "secret-clear"
[users.trusted]
password = "secret-trusted"
[users.mistaken]
password = "secret-mistaken"
"#,
        pool(&postgres)
    );
    let weir = Pgweir::with_config(&config);
    for user in ["scram", "md5", "clear", "trusted"] {
        let password = format!("secret-{user}");
        assert_eq!(whoami(&weir, user, &password).as_deref(), Ok(user));
        let wrong = whoami(&weir, user, "wrong").unwrap_err();
        assert!(wrong.contains("password authentication failed"), "{wrong}");
    }
    // The server's own refusal reaches the client.
    let refused = whoami(&weir, "mistaken", "secret-mistaken").unwrap_err();
    assert!(refused.contains("no pg_hba.conf entry"), "{refused}");
    // What is logged names users, and none of their passwords.
    assert!(!weir.log().contains("secret-"), "{}", weir.log());
}

#[test]
fn md5_logins_with_each_kind_of_secret() {
    let postgres = postgres();
    let config = format!(
        r#"unix_socket_dir = ""
[auth]
type = "md5"
{}
[users.trusted]
password = "secret-trusted"
[users.md5]
password = "{}"
[users.scram]
password = "{}"
"#,
        pool(&postgres),
        stored(&postgres, "md5"),
        stored(&postgres, "scram"),
    );
    let weir = Pgweir::with_config(&config);
    // A hash is good for an md5 server, too; a verifier makes the client use SCRAM.
    for user in ["trusted", "md5", "scram"] {
        let password = format!("secret-{user}");
        assert_eq!(whoami(&weir, user, &password).as_deref(), Ok(user));
        whoami(&weir, user, "wrong").unwrap_err();
    }
}

#[test]
fn passwords_in_clear_over_a_unix_socket_only() {
    let mut postgres = Postgres::with_hba("local all all trust", USERS);
    let socket = postgres.listen_on_socket();
    let config = format!(
        r#"unix_socket_dir = "$DIR"
[auth]
type = "plain"
[pools."*"]
host = "{}"
port = {}
[users.clear]
password = "secret-clear"
[users.md5]
password = "{}"
[users.scram]
password = "{}"
"#,
        socket.display(),
        postgres.port,
        stored(&postgres, "md5"),
        stored(&postgres, "scram"),
    );
    let weir = Pgweir::with_config(&config);
    let over_socket = |user: &str, password: &str| {
        let dir = weir.dir().display();
        let login = format!(
            "host={dir} port={} dbname=postgres user={user} password={password}",
            weir.port
        );
        psql(&login, "SELECT inet_client_addr() IS NULL, current_user")
    };
    for user in ["clear", "md5", "scram"] {
        // The server, too, is reached by its socket.
        let password = format!("secret-{user}");
        let expected = format!("t|{user}");
        assert_eq!(over_socket(user, &password).as_ref(), Ok(&expected));
        let wrong = over_socket(user, "wrong").unwrap_err();
        assert!(wrong.contains("password authentication failed"), "{wrong}");
    }
    let refused = whoami(&weir, "clear", "secret-clear").unwrap_err();
    assert!(refused.contains("not encrypted"), "{refused}");
    // The password of 65,530 bytes fits; a longer one is refused in words.
    let long = |length: usize| {
        let mut wire = Wire::raw_unix(weir.dir(), weir.port);
        wire.send(&startup(3 << 16, &[("user", "clear"), ("database", "d")]));
        assert_eq!(wire.read().body, 3u32.to_be_bytes());
        wire.send(&message(b'p', &[vec![b'x'; length], vec![0]].concat()));
        refusal(&[wire.read()])
    };
    assert_eq!(long(65_530).0, "28P01");
    assert_eq!(long(65_536).0, "08P01");
}

/// Only a verifier is known: who logs in by SCRAM gives pgweir what it needs for the server.
#[test]
fn scram_pass_through_from_the_configuration() {
    let postgres = postgres();
    let config = format!(
        r#"unix_socket_dir = ""
[auth]
type = "scram-sha-256"
{}
[users.scram]
password = "{}"
"#,
        pool(&postgres),
        stored(&postgres, "scram"),
    );
    let weir = Pgweir::with_config(&config);
    assert_eq!(
        whoami(&weir, "scram", "secret-scram").as_deref(),
        Ok("scram")
    );
    several_servers(&weir, "scram");
    whoami(&weir, "scram", "wrong").unwrap_err();
    assert!(weir.hang_up().contains("configuration reloaded"));
    several_servers(&weir, "scram");
}

/// Two clients at once, each in a transaction, make pgweir open server connections.
fn several_servers(weir: &Pgweir, user: &str) {
    let login = weir.conninfo(&format!("user={user} password=secret-{user}"));
    let program = "
cs = [psycopg.connect({}) for _ in range(4)]
print(len({c.execute('SELECT pg_backend_pid()').fetchone()[0] for c in cs}))";
    assert_eq!(psycopg(&login, program).as_deref(), Ok("4"));
}

fn with_auth_query(postgres: &Postgres, auth_type: &str, query: &str) -> String {
    format!(
        r#"unix_socket_dir = ""
[auth]
type = "{auth_type}"
user = "postgres"
query = "{query}"
query_ttl = "1h"
{}
[users.postgres]
password = "unused"
[users.md5] # only for this:
pool_size = 3
"#,
        pool(postgres)
    )
}

const SHADOW: &str = "SELECT usename, passwd FROM pg_catalog.pg_shadow WHERE usename = $1";

/// What one database's query says of a user is nothing to another database with a query of its own.
#[test]
fn passwords_of_one_database_open_no_other() {
    let postgres = postgres();
    let one = |name: &str, password: &str| {
        format!(
            "[pools.{name}]\nhost = \"127.0.0.1\"\nport = {}\ndbname = \"postgres\"\nuser = \"postgres\"\n\
             auth_dbname = \"postgres\"\nauth_query = \"SELECT $1::text, '{password}'\"\n",
            postgres.port
        )
    };
    let config =
        with_auth_query(&postgres, "scram-sha-256", SHADOW) + &one("a", "one") + &one("b", "two");
    let weir = Pgweir::with_config(&config);
    let log_in = |database: &str, password: &str| {
        let login = format!("user=alice password={password} dbname={database}");
        psql(&weir.conninfo(&login), "SELECT 1")
    };
    for (database, right, wrong) in [("a", "one", "two"), ("b", "two", "one")] {
        assert!(log_in(database, wrong).is_err(), "{database}");
        assert_eq!(log_in(database, right).as_deref(), Ok("1"), "{database}");
        assert!(log_in(database, wrong).is_err(), "{database}");
    }
}

#[test]
fn users_that_only_the_server_knows() {
    let postgres = postgres();
    let weir = Pgweir::with_config(&with_auth_query(&postgres, "scram-sha-256", SHADOW));
    assert_eq!(
        whoami(&weir, "scram", "secret-scram").as_deref(),
        Ok("scram")
    );
    several_servers(&weir, "scram");
    assert!(weir.hang_up().contains("configuration reloaded"));
    several_servers(&weir, "scram");
    for (user, password) in [("scram", "wrong"), ("nobody", "wrong"), ("trusted", "")] {
        let refused = whoami(&weir, user, password).unwrap_err();
        assert!(!refused.is_empty());
    }
    assert_eq!(
        whoami(&weir, "scram", "secret-scram").as_deref(),
        Ok("scram")
    );
    // A new password holds although the old answer could still be used.
    postgres.sql("ALTER ROLE scram PASSWORD 'secret-new'");
    whoami(&weir, "scram", "secret-new").unwrap_err();
    assert_eq!(whoami(&weir, "scram", "secret-new").as_deref(), Ok("scram"));
    whoami(&weir, "scram", "secret-scram").unwrap_err();
}

#[test]
fn a_looked_up_hash_is_good_for_the_server_too() {
    let postgres = postgres();
    let weir = Pgweir::with_config(&with_auth_query(&postgres, "md5", SHADOW));
    for user in ["md5", "scram"] {
        let password = format!("secret-{user}");
        assert_eq!(whoami(&weir, user, &password).as_deref(), Ok(user));
    }
}

#[test]
fn a_function_may_tell_passwords() {
    let postgres = postgres();
    postgres.sql(
        "CREATE FUNCTION secrets(INOUT name text, OUT secret text) \
         AS $$ SELECT name, 'secret-' || name WHERE name <> 'nobody' $$ LANGUAGE sql",
    );
    let query = "SELECT * FROM public.secrets($1)";
    let weir = Pgweir::with_config(&with_auth_query(&postgres, "scram-sha-256", query));
    for user in ["scram", "md5", "clear", "trusted"] {
        let password = format!("secret-{user}");
        assert_eq!(whoami(&weir, user, &password).as_deref(), Ok(user));
        whoami(&weir, user, "wrong").unwrap_err();
    }
}

#[test]
fn the_look_up_runs_as_its_own_user() {
    let postgres = postgres();
    let config = format!(
        r#"{}
[pools.alias]
dbname = "postgres"
host = "127.0.0.1"
port = {}
user = "clear"
password = "secret-clear"
"#,
        with_auth_query(&postgres, "scram-sha-256", SHADOW),
        postgres.port
    );
    let weir = Pgweir::with_config(&config);
    let login = weir.conninfo("dbname=alias user=scram password=secret-scram");
    assert_eq!(psql(&login, "SELECT current_user").as_deref(), Ok("clear"));
}

#[test]
fn a_search_path_does_not_reach_the_look_up() {
    let postgres = postgres();
    postgres.sql("CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO PUBLIC");
    postgres.sql("CREATE VIEW trap.pg_shadow AS SELECT 'scram'::name usename, 'easy' passwd");
    postgres.sql("GRANT SELECT ON trap.pg_shadow TO PUBLIC");
    let careless = "SELECT usename, passwd FROM pg_shadow WHERE usename = $1";
    let config = with_auth_query(&postgres, "scram-sha-256", careless);
    let weir = Pgweir::with_config(&config.replace("1h", "0s"));
    let options = "options='-c search_path=trap,pg_catalog'";
    let login = |password: &str| {
        let login = format!("user=scram password={password} {options}");
        psql(&weir.conninfo(&login), "SHOW search_path")
    };
    // The asker's server connection has had the path, too.
    let asker = weir.conninfo(&format!("user=postgres password=unused {options}"));
    for _ in 0..2 {
        assert_eq!(
            psql(&asker, "SELECT count(*) FROM pg_shadow").as_deref(),
            Ok("1")
        );
        login("easy").unwrap_err();
        assert_eq!(login("secret-scram").as_deref(), Ok("trap,pg_catalog"));
    }
}

#[test]
fn trust_needs_a_known_user() {
    let postgres = postgres();
    let config = format!(
        "unix_socket_dir = \"\"\n[auth]\ntype = \"trust\"\n{}[users.trusted]\n",
        pool(&postgres)
    );
    let weir = Pgweir::with_config(&config);
    assert_eq!(whoami(&weir, "trusted", "any").as_deref(), Ok("trusted"));
    let refused = whoami(&weir, "scram", "secret-scram").unwrap_err();
    assert!(refused.contains("no such user"), "{refused}");
}

/// Passwords that differ only in how Unicode writes them are equal (SASLprep).
#[test]
fn passwords_outside_ascii() {
    let postgres = postgres();
    postgres.sql("ALTER ROLE scram PASSWORD E'p\\u00e4ss\\u00a0word\\u2168'");
    let config = format!(
        r#"unix_socket_dir = ""
[auth]
type = "scram-sha-256"
{}
[users.scram]
password = "pa\u0308ss wordIX"
"#,
        pool(&postgres)
    );
    let weir = Pgweir::with_config(&config);
    for form in ["päss wordIX", "pa\u{308}ss\u{a0}word\u{2168}"] {
        let login = weir.conninfo(&format!("user=scram password='{form}'"));
        assert_eq!(
            psycopg_query(&login, "SELECT current_user").as_deref(),
            Ok("scram")
        );
    }
}

/// What an attacker without a password sees: the same messages, with the same numbers in them, in
/// the same time.
#[test]
fn unknown_users_look_like_known_ones() {
    let postgres = postgres();
    for auth_type in ["scram-sha-256", "md5", "plain"] {
        let config = format!(
            r#"unix_socket_dir = "$DIR"
[auth]
type = "{auth_type}"
{}
[users.known]
password = "secret-known"
"#,
            pool(&postgres)
        );
        let weir = Pgweir::with_config(&config);
        // Verifiers of passwords in the file are made at their first use.
        wrong_password(&weir, "known");
        let mut fastest = [Duration::MAX; 2];
        for _ in 0..25 {
            for (n, user) in ["known", "nobody"].into_iter().enumerate() {
                let started = Instant::now();
                let (code, text) = wrong_password(&weir, user);
                fastest[n] = fastest[n].min(started.elapsed());
                assert_eq!(code, "28P01");
                let expected = format!("password authentication failed for user \"{user}\"");
                assert_eq!(text, expected);
            }
        }
        let difference = fastest[0].abs_diff(fastest[1]);
        assert!(difference < hashing() / 2, "{auth_type}: {fastest:?}");
    }
}

/// How long it takes to hash a password, which is what could tell users apart.
fn hashing() -> Duration {
    let times = (0..10).map(|_| {
        let started = Instant::now();
        let _ = ScramVerifier::derive("secret", b"0123456789abcdef", ITERATIONS);
        started.elapsed()
    });
    times.min().unwrap()
}

/// The salt, which anybody may ask for, does not change at a reload for users that exist only.
#[test]
fn salts_survive_a_reload() {
    let config = r#"unix_socket_dir = ""
[auth]
type = "scram-sha-256"
[pools."*"]
port = 1
[users.known]
password = "secret-known"
"#;
    let weir = Pgweir::with_config(config);
    let salts = || ["known", "nobody"].map(|user| salt(&weir, user));
    let before = salts();
    assert_ne!(before[0], before[1]);
    assert_eq!(before, salts());
    assert!(weir.hang_up().contains("configuration reloaded"));
    assert_eq!(before, salts());
}

fn salt(weir: &Pgweir, user: &str) -> String {
    let mut wire = Wire::raw(weir.port).unwrap();
    wire.send(&startup(3 << 16, &[("user", user)])).unwrap();
    wire.read_message().unwrap();
    wire.send(&scram_first()).unwrap();
    let challenge = wire.read_message().unwrap().body;
    let challenge = String::from_utf8(challenge[4..].to_vec()).unwrap();
    challenge.split(',').nth(1).unwrap().to_owned()
}

fn scram_first() -> Vec<u8> {
    let first = b"n,,n=,r=abcdefghijklmnop";
    let length = (first.len() as u32).to_be_bytes();
    message(b'p', &[b"SCRAM-SHA-256\0", &length[..], first].concat())
}

/// Answers whatever is asked with something wrong.
fn wrong_password(weir: &Pgweir, user: &str) -> (String, String) {
    let mut wire = Wire::raw_unix(weir.dir(), weir.port);
    wire.send(&startup(3 << 16, &[("user", user)]));
    let request = wire.read();
    assert_eq!(request.tag, b'R', "{request:?}");
    if request.body[..4] != 10u32.to_be_bytes() {
        wire.send(&message(b'p', b"md5wrong\0"));
        return refusal(&[wire.read()]);
    }
    wire.send(&scram_first());
    let challenge = String::from_utf8(wire.read().body[4..].to_vec()).unwrap();
    assert!(challenge.ends_with(",i=4096"), "{challenge}");
    let nonce = challenge.split(',').next().unwrap();
    let proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let last = format!("c=biws,{nonce},p={proof}");
    wire.send(&message(b'p', last.as_bytes()));
    refusal(&[wire.read()])
}
