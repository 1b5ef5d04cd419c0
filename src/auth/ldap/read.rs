//! Reading options and URLs.

use super::{By, LdapOptions, Scope, Search, Way};
use crate::pgbouncer::ini::unquote;

const PORT: u16 = 389;
const TLS_PORT: u16 = 636;
/// What searches go by if nothing is said.
const ATTRIBUTE: &str = "uid";

/// Pairs of key and value.
type Pairs = Vec<(String, String)>;

/// Up to the end or a comment.
pub(super) fn pairs(text: &str) -> Result<Pairs, String> {
    let between = |c: char| c.is_whitespace() || c == ',';
    let mut pairs = Pairs::new();
    let mut rest = text.trim_start_matches(between);
    while !rest.is_empty() && !rest.starts_with('#') {
        let (pair, after) = pair(rest)?;
        pairs.push(pair);
        rest = after.trim_start_matches(between);
    }
    Ok(pairs)
}

fn pair(text: &str) -> Result<((String, String), &str), String> {
    let unfinished = || "a quote without its end".to_owned();
    let (key, rest) = match text.strip_prefix('"') {
        Some(inside) => {
            let (quoted, after) = unquote(inside, '"').ok_or_else(unfinished)?;
            match after.strip_prefix('=') {
                Some(rest) => (quoted, rest),
                // All of it was quoted, as PostgreSQL has it.
                None => {
                    let (key, value) = quoted.split_once('=').ok_or_else(no_pair)?;
                    return checked(key, value.to_owned(), after);
                }
            }
        }
        None => {
            let (key, rest) = text.split_once('=').ok_or_else(no_pair)?;
            (key.to_owned(), rest)
        }
    };
    match rest.strip_prefix('"') {
        Some(inside) => {
            let (value, after) = unquote(inside, '"').ok_or_else(unfinished)?;
            checked(&key, value, after)
        }
        None => {
            let ends = |c: char| c.is_whitespace() || c == ',';
            let end = rest.find(ends).unwrap_or(rest.len());
            let (value, after) = rest.split_at(end);
            checked(&key, value.to_owned(), after)
        }
    }
}

fn checked<'a>(
    key: &str,
    value: String,
    rest: &'a str,
) -> Result<((String, String), &'a str), String> {
    // A value is never told: it may be a password.
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(no_pair());
    }
    if value.is_empty() {
        return Err(format!("{key} has no value"));
    }
    Ok(((key.to_owned(), value), rest))
}

fn no_pair() -> String {
    "key=value is expected".to_owned()
}

#[derive(Default)]
struct Raw {
    servers: Option<String>,
    port: Option<u16>,
    tls: bool,
    start_tls: bool,
    prefix: Option<String>,
    suffix: Option<String>,
    base: Option<String>,
    scope: Option<Scope>,
    bind_name: Option<String>,
    bind_password: Option<String>,
    attribute: Option<String>,
    filter: Option<String>,
}

pub(super) fn options(pairs: &Pairs) -> Result<LdapOptions, String> {
    let mut raw = Raw::default();
    for (key, value) in pairs {
        raw.take(key, value)?;
    }
    let shown = pairs.iter().map(|(key, value)| match key.as_str() {
        "ldapbindpasswd" => format!("{key}=***"),
        _ => format!("{key}=\"{}\"", value.replace('"', "\"\"")),
    });
    let shown: Vec<String> = shown.collect();
    raw.check(shown.join(" "))
}

impl Raw {
    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let text = || Some(value.to_owned());
        match key {
            "ldapserver" => self.servers = text(),
            "ldapport" => self.port = Some(port(value).ok_or("ldapport is no port")?),
            "ldapscheme" => self.tls = scheme(value).ok_or("ldapscheme must be ldap or ldaps")?,
            "ldaptls" => match value {
                "1" => self.start_tls = true,
                "0" => self.start_tls = false,
                _ => return Err("ldaptls must be 1 or 0".to_owned()),
            },
            "ldapprefix" => self.prefix = text(),
            "ldapsuffix" => self.suffix = text(),
            "ldapbasedn" => self.base = text(),
            "ldapbinddn" => self.bind_name = text(),
            "ldapbindpasswd" => self.bind_password = text(),
            "ldapsearchattribute" => self.attribute = text(),
            "ldapsearchfilter" => self.filter = text(),
            "ldapurl" => self.url(value).ok_or(
                "ldapurl must be ldap[s]://HOST[:PORT]/BASE[?[ATTRIBUTE][?[SCOPE][?[FILTER]]]]",
            )?,
            _ => {
                return Err(format!(
                    "{key:?} is no LDAP option{}",
                    crate::config::nearest(key, KEYS.iter().copied())
                ));
            }
        }
        Ok(())
    }

    /// RFC 4516, as far as PostgreSQL uses it.
    fn url(&mut self, url: &str) -> Option<()> {
        let (name, rest) = url.split_once("://")?;
        self.tls = scheme(name)?;
        let (place, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, number) = match place.strip_prefix('[') {
            Some(ip) => {
                let (ip, after) = ip.split_once(']')?;
                (ip, after.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((host, number)) => (host, Some(number)),
                None => (place, None),
            },
        };
        if let Some(number) = number {
            self.port = Some(port(number)?);
        }
        if !host.is_empty() {
            self.servers = Some(decoded(host)?);
        }
        let mut parts = rest.split('?').map(decoded);
        let mut next = || match parts.next() {
            None => Some(None),
            Some(part) => part.map(|part| Some(part).filter(|part| !part.is_empty())),
        };
        let (base, attribute, scope, filter) = (next()?, next()?, next()?, next()?);
        // Of several attributes the first.
        let first = |list: String| list.split(',').next().unwrap_or_default().to_owned();
        self.base = base.or(self.base.take());
        self.attribute = attribute.map(first).or(self.attribute.take());
        self.scope = Some(match scope.as_deref() {
            // What the standard says; it is hardly ever what is wanted.
            None | Some("base") => Scope::Base,
            Some("one" | "onelevel") => Scope::One,
            Some("sub" | "subtree") => Scope::Sub,
            Some(_) => return None,
        });
        self.filter = filter.or(self.filter.take());
        Some(())
    }

    fn check(self, shown: String) -> Result<LdapOptions, String> {
        let servers = self.servers.unwrap_or_default();
        let servers: Vec<String> = servers.split_whitespace().map(str::to_owned).collect();
        if servers.is_empty() {
            // PostgreSQL would look for SRV records of the domain in ldapbasedn.
            return Err("ldapserver or ldapurl is missing, the server's name".to_owned());
        }
        if self.tls && self.start_tls {
            return Err("ldaptls is for ldap, and ldaps has TLS already".to_owned());
        }
        let by_name = self.prefix.is_some() || self.suffix.is_some();
        let searches = self.bind_name.is_some()
            || self.bind_password.is_some()
            || self.attribute.is_some()
            || self.filter.is_some();
        let way = match (by_name, self.base) {
            (true, None) if !searches => Way::Name {
                prefix: self.prefix.unwrap_or_default(),
                suffix: self.suffix.unwrap_or_default(),
            },
            (true, _) => {
                return Err(
                    "ldapprefix and ldapsuffix make the name that ldapbasedn, ldapbinddn, \
                            ldapbindpasswd, ldapsearchattribute, ldapsearchfilter or ldapurl would \
                            search for: one or the other"
                        .to_owned(),
                );
            }
            (false, None) => {
                return Err("one of ldapbasedn, ldapprefix and ldapsuffix is missing".to_owned());
            }
            (false, Some(base)) => Way::Search(Search {
                base,
                scope: self.scope.unwrap_or(Scope::Sub),
                bind_name: self.bind_name.unwrap_or_default(),
                bind_password: self.bind_password.unwrap_or_default(),
                by: match (self.attribute, self.filter) {
                    (Some(_), Some(_)) => {
                        let both = "ldapsearchattribute and ldapsearchfilter: one or the other";
                        return Err(both.to_owned());
                    }
                    (None, Some(filter)) => By::Filter(filter),
                    (attribute, None) => By::Attribute(attribute.unwrap_or(ATTRIBUTE.to_owned())),
                },
            }),
        };
        Ok(LdapOptions {
            servers,
            port: self.port.unwrap_or(if self.tls { TLS_PORT } else { PORT }),
            tls: self.tls,
            start_tls: self.start_tls,
            way,
            shown,
        })
    }
}

const KEYS: &[&str] = &[
    "ldapserver",
    "ldapport",
    "ldapscheme",
    "ldaptls",
    "ldapprefix",
    "ldapsuffix",
    "ldapbasedn",
    "ldapbinddn",
    "ldapbindpasswd",
    "ldapsearchattribute",
    "ldapsearchfilter",
    "ldapurl",
];

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

/// Whether it is the one with TLS.
fn scheme(name: &str) -> Option<bool> {
    match name {
        "ldap" => Some(false),
        "ldaps" => Some(true),
        _ => None,
    }
}

/// Without `%XX`.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after.get(..2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}
