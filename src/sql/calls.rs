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
                    set::set_config(tokens.from(at + 2), out);
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

fn is_in_other_schema(tokens: Tokens<'_>, at: usize) -> bool {
    let qualified = at >= 2 && tokens.is_symbol(at - 1, b'.');
    let is_name = |at| matches!(tokens.kind(at), Some(Kind::Word | Kind::Quoted));
    qualified && is_name(at - 2) && tokens.name(at - 2).as_deref() != Some("pg_catalog")
}

#[cfg(test)]
mod tests;
