//! The page's API: who may see it, who may act, what a browser can be tricked into, and what one that
//! hangs can do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::operate::*;
use crate::support::*;

/// A browser, or what pretends to be one.
struct Browser {
    port: u16,
    host: String,
    /// More headers, each with its end of line.
    more: String,
}

impl Browser {
    fn at(port: u16) -> Browser {
        Browser {
            port,
            host: format!("127.0.0.1:{port}"),
            more: String::new(),
        }
    }

    fn host(&self, host: &str) -> Browser {
        let host = host.to_owned();
        let (port, more) = (self.port, self.more.clone());
        Browser { port, host, more }
    }

    fn with(&self, header: &str) -> Browser {
        let more = format!("{}{header}\r\n", self.more);
        let (port, host) = (self.port, self.host.clone());
        Browser { port, host, more }
    }

    /// As our own page asks.
    fn own(&self) -> Browser {
        self.with("X-Pgweir: 1")
            .with(&format!("Origin: http://{}", self.host))
            .with("Content-Type: application/json")
    }

    fn head(&self, method: &str, path: &str, length: usize) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{}Content-Length: {length}\r\n",
            self.host, self.more
        )
    }

    /// Status, headers in lower case, body.
    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        let head = self.head(method, path, body.len());
        write!(stream, "{head}Connection: close\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    #[track_caller]
    fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.ask("GET", path, "");
        (status, body)
    }

    #[track_caller]
    fn post(&self, path: &str, body: &str) -> (u16, String) {
        let (status, _, body) = self.ask("POST", path, body);
        (status, body)
    }

    /// Logs in; gives a browser that has the cookie.
    #[track_caller]
    fn log_in(&self, password: &str) -> Browser {
        let body = format!("{{\"password\":\"{password}\"}}");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = self.own().head("POST", "/api/v1/login", body.len());
        write!(stream, "{head}Connection: close\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let cookie = answer.lines().find_map(|l| l.strip_prefix("set-cookie: "));
        let cookie = cookie.unwrap_or_else(|| panic!("no cookie: {answer}"));
        let is_kept_close = cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict");
        assert!(is_kept_close, "{cookie}");
        let pair = cookie.split(';').next().unwrap();
        self.with(&format!("Cookie: other=1; {pair}"))
    }

    /// Begins to read the stream of snapshots.
    fn follow(&self) -> (u16, BufReader<TcpStream>) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        self.follow_on(stream)
    }

    fn follow_on(&self, mut stream: TcpStream) -> (u16, BufReader<TcpStream>) {
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        let head = self.head("GET", "/api/v1/events", 0);
        write!(stream, "{head}\r\n").unwrap();
        let mut reader = BufReader::with_capacity(1024, stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        (line.split(' ').nth(1).unwrap().parse().unwrap(), reader)
    }
}

fn start(pg_port: u16, listen: &str, http: &str) -> (Pgweir, Browser) {
    let port = free_port();
    let section = format!("[http]\nlisten = '{listen}:{port}'\n{http}");
    (Pgweir::start(pg_port, &section), Browser::at(port))
}

const READS: [&str; 7] = [
    "snapshot",
    "history",
    "log",
    "clients",
    "cache",
    "statements",
    "events",
];
const ACTIONS: [&str; 4] = ["pause", "resume", "reconnect", "flush"];

fn path(name: &str) -> String {
    format!("/api/v1/{name}")
}

#[test]
fn on_loopback_everybody_may_look_and_nobody_act() {
    let pg = shared_postgres();
    let (weir, browser) = start(pg.port, "127.0.0.1", "");
    weir.client().query("select 1");
    let (status, head, body) = browser.ask("GET", "/", "");
    assert_eq!(status, 200);
    assert!(body.contains("<title>pgweir</title>"));
    for wanted in [
        "content-security-policy: default-src 'none'; script-src 'self'",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
    ] {
        assert!(head.contains(wanted), "{wanted} in {head}");
    }
    for file in ["/page.js", "/page.css", "/icon.svg"] {
        assert_eq!(browser.get(file).0, 200, "{file}");
    }
    let (status, snapshot) = browser.get("/api/v1/snapshot");
    assert_eq!(status, 200);
    let has_pool = snapshot.contains(r#""database":"postgres","user":"postgres""#);
    assert!(
        has_pool && snapshot.contains(r#""state":"active""#),
        "{snapshot}"
    );
    let session = r#"{"viewer":true,"admin":false,"password":false,"admin_password":false,"tables":["cache","statements"]}"#;
    assert_eq!(browser.get("/api/v1/session").1, session);
    for action in ACTIONS {
        assert_eq!(browser.own().post(&path(action), "").0, 403, "{action}");
    }
    assert_eq!(browser.host("localhost").get("/api/v1/log").0, 200);
    // Not ours, passed on by a proxy, or by a name that anybody could have made point here.
    for (stranger, expected) in [
        (browser.host("evil.example"), 421),
        (browser.host("10.0.0.1"), 403),
        (browser.with("X-Forwarded-For: 10.0.0.1"), 403),
        (browser.with("Via: 1.1 proxy"), 403),
    ] {
        for file in ["/", "/api/v1/snapshot", "/api/v1/events"] {
            assert_eq!(stranger.get(file).0, expected, "{file} {}", stranger.more);
        }
        assert_eq!(stranger.get("/healthz").0, 200);
    }
    // Another site's page cannot even keep us busy.
    for other in ["Sec-Fetch-Site: cross-site", "Origin: http://evil.example"] {
        for name in READS {
            assert_eq!(
                browser.with(other).get(&path(name)).0,
                403,
                "{other} {name}"
            );
        }
    }
}

#[test]
fn elsewhere_it_takes_a_password() {
    let pg = shared_postgres();
    let (_weir, browser) = start(pg.port, "0.0.0.0", "");
    assert_eq!(browser.get("/").0, 403);
    assert!(browser.get("/").1.contains("[http] password"));
    assert_eq!(browser.get("/api/v1/snapshot").0, 403);
    assert_eq!(browser.get("/metrics").0, 200);

    let rest = "password = 'look'\nadmin_password = 'act'\nnames = ['weir.example']";
    let (weir, browser) = start(pg.port, "0.0.0.0", rest);
    assert_eq!(browser.get("/").0, 200, "the page asks for it");
    for name in READS {
        assert_eq!(browser.get(&path(name)).0, 401, "{name}");
    }
    for action in ACTIONS {
        assert_eq!(browser.own().post(&path(action), "").0, 401, "{action}");
    }
    assert_eq!(browser.host("weir.example").get("/api/v1/snapshot").0, 401);
    let forged = browser.with(&format!("Cookie: pgweir_{}=x", browser.port));
    assert_eq!(forged.get("/api/v1/snapshot").0, 401);

    let viewer = browser.log_in("look");
    assert_eq!(viewer.get("/api/v1/snapshot").0, 200);
    assert_eq!(viewer.own().post("/api/v1/pause", "").0, 403);
    let admin = browser.log_in("act");
    assert_eq!(admin.get("/api/v1/snapshot").0, 200);
    // As somebody else's page would have an admin's browser do it.
    for (trick, expected) in [
        (admin.with("Content-Type: application/json"), 403),
        (
            admin
                .with("X-Pgweir: 1")
                .with("Origin: http://evil.example"),
            403,
        ),
        (admin.with("X-Pgweir: 1").with("Origin: null"), 403),
        (
            admin.with("X-Pgweir: 1").with("Sec-Fetch-Site: same-site"),
            403,
        ),
        (admin.host("evil.example").own(), 421),
        (
            admin.with("X-Pgweir: 1").with("Content-Type: text/plain"),
            415,
        ),
    ] {
        assert_eq!(
            trick.post("/api/v1/pause", "{}").0,
            expected,
            "{}",
            trick.more
        );
    }
    assert_eq!(
        weir.show("STATE")[0]["value"],
        "yes",
        "nothing has happened"
    );

    assert_eq!(
        admin.own().post("/api/v1/pause", ""),
        (200, r#"{"done":"PAUSE"}"#.into())
    );
    assert_eq!(weir.show("STATE")[1]["value"], "yes");
    assert_eq!(
        admin.own().post("/api/v1/pause", "").0,
        409,
        "it is already"
    );
    assert_eq!(admin.own().post("/api/v1/resume", "{}").0, 200);
    assert_eq!(
        admin
            .own()
            .post("/api/v1/pause", r#"{"database":"nosuch-?"}"#)
            .0,
        200,
        "any name is below *"
    );
    assert_eq!(
        admin
            .own()
            .post("/api/v1/pause", r#"{"database":"pgweir"}"#)
            .0,
        409
    );
    assert_eq!(admin.own().post("/api/v1/reconnect", "").0, 200);
    assert_eq!(admin.own().post("/api/v1/flush", "").0, 200);
    for told in ["PAUSE command issued", "CACHE FLUSH command issued"] {
        let log = weir.log();
        let line = log.lines().find(|line| line.contains(told));
        let line = line.unwrap_or_else(|| panic!("no {told}: {log}"));
        assert!(
            line.contains(" peer=127.0.0.1:") && line.contains(" by=page"),
            "{line}"
        );
    }
    assert_eq!(admin.own().post("/api/v1/logout", "").0, 200);
    assert_eq!(admin.get("/api/v1/snapshot").0, 401);

    // Another password ends what was begun with the old one, streams included.
    let (status, mut stream) = viewer.follow();
    assert_eq!(status, 200);
    let changed = format!(
        "[http]\nlisten = '0.0.0.0:{}'\npassword = 'new'",
        browser.port
    );
    weir.rewrite(pg.port, &changed);
    weir.reload("configuration reloaded");
    assert_eq!(viewer.get("/api/v1/snapshot").0, 401);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("it is ended");
    assert_eq!(browser.log_in("new").get("/api/v1/snapshot").0, 200);
}

#[test]
fn passwords_cannot_be_guessed_fast() {
    let pg = shared_postgres();
    let (weir, browser) = start(pg.port, "127.0.0.1", "admin_password = 'act'");
    let guess = |password: &str| {
        let body = format!("{{\"password\":\"{password}\"}}");
        browser.own().ask("POST", "/api/v1/login", &body)
    };
    let statuses: Vec<u16> = (0..8).map(|n| guess(&n.to_string()).0).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429]);
    let (status, head, _) = guess("act");
    assert_eq!(status, 429, "not even the right one");
    assert!(head.contains("retry-after: "), "{head}");
    until("it is let in again", || guess("act").0 == 200);
    assert!(
        browser
            .get("/api/v1/log")
            .1
            .contains("wrong password for the page")
    );
    assert!(!weir.log().contains("password=act"));
}

#[test]
fn what_is_no_request_of_ours_is_answered_with_an_error() {
    let pg = shared_postgres();
    let (_weir, browser) = start(pg.port, "127.0.0.1", "admin_password = 'act'");
    for wrong in [
        "/x",
        "/api/v1/",
        "/api/v1/x",
        "/page.js/",
        "/../etc/passwd",
        "/api/v2/snapshot",
    ] {
        assert_eq!(browser.get(wrong).0, 404, "{wrong}");
    }
    for wrong in ["limit=0", "limit=501", "limit=-1", "limit", "colour=red"] {
        assert_eq!(
            browser.get(&format!("/api/v1/clients?{wrong}")).0,
            400,
            "{wrong}"
        );
    }
    let long = "x".repeat(500);
    assert_eq!(
        browser.get(&format!("/api/v1/clients?search={long}")).0,
        400
    );
    for method in ["PUT", "DELETE", "OPTIONS", "PATCH"] {
        assert_eq!(
            browser.own().ask(method, "/api/v1/pause", "").0,
            405,
            "{method}"
        );
    }
    assert_eq!(browser.ask("GET", "/api/v1/pause", "").0, 405);
    assert_eq!(browser.ask("POST", "/", "").0, 405);
    assert_eq!(browser.ask("HEAD", "/", "").0, 200);
    assert_eq!(browser.ask("HEAD", "/api/v1/snapshot", "").0, 200);
    let admin = browser.log_in("act").own();
    for wrong in [
        "[",
        "[]",
        "1",
        r#"{"database":1}"#,
        r#"{"databas":"x"}"#,
        "\u{fffd}",
    ] {
        assert_eq!(admin.post("/api/v1/pause", wrong).0, 400, "{wrong}");
    }
    assert_eq!(admin.post("/api/v1/pause", &"[".repeat(4000)).0, 400);
    assert_eq!(admin.post("/api/v1/pause", &"[".repeat(9000)).0, 413);
    let endless = format!("{{\"password\":\"{}\"}}", "x".repeat(3000));
    assert_eq!(browser.own().post("/api/v1/login", &endless).0, 401);
}

#[test]
fn clients_are_found_by_what_is_known_of_them() {
    let pg = shared_postgres();
    let (weir, browser) = start(pg.port, "127.0.0.1", "");
    let mut held = weir.client();
    held.query("begin");
    let _others: Vec<Wire> = (0..7)
        .map(|_| weir.connect("postgres", "template1"))
        .collect();
    let found = |query: &str| browser.get(&format!("/api/v1/clients?{query}")).1;
    let ends = |query: &str, end: &str| found(query).ends_with(end);
    until("all are there", || ends("", r#""found":8,"total":8}"#));
    assert!(ends("search=template1", r#""found":7,"total":8}"#));
    assert!(ends("search=TEMPLATE1+idle", r#""found":7,"total":8}"#));
    assert!(ends("search=active", r#""found":1,"total":8}"#));
    assert!(ends(
        "search=nobody",
        r#""clients":[],"found":0,"total":8}"#
    ));
    let two = found("limit=2");
    assert_eq!(two.matches(r#""id":"#).count(), 2, "{two}");
    assert!(two.ends_with(r#""found":8,"total":8}"#));
    // Who is served comes first.
    assert!(two.find("active") < two.find("idle"), "{two}");
}

#[test]
fn what_happens_is_told() {
    let pg = Postgres::start();
    let (weir, browser) = start(pg.port, "127.0.0.1", "");
    weir.client().query("select 1");
    let told = |what: &str| until(what, || browser.get("/api/v1/log").1.contains(what));
    // What was so at the first look is not news.
    until("it has looked", || {
        !browser.get("/api/v1/history").1.ends_with("\"rows\":[]}")
    });
    weir.console().query("PAUSE template1");
    told("database template1 paused");
    weir.console().query("RESUME template1");
    told("database template1 resumed");
    weir.console().query("RECONNECT");
    told("all databases: new server connections");
    weir.rewrite_all("[general]\nlisten_port = 'x'");
    weir.reload("reload failed");
    told("reload failed: ");
    // A port where nobody listens.
    let section = format!(
        "server_login_retry = 0\nquery_timeout = 7\n[http]\nlisten = '127.0.0.1:{}'",
        browser.port
    );
    weir.rewrite(free_port(), &section);
    weir.reload("configuration reloaded");
    told("configuration changed");
    assert_eq!(refusal(weir.port, "postgres", "postgres").0, "08006");
    told("pool postgres.postgres is down: ");
    told("circuit breaker opened");
    weir.rewrite(pg.port, &section);
    weir.reload("configuration reloaded");
    told("pool postgres.postgres is up again");
}

/// The stream has one snapshot a second for all, and has no place for more than a few.
#[test]
fn streams_are_bounded_and_leave_room_for_others() {
    let pg = shared_postgres();
    let (weir, browser) = start(pg.port, "127.0.0.1", "");
    let mut streams: Vec<_> = (0..16).map(|_| browser.follow()).collect();
    assert!(streams.iter().all(|(status, _)| *status == 200));
    assert_eq!(browser.follow().0, 503);
    assert_eq!(
        browser.get("/api/v1/snapshot").0,
        200,
        "the page asks for that instead"
    );
    assert_eq!(browser.get("/metrics").0, 200);
    weir.client().query("select 1");
    let mut snapshots = |at: usize| {
        let lines = streams[at].1.by_ref().lines().map(Result::unwrap);
        let data = lines.filter(|line| line.starts_with("data: "));
        data.take(4).collect::<Vec<_>>()
    };
    let (first, last) = (snapshots(0), snapshots(15));
    assert_ne!(first[1], first[2], "they are new ones");
    assert!(
        last.iter().any(|s| first.contains(s)),
        "and the same for all"
    );
    drop(streams.pop());
    until("there is a place again", || browser.follow().0 == 200);
}

/// Browsers that stop reading are cut off, and nobody else notices that they were there.
#[test]
fn a_browser_that_hangs_is_cut_off() {
    let pg = shared_postgres();
    let (weir, browser) = start(pg.port, "127.0.0.1", "");
    // Many pools make large snapshots; of more than 100, unused ones are forgotten.
    for n in 0..95 {
        assert_eq!(
            refusal(weir.port, "postgres", &format!("nosuch{n}")).0,
            "3D000"
        );
    }
    let address = SocketAddr::from(([127, 0, 0, 1], browser.port));
    let hanging: Vec<_> = (0..16)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            socket.connect(&address.into()).unwrap();
            let (status, stream) = browser.follow_on(socket.into());
            assert_eq!(status, 200);
            stream
        })
        .collect();
    assert_eq!(browser.follow().0, 503);
    let mut client = weir.client();
    until("they have made room", || {
        assert_eq!(client.query("select 1").value(), "1");
        assert_eq!(browser.get("/healthz").0, 200);
        browser.follow().0 == 200
    });
    drop(hanging);
}
