//! Reading the file.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Connections, Hba, Method, Name, Rule};
use crate::auth::ldap::LdapOptions;
use crate::net::network::Network;

/// A word; a quoted one is a name, whatever it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    quoted: bool,
    /// Where in the line it ends.
    end: usize,
    /// It belongs to a list with the one before it.
    continues: bool,
}

/// Lines that were left out, with what is wrong with them.
type Odd = Vec<(usize, String)>;

/// The rules, and the lines that were left out. `read` gives the text of a file that is named with
/// `@`, in which words stand one a line or with blanks or commas between them.
pub fn parse(text: &str, read: &dyn Fn(&str) -> Result<String, String>) -> (Hba, Odd) {
    let mut rules = Vec::new();
    let mut odd = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let rule = words(line).and_then(|words| match words.is_empty() {
            true => Ok(None),
            false => rule(line, &words, read).map(Some),
        });
        match rule {
            Ok(rule) => rules.extend(rule),
            Err(problem) => odd.push((n + 1, problem)),
        }
    }
    (Hba(rules), odd)
}

/// The words of a line, without its comment.
pub(super) fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words: Vec<Word> = Vec::new();
    let mut continues = false;
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        match first {
            '#' => break,
            ',' => {
                continues = true;
                rest = rest[1..].trim_start();
                continue;
            }
            _ => {}
        }
        let (text, quoted, after) = match rest.strip_prefix('"') {
            Some(inside) => {
                let (text, after) =
                    crate::pgbouncer::ini::unquote(inside, '"').ok_or("a quote without its end")?;
                (text, true, after)
            }
            None => {
                let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '#' | '"');
                let end = rest.find(ends).unwrap_or(rest.len());
                (rest[..end].to_owned(), false, &rest[end..])
            }
        };
        words.push(Word {
            text,
            quoted,
            end: line.len() - after.len(),
            continues: continues && !words.is_empty(),
        });
        continues = false;
        rest = after.trim_start();
    }
    Ok(words)
}

fn rule(
    line: &str,
    words: &[Word],
    read: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Rule, String> {
    // Lists are one column.
    let mut columns: Vec<&[Word]> = Vec::new();
    let mut start = 0;
    for n in 1..=words.len() {
        if n == words.len() || !words[n].continues {
            columns.push(&words[start..n]);
            start = n;
        }
    }
    let mut columns = columns.into_iter();
    let mut next = |what: &str| columns.next().ok_or_else(|| format!("{what} is missing"));
    let connections = match &*one(next("the kind of connection")?)?.text {
        "local" => Connections::Local,
        "host" => Connections::Host,
        "hostssl" => Connections::HostSsl,
        "hostnossl" => Connections::HostNoSsl,
        other => {
            return Err(format!(
                "{other:?} is no kind of connection that is supported"
            ));
        }
    };
    let databases = names(next("the database")?, read, true)?;
    let users = names(next("the user")?, read, false)?;
    let network = match connections {
        Connections::Local => None,
        _ => {
            let address = &one(next("the address")?)?.text;
            match address.parse::<IpAddr>() {
                // The mask is a column of its own.
                Ok(ip) => {
                    let mask = &one(next("the mask")?)?.text;
                    let mask: IpAddr = mask.parse().map_err(|_| format!("{mask:?} is no mask"))?;
                    let network = Network::masked(ip, mask);
                    Some(network.ok_or("address and mask are of different kinds")?)
                }
                Err(_) => network(address)?,
            }
        }
    };
    let word = one(next("the method")?)?;
    let options = line.get(word.end..).unwrap_or_default();
    let method = method(&word.text, connections, options)?;
    let mut map = None;
    // LDAP's are read with it.
    let has_options = !matches!(method, Method::Ldap(_));
    for option in columns.filter(|_| has_options) {
        let text = &one(option)?.text;
        match text.split_once('=') {
            Some(("map", name)) if matches!(method, Method::Cert | Method::Peer) => {
                map = Some(name.to_owned());
            }
            _ => return Err(format!("option {text:?} is not supported")),
        }
    }
    Ok(Rule {
        connections,
        databases,
        users,
        network,
        method,
        map,
    })
}

fn one(column: &[Word]) -> Result<&Word, String> {
    match column {
        [word] => Ok(word),
        _ => Err("a list stands where one word is expected".to_owned()),
    }
}

fn names(
    column: &[Word],
    read: &dyn Fn(&str) -> Result<String, String>,
    of_databases: bool,
) -> Result<Vec<Name>, String> {
    let mut names = Vec::new();
    for word in column {
        match (word.quoted, &*word.text) {
            (true, _) => names.push(Name::Is(word.text.clone())),
            (_, "all") => names.push(Name::All),
            (_, "sameuser") if of_databases => names.push(Name::SameUser),
            (_, "replication") if of_databases => names.push(Name::Replication),
            (_, "samerole" | "samegroup") if of_databases => {
                return Err(format!("{} is not supported", word.text));
            }
            (_, text) if text.starts_with('+') || text.starts_with('/') => {
                return Err(format!(
                    "{text:?}: groups and regular expressions are not supported"
                ));
            }
            (_, text) => match text.strip_prefix('@') {
                None => names.push(Name::Is(text.to_owned())),
                Some(file) => {
                    let listed = read(file).map_err(|e| format!("cannot read {file:?}: {e}"))?;
                    for line in listed.lines() {
                        let listed = words(line)?;
                        names.extend(listed.into_iter().map(|word| Name::Is(word.text)));
                    }
                }
            },
        }
    }
    Ok(names)
}

/// `all`, which is any, or `ADDRESS/BITS`.
fn network(text: &str) -> Result<Option<Network>, String> {
    if text == "all" {
        return Ok(None);
    }
    let unknown =
        || format!("{text:?} is no address with a mask; names of hosts are not supported");
    let network = text.contains('/').then(|| text.parse().ok()).flatten();
    network.map(Some).ok_or_else(unknown)
}

fn method(text: &str, connections: Connections, options: &str) -> Result<Method, String> {
    let method = match text {
        "trust" => Method::Trust,
        "reject" => Method::Reject,
        "md5" => Method::Md5,
        "scram-sha-256" => Method::ScramSha256,
        "password" | "plain" => Method::Plain,
        "cert" => Method::Cert,
        "peer" => Method::Peer,
        "ldap" => Method::Ldap(Arc::new(LdapOptions::parse(options)?)),
        "pam" => Method::Pam,
        other => return Err(format!("method {other:?} is not supported")),
    };
    match (&method, connections) {
        (Method::Peer, Connections::Local) => Ok(method),
        (Method::Peer, _) => Err("peer is for local connections".to_owned()),
        (Method::Cert, Connections::HostSsl) => Ok(method),
        (Method::Cert, _) => Err("cert is for hostssl connections".to_owned()),
        _ => Ok(method),
    }
}
