use super::*;
use crate::sql::{Class, classify};

fn effects(text: &str, standard_strings: bool) -> Vec<Effect> {
    match classify(text.as_bytes(), standard_strings) {
        Class::Plain => Vec::new(),
        Class::Special(mut all) => {
            assert_eq!(all.len(), 1, "{text}: {all:?}");
            all.remove(0).effects
        }
    }
}

fn of(text: &str) -> Vec<Effect> {
    effects(text, true)
}

fn replayed(name: &str, replay: &str) -> Effect {
    Effect::Set {
        name: name.to_owned(),
        local: false,
        replay: Some(replay.to_owned()),
    }
}

fn to_default(name: &str) -> Effect {
    Effect::Set {
        name: name.to_owned(),
        local: false,
        replay: None,
    }
}

#[test]
fn what_sets_a_setting_for_the_session() {
    for (text, name, replay) in [
        (
            "SET search_path = a,\"B\" , 'c'",
            "search_path",
            "SET search_path TO a, \"B\", 'c'",
        ),
        (
            "set session Work_Mem to '1MB'",
            "work_mem",
            "SET work_mem TO '1MB'",
        ),
        ("set x=-1.5", "x", "SET x TO -1.5"),
        ("set my.Var to ON", "my.var", "SET my.var TO on"),
        ("set \"My.Var\" to 1", "my.var", "SET \"My.Var\" TO 1"),
        // Words that elsewhere say how long it lasts.
        (
            "set session.user_id = 5",
            "session.user_id",
            "SET session.user_id TO 5",
        ),
        ("set local.x = 5", "local.x", "SET local.x TO 5"),
        (
            "set session session.x = 5",
            "session.x",
            "SET session.x TO 5",
        ),
        ("set role = 'x'", "role", "SET role TO 'x'"),
        ("set time zone 'UTC'", "timezone", "SET TIME ZONE 'UTC'"),
        ("set session time zone -7", "timezone", "SET TIME ZONE -7"),
        (
            "set time zone interval '-08:00' hour to minute",
            "timezone",
            "SET TIME ZONE interval '-08:00' hour to minute",
        ),
        (
            "set names 'utf8'",
            "client_encoding",
            "SET client_encoding TO 'utf8'",
        ),
        ("set schema 'x'", "search_path", "SET search_path TO 'x'"),
        ("set role \"R\"", "role", "SET ROLE \"R\""),
        ("set role none", "role", "SET ROLE none"),
        ("set session role r", "role", "SET ROLE r"),
        (
            "set session authorization 'u'",
            "session_authorization",
            "SET SESSION AUTHORIZATION 'u'",
        ),
        (
            "set session session authorization u",
            "session_authorization",
            "SET SESSION AUTHORIZATION u",
        ),
        (
            "set xml option document",
            "xmloption",
            "SET xmloption TO document",
        ),
        ("set /* a */ a -- b\n to 1 -- c", "a", "SET a TO 1"),
    ] {
        assert_eq!(of(text), [replayed(name, replay)], "{text}");
    }
}

#[test]
fn a_replay_means_the_same_whatever_strings_are_like() {
    let replay = replayed("a.b", r"SET a.b TO E'x\\''; y'");
    assert_eq!(
        effects(r"set a.b = 'x\\\'; y'", false),
        std::slice::from_ref(&replay)
    );
    assert_eq!(
        effects(r"set a.b = 'x\''; y'", true),
        std::slice::from_ref(&replay)
    );
    assert_eq!(effects(r"set a.b = $$x\'; y$$", true), [replay]);
}

#[test]
fn what_sets_back() {
    for (text, name) in [
        ("set my.Var to default", "my.var"),
        ("set time zone local", "timezone"),
        ("set time zone default", "timezone"),
        ("set names", "client_encoding"),
        ("set names default", "client_encoding"),
        ("set session authorization default", "session_authorization"),
    ] {
        assert_eq!(of(text), [to_default(name)], "{text}");
    }
    for (text, name) in [
        ("reset My.Var", "my.var"),
        ("reset time zone", "timezone"),
        ("reset role", "role"),
        ("reset session authorization", "session_authorization"),
        ("reset session.x", "session.x"),
    ] {
        let name = name.to_owned();
        assert_eq!(of(text), [Effect::Reset { name }], "{text}");
    }
    assert_eq!(of("reset all"), [Effect::ResetAll]);
    // A quoted word is a name, and so is one among others.
    assert_eq!(
        of("set a to \"default\""),
        [replayed("a", "SET a TO \"default\"")]
    );
    assert_eq!(
        of("set a to default, b"),
        [replayed("a", "SET a TO default, b")]
    );
}

#[test]
fn characteristics_are_settings() {
    let found = of(
        "set session characteristics as transaction isolation level Repeatable Read, read only not deferrable",
    );
    let expected = [
        ("isolation", "repeatable read"),
        ("read_only", "on"),
        ("deferrable", "off"),
    ]
    .map(|(setting, value)| {
        let name = format!("default_transaction_{setting}");
        replayed(&name, &format!("SET {name} TO '{value}'"))
    });
    assert_eq!(found, expected);
}

#[test]
fn what_ends_with_the_transaction_is_local() {
    for text in [
        "set local a = 1",
        "set local time zone 'UTC'",
        "set local role r",
        "set local session authorization u",
        "set local session characteristics as transaction read only",
        "set transaction_isolation = 'serializable'",
        "set session transaction_read_only = on",
        "select set_config('a.b', 'c', true)",
        "select set_config('transaction_read_only', 'on', false)",
    ] {
        let found = of(text);
        let [Effect::Set { local: true, .. } | Effect::SetConfig { local: true, .. }] =
            found.as_slice()
        else {
            panic!("{text}: {found:?}");
        };
    }
    for text in [
        "set transaction isolation level serializable",
        "set local transaction read only",
        "set transaction snapshot 'x'",
        "set constraints all deferred",
        "reset transaction_isolation",
        "reset transaction isolation level",
        "set seed = 0.5",
        "select set_config('seed', '0.5', false)",
        "select set_config($1, $2, true)",
        "select set_config('a.b', null, true)",
    ] {
        assert_eq!(of(text), [], "{text}");
    }
}

#[test]
fn set_config_is_read_where_it_can_be() {
    for (text, name, value) in [
        (
            "select pg_catalog.set_config('search_path', '', false)",
            "search_path",
            "",
        ),
        (
            "select set_config('A.B', 'it''s', 'f'::boolean)",
            "a.b",
            "it's",
        ),
        (
            "select \"set_config\"('a.b'::text, $$x$$, false) as x",
            "a.b",
            "x",
        ),
        ("select set_config('a.b', 'x', 'off')", "a.b", "x"),
    ] {
        let expected = Effect::SetConfig {
            name: name.to_owned(),
            value: value.to_owned(),
            local: false,
        };
        assert_eq!(of(text), [expected], "{text}");
    }
    let name = "a.b".to_owned();
    assert_eq!(
        of("select set_config('a.b', null, false)"),
        [Effect::Reset { name }]
    );
    assert_eq!(
        of("select set_config('a.b', '1', false), set_config('a.c', '2', false)").len(),
        2
    );
    for named in [
        "select set_config('A.b', 'b' || 'c', false)",
        "select set_config('a.b', $1, false)",
        "select set_config('a.b', 'b', not true)",
        "select set_config('a.b', 'b', is_local) from t",
        "select set_config('a.b', E'\\x41', false)",
        "select set_config('a.b', 'b')",
    ] {
        let name = "a.b".to_owned();
        assert_eq!(of(named), [Effect::SetConfigNamed { name }], "{named}");
    }
    for unknown in [
        "select set_config($1, 'x', false)",
        "select set_config('a' || 'b', 'x', false)",
        "select set_config(name, setting, false) from t",
        "select set_config('a', 'b'",
        "select set_config()",
    ] {
        assert_eq!(of(unknown), [Effect::SetConfigUnknown], "{unknown}");
    }
}

#[test]
fn what_cannot_be_replayed_is_named_at_least() {
    for text in [r"set A = E'\x41'", "set a = $1", "set a = b, U&'!0041'"] {
        let name = "a".to_owned();
        assert_eq!(of(text), [Effect::SetConfigNamed { name }], "{text}");
    }
    for text in ["set a from current", r#"set U&"\0061" = 1"#, "set a", "set"] {
        assert_eq!(of(text), [Effect::SetConfigUnknown], "{text}");
    }
    let Class::Special(latin1) = classify(b"set a.b = 'caf\xe9'", true) else {
        panic!("it is a SET");
    };
    let name = "a.b".to_owned();
    assert_eq!(latin1[0].effects, [Effect::SetConfigNamed { name }]);
    assert_eq!(of(r"set local a = E'\x41'"), []);
}

#[test]
fn a_temporary_schema_at_the_head_of_the_search_path_pins() {
    let pin = Effect::MayPin(PinKind::Load);
    for text in [
        "set search_path to pg_temp, public",
        "set search_path = \"pg_temp\"",
        "set schema 'pg_temp'",
        "select set_config('search_path', ' \"pg_temp\", x', false)",
    ] {
        let found = of(text);
        assert_eq!(found.first(), Some(&pin), "{text}");
        assert_eq!(found.len(), 2, "{text}");
    }
    // At the end it is a precaution of many functions' authors.
    assert_eq!(of("set search_path to public, pg_temp").len(), 1);
    // In a transaction the schemas before it may not exist, and it costs only a look.
    let look = Effect::MayPin(PinKind::TempObject);
    assert_eq!(of("set local search_path to nowhere, pg_temp")[0], look);
    let call = "select set_config('search_path', 'pg_temp', true)";
    assert_eq!(of(call)[0], look);
    assert_eq!(of("set search_path to pg_temporal").len(), 1);
}

#[test]
fn a_call_that_may_not_happen_is_asked_about() {
    let name = "a.b".to_owned();
    let asked = [Effect::SetConfigNamed { name }];
    for text in [
        "select set_config('a.b', 'x', false) where false",
        "select case when x then set_config('a.b', 'x', false) end from t",
        "with a as (select set_config('a.b', 'x', false)) select 1",
        "select 1, set_config('a.b', null, false) limit 0",
        "declare c cursor for select set_config('a.b', 'x', false)",
    ] {
        assert_eq!(of(text), asked, "{text}");
    }
    let twice =
        "select set_config('a.b', 'x', false) as one, set_config('a.b', 'y', false) \"two\"";
    assert_eq!(of(twice).len(), 2);
    assert!(matches!(of(twice)[1], Effect::SetConfig { .. }));
    assert_eq!(
        of("explain (analyze 0) select set_config('a.b', 'x', false)"),
        []
    );
}
