//! What is told to others: errors to Sentry, traces to OpenTelemetry; and others that are away.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http;
use crate::support::certificates::Certificates;
use crate::support::crowd::Crowd;
use crate::support::login::wait_until;
use crate::support::{Pgweir, Postgres, Scratch, bind, execute, free_port, parse, sync};

const WAIT: Duration = Duration::from_secs(30);

/// Takes requests and says yes; gives head and body of each.
fn sentry() -> (u16, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if let Some(n) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = n.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
                head += &line;
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            let _ = sender.send((head, String::from_utf8(body).unwrap()));
        }
    });
    (port, requests)
}

#[test]
fn errors_reach_sentry() {
    let pg = Postgres::start();
    let (port, requests) = sentry();
    let dsn = format!(
        "[sentry]\ndsn = \"http://very-public-key@127.0.0.1:{port}/42\"\nenvironment = \"test\""
    );
    let weir = Pgweir::start(pg.port, &dsn);
    let mut client = weir.client();
    client.query("select 'not told'");
    weir.rewrite(pg.port, &format!("no_such_key = 1\n{dsn}"));
    weir.reload("reload failed");
    let (head, body) = requests.recv_timeout(WAIT).unwrap();
    assert!(
        head.starts_with("POST /api/42/envelope/ HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("sentry_key=very-public-key"), "{head}");
    // Header, header of the item, item: an object a line.
    let lines: Vec<Value> = body
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[1]["type"], "event", "{body}");
    let event = &lines[2];
    // It is an error unless it says something else.
    assert!(event["level"].is_null(), "{event}");
    assert_eq!(event["environment"], "test");
    assert_eq!(event["logger"], "pgweir::configuration");
    let message = event["message"].as_str().unwrap();
    assert_eq!(message, "a start or a reload failed: the log says why");
    // What is wrong with it may quote it.
    assert!(!body.contains("no_such_key"));
    assert!(!body.contains("not told"));
    let shown = weir.console().query("SHOW CONFIG").rows();
    let dsn = shown.iter().find(|row| row[0] == "sentry_dsn").unwrap();
    assert_eq!(dsn[1], "http://127.0.0.1/42");
    assert!(!weir.log().contains("very-public-key"));
}

/// OpenTelemetry's own package reads what is sent.
struct Collector {
    port: u16,
    child: Child,
    spans: Receiver<Value>,
}

impl Collector {
    fn start() -> Collector {
        Collector::start_with(&[])
    }

    /// `tls`: a certificate's file and its key's, or nothing.
    fn start_with(tls: &[String]) -> Collector {
        let cache = std::env::var("PGWEIR_CACHE_DIR").unwrap_or("/var/cache/pgweir".to_owned());
        let named = std::env::var("PGWEIR_OTLP_PYTHON").map(PathBuf::from);
        let python = named.unwrap_or_else(|_| Path::new(&cache).join("python-otlp/bin/python"));
        let program = "tests/operations/otlp_receiver.py";
        let mut child = Command::new(&python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(program))
            .args(tls)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}: run scripts/test", python.display()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap().parse().unwrap();
        let (sender, spans) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Collector { port, child, spans }
    }

    /// All spans of a transaction that has so many.
    fn take(&self, count: usize) -> Vec<Value> {
        (0..count)
            .map(|_| self.spans.recv_timeout(WAIT).unwrap())
            .collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn spans_of_transactions_reach_a_collector() {
    const PARENT: &str = "00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-0";
    let pg = Postgres::start();
    let collector = Collector::start();
    let lines = format!(
        "default_pool_size = 1\n[traces]\nendpoint = \"http://127.0.0.1:{}\"\nsample = 0\n\
         headers = \"x-key=k1\"\nservice_name = \"the pooler\"\n\
         [pools.cached]\nhost = \"127.0.0.1\"\nport = {}\ndbname = \"postgres\"\n\
         [pools.cached.cache]\nenabled = true\n",
        collector.port, pg.port
    );
    let (mut weir, http) = http::start(pg.port, &lines);
    let mut client = weir.client();
    // Not by chance, and not if the application's is not recorded.
    client.query("select 1");
    client.query(&format!("select 2 /*traceparent='{PARENT}0'*/"));
    client.query(&format!("/*traceparent='{PARENT}1'*/ begin"));
    client.query("select pg_sleep(0.1)");
    let mut other = weir.client();
    let asks = std::thread::spawn(move || {
        let text = format!("select 3 /*action='x',traceparent='{PARENT}1'*/");
        let all = [parse("", &text), bind(""), execute(), sync()].concat();
        other.send(&all).unwrap();
        assert_eq!(other.answer().code(), None);
    });
    std::thread::sleep(Duration::from_millis(300));
    client.query("commit");
    asks.join().unwrap();

    // One that did not wait, and one that did.
    let spans = collector.take(5);
    let names: Vec<&str> = spans.iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["transaction", "server", "transaction", "wait", "server"]
    );
    for span in &spans {
        assert_eq!(span["key"], "k1");
        assert_eq!(span["service"], "the pooler");
        assert_eq!(span["trace"], PARENT[3..35]);
    }
    let (first, second) = (&spans[0], &spans[2]);
    for root in [first, second] {
        assert_eq!(root["parent"], PARENT[36..52]);
        assert_eq!(root["kind"], "SPAN_KIND_SERVER");
        assert_eq!(root["attributes"]["db.system.name"], "postgresql");
        assert_eq!(root["attributes"]["db.namespace"], "postgres");
    }
    for (part, root) in [(1, first), (3, second), (4, second)] {
        assert_eq!(spans[part]["parent"], root["span"]);
    }
    let micros = |n: usize| spans[n]["micros"].as_u64().unwrap();
    assert!(micros(0) >= 350_000 && micros(3) >= 150_000, "{spans:#?}");
    assert!(
        micros(2).abs_diff(micros(3) + micros(4)) < 1000,
        "{spans:#?}"
    );
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let start = first["start"].as_u64().unwrap();
    assert!(now - 60_000_000 < start && start < now, "{start}");

    // From the cache.
    let mut cached = weir.connect("postgres", "cached");
    cached.query("create table t (a int)");
    let text = format!("select a from t /*traceparent='{PARENT}1'*/");
    let hit = || {
        let spans = collector.take(2);
        assert_eq!(spans[0]["attributes"]["db.namespace"], "cached");
        spans[1]["name"] == "cache"
    };
    wait_until("a hit", || {
        cached.query(&text);
        hit()
    });
    let of = |name: &str| http::samples(&http.get("/metrics").1)[name];
    wait_until("they are counted", || {
        of("pgweir_traced_transactions_total") >= 4.0
    });
    assert_eq!(of("pgweir_traced_transactions_dropped_total"), 0.0);
    // What is queued is sent before the end.
    client.query(&format!("select 4 /*traceparent='{PARENT}1'*/"));
    weir.signal("-INT");
    drop((client, cached));
    assert!(weir.wait_exit().success());
    assert_eq!(collector.take(2)[1]["name"], "server");
}

/// Each has its own, though the server connection stays.
#[test]
fn transactions_on_a_kept_connection_have_their_own_traces() {
    let parent = |n: u8| format!("00-{:032x}-{n:016x}-01", 0x5bd6_6ef5 + u64::from(n));
    let pg = Postgres::start();
    let collector = Collector::start();
    let lines = format!(
        "pool_mode = \"session\"\n[traces]\nendpoint = \"http://127.0.0.1:{}\"\nsample = 0\n",
        collector.port
    );
    let weir = Pgweir::start(pg.port, &lines);
    let mut client = weir.client();
    for n in [1, 2] {
        client.query(&format!("select 1 /*traceparent='{}'*/", parent(n)));
        client.query("select 'of no trace'");
    }
    client.query(&format!("begin /*traceparent='{}'*/", parent(3)));
    client.query("select 'of the third'");
    client.query("commit");
    // The first has waited for the connection.
    let mut spans = vec![];
    while spans.len() < 3 {
        spans.extend(
            collector
                .take(1)
                .into_iter()
                .filter(|s| s["name"] == "transaction"),
        );
    }
    for (n, span) in (1..).zip(&spans) {
        assert_eq!(span["trace"], parent(n)[3..35]);
        assert_eq!(span["parent"], parent(n)[36..52]);
    }
}

/// What its client did not end itself has an error for a status, with the reason.
#[test]
fn transactions_that_are_cut_off_have_spans_that_say_so() {
    let pg = Postgres::start();
    let collector = Collector::start();
    let lines = format!(
        "default_pool_size = 1\nquery_timeout = \"500ms\"\nidle_transaction_timeout = \"500ms\"\n\
         [traces]\nendpoint = \"http://127.0.0.1:{}\"\nsample = 1\n",
        collector.port
    );
    let weir = Pgweir::start(pg.port, &lines);
    let mut client = weir.client();
    let next = || loop {
        let span = collector.take(1).remove(0);
        if span["name"] == "transaction" {
            let text = |name: &str| span[name].as_str().unwrap().to_owned();
            break (text("status"), text("failure"));
        }
    };
    let failed = |why: &str| ("STATUS_CODE_ERROR".to_owned(), why.to_owned());
    let fine = ("STATUS_CODE_UNSET".to_owned(), String::new());
    client.query("select 1");
    assert_eq!(next(), fine);
    assert_eq!(client.query("select pg_sleep(5)").code().unwrap(), "57014");
    assert_eq!(next(), failed("query_timeout"));
    // A mistake of the client's is its own.
    client.query("select 1/0");
    assert_eq!(next(), fine);
    client.query("begin");
    assert_eq!(next(), failed("idle_transaction_timeout"));
    assert!(client.query("select 2").code().is_some());
    client.query("rollback");
    client.query("begin");
    client.query("select pg_terminate_backend(pg_backend_pid())");
    assert_eq!(next(), failed("server connection lost"));
    client.query("rollback");
    client.query("begin; select 3");
    drop(client);
    assert_eq!(next(), failed("lost"));
    // The next one on the same connection is its own.
    weir.client().query("select 4");
    assert_eq!(next(), fine);
}

/// Those whom the system trusts get spans over TLS, and others do not.
#[test]
fn spans_are_sent_over_tls_to_whom_the_system_trusts() {
    let pg = Postgres::start();
    let scratch = Scratch::new("otlp");
    let certificates = Certificates::new(&scratch.0);
    let tls = ["server.crt", "server.key"].map(|name| certificates.file(name));
    let collector = Collector::start_with(&tls);
    let lines = format!(
        "[traces]\nendpoint = \"https://localhost:{}\"\nsample = 1\n",
        collector.port
    );
    let trusting = |authority: &str| {
        let file = certificates.file(authority);
        let weir = Pgweir::start_with(pg.port, &lines, &[("SSL_CERT_FILE", &file)]);
        weir.client().query("select 1");
        weir
    };
    let stranger = trusting("other.crt");
    wait_until("it is told", || {
        stranger.log().contains("spans cannot be exported")
    });
    let log = stranger.log();
    assert!(log.contains("InvalidCertificate"), "{log}");
    assert!(collector.spans.try_recv().is_err());
    let _weir = trusting("ca.crt");
    assert_eq!(collector.take(1)[0]["name"], "transaction");
}

/// One refuses connections, the other takes them and never answers.
#[test]
fn receivers_that_are_away_do_no_harm() {
    let pg = Postgres::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let lines = format!(
        "default_pool_size = 4\nshutdown_timeout = 1\n\
         [sentry]\ndsn = \"http://key@127.0.0.1:{}/1\"\n\
         [traces]\nendpoint = \"http://{}\"\nsample = 1\n",
        free_port(),
        silent.local_addr().unwrap()
    );
    let (mut weir, http) = http::start(pg.port, &lines);
    let crowd = Crowd::gather(weir.port, 8);
    weir.rewrite(pg.port, &format!("no_such_key = 1\n{lines}"));
    weir.reload("reload failed");
    wait_until("it is told", || {
        crowd.all_are_served();
        let log = weir.log();
        log.contains("could not be reported to Sentry") && log.contains("spans cannot be exported")
    });
    let of = |name: &str| http::samples(&http.get("/metrics").1)[name];
    wait_until("what is lost is counted", || {
        crowd.all_are_served();
        of("pgweir_traced_transactions_dropped_total") > 0.0
            && of("pgweir_error_reports_dropped_total") > 0.0
    });
    assert_eq!(of("pgweir_traced_transactions_total"), 0.0);
    crowd.leave().only(&[]);
    weir.signal("-TERM");
    let began = Instant::now();
    assert!(weir.wait_exit().success());
    assert!(began.elapsed() < Duration::from_secs(15));
}
