//! `SET key = value` at the console: a configuration's TOML with some of PgBouncer's settings changed.

use toml::{Table, Value};

use super::convert::literal;
use super::settings::{Meaning, setting};

/// The text with these changes, the last of which counts.
///
/// # Errors
/// What cannot be changed, and why.
pub fn changed(source: &str, changes: &[(String, String)]) -> Result<String, String> {
    let unreadable = |error: toml::de::Error| error.message().to_owned();
    let mut root: Table = toml::from_str(source).map_err(unreadable)?;
    for (name, value) in changes {
        let Some((section, key, value)) = target(name, value)? else {
            continue;
        };
        let one: Table = toml::from_str(&format!("{key} = {value}")).map_err(unreadable)?;
        let section = root
            .entry(section)
            .or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(section) = section {
            section.extend(one);
        }
    }
    toml::to_string(&root).map_err(|error| error.to_string())
}

/// Section, key and value of a setting; `None`: it has no effect.
fn target(name: &str, value: &str) -> Result<Option<(&'static str, &'static str, String)>, String> {
    let known = setting(name).ok_or_else(|| format!("unknown parameter {name:?}"))?;
    if !known.changeable {
        return Err(format!("{name} cannot change while it runs"));
    }
    let text = literal(known.kind, value)?;
    Ok(match (known.meaning, name) {
        (Meaning::Key(section, key) | Meaning::Unless(section, key), _) => {
            Some((section, key, text))
        }
        (Meaning::Nothing(_), _) | (Meaning::Own, "client_tls_dheparams") => None,
        (Meaning::Own, "auth_user") => Some(("auth", "user", text)),
        (Meaning::Own, "auth_query") => Some(("auth", "query", text)),
        (Meaning::Own, "server_check_query") => Some(("general", "server_check_query", text)),
        (Meaning::Own, "verbose") => {
            let level = match value {
                "0" => "\"info\"",
                "1" => "\"debug\"",
                _ => "\"trace\"",
            };
            Some(("log", "level", level.to_owned()))
        }
        (Meaning::Own, _) => return Err(format!("{name} can be changed in the file only")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(changes: &[(&str, &str)]) -> Result<String, String> {
        let changes: Vec<_> = changes
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        changed(
            "[general]\nquery_timeout = 1\n[pools.a]\nport = 1\n",
            &changes,
        )
    }

    #[test]
    fn what_is_set_is_in_the_text() {
        let text = with(&[
            ("query_timeout", "5"),
            ("query_timeout", "2.5"),
            ("log_connections", "0"),
            ("verbose", "1"),
            ("pkt_buf", "1"),
        ]);
        // pkt_buf cannot change there, either.
        assert!(text.is_err());
        let text = with(&[
            ("query_timeout", "2.5"),
            ("log_connections", "0"),
            ("verbose", "1"),
        ]);
        let text = text.unwrap();
        assert!(text.contains("query_timeout = 2.5\n"), "{text}");
        assert!(text.contains("connections = false\n") && text.contains("level = \"debug\""));
        assert!(text.contains("port = 1\n"));
        for (key, value) in [
            ("nothing", "1"),
            ("listen_port", "1"),
            ("query_timeout", "x"),
        ] {
            assert!(with(&[(key, value)]).is_err(), "{key}");
        }
        assert!(
            with(&[("sbuf_loopcnt", "3")]).is_ok(),
            "without effect, but no error"
        );
    }
}
