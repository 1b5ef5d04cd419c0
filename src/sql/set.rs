//! The forms of `SET`, `RESET` and `set_config` (PostgreSQL docs, "SET", "RESET").

use super::Effect;
use super::classify::Words;
use super::lexer::Kind;

/// A statement that begins with `SET`.
pub(super) fn set(words: &Words<'_>) -> Vec<Effect> {
    let local = words.is(1, "local");
    let at = 1 + usize::from(local || (words.is(1, "session") && is_scope(words)));
    let one = |name: &str, value_at: usize, replay: String| {
        let default = words.is(value_at, "default");
        vec![Effect::Set {
            name: name.to_owned(),
            local,
            replay: (!default).then_some(replay),
        }]
    };
    let rest = words.from(at);
    if words.is_any(at, &["transaction", "constraints"]) {
        return Vec::new();
    }
    if words.is(at, "characteristics") {
        return characteristics(words, &rest);
    }
    if words.is(at, "time") && words.is(at + 1, "zone") {
        let value = at + 2;
        let back = words.is(value, "local");
        let effects = one("timezone", value, format!("SET {rest}"));
        return if back {
            default("timezone", local)
        } else {
            effects
        };
    }
    if words.is(at, "names") {
        let missing = words.kind(at + 1).is_none();
        let effects = one("client_encoding", at + 1, format!("SET {rest}"));
        return if missing {
            default("client_encoding", local)
        } else {
            effects
        };
    }
    if words.is(at, "schema") && !is_assignment(words, at + 1) {
        return one("search_path", at + 1, format!("SET {rest}"));
    }
    if words.is(at, "role") && !is_assignment(words, at + 1) {
        let none = words.is(at + 1, "none");
        let effects = one("role", at + 1, format!("SET {rest}"));
        return if none {
            default("role", local)
        } else {
            effects
        };
    }
    if words.is(at, "authorization") {
        return one(
            "session_authorization",
            at + 1,
            format!("SET SESSION {rest}"),
        );
    }
    if words.is(at, "xml") && words.is(at + 1, "option") {
        return one("xmloption", at + 2, format!("SET {rest}"));
    }
    assignment(words, at, local, &rest)
}

fn default(name: &str, local: bool) -> Vec<Effect> {
    vec![Effect::Set {
        name: name.to_owned(),
        local,
        replay: None,
    }]
}

/// `SET SESSION …`: the word is a scope unless it is itself the variable.
fn is_scope(words: &Words<'_>) -> bool {
    !is_assignment(words, 2)
}

fn is_assignment(words: &Words<'_>, at: usize) -> bool {
    words.is(at, "to") || words.kind(at) == Some(Kind::Symbol(b'='))
}

/// `SET SESSION CHARACTERISTICS AS TRANSACTION …` sets the defaults of later transactions.
fn characteristics(words: &Words<'_>, rest: &str) -> Vec<Effect> {
    // One replay text serves for whatever it sets; it is kept under a name of its own per kind.
    let sets = |word: &str, name: &str| {
        let found = (0..words.tokens.len()).any(|at| words.is(at, word));
        found.then(|| Effect::Set {
            name: name.to_owned(),
            local: false,
            replay: Some(format!("SET SESSION {rest}")),
        })
    };
    [
        sets("isolation", "default_transaction_isolation"),
        sets("read", "default_transaction_read_only"),
        sets("deferrable", "default_transaction_deferrable"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `name { TO | = } value`.
fn assignment(words: &Words<'_>, at: usize, local: bool, rest: &str) -> Vec<Effect> {
    let Some((name, behind)) = setting_name(words, at) else {
        return Vec::new();
    };
    if !is_assignment(words, behind) {
        // A syntax error, or something newer than we know.
        return vec![Effect::Unknown];
    }
    let replay = (!words.is(behind + 1, "default")).then(|| format!("SET {rest}"));
    vec![Effect::Set {
        name,
        local,
        replay,
    }]
}

/// A name with or without dots, and the token behind it. Settings are compared without regard to
/// case, even quoted ones.
fn setting_name(words: &Words<'_>, mut at: usize) -> Option<(String, usize)> {
    let mut name = words.name(at)?;
    at += 1;
    while words.kind(at) == Some(Kind::Symbol(b'.')) {
        name.push('.');
        name.push_str(&words.name(at + 1)?);
        at += 2;
    }
    Some((name.to_ascii_lowercase(), at))
}

/// A statement that begins with `RESET`.
pub(super) fn reset(words: &Words<'_>) -> Vec<Effect> {
    if words.is(1, "all") {
        return vec![Effect::ResetAll];
    }
    let name = if words.is(1, "time") && words.is(2, "zone") {
        Some("timezone".to_owned())
    } else if words.is(1, "session") && words.is(2, "authorization") {
        Some("session_authorization".to_owned())
    } else if words.is(1, "transaction") {
        None
    } else {
        setting_name(words, 1).map(|(name, _)| name)
    };
    name.map(|name| Effect::Reset { name })
        .into_iter()
        .collect()
}

/// The arguments of `set_config(`, which begin at token `at`.
pub(super) fn set_config(words: &Words<'_>, at: usize) -> Effect {
    let comma = |n: usize| words.kind(n) == Some(Kind::Symbol(b','));
    let local = if words.is(at + 4, "true") {
        Some(true)
    } else if words.is(at + 4, "false") {
        Some(false)
    } else {
        None
    };
    let closed = words.kind(at + 5) == Some(Kind::Symbol(b')'));
    let name = literal(words, at).filter(|_| comma(at + 1));
    if let (Some(local), true, true, true) = (local, comma(at + 1), comma(at + 3), closed) {
        let literals = (literal(words, at), literal(words, at + 2));
        if let (Some(name), Some(value)) = literals {
            let name = name.to_ascii_lowercase();
            return Effect::SetConfig { name, value, local };
        }
        if local {
            return Effect::SetConfig {
                name: String::new(),
                value: String::new(),
                local,
            };
        }
    }
    match name {
        Some(name) => Effect::SetConfigNamed {
            name: name.to_ascii_lowercase(),
        },
        None => Effect::SetConfigUnknown,
    }
}

/// A plain string constant without escapes.
fn literal(words: &Words<'_>, at: usize) -> Option<String> {
    let text = std::str::from_utf8(words.bytes(at)).ok()?;
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    (!inner.contains('\\')).then(|| inner.replace("''", "'"))
}
