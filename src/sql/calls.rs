//! Functions that touch session state, known by name.
//!
//! A schema other than `pg_catalog` makes a difference only for `set_config`, which is taken at its
//! word: for the others, a function of the user's by the same name costs a needless look.

use super::lexer::Kind;
use super::set;
use super::statement::Tokens;
use super::{Effect, PinKind};

/// How many functions' arguments are read in a statement, so that nested calls do not cost the
/// square of their number.
const CALLS_MAX: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Function {
    Pins(PinKind),
    Unpins(PinKind),
    SetConfig,
    /// Changes a setting under another name.
    SetsSomething,
}

fn function(name: &str) -> Option<Function> {
    let function = match name {
        "pg_advisory_lock"
        | "pg_advisory_lock_shared"
        | "pg_try_advisory_lock"
        | "pg_try_advisory_lock_shared" => Function::Pins(PinKind::AdvisoryLock),
        "pg_advisory_unlock" | "pg_advisory_unlock_shared" | "pg_advisory_unlock_all" => {
            Function::Unpins(PinKind::AdvisoryLock)
        }
        "dblink_connect"
        | "dblink_connect_u"
        | "pg_replication_origin_session_setup"
        | "pg_create_physical_replication_slot"
        | "pg_create_logical_replication_slot"
        | "pg_copy_physical_replication_slot"
        | "pg_copy_logical_replication_slot" => Function::Pins(PinKind::Load),
        "set_config" => Function::SetConfig,
        // pg_trgm.
        "set_limit" => Function::SetsSomething,
        _ => return None,
    };
    Some(function)
}

/// Adds what the functions do that are called anywhere in `tokens`.
pub fn effects(tokens: Tokens<'_>, out: &mut Vec<Effect>) {
    let mut read = 0;
    let certain = selects_set_config_only(tokens);
    for at in 0..tokens.len() {
        if !tokens.is_symbol(at + 1, b'(') {
            continue;
        }
        if tokens.has_escapes(at) {
            out.push(Effect::Unknown);
            continue;
        }
        // Shorter than any, which spares most names a copy.
        if tokens.bytes(at).len() < "set_limit".len() {
            continue;
        }
        match tokens.name(at).and_then(|name| function(&name)) {
            Some(Function::Pins(kind)) => add(out, Effect::MayPin(kind)),
            Some(Function::Unpins(kind)) => add(out, Effect::MayUnpin(kind)),
            Some(Function::SetsSomething) => add(out, Effect::SetConfigUnknown),
            Some(Function::SetConfig) => {
                read += 1;
                if read > CALLS_MAX || is_in_other_schema(tokens, at) {
                    add(out, Effect::SetConfigUnknown);
                } else {
                    set::set_config(tokens.from(at + 2), certain, out);
                }
            }
            None => {}
        }
    }
}

/// A text may hold thousands of calls of the same kind; once says it all.
fn add(out: &mut Vec<Effect>, effect: Effect) {
    if out.last() != Some(&effect) {
        out.push(effect);
    }
}

/// Whether this is `SELECT set_config(…), …` and nothing else, so that every call happens once.
fn selects_set_config_only(tokens: Tokens<'_>) -> bool {
    let mut at = 0;
    loop {
        // Behind `SELECT` or a comma.
        at += 1;
        if tokens.name(at).is_some_and(|name| name == "pg_catalog")
            && tokens.is_symbol(at + 1, b'.')
        {
            at += 2;
        }
        let is_set_config = tokens.name(at).is_some_and(|name| name == "set_config");
        let called = is_set_config && tokens.is_symbol(at + 1, b'(');
        let Some(behind) = called.then(|| behind_parentheses(tokens, at + 1)).flatten() else {
            return false;
        };
        at = behind + usize::from(tokens.is(behind, "as"));
        let is_alias = at > behind || tokens.kind(at) == Some(Kind::Quoted);
        at += usize::from(is_alias);
        if at >= tokens.len() {
            return tokens.is(0, "select");
        }
        if !tokens.is_symbol(at, b',') {
            return false;
        }
    }
}

/// The position behind the parenthesis that closes the one at `at`.
fn behind_parentheses(tokens: Tokens<'_>, at: usize) -> Option<usize> {
    let mut depth = 0usize;
    (at..tokens.len())
        .find(|at| {
            match tokens.kind(*at) {
                Some(Kind::Symbol(b'(')) => depth += 1,
                Some(Kind::Symbol(b')')) => depth -= 1,
                _ => {}
            }
            depth == 0
        })
        .map(|at| at + 1)
}

fn is_in_other_schema(tokens: Tokens<'_>, at: usize) -> bool {
    let qualified = at >= 2 && tokens.is_symbol(at - 1, b'.');
    let is_name = |at| matches!(tokens.kind(at), Some(Kind::Word | Kind::Quoted));
    qualified && is_name(at - 2) && tokens.name(at - 2).as_deref() != Some("pg_catalog")
}

#[cfg(test)]
mod tests;
