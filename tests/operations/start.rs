//! Starting: where it listens, what keeps it from starting, and what `--check` says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::operate::*;
use crate::support::*;

#[test]
fn it_listens_on_ipv4_ipv6_and_a_unix_socket() {
    let pg = shared_postgres();
    let dir = Scratch::new("socket");
    let mut weir = Pgweir::start(pg.port, "");
    weir.signal("-TERM");
    weir.wait_exit();
    let socket = dir.0.join(format!(".s.PGSQL.{}", weir.port));
    // What a process left behind that was killed is no hindrance.
    drop(UnixListener::bind(&socket).unwrap());
    let file = configuration(weir.port, pg.port, "unix_socket_mode = '0700'");
    let file = file.replace(
        "\"127.0.0.1\"\nlisten_port",
        "\"127.0.0.1, ::1\"\nlisten_port",
    );
    let dir_line = format!("unix_socket_dir = \"{}\"", dir.0.display());
    weir.rewrite_all(&file.replace("unix_socket_dir = \"\"", &dir_line));
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgweir"));
        command
            .arg(weir.config_path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut running = start();
    let select = |host: &str| {
        let address = format!(
            "host={host} port={} user=postgres dbname=postgres",
            weir.port
        );
        let output = Command::new("psql")
            .args(["-X", "-A", "-t", "-d", &address, "-c", "select 1"])
            .output()
            .unwrap();
        text(&output.stdout)
    };
    for host in ["127.0.0.1", "::1", &dir.0.display().to_string()] {
        until(host, || select(host) == "1");
    }
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // Not taken from a process that still answers: TCP is not what stops this one.
    let file = fs::read_to_string(weir.config_path()).unwrap();
    let taken = file.replace("\"127.0.0.1, ::1\"", "\"\"");
    weir.rewrite_all(&taken);
    let second = start().wait_with_output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let error = text(&second.stderr);
    assert!(error.contains("cannot listen on"), "{error}");
    assert!(socket.exists());
    kill("-TERM", running.id());
    assert!(running.wait().unwrap().success());
    assert!(!socket.exists(), "it cleans up");
}

fn check(text: &str) -> Output {
    let scratch = Scratch::new("check");
    let path = scratch.0.join("pgweir.toml");
    fs::write(&path, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgweir"));
    command.arg("--check").arg(path).output().unwrap()
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let good = check("[pools.\"*\"]\n");
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    assert!(text(&good.stdout).contains("no problems found"));
    let broken: &[(&str, &str, &[&str])] = &[
        (
            "[general]\npool_sise = 3",
            ":2: ",
            &["pool_sise", "did you mean default_pool_size?"],
        ),
        ("[genral]\n", ":1: ", &["genral", "general"]),
        (
            "[general]\n\nlisten_port = \"many\"",
            ":3: ",
            &["general.listen_port"],
        ),
        (
            "[general]\nlisten_port = 70000",
            ":2: ",
            &["general.listen_port", "65535"],
        ),
        (
            "[general]\nquery_timeout = \"5 parsecs\"",
            ":2: ",
            &["general.query_timeout", "30s"],
        ),
        (
            "[general]\npool_mode = \"transactional\"",
            ":2: ",
            &["pool_mode", "transaction"],
        ),
        (
            "[general]\ndefault_pool_size = 0",
            ":2: ",
            &["general.default_pool_size", "1"],
        ),
        (
            "[general]\ndefault_pool_size = 2\nmin_pool_size = 3",
            ":3: ",
            &["min_pool_size"],
        ),
        (
            "[general]\nlisten_addr = \"\"\nunix_socket_dir = \"\"",
            ":",
            &["listen_addr"],
        ),
        (
            "[client_tls]\nsslmode = \"require\"",
            ":2: ",
            &["client_tls", "key_file"],
        ),
        (
            "[auth]\nquery = \"select 1\"",
            ":2: ",
            &["auth.query", "auth.user"],
        ),
        ("[auth]\ntype = \"any\"", ":", &["auth.type", "user"]),
        ("[http]\nlisten = \"somewhere\"", ":2: ", &["http.listen"]),
        (
            "[users.a]\nquery_timeout = -1",
            ":2: ",
            &["users.a.query_timeout"],
        ),
        (
            "[pools.pgbouncer]\n",
            ":1: ",
            &["pools.pgbouncer", "console"],
        ),
        ("[pools.a]\nport = 5432\nport = 5433", ":3", &["port"]),
        ("[general\n", ":1", &["unclosed table"]),
    ];
    for (bad, line, said) in broken {
        let output = check(&format!("{bad}\n[pools.\"*\"]\n"));
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{bad}\n{error}");
        assert!(
            error.contains(&format!("pgweir.toml{line}")),
            "{bad}\n{error}"
        );
        for word in *said {
            assert!(error.contains(word), "{word} in {bad}\n{error}");
        }
    }
    let nowhere = Command::new(env!("CARGO_BIN_EXE_pgweir"))
        .args(["--check", "/nonexistent/pgweir.toml"])
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("cannot read the configuration file"));
    // Several mistakes are said at once.
    let output =
        check("[general]\nlisten_port = -1\nworkers = \"x\"\n[pools.\"*\"]\nport = true\n");
    let error = text(&output.stderr);
    assert!(
        [":2: ", ":3: ", ":5: "]
            .iter()
            .all(|line| error.contains(line)),
        "{error}"
    );
}

#[test]
fn it_does_not_start_on_a_bad_file_or_a_taken_port() {
    let pg = shared_postgres();
    let weir = Pgweir::start(pg.port, "");
    let scratch = Scratch::new("start");
    let path = scratch.0.join("pgweir.toml");
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgweir"));
        command.arg(&path).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that starts nevertheless would not end.
        let deadline = Instant::now() + Duration::from_secs(20);
        while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        child.wait_with_output().unwrap()
    };
    let refused = |said: &str| {
        let output = start();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}: {error}");
        assert!(error.contains(said), "{said}: {error}");
    };
    refused("cannot read the configuration file");
    fs::write(&path, configuration(weir.port, pg.port, "")).unwrap();
    refused(&format!("cannot listen on 127.0.0.1:{}", weir.port));
    // Neither with defaults nor with what can be understood.
    for (bad, said) in [
        ("nonsense = 1", "pgweir.toml:8: general.nonsense"),
        (
            "query_timeout = 'soon'",
            "pgweir.toml:8: general.query_timeout",
        ),
        (
            "default_pool_size = 0",
            "pgweir.toml:8: general.default_pool_size",
        ),
        ("query_timeout = 5 5", "pgweir.toml:8: "),
    ] {
        fs::write(&path, configuration(free_port(), pg.port, bad)).unwrap();
        refused(said);
    }
}
