//! `auth.file`: users and what is stored about their passwords, as PgBouncer's `userlist.txt`.
//!
//! A line is `"name" "password or md5... or SCRAM-SHA-256$..."`, with quotes doubled inside; what
//! follows is of no account. Lines that begin with `;` or `#`, and empty ones, say nothing.

use crate::auth::secret::Secret;

/// Longest password, in bytes (PgBouncer's limit is the size of a password message).
const LONGEST: usize = 65_530;

/// A user and its secret; an empty password is none.
type Listed = (String, Option<Secret>);

/// The users, and the lines that are none with what is wrong with them.
pub(super) fn parse(text: &str) -> (Vec<Listed>, Vec<(usize, &'static str)>) {
    let mut users = Vec::new();
    let mut odd = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        match user(line) {
            Ok(listed) => users.push(listed),
            Err(what) => odd.push((n + 1, what)),
        }
    }
    (users, odd)
}

fn user(line: &str) -> Result<Listed, &'static str> {
    const BROKEN: &str = "broken auth file line: \"user\" \"password\" is expected";
    let (name, rest) = quoted(line).ok_or(BROKEN)?;
    let (password, _) = quoted(rest.trim_start()).ok_or(BROKEN)?;
    if name.is_empty() {
        return Err("no user name");
    }
    if password.len() > LONGEST {
        return Err("too long password in auth file");
    }
    let secret = (!password.is_empty()).then(|| Secret::from(&*password));
    Ok((name, secret))
}

fn quoted(text: &str) -> Option<(String, &str)> {
    crate::pgbouncer::ini::unquote(text.strip_prefix('"')?, '"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_lines_that_are_none() {
        let verifier = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy";
        let text = format!(
            "; comment\n\n\"amy\" \"p\"\"w\" and more\n  \"bob\" \"{verifier}\"\n\"cat\" \"\"\nx y\n\
             \"dan\" \"md50123456789abcdef0123456789abcdef\"\n\"eve\"\n\"\" \"x\"\n\"fay\" \"open\n\"gus\" \"{}\"\n",
            "x".repeat(LONGEST + 1)
        );
        let (users, odd) = parse(&text);
        let secret = |text: &str| Some(Secret::from(text));
        let expected = [
            ("amy", secret("p\"w")),
            ("bob", secret(verifier)),
            ("cat", None),
            ("dan", secret("md50123456789abcdef0123456789abcdef")),
        ];
        let expected = expected.map(|(name, secret)| (name.to_owned(), secret));
        assert_eq!(users, expected);
        let lines: Vec<usize> = odd.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [6, 8, 9, 10, 11]);
    }
}
