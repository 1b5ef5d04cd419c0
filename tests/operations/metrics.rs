//! What there is to scrape: everything that the documentation names, whatever clients do, and however
//! often it is asked for.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::http::{Http, promtool, samples, start};
use crate::support::certificates::Certificates;
use crate::support::login::psql;
use crate::support::operate::*;
use crate::support::*;

type Samples = BTreeMap<String, f64>;

/// Metrics that [`everything_is_there`] has no occasion for: replicas, feeds, Redis.
const ABSENT: [&str; 11] = [
    "pgweir_host_lag_seconds",
    "pgweir_cache_feed_up",
    "pgweir_cache_feed_lag_seconds",
    "pgweir_cache_feed_losses_total",
    "pgweir_cache_feed_events_total",
    "pgweir_cache_shared_up",
    "pgweir_cache_shared_lag_seconds",
    "pgweir_cache_shared_total",
    "pgweir_error_reports_dropped_total",
    "pgweir_traced_transactions_total",
    "pgweir_traced_transactions_dropped_total",
];

fn documented() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/observability.md");
    let text = fs::read_to_string(path).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = names.filter_map(|rest| rest.split('`').next());
    let metrics = names.filter(|name| name.starts_with("pgweir_") || name.starts_with("process_"));
    metrics.map(str::to_owned).collect()
}

fn config(http: &Http, certificates: &Certificates, pg_port: u16) -> String {
    let dir = certificates.0.display();
    format!(
        r#"
query_timeout = "1s"
max_prepared_statements = 2
server_login_retry = 0
{}
[client_tls]
sslmode = "prefer"
key_file = "{dir}/server.key"
cert_file = "{dir}/server.crt"
[pools.postgres]
host = "127.0.0.1"
port = {pg_port}
[pools.postgres.cache]
enabled = true
[pools.nowhere]
host = "127.0.0.1"
port = 1
"#,
        http.section()
    )
}

#[test]
fn everything_is_there() {
    let pg = Postgres::start();
    let scratch = Scratch::new("certs");
    let certificates = Certificates::new(&scratch.0);
    let http = Http(free_port());
    let weir = Pgweir::start(pg.port, &config(&http, &certificates, pg.port));
    let mut client = weir.client();
    client.query("create table t (n int primary key); insert into t values (1)");
    // Errors, a timeout, a pin.
    for _ in 0..3 {
        assert_eq!(
            client.query("insert into t values (1)").code().unwrap(),
            "23505"
        );
    }
    client.query("select nonsense");
    client.query("do $$ begin raise sqlstate 'ZZ123'; end $$");
    let late = client.query("select pg_sleep(10)");
    assert_eq!(late.code().unwrap(), "57014");
    let mut pinned = weir.client();
    pinned.query("select pg_advisory_lock(1)");
    // Time for pgweir to ask the server whether there is a lock.
    until("it is pinned", || {
        let pins = r#"pgweir_pins_total{database="postgres",user="postgres"}"#;
        samples(&http.get("/metrics").1)[pins] == 1.0
    });
    drop(pinned);
    // Prepared statements, of which a server connection has two.
    for name in ["a", "b", "c"] {
        let text = format!("select pg_backend_pid(), '{name}'::text");
        client.send(&[parse(name, &text), sync()].concat()).unwrap();
        assert_eq!(client.answer().code(), None);
    }
    for name in ["c", "a"] {
        client
            .send(&[bind(name), execute(), sync()].concat())
            .unwrap();
        assert_eq!(client.answer().code(), None);
    }
    // A cancel request of ours, and one of nobody's.
    let mut other = weir.client();
    other.send(&query("select pg_sleep(10)")).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    other.cancel();
    other.answer();
    other.key = Some((1, vec![0; 4]));
    other.cancel();
    // TLS, as libpq does it.
    let login = weir.conninfo("user=postgres sslmode=require");
    assert_eq!(psql(&login, "select 1").unwrap(), "1");
    let mut held = Command::new("psql")
        .args(["-Xqd", &login])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("it is there", || {
        let held = r#"pgweir_clients_by_tls{tls="TLSv1.3"}"#;
        samples(&http.get("/metrics").1)[held] == 1.0
    });
    // What clients make up.
    let odd = "\"\\\n{}='\u{1f980}\u{7f}";
    for n in 0..50 {
        let name = format!("{odd}{n}");
        let pairs = [
            ("user", "postgres"),
            ("database", "postgres"),
            ("application_name", &name),
        ];
        Wire::try_connect_with(weir.port, &pairs).unwrap();
        let pairs = [("user", name.as_str()), ("database", &name)];
        assert!(Wire::try_connect_with(weir.port, &pairs).is_err());
    }
    refusal(weir.port, "postgres", "nowhere");
    drop(Wire::raw(weir.port).unwrap());
    let mut garbage = Wire::raw(weir.port).unwrap();
    garbage.send(&[0, 0, 0, 9, 9, 9, 9, 9, 0]).unwrap();
    garbage.answer();
    // Reloads.
    weir.reload("configuration reloaded");
    let good = fs::read_to_string(weir.config_path()).unwrap();
    weir.rewrite_all(&format!("{good}\nnonsense = 1\n"));
    weir.reload("reload failed");

    // The last exposition may be from before.
    let mut body = String::new();
    until("the last of it is counted", || {
        body = http.get("/metrics").1;
        samples(&body)[r#"pgweir_reloads_total{result="failure"}"#] == 1.0
    });
    promtool(&body);
    let samples = samples(&body);
    let one = |name: &str, label: &str, value: &str| {
        let series = format!("{name}{{{label}=\"{value}\"}}");
        let found = samples.get(&series);
        *found.unwrap_or_else(|| panic!("no {series}"))
    };
    let errors = |class| one("pgweir_errors_by_class_total", "class", class);
    assert_eq!(errors("23"), 3.0);
    assert_eq!(errors("42"), 1.0);
    assert_eq!(errors("other"), 1.0);
    // Timed out, and cancelled.
    assert_eq!(errors("57"), 2.0);
    assert_eq!(one("pgweir_timeouts_by_kind_total", "kind", "query"), 1.0);
    assert_eq!(
        one("pgweir_pins_by_reason_total", "reason", "advisory_lock"),
        1.0
    );
    assert_eq!(one("pgweir_cancel_requests_total", "target", "client"), 1.0);
    assert_eq!(
        one("pgweir_cancel_requests_total", "target", "unknown"),
        1.0
    );
    let logins = |result| one("pgweir_login_attempts_total", "result", result);
    assert_eq!(logins("not_allowed"), 50.0);
    assert_eq!(logins("server"), 1.0);
    assert_eq!(logins("protocol"), 1.0);
    assert!(logins("gone") >= 1.0 && logins("success") >= 53.0);
    assert_eq!(one("pgweir_reloads_total", "result", "success"), 1.0);
    assert_eq!(one("pgweir_reloads_total", "result", "failure"), 1.0);
    let connects = |port: u16, result: &str| {
        let of = format!(r#"host="127.0.0.1",port="{port}",result="{result}""#);
        samples[&format!("pgweir_server_logins_total{{{of}}}")]
    };
    assert!(connects(pg.port, "success") >= 1.0);
    assert_eq!(connects(pg.port, "network"), 0.0);
    assert!(connects(1, "network") >= 1.0);
    assert!(one("pgweir_client_disconnects_total", "reason", "lost") >= 50.0);
    assert_eq!(one("pgweir_servers_by_tls", "tls", "TLSv1.3"), 0.0);
    let of_pool = |name: &str| {
        let series = format!(r#"{name}{{database="postgres",user="postgres"}}"#);
        *samples
            .get(&series)
            .unwrap_or_else(|| panic!("no {series}"))
    };
    assert!(
        of_pool("pgweir_prepared_statement_misses_total") == 4.0,
        "{body}"
    );
    assert!(
        of_pool("pgweir_prepared_statement_hits_total") == 1.0,
        "{body}"
    );
    assert!(
        of_pool("pgweir_prepared_statement_evictions_total") == 2.0,
        "{body}"
    );
    assert!(of_pool("pgweir_server_received_bytes_total") > 500.0);
    assert!(of_pool("pgweir_server_sent_bytes_total") > 500.0);
    times(&samples);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let days = (samples["pgweir_certificate_not_after_timestamp_seconds"] - now) / 86400.0;
    assert!((0.0..400.0).contains(&days), "{days}");
    let reloaded = samples["pgweir_config_last_reload_success_timestamp_seconds"];
    assert!((0.0..600.0).contains(&(now - reloaded)), "{reloaded}");
    process(&samples, weir.child.id(), now);
    // All that is documented, and nothing that clients have made up.
    for name in documented() {
        let there = body.contains(&format!("\n# TYPE {name} "));
        assert_eq!(there, !ABSENT.contains(&name.as_str()), "{name}");
    }
    assert!(!body.contains('\u{1f980}'), "{body}");
    assert!(body.lines().count() < 1000, "{}", body.lines().count());
    held.kill().unwrap();
    held.wait().unwrap();
}

/// What took a second took that long in PostgreSQL, and nobody had to wait.
fn times(samples: &Samples) {
    let bucket = |name: &str, le: &str| {
        let of = format!(r#"database="postgres",user="postgres",le="{le}""#);
        samples[&format!("{name}_bucket{{{of}}}")]
    };
    let of = |name: &str| samples[&format!(r#"{name}{{database="postgres",user="postgres"}}"#)];
    for name in [
        "pgweir_query_seconds",
        "pgweir_server_seconds",
        "pgweir_transaction_seconds",
    ] {
        assert!(bucket(name, "60") - bucket(name, "0.25") >= 1.0, "{name}");
        assert!(bucket(name, "0.25") > 5.0, "{name}");
        assert_eq!(bucket(name, "+Inf"), of(&format!("{name}_count")), "{name}");
        let sum = of(&format!("{name}_sum"));
        assert!((1.0..30.0).contains(&sum), "{name} {sum}");
    }
    let (query, server) = (
        of("pgweir_query_seconds_sum"),
        of("pgweir_server_seconds_sum"),
    );
    assert!(server <= query, "{server} of {query}");
    let waited = of("pgweir_client_wait_seconds_count");
    assert_eq!(waited, of("pgweir_server_assignments_total"));
    let busy = |n: u32| samples[&format!(r#"pgweir_worker_busy_seconds_total{{worker="{n}"}}"#)];
    assert!(busy(0) + busy(1) > 0.0);
}

/// What the system says of the process.
fn process(samples: &Samples, pid: u32, now: f64) {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as f64;
    assert!((open - samples["process_open_fds"]).abs() < 40.0, "{open}");
    assert!(samples["process_max_fds"] >= samples["process_open_fds"]);
    assert!(samples["process_resident_memory_bytes"] > 1e6);
    assert!(samples["process_virtual_memory_bytes"] > samples["process_resident_memory_bytes"]);
    assert!(samples["process_threads"] >= 4.0);
    assert!(samples["process_cpu_seconds_total"] > 0.0);
    let age = now - samples["process_start_time_seconds"];
    assert!((-2.0..600.0).contains(&age), "{age}");
}

/// A pause inside a block is the transaction's time, not the query's; a client that takes its time with
/// its request is not PostgreSQL.
#[test]
fn whose_time_it_is() {
    let pg = shared_postgres();
    let (weir, http) = start(pg.port, "default_pool_size = 1");
    let pause = Duration::from_millis(150);
    let mut client = weir.client();
    client.query("begin");
    std::thread::sleep(pause);
    // The rest of an extended query comes late.
    client
        .send(&[parse("", "select 1"), bind("")].concat())
        .unwrap();
    std::thread::sleep(pause);
    client.send(&[execute(), sync()].concat()).unwrap();
    assert_eq!(client.answer().code(), None);
    client.query("commit");
    // Another one waits meanwhile.
    let mut other = weir.client();
    client.send(&query("select pg_sleep(0.5)")).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    other.query("select 1");
    client.answer();
    let of = |name: &str| {
        let (_, body) = http.get("/metrics");
        samples(&body)[&format!(r#"{name}_sum{{database="postgres",user="postgres"}}"#)]
    };
    until("all is counted", || of("pgweir_client_wait_seconds") > 0.05);
    let (transaction, query) = (of("pgweir_transaction_seconds"), of("pgweir_query_seconds"));
    let (server, wait) = (
        of("pgweir_server_seconds"),
        of("pgweir_client_wait_seconds"),
    );
    assert!(transaction - query > 0.14, "{transaction} {query}");
    assert!(query - server > 0.14, "{query} {server}");
    assert!(server > 0.14, "{server}");
    assert!(wait < transaction, "{wait}");
}

/// COPY data is a part of the request, and pipelined requests each have their own time.
#[test]
fn the_server_s_time_of_a_copy() {
    let pg = shared_postgres();
    let (weir, http) = start(pg.port, "");
    let mut client = weir.client();
    client.query("create temp table c (t text)");
    client.send(&query("copy c from stdin")).unwrap();
    assert_eq!(client.read_message().unwrap().tag, b'G');
    std::thread::sleep(Duration::from_millis(200));
    let data = [message(b'd', b"x\n"), message(b'c', b"")].concat();
    client.send(&data).unwrap();
    assert_eq!(client.answer().code(), None);
    let of = |name: &str| {
        let (_, body) = http.get("/metrics");
        samples(&body)[&format!(r#"{name}{{database="postgres",user="postgres"}}"#)]
    };
    until("it is counted", || of("pgweir_query_seconds_sum") > 0.2);
    let server = of("pgweir_server_seconds_sum");
    assert!(server < 0.19, "{server}");
}

#[test]
fn histograms_of_many_pools_are_one() {
    let pg = shared_postgres();
    // Each server connection serves once: the server has no room for so many.
    let (weir, http) = start(pg.port, "server_lifetime = 0");
    let users = 105;
    let mut admin = pg.client();
    for n in 0..users {
        admin.query(&format!("create role \"many{n}\" superuser login"));
    }
    let config = fs::read_to_string(weir.config_path()).unwrap();
    let more = (0..users).map(|n| format!("[users.many{n}]\npassword = 'x'\n"));
    weir.rewrite_all(&(config + &more.collect::<String>()));
    weir.reload("configuration reloaded");
    let clients = (0..users).map(|n| {
        let mut client = weir.connect(&format!("many{n}"), "postgres");
        assert_eq!(client.query("select 1").value(), "1");
        client
    });
    // A pool that nobody uses is forgotten.
    let clients: Vec<_> = clients.collect();
    let mut body = String::new();
    until("all is counted", || {
        body = http.get("/metrics").1;
        let counts = |(series, n): (String, f64)| {
            series
                .starts_with("pgweir_query_seconds_count")
                .then_some(n)
        };
        let counted: f64 = samples(&body).into_iter().filter_map(counts).sum();
        counted == f64::from(users)
    });
    let series = |body: &str| {
        let names = samples(body).into_keys();
        let counts = |name: &String| name.starts_with("pgweir_query_seconds_count");
        names.filter(counts).count()
    };
    assert_eq!(series(&body), 101);
    let others = r#"pgweir_query_seconds_count{database="",user=""}"#;
    assert_eq!(samples(&body)[others], f64::from(users - 100));
    promtool(&body);
    drop(clients);
    for n in 0..users {
        pg.client().query(&format!("drop role \"many{n}\""));
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let scratch = Scratch::new("taken");
    let path = scratch.0.join("pgweir.toml");
    let http = format!("[http]\nlisten = '{address}'");
    fs::write(&path, configuration(free_port(), 1, &http)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgweir"));
    let output = command.arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    let wanted = format!("http.listen: cannot listen on {address}");
    assert!(said.contains(&wanted), "{said}");
}

/// More connections than are served at once, each asking again and again: everybody is answered in the
/// end, and clients do not notice.
#[test]
fn a_storm_of_scrapes_disturbs_nobody() {
    const SCRAPERS: usize = 80;
    let pg = shared_postgres();
    let (weir, http) = start(pg.port, "");
    let mut client = weir.client();
    let mut median = || {
        let times = (0..100).map(|_| {
            let began = Instant::now();
            assert_eq!(client.query("select 1").value(), "1");
            began.elapsed()
        });
        let mut times: Vec<_> = times.collect();
        times.sort();
        times[50]
    };
    let before = median();
    let (over, scrapes) = (AtomicBool::new(false), AtomicU64::new(0));
    let during = std::thread::scope(|scope| {
        for _ in 0..SCRAPERS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(http.get("/metrics").0, 200);
                    scrapes.fetch_add(1, Ordering::Relaxed);
                    // About a thousand a second in all, if the machine can.
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
        }
        until("they have begun", || scrapes.load(Ordering::Relaxed) > 200);
        let during = median();
        over.store(true, Ordering::Relaxed);
        during
    });
    // The scrapers take processors themselves, and machines of tests have few.
    assert!(
        during < before * 20 + Duration::from_millis(50),
        "{before:?} {during:?}"
    );
    assert_eq!(http.get("/healthz").0, 200);
}
