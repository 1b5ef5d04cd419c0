//! The password of a pool's forced user, or where it comes from.

use std::time::Duration;

use super::Resolver;
use crate::config::raw::{Argv, PoolOwn};
use crate::config::{Config, Database, PasswordSource};

/// How long a command's password is used before it is asked for another.
const REFRESH: Duration = Duration::from_secs(600);

impl Resolver<'_, '_> {
    /// Takes what the pool's section says of it; its user is known already.
    pub(super) fn password(&mut self, pool: &mut Database, config: &Config, own: &mut PoolOwn) {
        let name = pool.name.clone();
        let key = |key: &'static str| ["pools", &name, key];
        let command = own.password_command.take();
        let file = own.password_file.take();
        let refresh = own.password_refresh.take().map(Duration::from);
        self.check_password(&name, pool.user.is_some());
        if refresh.is_some() && command.is_none() {
            self.problems.add(
                &key("password_refresh"),
                "is of no use without password_command; a file is read again when it changes",
            );
        }
        pool.password_source = match (command, file) {
            (Some(Argv(command)), _) => Some(PasswordSource::Command {
                command,
                refresh: refresh.unwrap_or(REFRESH),
            }),
            (None, Some(path)) => {
                if let Err(error) = self.outside.check_readable(&path) {
                    let problem = format!("cannot read {path:?}: {error}");
                    self.problems.add(&key("password_file"), problem);
                }
                Some(PasswordSource::File(path))
            }
            (None, None) => None,
        };
        // As in PgBouncer, a forced user without a password here has the one of its own entry.
        let listed = pool.user.as_ref().and_then(|user| config.users.get(user));
        pool.password = match own.password.take() {
            Some(source) => self.secret(&key("password"), source),
            None if pool.password_source.is_some() => None,
            None => listed.and_then(|user| user.secret.clone()),
        };
    }

    /// There is one place for it, and somebody whose it is.
    fn check_password(&mut self, pool: &str, has_user: bool) {
        let keys = ["password", "password_command", "password_file"];
        let mut written = keys.into_iter().filter(|key| {
            let path = ["pools", pool, key];
            self.problems.is_written(&path)
        });
        let first = written.next();
        let second = written.next();
        if let (Some(first), Some(second)) = (first, second) {
            let problem = format!("{first} is set, too: a password comes from one place");
            self.problems.add(&["pools", pool, second], problem);
        }
        if let Some(first) = first.filter(|_| !has_user) {
            let problem = match first {
                "password" => "belongs to a forced user: set user too, or move it to [users.NAME]",
                _ => "is for a forced user: set user too",
            };
            self.problems.add(&["pools", pool, first], problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{Fake, mistakes, parse, parse_on};

    fn source(lines: &str) -> Option<PasswordSource> {
        let config = parse(&format!("[pools.a]\nuser = 'u'\n{lines}")).expect(lines);
        config.databases["a"].password_source.clone()
    }

    #[test]
    fn a_command_or_a_file_stands_for_a_password() {
        assert_eq!(source("password = 'x'"), None);
        let Some(PasswordSource::Command { command, refresh }) =
            source("password_command = ['get', '--for', 'a b']")
        else {
            panic!("no command");
        };
        assert_eq!(
            (command, refresh),
            (["get", "--for", "a b"].map(str::to_owned).to_vec(), REFRESH)
        );
        let lines = "password_command = ['get']\npassword_refresh = '90s'";
        let Some(PasswordSource::Command { refresh, .. }) = source(lines) else {
            panic!("no command");
        };
        assert_eq!(refresh, Duration::from_secs(90));
        let mut machine = Fake::default();
        machine.files.insert("/f", "secret");
        let text = "[pools.a]\nuser = 'u'\npassword_file = '/f'\n[users.u]\npassword = 'other'";
        let config = parse_on(text, &machine).unwrap();
        let pool = &config.databases["a"];
        assert_eq!(
            pool.password_source,
            Some(PasswordSource::File("/f".into()))
        );
        assert_eq!(pool.password, None, "not that of the user's own entry");
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = |lines: &str| mistakes(&format!("[pools.a]\n{lines}"));
        let user = "user = 'u'\n";
        for (lines, line, key, problem) in [
            (
                format!("{user}password = 'x'\npassword_command = ['c']"),
                4,
                "password_command",
                "password is set, too",
            ),
            (
                format!("{user}password_file = '/f'\npassword_command = ['c']"),
                3,
                "password_file",
                "password_command is set, too",
            ),
            (
                format!("{user}password_refresh = 5"),
                3,
                "password_refresh",
                "of no use without password_command",
            ),
            (
                format!("{user}password_file = '/gone'"),
                3,
                "password_file",
                "cannot read",
            ),
            (
                format!("{user}password_command = []"),
                3,
                "password_command",
                "a program and its arguments",
            ),
            (
                format!("{user}password_command = ['']"),
                3,
                "password_command",
                "a program and its arguments",
            ),
            (
                format!("{user}password_command = 'get token'"),
                3,
                "password_command",
                "a list of a program",
            ),
            (
                "password_command = ['c']".to_owned(),
                2,
                "password_command",
                "set user too",
            ),
        ] {
            let found = wrong(&lines);
            let start = format!("pgweir.toml:{line}: pools.a.{key}: ");
            let is = |m: &String| m.starts_with(&start) && m.contains(problem);
            assert!(found.iter().any(is), "{lines}\n{found:?}");
        }
    }
}
