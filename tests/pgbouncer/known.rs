//! Where pgweir answers otherwise than PgBouncer, and is right to.

/// A line of an outcome, or all that came of a step. `{}` stands for any text, on both sides the
/// same if it is on both.
pub struct Difference {
    /// Where it may be found, and is: an entry that is not seen in one of them fails.
    pub groups: &'static [&'static str],
    pub bouncer: &'static str,
    pub weir: &'static str,
    pub why: &'static str,
}

impl Difference {
    pub fn is(&self, bouncer: &str, weir: &str) -> bool {
        match (matched(self.bouncer, bouncer), matched(self.weir, weir)) {
            (Some(Some(b)), Some(Some(w))) => b == w,
            (Some(_), Some(_)) => true,
            _ => false,
        }
    }
}

/// What stands for `{}`, if the text fits the pattern.
fn matched<'t>(pattern: &str, text: &'t str) -> Option<Option<&'t str>> {
    match pattern.split_once("{}") {
        None => (pattern == text).then_some(None),
        Some((head, tail)) => {
            let rest = text.strip_prefix(head)?;
            rest.strip_suffix(tail).map(Some)
        }
    }
}

/// PgBouncer has 08P01 for everything of its own.
const CODE: &str = "PostgreSQL has an SQLSTATE for it";
const NAMED: &str =
    "PgBouncer's key word, the SQLSTATE that PostgreSQL has for it, and what it is about";
const POSTGRES: &str = "PostgreSQL's words and SQLSTATE";
const STAYS: &str = "the statement fails and the client stays connected";
const FOLLOWED: &str = "every setting of a session is followed, so the server judges them";
const OCTAL: &str = "a mode is written as it is in the file";

pub const KNOWN: &[Difference] = &[
    Difference {
        groups: &["auth types", "auth_query", "reload", "rules"],
        bouncer: "error FATAL 08P01 password authentication failed",
        weir: "error FATAL 28P01 password authentication failed for user \"{}\"",
        why: NAMED,
    },
    Difference {
        groups: &["auth types", "auth_query", "console access", "rules"],
        bouncer: "error FATAL 08P01 SASL authentication failed",
        weir: "error FATAL 28P01 password authentication failed for user \"{}\"",
        why: NAMED,
    },
    Difference {
        groups: &["auth types", "rules"],
        bouncer: "FATAL:  password authentication failed",
        weir: "FATAL:  password authentication failed for user \"{}\"",
        why: NAMED,
    },
    Difference {
        groups: &["auth types", "reload"],
        bouncer: "error FATAL 08P01 no such database: {}",
        weir: "error FATAL 3D000 no such database: {}",
        why: CODE,
    },
    Difference {
        groups: &["auth types", "console access"],
        bouncer: "error FATAL 08P01 role \"{}\" does not exist",
        weir: "error FATAL 28000 role \"{}\" does not exist",
        why: CODE,
    },
    Difference {
        groups: &["databases"],
        bouncer: "error FATAL 08P01 password authentication failed for user \"{}\"",
        weir: "error FATAL 28P01 password authentication failed for user \"{}\"",
        why: CODE,
    },
    Difference {
        groups: &["databases"],
        bouncer: "error FATAL 08P01 database \"{}\" does not exist",
        weir: "error FATAL 3D000 database \"{}\" does not exist",
        why: CODE,
    },
    Difference {
        groups: &["auth types"],
        bouncer: "asked for SCRAM\nerror FATAL 08P01 role \"empty\" does not exist\nclosed",
        weir: "asked for SCRAM\nerror FATAL 28P01 password authentication failed for user \"empty\"\nclosed",
        why: "an empty password in the list is none, as at the server; PgBouncer lets everybody in who gives none",
    },
    Difference {
        groups: &["auth types"],
        bouncer: "error FATAL 08P01 server login failed: wrong password type",
        weir: "error FATAL 08006 server login has been failing, cached error: the server asks for scram-sha-256, which needs the password itself or the keys of a client's SCRAM login, but there is only a SCRAM verifier",
        why: "the words of later versions, and what is missing",
    },
    Difference {
        groups: &["auth types", "databases"],
        bouncer: "error FATAL 08P01 \"trust\" authentication failed",
        weir: "error FATAL 28000 no such user: {}",
        why: "PgBouncer only logs that there is no such user",
    },
    Difference {
        groups: &["auth types", "console access"],
        bouncer: "error FATAL 08P01 not allowed\nclosed",
        weir: "{}error FATAL 42501 not allowed: the user is neither in admin_users nor in stats_users\nclosed",
        why: "who may come to the console is told only to those who have shown a password",
    },
    Difference {
        groups: &["console access"],
        bouncer: "FATAL:  not allowed",
        weir: "FATAL:  not allowed: the user is neither in admin_users nor in stats_users",
        why: "what is missing is said",
    },
    Difference {
        groups: &["console access"],
        bouncer: "FATAL:  not allowed",
        weir: "fe_sendauth: no password supplied",
        why: "who may come to the console is told only to those who have shown a password",
    },
    Difference {
        groups: &["auth_query"],
        bouncer: "error FATAL 08P01 bouncer config error",
        weir: "error FATAL 08006 user look-up failed",
        why: "the look-up failed, which need not be the configuration's fault",
    },
    Difference {
        groups: &["auth_query"],
        bouncer: "error FATAL 08P01 no such user\nclosed",
        weir: "asked for {}\nerror FATAL 28P01 password authentication failed for user \"nobody\"\nclosed",
        why: "a stranger does not learn who there is; nor from later versions of PgBouncer",
    },
    Difference {
        groups: &["databases"],
        bouncer: "error FATAL 08P01 query_wait_timeout",
        weir: "error FATAL 08006 server login has been failing, cached error: cannot connect to 127.0.0.1:1: Connection refused (os error 111)",
        why: "a server that is not there is told at once, in the words of later versions",
    },
    Difference {
        groups: &["console access"],
        bouncer: "error ERROR 08P01 admin access needed",
        weir: "error ERROR 42501 admin access needed",
        why: CODE,
    },
    Difference {
        groups: &["console access"],
        bouncer: "error ERROR 08P01 invalid command '{}', use SHOW HELP;",
        weir: "error ERROR 42601 invalid command '{}', use SHOW HELP;",
        why: CODE,
    },
    Difference {
        groups: &["console access"],
        bouncer: "DateStyle = ISO\nTimeZone = GMT\nclient_encoding = UTF8\nis_superuser\nserver_encoding\nserver_version\nstandard_conforming_strings = on",
        weir: "DateStyle = ISO\nTimeZone = GMT\nclient_encoding = UTF8\ninteger_datetimes\nis_superuser\nserver_encoding\nserver_version\nstandard_conforming_strings = on",
        why: "drivers ask for integer_datetimes",
    },
    Difference {
        groups: &["limits"],
        bouncer: "error FATAL 08P01 no more connections allowed (max_client_conn)",
        weir: "error FATAL 53300 no more connections allowed (max_client_conn), the limit is {}",
        why: NAMED,
    },
    Difference {
        groups: &["limits"],
        bouncer: "error FATAL 08P01 query_wait_timeout",
        weir: "error FATAL 53300 query_wait_timeout: no server connection became free within 300ms",
        why: NAMED,
    },
    Difference {
        groups: &["limits"],
        bouncer: "error FATAL 08P01 query_wait_timeout\nclosed",
        weir: "error ERROR 53300 query_wait_timeout: no server connection became free within 300ms\nready I",
        why: STAYS,
    },
    Difference {
        groups: &["timeouts"],
        bouncer: "error FATAL 08P01 query timeout\nclosed",
        weir: "columns pg_sleep:2278\nerror ERROR 57014 query timeout: the statement was cancelled (query_timeout)\nready I",
        why: STAYS,
    },
    Difference {
        groups: &["timeouts"],
        bouncer: "error FATAL 08P01 idle transaction timeout\nclosed",
        weir: "error ERROR 25P03 idle transaction timeout: the transaction was rolled back (idle_transaction_timeout)\nready E",
        why: STAYS,
    },
    Difference {
        groups: &["timeouts"],
        bouncer: "error FATAL 08P01 client_idle_timeout",
        weir: "error FATAL 57P05 client_idle_timeout: the connection was idle for too long",
        why: NAMED,
    },
    Difference {
        groups: &["timeouts"],
        bouncer: "error FATAL 08P01 client_login_timeout\nclosed",
        weir: "closed",
        why: "who has said nothing is told nothing, as by PostgreSQL",
    },
    Difference {
        groups: &["modes", "reload"],
        bouncer: "error FATAL 08P01 transaction blocks not allowed in statement pooling mode\nclosed",
        weir: "done BEGIN\nerror FATAL 08P01 transaction blocks not allowed in statement pooling mode\nclosed",
        why: "the server has begun the block before it is known to be one; it is rolled back",
    },
    Difference {
        groups: &["modes"],
        bouncer: "error FATAL 08P01 transaction blocks not allowed in statement pooling mode\nclosed",
        weir: "done START TRANSACTION\nerror FATAL 08P01 transaction blocks not allowed in statement pooling mode\nclosed",
        why: "the server has begun the block before it is known to be one; it is rolled back",
    },
    Difference {
        groups: &["modes"],
        bouncer: "error FATAL 57P01 terminating connection due to administrator command\nerror FATAL 08P01 server conn crashed?\nclosed",
        weir: "error ERROR 08006 the server connection of this transaction was lost\nready E",
        why: STAYS,
    },
    Difference {
        groups: &["modes"],
        bouncer: "columns pg_terminate_backend:16\nrow t\nerror FATAL 57P01 terminating connection due to administrator command\nerror FATAL 08P01 server conn crashed?\nclosed",
        weir: "columns pg_terminate_backend:16\nrow t\nerror ERROR 57P01 terminating connection due to administrator command\nready I",
        why: STAYS,
    },
    Difference {
        groups: &["modes"],
        bouncer: "error FATAL 08P01 unknown pkt",
        weir: "error FATAL 08P01 invalid frontend message type 126",
        why: "PostgreSQL's words",
    },
    Difference {
        groups: &["modes"],
        bouncer: "error FATAL 08P01 query_wait_timeout\nclosed",
        weir: "error ERROR 57014 canceling statement due to user request\nready I",
        why: "a query that waits can be cancelled; PgBouncer does nothing until the wait is over",
    },
    Difference {
        groups: &["startup"],
        bouncer: "error FATAL 08P01 unsupported startup parameter: {}\nclosed",
        weir: "in",
        why: FOLLOWED,
    },
    Difference {
        groups: &["startup"],
        bouncer: "c is not logged in\nc is not logged in",
        weir: "columns current_setting:25 current_setting:25 current_setting:25 current_setting:25 current_setting:25 current_setting:25\nrow |ISO, MDY|{}|UTF8|on|iso_8601\ndone SELECT 1\nready I",
        why: FOLLOWED,
    },
    Difference {
        groups: &["startup"],
        bouncer: "error FATAL 08P01 unsupported startup parameter: nonsense",
        weir: "error FATAL 42704 unrecognized configuration parameter \"nonsense\"",
        why: FOLLOWED,
    },
    Difference {
        groups: &["startup"],
        bouncer: "in",
        weir: "error FATAL 22023 invalid value for parameter \"client_encoding\": \"nonsense\"\nclosed",
        why: "as PostgreSQL; PgBouncer lets it through to the first query",
    },
    Difference {
        groups: &["startup"],
        bouncer: "error FATAL 08P01 unsupported startup parameter: replication",
        weir: "error FATAL 42501 must be superuser or replication role to start walsender",
        why: "replication connections, as in PgBouncer from 1.23; here it is the server who objects",
    },
    Difference {
        groups: &["startup"],
        bouncer: "error FATAL 08P01 no username supplied",
        weir: "error FATAL 28000 no PostgreSQL user name specified in startup packet",
        why: POSTGRES,
    },
    Difference {
        groups: &["startup"],
        bouncer: "error FATAL 08P01 old V2 protocol not supported",
        weir: "error FATAL 0A000 unsupported frontend protocol 2.0: server supports 3.0 to 3.2",
        why: POSTGRES,
    },
    Difference {
        groups: &["startup"],
        bouncer: "error FATAL 08P01 bad packet header: '{}'",
        weir: "error FATAL 08P01 invalid length of startup packet",
        why: POSTGRES,
    },
    Difference {
        groups: &["reload"],
        bouncer: "value = 511",
        weir: "value = 0777",
        why: OCTAL,
    },
    Difference {
        groups: &["reload"],
        bouncer: "value = 511, default = 0777, changeable = no",
        weir: "value = 0777, default = 0777, changeable = no",
        why: OCTAL,
    },
    Difference {
        groups: &["reload"],
        bouncer: "done RELOAD\nready I",
        weir: "notice NOTICE 00000 general.unix_socket_mode cannot change while pgweir runs; it keeps its value until a restart\ndone RELOAD\nready I",
        why: "PgBouncer says so in its log only",
    },
    Difference {
        groups: &["reload"],
        bouncer: "done RELOAD",
        weir: "error ERROR F0000 RELOAD failed, see logs for additional details",
        why: "as from PgBouncer 1.21",
    },
    Difference {
        groups: &["reload"],
        bouncer: "columns current_database:19 current_user:19\nrow other|forced\ndone SELECT 1\nready I",
        weir: "error FATAL 57P01 database configuration changed\nclosed",
        why: "nobody goes on as a user that the file does not name any more",
    },
    Difference {
        groups: &["reload"],
        bouncer: "error FATAL 08P01 database removed\nclosed",
        weir: "error FATAL 57P01 database configuration changed\nclosed",
        why: "later versions' words; an idle client is told at its next query",
    },
    Difference {
        groups: &["auth types"],
        bouncer: "in",
        weir: "error FATAL 42501 not allowed: the user is neither in admin_users nor in stats_users\nclosed",
        why: "not everybody who calls himself anything may shut the pooler down",
    },
    Difference {
        groups: &["words"],
        bouncer: "error ERROR 08P01 invalid command '{}', use SHOW HELP;",
        weir: "error ERROR 42601 invalid command '{}', use SHOW HELP;",
        why: CODE,
    },
    Difference {
        groups: &["words"],
        bouncer: "error ERROR 08P01 invalid command 'select 1', use SHOW HELP;",
        weir: "error ERROR 42601 invalid command 'show 1', use SHOW HELP;",
        why: "SELECT is another word for SHOW",
    },
    Difference {
        groups: &["words"],
        bouncer: "error ERROR 08P01 invalid command '{}', use SHOW HELP;\nready I",
        weir: "empty\nready I",
        why: "an empty query is one, as in later versions",
    },
    Difference {
        groups: &["words"],
        bouncer: "error ERROR 08P01 invalid command 'show timezone; show timezone', use SHOW HELP;",
        weir: "error ERROR 42601 syntax error at \"; show timezone\"",
        why: "where it ends to be understood is said",
    },
    Difference {
        groups: &["words"],
        bouncer: "error ERROR 08P01 extended query protocol not supported by admin console\nready I",
        weir: "parsed\nbound\ncolumns timezone:25\nrow GMT\ndone SHOW\nready I",
        why: "drivers that know no other protocol can use the console",
    },
    Difference {
        groups: &["set"],
        bouncer: "error ERROR 08P01 SET failed",
        weir: "done SET query_timeout=7.5",
        why: "names of settings are in any case",
    },
    Difference {
        groups: &["set"],
        bouncer: "value = 5",
        weir: "value = 7.5",
        why: "names of settings are in any case",
    },
    Difference {
        groups: &["set"],
        bouncer: "error ERROR 08P01 SET failed",
        weir: "error ERROR 08P01 SET failed: {}",
        why: "why it failed is said",
    },
    Difference {
        groups: &["set"],
        bouncer: "error ERROR 08P01 SET failed",
        weir: "error ERROR 42601 unknown parameter \"nonsense\";",
        why: "why it failed is said",
    },
    Difference {
        groups: &["set"],
        bouncer: "done SET listen_port=1",
        weir: "error ERROR 08P01 SET failed: listen_port cannot change while it runs",
        why: "PgBouncer says so and changes nothing that counts",
    },
    Difference {
        groups: &["set"],
        bouncer: "error ERROR 08P01 invalid command '{}', use SHOW HELP;",
        weir: "error ERROR 42601 invalid command: SET key = value is expected",
        why: "what was expected is said",
    },
    Difference {
        groups: &["pausing"],
        bouncer: "error ERROR 08P01 database pgbouncer is not paused",
        weir: "error ERROR 08P01 cannot resume admin db: pgbouncer",
        why: "it cannot be paused either",
    },
    Difference {
        groups: &["doors"],
        bouncer: "error FATAL 08P01 database \"{}\" is disabled",
        weir: "error FATAL 08P01 database does not allow connections: {}",
        why: "later versions' words",
    },
    Difference {
        groups: &["doors"],
        bouncer: "error ERROR 08P01 a database is required\nready I",
        weir: "error ERROR 42601 a database is required\nready I",
        why: CODE,
    },
    Difference {
        groups: &["doors"],
        bouncer: "error FATAL 08P01 database removed",
        weir: "error FATAL 57P01 admin forced disconnect",
        why: "later versions' words: it was killed, and not removed",
    },
    Difference {
        groups: &["doors"],
        bouncer: "error ERROR 08P01 a database is required\nready I",
        weir: "done KILL\nready I",
        why: "all databases, as in later versions",
    },
    Difference {
        groups: &["shutting down"],
        bouncer: "closed",
        weir: "done SHUTDOWN\nready I\nclosed",
        why: "who asks for it is told that it was heard",
    },
    Difference {
        groups: &["certificates"],
        bouncer: "FATAL:  certificate authentication failed",
        weir: "FATAL:  certificate authentication failed for user \"{}\"",
        why: NAMED,
    },
    Difference {
        groups: &["certificates", "towards clients"],
        bouncer: "error FATAL 08P01 SSL required",
        weir: "error FATAL 28000 SSL required",
        why: CODE,
    },
    Difference {
        groups: &["rules"],
        bouncer: "error FATAL 08P01 not allowed",
        weir: "error FATAL 08P01 login rejected",
        why: "the rules hold for the console, too: none lets this user in",
    },
    Difference {
        groups: &["towards clients"],
        bouncer: "SSL error: tlsv1 alert unknown ca",
        weir: "SSL error: sslv3 alert certificate unknown",
        why: "the TLS library's word for a certificate that it does not trust",
    },
    Difference {
        groups: &["towards servers"],
        bouncer: "error FATAL 08P01 pg_hba.conf rejects connection for {}",
        weir: "error FATAL 28000 pg_hba.conf rejects connection for {}",
        why: "the server's own SQLSTATE",
    },
    Difference {
        groups: &["towards servers"],
        bouncer: "row t",
        weir: "row f",
        why: "allow is what it is to libpq: without TLS, and with it if the server refuses that",
    },
    Difference {
        groups: &["towards servers"],
        bouncer: "error FATAL 08P01 pg_hba.conf rejects connection for {}\nclosed",
        weir: "in",
        why: "as libpq: who is refused under TLS is tried without, if the level allows it",
    },
    Difference {
        groups: &["towards servers"],
        bouncer: "p is not logged in\np is not logged in",
        weir: "columns ssl:16\nrow f\ndone SELECT 1\nready I",
        why: "as libpq: who is refused under TLS is tried without, if the level allows it",
    },
    Difference {
        groups: &["towards servers"],
        bouncer: "error FATAL 08P01 query_wait_timeout",
        weir: "error FATAL 08006 server login has been failing, cached error: TLS: invalid peer certificate: {}",
        why: "a server that is not to be trusted is told at once, and why",
    },
];
