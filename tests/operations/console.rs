//! The console: what it answers is in PgBouncer's form, true, and reaches every kind of client.

use crate::support::operate::*;
use crate::support::*;

const CONSOLE: &str = r#"
stats_users = ["watcher"]
[users.watcher]
[users.nobody]
"#;

/// PgBouncer's columns, in its order.
const COLUMNS: &[(&str, &str)] = &[
    (
        "POOLS",
        "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active \
         sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us \
         pool_mode load_balance_hosts",
    ),
    (
        "CLIENTS",
        "type user database replication state addr port local_addr local_port connect_time \
         request_time wait wait_us close_needed ptr link remote_pid tls application_name \
         prepared_statements id",
    ),
    (
        "SERVERS",
        "type user database replication state addr port local_addr local_port connect_time \
         request_time wait wait_us close_needed ptr link remote_pid tls application_name \
         prepared_statements id",
    ),
    (
        "STATS",
        "database total_server_assignment_count total_xact_count total_query_count total_received \
         total_sent total_xact_time total_query_time total_wait_time total_client_parse_count \
         total_server_parse_count total_bind_count total_client_login_count \
         avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent \
         avg_xact_time avg_query_time avg_wait_time avg_client_parse_count avg_server_parse_count \
         avg_bind_count avg_client_login_count",
    ),
    ("CONFIG", "key value default changeable"),
    (
        "DATABASES",
        "name host port database force_user pool_size min_pool_size reserve_pool_size \
         server_lifetime pool_mode load_balance_hosts max_connections current_connections \
         max_client_connections current_client_connections paused disabled",
    ),
    (
        "USERS",
        "name pool_size reserve_pool_size pool_mode max_user_connections current_connections \
         max_user_client_connections current_client_connections",
    ),
    ("LISTS", "list items"),
    ("VERSION", "version"),
    ("STATE", "key value"),
];

#[test]
fn tables_have_the_columns_that_tools_know() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, CONSOLE);
    let mut client = weir.client();
    client.query("select 1");
    for database in ["pgweir", "pgbouncer"] {
        let mut console = weir.connect("postgres", database);
        for (what, columns) in COLUMNS {
            let answer = console.query(&format!("show {what};"));
            let expected: Vec<&str> = columns.split_whitespace().collect();
            assert_eq!(column_names(&answer), expected, "{what}");
            assert!(!answer.rows().is_empty(), "{what}");
        }
    }
    // The answer goes out before the connection goes back.
    until("the connection is idle", || {
        weir.count("postgres", "sv_idle") == 1
    });
    let lists = weir.show("LISTS");
    let names: Vec<&str> = lists.iter().map(|r| r["list"].as_str()).collect();
    assert_eq!(names.len(), 14, "{names:?}");
    let item = |name: &str| lists.iter().find(|r| r["list"] == name).unwrap()["items"].clone();
    assert_eq!(
        (item("pools"), item("used_clients"), item("free_servers")),
        ("1".into(), "1".into(), "1".into())
    );
    let help = weir.console().query("SHOW HELP");
    assert_eq!(help.tags(), "NCZ");
    let text = String::from_utf8_lossy(&help.0[0].body).into_owned();
    for (what, _) in COLUMNS {
        assert!(text.contains(what), "{what} is not in SHOW HELP");
    }
    let version = &weir.show("VERSION")[0]["version"];
    assert_eq!(version, concat!("pgweir ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn counts_are_what_was_done() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "default_pool_size = 3");
    let mut client = weir.client();
    let before = stats(&weir);
    for _ in 0..10 {
        client.query("select 1");
    }
    client.query("begin");
    for _ in 0..4 {
        client.query("select 1");
    }
    client.query("commit");
    let extended = [parse("", "select 1"), bind(""), execute(), sync()].concat();
    for _ in 0..3 {
        client.send(&extended).unwrap();
        assert_eq!(client.answer().value(), "1");
    }
    // Counts are made after the answer has been sent.
    until("all is counted", || {
        stats(&weir)("total_query_count") == before("total_query_count") + 10 + 6 + 3
    });
    let after = stats(&weir);
    let did = |column: &str| after(column) - before(column);
    assert_eq!(did("total_xact_count"), 10 + 1 + 3);
    assert_eq!(did("total_server_assignment_count"), 10 + 1 + 3);
    assert_eq!(did("total_client_parse_count"), 3);
    assert_eq!(did("total_bind_count"), 3);
    let one = query("select 1").len() as u64;
    let sent = 14 * one + (query("begin").len() + query("commit").len()) as u64;
    assert_eq!(did("total_received"), sent + 3 * extended.len() as u64);
    // A row of one column, all 14 of the simple ones: what this client has read.
    let answer: usize = client
        .query("select 1")
        .0
        .iter()
        .map(|m| m.body.len() + 5)
        .sum();
    assert!(did("total_sent") >= 14 * answer as u64);
    assert_eq!(stats(&weir)("total_client_login_count"), 1);
}

fn stats(weir: &Pgweir) -> impl Fn(&str) -> u64 {
    let mut rows = weir.show("STATS").into_iter();
    let row = rows.find(|r| r["database"] == "postgres").unwrap();
    move |column| row[column].parse().unwrap()
}

#[test]
fn states_are_those_of_the_moment() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "default_pool_size = 1");
    let pairs = [
        ("user", "postgres"),
        ("database", "postgres"),
        ("application_name", "holder"),
    ];
    let mut holder = Wire::try_connect_with(weir.port, &pairs).unwrap();
    let mut idler = weir.client();
    holder.query("begin");
    let pid = holder.query("select pg_backend_pid()").value();
    let mut waiter = weir.client();
    waiter.send(&query("select 1")).unwrap();
    until("one waits", || weir.count("postgres", "cl_waiting") == 1);
    let counts = |pool: &Row| {
        let columns = [
            "cl_active",
            "cl_waiting",
            "sv_active",
            "sv_idle",
            "sv_tested",
            "sv_login",
        ];
        columns.map(|c| pool[c].parse::<u32>().unwrap())
    };
    // As in PgBouncer, clients with nothing to do count as active.
    assert_eq!(counts(&weir.pool_of("postgres")), [2, 1, 1, 0, 0, 0]);
    until("maxwait is counted", || {
        weir.count("postgres", "maxwait_us") > 20_000
    });
    let clients = weir.show("CLIENTS");
    let mut states: Vec<&str> = clients.iter().map(|r| r["state"].as_str()).collect();
    states.sort_unstable();
    assert_eq!(states, ["active", "idle", "waiting"]);
    let active = clients.iter().find(|r| r["state"] == "active").unwrap();
    let servers = weir.show("SERVERS");
    assert_eq!(servers.len(), 1);
    let server = &servers[0];
    assert_eq!(
        (&server["state"], &server["remote_pid"]),
        (&"active".into(), &pid)
    );
    assert_eq!(
        (&server["link"], &active["link"]),
        (&active["id"], &server["id"])
    );
    assert_eq!(
        (&*server["application_name"], &*active["application_name"]),
        ("holder", "holder")
    );
    assert_eq!(server["port"], pg.port.to_string());
    assert_eq!(active["local_port"], weir.port.to_string());
    holder.query("commit");
    assert_eq!(waiter.answer().value(), "1");
    // The answer goes out before the connection goes back.
    until("the connection is idle", || {
        counts(&weir.pool_of("postgres")) == [3, 0, 0, 1, 0, 0]
    });
    assert_eq!(idler.query("select 2").value(), "2");
    drop((holder, idler, waiter));
    until("all have left", || weir.count("postgres", "cl_active") == 0);
    assert!(weir.show("CLIENTS").is_empty());
}

#[test]
fn users_and_databases_are_counted() {
    let pg = shared_postgres();
    let general = format!(
        "max_user_connections = 9\n[pools.alias]\nhost = '127.0.0.1'\nport = {}\n\
         dbname = 'postgres'\nuser = 'postgres'\npool_size = 7\nmax_db_connections = 5\n\
         [users.amy]\npool_mode = 'session'\npool_size = 3",
        pg.port
    );
    let weir = Pgweir::start(pg.port, &general);
    let mut amy = weir.connect("amy", "alias");
    assert_eq!(amy.query("select current_user").value(), "postgres");
    let users = weir.show("USERS");
    let user = |name: &str| users.iter().find(|r| r["name"] == name).unwrap();
    assert_eq!(user("amy")["pool_mode"], "session");
    assert_eq!(user("amy")["pool_size"], "3");
    assert_eq!(user("amy")["max_user_connections"], "9");
    assert_eq!(user("amy")["current_client_connections"], "1");
    assert_eq!(user("amy")["current_connections"], "0");
    assert_eq!(user("postgres")["current_connections"], "1");
    let mut other = weir.client();
    other.query("select 1");
    let databases = weir.show("DATABASES");
    // A name that only "*" serves.
    let below = databases.iter().find(|r| r["name"] == "postgres").unwrap();
    assert_eq!(below["current_connections"], "1");
    assert_eq!(below["current_client_connections"], "1");
    let alias = databases.iter().find(|r| r["name"] == "alias").unwrap();
    let shown = [
        "database",
        "force_user",
        "pool_size",
        "max_connections",
        "current_connections",
    ];
    assert_eq!(
        shown.map(|c| &*alias[c]),
        ["postgres", "postgres", "7", "5", "1"]
    );
    assert_eq!(alias["current_client_connections"], "1");
}

#[test]
fn config_shows_what_is_in_force() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "default_pool_size = 7\nquery_timeout = '1500ms'");
    let rows = weir.show("CONFIG");
    let of = |key: &str| {
        let row = rows
            .iter()
            .find(|r| r["key"] == key)
            .unwrap_or_else(|| panic!("no {key}"));
        (row["value"].clone(), row["changeable"].clone())
    };
    assert_eq!(of("default_pool_size"), ("7".into(), "yes".into()));
    assert_eq!(of("query_timeout"), ("1.5".into(), "yes".into()));
    assert_eq!(of("listen_port"), (weir.port.to_string(), "no".into()));
    assert!(
        rows.iter().all(|r| !r["value"].contains("unused")),
        "a password is shown"
    );
}

#[test]
fn only_those_who_may_are_let_in() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, CONSOLE);
    for database in ["pgweir", "pgbouncer"] {
        let (code, text) = refusal(weir.port, "nobody", database);
        assert_eq!(code, "42501", "{text}");
        let (code, _) = refusal(weir.port, "stranger", database);
        assert_eq!(code, "28000");
    }
    let mut watcher = weir.connect("watcher", "pgweir");
    assert_eq!(watcher.query("show pools").status(), Some('I'));
    for command in [
        "reload",
        "shutdown",
        "reconnect",
        "kill_client 1",
        "SHUTDOWN WAIT_FOR_CLIENTS",
    ] {
        let answer = watcher.query(command);
        assert_eq!(answer.code().as_deref(), Some("42501"), "{command}");
        assert_eq!(answer.status(), Some('I'));
    }
}

#[test]
fn an_error_leaves_the_session_as_it_was() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "");
    let mut console = weir.console();
    for (command, code) in [
        ("show pols", "42601"),
        ("drop table x", "42601"),
        ("shutdown now please", "42601"),
        ("reconnect pgbouncer", "08P01"),
        ("resume", "08P01"),
        ("disable", "42601"),
        ("set nosuch = 1", "42601"),
        ("set query_timeout = x", "08P01"),
        ("set listen_port = 1", "08P01"),
        ("kill_client 999999", "08P01"),
        ("kill_client abc", "42601"),
    ] {
        let answer = console.query(command);
        assert_eq!(answer.code().as_deref(), Some(code), "{command}");
        assert_eq!(answer.status(), Some('I'), "{command}");
    }
    assert!(error_text(&console.query("show pols")).contains("did you mean POOLS?"));
    // In the extended protocol all up to Sync is skipped.
    let bad = [parse("", "nonsense"), bind(""), execute(), sync()].concat();
    console.send(&bad).unwrap();
    let answer = console.answer();
    assert_eq!(
        (answer.tags(), answer.code().as_deref()),
        ("EZ".into(), Some("42601"))
    );
    assert_eq!(console.query(";").tags(), "IZ");
    assert_eq!(console.query("show version").tags(), "TDCZ");
    assert_eq!(console.query("set datestyle = 'ISO'").tags(), "NCZ");
}

#[test]
fn commands_act() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "");
    let mut client = weir.client();
    let pid = |client: &mut Wire| client.query("select pg_backend_pid()").value();
    let first = pid(&mut client);
    assert_eq!(weir.console().query("reconnect postgres").tags(), "CZ");
    assert_ne!(pid(&mut client), first);
    let id = weir.show("CLIENTS")[0]["id"].clone();
    assert_eq!(
        weir.console().query(&format!("kill_client {id}")).tags(),
        "CZ"
    );
    let words = Answer(last_words(&mut client));
    assert_eq!(words.code().as_deref(), Some("57P01"));
    until("it is off the list", || weir.show("CLIENTS").is_empty());
    weir.rewrite(pg.port, "default_pool_size = 4");
    assert_eq!(weir.console().query("RELOAD").tags(), "CZ");
    weir.client().query("select 1");
    assert_eq!(weir.show("DATABASES")[0]["pool_size"], "4");
    weir.rewrite(pg.port, "default_pool_size = 'many'");
    let answer = weir.console().query("RELOAD");
    assert_eq!(
        (answer.code().as_deref(), answer.status()),
        (Some("F0000"), Some('I'))
    );
    assert!(weir.log().contains("general.default_pool_size"));
    assert_eq!(weir.show("DATABASES")[0]["pool_size"], "4");
}

#[test]
fn shutdown_waits_for_whom_it_is_told_to() {
    let pg = shared_postgres();
    // At once.
    let mut weir = Pgweir::start(pg.port, "");
    let mut busy = weir.client();
    busy.query("begin");
    assert_eq!(weir.console().query("SHUTDOWN").tags(), "CZ");
    assert!(weir.wait_exit().success());
    // For transactions, not for clients.
    let mut weir = Pgweir::start(pg.port, "");
    let (mut busy, mut idle) = (weir.client(), weir.client());
    busy.query("begin");
    assert_eq!(
        weir.console().query("shutdown wait_for_servers").tags(),
        "CZ"
    );
    assert_eq!(
        Answer(last_words(&mut idle)).code().as_deref(),
        Some("57P01")
    );
    assert_eq!(busy.query("select 1").value(), "1");
    assert_eq!(busy.query("commit").tags(), "CZ");
    assert!(weir.wait_exit().success());
    // For clients, however idle.
    let mut weir = Pgweir::start(pg.port, "");
    let mut idle = weir.client();
    assert_eq!(
        weir.console().query("shutdown wait_for_clients").tags(),
        "CZ"
    );
    until("nobody listens", || {
        std::net::TcpStream::connect(("127.0.0.1", weir.port)).is_err()
    });
    assert_eq!(idle.query("select 1").value(), "1");
    assert!(weir.child.try_wait().unwrap().is_none());
    drop(idle);
    assert!(weir.wait_exit().success());
}

#[test]
fn psql_and_python_drivers_can_use_it() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "");
    weir.client().query("select 1");
    let output = psql(weir.port, "postgres", "pgbouncer", "SHOW VERSION");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("pgweir "));
    let output = psql(weir.port, "postgres", "pgweir", "SHOW NONSENSE");
    assert!(text(&output.stderr).contains("use SHOW HELP"));
    let program = r#"
import asyncio, os, psycopg, asyncpg
port = os.environ["PORT"]
dsn = f"host=127.0.0.1 port={port} user=postgres dbname=pgweir sslmode=disable"
with psycopg.connect(dsn, autocommit=True) as c:
    for prepare in (False, True, True):
        rows = c.execute("SHOW POOLS", prepare=prepare).fetchall()
        assert [r[0] for r in rows] == ["postgres"], rows
        assert rows[0][9] == 1, rows
    row = c.cursor(binary=True).execute("SHOW STATS").fetchone()
    assert row[0] == "postgres" and int(row[2]) >= 1, row
    try:
        c.execute("SHOW NONSENSE")
    except psycopg.errors.SyntaxError as e:
        assert "use SHOW HELP" in str(e)
    assert c.execute("RELOAD").statusmessage == "RELOAD"

async def main():
    c = await asyncpg.connect(host="127.0.0.1", port=int(port), user="postgres",
                              database="pgbouncer", ssl=False)
    for _ in range(2):
        rows = await c.fetch("SHOW STATS")
        assert rows[0]["database"] == "postgres" and rows[0]["total_query_count"] >= 1, rows
        rows = await c.fetch("SHOW POOLS")
        assert rows[0]["sv_idle"] == 1 and rows[0]["pool_mode"] == "transaction", rows
    assert await c.execute("RELOAD") == "RELOAD"
    await c.close()
asyncio.run(main())
print("ok")
"#;
    assert_eq!(python(weir.port, program), "ok");
}
