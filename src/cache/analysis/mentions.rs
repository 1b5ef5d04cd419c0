//! What a statement calls and names, by its tokens: rather too much than too little.

use std::collections::HashSet;

use super::tokens::Part;
use crate::cache::facts::{Call, Mentions, Name};
use crate::sql::lexer::Kind;

/// Functions that are called by their name alone.
const WITHOUT_PARENTHESES: &[&str] = &[
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "current_user",
    "current_role",
    "session_user",
    "user",
    "system_user",
    "current_catalog",
    "current_schema",
];

/// Syntax that is a call of these.
const SYNTAX: &[(&str, &[&str])] = &[
    ("extract", &["date_part"]),
    ("trim", &["btrim", "ltrim", "rtrim"]),
    ("overlaps", &["overlaps"]),
    ("similar", &["similar_to_escape"]),
    ("escape", &["like_escape"]),
    ("normalized", &["is_normalized"]),
    ("collation", &["pg_collation_for"]),
];

/// Operators that syntax other than operators stands for: BETWEEN, IN, DISTINCT, ORDER BY, USING.
const ALWAYS: &[&str] = &["=", "<>", "<", ">", "<=", ">="];
const LIKE: &[&str] = &["~~", "!~~", "~~*", "!~~*", "~", "!~"];

/// Words that no relation can have as its name without quotes (PostgreSQL docs, "SQL Key Words").
const NO_NAMES: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "both",
    "case",
    "cast",
    "collate",
    "cross",
    "default",
    "desc",
    "distinct",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "from",
    "full",
    "group",
    "having",
    "ilike",
    "in",
    "inner",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "natural",
    "not",
    "notnull",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "returning",
    "right",
    "select",
    "similar",
    "some",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "using",
    "when",
    "where",
    "window",
    "with",
];

/// Those of them that can name a function all the same: `left('abc', 1)`.
const FUNCTION_NAMES: &[&str] = &[
    "cross", "full", "ilike", "inner", "is", "isnull", "join", "left", "like", "natural",
    "notnull", "outer", "right", "similar",
];

/// Longest operator of the server, in bytes (`NAMEDATALEN` - 1).
const OPERATOR_MAX: usize = 63;

/// Bytes of operators (PostgreSQL docs, "Operators").
fn is_operator(kind: Option<Kind>) -> bool {
    matches!(kind, Some(Kind::Symbol(s)) if b"+-*/<>=~!@#%^&|`?".contains(&s))
}

/// An open parenthesis or bracket.
struct Open {
    /// The call that it belongs to.
    call: Option<usize>,
    commas: usize,
    empty: bool,
    /// The arguments cannot be counted.
    unclear: bool,
}

#[derive(Default)]
struct Finder {
    calls: Vec<Call>,
    operators: HashSet<Box<str>>,
    identifiers: HashSet<Name>,
    open: Vec<Open>,
}

pub fn mentions(part: &Part<'_>) -> Mentions {
    let mut finder = Finder::default();
    finder
        .operators
        .extend(ALWAYS.iter().map(|o| Box::from(*o)));
    let mut at = 0;
    while at < part.len() {
        at = finder.step(part, at);
    }
    for call in finder.open.iter().filter_map(|o| o.call) {
        finder.calls[call].arguments = None;
    }
    let mut operators: Vec<_> = finder.operators.into_iter().collect();
    operators.sort_unstable();
    let mut identifiers: Vec<_> = finder.identifiers.into_iter().collect();
    identifiers.sort_unstable();
    Mentions {
        calls: finder.calls,
        operators,
        identifiers,
    }
}

impl Finder {
    /// Looks at what begins at a token; says where the next begins.
    fn step(&mut self, part: &Part<'_>, at: usize) -> usize {
        if part.is_identifier(at) {
            // What is behind these is no argument of its own, or there are no commas.
            self.touch(part.is_any_word(at, &["order", "from", "for", "in", "placing", "using"]));
            return self.identifier(part, at);
        }
        if is_operator(part.kind(at)) {
            return self.operator(part, at);
        }
        match part.kind(at) {
            // Commas in brackets are not those of the call around them.
            Some(Kind::Symbol(b'(' | b'[')) => {
                self.touch(false);
                self.enter(None);
            }
            Some(Kind::Symbol(b')' | b']')) => {
                // What is behind WITHIN GROUP are arguments, too.
                self.leave(part.is_word(at + 1, "within"));
            }
            Some(Kind::Symbol(b',')) => {
                if let Some(open) = self.open.last_mut() {
                    open.commas += 1;
                }
            }
            // Named arguments, and slices of arrays, which are none.
            Some(Kind::Symbol(b':')) if part.is_symbol(at + 1, b'=') => self.touch(true),
            _ => self.touch(false),
        }
        at + 1
    }

    /// There is something between the innermost parentheses.
    fn touch(&mut self, unclear: bool) {
        if let Some(open) = self.open.last_mut() {
            open.empty = false;
            open.unclear |= unclear;
        }
    }

    fn enter(&mut self, call: Option<usize>) {
        self.open.push(Open {
            call,
            commas: 0,
            empty: true,
            unclear: false,
        });
    }

    fn leave(&mut self, unclear: bool) {
        let Some(open) = self.open.pop() else { return };
        if let Some(call) = open.call.and_then(|c| self.calls.get_mut(c)) {
            call.arguments = match (open.unclear || unclear, open.empty) {
                (true, _) => None,
                (false, true) => Some(0),
                (false, false) => Some(open.commas + 1),
            };
        }
    }

    fn operator(&mut self, part: &Part<'_>, at: usize) -> usize {
        let mut end = at + 1;
        while is_operator(part.kind(end)) && part.touches(end) {
            end += 1;
        }
        if end - at > OPERATOR_MAX {
            // The server refuses it; every beginning of it would be too much to remember.
            self.touch(true);
            return end;
        }
        let all: String = (at..end).map(|i| part.text(i)).collect();
        // `f(*)`, and `=>` of named arguments.
        self.touch(all == "*" || all.starts_with("=>"));
        // A trailing sign may be a sign: `a*-1`.
        let mut rest = &*all;
        while let Some(shorter) = rest.strip_suffix(['+', '-']) {
            self.operators.insert(rest.into());
            self.operators.insert(rest[shorter.len()..].into());
            rest = shorter;
        }
        if !rest.is_empty() {
            self.operators
                .insert(if rest == "!=" { "<>" } else { rest }.into());
        }
        end
    }

    fn identifier(&mut self, part: &Part<'_>, at: usize) -> usize {
        let mut chain: Vec<Box<str>> = Vec::new();
        let mut end = at;
        loop {
            chain.extend(part.identifier(end));
            end += 1;
            if part.is_symbol(end, b'.') && part.is_identifier(end + 1) {
                end += 1;
            } else {
                break;
            }
        }
        let word = if chain.len() == 1 {
            part.word(at)
        } else {
            "".into()
        };
        if chain.len() == 1 {
            self.syntax(part, at, &word);
        }
        let bare_keyword = chain.len() == 1 && NO_NAMES.contains(&&*word);
        if part.is_symbol(end, b'(') {
            if !bare_keyword || FUNCTION_NAMES.contains(&&*word) {
                self.call(&chain, None);
                let call = self.calls.len() - 1;
                if !bare_keyword {
                    self.note(&chain);
                }
                self.enter(Some(call));
            } else {
                self.enter(None);
            }
            return end + 1;
        }
        if !bare_keyword {
            self.note(&chain);
        }
        end
    }

    fn call(&mut self, chain: &[Box<str>], arguments: Option<usize>) {
        let Some((name, before)) = chain.split_last() else {
            return;
        };
        self.calls.push(Call {
            name: Name {
                schema: before.last().cloned(),
                name: name.clone(),
            },
            arguments,
        });
    }

    /// All that may be relations in `a.b.c`: each alone, and each with its neighbour.
    fn note(&mut self, chain: &[Box<str>]) {
        for (i, name) in chain.iter().enumerate() {
            self.identifiers.insert(Name {
                schema: None,
                name: name.clone(),
            });
            if let Some(before) = i.checked_sub(1) {
                self.identifiers.insert(Name {
                    schema: Some(chain[before].clone()),
                    name: name.clone(),
                });
            }
        }
    }

    /// Functions and operators that a word stands for by itself.
    fn syntax(&mut self, part: &Part<'_>, at: usize, word: &str) {
        let bare = |name: &str| [Box::from(name)];
        if WITHOUT_PARENTHESES.contains(&word) {
            self.call(&bare(word), Some(0));
        }
        if let Some((_, functions)) = SYNTAX.iter().find(|(w, _)| *w == word) {
            functions.iter().for_each(|f| self.call(&bare(f), None));
        }
        if matches!(word, "like" | "ilike" | "similar") {
            self.operators.extend(LIKE.iter().map(|o| Box::from(*o)));
        }
        if word == "at" && part.is_any_word(at + 1, &["time", "local"]) {
            self.call(&bare("timezone"), None);
        }
        if word == "variadic" {
            self.touch(true);
        }
    }
}
