//! From a text to what its statements do to the session.

use super::calls;
use super::lexer::{Kind, Lexer, Token};
use super::plain;
use super::set;
use super::statement::Tokens;
use super::{Class, Effect, PinKind, Statement};

/// Says what the statements of a text can do to session state. `standard_conforming_strings` is the
/// session's setting of that name when the text is read: all of a text is read before any of it is
/// run.
///
/// Takes time in proportion to the length of the text. Does not allocate for a text without
/// anything that looks special.
pub fn classify(text: &[u8], standard_conforming_strings: bool) -> Class {
    if plain::is_plain(text, standard_conforming_strings) {
        return Class::Plain;
    }
    let tokens: Vec<Token> = Lexer::new(text, standard_conforming_strings).collect();
    let all = Tokens::new(text, &tokens, standard_conforming_strings);
    let statements: Vec<Statement> = split(all)
        .into_iter()
        .map(|tokens| Statement {
            range: tokens.range(),
            effects: effects(tokens),
        })
        .collect();
    if statements
        .iter()
        .flat_map(|s| &s.effects)
        .all(is_transaction_control)
    {
        return Class::Plain;
    }
    Class::Special(statements)
}

fn is_transaction_control(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Begin
            | Effect::Commit { .. }
            | Effect::Rollback { .. }
            | Effect::PrepareTransaction
    )
}

/// Cuts a text at the semicolons that end a statement. Those in parentheses (`CREATE RULE`) do not,
/// nor do those of a function body `BEGIN ATOMIC … END`. In such a body every statement ends with a
/// semicolon, so that the `END` behind one, or behind `ATOMIC`, is the body's own, and any other
/// belongs to a `CASE` or is a column's name.
fn split(all: Tokens<'_>) -> Vec<Tokens<'_>> {
    let mut statements = Vec::new();
    let (mut start, mut parentheses, mut in_body) = (0, 0usize, false);
    let mut at = 0;
    while at < all.len() {
        match all.kind(at) {
            Some(Kind::Symbol(b'(')) => parentheses += 1,
            Some(Kind::Symbol(b')')) => parentheses = parentheses.saturating_sub(1),
            Some(Kind::Symbol(b';')) if parentheses == 0 && !in_body => {
                if at > start {
                    statements.push(all.until(at).from(start));
                }
                start = at + 1;
            }
            Some(Kind::Word) if in_body => {
                let opened = all.is(at - 1, "atomic") || all.is_symbol(at - 1, b';');
                in_body = !(opened && all.is(at, "end"));
            }
            Some(Kind::Word)
                if parentheses == 0
                    && all.are(at, &["begin", "atomic"])
                    && all.is(start, "create") =>
            {
                in_body = true;
                at += 1;
            }
            _ => {}
        }
        at += 1;
    }
    if all.len() > start {
        statements.push(all.from(start));
    }
    statements
}

/// What one statement does.
fn effects(tokens: Tokens<'_>) -> Vec<Effect> {
    let mut out = Vec::new();
    let tokens = without_parentheses(tokens);
    // What does not begin with a word is no statement; the server will say so.
    if tokens.kind(0) != Some(Kind::Word) {
        return out;
    }
    let first = tokens.bytes(0).to_ascii_lowercase();
    match first.as_slice() {
        b"explain" => explained(tokens, &mut out),
        b"prepare" => prepare(tokens, &mut out),
        b"begin" | b"start" => out.push(Effect::Begin),
        b"commit" | b"end" | b"rollback" | b"abort" => end_of_transaction(tokens, &mut out),
        b"savepoint" => out.extend(tokens.name(1).map(|name| Effect::Savepoint { name })),
        b"release" => {
            let at = behind_optional(tokens, 1, "savepoint");
            out.extend(tokens.name(at).map(|name| Effect::Release { name }));
        }
        b"do" | b"call" => out.push(Effect::Unknown),
        b"alter" | b"drop" if is_of_cluster(tokens, 1) => {}
        b"alter" => {
            out.push(Effect::Ddl);
            calls::effects(tokens, &mut out);
        }
        b"drop" => out.extend([Effect::Ddl, Effect::MayUnpin(PinKind::TempObject)]),
        b"import" => out.push(Effect::Ddl),
        b"show" | b"fetch" | b"move" | b"lock" | b"notify" | b"truncate" | b"vacuum"
        | b"analyze" | b"analyse" | b"grant" | b"revoke" | b"comment" | b"checkpoint"
        | b"cluster" | b"reindex" | b"reassign" | b"refresh" | b"security" => {}
        _ => {
            if !executable(tokens, &mut out) && !about_session(tokens, &mut out) {
                out.push(Effect::Unknown);
            }
        }
    }
    out
}

/// `(SELECT …)` is a statement, too.
fn without_parentheses(tokens: Tokens<'_>) -> Tokens<'_> {
    let start = (0..tokens.len()).find(|at| !tokens.is_symbol(*at, b'('));
    tokens.from(start.unwrap_or(tokens.len()))
}

/// Statements that can be prepared or explained. Returns whether it is one of them.
fn executable(tokens: Tokens<'_>, out: &mut Vec<Effect>) -> bool {
    let first = tokens.bytes(0).to_ascii_lowercase();
    match first.as_slice() {
        b"create" => {
            create(tokens, out);
            return true;
        }
        b"select" | b"with" | b"values" | b"table" => select_into(tokens, out),
        b"execute" => execute(tokens, 1, out),
        b"declare" => declare(tokens, out),
        b"insert" | b"update" | b"delete" | b"merge" | b"copy" => {}
        _ => return false,
    }
    if updates_settings(tokens) {
        out.push(Effect::SetConfigUnknown);
    }
    calls::effects(tokens, out);
    true
}

/// Whether `pg_settings` is updated: a rule of this view calls `set_config` for each row.
fn updates_settings(tokens: Tokens<'_>) -> bool {
    (0..tokens.len())
        .filter(|at| tokens.is(*at, "update"))
        .any(|at| {
            let at = at + 1 + usize::from(tokens.is(at + 1, "only"));
            let at = at + if tokens.is_symbol(at + 1, b'.') { 2 } else { 0 };
            tokens.name(at).is_some_and(|name| name == "pg_settings")
        })
}

/// Statements that are about the session itself. Returns whether it is one of them.
fn about_session(tokens: Tokens<'_>, out: &mut Vec<Effect>) -> bool {
    let first = tokens.bytes(0).to_ascii_lowercase();
    match first.as_slice() {
        b"set" => set::set(tokens, out),
        b"reset" => set::reset(tokens, out),
        b"deallocate" => deallocate(tokens, out),
        b"discard" => out.push(if tokens.is(1, "all") {
            Effect::DiscardAll
        } else if tokens.is_any(1, &["temp", "temporary"]) {
            Effect::DiscardTemp
        } else {
            Effect::DiscardOther
        }),
        b"listen" => {
            out.push(Effect::MayPin(PinKind::Listen));
            out.extend(tokens.name(1).map(|channel| Effect::Listen { channel }));
        }
        b"unlisten" => out.extend([
            Effect::MayUnpin(PinKind::Listen),
            Effect::Unlisten {
                channel: tokens.name(1),
            },
        ]),
        b"load" => out.push(Effect::MayPin(PinKind::Load)),
        b"close" => out.push(Effect::MayUnpin(PinKind::HoldCursor)),
        _ => return false,
    }
    true
}

/// Behind a word that may be left out; but if nothing follows, the word is the name.
fn behind_optional(tokens: Tokens<'_>, at: usize, word: &str) -> usize {
    at + usize::from(tokens.is(at, word) && tokens.kind(at + 1).is_some())
}

fn prepare(tokens: Tokens<'_>, out: &mut Vec<Effect>) {
    if tokens.is(1, "transaction") && tokens.kind(2) == Some(Kind::String) {
        return out.push(Effect::PrepareTransaction);
    }
    let Some((name, name_range)) = tokens.name_and_range(1) else {
        return;
    };
    out.push(Effect::Prepare { name, name_range });
    if let Some(at) = tokens.find(&["as"]) {
        executable(tokens.from(at + 1), out);
    }
}

/// What the statement does was told when it was prepared.
fn execute(tokens: Tokens<'_>, at: usize, out: &mut Vec<Effect>) {
    let named = tokens.name_and_range(at);
    out.extend(named.map(|(name, name_range)| Effect::Execute { name, name_range }));
}

fn deallocate(tokens: Tokens<'_>, out: &mut Vec<Effect>) {
    let at = behind_optional(tokens, 1, "prepare");
    if tokens.is(at, "all") {
        return out.push(Effect::DeallocateAll);
    }
    let named = tokens.name_and_range(at);
    out.extend(named.map(|(name, name_range)| Effect::Deallocate { name, name_range }));
}

/// `EXPLAIN` runs what it explains only with `ANALYZE`.
fn explained(tokens: Tokens<'_>, out: &mut Vec<Effect>) {
    let behind_options = if tokens.is_symbol(1, b'(') {
        (2..tokens.len())
            .find(|at| tokens.is_symbol(*at, b')'))
            .map(|at| at + 1)
    } else {
        (1..tokens.len()).find(|at| !tokens.is_any(*at, &["analyze", "analyse", "verbose"]))
    };
    let behind_options = behind_options.unwrap_or(tokens.len());
    let options = tokens.until(behind_options);
    let runs = (1..options.len()).any(|at| {
        options.is_any(at, &["analyze", "analyse"])
            && !options.is_any(at + 1, &["false", "off"])
            && options.bytes(at + 1) != b"0"
    });
    let statement = without_parentheses(tokens.from(behind_options));
    if runs {
        executable(statement, out);
    } else if statement.is(0, "execute") {
        execute(statement, 1, out);
    } else if let Some(at) = statement.find(&["as", "execute"]) {
        execute(statement, at + 2, out);
    }
}

fn end_of_transaction(tokens: Tokens<'_>, out: &mut Vec<Effect>) {
    let at = 1 + usize::from(tokens.is_any(1, &["work", "transaction"]));
    if tokens.is(at, "prepared") {
        return;
    }
    if tokens.is(0, "rollback") && tokens.is(at, "to") {
        let at = behind_optional(tokens, at + 1, "savepoint");
        out.extend(tokens.name(at).map(|name| Effect::RollbackTo { name }));
        return;
    }
    let chain = tokens.are(at, &["and", "chain"]);
    out.push(if tokens.is_any(0, &["commit", "end"]) {
        Effect::Commit { chain }
    } else {
        Effect::Rollback { chain }
    });
}

/// `DECLARE name … CURSOR [WITH HOLD] FOR query`.
fn declare(tokens: Tokens<'_>, out: &mut Vec<Effect>) {
    let head = tokens.until(tokens.find(&["for"]).unwrap_or(tokens.len()));
    if head.find(&["cursor", "with", "hold"]).is_some() {
        out.push(Effect::MayPin(PinKind::HoldCursor));
    }
}

/// `SELECT … INTO` makes a table.
fn select_into(tokens: Tokens<'_>, out: &mut Vec<Effect>) {
    let into = (1..tokens.len())
        .find(|at| tokens.is(*at, "into") && !tokens.is_any(*at - 1, &["insert", "merge", "as"]));
    let Some(at) = into.map(|at| at + 1) else {
        return;
    };
    let temporary = tokens.is_any(at, &["temp", "temporary", "local", "global"])
        || is_temporary_schema(tokens, at + usize::from(tokens.is(at, "table")));
    out.push(if temporary {
        Effect::MayPin(PinKind::TempObject)
    } else {
        Effect::Ddl
    });
}

fn create(tokens: Tokens<'_>, out: &mut Vec<Effect>) {
    let mut at = 1;
    if tokens.are(at, &["or", "replace"]) {
        at += 2;
    }
    at += usize::from(tokens.is_any(at, &["local", "global"]));
    let temporary = tokens.is_any(at, &["temp", "temporary"])
        || (at..tokens.len()).any(|at| is_temporary_schema(tokens, at));
    if !temporary {
        if !is_of_cluster(tokens, at) {
            out.push(Effect::Ddl);
        }
    } else if tokens.find(&["on", "commit", "drop"]).is_none() {
        // No other session sees it, so that for them no shape changes.
        out.push(Effect::MayPin(PinKind::TempObject));
    }
    // Only these run a query now; what is in a view or a function runs later.
    let mut kind = at..tokens.len().min(at + 2);
    if kind.any(|at| tokens.is_any(at, &["table", "materialized"])) {
        if let Some(at) = tokens.find(&["as", "execute"]) {
            execute(tokens, at + 2, out);
        }
        if tokens.find(&["as"]).is_some() {
            calls::effects(tokens, out);
        }
    }
}

/// Whether `pg_temp.` or the temporary schema of a session stands there.
fn is_temporary_schema(tokens: Tokens<'_>, at: usize) -> bool {
    tokens.is_symbol(at + 1, b'.')
        && tokens
            .name(at)
            .is_some_and(|name| set::is_temporary_schema(&name))
}

/// Kinds of objects, behind `CREATE` or `ALTER`, that no statement's meaning depends on.
fn is_of_cluster(tokens: Tokens<'_>, at: usize) -> bool {
    tokens.is_any(at, &["system", "role", "group", "database", "tablespace"])
        || (tokens.is(at, "user") && !tokens.is(at + 1, "mapping"))
}

#[cfg(test)]
mod tests;
