use super::*;
use proptest::prelude::*;

#[test]
fn difference_resets_what_is_gone_and_sets_what_is_new() {
    let a = Settings::default()
        .with("timezone", "SET timezone TO 'UTC'")
        .with("work_mem", "SET work_mem TO '1MB'");
    let b = Settings::default()
        .with("timezone", "SET timezone TO 'UTC'")
        .with("my.var", "SET my.var TO 'x'");
    assert_eq!(a.difference(&b), "RESET \"work_mem\";SET my.var TO 'x';");
    assert_eq!(a.difference(&a.clone()), "");
    assert_eq!(
        b.difference(&Settings::default()),
        "RESET \"my\".\"var\";RESET \"timezone\";"
    );
}

#[test]
fn the_role_is_set_last_and_after_the_session_user() {
    let wanted = Settings::default()
        .with("role", "SET ROLE a")
        .with("session_authorization", "SET SESSION AUTHORIZATION b")
        .with("timezone", "SET timezone TO 'UTC'");
    let sql = Settings::default().difference(&wanted);
    assert_eq!(
        sql,
        "SET SESSION AUTHORIZATION DEFAULT;RESET ROLE;RESET ALL;SET timezone TO 'UTC';\
         SET SESSION AUTHORIZATION b;SET ROLE a;"
    );
    assert!(
        wanted
            .difference(&Settings::default())
            .ends_with("RESET ALL;")
    );
}

#[test]
fn equal_contents_are_equal_whatever_the_history() {
    let a = Settings::default()
        .with("a", "1")
        .with("b", "2")
        .without("a");
    let b = Settings::default().with("b", "2");
    assert_eq!(a, b);
    assert!(!a.same(&b));
    assert!(a.without("b").same(&Settings::default()));
}

#[test]
fn parsing_ignores_what_cannot_matter() {
    let plain = Settings::default();
    assert_eq!(plain.with("application_name", "x").parse_environment(), 0);
    let path = plain.with("search_path", "SET search_path TO a");
    assert_ne!(path.parse_environment(), 0);
    assert_eq!(
        path.with("application_name", "x").parse_environment(),
        path.parse_environment()
    );
}

#[test]
fn unknown_names_and_roles_are_not_safe_to_replay_blindly() {
    let s = Settings::default();
    assert!(s.replay_is_safe());
    assert!(s.with("timezone", "x").replay_is_safe());
    assert!(!s.with("role", "x").replay_is_safe());
    assert!(!s.with("my.var", "x").replay_is_safe());
}

#[test]
fn literals_survive_quotes_and_backslashes() {
    assert_eq!(quote_literal("it's"), "'it''s'");
    assert_eq!(quote_literal(r"a\b'"), r" E'a\\b'''");
}

proptest! {
    /// Applying the difference between two sets to the one gives the other.
    #[test]
    fn difference_leads_there(a in entries(), b in entries()) {
        let set = |list: &[(String, String)]| {
            list.iter().fold(Settings::default(), |s, (n, v)| s.with(n, v))
        };
        let (from, to) = (set(&a), set(&b));
        let mut have: std::collections::BTreeMap<String, String> = from
            .entries().iter().map(|e| (e.name.to_string(), e.replay.to_string())).collect();
        for sql in from.difference(&to).split(';').filter(|s| !s.is_empty()) {
            if let Some(name) = sql.strip_prefix("RESET ") {
                have.remove(name.trim_matches('"'));
            } else {
                have.insert(sql[..1].to_owned(), sql.to_owned());
            }
        }
        let want: std::collections::BTreeMap<String, String> = to
            .entries().iter().map(|e| (e.name.to_string(), e.replay.to_string())).collect();
        prop_assert_eq!(have, want);
    }
}

/// Names of one letter; a replay text begins with its name, so that it can be told from it.
fn entries() -> impl Strategy<Value = Vec<(String, String)>> {
    proptest::collection::vec(("[a-e]", "[0-9]"), 0..6)
        .prop_map(|v| v.into_iter().map(|(n, d)| (n.clone(), n + &d)).collect())
}
