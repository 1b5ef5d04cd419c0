//! Grafana's dashboards: what each panel asks is asked of a Prometheus that has scraped a pgweir under load.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::Http;
use crate::support::certificates::Certificates;
use crate::support::operate::*;
use crate::support::redis::Redis;
use crate::support::*;

const DASHBOARDS: [&str; 5] = ["overview", "pools", "cache", "errors", "capacity"];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn file(name: &str) -> PathBuf {
    repository("deploy/grafana/dashboards").join(format!("{name}.json"))
}

fn dashboard(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(file(name)).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.unwrap_or_else(|| panic!("no list {pointer} in {value}"))
}

fn string<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text {pointer} in {value}"))
}

fn number(value: &Value, pointer: &str) -> u64 {
    let found = value.pointer(pointer).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("no number {pointer} in {value}"))
}

/// With a title each, what all panels ask; and the variables' queries.
fn queries() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        for panel in list(&dashboard, "/panels") {
            let title = format!("{name}: {}", string(panel, "/title"));
            let targets = list(panel, "/targets").iter();
            all.extend(targets.map(|t| (title.clone(), string(t, "/expr").to_owned())));
        }
    }
    all
}

/// Grafana's own package says what a dashboard is.
#[test]
fn they_are_what_grafana_says_that_dashboards_are() {
    let cache = std::env::var("PGWEIR_CACHE_DIR");
    let cache = cache.unwrap_or_else(|_| "/var/cache/pgweir".to_owned());
    let python = std::env::var("PGWEIR_GRAFANA_PYTHON").map(PathBuf::from);
    let python = python.unwrap_or(Path::new(&cache).join("python-grafana/bin/python"));
    let judge = repository("tests/operations/dashboards_schema.py");
    let run = |files: &[PathBuf]| {
        let mut command = Command::new(&python);
        let output = command.arg(&judge).args(files).output();
        output.expect("scripts/test installs Grafana's package")
    };
    let output = run(&DASHBOARDS.map(file));
    assert!(output.status.success(), "{}", text(&output.stderr));
    // It is a judge.
    let scratch = Scratch::new("dashboards");
    let wrong = scratch.0.join("wrong.json");
    let right = fs::read_to_string(file("pools")).unwrap();
    for (before, after) in [
        ("\"drawStyle\": \"line\"", "\"drawStyle\": \"lime\""),
        ("\"showLegend\": true", "\"showLegend\": \"yes\""),
        ("\"legendFormat\"", "\"legend\""),
        ("\"w\": 12", "\"w\": \"12\""),
        ("\"schemaVersion\"", "\"schema\""),
    ] {
        assert!(right.contains(before), "{before}");
        fs::write(&wrong, right.replace(before, after)).unwrap();
        let output = run(std::slice::from_ref(&wrong));
        assert!(!output.status.success(), "{after} passed");
    }
}

#[test]
fn they_are_what_their_program_writes() {
    let scratch = Scratch::new("dashboards-made");
    let mut command = Command::new("python3");
    let command = command.arg(repository("deploy/grafana/make.py"));
    let output = command.arg(&scratch.0).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for name in DASHBOARDS {
        let made = fs::read_to_string(scratch.0.join(format!("{name}.json"))).unwrap();
        let there = fs::read_to_string(file(name)).unwrap();
        assert!(made == there, "{name}.json: run deploy/grafana/make.py");
    }
    let files = fs::read_dir(repository("deploy/grafana/dashboards")).unwrap();
    assert_eq!(files.count(), DASHBOARDS.len());
}

#[test]
fn panels_have_their_places_and_say_what_they_are() {
    let runbook = fs::read_to_string(repository("docs/runbook.md")).unwrap();
    let runbook = runbook.to_lowercase();
    let mut identities = BTreeSet::new();
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        assert!(identities.insert(string(&dashboard, "/uid").to_owned()));
        assert!(dashboard.get("id").is_none(), "{name}");
        let variables = list(&dashboard, "/templating/list").iter();
        let variables: Vec<_> = variables.map(|v| string(v, "/name")).collect();
        assert_eq!(variables, ["datasource", "instance", "database", "user"]);
        let mut taken = BTreeSet::new();
        for panel in list(&dashboard, "/panels") {
            let (title, said) = (string(panel, "/title"), string(panel, "/description"));
            assert!(!said.is_empty(), "{title}");
            if let Some((_, alert)) = said.split_once("docs/runbook.md#") {
                assert!(runbook.contains(&format!("\n## {alert}\n")), "{alert}");
            }
            assert_eq!(string(panel, "/datasource/uid"), "${datasource}");
            let of = |side| number(panel, &format!("/gridPos/{side}"));
            for x in of("x")..of("x") + of("w") {
                assert!(x < 24, "{name}: {title} is too wide");
                for y in of("y")..of("y") + of("h") {
                    assert!(taken.insert((x, y)), "{name}: {title} is upon another");
                }
            }
            for target in list(panel, "/targets") {
                let (expr, source) = (string(target, "/expr"), string(target, "/datasource/uid"));
                assert_eq!(source, "${datasource}", "{title}");
                assert!(expr.contains("instance=~\"$instance\""), "{title}: {expr}");
            }
        }
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Prometheus {
    http: Http,
    _child: Running,
    _scratch: Scratch,
}

impl Prometheus {
    /// Scrapes that port each second.
    fn start(port: u16) -> Prometheus {
        let (scratch, http) = (Scratch::new("prometheus"), Http(free_port()));
        let config = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: pgweir\n  \
             static_configs: [{{ targets: ['127.0.0.1:{port}'] }}]\n"
        );
        fs::write(scratch.0.join("prometheus.yml"), config).unwrap();
        let log = fs::File::create(scratch.0.join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{}", http.0))
            .current_dir(&scratch.0)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus is installed by scripts/test");
        let child = Running(child);
        until("Prometheus listens", || {
            std::net::TcpStream::connect(("127.0.0.1", http.0)).is_ok()
        });
        Prometheus {
            http,
            _child: child,
            _scratch: scratch,
        }
    }

    fn ask(&self, path: &str, name: &str, value: &str) -> Value {
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (_, body) = self.http.get(&format!("{path}?{name}={encoded}"));
        // The answer may come in chunks: their lengths are on lines of their own.
        let (from, to) = (body.find('{').unwrap(), body.rfind('}').unwrap());
        let json: String = body[from..=to].split("\r\n").step_by(2).collect();
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// The values that a query has now.
    fn query(&self, expr: &str) -> Result<Vec<f64>, String> {
        let answer = self.ask("/api/v1/query", "query", expr);
        if string(&answer, "/status") != "success" {
            return Err(string(&answer, "/error").to_owned());
        }
        let results = list(&answer, "/data/result").iter();
        let values = results.map(|r| string(r, "/value/1").parse().unwrap());
        Ok(values.collect())
    }
}

/// Ends the load, also when the test fails.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// All that the panels show, for as long as nobody says that it is over.
fn load(weir: &Pgweir, over: &AtomicBool) {
    let going = || !over.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        // Answers from memory, writes that make them outdated, errors, prepared statements.
        scope.spawn(|| {
            let mut client = weir.client();
            client
                .send(&[parse("p", "select pg_backend_pid()"), sync()].concat())
                .unwrap();
            client.answer();
            while going() {
                for _ in 0..5 {
                    client.query("select n from t where n = 1");
                }
                client.query("insert into t values (1)");
                client.query("update t set n = n where n = 1");
                client
                    .send(&[bind("p"), execute(), sync()].concat())
                    .unwrap();
                client.answer();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // More than there are server connections; some take too long.
        for sleep in ["0.05", "0.1", "0.2", "10"] {
            scope.spawn(move || {
                let mut client = weir.client();
                while going() {
                    client.query(&format!("select pg_sleep({sleep})"));
                }
            });
        }
        // Who comes and goes, and who is not let in.
        scope.spawn(|| {
            while going() {
                weir.client().query("select 1");
                weir.connect("postgres", "replicated").query("select 1");
                assert!(Wire::try_connect(weir.port, "nobody", "postgres").is_err());
                std::thread::sleep(Duration::from_millis(50));
            }
        });
    });
}

#[test]
fn every_panel_has_something_to_show() {
    let pg = Postgres::start();
    let mut admin = pg.client();
    let install = Command::new(env!("CARGO_BIN_EXE_pgweir"))
        .args([
            "cache",
            "install-triggers",
            "--schema",
            "public",
            "--table",
            "t",
        ])
        .output()
        .unwrap();
    for sql in [
        "create table t (n int primary key); insert into t values (1)",
        &text(&install.stdout),
    ] {
        let answer = admin.query(sql);
        assert_eq!(answer.code(), None, "{answer:?}");
    }
    let standby = pg.standby();
    let scratch = Scratch::new("dashboards-certs");
    let certificates = Certificates::new(&scratch.0);
    let (http, redis) = (Http(free_port()), Redis::start());
    let general = format!(
        "query_timeout = '1s'\ndefault_pool_size = 3\n{}\n[client_tls]\nsslmode = 'prefer'\n\
         key_file = '{dir}/server.key'\ncert_file = '{dir}/server.crt'\n\
         [cache.shared]\nurl = 'redis://127.0.0.1:{}'\n\
         [sentry]\ndsn = 'http://key@127.0.0.1:1/1'\n[traces]\nendpoint = 'http://127.0.0.1:1'\nsample = 0.1\n\
         [pools.postgres]\nhost = '127.0.0.1'\nport = {}\n[pools.postgres.cache]\nenabled = true\n\
         invalidation = 'notify'\nfeed_user = 'postgres'\n[pools.replicated]\ndbname = 'postgres'\nreads = 'auto'\n\
         probe_interval = '200ms'\nhosts = [{{ host = '127.0.0.1', port = {} }}, {{ host = '127.0.0.1', port = {} }}]\n",
        http.section(),
        redis.port,
        pg.port,
        pg.port,
        standby.port,
        dir = certificates.0.display(),
    );
    let weir = Pgweir::start(pg.port, &general);
    let prometheus = Prometheus::start(http.0);
    let over = AtomicBool::new(false);
    let mut missing = Vec::new();
    std::thread::scope(|scope| {
        let _until = Until(&over);
        scope.spawn(|| load(&weir, &over));
        // What is found is not asked for again; what is not there at first may come with the next scrapes.
        missing = queries();
        assert!(missing.len() > 80, "{}", missing.len());
        let deadline = Instant::now() + Duration::from_secs(40);
        while !missing.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_secs(1));
            missing.retain(|(title, expr)| {
                let asked = expr.replace("$__rate_interval", "10s");
                let asked = ["$instance", "$database", "$user"]
                    .iter()
                    .fold(asked, |text, variable| text.replace(variable, ".*"));
                assert!(!asked.contains('$'), "{title}: {expr}");
                let values = prometheus.query(&asked);
                let values = values.unwrap_or_else(|error| panic!("{title}: {asked}: {error}"));
                // 0/0 is nothing to show.
                !values.iter().any(|value| value.is_finite())
            });
        }
        // What the variables offer.
        for (label, metric) in [
            ("instance", "pgweir_build_info"),
            ("database", "pgweir_pool_size"),
            ("user", "pgweir_pool_size"),
        ] {
            let path = format!("/api/v1/label/{label}/values");
            let answer = prometheus.ask(&path, "match[]", metric);
            assert!(!list(&answer, "/data").is_empty(), "{label}");
        }
    });
    assert!(missing.is_empty(), "nothing to show: {missing:#?}");
}
