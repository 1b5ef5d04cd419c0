//! Files that the configuration names and that are read with it: users, rules and maps. A line that
//! cannot be read is left out, as in PgBouncer, and told.

use std::path::Path;
use std::sync::Arc;

use super::{Resolver, check, userlist};
use crate::auth::hba;
use crate::auth::ldap::LdapOptions;
use crate::config::raw::SecretSource;
use crate::config::{AuthType, Config, User};

impl Resolver<'_, '_> {
    /// `auth.ldap_options`; a problem tells no value.
    pub(super) fn ldap_options(&mut self, source: SecretSource) -> Option<Arc<LdapOptions>> {
        let key = ["auth", "ldap_options"];
        if matches!(&source, SecretSource::Here(text) if text.is_empty()) {
            return None;
        }
        let text = self.secret_text(&key, source)?;
        match LdapOptions::parse(&text) {
            Ok(options) => Some(Arc::new(options)),
            Err(problem) => {
                self.problems.add(&key, problem);
                None
            }
        }
    }

    /// The rules of `auth.hba_file`, and the maps of `auth.ident_file`.
    pub(super) fn rules(&mut self, config: &mut Config) {
        let odd = |path: &Path, odd: Vec<(usize, String)>, what: &str| {
            let each = odd.into_iter();
            let tell = |(line, problem)| format!("{}:{line}: {what}: {problem}", path.display());
            each.map(tell).collect::<Vec<_>>()
        };
        if let Some(path) = &config.auth.hba_file {
            match self.outside.read(path) {
                Ok(text) => {
                    let beside = |name: &str| {
                        let listed = path.with_file_name(name);
                        self.outside.read(&listed).map_err(|e| e.to_string())
                    };
                    let (rules, lines) = hba::parse(&text, &beside);
                    // Without such a rule the next might let in whom it would not have.
                    for missing in check::missing(|kind| {
                        rules.asks_for(|method| match method {
                            hba::Method::Ldap(_) => kind == AuthType::Ldap,
                            hba::Method::Pam => kind == AuthType::Pam,
                            _ => false,
                        })
                    }) {
                        let problem = format!("{}: a rule with {missing}", path.display());
                        self.problems.add(&["auth", "hba_file"], problem);
                    }
                    config.auth.hba = Arc::new(rules);
                    config.oddities.extend(odd(path, lines, "rule left out"));
                }
                Err(error) => self.problems.add(
                    &["auth", "hba_file"],
                    format!("cannot read {}: {error}", path.display()),
                ),
            }
        }
        if let Some(path) = &config.auth.ident_file {
            match self.outside.read(path) {
                Ok(text) => {
                    let (maps, lines) = hba::IdentMaps::parse(&text);
                    config.auth.ident = Arc::new(maps);
                    config.oddities.extend(odd(path, lines, "map left out"));
                }
                Err(error) => self.problems.add(
                    &["auth", "ident_file"],
                    format!("cannot read {}: {error}", path.display()),
                ),
            }
        }
    }

    /// The users of `auth.file`. What `[users]` says about them stays; a password there goes first.
    pub(super) fn user_list(&mut self, config: &mut Config, default: &User) {
        let Some(path) = &config.auth.file else {
            return;
        };
        let text = match self.outside.read(path) {
            Ok(text) => text,
            Err(error) => {
                // As PgBouncer: nobody can log in, but it starts.
                let oddity = format!("auth.file: cannot read {}: {error}", path.display());
                return config.oddities.push(oddity);
            }
        };
        let (listed, odd) = userlist::parse(&text);
        let odd = odd.into_iter();
        config
            .oddities
            .extend(odd.map(|(line, what)| format!("{}:{line}: {what}", path.display())));
        for (name, secret) in listed {
            let known = config.users.remove(&name);
            let mut user = known.map_or_else(
                || User {
                    name: name.clone(),
                    ..default.clone()
                },
                |known| User::clone(&known),
            );
            user.listed = true;
            if user.secret.is_none() {
                user.secret = secret;
            }
            config.users.insert(name, Arc::new(user));
        }
    }
}
