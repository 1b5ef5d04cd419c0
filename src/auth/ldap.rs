//! What LDAP options say, in PostgreSQL's words (PostgreSQL docs, "LDAP Authentication"): where the
//! directory is, and how a user's entry there is found. The exchange itself is in `client::elsewhere`.

mod read;

use std::fmt;

/// How users are checked against a directory.
#[derive(Clone, PartialEq, Eq)]
pub struct LdapOptions {
    /// Tried one after the other; at least one.
    servers: Vec<String>,
    port: u16,
    /// TLS from the first byte on (`ldaps`).
    tls: bool,
    /// TLS after a request (`ldaptls`).
    pub start_tls: bool,
    pub way: Way,
    /// The options as they were written, but for the password.
    shown: String,
}

/// How the entry of a user is found.
#[derive(Clone, PartialEq, Eq)]
pub enum Way {
    /// Its name is made of the user's.
    Name { prefix: String, suffix: String },
    /// It is searched for.
    Search(Search),
}

#[derive(Clone, PartialEq, Eq)]
pub struct Search {
    pub base: String,
    pub scope: Scope,
    /// As whom; both empty: as nobody.
    pub bind_name: String,
    pub bind_password: String,
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Base,
    One,
    Sub,
}

#[derive(Clone, PartialEq, Eq)]
enum By {
    Attribute(String),
    /// `$username` in it stands for the user.
    Filter(String),
}

impl LdapOptions {
    /// `key=value` pairs with blanks or commas between them; a value may be quoted, or the whole pair.
    ///
    /// # Errors
    /// What is wrong, without any value.
    pub fn parse(text: &str) -> Result<LdapOptions, String> {
        read::options(&read::pairs(text)?)
    }

    /// The servers' addresses, as URLs.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        let scheme = if self.tls { "ldaps" } else { "ldap" };
        self.servers
            .iter()
            .map(move |server| match server.parse::<std::net::Ipv6Addr>() {
                Ok(ip) => format!("{scheme}://[{ip}]:{}", self.port),
                Err(_) => format!("{scheme}://{server}:{}", self.port),
            })
    }

    /// The options, without the password.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl Search {
    /// The filter that finds the user; `None` if there can be no user of this name, because it would
    /// mean something in a filter (RFC 4515).
    pub fn filter(&self, user: &str) -> Option<String> {
        if user.contains(['*', '(', ')', '\\', '/', '\0']) {
            return None;
        }
        Some(match &self.by {
            By::Attribute(name) => format!("({name}={user})"),
            By::Filter(filter) => filter.replace("$username", user),
        })
    }

    /// One attribute to ask for, since none would be all.
    pub fn attribute(&self) -> &str {
        match &self.by {
            By::Attribute(name) => name,
            By::Filter(_) => "1.1", // no attribute at all (RFC 4511, 4.5.1.8)
        }
    }
}

impl fmt::Debug for LdapOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LdapOptions({})", self.shown)
    }
}

#[cfg(test)]
mod tests;
