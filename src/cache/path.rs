//! Where a session looks for names without a schema, as far as its settings tell.

use super::catalog::{Catalog, SearchPath, Searched};
use crate::session::settings::Settings;
use crate::sql::lexer::{Kind, Lexer, Token};

/// Settings that decide about it.
const DECIDING: [&str; 3] = ["search_path", "role", "session_authorization"];

/// Whether this setting, in lower case, decides where names are looked for.
pub fn decides(name: &str) -> bool {
    DECIDING.contains(&name)
}

/// A number that two sessions of a pool share if they look in the same places.
pub fn path_id(settings: &Settings, hash: impl Fn(&[&str]) -> u64) -> u64 {
    let of = |name: &str| settings.get(name).map_or("", |s| &*s.replay);
    let [path, role, user] = DECIDING.map(of);
    if path.is_empty() && role.is_empty() && user.is_empty() {
        return 0;
    }
    hash(&[path, role, user])
}

/// The schemas, in order; `pool_user` is who has logged in to the server.
pub fn search_path(settings: &Settings, catalog: &Catalog, pool_user: &str) -> SearchPath {
    let is_own = ["role", "session_authorization"]
        .iter()
        .all(|name| settings.get(name).is_none());
    let schemas = match settings.get("search_path") {
        Some(setting) => listed(&setting.replay),
        None if is_own => return SearchPath::resolved(catalog.default_path()),
        None => split(catalog.path_setting()),
    };
    // Whoever is the user decides what "$user" is.
    let user = match is_own {
        true => Some(catalog.user().to_owned()),
        false => other_user(settings, pool_user),
    };
    let Some(schemas) = schemas else {
        return SearchPath(None);
    };
    let mut known = Vec::new();
    for schema in schemas {
        let schema = match (&*schema, &user) {
            ("$user", Some(user)) => user.as_str().into(),
            ("$user", None) => return SearchPath(None),
            _ => schema,
        };
        // The server passes over what the role may not use, and over what is not there. Of other
        // roles than the pool's own it is known only what all may use.
        let certain = match catalog.usage(&schema) {
            Some(usage) if is_own && !usage.own => continue,
            Some(usage) => is_own || usage.everybody,
            None => true,
        };
        known.push(Searched { schema, certain });
    }
    SearchPath(Some(known.into()))
}

/// The user of a session that has asked for another one than it began with.
fn other_user(settings: &Settings, pool_user: &str) -> Option<String> {
    if let Some(role) = settings.get("role") {
        let role = last_value(&role.replay)?;
        if role != "none" {
            return Some(role);
        }
    }
    match settings.get("session_authorization") {
        Some(user) => last_value(&user.replay),
        None => Some(pool_user.to_owned()),
    }
}

/// The value in a statement that sets one setting to one thing.
fn last_value(sql: &str) -> Option<String> {
    let tokens: Vec<Token> = Lexer::new(sql.as_bytes(), true).collect();
    if sql
        .trim_start()
        .get(..6)
        .is_some_and(|w| w.eq_ignore_ascii_case("select"))
    {
        let strings = tokens.iter().filter(|t| t.kind == Kind::String);
        return strings.map(|t| literal(&sql[t.range()])).nth(1)?;
    }
    let last = tokens.iter().rfind(|t| t.kind != Kind::Symbol(b';'))?;
    match last.kind {
        Kind::Word | Kind::Quoted => identifier(&sql[last.range()]),
        Kind::String => literal(&sql[last.range()]),
        _ => None,
    }
}

/// The schemas in a statement that sets `search_path`.
fn listed(sql: &str) -> Option<Vec<Box<str>>> {
    let tokens: Vec<Token> = Lexer::new(sql.as_bytes(), true).collect();
    let text = |t: &Token| &sql[t.range()];
    let first = tokens.first()?;
    if text(first).eq_ignore_ascii_case("select") {
        return split(&last_value(sql)?);
    }
    let at = tokens
        .iter()
        .position(|t| text(t) == "=" || text(t).eq_ignore_ascii_case("to"))?;
    let mut schemas = Vec::new();
    for token in &tokens[at + 1..] {
        let name = match token.kind {
            Kind::Symbol(b',') => continue,
            Kind::Word if text(token).eq_ignore_ascii_case("default") => return None,
            Kind::Word | Kind::Quoted => identifier(text(token))?,
            Kind::String => literal(text(token))?,
            _ => return None,
        };
        schemas.push(name.into());
    }
    Some(schemas)
}

/// A list of identifiers, as a setting's value has it.
fn split(value: &str) -> Option<Vec<Box<str>>> {
    let mut schemas = Vec::new();
    for token in Lexer::new(value.as_bytes(), true) {
        match token.kind {
            Kind::Symbol(b',') => {}
            Kind::Word | Kind::Quoted => schemas.push(identifier(&value[token.range()])?.into()),
            _ => return None,
        }
    }
    Some(schemas)
}

fn identifier(text: &str) -> Option<String> {
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(inner) => Some(inner.replace("\"\"", "\"")),
        None if text.contains(['"', '&']) || !text.is_ascii() => None,
        None => Some(text.to_ascii_lowercase()),
    }
}

fn literal(text: &str) -> Option<String> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    (!inner.contains(['\\', '\n'])).then(|| inner.replace("''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_schemas() {
        let list = |sql: &str| {
            let schemas = listed(sql)?;
            Some(schemas.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let known = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
        assert_eq!(
            list("SET search_path TO a, \"B\" , 'c d'"),
            known(&["a", "B", "c d"])
        );
        assert_eq!(list("set session search_path = App"), known(&["app"]));
        assert_eq!(
            list("SET search_path TO '$user', public"),
            known(&["$user", "public"])
        );
        assert_eq!(
            list("SELECT pg_catalog.set_config('search_path', '\"$user\", A', false)"),
            known(&["$user", "a"])
        );
        assert_eq!(list("SET search_path TO DEFAULT"), None);
        assert_eq!(list("SET search_path TO ''"), known(&[""]));
        assert_eq!(
            list("SELECT pg_catalog.set_config('search_path', '', false)"),
            known(&[])
        );
    }

    #[test]
    fn users() {
        let user = |sql: &str| last_value(sql);
        assert_eq!(user("SET ROLE alice").as_deref(), Some("alice"));
        assert_eq!(user("SET ROLE \"Bob\"").as_deref(), Some("Bob"));
        assert_eq!(
            user("SET SESSION AUTHORIZATION 'carol'").as_deref(),
            Some("carol")
        );
        assert_eq!(user("SET \"role\" TO 'd''e'").as_deref(), Some("d'e"));
    }
}
