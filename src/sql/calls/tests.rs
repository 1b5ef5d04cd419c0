use super::*;
use crate::sql::{Class, classify};

fn only_statement(text: &str) -> Vec<Effect> {
    match classify(text.as_bytes(), true) {
        Class::Plain => Vec::new(),
        Class::Special(mut all) => {
            assert_eq!(all.len(), 1, "{text}: {all:?}");
            all.remove(0).effects
        }
    }
}

#[test]
fn functions_of_the_session_are_found_however_they_are_written() {
    let locks = [Effect::MayPin(PinKind::AdvisoryLock)];
    for text in [
        "select pg_advisory_lock(1)",
        "SELECT PG_ADVISORY_LOCK (1, 2)",
        "select pg_catalog.pg_advisory_lock_shared(1)",
        "select \"pg_try_advisory_lock\"(id) from t",
        "with x as (select pg_try_advisory_lock_shared(1)) select 1",
        "insert into t select pg_advisory_lock(1)",
        "update t set x = 1 where pg_advisory_lock/* */(id) is null",
        "copy (select pg_advisory_lock(1)) to stdout",
        "(select pg_advisory_lock(1)) union (select pg_advisory_lock(2))",
        "explain analyze select pg_advisory_lock(1)",
        "explain (costs off, analyze) select pg_advisory_lock(1)",
        "create table t as select pg_advisory_lock(1)",
    ] {
        let found = only_statement(text);
        assert!(found.ends_with(&locks), "{text}: {found:?}");
    }
    for text in [
        "select pg_advisory_unlock(1)",
        "select pg_advisory_unlock_shared(1, 2)",
        "select pg_advisory_unlock_all()",
    ] {
        let unlocks = [Effect::MayUnpin(PinKind::AdvisoryLock)];
        assert_eq!(only_statement(text), unlocks, "{text}");
    }
    for text in [
        "select dblink_connect('c', 'dbname=x')",
        "select ext.dblink_connect_u('c')",
        "select pg_replication_origin_session_setup('o')",
        "select pg_create_logical_replication_slot('s', 'p', true)",
    ] {
        assert_eq!(
            only_statement(text),
            [Effect::MayPin(PinKind::Load)],
            "{text}"
        );
    }
    assert_eq!(
        only_statement("select set_limit(0.5)"),
        [Effect::SetConfigUnknown]
    );
}

#[test]
fn what_is_no_such_call_is_plain() {
    for text in [
        "select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2)",
        "select pg_advisory_lock from t",
        "select 'pg_advisory_lock(1)' /* set_config('a', 'b', false) */",
        "select \"pg_advisory_lock (1)\", \"PG_ADVISORY_LOCK\"(1)",
        "select $f$pg_advisory_lock(1)$f$",
        "select my_pg_advisory_lock(1), pg_advisory_lock1(2)",
        "grant execute on function pg_advisory_lock(bigint) to u",
        "explain select set_config('a.b', 'x', false)",
        "explain (analyze off) select pg_advisory_lock(1)",
        "select * from pg_settings where name = 'x'",
        "select * from pg_create_things()",
    ] {
        assert_eq!(classify(text.as_bytes(), true), Class::Plain, "{text}");
    }
}

#[test]
fn names_that_hide_behind_escapes_may_be_anything() {
    let text = r#"select U&"pg_advisory\005flock"(1)"#;
    assert_eq!(only_statement(text), [Effect::Unknown]);
}

#[test]
fn set_config_of_another_schema_is_not_taken_at_its_word() {
    let found = only_statement("select my.set_config('a.b', 'c', false)");
    assert_eq!(found, [Effect::SetConfigUnknown]);
    let found = only_statement("select \"pg_catalog\".set_config('a.b', 'c', false)");
    assert!(matches!(found.as_slice(), [Effect::SetConfig { .. }]));
}

#[test]
fn the_view_of_settings_can_be_updated() {
    for text in [
        "update pg_settings set setting = 'x' where name = 'a.b'",
        "with x as (update only pg_catalog.\"pg_settings\" set setting = 1 returning *) select 1",
    ] {
        assert_eq!(only_statement(text), [Effect::SetConfigUnknown], "{text}");
    }
}

#[test]
fn many_calls_are_read_in_little_time_and_memory() {
    let nested = format!("select {}", "set_config(".repeat(100_000));
    assert!(only_statement(&nested).len() <= CALLS_MAX + 1);
    let locks = format!("select {} 1", "pg_advisory_lock(1),".repeat(100_000));
    assert_eq!(only_statement(&locks).len(), 1);
}
