use std::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::sql::lexer;

fn special(text: &str) -> Vec<Statement> {
    match classify(text.as_bytes(), true) {
        Class::Plain => panic!("plain: {text}"),
        Class::Special(statements) => statements,
    }
}

/// The effects of a text of one statement; none if it is plain.
fn of(text: &str) -> Vec<Effect> {
    match classify(text.as_bytes(), true) {
        Class::Plain => Vec::new(),
        Class::Special(mut all) => {
            assert_eq!(all.len(), 1, "{text}: {all:?}");
            all.remove(0).effects
        }
    }
}

fn is_plain(text: &str) -> bool {
    classify(text.as_bytes(), true) == Class::Plain
}

#[test]
fn ordinary_texts_are_plain() {
    for text in [
        "",
        ";;",
        " -- nothing",
        "select 1",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;",
        "begin; insert into t values (1); commit",
        "begin; explain select 1; end",
        "start transaction isolation level serializable",
        "rollback",
        "abort and chain",
        "commit prepared 'x'; rollback prepared 'y'",
        "prepare transaction 'x'",
        "(select 1) union (select 2)",
        "with x as (select 1) delete from t using x",
        "with x as (insert into t values (1) returning *) select * from x",
        "with x as (select 1) insert into t select * from x",
        "merge into t using u on true when matched then do nothing",
        "select 'set x to 1; listen a' -- listen b",
        "select \"set\", $$listen$$ /* discard all */ from \"temp\"",
        "select temp, temporary from t where into_ = 1 order by declare_",
        "update t set x = 1 where y = 2",
        "copy t from stdin",
        "truncate t",
        "insert into listen values (1)",
        "grant select on t to u",
        "alter system set work_mem = '1MB'",
        "alter role r set search_path to x",
        "alter database d set search_path to x",
        "create user u",
        "drop role r",
        "reindex table t",
        "declare c cursor for select 1",
        "declare c cursor without hold for select hold from t where x = 'with hold'",
        "create temp table t (x int) on commit drop",
        "select x from pg_temp.t",
        "1; 'x'",
    ] {
        assert!(
            is_plain(text),
            "{text}: {:?}",
            classify(text.as_bytes(), true)
        );
    }
}

#[test]
fn names_of_prepared_statements_are_found() {
    let text = "prepare \"A \"\"b\" (int) as select $1; EXECUTE A(1); \
        explain analyze execute b; deallocate prepare c; deallocate prepare; \
        create temp table t on commit drop as execute d; explain create table t as execute e; \
        explain (verbose, costs off) execute f(1); deallocate all; execute transaction";
    let found: Vec<_> = special(text)
        .into_iter()
        .map(|mut s| {
            assert_eq!(s.effects.len(), 1, "{s:?}");
            s.effects.remove(0)
        })
        .collect();
    let of = |word: &str| {
        let start = text.find(word).expect("it is in the text");
        start..start + word.len()
    };
    let name = |n: &str| n.to_owned();
    let execute = |n: &str, name_range: Range<usize>| Effect::Execute {
        name: name(n),
        name_range,
    };
    let behind = |before: &str| of(before).end..of(before).end + 1;
    let expected = [
        Effect::Prepare {
            name: name("A \"b"),
            name_range: of("\"A \"\"b\""),
        },
        execute("a", behind("EXECUTE ")),
        execute("b", behind("analyze execute ")),
        Effect::Deallocate {
            name: name("c"),
            name_range: behind("deallocate prepare "),
        },
        Effect::Deallocate {
            name: name("prepare"),
            name_range: of("prepare; create").start..of("prepare; create").start + 7,
        },
        execute("d", behind("drop as execute ")),
        execute("e", behind("table t as execute ")),
        execute("f", behind("off) execute ")),
        Effect::DeallocateAll,
        execute("transaction", text.len() - 11..text.len()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_a_prepared_statement_does_follows_its_name() {
    let found = of("prepare p as select set_config('a.b', 'c', false), pg_advisory_lock(1)");
    assert!(
        matches!(
            found.as_slice(),
            [
                Effect::Prepare { .. },
                Effect::SetConfigNamed { .. },
                Effect::MayPin(PinKind::AdvisoryLock)
            ]
        ),
        "{found:?}"
    );
    assert!(matches!(
        of("prepare transaction as select 1")[..],
        [Effect::Prepare { .. }]
    ));
}

#[test]
fn what_pins() {
    use PinKind::{HoldCursor, Listen, Load, TempObject};
    for (text, kind) in [
        ("LOAD 'auto_explain'", Load),
        (
            "declare c no scroll cursor with hold for select 1",
            HoldCursor,
        ),
        ("create temp table t (x int)", TempObject),
        (
            "create temp table t (x int) on commit delete rows",
            TempObject,
        ),
        (
            "create or replace local temporary view v as select 1",
            TempObject,
        ),
        ("create global temp sequence s", TempObject),
        ("create temp recursive view v (x) as select 1", TempObject),
        ("create table if not exists pg_temp.t (x int)", TempObject),
        ("create table pg_temp_3.t (x int)", TempObject),
        (
            "create function \"pg_temp\".f() returns int language sql as 'select 1'",
            TempObject,
        ),
        ("create type pg_temp.e as enum ()", TempObject),
        ("select * into temp x from y", TempObject),
        ("select * into temporary table x from y", TempObject),
        ("select 1into local temp x", TempObject),
        (
            "with a as (select 1) select * into pg_temp.x from a",
            TempObject,
        ),
        ("select 1 into table \"pg_temp\".x", TempObject),
        (
            "explain analyze create temp table t as select 1",
            TempObject,
        ),
    ] {
        assert_eq!(of(text), [Effect::MayPin(kind)], "{text}");
    }
    assert_eq!(of("close all"), [Effect::MayUnpin(HoldCursor)]);
    let channel = || "x".to_owned();
    assert_eq!(
        of("listen X"),
        [
            Effect::MayPin(Listen),
            Effect::Listen { channel: channel() }
        ]
    );
    for (text, channel) in [("unlisten *", None), ("unlisten x", Some(channel()))] {
        let unlisten = [Effect::MayUnpin(Listen), Effect::Unlisten { channel }];
        assert_eq!(of(text), unlisten, "{text}");
    }
    assert_eq!(
        of("drop table t"),
        [Effect::Ddl, Effect::MayUnpin(TempObject)]
    );
}

#[test]
fn what_changes_shapes_or_does_anything() {
    for text in [
        "alter table t add x int",
        "create index on t (x)",
        "create table t (temp int)",
        "create unlogged table t as select 1 as temporary",
        "create view v as select pg_advisory_lock(1)",
        "create user mapping for u server s",
        "select 1 into t",
        "import foreign schema s from server x into y",
    ] {
        assert_eq!(of(text), [Effect::Ddl], "{text}");
    }
    for text in [
        "do $$ begin end $$",
        "call p()",
        "exec something",
        "explode",
    ] {
        assert_eq!(of(text), [Effect::Unknown], "{text}");
    }
}

#[test]
fn discard_and_savepoints() {
    let name = "a".to_owned();
    assert_eq!(of("discard all"), [Effect::DiscardAll]);
    assert_eq!(of("discard temporary"), [Effect::DiscardTemp]);
    assert_eq!(of("discard plans"), [Effect::DiscardOther]);
    assert_eq!(
        of("savepoint A"),
        [Effect::Savepoint { name: name.clone() }]
    );
    assert_eq!(
        of("release savepoint a"),
        [Effect::Release { name: name.clone() }]
    );
    assert_eq!(
        of("release savepoint"),
        [Effect::Release {
            name: "savepoint".to_owned()
        }]
    );
    for text in [
        "rollback to a",
        "rollback work to savepoint a",
        "rollback transaction to a",
    ] {
        assert_eq!(
            of(text),
            [Effect::RollbackTo { name: name.clone() }],
            "{text}"
        );
    }
}

#[test]
fn transactions_are_told_beside_other_effects() {
    let found = special(
        "begin work; set a = 1; commit and chain; rollback and no chain; start transaction; \
         end transaction; abort work and chain; prepare transaction 'x'; commit prepared 'x'",
    );
    let found: Vec<_> = found.into_iter().map(|s| s.effects).collect();
    assert_eq!(found[0], [Effect::Begin]);
    assert!(matches!(found[1][..], [Effect::Set { .. }]));
    let expected = [
        vec![Effect::Commit { chain: true }],
        vec![Effect::Rollback { chain: false }],
        vec![Effect::Begin],
        vec![Effect::Commit { chain: false }],
        vec![Effect::Rollback { chain: true }],
        vec![Effect::PrepareTransaction],
        vec![],
    ];
    assert_eq!(found[2..], expected);
}

#[test]
fn statements_are_counted_as_the_server_counts_them() {
    for (text, statements) in [
        (
            "; select ';' ;/**/; set a=1;;",
            &["select ';'", "set a=1"][..],
        ),
        (
            "create rule r as on insert to t do (select 1; select 2); reset a",
            &[
                "create rule r as on insert to t do (select 1; select 2)",
                "reset a",
            ],
        ),
        (
            "create or replace procedure p() begin atomic end; set a=1",
            &[
                "create or replace procedure p() begin atomic end",
                "set a=1",
            ],
        ),
        (
            "create function f() returns int begin atomic select case x when 1 then 2 end as end; \
             select x.end; end; set a=1",
            &[
                "create function f() returns int begin atomic select case x when 1 then 2 end as \
                 end; select x.end; end",
                "set a=1",
            ],
        ),
        (
            "select 1 as atomic; begin; set a=1; end",
            &["select 1 as atomic", "begin", "set a=1", "end"],
        ),
        ("(select 1); set a=1", &["(select 1)", "set a=1"]),
    ] {
        let found = special(text);
        let found: Vec<_> = found.iter().map(|s| &text[s.range.clone()]).collect();
        assert_eq!(found, statements, "{text}");
    }
}

#[test]
fn backslashes_hide_what_follows_only_when_they_escape() {
    let text = br"select 'a\'; set a = 1; --'";
    assert!(matches!(classify(text, true), Class::Special(_)));
    assert_eq!(classify(text, false), Class::Plain);
}

/// Statements of every kind, for tests that take them apart.
const STATEMENTS: &[&str] = &[
    "set session characteristics as transaction isolation level serializable, read only",
    "select set_config('a', 'b', false), pg_advisory_lock(1) into temp x from \"y\"\"z\"",
    "prepare \"a\" (int) as select $1",
    "explain (analyze, costs off) execute a(1)",
    "deallocate prepare a",
    "rollback work to savepoint x",
    "create or replace function f() returns int begin atomic select $a$ ; $a$; end",
    "create local temporary table t (x int default 1.5e3) on commit drop as execute q",
    "set time zone interval E'1\\'' hour to minute",
    "set U&\"\\0061\".b to 'x', \"y\", -1",
    "update only pg_catalog.pg_settings set setting = 'on'",
    "declare c cursor with hold for select 1",
    "commit and no chain",
];

proptest! {
    #[test]
    fn any_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..200), standard: bool) {
        let _ = classify(&text, standard);
    }

    #[test]
    fn any_beginning_of_any_statements_is_survived(
        statements in proptest::collection::vec(prop::sample::select(STATEMENTS), 1..4),
        junk in lexer::tests::FRAGMENTS,
        cut in any::<prop::sample::Index>(),
        standard: bool,
    ) {
        let text = format!("{}{junk}", statements.join(";"));
        let text = &text.as_bytes()[..cut.index(text.len() + 1)];
        if let Class::Special(found) = classify(text, standard) {
            let mut end = 0;
            for statement in found {
                prop_assert!(statement.range.start >= end && !statement.range.is_empty());
                end = statement.range.end;
            }
            prop_assert!(end <= text.len());
        }
    }

    /// The fast pass dismisses nothing in which the slow one would find something.
    #[test]
    fn the_fast_pass_misses_nothing(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just(";".to_owned()),
                prop::sample::select(STATEMENTS).prop_map(str::to_owned),
                prop::sample::select(STATEMENTS).prop_flat_map(|s| {
                    let words: Vec<_> = s.split(' ').map(str::to_owned).collect();
                    prop::sample::select(words)
                }),
                prop::sample::select(&["select", "insert", "begin", "into", "rollback", "to", "(", "\"pg_temp\"", "pg_temp_1", ".x", "with", "merge"][..]).prop_map(str::to_owned),
            ],
            0..12,
        ),
    ) {
        let text = pieces.join(" ");
        if plain::is_plain(text.as_bytes(), true) {
            let tokens: Vec<_> = Lexer::new(text.as_bytes(), true).collect();
            for tokens in split(Tokens::new(text.as_bytes(), &tokens, true)) {
                let found = effects(tokens);
                prop_assert!(found.iter().all(is_transaction_control), "{text}: {found:?}");
            }
        }
    }

    /// Where nothing is quoted, statements are what stands between semicolons.
    #[test]
    fn statements_are_split_at_semicolons(
        statements in proptest::collection::vec("|set a = 1|select 1|listen x|insert into t\nvalues \\(1, 2\\)|end", 0..10),
        blanks in "[ \n]{0,2}",
    ) {
        let text = statements.join(&format!("{blanks};{blanks}"));
        let expected: Vec<_> = statements.iter().filter(|s| !s.is_empty()).collect();
        let is_special = expected.iter().any(|s| s.starts_with("set") || s.starts_with("listen"));
        match classify(text.as_bytes(), true) {
            Class::Plain => prop_assert!(!is_special, "{text}"),
            Class::Special(found) => {
                let found: Vec<_> = found.iter().map(|s| &text[s.range.clone()]).collect();
                prop_assert!(is_special && found == expected, "{text}: {found:?}");
            }
        }
    }

    /// Nothing that stands before or behind a statement hides it.
    #[test]
    fn a_special_statement_is_found_among_others(
        before in r#"((select 1|select 'a;b'|/\* ; \*/|-- x\n|begin|select \$\$;'\$\$|select E'\\''|insert into "t;"" """ values \(1\)|create rule r as on insert to t do \(a; b\)| );){0,4}"#,
        after in r"( |;select 2| -- set y\n|/\* x \*/|;end){0,3}",
        statement in prop::sample::select(&["SET a = 1", "listen x", "select pg_advisory_lock(1)", "discard all", "do 'x'", "Execute p"][..]),
    ) {
        let text = format!("{before}{statement}{after}");
        let alone = of(statement);
        let found = special(&text);
        let same = found.iter().find(|s| text[s.range.clone()] == *statement);
        prop_assert!(same.is_some(), "{text}: {found:?}");
        let kinds = |effects: &[Effect]| effects.iter().map(std::mem::discriminant).collect::<Vec<_>>();
        prop_assert_eq!(kinds(&same.map_or(vec![], |s| s.effects.clone())), kinds(&alone));
    }

    /// In a string, a comment or a quoted identifier it is nothing.
    #[test]
    fn quoted_words_are_nothing(
        inside in r"(set a = 1;| listen x;|discard all| pg_advisory_lock\(1\)| into temp |;){1,5}",
    ) {
        for text in [
            format!("select '{inside}'"),
            format!("select E'\\'{inside}'"),
            format!("select 'a'\n'{inside}'"),
            format!("select 1 /* /* */ {inside} */"),
            format!("select 1 -- {inside}"),
            format!("select $q${inside}$q$"),
            format!("select \"\"\"{inside}\" from t"),
        ] {
            prop_assert!(is_plain(&text), "{text}");
        }
    }
}
