use proptest::prelude::*;

use super::mentions_datetime_word;

#[test]
fn words_are_found_anywhere_in_a_constant() {
    for yes in [
        "select 'now'::timestamptz",
        "select timestamp ' NOW '",
        "select date $$today$$",
        "select $x$ Epoch$x$",
        "select '{tomorrow}'::date[]",
        "select '[yesterday,)'::tstzrange",
        "select ',allballs'::time",
        "select 'now",
        r"select E'n\x6fw'::timestamptz",
        r"select U&'n\006fw'::timestamptz",
        "select U&'n!006fw' uescape '!'",
        "select 'n'\n'ow'::timestamptz",
        "select 'it''s', 'n'\n\t'ow'",
    ] {
        assert!(mentions_datetime_word(yes.as_bytes()), "{yes}");
    }
}

#[test]
fn other_texts_can_be_shared() {
    for no in [
        "",
        "select now()",
        "select 'unknown', 'nowhere', 'snow'",
        "select $1, $2",
        "select today from t where x = 'yes'",
        "select extract(epoch from x) from t where y = 'it''s' -- 'now'",
        "select \"now\", 'a' /* 'today' */",
    ] {
        assert!(!mentions_datetime_word(no.as_bytes()), "{no}");
    }
}

proptest! {
    /// However the constant is quoted, and whatever stands before it.
    #[test]
    fn a_word_is_never_missed(
        before in r#"(select |'a''b', |\$1, |\$\$'\$\$, |"it's", |/\* ' \*/|-- '\n|E'\\'', |1e5, ){0,5}"#,
        blanks in "[ ,\n]{0,3}",
        word in "[nN][oO][wW]|[tT]oda[yY]|tOmOrrOw|YESTERDAY|aLLBALLs|epocH",
        quotes in prop_oneof![Just(("'", "'")), Just(("E'", "'")), Just(("$$", "$$")), Just(("$t$", "$t$"))],
    ) {
        let text = format!("{before} {}{blanks}{word}{blanks}{}::timestamptz", quotes.0, quotes.1);
        prop_assert!(mentions_datetime_word(text.as_bytes()), "{}", text);
    }

    #[test]
    fn any_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = mentions_datetime_word(&text);
    }
}
