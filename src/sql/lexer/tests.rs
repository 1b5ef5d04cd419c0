use proptest::prelude::*;

use super::*;

fn tokens(text: &str) -> Vec<(Kind, &str)> {
    tokens_with(text, true)
}

fn tokens_with(text: &str, standard_strings: bool) -> Vec<(Kind, &str)> {
    Lexer::new(text.as_bytes(), standard_strings)
        .map(|t| (t.kind, &text[t.range()]))
        .collect()
}

#[test]
fn constants_of_every_form_are_one_token() {
    for text in [
        "''",
        "'a''b;c'",
        r"'a\'",
        r"E'a\'b;'",
        r"e'\\'",
        "U&'d;'",
        "u&'d''e'",
        "$$a;'b$$",
        "$x$ $$ ; $y$ $x$",
        "$x$ $y$x$",
        "$é$ ; $é$",
        "B'01'",
        "x'1F'",
        "N'a'",
        "'a'  \n  'b;'",
        "'a' -- it goes on\n\t'b'",
        "E'a'\n'\\''",
    ] {
        assert_eq!(tokens(text), [(Kind::String, text)], "{text}");
    }
}

#[test]
fn what_is_cut_off_ends_with_the_text() {
    for text in ["'a ;", r"E'a\", "$x$ ; $$", "'a''", "U&'"] {
        assert_eq!(tokens(text), [(Kind::String, text)], "{text}");
    }
    assert_eq!(tokens("\"a;"), [(Kind::Quoted, "\"a;")]);
    assert_eq!(tokens("/* a /* */ ;"), []);
    assert_eq!(tokens("-- a ;"), []);
}

#[test]
fn strings_without_a_line_break_between_them_are_two() {
    let both = [(Kind::String, "'a'"), (Kind::String, "'b'")];
    assert_eq!(tokens("'a' 'b'"), both);
    assert_eq!(tokens("'a' /* \n */ 'b'"), both);
    assert_eq!(
        tokens("'a'\n-"),
        [(Kind::String, "'a'"), (Kind::Symbol(b'-'), "-")]
    );
    // Identifiers are not continued.
    assert_eq!(tokens("\"a\"\n\"b\"").len(), 2);
}

#[test]
fn identifiers_keep_quotes_and_dollars() {
    for text in ["\"a\"\";b\"", "U&\"d;\"", r#""a\""#] {
        assert_eq!(tokens(text), [(Kind::Quoted, text)], "{text}");
    }
    for text in ["a$b$", "_x1", "été", "e", "u"] {
        assert_eq!(tokens(text), [(Kind::Word, text)], "{text}");
    }
    // Only a prefix of one letter is one.
    assert_eq!(tokens("be'x'"), [(Kind::Word, "be"), (Kind::String, "'x'")]);
    assert_eq!(tokens("u & 'x'").len(), 3);
}

#[test]
fn backslashes_escape_when_strings_are_not_standard() {
    let text = r"'a\'; b'";
    assert_eq!(tokens_with(text, false), [(Kind::String, text)]);
    assert_eq!(tokens(text)[0], (Kind::String, r"'a\'"));
    let never = r"U&'a\'";
    assert_eq!(tokens_with(never, false), [(Kind::String, never)]);
    let never = r#""a\""#;
    assert_eq!(tokens_with(never, false), [(Kind::Quoted, never)]);
}

#[test]
fn comments_nest_and_vanish() {
    assert_eq!(
        tokens("a/* /* ; */ ' **/b-- c ; '\n+-- d\r*/**/"),
        [
            (Kind::Word, "a"),
            (Kind::Word, "b"),
            (Kind::Symbol(b'+'), "+"),
            (Kind::Symbol(b'*'), "*"),
        ]
    );
}

#[test]
fn numbers_end_where_the_server_ends_them() {
    for text in ["0", "1.5e-3", "1.", "1_000", "0x1F", "0b01", "1e5"] {
        assert_eq!(tokens(text), [(Kind::Number, text)], "{text}");
    }
    assert_eq!(tokens("1into"), [(Kind::Number, "1"), (Kind::Word, "into")]);
    assert_eq!(tokens("1e'x'")[1], (Kind::String, "e'x'"));
    assert_eq!(tokens("$2a"), [(Kind::Parameter, "$2"), (Kind::Word, "a")]);
    assert_eq!(tokens("$a b$")[0], (Kind::Symbol(b'$'), "$"));
    assert_eq!(tokens("1-1").len(), 3);
}

/// Pieces of which texts are made that go to the lexer's edges.
pub(in crate::sql) const FRAGMENTS: &str = r#"(['"$;/*\-\\.,:=a-eE0-9_ \n\r()]|\$x\$|\$\$|E'|e'|U&"|u&'|x'|--|/\*|\*/|''|""|\n'|select|set|é|0x|1e\+){0,40}"#;

proptest! {
    /// Tokens tile the text: one follows the other, and cut on its own, what is between them has no
    /// token at all.
    #[test]
    fn tokens_and_blanks_tile_any_bytes(
        text in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            FRAGMENTS.prop_map(String::into_bytes),
        ],
        standard: bool,
    ) {
        let mut end = 0;
        for token in Lexer::new(&text, standard) {
            prop_assert!(token.start >= end && token.end > token.start && token.end <= text.len());
            prop_assert_eq!(Lexer::new(&text[end..token.start], standard).next(), None);
            end = token.end;
        }
        prop_assert_eq!(Lexer::new(&text[end..], standard).next(), None);
    }

    /// The short cut gives what the lexer gives, or nothing.
    #[test]
    fn an_ordinary_word_is_the_next_token(text in FRAGMENTS, standard: bool) {
        let mut lexer = Lexer::new(text.as_bytes(), standard);
        loop {
            lexer.skip_blanks();
            let mut short = lexer.clone();
            let next = lexer.next();
            match short.ordinary_word() {
                Some(word) => {
                    prop_assert_eq!(Some(word), next);
                    prop_assert_eq!(short.at, lexer.at);
                }
                None if next.is_none() => break,
                None => {}
            }
        }
    }

    /// A token cut out of its text is the same token.
    #[test]
    fn a_token_on_its_own_is_the_same_token(text in FRAGMENTS, standard: bool) {
        for token in Lexer::new(text.as_bytes(), standard) {
            let own = &text.as_bytes()[token.range()];
            let again: Vec<_> = Lexer::new(own, standard).collect();
            prop_assert_eq!(again, [Token { kind: token.kind, start: 0, end: own.len() }]);
        }
    }

    /// Where nothing is quoted, words are what stands between blanks.
    #[test]
    fn words_without_quotes(words in proptest::collection::vec("[a-zA-Z_][a-z0-9_$]{0,9}", 0..20)) {
        let text = words.join(" \n");
        let found: Vec<_> = tokens(&text).into_iter().map(|(kind, word)| {
            assert_eq!(kind, Kind::Word);
            word.to_owned()
        }).collect();
        prop_assert_eq!(found, words);
    }
}
