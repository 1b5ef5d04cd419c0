//! Those who cannot log in, and those who do not mean to: failed logins, networks, connections that
//! only hold the door.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::login::{psql, wait_until};
use crate::support::metrics::Metrics;
use crate::support::operate::{error_text, field, last_words};
use crate::support::{Answer, Pgweir, Wire, message, startup};
use socket2::{Domain, Socket, Type};

/// Passwords in clear keep the dialogue short. Everybody may look at the console.
fn weir(login: &str) -> Pgweir {
    Pgweir::with_config(&configuration(login))
}

fn configuration(login: &str) -> String {
    format!(
        "unix_socket_dir = '$DIR'\nadmin_users = ['amy', 'bob']\n[log]\nlevel = 'debug'\n\
         [login]\n{login}\n[auth]\ntype = 'plain'\nallow_cleartext = true\n\
         [pools.'*']\nport = 1\n[users.amy]\npassword = 'right'\n[users.bob]\npassword = 'right'\n"
    )
}

/// A connection from one of the addresses of the loopback interface.
fn from(weir: &Pgweir, address: &str) -> Wire {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let local = SocketAddr::new(address.parse().unwrap(), 0);
    socket.bind(&local.into()).unwrap();
    let server: SocketAddr = ([127, 0, 0, 1], weir.port).into();
    socket.connect(&server.into()).unwrap();
    let limit = Some(Duration::from_secs(60));
    socket.set_read_timeout(limit).unwrap();
    Wire {
        stream: socket.into(),
        key: None,
        port: weir.port,
    }
}

/// Has said who it is, and is asked for its password.
fn begin(weir: &Pgweir, address: &str, user: &str) -> io::Result<Wire> {
    let mut wire = from(weir, address);
    let pairs = [("user", user), ("database", "pgweir")];
    wire.send(&startup(3 << 16, &pairs))?;
    Ok(wire)
}

/// `Ok` if it is let in, or how it is refused: SQLSTATE, message and detail.
fn log_in(
    weir: &Pgweir,
    address: &str,
    user: &str,
    password: &str,
) -> Result<(), (String, String, String)> {
    let mut wire = begin(weir, address, user).unwrap();
    let mut answer = Answer(vec![wire.read_message().unwrap()]);
    // Otherwise it is refused without being asked.
    if answer.0[0].tag == b'R' {
        let password = format!("{password}\0");
        wire.send(&message(b'p', password.as_bytes())).unwrap();
        answer = wire.answer();
    }
    if answer.status() == Some('I') {
        return Ok(());
    }
    let detail = field(&answer, b'E', b'D').unwrap_or_default();
    Err((
        answer.code().unwrap_or_default(),
        error_text(&answer),
        detail,
    ))
}

fn refusals(weir: &Pgweir) -> HashMap<String, u64> {
    let login = format!(
        "host={} port={} user=pgbouncer dbname=pgweir",
        weir.dir().display(),
        weir.port
    );
    let text = psql(&login, "SHOW REFUSALS").unwrap();
    let rows = text.lines().filter_map(|line| line.split_once('|'));
    rows.map(|(reason, count)| (reason.to_owned(), count.parse().unwrap()))
        .collect()
}

#[test]
fn who_guesses_wrong_waits_and_nobody_else() {
    let metrics = Metrics::new();
    let login = format!("max_failures = 3\nbackoff = '2s'{}", metrics.section());
    let weir = weir(&login);
    let log_in = |address, user, password| log_in(&weir, address, user, password);
    for _ in 0..3 {
        let (code, _, _) = log_in("127.0.0.2", "amy", "wrong").unwrap_err();
        assert_eq!(code, "28P01");
    }
    let began = Instant::now();
    // Not even the right one is looked at.
    let (code, text, detail) = log_in("127.0.0.2", "amy", "right").unwrap_err();
    assert_eq!(
        (code.as_str(), text.as_str()),
        ("53300", "too many failed logins")
    );
    assert!(detail.starts_with("Try again in "), "{detail}");
    assert_eq!(refusals(&weir)["failed_logins"], 1);
    let counted = ["wrong_password", "failed_logins", "limit"].map(|result| {
        let series = format!("pgweir_login_attempts_total{{result=\"{result}\"}}");
        metrics.value(&series).unwrap()
    });
    assert_eq!(counted, [3.0, 1.0, 0.0]);
    // She is not locked out elsewhere, and others are not there.
    assert_eq!(log_in("127.0.0.3", "amy", "right"), Ok(()));
    assert_eq!(log_in("127.0.0.2", "bob", "right"), Ok(()));
    wait_until("she may try again", || {
        log_in("127.0.0.2", "amy", "right").is_ok()
    });
    assert!(began.elapsed() > Duration::from_millis(1500));
    // That is forgiven; and a wrong one counts from the beginning.
    assert_eq!(log_in("127.0.0.2", "amy", "wrong").unwrap_err().0, "28P01");
    assert_eq!(log_in("127.0.0.2", "amy", "right"), Ok(()));
}

#[test]
fn an_address_that_guesses_for_many_waits() {
    let weir = weir("max_address_failures = 4\nbackoff = '1h'\nmax_backoff = '1h'");
    for user in ["amy", "bob", "nobody", "amy"] {
        let refused = log_in(&weir, "127.0.0.2", user, "wrong").unwrap_err();
        assert_eq!(refused.0, "28P01");
    }
    let refused = log_in(&weir, "127.0.0.2", "bob", "right").unwrap_err();
    assert_eq!(refused.2, "Try again in 3600 s.");
    assert_eq!(log_in(&weir, "127.0.0.3", "bob", "right"), Ok(()));
    // A reload without the limit ends the wait.
    let said = weir.reload_with(&configuration("max_address_failures = 0"));
    assert!(said.contains("login.max_address_failures"), "{said}");
    assert_eq!(log_in(&weir, "127.0.0.2", "bob", "right"), Ok(()));
}

#[test]
fn networks_are_denied_or_allowed() {
    let weir = weir("allow = ['127.0.0.0/28']\ndeny = '127.0.0.3'");
    let is_closed = |address: &str| {
        let mut wire = begin(&weir, address, "amy").unwrap();
        last_words(&mut wire).is_empty()
    };
    assert_eq!(log_in(&weir, "127.0.0.2", "amy", "right"), Ok(()));
    assert!(is_closed("127.0.0.3"), "denied");
    assert!(is_closed("127.0.0.16"), "not allowed");
    assert_eq!(refusals(&weir)["network"], 2);
    weir.reload_with(&configuration("deny = '127.0.0.2'"));
    assert!(is_closed("127.0.0.2"));
    assert_eq!(log_in(&weir, "127.0.0.16", "amy", "right"), Ok(()));
}

#[test]
fn who_only_holds_the_door_has_to_go() {
    let weir = weir("max_half_open = 3");
    let mut silent: Vec<Wire> = Vec::new();
    for _ in 0..3 {
        silent.push(from(&weir, "127.0.0.1"));
        // One after the other, so that it is known which is the oldest.
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(log_in(&weir, "127.0.0.1", "amy", "right"), Ok(()));
    let refused = refusals(&weir);
    assert_eq!((refused["slow_login"], refused["half_open"]), (1, 0));
    assert!(
        last_words(&mut silent[0]).is_empty(),
        "the oldest is closed"
    );
    assert!(!silent[1].answers_within(Duration::from_millis(200)));
    drop(silent);
}

#[test]
fn too_many_logins_at_once_are_refused_and_the_console_is_there() {
    let weir = weir("max_half_open = 3");
    // They are asked for their passwords.
    let mut busy: Vec<Wire> = (0..3)
        .map(|_| begin(&weir, "127.0.0.1", "amy").unwrap())
        .collect();
    for wire in &mut busy {
        assert_eq!(wire.read_message().unwrap().tag, b'R');
    }
    let (code, text, _) = log_in(&weir, "127.0.0.1", "amy", "right").unwrap_err();
    assert_eq!(code, "53300");
    assert_eq!(text, "too many logins at once (max_half_open = 3)");
    assert_eq!(refusals(&weir)["half_open"], 1);
    // Who was there first comes in, and makes room.
    let mut first = busy.remove(0);
    first.send(&message(b'p', b"right\0")).unwrap();
    assert_eq!(first.answer().status(), Some('I'));
    assert_eq!(log_in(&weir, "127.0.0.1", "amy", "right"), Ok(()));
    // Who is cut off makes room, too, and at once.
    drop(busy);
    for _ in 0..10 {
        wait_until("there is room", || {
            let mut wire = begin(&weir, "127.0.0.1", "amy").unwrap();
            wire.read_message().unwrap().tag == b'R'
        });
    }
    assert_eq!(refusals(&weir)["slow_login"], 0);
}
