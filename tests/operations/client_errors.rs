//! What pgweir itself tells clients instead of an answer is counted, each once and by its reason.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use super::http::{Http, samples};
use crate::support::operate::*;
use crate::support::*;

/// Pools of one server, one for each thing that is to go wrong.
fn config(http: &Http, pg_port: u16) -> String {
    let pool = |name: &str, lines: &str| {
        format!(
            "[pools.{name}]\ndbname = 'postgres'\nhost = '127.0.0.1'\nport = {pg_port}\n{lines}\n"
        )
    };
    let pools = [
        pool("postgres", ""),
        pool(
            "waits",
            "pool_size = 1\nmax_queue = 1\nquery_wait_timeout = '1s'",
        ),
        pool("statements", "pool_mode = 'statement'"),
        pool(
            "limits",
            "transaction_timeout = '500ms'\nidle_transaction_timeout = '200ms'",
        ),
        pool("short", "query_timeout = '200ms'"),
        pool("idle", "client_idle_timeout = '200ms'"),
    ];
    format!("{}\n{}", http.section(), pools.concat())
}

/// The values of a counter by its only label, without those that are 0.
fn counted(http: &Http, name: &str) -> BTreeMap<String, f64> {
    let (_, body) = http.get("/metrics");
    let beginning = format!("{name}{{");
    let of_it = samples(&body).into_iter().filter_map(|(series, value)| {
        let label = series.strip_prefix(&beginning)?.split('"').nth(1)?;
        (value > 0.0).then(|| (label.to_owned(), value))
    });
    of_it.collect()
}

fn end_of(client: &mut Wire) -> String {
    let words = last_words(client);
    Answer(words).code().expect("it is told why")
}

#[test]
fn each_is_counted_once_by_its_reason() {
    let pg = shared_postgres();
    let http = Http(free_port());
    let weir = Pgweir::start(pg.port, &config(&http, pg.port));
    let to = |database: &str| weir.connect("postgres", database);
    let refused = |client: &mut Wire, sql: &str| client.query(sql).code().unwrap_or_default();
    let waits = || until("it waits", || weir.count("waits", "cl_waiting") == 1);

    // The pool's only connection is in use: one waits too long, behind which there is no room; one is cancelled.
    let (mut holder, mut first, mut second) = (to("waits"), to("waits"), to("waits"));
    holder.query("begin");
    first.send(&query("select 1")).unwrap();
    waits();
    assert_eq!(refused(&mut second, "select 1"), "53300");
    assert_eq!(first.answer().code().as_deref(), Some("53300"));
    second.send(&query("select 1")).unwrap();
    waits();
    second.cancel();
    assert_eq!(second.answer().code().as_deref(), Some("57014"));
    holder.query("rollback");

    // A connection that is lost under a statement, and one in a transaction whose client learns of it later.
    let (mut running, mut open) = (to("postgres"), to("postgres"));
    let pid = "select pg_backend_pid()";
    open.query("begin");
    let pid = open.query(pid).value();
    running
        .send(&query("select pg_sleep(10) /* to be lost */"))
        .unwrap();
    let running_pid = "select coalesce(max(pid), 0) from pg_stat_activity \
                       where query like '%/* to be lost */' and pid <> pg_backend_pid()";
    let mut admin = pg.client();
    until("it runs", || admin.query(running_pid).value() != "0");
    let running_pid = admin.query(running_pid).value();
    admin.query(&format!(
        "select pg_terminate_backend({pid}), pg_terminate_backend({running_pid})"
    ));
    assert_eq!(running.answer().code().as_deref(), Some("57P01"));
    until("the loss is noticed", || {
        weir.count("postgres", "sv_active") == 0
    });
    assert_eq!(refused(&mut open, "select 1"), "08006");
    assert_eq!(refused(&mut open, "select 1"), "25P02");
    assert_eq!(open.query("rollback").code(), None);

    // A limit of the server's own is no loss.
    let mut own = to("postgres");
    own.query("set idle_in_transaction_session_timeout = '100ms'");
    own.query("begin");
    until("the server has ended it", || {
        weir.count("postgres", "sv_active") == 0
    });
    assert_eq!(refused(&mut own, "select 1"), "08006");
    own.query("rollback");

    // Limits of time.
    let (mut slow, mut idle) = (to("limits"), to("limits"));
    slow.query("begin");
    assert_eq!(refused(&mut slow, "select pg_sleep(10)"), "25P04");
    idle.query("begin");
    thread::sleep(Duration::from_millis(450));
    until("it is rolled back", || {
        weir.count("limits", "sv_active") == 0
    });
    assert_eq!(refused(&mut idle, "select 1"), "25P03");
    idle.query("rollback");
    slow.query("rollback");
    assert_eq!(refused(&mut to("short"), "select pg_sleep(10)"), "57014");
    assert_eq!(end_of(&mut to("idle")), "57P05");

    // Clients that are wrong.
    assert_eq!(refused(&mut to("statements"), "begin"), "08P01");
    let mut wrong = to("postgres");
    wrong.send(&[bind(""), execute(), sync()].concat()).unwrap();
    assert_eq!(wrong.answer().code().as_deref(), Some("26000"));
    wrong.send(&message(b'!', b"")).unwrap();
    assert_eq!(end_of(&mut wrong), "08P01");

    // An operator.
    let mut killed = to("postgres");
    killed.query("select 1");
    let rows = weir.show("CLIENTS");
    let newest = rows.iter().filter(|row| row["database"] == "postgres");
    let newest = newest.map(|row| row["id"].parse::<u64>().unwrap()).max();
    weir.console()
        .query(&format!("KILL_CLIENT {}", newest.unwrap()));
    assert_eq!(end_of(&mut killed), "57P01");

    // What the server says itself.
    let mut usual = to("postgres");
    assert_eq!(refused(&mut usual, "select nonsense"), "42703");
    usual.send(&query("select pg_sleep(10)")).unwrap();
    thread::sleep(Duration::from_millis(100));
    usual.cancel();
    assert_eq!(usual.answer().code().as_deref(), Some("57014"));

    let once = [
        "query_wait_timeout",
        "queue",
        "cancelled",
        "failed_transaction",
        "transaction_timeout",
        "query_timeout",
        "client_idle_timeout",
        "statement_mode",
        "statement",
        "protocol",
        "killed",
    ];
    let mut expected = BTreeMap::from(once.map(|reason| (reason.to_owned(), 1.0)));
    expected.insert("server_lost".to_owned(), 2.0);
    expected.insert("idle_transaction_timeout".to_owned(), 2.0);
    // The last exposition may be from before.
    let errors = || counted(&http, "pgweir_client_errors_total");
    for _ in 0..100 {
        if errors() == expected {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(errors(), expected);
    // Which limits they were.
    let kinds = [
        "query_wait",
        "query",
        "transaction",
        "idle_transaction",
        "client_idle",
    ];
    let expected = BTreeMap::from(kinds.map(|kind| (kind.to_owned(), 1.0)));
    assert_eq!(counted(&http, "pgweir_timeouts_by_kind_total"), expected);
}

#[test]
fn pins_are_counted_by_their_reason() {
    let pg = shared_postgres();
    let http = Http(free_port());
    let weir = Pgweir::start(
        pg.port,
        &format!("listen_channels = 'pin'\n{}", http.section()),
    );
    for (sql, reason) in [
        ("select pg_advisory_lock(4711)", "advisory_lock"),
        ("create temp table kept (n int)", "temp_object"),
        ("declare kept cursor with hold for select 1", "hold_cursor"),
        ("listen kept", "listen"),
    ] {
        let before = counted(&http, "pgweir_pins_by_reason_total");
        let mut client = weir.client();
        assert_eq!(client.query(sql).code(), None, "{sql}");
        let mut expected = before;
        *expected.entry(reason.to_owned()).or_default() += 1.0;
        until(reason, || {
            counted(&http, "pgweir_pins_by_reason_total") == expected
        });
    }
}

/// Who waits at the door for a server that says nothing, and who comes slowly, are not the same.
#[test]
fn a_login_that_waits_for_a_server_in_vain() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = Http(free_port());
    let general = format!("query_wait_timeout = '300ms'\n{}", http.section());
    let weir = Pgweir::start(mute.local_addr().unwrap().port(), &general);
    let (code, said) = refusal(weir.port, "postgres", "postgres");
    assert_eq!(code, "53300");
    assert!(said.contains("query_wait_timeout"), "{said}");
    let expected = BTreeMap::from([("query_wait_timeout".to_owned(), 1.0)]);
    until("it is counted", || {
        let mut logins = counted(&http, "pgweir_login_attempts_total");
        // Whether it listens was tried first.
        logins.remove("gone");
        logins == expected
    });
}
