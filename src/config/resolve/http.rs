//! `[http]`.

use super::{Http, Resolver, defaults, raw};
use crate::auth::scram::ScramVerifier;
use crate::auth::secret::Secret;

impl Resolver<'_, '_> {
    pub(super) fn http(&mut self, raw: raw::Http) -> Http {
        let mut http = defaults::http();
        if let Some(text) = raw.listen {
            match text.parse() {
                Ok(listen) => http.listen = listen,
                Err(_) => self.problems.add(
                    &["http", "listen"],
                    format!(
                        "{text:?} is no address and port such as \"127.0.0.1:9127\" or \
                         \"[::]:9127\"; leave [http] out for no HTTP"
                    ),
                ),
            }
        }
        http.password = self.page_password("password", raw.password);
        http.admin_password = self.page_password("admin_password", raw.admin_password);
        for name in raw.names.unwrap_or_default().0 {
            if is_name(&name) {
                http.names.push(name.to_lowercase());
            } else {
                let problem = format!("{name:?} is no host name; leave the port out");
                self.problems.add(&["http", "names"], problem);
            }
        }
        if let Some(ready) = raw.ready_without_servers {
            http.ready_without_servers = ready;
        }
        http
    }

    /// An empty text is none. MD5 is of a password and a user's name, and there is no name.
    fn page_password(&mut self, key: &str, source: Option<raw::SecretSource>) -> Option<Secret> {
        let path = ["http", key];
        let text = self.secret_text(&path, source?)?;
        if text.is_empty() {
            return None;
        }
        let secret = Secret::from(text.as_str());
        let usable = match &secret {
            Secret::Plain(_) => true,
            Secret::Md5(_) => false,
            Secret::Scram(verifier) => ScramVerifier::parse(verifier).is_some(),
        };
        if !usable {
            self.problems.add(
                &path,
                "must be the password itself or a SCRAM-SHA-256$ verifier",
            );
        }
        usable.then_some(secret)
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !name.is_empty() && name.bytes().all(allowed)
}
