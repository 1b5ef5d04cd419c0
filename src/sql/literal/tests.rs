use proptest::prelude::*;

use super::*;
use crate::sql::lexer::Lexer;

fn read(source: &str) -> Option<String> {
    value(source.as_bytes(), true)
}

#[test]
fn constants_are_read() {
    for (source, meaning) in [
        ("''", ""),
        ("'it''s'", "it's"),
        (r"'a\b'", r"a\b"),
        (r"E'a\\b\'\n'", "a\\b'\n"),
        ("N'x'", "x"),
        ("$$it's$$", "it's"),
        ("$q$a$$b$q$", "a$$b"),
        ("U&'abc'", "abc"),
    ] {
        assert_eq!(read(source).as_deref(), Some(meaning), "{source}");
    }
    assert_eq!(value(br"'a\\b'", false).as_deref(), Some(r"a\b"));
}

#[test]
fn what_cannot_be_told_is_not_guessed() {
    for source in [
        r"E'\x41'",
        r"E'\101'",
        r"E'\u0041'",
        r"U&'\0041'",
        "U&'!0041'",
        "B'01'",
        "'a'\n'b'",
        "'a",
        "'",
        "$$a$",
        "$$",
        "$x$$",
    ] {
        assert_eq!(read(source), None, "{source}");
    }
    assert_eq!(value(b"'\xff'", true), None);
}

proptest! {
    #[test]
    fn what_is_quoted_is_read_back_with_any_setting(text in r#"['\\a-c$é\n ]{0,20}"#, standard: bool) {
        let quoted = quote(&text);
        prop_assert_eq!(value(quoted.as_bytes(), standard), Some(text));
        prop_assert_eq!(Lexer::new(quoted.as_bytes(), standard).count(), 1);
    }

    #[test]
    fn any_bytes_are_survived(source in proptest::collection::vec(any::<u8>(), 0..40), standard: bool) {
        let _ = value(&source, standard);
    }
}
