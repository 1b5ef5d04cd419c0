//! The forms of `SET` and `RESET`, and `set_config` (PostgreSQL docs, "SET", "SET SESSION
//! AUTHORIZATION", "SET TRANSACTION", "System Administration Functions").

use super::lexer::Kind;
use super::literal;
use super::statement::Tokens;
use super::{Effect, PinKind};

/// How many tokens the arguments of `set_config` are looked for in.
const ARGUMENTS_MAX: usize = 64;

/// A statement that begins with `SET`.
pub fn set(tokens: Tokens<'_>, out: &mut Vec<Effect>) {
    // Either word may also be the beginning of a setting's name.
    let scoped = tokens.is_any(1, &["local", "session"]) && assigned_name(tokens.from(1)).is_none();
    let local = scoped && tokens.is(1, "local");
    let rest = tokens.from(1 + usize::from(scoped));
    if let Some((name, behind)) = assigned_name(rest) {
        // Written as it is in the text: a quoted name stays quoted.
        let written = render(rest.until(behind));
        return assign(&name, written.as_deref(), rest.from(behind + 1), local, out);
    }
    let rest = rest.from(usize::from(rest.is(0, "session")));
    if rest.are(0, &["characteristics", "as", "transaction"]) {
        characteristics(rest.from(3), local, out);
    } else if rest.are(0, &["time", "zone"]) {
        let value = rest.from(2);
        let back = value.is_any(0, &["default", "local"]);
        let replay = if back {
            Some(None)
        } else {
            statement("SET TIME ZONE", value).map(Some)
        };
        push("timezone", local, replay, out);
    } else if rest.is(0, "names") {
        let value = rest.from(1);
        if value.len() == 0 {
            push("client_encoding", local, Some(None), out);
        } else {
            assign(
                "client_encoding",
                Some("client_encoding"),
                value,
                local,
                out,
            );
        }
    } else if rest.is(0, "schema") {
        assign("search_path", Some("search_path"), rest.from(1), local, out);
    } else if rest.are(0, &["xml", "option"]) {
        assign("xmloption", Some("xmloption"), rest.from(2), local, out);
    } else if rest.is(0, "role") {
        let replay = statement("SET ROLE", rest.from(1));
        push("role", local, replay.map(Some), out);
    } else if rest.is(0, "authorization") {
        let replay = if rest.is(1, "default") {
            Some(None)
        } else {
            statement("SET SESSION AUTHORIZATION", rest.from(1)).map(Some)
        };
        push("session_authorization", local, replay, out);
    } else if !rest.is_any(0, &["transaction", "constraints"]) {
        // `SET x FROM CURRENT`, or a form that is newer than this.
        out.push(Effect::SetConfigUnknown);
    }
}

/// A statement that begins with `RESET`.
pub fn reset(tokens: Tokens<'_>, out: &mut Vec<Effect>) {
    let rest = tokens.from(1);
    let name = if rest.is(0, "all") {
        return out.push(Effect::ResetAll);
    } else if rest.are(0, &["time", "zone"]) {
        "timezone".to_owned()
    } else if rest.are(0, &["session", "authorization"]) {
        "session_authorization".to_owned()
    } else if let Some((name, behind)) = setting_name(rest)
        && behind == rest.len()
    {
        name
    } else {
        // `RESET TRANSACTION ISOLATION LEVEL`, or no statement.
        return;
    };
    if lifetime(&name) == Lifetime::Session {
        out.push(Effect::Reset { name });
    }
}

/// `set_config(`, with the tokens behind the parenthesis; `certain` if it is run exactly once. Where
/// it may be run for some rows, or for none, the value is to be asked for afterwards.
pub fn set_config(tokens: Tokens<'_>, certain: bool, out: &mut Vec<Effect>) {
    let Some(arguments) = arguments(tokens) else {
        return out.push(Effect::SetConfigUnknown);
    };
    let argument = |position: usize| arguments.get(position).copied();
    let name = argument(0).and_then(constant);
    let new_value = argument(1);
    let local = argument(2).and_then(boolean);
    let name = match (name, local) {
        (Some(name), _) => name.to_ascii_lowercase(),
        // Whichever it is, it ends with the transaction.
        (None, Some(true)) => return,
        (None, _) => return out.push(Effect::SetConfigUnknown),
    };
    let value = new_value.and_then(constant);
    let is_null = new_value.is_some_and(|v| v.len() == 1 && v.is(0, "null"));
    match (lifetime(&name), local, value) {
        (Lifetime::Untracked, ..) => {}
        (Lifetime::Transaction, _, Some(value)) => out.push(Effect::SetConfig {
            name,
            value,
            local: true,
        }),
        (Lifetime::Session, Some(local), Some(value)) => {
            out.extend(makes_temporary(&name, local, value.split(',')));
            if local || certain {
                out.push(Effect::SetConfig { name, value, local });
            } else {
                out.push(Effect::SetConfigNamed { name });
            }
        }
        (_, Some(true), None) | (Lifetime::Transaction, _, None) => {}
        (_, Some(false), None) if is_null && certain => out.push(Effect::Reset { name }),
        (Lifetime::Session, ..) => out.push(Effect::SetConfigNamed { name }),
    }
}

/// Whether this is the temporary schema, under its alias or its own name.
pub fn is_temporary_schema(name: &str) -> bool {
    name.strip_prefix("pg_temp").is_some_and(|rest| {
        rest.is_empty()
            || rest
                .strip_prefix('_')
                .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lifetime {
    Session,
    /// Set back at the end of the transaction, however it was set.
    Transaction,
    /// Setting it does something rather than to be remembered.
    Untracked,
}

fn lifetime(name: &str) -> Lifetime {
    match name {
        "transaction_isolation" | "transaction_read_only" | "transaction_deferrable" => {
            Lifetime::Transaction
        }
        "seed" => Lifetime::Untracked,
        _ => Lifetime::Session,
    }
}

/// A name with or without dots, in lower case, and where it ends.
fn setting_name(tokens: Tokens<'_>) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut at = 0;
    loop {
        if tokens.has_escapes(at) {
            return None;
        }
        name.push_str(&tokens.name(at)?);
        at += 1;
        if !tokens.is_symbol(at, b'.') {
            name.make_ascii_lowercase();
            return Some((name, at));
        }
        name.push('.');
        at += 1;
    }
}

/// The same, if it is followed by `TO` or `=`.
fn assigned_name(tokens: Tokens<'_>) -> Option<(String, usize)> {
    setting_name(tokens)
        .filter(|(_, behind)| tokens.is(*behind, "to") || tokens.is_symbol(*behind, b'='))
}

/// `SET written TO value`.
fn assign(
    name: &str,
    written: Option<&str>,
    value: Tokens<'_>,
    local: bool,
    out: &mut Vec<Effect>,
) {
    let replay = if value.len() == 1 && value.is(0, "default") {
        Some(None)
    } else {
        written
            .and_then(|w| statement(&format!("SET {w} TO"), value))
            .map(Some)
    };
    let schemas = (0..value.len()).filter_map(|at| value.string(at).or_else(|| value.name(at)));
    out.extend(makes_temporary(name, local, schemas));
    push(name, local, replay, out);
}

/// Adds a `Set`, unless `replay` is `None` as the text cannot be written for another session.
fn push(name: &str, local: bool, replay: Option<Option<String>>, out: &mut Vec<Effect>) {
    let lifetime = lifetime(name);
    let local = local || lifetime == Lifetime::Transaction;
    match replay {
        _ if lifetime == Lifetime::Untracked => {}
        Some(replay) => out.push(Effect::Set {
            name: name.to_owned(),
            local,
            replay,
        }),
        None if local => {}
        None => out.push(Effect::SetConfigNamed {
            name: name.to_owned(),
        }),
    }
}

/// A temporary schema at the head of the search path makes every new object a temporary one. For a
/// transaction it counts wherever it stands, as the schemas before it may not exist: that costs only
/// a look at the end.
fn makes_temporary<S: AsRef<str>>(
    name: &str,
    local: bool,
    schemas: impl Iterator<Item = S>,
) -> Option<Effect> {
    if name != "search_path" {
        return None;
    }
    let is_temporary = |schema: S| {
        let schema = schema.as_ref().trim().trim_matches('"');
        is_temporary_schema(&schema.to_ascii_lowercase())
    };
    let mut schemas = schemas.take(if local { usize::MAX } else { 1 });
    let kind = if local {
        PinKind::TempObject
    } else {
        PinKind::Load
    };
    schemas.any(is_temporary).then_some(Effect::MayPin(kind))
}

/// The modes of `SET SESSION CHARACTERISTICS AS TRANSACTION`, each a setting of its own.
fn characteristics(modes: Tokens<'_>, local: bool, out: &mut Vec<Effect>) {
    const MODES: [(&[&str], &str, &str); 8] = [
        (
            &["isolation", "level", "serializable"],
            "isolation",
            "serializable",
        ),
        (
            &["isolation", "level", "repeatable", "read"],
            "isolation",
            "repeatable read",
        ),
        (
            &["isolation", "level", "read", "committed"],
            "isolation",
            "read committed",
        ),
        (
            &["isolation", "level", "read", "uncommitted"],
            "isolation",
            "read uncommitted",
        ),
        (&["read", "only"], "read_only", "on"),
        (&["read", "write"], "read_only", "off"),
        (&["deferrable"], "deferrable", "on"),
        (&["not", "deferrable"], "deferrable", "off"),
    ];
    let mut at = 0;
    while at < modes.len() {
        at += usize::from(modes.is_symbol(at, b','));
        let Some((words, setting, value)) = MODES.iter().find(|(words, ..)| modes.are(at, words))
        else {
            return;
        };
        let name = format!("default_transaction_{setting}");
        let replay = format!("SET {name} TO '{value}'");
        push(&name, local, Some(Some(replay)), out);
        at += words.len();
    }
}

/// `head` and the tokens behind it.
fn statement(head: &str, tokens: Tokens<'_>) -> Option<String> {
    Some(format!("{head} {}", render(tokens)?))
}

/// Writes tokens so that every session reads them the same, and that what means the same is more
/// often written the same. `None` if that cannot be done.
fn render(tokens: Tokens<'_>) -> Option<String> {
    let mut text = String::new();
    for at in 0..tokens.len() {
        let written = std::str::from_utf8(tokens.bytes(at)).ok()?;
        let piece = match tokens.kind(at)? {
            Kind::Word => written.to_ascii_lowercase(),
            Kind::String => literal::quote(&tokens.string(at)?),
            Kind::Quoted if tokens.has_escapes(at) => return None,
            Kind::Quoted | Kind::Number | Kind::Symbol(_) => written.to_owned(),
            Kind::Parameter => return None,
        };
        let glued =
            matches!(piece.as_str(), "," | "." | ")") || text.ends_with(['.', '(', '-', '+']);
        if !glued && at > 0 {
            text.push(' ');
        }
        text.push_str(&piece);
    }
    Some(text)
}

/// The arguments up to the closing parenthesis; `None` if they are too many tokens or cut off.
fn arguments(tokens: Tokens<'_>) -> Option<Vec<Tokens<'_>>> {
    let (mut start, mut depth) = (0, 0usize);
    let mut arguments = Vec::new();
    for at in 0..tokens.len().min(ARGUMENTS_MAX) {
        match tokens.kind(at)? {
            Kind::Symbol(b'(' | b'[') => depth += 1,
            Kind::Symbol(b')') if depth == 0 => {
                arguments.push(tokens.until(at).from(start));
                return Some(arguments);
            }
            Kind::Symbol(b')' | b']') => depth = depth.saturating_sub(1),
            Kind::Symbol(b',') if depth == 0 => {
                arguments.push(tokens.until(at).from(start));
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

/// Whether the argument is one token, or one with a cast to a type of these.
fn is_single(argument: Tokens<'_>, types: &[&str]) -> bool {
    let cast = argument.is_symbol(1, b':') && argument.is_symbol(2, b':');
    argument.len() == 1 || (argument.len() == 4 && cast && argument.is_any(3, types))
}

fn constant(argument: Tokens<'_>) -> Option<String> {
    argument
        .string(0)
        .filter(|_| is_single(argument, &["text", "varchar"]))
}

fn boolean(argument: Tokens<'_>) -> Option<bool> {
    if !is_single(argument, &["bool", "boolean"]) {
        return None;
    }
    if argument.is_any(0, &["true", "false"]) {
        return Some(argument.is(0, "true"));
    }
    match argument.string(0)?.trim().to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
