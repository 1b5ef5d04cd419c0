use super::*;

mod attacks;
mod cost;

use crate::cache::facts::{Action, Name};
use proptest::prelude::*;

fn facts(text: &str) -> Facts {
    analyse(text.as_bytes(), true)
}

fn relations(text: &str) -> Result<Vec<String>, Refusal> {
    let read = facts(text).read?;
    Ok(read.relations.iter().map(ToString::to_string).collect())
}

/// Writes as `action target`, or what else it says.
fn says(text: &str) -> String {
    let facts = facts(text);
    let parts = facts.statements.iter().map(|s| match &s.says {
        Says::Nothing => "nothing".to_owned(),
        Says::Reads => "reads".to_owned(),
        Says::Executes(name) => format!("executes {name}"),
        Says::Runs { schema: false } => "runs".to_owned(),
        Says::Runs { schema: true } => "runs, schema".to_owned(),
        Says::Everywhere => "everywhere".to_owned(),
        Says::Anything(why) => format!("anything {why}"),
        Says::Writes(writes) => {
            let each = writes.iter().map(|w| {
                let action = match w.action {
                    Action::Insert => "insert",
                    Action::Update => "update",
                    Action::Delete => "delete",
                    Action::Merge => "merge",
                    Action::Truncate => "truncate",
                    Action::Refresh => "refresh",
                };
                format!("{action} {}", w.target)
            });
            each.collect::<Vec<_>>().join(", ")
        }
    });
    parts.collect::<Vec<_>>().join("; ")
}

/// What is called, as `name/arguments`.
fn calls(text: &str) -> Vec<String> {
    let mentions = &facts(text).statements[0].mentions;
    let each = mentions.calls.iter().map(|c| match c.arguments {
        Some(n) => format!("{}/{n}", c.name),
        None => format!("{}/?", c.name),
    });
    each.collect()
}

#[test]
fn reads_and_their_relations() {
    for (text, expected) in [
        ("select 1", ""),
        ("select * from t", "t"),
        ("SELECT * FROM Public.T", "public.t"),
        ("select * from \"T\" x join s.u on x.a = u.a", "T s.u"),
        (
            "select * from a, b, lateral (select * from c where c.x = a.x) l",
            "a b c",
        ),
        ("values (1), (2)", ""),
        ("values ((select max(x) from t))", "t"),
        (
            "select (select 1 from t), exists (select 1 from u), a in (select b from v)",
            "t u v",
        ),
        ("with c as (select * from t) select * from c", "t"),
        (
            "with recursive c(n) as (select 1 union all select n + 1 from c where n < 5) select * from c, d",
            "d",
        ),
        (
            "select * from t where x in (with t2 as (select 1) select * from t2)",
            "t",
        ),
        (
            "select * from t union select * from u except (select * from v order by 1 limit 3)",
            "t u v",
        ),
        (
            "select count(*) filter (where a > 1), rank() over (partition by b order by c) from t",
            "t",
        ),
        (
            "select a from t group by grouping sets ((a), ()), rollup (b) having count(*) > 1",
            "t",
        ),
        (
            "select * from generate_series(1, 3) with ordinality as g(n, o), t",
            "t",
        ),
        ("select * from unnest(array[1,2]) as x", ""),
        (
            "select x::int, cast(y as text), date '2020-01-01', interval '1 day' from t",
            "t",
        ),
        (
            "select a->'b'->>'c', a #> '{x}', a @> '{}' from t where a ? 'k'",
            "t",
        ),
        (
            "select case a when 1 then 2 else 3 end from t order by 1 desc nulls last limit 10 offset 5",
            "t",
        ),
        ("select distinct on (a) a, b from t", "t"),
        (
            "select t.* from t natural join u left join v using (id) cross join w",
            "t u v w",
        ),
        ("(select * from t)", "t"),
        ("select * from t fetch first 5 rows only", "t"),
        ("select a[1], row(1, 2), array[1, 2], (x).y from t", "t"),
        ("/* hi */ select /* there */ * from t -- end", "t"),
        ("select $1::int, x from t where y = $2", "t"),
        (
            "select extract(year from d), substring(s from 1 for 2), trim(both ' ' from s) from t",
            "t",
        ),
        (
            "select a from t where b like 'x%' and c ilike 'y' and d similar to 'z'",
            "t",
        ),
        ("select d at time zone 'UTC' from t", "t"),
        ("select current_setting('app.user') from t", "t"),
        ("select * from t;", "t"),
        ("table t", "t"),
        ("/* a */ table s.t order by 1", "s.t"),
    ] {
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(
            relations(text),
            Ok(expected.iter().map(ToString::to_string).collect()),
            "{text}"
        );
        assert_eq!(says(text), "reads", "{text}");
    }
}

#[test]
fn what_is_no_read() {
    for (text, refusal) in [
        ("", Refusal::NotOneStatement),
        ("select 1; select 2", Refusal::NotOneStatement),
        ("select * from t for update", Refusal::Locking),
        (
            "select * from (select * from t for share) x",
            Refusal::Locking,
        ),
        ("select * from t for no key update of t", Refusal::Locking),
        ("select * into u from t", Refusal::Into),
        (
            "with x as (delete from t returning *) select * from x",
            Refusal::WritingCte,
        ),
        (
            "select * from t tablesample system (1)",
            Refusal::TableSample,
        ),
        ("select 'now'::timestamptz", Refusal::DateWord),
        ("select date 'today'", Refusal::DateWord),
        ("explain select 1", Refusal::NotARead),
        ("show all", Refusal::NotARead),
        ("insert into t values (1)", Refusal::NotARead),
        ("select current_setting(x) from t", Refusal::UnknownSetting),
        ("select * from t where", Refusal::Unparsed),
        ("declare c cursor for select 1", Refusal::NotARead),
        // The parser takes ONLY for a name.
        ("select * from only t", Refusal::Unparsed),
    ] {
        assert_eq!(relations(text), Err(refusal), "{text}");
    }
    let long = format!("select {}", "1+".repeat(2000));
    assert_eq!(relations(&long), Err(Refusal::TooLong));
}

#[test]
fn writes_and_their_targets() {
    for (text, expected) in [
        ("insert into t values (1)", "insert t"),
        ("INSERT INTO s.T (a) SELECT * FROM u", "insert s.t"),
        (
            "insert into t values (1) on conflict (a) do update set a = 1",
            "merge t",
        ),
        (
            "insert into t values (1) on conflict do nothing",
            "insert t",
        ),
        ("update t set a = 1", "update t"),
        ("update only s.t as x set a = 1 from u", "update s.t"),
        ("update t x set a = 1", "update t"),
        ("update \"update\" set a = 1", "update update"),
        ("delete from only t using u", "delete t"),
        (
            "merge into t using u on t.a = u.a when matched then update set b = 1 when not matched then insert values (1) when matched then delete",
            "merge t",
        ),
        (
            "truncate table a, only b, c * restart identity cascade",
            "truncate a, truncate b, truncate c",
        ),
        ("copy t (a, b) from stdin", "insert t"),
        ("copy t to stdout", "reads"),
        ("copy (select * from t) to stdout", "reads"),
        (
            "copy (insert into t values (1) returning *) to stdout",
            "insert t",
        ),
        ("refresh materialized view concurrently m", "refresh m"),
        (
            "with x as (delete from t returning *) insert into u select * from x",
            "delete t, insert u",
        ),
        (
            "with x as (update t set a = 1 returning *) select * from x",
            "update t",
        ),
        ("explain analyze delete from t", "delete t"),
        ("explain select 1", "reads"),
        ("explain analyze execute p", "anything EXPLAIN"),
        ("select * from t for update", "reads"),
        ("select * from t for no key update skip locked", "reads"),
        ("select * into u from t", "anything SELECT INTO"),
        ("select update from t", "anything UPDATE"),
        ("select \"update\", t.delete from t", "reads"),
        (
            "begin; insert into t values (1); commit",
            "nothing; insert t; nothing",
        ),
        ("do $$ begin delete from t; end $$", "runs"),
        ("call p()", "runs"),
        ("do $$ begin execute 'x'; end $$", "runs, schema"),
        ("create table x (a int)", "anything DDL"),
        ("alter table x add b int", "anything DDL"),
        ("grant select on x to y", "everywhere"),
        ("alter role x set work_mem = 5", "everywhere"),
        (
            "alter default privileges grant select on tables to x",
            "anything DDL",
        ),
        ("vacuum t", "nothing"),
        ("vacuum full t", "anything VACUUM FULL"),
        ("execute p(1)", "executes p"),
        ("prepare p as delete from t", "nothing"),
        ("lock table t", "nothing"),
        ("declare c cursor with hold for select * from t", "reads"),
        ("xyzzy", "anything DDL"),
        ("set a = 'insert into t'", "nothing"),
        ("select 'insert into t'", "reads"),
        ("/* delete from t */ select 1 -- drop", "reads"),
        ("select U&\"x\" from t", "anything unreadable"),
        ("commit prepared 'x'", "anything COMMIT PREPARED"),
        ("a.b.c.d", "anything DDL"),
        ("insert into a.b.c values (1)", "insert b.c"),
        ("delete t", "anything DELETE"),
        ("INSERT INTO t DEFAULT VALUES RETURNING *", "insert t"),
    ] {
        assert_eq!(says(text), expected, "{text}");
    }
}

#[test]
fn what_may_commit() {
    let may = |text: &str| facts(text).statements.iter().any(|s| s.may_commit);
    for text in [
        "commit",
        "end",
        "COMMIT AND CHAIN",
        "prepare transaction 'x'",
        "call p()",
        "do 'x'",
        "xyzzy",
        "create table t ()",
    ] {
        assert!(may(text), "{text}");
    }
    for text in [
        "select 1",
        "insert into t values (1)",
        "rollback",
        "begin",
        "savepoint a",
        "prepare p as select 1",
        "set x = 1",
        "rollback to a",
    ] {
        assert!(!may(text), "{text}");
    }
}

#[test]
fn what_is_called() {
    assert_eq!(
        calls("select f(), g(1, 2), s.H((1), 2, k(3))"),
        ["f/0", "g/2", "s.h/3", "k/1"]
    );
    assert_eq!(
        calls("select count(*), f(variadic a), g(x => 1), h(y := 2)"),
        ["count/?", "f/?", "g/?", "h/?"]
    );
    assert_eq!(calls("select now()"), ["now/0"]);
    assert_eq!(
        calls("select CURRENT_DATE, localtime(3)"),
        ["current_date/0", "localtime/0", "localtime/1"]
    );
    assert_eq!(calls("select a at time zone 'x'"), ["timezone/?"]);
    assert_eq!(
        calls("select extract(year from a)"),
        ["date_part/?", "extract/?"]
    );
    assert_eq!(calls("select \"F\" (1)"), ["F/1"]);
    assert_eq!(calls("select f(1"), ["f/?"]);
    assert_eq!(
        calls("select (1), a in (2), exists (select 1)"),
        ["exists/1"]
    );
}

#[test]
fn what_is_named() {
    let mentions = facts("select a.b, c from s.t x where y operator(s.+) 2 <-> 3*-4").statements[0]
        .mentions
        .clone();
    for name in [
        Name::bare("a"),
        Name::bare("b"),
        Name::qualified("a", "b"),
        Name::bare("c"),
        Name::qualified("s", "t"),
        Name::bare("x"),
        Name::bare("y"),
    ] {
        assert!(mentions.identifiers.contains(&name), "{name}");
    }
    assert!(!mentions.identifiers.contains(&Name::bare("select")));
    for operator in ["+", "<->", "*", "-", "*-", "="] {
        assert!(
            mentions.operators.iter().any(|o| **o == *operator),
            "{operator}"
        );
    }
}

#[test]
fn prepared_statements_have_a_body() {
    let body = |text: &str| {
        let body = prepared_body(text.as_bytes(), true)?;
        Some(String::from_utf8_lossy(body).trim().to_owned())
    };
    assert_eq!(
        body("prepare p (int, text) as delete from t"),
        Some("delete from t".to_owned())
    );
    assert_eq!(
        body("PREPARE \"as\" AS select 1"),
        Some("select 1".to_owned())
    );
    assert_eq!(body("select 1"), None);
}

#[test]
fn comments_go_and_nothing_else() {
    for (text, expected) in [
        ("select 1", "select 1"),
        (" select 1 ; ", "select 1"),
        ("/* a */ select /* b /* c */ */ 1 -- d", "select 1"),
        ("select '--x' /* y */", "select '--x'"),
        ("select 'a' -- b\n 'c'", "select 'a' -- b\n 'c'"),
        ("select a -- b\n, c", "select a\n, c"),
        ("select $$ /* x */ $$", "select $$ /* x */ $$"),
        ("select \"--\" - -1", "select \"--\" - -1"),
    ] {
        let stripped = strip_comments(text.as_bytes(), true);
        assert_eq!(String::from_utf8_lossy(&stripped), expected, "{text}");
    }
}

#[test]
fn hints() {
    use std::time::Duration;
    let hint = |text: &str| leading_hint(text.as_bytes());
    assert_eq!(hint("/* pgweir: no-cache */ select 1"), Some(Hint::NoCache));
    assert_eq!(
        hint("  /*pgweir: cache*/select 1"),
        Some(Hint::Cache { ttl: None })
    );
    let ttl = Some(Duration::from_secs(30));
    assert_eq!(
        hint("/* pgweir: cache ttl=30s */"),
        Some(Hint::Cache { ttl })
    );
    for no in [
        "select 1 /* pgweir: no-cache */",
        "/* pgweir: xyzzy */",
        "/* pgweir: cache ttl=x */",
        "/* x */",
        "/*",
    ] {
        assert_eq!(hint(no), None, "{no}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(text in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = analyse(&text, true);
        let _ = strip_comments(&text, false);
        let _ = leading_hint(&text);
        let _ = prepared_body(&text, true);
    }

    #[test]
    fn soups_of_words_do_not_panic(words in proptest::collection::vec(
        prop::sample::select(vec!["select", "from", "t", "(", ")", ",", "insert", "into", "update",
            "set", "delete", ".", "with", "as", "*", "'x'", "\"q\"", "union", "for", "merge", "then",
            "copy", "to", ";", "1", "::", "int", "table", "values", "-", "operator", "/*", "*/"]), 0..24)) {
        let text = words.join(" ");
        let facts = analyse(text.as_bytes(), true);
        // What writes is never a read.
        if facts.read.is_ok() {
            prop_assert_eq!(facts.statements.len(), 1);
            prop_assert_eq!(&facts.statements[0].says, &Says::Reads);
        }
        let stripped = strip_comments(text.as_bytes(), true);
        let again = strip_comments(&stripped, true);
        prop_assert_eq!(&stripped, &again);
    }
}
