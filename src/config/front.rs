//! What the process shows to the outside: where it listens, what it logs, TLS, logins.

use crate::net::unix;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::tls::TlsChoice;
use crate::auth::attempts::Rules;
use crate::auth::hba::{Hba, IdentMaps};
use crate::auth::ldap::LdapOptions;
use crate::auth::secret::Secret;
use crate::net::network::Network;

/// Where clients reach us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Resolved TCP addresses; empty means no TCP listener. `*` is `0.0.0.0` and `::`, which can
    /// both be bound only if the second is for IPv6 alone (`IPV6_V6ONLY`).
    pub tcp: Vec<SocketAddr>,
    /// 0 lets the operating system choose, for tests.
    pub port: u16,
    /// Directory of the Unix socket `.s.PGSQL.PORT`; beginning with `@`, a name in the abstract
    /// namespace. `None` means no Unix listener.
    pub unix_socket_dir: Option<PathBuf>,
    pub unix_socket_mode: u32,
    /// Of the Unix socket's file.
    pub unix_socket_group: Option<String>,
    pub backlog: u32,
    /// Several processes may listen on one port (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// Bytes that the kernel keeps for a TCP connection each way, clients' and servers'.
    pub tcp_socket_buffer: Option<usize>,
    pub tcp_keepalive: bool,
    pub tcp_keepidle: Option<Duration>,
    pub tcp_keepintvl: Option<Duration>,
    pub tcp_keepcnt: Option<u32>,
    pub tcp_user_timeout: Option<Duration>,
    /// Load balancers: connections from there begin with a header of the PROXY protocol.
    pub proxy_protocol: Vec<Network>,
}

impl Listen {
    /// Path of the Unix socket, if there is to be one.
    pub fn unix_socket(&self) -> Option<PathBuf> {
        let directory = self.unix_socket_dir.as_ref()?;
        Some(unix::socket_in(directory, self.port))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A tracing-subscriber filter, for example `info` or `info,pgweir::client=debug`.
    pub level: String,
    pub connections: bool,
    pub disconnections: bool,
    /// What pgweir itself refuses, as its clients are told.
    pub pooler_errors: bool,
    /// A line each `stats_period`.
    pub stats: bool,
    pub style: LogStyle,
    /// `None`: standard error.
    pub file: Option<PathBuf>,
    /// Also to the system's log.
    pub syslog: bool,
    pub syslog_ident: String,
    pub syslog_facility: Facility,
    /// Of one kind; 0 is unlimited.
    pub max_lines_per_second: u32,
    /// Requests that take so long have a line each; zero: none has.
    pub slow_query: Duration,
    /// Bytes of a statement that such a line shows.
    pub statement_length: usize,
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// Fields with names.
    Text,
    /// An object a line.
    Json,
    /// PgBouncer's lines, for what reads those.
    PgBouncer,
}

/// `syslog_facility` (syslog(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Facility {
    Auth,
    Authpriv,
    Daemon,
    User,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

/// What is done about what clients ask for when they log in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartupRules {
    /// Parameters that are taken note of by nobody, in lower case.
    pub ignored: Vec<String>,
    /// The client's address is put behind its application's name.
    pub add_host: bool,
    /// A notice for everybody.
    pub message: String,
    /// Who sends a simple query is closed.
    pub no_simple_queries: bool,
}

/// The HTTP port, and who may see the page there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    pub listen: SocketAddr,
    /// Whoever knows it may look. `None`: whoever is on this machine may.
    pub password: Option<Secret>,
    /// Whoever knows it may act, too. `None`: nobody may.
    pub admin_password: Option<Secret>,
    /// Names by which browsers may reach the page, in lower case; beside addresses and `localhost`.
    pub names: Vec<String>,
    /// Clients are welcome even while no server can be reached.
    pub ready_without_servers: bool,
}

/// `sslmode`, with libpq's meanings (PostgreSQL docs, 34.19 "SSL Support").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    pub mode: SslMode,
    pub protocols: TlsProtocols,
    pub choice: TlsChoice,
    pub key_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    pub mode: SslMode,
    pub protocols: TlsProtocols,
    /// Of its curves there is no setting.
    pub choice: TlsChoice,
    pub ca_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
}

/// Versions of TLS that may be used; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsProtocols {
    pub tls12: bool,
    pub tls13: bool,
}

impl TlsProtocols {
    /// For rustls, the best first.
    pub fn versions(self) -> Vec<&'static rustls::SupportedProtocolVersion> {
        let all = [
            (self.tls13, &rustls::version::TLS13),
            (self.tls12, &rustls::version::TLS12),
        ];
        all.into_iter()
            .filter(|(on, _)| *on)
            .map(|(_, v)| v)
            .collect()
    }
}

/// How a client must prove who it is (`auth_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthType {
    /// No proof; the user must exist.
    Trust,
    /// Any user name, no proof; the database must force a server user.
    Any,
    /// Cleartext password, refused unless the connection is TLS or a Unix socket.
    Plain,
    /// MD5, or SCRAM when the stored secret is a SCRAM verifier (as PgBouncer and PostgreSQL do).
    Md5,
    ScramSha256,
    /// A client certificate whose CN is the user name.
    Cert,
    /// As the first rule of `hba_file` says that fits.
    Hba,
    /// Cleartext password that a directory judges.
    Ldap,
    /// Cleartext password that the operating system judges.
    Pam,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    pub auth_type: AuthType,
    /// Users and passwords, as in PgBouncer's `userlist.txt`.
    pub file: Option<PathBuf>,
    /// Passwords in clear are taken over TCP without TLS, too.
    pub allow_cleartext: bool,
    /// Rules by connection, in PostgreSQL's `pg_hba.conf` format.
    pub hba_file: Option<PathBuf>,
    pub hba: Arc<Hba>,
    /// Maps that the rules name.
    pub ident_file: Option<PathBuf>,
    pub ident: Arc<IdentMaps>,
    /// Of SCRAM verifiers that are made from passwords.
    pub scram_iterations: NonZeroU32,
    /// The directory, for `AuthType::Ldap`.
    pub ldap: Option<Arc<LdapOptions>>,
    /// Of the operating system's (pam.d(5)), for `AuthType::Pam` and rules.
    pub pam_service: String,
    /// Looks up users that the file does not list; `$1` is the user name. `None`: no look-up.
    pub query: Option<String>,
    /// The user as whom `query` runs; must be in `[users]`.
    pub user: Option<String>,
    /// Database where `query` runs; default: the one that the client asked for.
    pub dbname: Option<String>,
    /// How long a looked-up secret may be reused.
    pub query_ttl: Duration,
}

/// `[login]`: who may try to log in, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Failed logins.
    pub rules: Rules,
    /// TCP connections that have not logged in yet; 0 is as many as there may be clients.
    pub max_half_open: usize,
    /// Where clients may come from; none: anywhere.
    pub allow: Vec<Network>,
    /// Where they may not; goes before `allow`.
    pub deny: Vec<Network>,
}
