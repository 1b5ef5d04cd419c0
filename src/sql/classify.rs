//! From a text to what its statements do to the session.

use std::ops::Range;

use super::lexer::{Kind, Lexer, Token};
use super::{Class, Effect, PinKind, Statement, calls, set};

/// See [`Class`]. `standard_strings` is the session's `standard_conforming_strings`.
pub fn classify(text: &[u8], standard_strings: bool) -> Class {
    let lexer = Lexer::new(text, standard_strings);
    if is_plain(text, lexer.clone()) {
        return Class::Plain;
    }
    let tokens: Vec<Token> = lexer.collect();
    let statements: Vec<Statement> = split(text, &tokens)
        .into_iter()
        .map(|range| Words::new(text, &tokens[range]).statement())
        .collect();
    if statements.iter().all(|s| s.effects.is_empty()) {
        return Class::Plain;
    }
    Class::Special(statements)
}

/// One pass without allocation: no statement begins with a word, and no function is called, that
/// could be of interest.
fn is_plain(text: &[u8], lexer: Lexer<'_>) -> bool {
    let mut at_start = true;
    // A ROLLBACK may turn out to be one to a savepoint.
    let mut in_rollback = false;
    for token in lexer {
        match token.kind {
            Kind::Symbol(b';') => (at_start, in_rollback) = (true, false),
            // `(SELECT …)` may begin with a parenthesis.
            Kind::Symbol(b'(') if at_start => {}
            Kind::Word => {
                let word = &text[token.range];
                if at_start && any_of(word, &["rollback"]) {
                    in_rollback = true;
                } else if (at_start && !is_plain_start(word))
                    || is_interesting(word)
                    || (in_rollback && any_of(word, &["to"]))
                {
                    return false;
                }
                at_start = false;
            }
            Kind::Quoted => {
                let name = &text[token.range];
                if calls::effect(name.get(1..name.len().max(2) - 1).unwrap_or_default()).is_some()
                    || name.starts_with(b"U&")
                    || name.starts_with(b"u&")
                {
                    return false;
                }
                at_start = false;
            }
            _ => at_start = false,
        }
    }
    true
}

fn any_of(word: &[u8], known: &[&str]) -> bool {
    known
        .iter()
        .any(|k| word.eq_ignore_ascii_case(k.as_bytes()))
}

/// Statements that by themselves do nothing to the session.
fn is_plain_start(word: &[u8]) -> bool {
    match word.first().map_or(0, |b| b | 0x20) {
        b's' => any_of(word, &["select", "show", "start"]),
        b'i' => any_of(word, &["insert", "import"]),
        b'u' => any_of(word, &["update"]),
        b'd' => any_of(word, &["delete"]),
        b'b' => any_of(word, &["begin"]),
        b'c' => any_of(
            word,
            &["commit", "copy", "cluster", "checkpoint", "comment"],
        ),
        b'e' => any_of(word, &["end"]),
        b'w' => any_of(word, &["with"]),
        b'v' => any_of(word, &["values", "vacuum"]),
        b't' => any_of(word, &["table", "truncate"]),
        b'a' => any_of(word, &["abort", "analyze", "analyse"]),
        b'm' => any_of(word, &["merge", "move"]),
        b'f' => any_of(word, &["fetch"]),
        b'n' => any_of(word, &["notify"]),
        b'l' => any_of(word, &["lock"]),
        b'g' => any_of(word, &["grant"]),
        _ => false,
    }
}

/// Words that make a closer look necessary wherever they stand.
#[inline]
fn is_interesting(word: &[u8]) -> bool {
    match word.len() {
        4 => any_of(word, &["temp"]),
        9 => any_of(word, &["temporary"]),
        7 => any_of(word, &["pg_temp"]),
        n if n >= 10 => calls::effect(word).is_some(),
        _ => false,
    }
}

/// The tokens of each statement. Semicolons inside parentheses (CREATE RULE) and inside
/// `BEGIN ATOMIC … END` (SQL-standard function bodies) do not end a statement.
fn split(text: &[u8], tokens: &[Token]) -> Vec<Range<usize>> {
    let mut statements = Vec::new();
    let (mut start, mut parentheses, mut blocks) = (0, 0usize, 0usize);
    let is = |at: usize, word: &str| {
        tokens.get(at).is_some_and(|t: &Token| {
            t.kind == Kind::Word && text[t.range.clone()].eq_ignore_ascii_case(word.as_bytes())
        })
    };
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Symbol(b'(') => parentheses += 1,
            Kind::Symbol(b')') => parentheses = parentheses.saturating_sub(1),
            Kind::Word if is(start, "create") => {
                let opens = is(at, "begin") && is(at + 1, "atomic");
                if opens || (blocks > 0 && is(at, "case")) {
                    blocks += 1;
                } else if blocks > 0 && is(at, "end") {
                    blocks -= 1;
                }
            }
            Kind::Symbol(b';') if parentheses == 0 && blocks == 0 => {
                if at > start {
                    statements.push(start..at);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    if tokens.len() > start {
        statements.push(start..tokens.len());
    }
    statements
}

/// The tokens of one statement, to be read from left to right.
pub(super) struct Words<'a> {
    pub text: &'a [u8],
    pub tokens: &'a [Token],
}

impl<'a> Words<'a> {
    fn new(text: &'a [u8], tokens: &'a [Token]) -> Words<'a> {
        Words { text, tokens }
    }

    pub fn bytes(&self, at: usize) -> &'a [u8] {
        self.tokens
            .get(at)
            .map_or(&[], |t| &self.text[t.range.clone()])
    }

    pub fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|t| t.kind)
    }

    pub fn is(&self, at: usize, word: &str) -> bool {
        self.kind(at) == Some(Kind::Word) && self.bytes(at).eq_ignore_ascii_case(word.as_bytes())
    }

    pub fn is_any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|w| self.is(at, w))
    }

    fn has(&self, word: &str) -> bool {
        (0..self.tokens.len()).any(|at| self.is(at, word))
    }

    /// An identifier as the server understands it: folded to lower case unless quoted, and cut to
    /// 63 bytes.
    pub fn name(&self, at: usize) -> Option<String> {
        let text = String::from_utf8_lossy(self.bytes(at)).into_owned();
        let mut name = match self.kind(at)? {
            Kind::Word => text.to_ascii_lowercase(),
            Kind::Quoted => text
                .strip_prefix('"')?
                .trim_end_matches('"')
                .replace("\"\"", "\""),
            _ => return None,
        };
        let mut end = name.len().min(63);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        Some(name)
    }

    /// The text from a token to the end of the statement.
    pub fn from(&self, at: usize) -> String {
        let (Some(first), Some(last)) = (self.tokens.get(at), self.tokens.last()) else {
            return String::new();
        };
        String::from_utf8_lossy(&self.text[first.range.start..last.range.end]).into_owned()
    }

    fn statement(&self) -> Statement {
        let range = match (self.tokens.first(), self.tokens.last()) {
            (Some(first), Some(last)) => first.range.start..last.range.end,
            _ => 0..0,
        };
        let mut effects = self.by_keyword();
        self.by_calls(&mut effects);
        Statement { range, effects }
    }

    fn by_keyword(&self) -> Vec<Effect> {
        let mut start = 0;
        while self.kind(start) == Some(Kind::Symbol(b'(')) {
            start += 1;
        }
        let word = self.bytes(start).to_ascii_lowercase();
        match word.as_slice() {
            b"set" => set::set(self),
            b"reset" => set::reset(self),
            b"prepare" if self.is(1, "transaction") => Vec::new(),
            b"prepare" => self.named(1, |name, name_range| Effect::Prepare { name, name_range }),
            b"execute" => self.executed(1),
            b"deallocate" => self.deallocate(),
            b"discard" => vec![match () {
                () if self.is(1, "all") => Effect::DiscardAll,
                () if self.is_any(1, &["temp", "temporary"]) => Effect::DiscardTemp,
                () => Effect::DiscardOther,
            }],
            b"savepoint" => self.savepoint(1, |name| Effect::Savepoint { name }),
            b"release" => {
                let at = 1 + usize::from(self.is(1, "savepoint"));
                self.savepoint(at, |name| Effect::Release { name })
            }
            b"rollback" | b"abort" => self.rollback(),
            b"listen" => vec![Effect::MayPin(PinKind::Listen)],
            b"unlisten" => vec![Effect::MayUnpin(PinKind::Listen)],
            b"load" => vec![Effect::MayPin(PinKind::Load)],
            b"declare" => self.declare(),
            b"close" => vec![Effect::MayUnpin(PinKind::HoldCursor)],
            b"do" | b"call" => vec![Effect::Unknown],
            b"create" => self.create(),
            b"drop" => vec![Effect::Ddl, Effect::MayUnpin(PinKind::TempObject)],
            b"alter" if self.is(1, "system") => Vec::new(),
            b"alter" | b"reassign" | b"security" | b"refresh" => vec![Effect::Ddl],
            b"explain" => self.explained(),
            b"select" | b"with" | b"table" | b"values" => self.select_into_temp(),
            b"revoke" | b"reindex" | b"comment" | b"grant" => Vec::new(),
            _ if is_plain_start(&word) => Vec::new(),
            // A statement that we do not know.
            _ => vec![Effect::Unknown],
        }
    }

    fn named(&self, at: usize, effect: impl FnOnce(String, Range<usize>) -> Effect) -> Vec<Effect> {
        match (self.name(at), self.tokens.get(at)) {
            (Some(name), Some(token)) => vec![effect(name, token.range.clone())],
            // A syntax error; the server will say so.
            _ => Vec::new(),
        }
    }

    /// What the statement named at `at` does is known where it was prepared; here it may be
    /// anything.
    fn executed(&self, at: usize) -> Vec<Effect> {
        self.named(at, |name, name_range| Effect::Execute { name, name_range })
    }

    fn deallocate(&self) -> Vec<Effect> {
        let at = 1 + usize::from(self.is(1, "prepare"));
        if self.is(at, "all") {
            return vec![Effect::DeallocateAll];
        }
        self.named(at, |name, name_range| Effect::Deallocate {
            name,
            name_range,
        })
    }

    fn savepoint(&self, at: usize, effect: impl FnOnce(String) -> Effect) -> Vec<Effect> {
        self.name(at).map(effect).into_iter().collect()
    }

    fn rollback(&self) -> Vec<Effect> {
        let at = 1 + usize::from(self.is_any(1, &["work", "transaction"]));
        if !self.is(at, "to") {
            return Vec::new();
        }
        let at = at + 1 + usize::from(self.is(at + 1, "savepoint"));
        self.savepoint(at, |name| Effect::RollbackTo { name })
    }

    fn declare(&self) -> Vec<Effect> {
        // The first HOLD decides: what comes behind FOR is the query.
        let hold = (1..self.tokens.len())
            .take_while(|at| !self.is(*at, "for"))
            .find(|at| self.is(*at, "hold"));
        match hold {
            Some(at) if self.is(at - 1, "with") => vec![Effect::MayPin(PinKind::HoldCursor)],
            _ => Vec::new(),
        }
    }

    fn create(&self) -> Vec<Effect> {
        let mut effects = vec![Effect::Ddl];
        let head = (1..6).take_while(|at| !self.is_any(*at, &["as", "on"]));
        let temporary = head
            .clone()
            .any(|at| self.is_any(at, &["temp", "temporary"]))
            || self.has("pg_temp");
        let dropped = self.has("on")
            && (0..self.tokens.len()).any(|at| {
                self.is(at, "on") && self.is(at + 1, "commit") && self.is(at + 2, "drop")
            });
        if temporary && !dropped {
            // A temporary object does not change what others see.
            effects = vec![Effect::MayPin(PinKind::TempObject)];
        } else if temporary {
            effects.clear();
        }
        // CREATE TABLE … AS EXECUTE.
        if let Some(at) =
            (1..self.tokens.len()).find(|at| self.is(*at, "execute") && self.is(*at - 1, "as"))
        {
            effects.extend(self.executed(at + 1));
        }
        effects
    }

    fn explained(&self) -> Vec<Effect> {
        let execute = (1..self.tokens.len()).find(|at| self.is(*at, "execute"));
        let mut effects = execute.map_or_else(Vec::new, |at| self.executed(at + 1));
        // EXPLAIN ANALYZE runs what it explains.
        if self.has("temp") || self.has("temporary") {
            effects.push(Effect::MayPin(PinKind::TempObject));
        }
        effects
    }

    fn select_into_temp(&self) -> Vec<Effect> {
        let found = (0..self.tokens.len()).any(|at| {
            self.is(at, "into")
                && (self.is_any(at + 1, &["temp", "temporary", "local", "global"])
                    || self.is(at + 1, "pg_temp"))
        });
        if found {
            vec![Effect::MayPin(PinKind::TempObject)]
        } else {
            Vec::new()
        }
    }

    /// Function calls, anywhere in the statement.
    fn by_calls(&self, effects: &mut Vec<Effect>) {
        for at in 0..self.tokens.len() {
            if self.kind(at + 1) != Some(Kind::Symbol(b'(')) {
                continue;
            }
            let Some(name) = self.name(at) else { continue };
            match calls::effect(name.as_bytes()) {
                Some(Effect::SetConfigUnknown) => effects.push(set::set_config(self, at + 2)),
                Some(effect) => effects.push(effect),
                None if self.bytes(at).get(1) == Some(&b'&') => effects.push(Effect::Unknown),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
