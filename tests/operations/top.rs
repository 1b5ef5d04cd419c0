//! `pgweir top`: as text, and in a terminal that Python makes for it; of pgweir, and of PgBouncer.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use crate::support::operate::{python_child, shared_postgres, text, until};
use crate::support::{Pgweir, Scratch, free_port, unprivileged};

fn once(port: u16, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgweir"));
    command.args(["top", "--once", "-U", "postgres", "-p", &port.to_string()]);
    for name in ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD"] {
        command.env_remove(name);
    }
    command.args(arguments).output().unwrap()
}

#[track_caller]
fn picture(port: u16, arguments: &[&str]) -> Vec<String> {
    let output = once(port, arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

const VIEWS: [&str; 7] = [
    "pools",
    "databases",
    "clients",
    "servers",
    "statements",
    "hosts",
    "cache",
];

#[test]
fn it_prints_what_pgweir_does() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "stats_period = 1");
    let mut held = weir.client();
    held.query("begin");
    let pools = picture(weir.port, &["--width", "130"]);
    assert!(pools[0].starts_with("pgweir top  pgweir "), "{pools:?}");
    assert!(pools[1].contains("servers 1 active"), "{pools:?}");
    assert!(pools[3].starts_with("DATABASE"), "{pools:?}");
    let row: Vec<&str> = pools[4].split_whitespace().collect();
    assert_eq!(row[..4], ["postgres", "postgres", "1", "0"]);
    assert_eq!(row.last(), Some(&"transaction"));
    let servers = picture(weir.port, &["--view", "servers", "--width", "200"]);
    assert!(servers[4].contains(" active "), "{servers:?}");
    let hosts = picture(weir.port, &["--view", "hosts"]);
    assert!(hosts[4].contains("127.0.0.1"), "{hosts:?}");
    // The console's own average of a second in which there were queries.
    until("queries are counted", || {
        held.query("select 1");
        let databases = picture(weir.port, &["--view", "databases"]);
        let row: Vec<&str> = databases[4].split_whitespace().collect();
        row[0] == "postgres" && row[1] != "0"
    });
    for view in VIEWS {
        assert!(picture(weir.port, &["--view", view]).len() >= 4, "{view}");
    }
}

/// Ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_prints_what_pgbouncer_does() {
    let pg = shared_postgres();
    let scratch = Scratch::new("top");
    let port = free_port();
    let ini = scratch.0.join("pgbouncer.ini");
    let settings = format!(
        "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = any\nadmin_users = postgres\n",
        pg.port
    );
    fs::write(&ini, settings).unwrap();
    let mut command = Command::new("/usr/sbin/pgbouncer");
    let log = fs::File::create(scratch.0.join("log")).unwrap();
    let child = unprivileged(&mut command)
        .arg(&ini)
        .stderr(log)
        .stdout(Stdio::null());
    let _bouncer = Running(child.spawn().unwrap());
    until("PgBouncer listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let mut client = crate::support::Wire::connect(port, "postgres", "postgres");
    client.query("begin");
    let pools = picture(port, &["--width", "130"]);
    assert!(pools[0].starts_with("pgweir top  PgBouncer "), "{pools:?}");
    assert!(pools[1].contains("servers 1 active"), "{pools:?}");
    let row = pools.iter().find(|row| row.starts_with("postgres "));
    assert!(row.is_some_and(|row| row.contains("session")), "{pools:?}");
    for view in ["databases", "clients", "servers"] {
        let lines = picture(port, &["--view", view, "--width", "200"]);
        assert!(
            lines.iter().any(|line| line.contains("postgres")),
            "{lines:?}"
        );
    }
    for view in ["statements", "hosts", "cache"] {
        let lines = picture(port, &["--view", view]);
        assert!(lines[3].ends_with("does not tell that"), "{lines:?}");
    }
}

#[test]
fn it_says_what_keeps_it_from_seeing() {
    let output = once(free_port(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("refused"),
        "{}",
        text(&output.stderr)
    );
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "");
    let output = once(weir.port, &["-U", "nobody"]);
    assert_eq!(output.status.code(), Some(2), "an option given twice");
    let output = once(weir.port, &["--sslmode", "require"]);
    assert!(text(&output.stderr).contains("does not speak TLS"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgweir"));
    let output = command
        .args(["top", "-p", &weir.port.to_string()])
        .output()
        .unwrap();
    assert!(
        text(&output.stderr).contains("no terminal"),
        "{}",
        text(&output.stderr)
    );
}

/// A terminal of 30 lines with `top` in it. `until` gives what was written since the last key, without escape
/// sequences; a change of size has everything written again.
const TERMINAL: &str = r#"
import fcntl, os, pty, re, select, signal, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(TERM="xterm-256color", NO_COLOR="")
    os.execv(os.environ["TOP"], ["pgweir", "top", "-U", "postgres", "-p", os.environ["PORT"], "-i", "1"])
raw, text, width = b"", "", 150
def resize():
    global width
    width = 301 - width
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
def until(wanted, unwanted=None):
    global raw, text
    deadline = time.time() + 30
    while wanted not in text or (unwanted and unwanted in text):
        assert time.time() < deadline, (wanted, text)
        if not select.select([fd], [], [], 0.5)[0]:
            raw, text = b"", ""
            resize()
            continue
        raw += os.read(fd, 65536)
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", " ", raw.decode("utf-8", "replace"))
        # What was there already is skipped, by moving on.
        text = re.sub(" +", " ", text)
def press(keys):
    global raw, text
    raw, text = b"", ""
    os.write(fd, keys)
def ends():
    everything = raw
    while True:
        try:
            chunk = os.read(fd, 65536)
        except OSError:
            break
        if not chunk:
            break
        everything += chunk
    assert b"\x1b[?1049l" in everything, everything[-300:]
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
def say(word):
    print(word, flush=True)
    assert sys.stdin.readline(), "the test is over"
resize()
before = termios.tcgetattr(fd)
"#;

/// Runs a scenario in it; what it says is answered when `step` has returned.
fn in_terminal(port: u16, scenario: &str, mut step: impl FnMut(&str)) {
    use std::io::{BufRead as _, BufReader, Write as _};
    let program = format!(
        "import os\nos.environ['TOP'] = {:?}\n{TERMINAL}{scenario}",
        env!("CARGO_BIN_EXE_pgweir")
    );
    let mut child = python_child(port, &program);
    let mut input = child.stdin.take().unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        step(&line.unwrap());
        writeln!(input).unwrap();
    }
    assert!(child.wait().unwrap().success());
}

#[test]
fn keys_work_and_the_terminal_is_given_back() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "");
    let mut held = weir.client();
    held.query("begin");
    let scenario = r#"
until("every 1 s"); until("transaction")
assert termios.tcgetattr(fd) != before
press(b"3"); until("APPLICATION")
press(b"/nobody"); until("show only"); press(b"\r"); until('only "nobody"'); until("nothing")
press(b"\x1b"); until("active", 'only "nobody"')
press(b"?"); until("any key goes back"); press(b" "); until("LAST REQUEST", "goes back")
press(b"p"); until("PAUSED"); press(b"p"); until("LAST REQUEST", "PAUSED")
press(b"\t"); until("PID")
press(b"7"); until("HIT SHARE")
press(b"q"); ends()
"#;
    in_terminal(weir.port, scenario, |_| {});
    // Whoever ends it from outside leaves a terminal that can be used, too.
    let scenario = r#"
until("every 1 s")
os.kill(pid, signal.SIGTERM); ends()
"#;
    in_terminal(weir.port, scenario, |_| {});
}

#[test]
fn it_waits_for_a_pgweir_that_went_away() {
    let pg = shared_postgres();
    let mut weir = Some(Pgweir::start(pg.port, ""));
    let port = weir.as_ref().unwrap().port;
    let config = fs::read_to_string(weir.as_ref().unwrap().config_path()).unwrap();
    let scratch = Scratch::new("top-again");
    let path = scratch.0.join("pgweir.toml");
    fs::write(&path, config).unwrap();
    let mut again = None;
    let scenario = r#"
until("every 1 s")
say("end"); until("no answer for"); until("refused")
say("begin"); until("every 1 s", "no answer for")
press(b"q"); ends()
"#;
    in_terminal(port, scenario, |said| match said {
        "end" => drop(weir.take()),
        "begin" => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_pgweir"));
            let child = command.arg(&path).stderr(Stdio::null()).spawn().unwrap();
            again = Some(Running(child));
        }
        other => panic!("{other}"),
    });
    assert!(again.is_some());
}
