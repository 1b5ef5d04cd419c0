//! Who may log in from where, and how: the part of `pg_hba.conf` that PgBouncer knows (PostgreSQL
//! docs, "The pg_hba.conf File"), and maps of system users ("User Name Maps").
//!
//! The first rule that fits decides. A line that cannot be read is left out, as in PgBouncer, and
//! told.

mod ident;
mod read;

use std::net::IpAddr;
use std::sync::Arc;

use super::ldap::LdapOptions;
pub use ident::IdentMaps;
pub use read::parse;

use crate::net::network::Network;

/// How a client's connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Unix,
    Tcp { from: IpAddr, tls: bool },
}

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    pub way: Way,
    pub database: &'a str,
    pub user: &'a str,
    /// It is for replication of the whole server, which has no database.
    pub replication: bool,
}

/// What the client must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    Trust,
    Reject,
    Md5,
    ScramSha256,
    /// A password in clear.
    Plain,
    Cert,
    /// The operating system's user at the other end of the Unix socket.
    Peer,
    /// A password in clear, which a directory judges.
    Ldap(Arc<LdapOptions>),
    /// The same, which the operating system judges.
    Pam,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    connections: Connections,
    databases: Vec<Name>,
    users: Vec<Name>,
    /// `None`: wherever it comes from.
    network: Option<Network>,
    pub method: Method,
    /// Name of the map that the proved name goes through.
    pub map: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connections {
    Local,
    Host,
    HostSsl,
    HostNoSsl,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    All,
    SameUser,
    Replication,
    Is(String),
}

/// Rules, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hba(Vec<Rule>);

impl Hba {
    /// Whether a rule has a method for which this holds.
    pub fn asks_for(&self, method: impl Fn(&Method) -> bool) -> bool {
        self.0.iter().any(|rule| method(&rule.method))
    }

    /// The rule that decides.
    pub fn rule(&self, asking: &Asking<'_>) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.fits(asking))
    }
}

impl Rule {
    fn fits(&self, asking: &Asking<'_>) -> bool {
        let way = match (self.connections, asking.way) {
            (Connections::Local, Way::Unix) => true,
            (Connections::Local, _) | (_, Way::Unix) => false,
            (Connections::Host, _) => true,
            (Connections::HostSsl, Way::Tcp { tls, .. }) => tls,
            (Connections::HostNoSsl, Way::Tcp { tls, .. }) => !tls,
        };
        let network = match (self.network, asking.way) {
            (Some(network), Way::Tcp { from, .. }) => network.has(from),
            _ => true,
        };
        way && network
            && self.databases.iter().any(|name| name.is_database(asking))
            && self.users.iter().any(|name| name.is_user(asking.user))
    }
}

impl Name {
    fn is_database(&self, asking: &Asking<'_>) -> bool {
        match self {
            Name::Replication => asking.replication,
            // Replication is asked for by its own name only.
            _ if asking.replication => false,
            Name::All => true,
            Name::SameUser => asking.database == asking.user,
            Name::Is(name) => *name == asking.database,
        }
    }

    fn is_user(&self, user: &str) -> bool {
        match self {
            Name::All => true,
            Name::Is(name) => name == user,
            Name::SameUser | Name::Replication => false,
        }
    }
}

#[cfg(test)]
mod tests;
