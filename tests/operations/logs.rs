//! The log: what is in it, that it is bounded, that it holds nobody up, and that no secret is in it.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::certificates::Certificates;
use crate::support::crowd::Crowd;
use crate::support::login::{psql, wait_until};
use crate::support::{Pgweir, Postgres, Scratch, Wire, bind, execute, parse, query, sync};

/// What Python reads of a log of objects: that many lines, and those with this message, field by field.
pub fn objects(weir: &Pgweir, message: &str) -> Vec<String> {
    let program = "import json,sys\n\
        for line in open(sys.argv[1]):\n\
        \x20   o = json.loads(line)\n\
        \x20   assert set(o) >= {'timestamp', 'level', 'target', 'message'}, o\n\
        \x20   if o['message'] == sys.argv[2]: print(json.dumps(o, sort_keys=True))\n";
    let file = weir.dir().join("log");
    let output = Command::new("python3")
        .args(["-c", program])
        .arg(file)
        .arg(message)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}\n{}", weir.log());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn what_takes_long_on_a_kept_connection_is_told_as_well() {
    let pg = Postgres::start();
    let lines = "pool_mode = \"session\"\n[log]\nstyle = \"json\"\nslow_query = \"100ms\"";
    let weir = Pgweir::start(pg.port, lines);
    let mut client = weir.client();
    client.query("select 1");
    client.query("select pg_sleep(0.2)");
    client.query("begin; select 2; commit");
    client.query("select 3, pg_sleep(0.2)");
    wait_until("two lines", || objects(&weir, "slow query").len() == 2);
    let slow = objects(&weir, "slow query");
    assert!(slow[0].contains(r#""select pg_sleep(?)""#), "{slow:#?}");
    assert!(slow[1].contains(r#""select ?, pg_sleep(?)""#), "{slow:#?}");
}

/// Statements sent ahead have a line each, with their own texts; so has one that never ends.
#[test]
fn what_is_sent_ahead_and_what_times_out_is_told_by_its_own_text() {
    let pg = Postgres::start();
    let lines = "query_timeout = \"1s\"\n[log]\nstyle = \"json\"\nslow_query = \"100ms\"";
    let weir = Pgweir::start(pg.port, lines);
    let mut client = weir.client();
    let ahead = ["first", "second", "third"].map(|name| {
        let text = format!("select {name}, pg_sleep(0.3) from (values (1)) x({name})");
        [parse("", &text), bind(""), execute(), sync()].concat()
    });
    let quick = query("select 'quick'");
    client
        .send(&[&ahead[0][..], &ahead[1], &quick, &ahead[2]].concat())
        .unwrap();
    for _ in 0..4 {
        assert_eq!(client.answer().code(), None);
    }
    // It does not listen to the cancel request, so the connection is taken away.
    // That may come as two signals, one to the process and one to its group.
    let deaf = "do $$ begin for n in 1..3 loop begin perform pg_sleep(20); \
        exception when query_canceled then null; end; end loop; end $$";
    assert!(client.query(deaf).code().is_some());
    wait_until("the last line", || objects(&weir, "slow query").len() >= 4);
    let slow = objects(&weir, "slow query");
    let expected = [
        ("select first", true),
        ("select second", true),
        ("select third", true),
        ("do ?", false),
    ];
    assert_eq!(slow.len(), expected.len(), "{slow:#?}");
    for (line, (text, answered)) in slow.iter().zip(expected) {
        let statement = format!("\"statement\": \"{text}");
        assert!(line.contains(&statement), "{line}");
        assert!(
            line.contains(&format!("\"answered\": {answered}")),
            "{line}"
        );
    }
}

#[test]
fn objects_say_who_it_was_and_what_took_long() {
    let pg = Postgres::start();
    let lines = "default_pool_size = 1\n[log]\nstyle = \"json\"\nslow_query = \"300ms\"";
    let weir = Pgweir::start(pg.port, lines);
    let evil = "web\n{\"message\":\"forged\"}";
    let mut client = Wire::try_connect_with(
        weir.port,
        &[
            ("user", "postgres"),
            ("database", "postgres"),
            ("application_name", evil),
        ],
    )
    .unwrap();
    client.query("select 1, pg_sleep(0.001)");
    client.query("alter role postgres password 'secret-1'; select pg_sleep(0.4), 'secret-2'");
    let sleep = "select pg_sleep($1), 'secret-3' /* secret-4 */";
    let bind = {
        let mut bind = b"\0s\0\0\0\0\x01\0\0\0\x030.4\0\0".to_vec();
        let mut message = vec![b'B'];
        message.extend_from_slice(&(bind.len() as u32 + 4).to_be_bytes());
        message.append(&mut bind);
        message
    };
    let all = [parse("s", sleep), bind, execute(), sync()].concat();
    client.send(&all).unwrap();
    assert_eq!(client.answer().code(), None);
    // One waits for the other.
    let mut other = weir.client();
    client.query("begin");
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(other.query("select 5").code(), None));
        std::thread::sleep(Duration::from_millis(500));
        client.query("commit");
    });
    client.query("listen x; select pg_advisory_lock(7)");
    client.query("select 1");
    assert!(Wire::try_connect(weir.port, "nobody", "postgres").is_err());
    drop(client);
    wait_until("the end", || weir.log().matches("client gone").count() == 1);

    let slow = objects(&weir, "slow query");
    assert_eq!(slow.len(), 3, "{slow:#?}");
    let statements = [
        "alter role postgres password ?; select pg_sleep(?), ?",
        "select pg_sleep($1), ?",
        "select ?",
    ];
    for (line, statement) in slow.iter().zip(statements) {
        assert!(
            line.contains(&format!("\"statement\": \"{statement}\"")),
            "{line}"
        );
        assert!(line.contains("\"user\": \"postgres\"") && line.contains("\"peer\": \"127.0.0.1"));
    }
    let wait = |line: &str| {
        let rest = line.split("\"wait_ms\": ").nth(1).unwrap();
        rest.split([',', '}'])
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    assert!(
        wait(&slow[0]) < 300.0 && wait(&slow[2]) > 300.0,
        "{slow:#?}"
    );
    for (message, times) in [
        ("client is pinned", 1),
        ("login failed", 1),
        ("client gone", 1),
        ("forged", 0),
    ] {
        let lines = objects(&weir, message);
        assert_eq!(lines.len(), times, "{lines:#?}");
        for line in lines.iter().filter(|line| !line.contains("nobody")) {
            assert!(line.contains("\"application\": \"web\\n{"), "{line}");
        }
    }
    assert!(!weir.log().contains("secret"), "{}", weir.log());
}

#[test]
fn a_storm_of_failed_logins_does_not_fill_a_disk() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "[log]\nmax_lines_per_second = 3");
    let before = weir.log().len();
    let began = Instant::now();
    for _ in 0..400 {
        assert!(Wire::try_connect(weir.port, "nobody", "postgres").is_err());
    }
    // Three kinds of lines each, of which each has a burst and so many a second.
    let most = 3 * (30 + 3 * (began.elapsed().as_secs() as usize + 1));
    let written = weir.log();
    let lines = written[before..].lines().count();
    assert!(lines <= most, "{lines} lines of at most {most}");
    assert!(written.len() - before < most * 400);
    // Others are heard.
    assert_eq!(weir.console().query("PAUSE").code(), None);
    assert_eq!(weir.console().query("RESUME").code(), None);
    wait_until("what is missing is said", || {
        let log = weir.log();
        let told = |what: &str| {
            let text = format!("more lines were not logged (log.max_lines_per_second): {what}");
            log.contains(&text)
        };
        told("login failed") && told("pooler error") && told("login attempt")
    });
    assert!(weir.log().contains("PAUSE command issued"));
    let settings = weir.console().query("SHOW CONFIG").rows();
    assert!(
        settings
            .iter()
            .any(|row| row[0] == "log_max_lines_per_second" && row[1] == "3")
    );
}

/// Whoever does not even get to a startup message has a line, but not who says nothing: there are health checks.
#[test]
fn connections_that_are_no_clients_have_a_line_and_a_storm_of_them_few() {
    let pg = Postgres::start();
    let scratch = Scratch::new("garbage");
    let certificates = Certificates::new(&scratch.0);
    let [certificate, key] = ["server.crt", "server.key"].map(|name| certificates.file(name));
    let lines = format!(
        "[client_tls]\nsslmode = \"allow\"\ncert_file = {certificate:?}\n\
         key_file = {key:?}\n[log]\nmax_lines_per_second = 3\n\
         [login]\ndeny = \"127.0.0.3\""
    );
    let weir = Pgweir::start(pg.port, &lines);
    let failed = |what: &str| {
        let log = weir.log();
        let lines = log.lines().filter(|line| line.contains("login failed"));
        lines.filter(|line| line.contains(what)).count()
    };
    drop(Wire::raw(weir.port).unwrap());
    // Nothing that is written before it has an answer is lost.
    let garbage = |bytes: &[u8]| {
        let mut wire = Wire::raw(weir.port).unwrap();
        wire.send(bytes).unwrap();
        let _ = wire.read_message();
    };
    garbage(b"GET / HTTP/1.1\r\n\r\n");
    garbage(b"\x16\x03\x01\0\x05hello");
    wait_until("a line each", || failed("reason=") == 2);
    assert_eq!(failed("TLS handshake failed"), 1, "{}", weir.log());
    let from = |address: &str| {
        let program = "import socket, sys\n\
            s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), source_address=(sys.argv[2], 0))\n\
            sys.exit(len(s.recv(100)))";
        let port = weir.port.to_string();
        let mut command = Command::new("python3");
        assert!(
            command
                .args(["-c", program, &port, address])
                .status()
                .unwrap()
                .success()
        );
    };
    from("127.0.0.3");
    wait_until("a line", || failed("clients may not come from there") == 1);
    assert_eq!(failed(""), 3, "{}", weir.log());

    let (before, began) = (weir.log().len(), Instant::now());
    for _ in 0..400 {
        garbage(b"GET / HTTP/1.1\r\n\r\n");
    }
    // And from time to time how many there were.
    let most = 32 + 3 * (began.elapsed().as_secs() as usize + 1);
    let lines = weir.log()[before..].lines().count();
    assert!(lines <= most, "{lines} lines of at most {most}");
}

/// Standard error is a pipe that is full: clients are served, the log file is written, a reload and an end
/// are possible.
#[test]
fn a_pipe_that_nobody_reads_stops_nothing() {
    let pg = Postgres::start();
    let scratch = Scratch::new("pipe");
    let (pipe, file) = (scratch.0.join("pipe"), scratch.0.join("log"));
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let lines = format!(
        "default_pool_size = 4\nshutdown_timeout = 1\n[log]\nfile = {file:?}\n\
         level = \"trace\"\nmax_lines_per_second = 0"
    );
    let before = format!("exec 2<>{}", pipe.display());
    let mut weir = Pgweir::start_after(&before, pg.port, &lines, &[]);
    let length = || fs::metadata(&file).map_or(0, |m| m.len());
    let crowd = Crowd::gather(weir.port, 8);
    let deadline = Instant::now() + Duration::from_secs(60);
    // Ten times what the pipe takes.
    while length() < 640 * 1024 {
        assert!(Instant::now() < deadline, "{} bytes", length());
        drop(weir.client());
    }
    crowd.all_are_served();
    let old = scratch.0.join("log.1");
    fs::rename(&file, &old).unwrap();
    weir.signal("-HUP");
    wait_until("the file is opened again", || length() > 0);
    crowd.all_are_served();
    crowd.leave().only(&[]);
    weir.signal("-TERM");
    let began = Instant::now();
    let status = weir.wait_exit();
    assert!(status.success(), "{:?}", status.signal());
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn no_secret_is_ever_logged() {
    let pg = Postgres::with_hba(
        "host all all all scram-sha-256",
        &["create role app superuser login password 'secret-server'"],
    );
    let config = format!(
        r#"unix_socket_dir = ""
admin_users = ["app"]
[log]
level = "trace"
slow_query = "1ms"
max_lines_per_second = 0
[auth]
type = "plain"
allow_cleartext = true
[pools."*"]
host = "127.0.0.1"
port = {}
user = "app"
password = "secret-server"
[users.app]
password = "secret-client"
"#,
        pg.port
    );
    for method in ["plain", "md5", "scram-sha-256"] {
        let weir = Pgweir::with_config(&config.replace("\"plain\"", &format!("\"{method}\"")));
        let conninfo = weir.conninfo("user=app password=secret-client");
        let change = "alter role app password 'secret-server'; select pg_sleep(0.01), 'secret-x'";
        psql(&conninfo, change).unwrap();
        psql(
            &conninfo,
            "set app.key to 'secret-key'; select pg_sleep(0.01)",
        )
        .unwrap();
        let wrong = weir.conninfo("user=app password=secret-wrong");
        psql(&wrong, "select 1").unwrap_err();
        weir.hang_up();
        let log = weir.log();
        assert!(log.contains("slow query"), "{log}");
        let found: Vec<&str> = log.lines().filter(|l| l.contains("secret")).collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}
