use super::*;
use proptest::prelude::*;

fn tokens(text: &str) -> Vec<(Kind, &str)> {
    Lexer::new(text.as_bytes(), true)
        .map(|t| (t.kind, &text[t.range]))
        .collect()
}

#[test]
fn strings_of_every_form_are_one_token() {
    for text in [
        "'a''b;c'",
        r"E'a\'b;'",
        "U&'d;'",
        "$$a;'b$$",
        "$x$ $$ ; $x$",
        "B'01'",
        "'cut off ;",
        "$x$ cut off ; $$",
    ] {
        assert_eq!(tokens(text), [(Kind::String, text)], "{text}");
    }
    assert_eq!(tokens("\"a\"\";b\""), [(Kind::Quoted, "\"a\"\";b\"")]);
}

#[test]
fn backslashes_count_when_strings_are_not_standard() {
    let text = br"'a\'; set x'";
    let standard: Vec<_> = Lexer::new(text, true).collect();
    let old: Vec<_> = Lexer::new(text, false).collect();
    assert!(standard.len() > 1);
    assert_eq!(old.len(), 1);
}

#[test]
fn comments_nest_and_vanish() {
    assert_eq!(
        tokens("a /* /* ; */ ' */ b -- c ; '\n d"),
        [(Kind::Word, "a"), (Kind::Word, "b"), (Kind::Word, "d")]
    );
    assert_eq!(tokens("/* open"), []);
}

#[test]
fn numbers_parameters_and_dollars() {
    assert_eq!(
        tokens("1.5e-3+$2 a$b$"),
        [
            (Kind::Number, "1.5e-3"),
            (Kind::Symbol(b'+'), "+"),
            (Kind::Parameter, "$2"),
            (Kind::Word, "a$b$"),
        ]
    );
}

proptest! {
    /// Tokens follow each other without overlap and always make progress.
    #[test]
    fn tokens_are_in_order(text in proptest::collection::vec(any::<u8>(), 0..200), standard: bool) {
        let mut end = 0;
        for token in Lexer::new(&text, standard) {
            prop_assert!(token.range.start >= end && token.range.end > token.range.start);
            prop_assert!(token.range.end <= text.len());
            end = token.range.end;
        }
    }

    #[test]
    fn quotes_and_comments_in_any_order(text in r#"(['"$;/*\-\\a-c \n]|\$x\$|E'|U&"){0,40}"#) {
        let n = Lexer::new(text.as_bytes(), true).count();
        prop_assert!(n <= text.len());
    }
}
