//! Texts that a reviewer found to be read otherwise than the server reads them.

use super::*;

#[test]
fn what_the_parser_reads_otherwise_is_no_read() {
    for text in [
        // A function to the parser, ONLY (t) to the server.
        "select * from only (t)",
        // A constant of a type to the server, a column with an alias to the parser.
        "select mytype 'x' from t",
        // One constant in two lines to the server, if anything.
        "select 'a' 'b' from t",
        "select U&\"x\" from t",
        "select * from t where U&\"x\" = 1",
    ] {
        assert!(relations(text).is_err(), "{text}");
    }
    assert_eq!(relations("x select 1"), Err(Refusal::NotARead));
    let deep = format!("{}1{}", "select (".repeat(9), ")".repeat(9));
    assert_eq!(relations(&deep), Err(Refusal::TooLong));
    assert_eq!(
        relations("table t union table s.\"U\""),
        Ok(vec!["t".into(), "s.U".into()])
    );
    // Nobody looks into constants, and so nothing in them is cut otherwise.
    assert_eq!(
        relations("select $a$ ' $$ $a$ from t"),
        Ok(vec!["t".into()])
    );
}

#[test]
fn types_are_found_wherever_they_stand() {
    let types = |text: &str| -> Vec<String> {
        let read = facts(text).read.unwrap();
        read.types.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        types("select a::int, b::text, c::numeric(5, 2) from t"),
        [""; 0]
    );
    assert_eq!(
        types("select a::mine, cast(b as s.other) from t"),
        ["mine", "s.other"]
    );
    assert_eq!(types("select * from f() as x(a mine)"), ["mine"]);
    // Types of other servers, which the parser knows and this server takes for names.
    assert_eq!(
        types("select a::datetime, b::regclass from t"),
        ["datetime", "regclass"]
    );
    assert_eq!(types("select a::mine[] from t"), ["mine"]);
}

#[test]
fn settings_are_found_wherever_they_are_read() {
    let settings = |text: &str| -> Result<Vec<String>, Refusal> {
        let read = facts(text).read?;
        Ok(read.settings.iter().map(ToString::to_string).collect())
    };
    assert_eq!(
        settings("select current_setting('A.b', true), * from pg_catalog.current_setting('c')"),
        Ok(vec!["a.b".into(), "c".into()])
    );
    assert_eq!(
        settings("select current_setting('a.b'::text, true)"),
        Ok(vec!["a.b".into()])
    );
    for text in [
        "select current_setting('a.b'::name::text)",
        "select * from current_setting(a)",
        "select current_setting(E'ab')",
        "select current_setting('a' || b)",
        "select \"current_setting\"(a)",
        "select current_setting('a''b')",
    ] {
        assert_eq!(settings(text), Err(Refusal::UnknownSetting), "{text}");
    }
}

#[test]
fn calls_are_found_with_all_their_arguments() {
    // Keywords that name functions, too.
    assert_eq!(
        calls("select left('abc', 1), right(a, 2)"),
        ["left/2", "right/2"]
    );
    // Commas in brackets belong to no call.
    assert_eq!(calls("select f(array[1, 2], a[1])"), ["f/2"]);
    // What WITHIN GROUP sorts by are arguments.
    assert!(calls("select f(0.5) within group (order by a)").contains(&"f/?".to_owned()));
}

#[test]
fn operators_that_the_server_refuses_cost_nothing() {
    let text = format!("select 1 {} 2", "+".repeat(1000));
    let operators = &facts(&text).statements[0].mentions.operators;
    assert!(operators.len() < 64, "{}", operators.len());
}

#[test]
fn writes_that_look_like_names_and_names_that_look_like_writes() {
    for (text, expected) in [
        // The name of a column, and a table that is made.
        ("select 1 insert into t", "anything INSERT"),
        ("select 1 merge into t", "anything MERGE"),
        // DO UPDATE belongs to the INSERT before it, not to what comes behind.
        (
            "with x as (insert into a values (1) on conflict (i) do update set i = 2 returning *) \
             insert into b select * from x",
            "merge a, insert b",
        ),
        (
            "insert into a with x as (insert into b values (1) returning *) select * from x \
             on conflict (i) do update set i = 2",
            "merge a, merge b",
        ),
        // Hands over what other databases have.
        ("reassign owned by a to b", "everywhere"),
    ] {
        assert_eq!(says(text), expected, "{text}");
    }
}

#[test]
fn comments_that_the_server_looks_at_stay() {
    for text in [
        // Not closed: an error.
        "select 1 /* a",
        "select 1 /* a /* b */",
        // Joined by the line break if the comment goes.
        "select 'a' /* x */\n 'b'",
    ] {
        let stripped = strip_comments(text.as_bytes(), true);
        assert_eq!(String::from_utf8_lossy(&stripped), *text);
    }
    // Not a character: an error in a comment, too.
    let text = b"select 1 /* \xff */";
    assert_eq!(&*strip_comments(text, true), text);
}

#[test]
fn no_hint_asks_for_longer_than_the_configuration_may() {
    assert_eq!(
        leading_hint(b"/* pgweir: cache ttl=36501d */ select 1"),
        None
    );
    assert!(leading_hint(b"/* pgweir: cache ttl=36500d */ select 1").is_some());
}
