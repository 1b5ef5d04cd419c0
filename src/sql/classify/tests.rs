use super::*;
use proptest::prelude::*;

fn effects(text: &str) -> Vec<Vec<Effect>> {
    match classify(text.as_bytes(), true) {
        Class::Plain => Vec::new(),
        Class::Special(list) => list.into_iter().map(|s| s.effects).collect(),
    }
}

fn only(text: &str) -> Effect {
    let mut all = effects(text);
    assert_eq!(all.len(), 1, "{text}: {all:?}");
    let mut one = all.remove(0);
    assert_eq!(one.len(), 1, "{text}: {one:?}");
    one.remove(0)
}

fn set(text: &str) -> (String, bool, Option<String>) {
    match only(text) {
        Effect::Set {
            name,
            local,
            replay,
        } => (name, local, replay),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn ordinary_statements_are_plain() {
    for text in [
        "",
        ";;",
        "select 1",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;",
        "begin; insert into t values (1); commit",
        "rollback",
        "(select 1) union (select 2)",
        "with x as (select 1) delete from t using x",
        "select 'set x to 1; listen a' -- listen b",
        "select \"set\", $$listen$$ /* discard all */",
        "start transaction isolation level serializable",
        "set transaction read only",
        "set local work_mem = '1MB'; select 1",
        "select pg_advisory_xact_lock(1)",
        "update t set x = 1 where y = 2",
        "copy t from stdin",
        "truncate t",
        "insert into listen values (1)",
        "grant select on t to u",
        "prepare transaction 'x'",
        "declare c cursor for select 1",
        "declare c cursor without hold for select hold from t",
    ] {
        let found = effects(text);
        let nothing = found
            .iter()
            .flatten()
            .all(|e| matches!(e, Effect::Set { local: true, .. }));
        assert!(nothing, "{text}: {found:?}");
    }
}

#[test]
fn settings_and_how_they_are_replayed() {
    let replay = |s: &str| Some(s.to_owned());
    assert_eq!(
        set("set search_path to a, \"B\""),
        (
            "search_path".into(),
            false,
            replay("SET search_path to a, \"B\"")
        )
    );
    assert!(!set("SET SESSION Work_Mem = '1MB';").1);
    assert_eq!(
        set("SET SESSION Work_Mem = '1MB'").2,
        replay("SET Work_Mem = '1MB'")
    );
    assert!(set("set local x.y = 1").1);
    assert_eq!(set("set my.Var to default"), ("my.var".into(), false, None));
    assert_eq!(
        set("set time zone interval '1' hour to minute").2,
        replay("SET time zone interval '1' hour to minute")
    );
    assert_eq!(set("set time zone local"), ("timezone".into(), false, None));
    assert_eq!(set("set names 'utf8'").0, "client_encoding");
    assert_eq!(set("set schema 'x'").0, "search_path");
    assert_eq!(
        set("set role r"),
        ("role".into(), false, replay("SET role r"))
    );
    assert_eq!(set("set role none"), ("role".into(), false, None));
    assert_eq!(
        set("set session authorization u"),
        (
            "session_authorization".into(),
            false,
            replay("SET SESSION authorization u")
        )
    );
    assert_eq!(
        set("set session characteristics as transaction isolation level serializable").0,
        "default_transaction_isolation"
    );
    assert_eq!(
        only("reset time zone"),
        Effect::Reset {
            name: "timezone".into()
        }
    );
    assert_eq!(only("reset all"), Effect::ResetAll);
    assert_eq!(
        only("reset session authorization"),
        Effect::Reset {
            name: "session_authorization".into()
        }
    );
}

#[test]
fn set_config_is_read_where_it_can_be() {
    assert_eq!(
        only("select pg_catalog.set_config('search_path', 'it''s', false)"),
        Effect::SetConfig {
            name: "search_path".into(),
            value: "it's".into(),
            local: false
        }
    );
    assert!(matches!(
        only("select set_config($1, $2, true)"),
        Effect::SetConfig { local: true, .. }
    ));
    for named in [
        "select set_config('A', 'b' || 'c', false)",
        "select set_config('a', $1, false)",
        "select set_config('a', 'b', is_local) from t",
    ] {
        assert_eq!(
            only(named),
            Effect::SetConfigNamed { name: "a".into() },
            "{named}"
        );
    }
    for unknown in [
        "select set_config($1, 'x', false)",
        "select set_config('a' || 'b', 'x', false)",
        "select \"set_config\"(name, setting, false) from t",
    ] {
        assert_eq!(only(unknown), Effect::SetConfigUnknown, "{unknown}");
    }
}

#[test]
fn names_of_prepared_statements_are_found() {
    let text =
        "prepare \"A b\" (int) as select $1; execute A(1); deallocate prepare c; deallocate all";
    let Class::Special(list) = classify(text.as_bytes(), true) else {
        panic!()
    };
    let all: Vec<_> = list.iter().map(|s| &s.effects[0]).collect();
    let Effect::Prepare { name, name_range } = all[0] else {
        panic!("{all:?}")
    };
    assert_eq!(
        (name.as_str(), &text[name_range.clone()]),
        ("A b", "\"A b\"")
    );
    assert_eq!(
        &text[list[0].range.clone()],
        "prepare \"A b\" (int) as select $1"
    );
    assert!(matches!(all[1], Effect::Execute { name, .. } if name == "a"));
    assert!(matches!(all[2], Effect::Deallocate { name, .. } if name == "c"));
    assert_eq!(*all[3], Effect::DeallocateAll);
    assert!(matches!(
        only("explain (analyze) execute q"),
        Effect::Execute { .. }
    ));
    assert_eq!(effects("create table x as execute q(1)")[0].len(), 2);
}

#[test]
fn what_pins() {
    use PinKind::*;
    for (text, kind) in [
        ("listen x", Listen),
        ("select pg_advisory_lock(1)", AdvisoryLock),
        (
            "select * from t where pg_try_advisory_lock(id)",
            AdvisoryLock,
        ),
        ("create temp table t (x int)", TempObject),
        (
            "create or replace local temporary view v as select 1",
            TempObject,
        ),
        ("create table pg_temp.t (x int)", TempObject),
        ("select * into temp x from y", TempObject),
        (
            "declare c no scroll cursor with hold for select 1",
            HoldCursor,
        ),
        ("load 'x'", Load),
    ] {
        assert_eq!(only(text), Effect::MayPin(kind), "{text}");
    }
    assert_eq!(
        effects("create temp table t (x int) on commit drop"),
        Vec::<Vec<Effect>>::new()
    );
    assert_eq!(
        only("select pg_advisory_unlock_all()"),
        Effect::MayUnpin(AdvisoryLock)
    );
    assert_eq!(only("unlisten *"), Effect::MayUnpin(Listen));
    assert_eq!(only("do $$ begin end $$"), Effect::Unknown);
    assert_eq!(only("call p()"), Effect::Unknown);
}

#[test]
fn savepoints_and_ddl() {
    assert_eq!(only("savepoint A"), Effect::Savepoint { name: "a".into() });
    assert_eq!(only("release a"), Effect::Release { name: "a".into() });
    assert_eq!(
        only("rollback work to savepoint \"A\""),
        Effect::RollbackTo { name: "A".into() }
    );
    assert_eq!(only("alter table t add x int"), Effect::Ddl);
    assert_eq!(only("create index on t (x)"), Effect::Ddl);
}

#[test]
fn statements_are_counted_as_the_server_counts_them() {
    let text = "; select ';' ; set a=1;; create rule r as on insert to t do (select 1; select 2); \
        create function f() returns int begin atomic select case when true then 1 end; select 2; end; reset a;";
    let Class::Special(list) = classify(text.as_bytes(), true) else {
        panic!()
    };
    assert_eq!(list.len(), 5, "{list:?}");
    assert!(list[0].effects.is_empty());
    assert!(matches!(list[4].effects[0], Effect::Reset { .. }));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..200), standard: bool) {
        let _ = classify(&text, standard);
    }

    #[test]
    fn any_beginning_of_a_statement_is_survived(cut in 0usize..120) {
        for text in [
            "set session characteristics as transaction isolation level serializable, read only",
            "select set_config('a', 'b', false), pg_advisory_lock(1) into temp x from \"y\"\"z\"",
            "prepare \"a\" (int) as select $1; execute a(1); deallocate prepare a; rollback to savepoint x",
            "create or replace function f() returns int begin atomic select $a$ ; $a$; end; E'\\",
        ] {
            let _ = classify(&text.as_bytes()[..cut.min(text.len())], true);
        }
    }

    /// Nothing that stands before or behind a statement hides it.
    #[test]
    fn a_special_statement_is_found_among_others(
        before in "( select 1|'a;b'|/\\* ; \\*/|-- x\n| begin| \\$\\$;\\$\\$){0,3}",
        after in "( ;select 2| -- set y\n| /\\* x \\*/){0,2}",
    ) {
        let text = format!("{before};set a = 1{after}");
        let found = effects(&text);
        prop_assert!(found.iter().flatten().any(|e| matches!(e, Effect::Set { name, .. } if name == "a")), "{text}");
    }

    /// In a string or a comment it is nothing.
    #[test]
    fn quoted_words_are_nothing(inside in "(set a = 1;| listen x;|discard all| pg_advisory_lock\\(1\\)){1,3}") {
        for text in [format!("select '{inside}'"), format!("select 1 /* {inside} */"), format!("select $q${inside}$q$")] {
            prop_assert_eq!(classify(text.as_bytes(), true), Class::Plain);
        }
    }
}
