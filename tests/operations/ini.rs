//! Run as PgBouncer would be: its file, its console's commands, its signals, its log.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::ini::Ini;
use crate::support::operate::{shared_postgres, until};
use crate::support::{Wire, parse, query, sync};

/// Asks, and says whether the answer is there within half a second.
fn answers(client: &mut Wire, sql: &str) -> bool {
    client.send(&query(sql)).unwrap();
    client.answers_within(Duration::from_millis(500))
}

#[track_caller]
fn state(ini: &Ini, key: &str) -> String {
    let rows = ini.console().query("SHOW STATE").rows();
    let row = rows.into_iter().find(|r| r[0] == key);
    row.unwrap().remove(1)
}

#[test]
fn an_ini_is_run_as_it_is() {
    let pg = shared_postgres();
    let mut ini = Ini::start(
        pg.port,
        "pool_mode = transaction\npkt_buf = 1\nstats_period = 1",
        "",
    );
    let mut client = ini.connect("postgres");
    assert_eq!(client.query("select 1").value(), "1");
    drop(client);
    assert!(Wire::try_connect(ini.port, "nobody", "postgres").is_err());
    let shown = ini.psql("postgres", "pgbouncer", "SHOW VERSION");
    assert_eq!(
        String::from_utf8_lossy(&shown.stdout),
        concat!("pgweir ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let log = |text: &str| ini.log().contains(text);
    for text in [
        "WARNING pkt_buf has no effect: ",
        "LOG listening on 127.0.0.1:",
        ": postgres/postgres@127.0.0.1:",
        " login attempt: db=postgres user=postgres tls=no replication=no\n",
        " new connection to server (from 127.0.0.1:",
        " closing because: client unexpected eof (age=0s)\n",
        " pooler error: no such user: nobody\n",
        "LOG stats: ",
    ] {
        until(text, || log(text));
    }
    let config = ini.console().query("SHOW CONFIG").rows();
    let row = |key: &str| config.iter().find(|r| r[0] == key).unwrap().clone();
    assert_eq!(row("pkt_buf")[1..], ["1", "4096", "no"]);
    assert_eq!(row("pool_mode")[1..], ["transaction", "session", "yes"]);
    assert_eq!(row("max_client_conn")[1..], ["100", "100", "yes"]);
    ini.signal("-TERM");
    assert!(ini.wait_exit());
    assert!(!ini.file("pid").exists());
}

#[test]
fn a_broken_ini_is_refused_with_its_line() {
    let pg = shared_postgres();
    let ini = Ini::start(pg.port, "", "");
    ini.write(pg.port, "pool_mode = fast", "");
    let checked = Command::new(env!("CARGO_BIN_EXE_pgweir"))
        .args(["--check"])
        .arg(ini.file("pgbouncer.ini"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!checked.status.success());
    assert!(
        said.contains("pgbouncer.ini:12: invalid value \"fast\" for parameter pool_mode"),
        "{said}"
    );
    // A running one keeps what it has.
    let answer = ini.console().query("RELOAD");
    assert_eq!(answer.code().as_deref(), Some("F0000"));
    assert!(ini.log().contains("pgbouncer.ini:12: "));
    assert_eq!(ini.connect("postgres").query("select 1").value(), "1");
}

#[test]
fn pause_waits_for_transactions_and_holds_clients_up() {
    let pg = shared_postgres();
    let ini = Ini::start(pg.port, "pool_mode = transaction", "");
    let (mut busy, mut idle) = (ini.connect("postgres"), ini.connect("postgres"));
    busy.query("begin");
    idle.query("select 1");
    let mut console = ini.console();
    assert!(!answers(&mut console, "PAUSE"), "a transaction is open");
    assert_eq!(state(&ini, "paused"), "yes");
    assert!(!answers(&mut idle, "select 1"), "it waits");
    assert_eq!(busy.query("select 2").value(), "2");
    assert_eq!(busy.query("commit").tags(), "CZ");
    assert_eq!(console.answer().tags(), "CZ", "everything is closed");
    let servers = ini.console().query("SHOW SERVERS").rows();
    assert!(servers.is_empty(), "{servers:?}");
    assert_eq!(
        ini.console().query("PAUSE").code().as_deref(),
        Some("08P01")
    );
    assert_eq!(ini.console().query("RESUME").tags(), "CZ");
    assert_eq!(idle.answer().value(), "1");
    assert_eq!(busy.query("select 3").value(), "3");
    assert_eq!(
        ini.console().query("RESUME").code().as_deref(),
        Some("08P01")
    );
    // One database only, and new ones of it, too.
    assert_eq!(ini.console().query("PAUSE postgres").tags(), "CZ");
    assert!(!answers(&mut idle, "select 4"));
    assert_eq!(ini.connect("template1").query("select 5").value(), "5");
    let row = ini.console().query("SHOW DATABASES").rows();
    let row = row.iter().find(|r| r[0] == "postgres").unwrap().clone();
    assert_eq!(row[15..], ["1", "0"]);
    assert_eq!(ini.console().query("RESUME postgres").tags(), "CZ");
    assert_eq!(idle.answer().value(), "4");
    // Whoever leaves does not wait any longer; by signal it is the same.
    busy.query("begin");
    let mut leaving = ini.console();
    leaving.send(&query("PAUSE")).unwrap();
    until("it is paused", || state(&ini, "paused") == "yes");
    drop(leaving);
    ini.signal("-USR2");
    until("it goes on", || state(&ini, "active") == "yes");
    assert_eq!(busy.query("commit").tags(), "CZ");
    ini.signal("-USR1");
    until("it is paused", || state(&ini, "paused") == "yes");
    assert!(!answers(&mut idle, "select 6"));
    ini.signal("-USR2");
    assert_eq!(idle.answer().value(), "6");
}

#[test]
fn suspend_keeps_connections_and_does_not_wait_for_ever() {
    let pg = shared_postgres();
    let ini = Ini::start(pg.port, "pool_mode = transaction\nsuspend_timeout = 1", "");
    let (mut busy, mut idle) = (ini.connect("postgres"), ini.connect("postgres"));
    idle.query("select 1");
    busy.query("begin");
    let began = Instant::now();
    assert_eq!(ini.console().query("SUSPEND").tags(), "CZ");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(state(&ini, "suspended"), "yes");
    busy.query("commit");
    assert!(!answers(&mut idle, "select 1"));
    let servers = ini.console().query("SHOW SERVERS").rows();
    assert_eq!(servers.len(), 1, "{servers:?}");
    assert_eq!(ini.console().query("RESUME").tags(), "CZ");
    assert_eq!(idle.answer().value(), "1");
}

#[test]
fn a_user_list_that_changes_is_read_without_a_reload() {
    let pg = shared_postgres();
    let ini = Ini::start(pg.port, "", "");
    assert!(Wire::try_connect(ini.port, "newcomer", "pgbouncer").is_err());
    // Trust is for users that there are; whether they may come to the console is another question.
    let refusal = || crate::support::operate::refusal(ini.port, "newcomer", "pgbouncer").1;
    assert_eq!(refusal(), "no such user: newcomer");
    std::fs::write(
        ini.file("userlist.txt"),
        "\"postgres\" \"\"\n\"newcomer\" \"x\"\n",
    )
    .unwrap();
    until("the newcomer is known", || {
        refusal().starts_with("not allowed")
    });
}

#[test]
fn disabled_databases_take_no_new_clients() {
    let pg = shared_postgres();
    let ini = Ini::start(pg.port, "", "");
    let mut client = ini.connect("postgres");
    assert_eq!(ini.console().query("DISABLE postgres").tags(), "CZ");
    assert_eq!(client.query("select 1").value(), "1");
    let refused = ini.psql("postgres", "postgres", "select 1");
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("does not allow connections"), "{refused}");
    assert_eq!(ini.console().query("ENABLE postgres").tags(), "CZ");
    assert_eq!(ini.connect("postgres").query("select 1").value(), "1");
}

#[test]
fn kill_closes_everything_and_pauses() {
    let pg = shared_postgres();
    let ini = Ini::start(pg.port, "pool_mode = transaction", "");
    let (mut busy, mut other) = (ini.connect("postgres"), ini.connect("template1"));
    busy.query("begin");
    other.query("select 1");
    assert_eq!(ini.console().query("KILL postgres").tags(), "CZ");
    assert!(busy.read_message().is_ok_and(|m| m.tag == b'E'));
    assert_eq!(other.query("select 1").value(), "1");
    let servers = ini.console().query("SHOW SERVERS").rows();
    assert!(
        servers.iter().all(|row| row[2] == "template1"),
        "{servers:?}"
    );
    assert_eq!(ini.console().query("RESUME postgres").tags(), "CZ");
    assert_eq!(ini.connect("postgres").query("select 1").value(), "1");
}

#[test]
fn wait_close_waits_for_what_is_to_be_closed() {
    let pg = shared_postgres();
    let ini = Ini::start(pg.port, "pool_mode = transaction", "");
    let mut busy = ini.connect("postgres");
    busy.query("begin");
    let mut console = ini.console();
    assert_eq!(
        console.query("WAIT_CLOSE").tags(),
        "CZ",
        "nothing is to be closed"
    );
    assert_eq!(console.query("RECONNECT postgres").tags(), "CZ");
    let servers = ini.console().query("SHOW SERVERS").rows();
    assert_eq!(servers[0][13], "1", "close_needed");
    assert!(!answers(&mut console, "WAIT_CLOSE postgres"));
    busy.query("commit");
    assert_eq!(console.answer().tags(), "CZ");
}

#[test]
fn set_holds_until_the_next_reload() {
    let pg = shared_postgres();
    let ini = Ini::start(pg.port, "pool_mode = transaction\nquery_timeout = 30", "");
    let value = |key: &str| {
        let rows = ini.console().query("SHOW CONFIG").rows();
        rows.iter().find(|r| r[0] == key).unwrap()[1].clone()
    };
    let mut console = ini.console();
    assert_eq!(console.query("SET query_timeout = 0.2").tags(), "CZ");
    assert_eq!(console.query("SET default_pool_size = '7'").tags(), "CZ");
    assert_eq!(
        (value("query_timeout"), value("default_pool_size")),
        ("0.2".into(), "7".into())
    );
    let late = ini.connect("postgres").query("select pg_sleep(5)");
    assert!(late.code().is_some());
    assert_eq!(
        console.query("SET query_timeout = often").code().as_deref(),
        Some("08P01")
    );
    assert_eq!(
        console.query("SET listen_port = 5").code().as_deref(),
        Some("08P01")
    );
    assert_eq!(console.query("RELOAD").tags(), "CZ");
    assert_eq!(
        (value("query_timeout"), value("default_pool_size")),
        ("30".into(), "20".into())
    );
}

#[test]
fn psql_watches_the_console() {
    let pg = shared_postgres();
    let ini = Ini::start(pg.port, "", "");
    let target = format!(
        "host=127.0.0.1 port={} user=postgres dbname=pgbouncer",
        ini.port
    );
    let mut psql = Command::new("psql")
        .args(["-XAtq", &target])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("psql runs: see scripts/test");
    let mut input = psql.stdin.take().unwrap();
    input.write_all(b"show state \\watch 0.05\n").unwrap();
    let lines = BufReader::new(psql.stdout.take().unwrap()).lines();
    let shown = lines
        .map_while(Result::ok)
        .filter(|line| line == "active|yes");
    assert_eq!(shown.take(3).count(), 3);
    psql.kill().unwrap();
    psql.wait().unwrap();
}

#[test]
fn every_show_has_an_answer() {
    let pg = shared_postgres();
    let ini = Ini::start(pg.port, "", "");
    let mut client = ini.connect("postgres");
    client.query("begin");
    for what in [
        "FDS",
        "SOCKETS",
        "ACTIVE_SOCKETS",
        "MEM",
        "DNS_HOSTS",
        "DNS_ZONES",
        "PEERS",
        "PEER_POOLS",
        "STATS_TOTALS",
        "STATS_AVERAGES",
        "TOTALS",
    ] {
        assert_eq!(
            ini.console().query(&format!("SHOW {what}")).code(),
            None,
            "{what}"
        );
    }
    let sockets = |what: &str| {
        let rows = ini.console().query(&format!("SHOW {what}")).rows();
        let kinds: Vec<String> = rows.iter().map(|r| r[0].clone()).collect();
        (kinds.join(""), rows[0].len())
    };
    assert_eq!(sockets("ACTIVE_SOCKETS"), ("CS".to_owned(), 28));
    // And the console's own, when those that were there before are gone.
    until("the console's", || {
        sockets("SOCKETS") == ("CCS".to_owned(), 28)
    });
    // The sockets that are listened on, and the two ends of what the client has.
    let fds = ini.console().query("SHOW FDS").rows();
    let of = |task: &str| fds.iter().filter(|r| r[1] == task).collect::<Vec<_>>();
    let (client_row, server_row) = (of("client")[0], of("server")[0]);
    assert_eq!(
        (of("pooler").len(), of("client").len(), of("server").len()),
        (2, 1, 1)
    );
    assert_eq!(
        (&client_row[7], &server_row[7]),
        (&server_row[0], &client_row[0])
    );
    for row in &fds {
        let open = format!("/proc/{}/fd/{}", ini.pid(), row[0]);
        let target = std::fs::read_link(&open).unwrap();
        assert!(target.to_string_lossy().starts_with("socket:"), "{row:?}");
    }
    client
        .send(&[parse("p", "select 'prepared'"), sync()].concat())
        .unwrap();
    client.answer();
    let prepared = ini.console().query("SHOW PREPARED").rows();
    assert_eq!(prepared.len(), 1);
    assert_eq!(prepared[0][..2], ["postgres", "postgres"]);
    assert!(prepared[0][2].starts_with("pgweir_") && prepared[0][3] == "select 'prepared'");
    let totals = ini.console().query("SHOW TOTALS").rows();
    assert_eq!(totals.len(), 24);
    assert_eq!(totals[2][0], "total_query_count");
}

#[test]
fn a_term_waits_for_clients_and_an_int_for_transactions() {
    let pg = shared_postgres();
    let mut ini = Ini::start(pg.port, "pool_mode = transaction", "");
    let mut idle = ini.connect("postgres");
    ini.signal("-TERM");
    until("nobody listens", || {
        std::net::TcpStream::connect(("127.0.0.1", ini.port)).is_err()
    });
    assert_eq!(idle.query("select 1").value(), "1");
    // The Unix socket is there for the console only.
    let refused = ini.psql("postgres", "postgres", "select 1");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("server shutting down"));
    assert!(
        ini.psql("postgres", "pgbouncer", "show version")
            .status
            .success()
    );
    drop(idle);
    assert!(ini.wait_exit());
    ini.run();
    let (mut idle, mut busy) = (ini.connect("postgres"), ini.connect("postgres"));
    busy.query("begin");
    ini.signal("-INT");
    assert!(idle.read_message().is_ok_and(|m| m.tag == b'E'));
    assert_eq!(busy.query("commit").tags(), "CZ");
    assert!(ini.wait_exit());
    // A second one does not wait.
    ini.run();
    let mut busy = ini.connect("postgres");
    busy.query("begin");
    ini.signal("-INT");
    thread::sleep(Duration::from_millis(200));
    ini.signal("-INT");
    assert!(ini.wait_exit());
}

#[test]
fn it_runs_in_the_background() {
    let pg = shared_postgres();
    let mut ini = Ini::start(pg.port, "", "");
    ini.signal("-QUIT");
    assert!(ini.wait_exit());
    let _ = std::fs::remove_file(ini.file("log"));
    let started = Command::new(env!("CARGO_BIN_EXE_pgweir"))
        .arg("-d")
        .arg(ini.file("pgbouncer.ini"))
        .status()
        .unwrap();
    assert!(started.success());
    until("it is ready", || ini.log().contains("pgweir is ready"));
    assert_eq!(ini.connect("postgres").query("select 1").value(), "1");
    // Another one must not take its place.
    let second = Command::new(env!("CARGO_BIN_EXE_pgweir"))
        .arg(ini.file("pgbouncer.ini"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&second.stderr).contains("another instance is running"));
    let pid = ini.pid();
    ini.signal("-QUIT");
    until("it has ended", || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
}

/// Sockets that were opened before, as file descriptors from 3 on; and a socket to be told on.
#[test]
fn systemd_opens_the_sockets_and_hears_that_it_is_ready() {
    let pg = shared_postgres();
    let ini = Ini::stopped(pg.port, "", "");
    let notify = ini.file("notify");
    let told = std::os::unix::net::UnixDatagram::bind(&notify).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let next = || {
        let mut text = [0; 200];
        let n = told.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..n]).into_owned()
    };
    let program = r#"
import os, socket, sys
port, path, weir, ini = sys.argv[1:]
tcp = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
unix = socket.socket(socket.AF_UNIX); unix.bind(path); unix.listen()
for n, s in enumerate((tcp, unix)):
    os.dup2(s.fileno(), 10 + n)
for n in range(2):
    os.dup2(10 + n, 3 + n)
    os.set_inheritable(3 + n, True)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
os.execv(weir, [weir, "-q", ini])
"#;
    // Another port than the ini's, which must not be listened on.
    let port = crate::support::free_port();
    let socket = ini.file(&format!(".s.PGSQL.{}", ini.port));
    let mut weir = Command::new("python3")
        .args(["-c", program, &port.to_string()])
        .arg(&socket)
        .arg(env!("CARGO_BIN_EXE_pgweir"))
        .arg(ini.file("pgbouncer.ini"))
        .env("NOTIFY_SOCKET", &notify)
        .spawn()
        .unwrap();
    assert_eq!(next(), "READY=1\n");
    let mut client = Wire::connect(port, "postgres", "postgres");
    assert_eq!(client.query("select 1").value(), "1");
    // Rules for IPv4 are for who comes by IPv4, also where the socket is for both.
    let log = ini.log();
    assert!(
        log.contains("postgres/postgres@127.0.0.1:") && !log.contains("::ffff"),
        "{log}"
    );
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok());
    assert!(std::net::TcpStream::connect(("127.0.0.1", ini.port)).is_err());
    ini.signal("-HUP");
    assert!(next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(next(), "READY=1\n");
    // Another process takes over, and systemd is told whom it has to do with from then on.
    let mut another = Command::new(env!("CARGO_BIN_EXE_pgweir"))
        .args(["-q", "-R"])
        .arg(ini.file("pgbouncer.ini"))
        .env("NOTIFY_SOCKET", &notify)
        .spawn()
        .unwrap();
    let mut said = [next(), next()];
    said.sort();
    assert_eq!(
        said,
        [
            format!("MAINPID={}\n", another.id()),
            "READY=1\n".to_owned()
        ]
    );
    assert!(weir.wait().unwrap().success());
    assert_eq!(client.query("select 1").value(), "1");
    let mut client = Wire::connect(port, "postgres", "postgres");
    assert_eq!(client.query("select 2").value(), "2");
    assert!(std::net::TcpStream::connect(("127.0.0.1", ini.port)).is_err());
    drop(client);
    ini.signal("-INT");
    assert_eq!(next(), "STOPPING=1\n");
    assert!(another.wait().unwrap().success());
    assert!(socket.exists(), "it is systemd's");
}

#[test]
fn several_hosts_are_used_in_turn_and_one_that_is_down_is_passed_over() {
    let (one, two) = (
        crate::support::Postgres::start(),
        crate::support::Postgres::start(),
    );
    // The same port is meant for all of them: by their Unix sockets they can be told apart.
    let marker = |pg: &crate::support::Postgres, n: u32| {
        let sql = format!("create table me as select {n} as n");
        pg.client().query(&sql);
    };
    marker(&one, 1);
    marker(&two, 2);
    let proxy = |pg: &crate::support::Postgres, name: &str, ini: &Ini| {
        let dir = ini.file(name);
        std::fs::create_dir(&dir).unwrap();
        forward(&dir.join(".s.PGSQL.5432"), pg.port);
        dir
    };
    let mut ini = Ini::stopped(one.port, "", "");
    let dirs = [
        proxy(&one, "a", &ini),
        proxy(&two, "b", &ini),
        ini.file("nowhere"),
    ];
    let hosts = dirs.map(|d| d.display().to_string()).join(",");
    let rest = |how: &str| {
        format!("[databases]\npostgres = host={hosts} pool_size=6 load_balance_hosts={how}\n")
    };
    let seen = |ini: &Ini| {
        let mut clients: Vec<Wire> = (0..6).map(|_| ini.connect("postgres")).collect();
        let mut seen: Vec<String> = clients
            .iter_mut()
            .map(|c| {
                c.query("begin");
                c.query("select n from me").value()
            })
            .collect();
        seen.sort();
        seen.dedup();
        seen
    };
    ini.write(one.port, "", &rest("round-robin"));
    ini.run();
    assert_eq!(seen(&ini), ["1", "2"]);
    let shown = ini.console().query("SHOW DATABASES").rows();
    let row = shown.iter().find(|r| r[0] == "postgres").unwrap();
    assert_eq!((&*row[1], &*row[10]), (&*hosts, "round-robin"));
    ini.write(one.port, "", &rest("disable"));
    assert_eq!(ini.console().query("RELOAD").code(), None);
    assert_eq!(ini.console().query("RECONNECT").code(), None);
    assert_eq!(seen(&ini), ["1"]);
}

/// Forwards a Unix socket to a TCP port of this machine.
fn forward(path: &std::path::Path, port: u16) {
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for from in listener.incoming().flatten() {
            let to = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut from_too, mut to_too) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let (mut from, mut to) = (from, to);
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
            thread::spawn(move || {
                let _ = std::io::copy(&mut to_too, &mut from_too);
                let _ = from_too.shutdown(std::net::Shutdown::Write);
            });
        }
    });
}

#[test]
fn who_waits_is_told_and_simple_queries_can_be_turned_off() {
    let pg = shared_postgres();
    let pool = "default_pool_size = 1\nquery_wait_notify = 0.3\nquery_wait_timeout = 1";
    let ini = Ini::start(pg.port, &format!("pool_mode = transaction\n{pool}"), "");
    let (mut busy, mut waiting) = (ini.connect("postgres"), ini.connect("postgres"));
    busy.query("begin");
    waiting.send(&query("select 1")).unwrap();
    let notice = waiting.read_message().unwrap();
    assert_eq!(notice.tag, b'N');
    assert!(String::from_utf8_lossy(&notice.body).contains("No server connection available"));
    // It goes on waiting, for as long as it may.
    assert!(
        !waiting.answers_within(Duration::from_millis(300)),
        "nothing more yet"
    );
    busy.query("commit");
    assert_eq!(waiting.answer().value(), "1");
    busy.query("begin");
    waiting.send(&query("select 2")).unwrap();
    let tags = waiting.answer().tags();
    assert_eq!(tags, "NEZ", "its time is over");
    busy.query("commit");
    assert_eq!(waiting.query("select 3").value(), "3");
    let ini = Ini::start(pg.port, "disable_pqexec = 1", "");
    let mut client = ini.connect("postgres");
    let bound = [
        crate::support::parse("", "select 1"),
        crate::support::bind(""),
        crate::support::execute(),
        crate::support::sync(),
    ];
    client.send(&bound.concat()).unwrap();
    assert_eq!(client.answer().value(), "1");
    client.send(&query("select 1")).unwrap();
    let refused = client.read_message().unwrap();
    assert!(String::from_utf8_lossy(&refused.body).contains("PQexec disallowed"));
}
