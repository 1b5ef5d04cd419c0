use proptest::prelude::*;

use super::{LONGEST, canonical, readable};

fn shown(text: &str) -> String {
    let mut out = Vec::new();
    readable(text.as_bytes(), true, &mut out);
    String::from_utf8(out).unwrap()
}

fn hashed(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    canonical(text.as_bytes(), true, &mut out);
    out
}

#[test]
fn constants_become_parameters() {
    for (text, expected) in [
        ("select 1", "select $1"),
        ("SELECT  'a' ,\n 2.5e3", "SELECT $1 , $2"),
        ("select -5, a - 5, (a)-5", "select $1, a - $2, (a)-$3"),
        ("select - -5", "select - $1"),
        (
            "select * from t where a = $2 and b = 7",
            "select * from t where a = $2 and b = $3",
        ),
        (
            "select E'a\\'b', $$x$$, $q$ y $q$, B'1', U&'x'",
            "select $1, $2, $3, $4, $5",
        ),
        ("select a/**/from t -- 'secret'", "select a from t"),
        ("/* who */ select 1;;", "select $1"),
        ("select 1; select 'x'", "select $1; select $2"),
        ("select date '2020-01-01'", "select date $1"),
        (
            "select null, true where a is null and b is not true",
            "select $1, $2 where a is null and b is not true",
        ),
        (
            "create role r password 'secret'",
            "create role r password $1",
        ),
        (
            "ALTER ROLE r WITH ENCRYPTED PASSWORD 'secret'",
            "ALTER ROLE r WITH ENCRYPTED PASSWORD $1",
        ),
        (
            "create table t (a int not null default null)",
            "create table t (a int not null default null)",
        ),
        ("select 'open", "select $1"),
        (
            "select \"Odd 1\" from \"t2\"",
            "select \"Odd 1\" from \"t2\"",
        ),
        ("", ""),
        (" -- x", ""),
        (";", ""),
        ("set a = 'x'", "set a = $1"),
        ("select t1.a2 from t1", "select t1.a2 from t1"),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn lists_are_short() {
    for (text, expected) in [
        (
            "select * from t where a in (1, 2,3)",
            "select * from t where a in (...)",
        ),
        ("a IN ( 1 )", "a IN (...)"),
        ("a in ($1,$2) and b = 5", "a in (...) and b = $3"),
        ("a in (1, 2) and b = 5", "a in (...) and b = $1"),
        ("a in ((1, 'x'), (2, 'y')) or c", "a in (...) or c"),
        ("a in (1::int, -2::int)", "a in (...)"),
        ("a in (1, b)", "a in ($1, b)"),
        ("a in (1, f(2))", "a in ($1, f($2))"),
        ("a in (select 1)", "a in (select $1)"),
        ("a = any(array[1,2])", "a = any(array[...])"),
        ("array[array[1], array[2]]", "array[...]"),
        ("a[1]", "a[$1]"),
        ("f(1, 2)", "f($1, $2)"),
        (
            "insert into t values (1, 2)",
            "insert into t values ($1, $2)",
        ),
        (
            "insert into t values (1, 2), (3, DEFAULT), (null,5) returning 7",
            "insert into t values ($1, $2), ... returning $3",
        ),
        ("values (1), (2)", "values ($1), ..."),
        ("values (1), (now())", "values ($1), (now())"),
        (
            "values (1), (2), (now()), (3)",
            "values ($1), ..., (now()), ($2)",
        ),
        (
            "with x as (values (1), (2)) select 1",
            "with x as (values ($1), ...) select $2",
        ),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn names_that_are_made_up_are_constants() {
    for (text, expected) in [
        ("savepoint s1", "savepoint $1"),
        ("RELEASE SAVEPOINT s1", "RELEASE SAVEPOINT $1"),
        ("release \"s 1\"", "release $1"),
        ("rollback to savepoint s1", "rollback to savepoint $1"),
        ("ROLLBACK WORK TO s1", "ROLLBACK WORK TO $1"),
        ("rollback", "rollback"),
        ("deallocate p1", "deallocate $1"),
        ("deallocate prepare p1", "deallocate prepare $1"),
        ("deallocate all", "deallocate all"),
        (
            "declare c1 cursor for select 1",
            "declare $1 cursor for select $2",
        ),
        ("fetch 10 from c1", "fetch $1 from $2"),
        ("fetch c1", "fetch $1"),
        ("fetch forward all in c1;", "fetch forward all in $1"),
        (
            "move c1; close c1; select c1",
            "move $1; close $2; select c1",
        ),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn what_does_not_count() {
    for (one, other) in [
        ("select 1", "SELECT\t2 -- x"),
        ("select a from t where b=1", "Select A From T Where B = 'x'"),
        ("select \"a\" from t", "select a from \"t\""),
        ("select a from t;", "select a from t"),
        ("select -1", "select 1"),
        ("select a in (1)", "select a in (1, 2, 3)"),
        ("values (1, 2)", "values (3, -4)"),
        ("values (1), (2)", "values (1), (2), (3)"),
        ("savepoint a", "savepoint b"),
        ("a in ($1, $2)", "a in ($1)"),
        (
            "insert into t values ($1), ($2)",
            "insert into t values ($1), ($2), ($3)",
        ),
    ] {
        assert_eq!(hashed(one), hashed(other), "{one} / {other}");
    }
    for (one, other) in [
        ("select a", "select b"),
        ("select a b", "select ab"),
        ("select \"A\"", "select a"),
        ("select $1", "select $2"),
        ("select $1", "select 1"),
        ("select a where b = 1", "select a where b > 1"),
        ("select null", "select a is null"),
        ("values (1)", "values (1), (2)"),
        ("values (1, 2)", "values (1)"),
        ("select f(1)", "select f(1, 2)"),
        ("select 1; select 1", "select 1"),
    ] {
        assert_ne!(hashed(one), hashed(other), "{one} / {other}");
    }
}

/// Bulk inserts of different lengths are the same statement, wherever they are cut off.
#[test]
fn of_a_long_text_the_beginning_counts() {
    let insert = |rows: usize, width: usize| {
        let rows: Vec<_> = (0..rows)
            .map(|n| format!("({n}, '{}', {n}.5)", "x".repeat(width)))
            .collect();
        format!("insert into t (a, b, c) values {}", rows.join(", "))
    };
    let all = hashed(&insert(2, 1));
    for rows in [1000, 1001, 5000] {
        for width in 0..40 {
            let text = insert(rows, width);
            assert!(text.len() > LONGEST);
            assert_eq!(hashed(&text), all, "{rows} rows, {width} wide");
            assert_eq!(
                shown(&text),
                "insert into t (a, b, c) values ($1, $2, $3), ... ..."
            );
        }
    }
    let list = |n: usize| {
        format!(
            "select 1 where a in ({})",
            (0..n).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
        )
    };
    assert_eq!(hashed(&list(5000)), hashed(&list(6000)));
    assert_eq!(shown(&list(5000)), "select $1 where a in (... ...");
}

#[test]
fn backslashes_as_the_session_has_them() {
    let mut out = Vec::new();
    readable(br"select 'it\'s', x, 'secret'", false, &mut out);
    assert_eq!(out, b"select $1, x, $2");
}

proptest! {
    /// Each constant here has a mark that must not be seen again.
    #[test]
    fn no_constant_is_left(words in proptest::collection::vec(prop::sample::select(vec![
        "select", "from", "t", "(", ")", "[", "]", ",", "in", "in (", "array[", "values", "values (", "), (", "-", "'",
        "''", "'zq1'", "77001", "-77.001", "E'zq\\'zq'", "$$zq$$", "$x$zq$$zq$x$", "/* zq */", "-- zq\n", "b'77001'",
        "0x77001f", "'zq'\n'zq'", "null", "::", "int", "u&'zq' uescape '!'", "savepoint", "fetch", "close", "$1", "$77",
        ";", "=", "\"a\"", "e'zq", "default", "date", "is", "to", "rollback"]), 0..24),
        standard in any::<bool>()) {
        let text = words.join(" ");
        let mut out = Vec::new();
        readable(text.as_bytes(), standard, &mut out);
        let once = String::from_utf8(out).unwrap();
        // An open quote turns inside and outside of the others around, which is how the server reads it, too.
        let quotes = words.iter().any(|w| matches!(*w, "'" | "e'zq" | "''" )) || !standard;
        if !quotes {
            prop_assert!(!once.contains("zq") && !once.contains("7700"), "{} -> {}", text, once);
        }
        let mut again = Vec::new();
        readable(once.as_bytes(), standard, &mut again);
        prop_assert_eq!(&once, &String::from_utf8(again).unwrap(), "{}", text);
    }

    /// Nor in whatever else may come, in which everything in quotes is a constant.
    #[test]
    fn nothing_between_quotes_is_left(before in "[a-z ,()=]{0,12}", secret in "[A-Z]{6}", behind in "[a-z ,()=]{0,12}") {
        prop_assume!(!before.ends_with(['e', 'b', 'x', 'n', 'u']));
        let text = format!("{before} '{secret}' {behind}");
        let (shown, hashed) = (shown(&text), hashed(&text));
        prop_assert!(!shown.contains(&secret), "{}", shown);
        prop_assert!(!hashed.windows(6).any(|w| w.eq_ignore_ascii_case(secret.as_bytes())));
    }

    #[test]
    fn other_constants_make_no_other_statement(shape in proptest::collection::vec(prop::sample::select(vec![
        "select", "from", "t", "(", ")", ",", "in (", "values (", "C", "C", "= C", "-", ";", "$1", "limit"]), 0..16),
        a in "[0-9]{1,4}|'[a-z]{0,4}'", b in "[0-9]{1,4}|'[a-z]{0,4}'") {
        // A sign belongs to a number and not to a string.
        prop_assume!(a.starts_with('\'') == b.starts_with('\''));
        let text = |c: &str| shape.join(" ").replace('C', c);
        prop_assert_eq!(hashed(&text(&a)), hashed(&text(&b)));
    }

    #[test]
    fn any_bytes_will_do(text in proptest::collection::vec(any::<u8>(), 0..64), standard in any::<bool>()) {
        let mut out = Vec::new();
        readable(&text, standard, &mut out);
        canonical(&text, standard, &mut out);
    }
}
