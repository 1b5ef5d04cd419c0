//! The HTTP port: what a Prometheus, a load balancer and a careless peer find there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::operate::*;
use crate::support::*;

pub struct Http(pub u16);

impl Http {
    pub fn section(&self) -> String {
        format!("[http]\nlisten = '127.0.0.1:{}'", self.0)
    }

    /// Status line, headers, body.
    fn request(&self, method: &str, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.0)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.request("GET", path);
        (status, body)
    }
}

pub fn start(pg_port: u16, general: &str) -> (Pgweir, Http) {
    let http = Http(free_port());
    let weir = Pgweir::start(pg_port, &format!("{general}\n{}", http.section()));
    (weir, http)
}

/// Samples of an exposition: `name{labels}` to value. Checks the format as it goes.
pub fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut helped: BTreeSet<&str> = BTreeSet::new();
    let mut samples = BTreeMap::new();
    assert!(text.ends_with('\n'));
    for line in text.lines().filter(|l| !l.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name, kind).is_none(), "two types: {line}");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(
                helped.insert(rest.split(' ').next().unwrap()),
                "two helps: {line}"
            );
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let value: f64 = value
                .parse()
                .unwrap_or_else(|_| panic!("no number: {line}"));
            let of_histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|end| name.strip_suffix(end))
                .find(|base| types.get(base) == Some(&"histogram"));
            let family = of_histogram.unwrap_or(name);
            let kind = types
                .get(family)
                .unwrap_or_else(|| panic!("no type: {line}"));
            assert!(helped.contains(family), "no help: {line}");
            assert_eq!(name.ends_with("_total"), *kind == "counter", "{line}");
            for unit in ["microseconds", "_ms", "_us", "milliseconds", "kilobytes"] {
                assert!(!name.contains(unit), "not a base unit: {line}");
            }
            assert!(
                samples.insert(series.to_owned(), value).is_none(),
                "twice: {line}"
            );
        }
    }
    samples
}

#[test]
fn metrics_are_true_and_in_the_format() {
    let pg = shared_postgres();
    let odd = "od\"d\\na\nme";
    let (weir, http) = start(pg.port, "");
    let mut client = weir.client();
    for _ in 0..5 {
        client.query("select pg_sleep(0.02)");
    }
    client.query("select nonsense");
    pg.client()
        .query(&format!("create database \"{}\"", odd.replace('"', "\"\"")));
    weir.connect("postgres", odd).query("select 1");
    let mut held = weir.client();
    held.query("begin");
    until("all is counted", || {
        let (_, body) = http.get("/metrics");
        let queries = r#"pgweir_queries_total{database="postgres",user="postgres"}"#;
        samples(&body)[queries] == 7.0
    });
    let (status, head, body) = http.request("GET", "/metrics");
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    let samples = samples(&body);
    let of = |name: &str| samples[&format!(r#"{name}{{database="postgres",user="postgres"}}"#)];
    assert_eq!(of("pgweir_transactions_total"), 6.0);
    assert_eq!(of("pgweir_errors_total"), 1.0);
    assert_eq!(of("pgweir_logins_total"), 2.0);
    assert_eq!(of("pgweir_pool_size"), 20.0);
    assert_eq!(of("pgweir_pool_up"), 1.0);
    let of_host =
        |name: &str| samples[&format!(r#"{name}{{host="127.0.0.1",port="{}"}}"#, pg.port)];
    assert_eq!(of_host("pgweir_host_breaker_closed"), 1.0);
    assert_eq!(of_host("pgweir_host_breaker_opened_total"), 0.0);
    assert_eq!(of_host("pgweir_host_connecting"), 0.0);
    let seconds = of("pgweir_query_seconds_sum");
    assert!((0.1..5.0).contains(&seconds), "{seconds}");
    assert!(of("pgweir_transaction_seconds_sum") >= 0.1);
    assert!(of("pgweir_client_received_bytes_total") > 100.0);
    assert_eq!(samples[r#"pgweir_clients{state="active"}"#], 1.0);
    assert_eq!(samples[r#"pgweir_clients{state="idle"}"#], 1.0);
    assert_eq!(samples[r#"pgweir_servers{state="active"}"#], 1.0);
    assert_eq!(samples[r#"pgweir_refusals_total{reason="queue"}"#], 0.0);
    for name in ["pgweir_logins_total", "pgweir_query_seconds_count"] {
        let escaped = r#"{database="od\"d\\na\nme",user="postgres"}"#;
        assert!(
            samples.contains_key(&format!("{name}{escaped}")),
            "{name}\n{body}"
        );
    }
    promtool(&body);
}

/// Prometheus' own judge.
pub fn promtool(body: &str) {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed by scripts/test");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(body.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{body}");
}

#[test]
fn paths_and_methods() {
    let pg = shared_postgres();
    let (_weir, http) = start(pg.port, "");
    assert_eq!(http.get("/healthz"), (200, "ok\n".into()));
    assert_eq!(http.get("/startupz"), (200, "started\n".into()));
    assert_eq!(http.get("/readyz"), (200, "ready\n".into()));
    assert_eq!(
        http.get("/nothing").0,
        421,
        "only what is open is found under any name"
    );
    assert_eq!(http.get("/metrics/x").0, 421);
    assert_eq!(http.request("HEAD", "/metrics").0, 200);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (status, head, _) = http.request(method, "/metrics");
        assert_eq!(status, 405, "{method}");
        assert!(head.contains("allow: get, head"), "{head}");
    }
}

#[test]
fn a_peer_that_says_nothing_is_dropped() {
    let pg = shared_postgres();
    let (_weir, http) = start(pg.port, "");
    let mut silent = TcpStream::connect(("127.0.0.1", http.0)).unwrap();
    let mut slow = TcpStream::connect(("127.0.0.1", http.0)).unwrap();
    slow.write_all(b"GET /metrics HT").unwrap();
    let began = Instant::now();
    for stream in [&mut silent, &mut slow] {
        stream
            .set_read_timeout(Some(Duration::from_secs(12)))
            .unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("it is closed");
    }
    assert!(began.elapsed() < Duration::from_secs(30));
    // Garbage is answered with an error or an end, and others are still served.
    let mut garbage = TcpStream::connect(("127.0.0.1", http.0)).unwrap();
    garbage.write_all(&[0xff; 300]).unwrap();
    garbage
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut answer = Vec::new();
    let _ = garbage.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"));
    assert_eq!(http.get("/healthz").0, 200);
}

#[test]
fn readiness_follows_the_server() {
    let pg = Postgres::start();
    // Nobody listens there yet.
    let later = free_port();
    let (weir, http) = start(later, "server_login_retry = 0");
    until("begun", || http.get("/startupz").0 == 200);
    assert_eq!(http.get("/readyz").0, 200, "nothing is known yet");
    assert_eq!(refusal(weir.port, "postgres", "postgres").0, "08006");
    until("not ready", || http.get("/readyz").0 == 503);
    assert!(
        http.get("/readyz").1.contains("failing"),
        "{:?}",
        http.get("/readyz")
    );
    assert_eq!(http.get("/healthz").0, 200);
    // The server comes, and no client: a load balancer sends none to where it is not ready.
    weir.rewrite(
        pg.port,
        &format!("server_login_retry = 0\n{}", http.section()),
    );
    weir.reload("configuration reloaded");
    until("ready again", || http.get("/readyz").0 == 200);
    // A server that refuses one client's login is there for the others.
    assert_eq!(refusal(weir.port, "postgres", "nosuchdb").0, "3D000");
    assert_eq!(http.get("/readyz").0, 200);
    assert_eq!(weir.client().query("select 1").value(), "1");
}

#[test]
fn a_refused_login_alone_does_not_make_it_unready() {
    let pg = shared_postgres();
    let (weir, http) = start(pg.port, "");
    assert_eq!(refusal(weir.port, "postgres", "nosuchdb").0, "3D000");
    assert_eq!(http.get("/readyz"), (200, "ready\n".into()));
}

#[test]
fn not_ready_while_draining() {
    let pg = shared_postgres();
    let (mut weir, http) = start(pg.port, "");
    let mut client = weir.client();
    client.query("begin");
    weir.signal("-INT");
    until("not ready", || {
        http.get("/readyz") == (503, "shutting down\n".into())
    });
    assert_eq!(http.get("/healthz").0, 200);
    client.query("commit");
    assert!(weir.wait_exit().success());
}

/// More peers than there are descriptors for: the log is not filled with it, and it passes.
#[test]
fn without_descriptors_the_log_stays_small() {
    let pg = Postgres::start();
    let http = Http(free_port());
    let weir = Pgweir::start_after("ulimit -n 60", pg.port, &http.section(), &[]);
    let rush: Vec<TcpStream> = (0..60)
        .map(|_| TcpStream::connect(("127.0.0.1", http.0)).unwrap())
        .collect();
    let said = || {
        weir.log()
            .matches("HTTP: cannot accept a connection")
            .count()
    };
    until("it has noticed", || said() > 0);
    std::thread::sleep(Duration::from_secs(2));
    let said = said();
    assert!(said < 10, "{said} lines about it");
    drop(rush);
    assert_eq!(http.get("/healthz").0, 200);
}

/// Redis is not there, and is waited for: whoever asks meanwhile hears so, and clients are told to stay away.
#[test]
fn it_says_when_it_has_begun() {
    let pg = shared_postgres();
    let http = Http(free_port());
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let redis = silent.local_addr().unwrap();
    let general = format!(
        "{}\n[cache.shared]\nurl = 'redis://{redis}/'",
        http.section()
    );
    let weir = Pgweir::start(pg.port, &general);
    let mut first = (0, String::new());
    until("it answers", || {
        if TcpStream::connect(("127.0.0.1", http.0)).is_ok() {
            first = http.get("/startupz");
        }
        first.0 != 0
    });
    assert_eq!(first, (503, "starting\n".into()));
    assert_eq!(http.get("/readyz"), (503, "starting\n".into()));
    assert_eq!(http.get("/healthz"), (200, "ok\n".into()));
    until("it has begun", || http.get("/startupz").0 == 200);
    assert_eq!(http.get("/startupz").1, "started\n");
    assert_eq!(http.get("/readyz"), (200, "ready\n".into()));
    assert_eq!(weir.client().query("select 1").value(), "1");
}

#[test]
fn ready_without_servers_if_so_wanted() {
    let later = free_port();
    let (weir, http) = start(later, "server_login_retry = 0");
    assert_eq!(refusal(weir.port, "postgres", "postgres").0, "08006");
    until("not ready", || http.get("/readyz").0 == 503);
    let wanted = format!(
        "server_login_retry = 0\n{}\nready_without_servers = true",
        http.section()
    );
    weir.rewrite(later, &wanted);
    weir.reload("configuration reloaded");
    let (status, said) = http.get("/readyz");
    assert_eq!(status, 200);
    assert!(said.starts_with("ready, without servers: "), "{said}");
    assert!(said.contains("failing"), "{said}");
}

#[test]
fn the_program_itself_asks() {
    let pg = shared_postgres();
    let (mut weir, http) = start(pg.port, "");
    let health = |path: &str| {
        let url = format!("http://127.0.0.1:{}{path}", http.0);
        let output = Command::new(env!("CARGO_BIN_EXE_pgweir"))
            .args(["health", "--url", &url])
            .output()
            .unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        (output.status.code(), said)
    };
    assert_eq!(health("/readyz"), (Some(0), "ready".to_owned()));
    assert_eq!(health("/startupz"), (Some(0), "started".to_owned()));
    assert_eq!(health("/nothing").0, Some(1));
    let mut client = weir.client();
    client.query("begin");
    weir.signal("-INT");
    until("it is not ready", || health("/readyz").0 == Some(1));
    assert!(health("/readyz").1.ends_with("503: shutting down"));
    client.query("commit");
    weir.wait_exit();
    let (code, said) = health("/healthz");
    assert_eq!(code, Some(1));
    assert!(said.contains("refused"), "{said}");
}
