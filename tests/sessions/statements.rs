//! Prepared statements behind a pool: whatever server connection a client gets, it finds what it
//! has prepared, and is told what a direct connection would tell it.

use crate::support::*;
use pgweir::protocol::backend::error_fields;

/// asyncpg and pgjdbc prepare a statement again when the server says that its result has changed.
/// They know that error by SQLSTATE *and* routine, so ours must carry both, whichever connection
/// the statement meets.
#[test]
fn an_outdated_statement_fails_the_way_that_drivers_recognise() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "default_pool_size = 2");
    let (mut client, mut blocker) = (weir.client(), weir.client());
    client.query("create table t (a int); insert into t values (1)");
    let described = [
        parse("s", "select * from t"),
        message(b'D', b"Ss\0"),
        sync(),
    ]
    .concat();
    client.send(&described).unwrap();
    assert_eq!(client.answer().tags(), "1tTZ");

    blocker.query("alter table t add column b int");
    let run = [bind("s"), execute(), sync()].concat();
    for on_another_connection in [true, false] {
        if on_another_connection {
            assert_eq!(blocker.query("begin").status(), Some('T'));
        }
        client.send(&run).unwrap();
        let answer = client.answer();
        let error = answer.0.iter().find(|m| m.tag == b'E').expect("an error");
        let fields = error_fields(&error.body);
        assert_eq!(fields.code, b"0A000");
        assert_eq!(fields.message, b"cached plan must not change result type");
        assert_eq!(fields.routine, b"RevalidateCachedQuery");
        if on_another_connection {
            blocker.query("commit");
        }
    }
    // Prepared again, as the drivers do, it works.
    let again = [
        message(b'C', b"Ss\0"),
        parse("s", "select * from t"),
        bind("s"),
        execute(),
        sync(),
    ];
    client.send(&again.concat()).unwrap();
    assert_eq!(client.answer().tags(), "312DCZ");
    weir.assert_quiet();
}

/// Each statement of a pipeline has its own time, as with the server's statement_timeout.
#[test]
fn query_timeout_counts_for_each_statement_of_a_pipeline() {
    let pg = Postgres::start();
    let weir = Pgweir::start(pg.port, "query_timeout = '500ms'");
    let mut client = weir.client();
    let one = [
        parse("", "select pg_sleep(0.1)"),
        bind(""),
        execute(),
        sync(),
    ];
    client.send(&one.concat().repeat(10)).unwrap();
    for n in 0..10 {
        let answer = client.answer();
        assert_eq!((answer.code(), answer.status()), (None, Some('I')), "{n}");
    }
    let long = [parse("", "select pg_sleep(5)"), bind(""), execute(), sync()];
    client
        .send(&[one.concat(), long.concat()].concat())
        .unwrap();
    assert_eq!(client.answer().code(), None);
    assert_eq!(client.answer().code().as_deref(), Some("57014"));
    weir.assert_quiet();
}
