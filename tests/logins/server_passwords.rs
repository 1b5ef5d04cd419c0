//! Passwords of servers that change while pgweir runs, against a real PostgreSQL.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::operate::until;
use crate::support::{Pgweir, Postgres, Scratch, Wire};

fn server() -> Postgres {
    Postgres::with_hba(
        "host all,replication app 127.0.0.1/32 scram-sha-256",
        &["create role app login replication password 'first'"],
    )
}

/// `source` are lines of the pool; each transaction has a server connection of its own.
fn start(pg: &Postgres, source: &str) -> Pgweir {
    Pgweir::with_config(&format!(
        "admin_users = [\"postgres\"]\nserver_lifetime = 0\nserver_login_retry = \"10s\"\n\
         [auth]\ntype = \"trust\"\n[pools.postgres]\nport = {}\nuser = \"app\"\npool_size = 3\n\
         {source}\n[users.postgres]\n",
        pg.port
    ))
}

fn command(secret: &Path) -> String {
    let secret = secret.display();
    format!("password_command = [\"/bin/sh\", \"-c\", \"cat {secret}\"]")
}

/// Clients work while `rotate` runs, and for a while afterwards; none sees an error.
fn nobody_notices(weir: &Pgweir, rotate: impl FnOnce()) {
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (stop, done) = (&stop, &done);
            scope.spawn(move || {
                let mut wire = weir.client();
                while !stop.load(Ordering::Relaxed) {
                    let answer = wire.query(&format!("select {n}"));
                    assert_eq!(answer.code(), None, "{answer:?}\n{}", weir.log());
                    assert_eq!(answer.value(), n.to_string());
                    done.fetch_add(1, Ordering::Relaxed);
                    if done.load(Ordering::Relaxed).is_multiple_of(10) {
                        wire = weir.client();
                    }
                }
            });
        }
        let more = || {
            let before = done.load(Ordering::Relaxed);
            until("they go on", || done.load(Ordering::Relaxed) > before + 50);
        };
        more();
        rotate();
        more();
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_command_is_asked_again_when_the_server_refuses() {
    let pg = server();
    let scratch = Scratch::new("secret");
    let secret = scratch.0.join("secret");
    std::fs::write(&secret, "first\n").unwrap();
    let weir = start(&pg, &command(&secret));
    let mut client = weir.client();
    assert_eq!(client.query("select current_user").value(), "app");
    // The server is first; the command learns it later.
    nobody_notices(&weir, || {
        pg.sql("alter role app password 'second'");
        std::thread::sleep(Duration::from_millis(500));
        std::fs::write(&secret, "second\n").unwrap();
    });
    // The command is first, and both at once.
    nobody_notices(&weir, || {
        std::fs::write(&secret, "third\n").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        pg.sql("alter role app password 'third'");
    });
    // A command that fails leaves what is known.
    std::fs::remove_file(&secret).unwrap();
    nobody_notices(&weir, || {});
    let replication = [
        ("user", "postgres"),
        ("database", "postgres"),
        ("replication", "database"),
    ];
    assert!(Wire::try_connect_with(weir.port, &replication).is_ok());
    let log = weir.log();
    for password in ["first", "second", "third"] {
        assert!(!log.contains(password), "{log}");
    }
}

/// What follows writes for the cache logs in as the pool does.
#[test]
fn the_caches_feed_has_it_too() {
    let pg = server();
    let scratch = Scratch::new("secret");
    let secret = scratch.0.join("secret");
    std::fs::write(&secret, "first").unwrap();
    let cache = "[pools.postgres.cache]\nenabled = true\ninvalidation = \"notify\"";
    let weir = start(&pg, &format!("{}\n{cache}", command(&secret)));
    let mut client = weir.client();
    assert_eq!(client.query("select 1").value(), "1");
    until("it follows", || {
        weir.log().contains("writes made elsewhere are followed")
    });
}

#[test]
fn a_file_is_read_when_it_changes() {
    let pg = server();
    let scratch = Scratch::new("secret");
    let secret = scratch.0.join("secret");
    std::fs::write(&secret, "first").unwrap();
    let weir = start(&pg, &format!("password_file = {secret:?}"));
    assert_eq!(weir.client().query("select current_user").value(), "app");
    nobody_notices(&weir, || {
        std::fs::write(&secret, "second").unwrap();
        std::thread::sleep(Duration::from_millis(500));
        pg.sql("alter role app password 'second'");
    });
    nobody_notices(&weir, || {
        pg.sql("alter role app password 'third'");
        std::thread::sleep(Duration::from_millis(500));
        let new = scratch.0.join("new");
        std::fs::write(&new, "third").unwrap();
        std::fs::rename(new, &secret).unwrap();
    });
}

#[test]
fn a_password_that_stays_wrong_is_told() {
    let pg = server();
    let scratch = Scratch::new("secret");
    let secret = scratch.0.join("secret");
    std::fs::write(&secret, "wrong").unwrap();
    let weir = Pgweir::with_config(&format!(
        "server_login_retry = \"1s\"\nadmin_users = [\"postgres\"]\n[auth]\ntype = \"trust\"\n\
         [pools.postgres]\nport = {}\nuser = \"app\"\n{}\n[users.postgres]\n",
        pg.port,
        command(&secret)
    ));
    let refused = || {
        Wire::try_connect(weir.port, "postgres", "postgres")
            .err()
            .unwrap()
            .to_string()
    };
    assert!(refused().contains("28P01"));
    // Nothing else is told of a command that fails than that it does.
    let broken = "password_command = [\"/bin/sh\", \"-c\", \"echo it is first >&2; exit 7\"]";
    let text = |source: &str| {
        format!(
            "server_login_retry = \"1s\"\nadmin_users = [\"postgres\"]\n[auth]\ntype = \"trust\"\n\
             [pools.postgres]\nport = {}\nuser = \"app\"\n{source}\n[users.postgres]\n",
            pg.port
        )
    };
    let said = weir.reload_with(&text(broken));
    assert!(said.contains("pools.postgres.password_command"), "{said}");
    until("it is told", || refused().contains("08006"));
    assert!(
        weir.log().contains("password_command says: it is first"),
        "{}",
        weir.log()
    );
    // A new source is asked at once.
    std::fs::write(&secret, "first").unwrap();
    weir.reload_with(&text(&command(&secret)));
    until("it is in", || {
        Wire::try_connect(weir.port, "postgres", "postgres").is_ok()
    });
}
