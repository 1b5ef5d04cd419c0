use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{Config, ConfigError, Nowhere};
use crate::pgbouncer::load;
use crate::pgbouncer::settings::{Meaning, SETTINGS};

fn parse(text: &str) -> Result<Config, ConfigError> {
    load::parse(text, Path::new("p.ini"), &Nowhere)
}

fn wrong(text: &str) -> Vec<String> {
    let error = parse(text).expect_err("it is wrong");
    error.all().map(ToString::to_string).collect()
}

fn toml(text: &str) -> String {
    load::converted(text, Path::new("p.ini"), &Nowhere)
        .unwrap()
        .toml
}

const ANY: &str = "[databases]\n* = host=127.0.0.1\n[pgbouncer]\nlisten_addr = 127.0.0.1\n";

#[test]
fn what_is_not_written_has_pgbouncers_default() {
    let config = parse("[databases]\n* =\n").unwrap();
    let shown: BTreeMap<_, _> = config
        .settings()
        .into_iter()
        .map(|s| (s.key, s.value))
        .collect();
    for setting in SETTINGS {
        let (Meaning::Key(section, key) | Meaning::Unless(section, key)) = setting.meaning else {
            continue;
        };
        let key = match section {
            "general" => key.to_owned(),
            section => format!("{section}_{key}"),
        };
        let value = shown.get(&key).unwrap_or_else(|| panic!("{key}"));
        let expected = match setting.name {
            // Where nobody reads it.
            "syslog_ident" => "pgweir",
            _ => setting.default,
        };
        assert_eq!(value, expected, "{}", setting.name);
    }
    assert_eq!(shown["auth_type"], "md5");
    assert_eq!(shown["max_queue"], "0");
}

#[test]
fn every_setting_is_read() {
    for setting in SETTINGS {
        if ["stats_period", "max_client_conn", "listen_backlog"].contains(&setting.name) {
            continue;
        }
        let value = match setting.name {
            "unix_socket_dir" => "/tmp",
            "auth_query" => "",
            _ => setting.default,
        };
        let text = format!("{ANY}{} = {value}\n", setting.name);
        if let Err(error) = parse(&text) {
            panic!("{}: {error}", setting.name);
        }
    }
}

#[test]
fn databases_users_and_lists() {
    let text = "[databases]\n\
                app = host=db1 port=6000 dbname=real user=amy password='it''s' pool_size=7 \
                min_pool_size=1 reserve_pool=2 pool_mode=Statement connect_query='select 1' \
                max_db_connections=9 server_lifetime=60 client_encoding=latin1 query_wait_timeout=1.5\n\
                app2 =\n\"odd name\" = host=10.0.0.1\n\
                [users]\nbob = pool_mode=session query_timeout=5 query_wait_timeout=-1 pool_size=3\n\
                [pgbouncer]\nunix_socket_dir = /run/x\nadmin_users = amy, bob  cat\n\
                idle_transaction_timeout = 2.5\nserver_round_robin = 1\ntcp_user_timeout = 1500\n\
                max_packet_size = 70000\nserver_tls_sslmode = disable\nverbose = 1\n\
                client_tls_protocols = tlsv1.3\n";
    let config = parse(text).unwrap();
    let app = &config.databases["app"];
    assert_eq!(
        (app.port, app.pool_size, app.reserve_pool_size),
        (6000, 7, 2)
    );
    assert_eq!(app.dbname.as_deref(), Some("real"));
    assert_eq!(app.timeouts.query_wait.as_millis(), 1500);
    assert_eq!(
        app.parameters,
        [("client_encoding".to_owned(), "latin1".to_owned())]
    );
    assert_eq!(
        format!("{:?}", config.databases["app2"].host),
        "Unix(\"/run/x\")"
    );
    assert!(config.databases.contains_key("odd name"));
    assert_eq!(config.admin_users, ["amy", "bob", "cat"]);
    assert_eq!(config.users["bob"].pool_size, Some(3));
    assert_eq!(config.users["bob"].query_wait_timeout, None);
    assert_eq!(app.timeouts.idle_transaction.as_millis(), 2500);
    assert!(app.server.round_robin);
    assert_eq!(config.listen.tcp_user_timeout.unwrap().as_millis(), 1500);
    assert_eq!(config.log.level, "debug");
    assert!(!config.client_tls.protocols.tls12 && config.client_tls.protocols.tls13);
}

#[test]
fn the_last_of_several_counts_and_nothing_takes_back() {
    let text = format!(
        "{ANY}logfile = /tmp/x\nlogfile =\npool_mode = session\npool_mode = transaction\n\
                        [databases]\na = port=1 pool_size=3\na = port=2\n"
    );
    let config = parse(&text).unwrap();
    assert_eq!(config.log.file, None);
    assert_eq!(config.pool_defaults.pool_mode.as_str(), "transaction");
    let a = &config.databases["a"];
    assert_eq!((a.port, a.pool_size), (2, 20));
}

#[test]
fn mistakes_are_named_with_their_lines() {
    for (line, expected) in [
        (
            "pool_mod = session",
            "p.ini:5: unknown parameter: pgbouncer/pool_mod; did you mean pool_mode?",
        ),
        (
            "pool_mode = fast",
            "p.ini:5: invalid value \"fast\" for parameter pool_mode: one of",
        ),
        (
            "default_pool_size = many",
            "p.ini:5: invalid value \"many\" for parameter default_pool_size",
        ),
        ("listen_port = 70000", "p.ini:5: general.listen_port: "),
        (
            "server_tls_ca_file = /x\nserver_tls_sslmode = verify-ca\nserver_tls_key_file = /k",
            "p.ini:7: server_tls.key_file: ",
        ),
        (
            "auth_ldap_options = ldapservr=x",
            "p.ini:5: auth.ldap_options: \"ldapservr\" is no LDAP option; did you mean ldapserver?",
        ),
        (
            "client_tls_protocols = tlsv1.1",
            "p.ini:5: invalid value for parameter client_tls_protocols: no protocol",
        ),
        (
            "[databases]\na = prot=1",
            "p.ini:6: unrecognized parameter \"prot\" in [databases] entry \"a\"; did you mean port?",
        ),
        (
            "[databases]\na = port=x",
            "p.ini:6: invalid value \"x\" for port in [databases] entry \"a\"",
        ),
        (
            "[databases]\npgbouncer = port=1",
            "p.ini:6: database name \"pgbouncer\" is reserved",
        ),
        (
            "[databases]\na = host='x",
            "p.ini:6: unterminated quoted value of host",
        ),
        (
            "[users]\nu = pool_mode=x",
            "p.ini:6: invalid value \"x\" for pool_mode in [users] entry \"u\"",
        ),
        ("[nowhere]\na = b", "p.ini:6: invalid section [nowhere]"),
        (
            "[peers]\n1 = host=a\n99999 = host=b",
            "p.ini:7: peers.99999: \"99999\" is no number of a peer",
        ),
        (
            "[peers]\n1 = port=6432",
            "p.ini:6: peers.1: a peer needs host",
        ),
        (
            "[peers]\n1 = host=a hots=b",
            "p.ini:6: unrecognized parameter \"hots\" in [peers] entry \"1\"; did you mean host?",
        ),
        ("peer_id = 16384", "p.ini:5: general.peer_id: must be"),
        (
            "client_tls_ciphers = RC4:MD5",
            "p.ini:5: client_tls.ciphers: \"RC4:MD5\" leaves no cipher suite",
        ),
        (
            "client_tls_ecdhcurve = none",
            "p.ini:5: client_tls.ecdhcurve: \"none\" is no curve",
        ),
    ] {
        let found = wrong(&format!("{ANY}{line}\n"));
        assert!(found[0].starts_with(expected), "{line}: {found:?}");
    }
    // All of them at once.
    assert_eq!(wrong(&format!("{ANY}a = 1\nb = 2\n")).len(), 2);
}

#[test]
fn peers_and_cipher_lists_are_read() {
    let config = parse(&format!(
        "{ANY}peer_id = 2\nserver_fast_close = 1\nclient_tls_ciphers = fast\n\
         server_tls_ciphers = HIGH:!CHACHA20:3DES\nclient_tls_ecdhcurve = prime256v1\n\
         client_tls_dheparams = legacy\n[peers]\n1 = host=/run/one pool_size=4\n2 = host=b port=7\n"
    ))
    .unwrap();
    assert!(config.server_fast_close);
    let peering = &config.peering;
    assert_eq!(peering.id.map(|id| id.get()), Some(2));
    let ports: Vec<u16> = peering.peers.values().map(|peer| peer.port).collect();
    assert_eq!(ports, [6432, 7]);
    assert_eq!(peering.others().map(|(_, p)| p.pool_size).sum::<usize>(), 4);
    let choice = &config.pool_defaults.server_tls.choice;
    assert_eq!(choice.ciphers.items.as_ref().map(Vec::len), Some(4));
    assert!(!config.client_tls.choice.has_order());
    let notes = config.notes();
    let noted = |start: &str| notes.iter().any(|note| note.starts_with(start));
    assert!(noted("client_tls_dheparams has no effect: "), "{notes:?}");
    assert!(noted(
        "server_tls.ciphers: rustls has nothing that is called 3DES"
    ));
    let quiet = parse(&format!("{ANY}client_tls_dheparams = none\n")).unwrap();
    assert!(quiet.notes().is_empty(), "{:?}", quiet.notes());
}

/// Debian's own file has none.
#[test]
fn there_need_not_be_any_databases() {
    let config = parse("[databases]\n[users]\n[pgbouncer]\nlisten_addr = 127.0.0.1\n").unwrap();
    assert!(config.databases.is_empty() && config.fallback.is_none());
}

#[test]
fn what_has_no_effect_is_said() {
    let config = parse(&format!(
        "{ANY}pkt_buf = 8192\ndns_max_ttl = 15\nserver_tls_protocols = tlsv1.1,tlsv1.2\n"
    ))
    .unwrap();
    let notes = config.notes();
    assert!(
        notes
            .iter()
            .any(|n| n.starts_with("pkt_buf has no effect: ")),
        "{notes:?}"
    );
    assert!(
        notes
            .iter()
            .any(|n| n.starts_with("server_tls_protocols tlsv1.1 has no effect"))
    );
    assert!(
        !notes.iter().any(|n| n.contains("dns_max_ttl")),
        "as it is there"
    );
}

#[test]
fn the_toml_reads_like_one_that_was_written() {
    let text = "[databases]\nweb = host=/run/pg dbname=web_1\n* = host=db.example.com\n[users]\nbob = pool_size=3\n\
                [pgbouncer]\nlisten_addr = *\nauth_type = scram-sha-256\npool_mode = transaction\npkt_buf = 9\n\
                auth_user = asker\n";
    assert_eq!(
        toml(text),
        "[pools.web]\nhost = \"/run/pg\"\ndbname = \"web_1\"\n\n[pools.\"*\"]\nhost = \"db.example.com\"\n\n\
         [users.bob]\npool_size = 3\n\n[general]\nlisten_addr = [\"*\"]\npool_mode = \"transaction\"\n\
         max_client_conn = 100  # PgBouncer's default\nlisten_backlog = 128  # PgBouncer's default\n\
         max_queue = 0  # PgBouncer's default\nclient_write_timeout = 0  # PgBouncer's default\n\
         shutdown_timeout = 0  # PgBouncer's default\n\
         # pkt_buf has no effect: buffers grow as they must and are given back\n\n\
         [auth]\ntype = \"scram-sha-256\"\nuser = \"asker\"\nquery = \"SELECT rolname, CASE WHEN rolvaliduntil < now() \
         THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin\"\n\
         allow_cleartext = true  # PgBouncer's default\n\n\
         [log]\nstyle = \"pgbouncer\"  # PgBouncer's default\n"
    );
}
