use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::config::tests::{Fake, mistakes, parse, parse_on};
use crate::config::{AuthType, PoolMode, SslMode};

mod others;

/// The mistakes in a text that has a pool, without the file's name.
fn wrong(text: &str) -> Vec<String> {
    let found = mistakes(&format!("{text}\n[pools.\"*\"]\n"));
    let found = found.iter().map(|text| {
        let rest = text.strip_prefix("pgweir.toml:");
        rest.expect("the file is named").to_owned()
    });
    found.collect()
}

/// Asserts that a text has one mistake, which begins with `start` and contains `hint`.
#[track_caller]
fn one_mistake(text: &str, start: &str, hint: &str) {
    let found = wrong(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    let (start_ok, hint_ok) = (found[0].starts_with(start), found[0].contains(hint));
    assert!(start_ok && hint_ok, "{}", found[0]);
}

fn right(text: &str) -> Config {
    parse(&format!("{text}\n[pools.\"*\"]\n")).expect("the text is right")
}

#[test]
fn an_empty_file_needs_only_a_pool() {
    let found = mistakes("");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("pgweir.toml: pools: there is no pool"));
    let config = right("");
    assert_eq!(config.workers, 2); // the fake machine has three cores
    assert_eq!(config.auth.auth_type, AuthType::ScramSha256);
    assert_eq!(config.fallback.unwrap().pool_mode, PoolMode::Transaction);
}

#[test]
fn pools_start_from_the_general_values() {
    let config = parse(
        "[general]\nquery_timeout = '2s'\ndefault_pool_size = 7\nclient_login_timeout = 9\n\
         [server_tls]\nsslmode = 'require'\n[pools.a]\n[pools.b]\npool_size = 3\n\
         query_timeout = 0\nserver_reset_query = ''\n[pools.b.server_tls]\nsslmode = 'disable'",
    )
    .expect("the text is right");
    let (a, b) = (&config.databases["a"], &config.databases["b"]);
    assert_eq!((a.pool_size, b.pool_size), (7, 3));
    assert_eq!(a.timeouts.query, Duration::from_secs(2));
    assert_eq!(b.timeouts.query, Duration::ZERO);
    assert_eq!(b.timeouts.client_login, Duration::from_secs(9));
    assert_eq!(a.server_tls.mode, SslMode::Require);
    assert_eq!(b.server_tls.mode, SslMode::Disable);
    assert_eq!(a.server.reset_query.as_deref(), Some("DISCARD ALL"));
    assert_eq!(b.server.reset_query, None);
    assert_eq!((a.name.as_str(), b.name.as_str()), ("a", "b"));
    assert_eq!(config.database("a").unwrap().name, "a");
    assert!(config.database("c").is_none());
}

#[test]
fn the_fallback_serves_unknown_names() {
    let config = right("[pools.a]");
    assert!(!config.databases.contains_key("*"));
    assert_eq!(config.database("other").unwrap().name, "*");
}

#[test]
fn listen_addresses_are_resolved() {
    let tcp = |addr: &str| {
        let config = right(&format!("[general]\nlisten_port = 5\nlisten_addr = {addr}"));
        let addrs: Vec<String> = config.listen.tcp.iter().map(|a| a.to_string()).collect();
        addrs
    };
    assert_eq!(tcp("'*'"), ["0.0.0.0:5", "[::]:5"]);
    assert_eq!(tcp("'127.0.0.1, ::1'"), ["127.0.0.1:5", "[::1]:5"]);
    assert_eq!(tcp("['[::1]', '::1']"), ["[::1]:5"]);
    assert_eq!(tcp("''"), [""; 0]);
    assert_eq!(right("[general]\nlisten_port = 0").listen.tcp[0].port(), 0);

    let mut machine = Fake::default();
    let ip: IpAddr = "10.0.0.1".parse().unwrap();
    machine.hosts.insert("db", vec![ip]);
    let text = "[general]\nlisten_addr = 'db'\n[pools.a]";
    let config = parse_on(text, &machine).expect("the name resolves");
    assert_eq!(config.listen.tcp, [SocketAddr::from((ip, 6432))]);
    one_mistake(
        "[general]\nlisten_addr = '127.0.0.1:6432'",
        "2: general.listen_addr: ",
        "the port goes in listen_port",
    );
}

#[test]
fn something_must_be_listened_on() {
    one_mistake(
        "[general]\nlisten_addr = ''\nunix_socket_dir = ''",
        "2: general.listen_addr: nothing to listen on",
        "unix_socket_dir",
    );
    assert!(
        right("[general]\nunix_socket_dir = ''")
            .listen
            .unix_socket_dir
            .is_none()
    );
}

#[test]
fn a_notification_fits_into_what_may_wait() {
    let small = "[pools.a]\nlisten_queue_size = '31KiB'";
    one_mistake(small, "2: pools.a.listen_queue_size: ", "32KiB");
    right("[pools.a]\nlisten_queue_size = '32KiB'");
}

#[test]
fn socket_paths_fit_the_operating_system() {
    let long = "/d".repeat(50);
    one_mistake(
        &format!("[general]\nunix_socket_dir = '{long}'"),
        "2: general.unix_socket_dir: ",
        "107",
    );
    one_mistake(
        &format!("[pools.a]\nhost = '{long}'"),
        "2: pools.a.host: ",
        "shorter",
    );
}

#[test]
fn values_out_of_range_are_refused() {
    for (text, start) in [
        (
            "[general]\nmax_client_conn = 0",
            "2: general.max_client_conn: ",
        ),
        ("[general]\nworkers = 5000", "2: general.workers: "),
        (
            "[general]\nlisten_backlog = 0",
            "2: general.listen_backlog: ",
        ),
        (
            "[general]\nmax_packet_size = '3GiB'",
            "2: general.max_packet_size: ",
        ),
        (
            "[general]\nmax_packet_size = 10",
            "2: general.max_packet_size: ",
        ),
        (
            "[general]\nunix_socket_mode = '0999'",
            "2: general.unix_socket_mode: ",
        ),
        ("[log]\nlevel = 'inof'", "2: log.level: "),
        ("[log]\nlevel = 'a=b=c'", "2: log.level: "),
        ("[http]\nlisten = 'localhost'", "2: http.listen: "),
        (
            "[http]\npassword = 'md5e8a48653851e28c69d0506508fb27fc5'",
            "2: http.password: must be",
        ),
        (
            "[http]\nadmin_password = 'SCRAM-SHA-256$x'",
            "2: http.admin_password: must be",
        ),
        ("[http]\nnames = ['a.b:80']", "2: http.names: "),
        ("[pools.a]\nport = 0", "2: pools.a.port: "),
        (
            "[pools.a]\npool_size = 0",
            "2: pools.a.pool_size: must be at least 1",
        ),
        ("[pools.a]\nhost = 'a,b:1'", "2: pools.a.host: "),
        ("[pools.a]\nhost = 'db:5432'", "2: pools.a.host: "),
        ("[pools.a]\nhost = ''", "2: pools.a.host: "),
        ("[users.a]\npool_size = 0", "2: users.a.pool_size: "),
        ("[users.'']", "1: users.\"\": "),
        ("[pools.'']", "1: pools.\"\": "),
        (
            "[general]\nserver_connect_timeout = 0",
            "2: general.server_connect_timeout: ",
        ),
    ] {
        one_mistake(text, start, "");
    }
    let config = right("[general]\nmax_packet_size = '2GiB'\n[log]\nlevel = 'info,pgweir=debug'");
    assert_eq!(config.max_packet_size, i32::MAX as usize);
}

#[test]
fn the_console_names_are_reserved() {
    for name in ["pgweir", "pgbouncer"] {
        one_mistake(
            &format!("[pools.{name}]"),
            &format!("1: pools.{name}: "),
            "reserved",
        );
    }
}

#[test]
fn a_pool_cannot_keep_more_than_it_holds() {
    one_mistake(
        "[pools.a]\npool_size = 2\nmin_pool_size = 3",
        "3: pools.a.min_pool_size: must be at most pool_size",
        "min_pool_size 3 and pool_size 2",
    );
    // The value at fault is named where it is written, not where it is inherited.
    one_mistake(
        "[general]\nmin_pool_size = 3\n[pools.a]\npool_size = 2",
        "2: general.min_pool_size: must be at most pool_size",
        "pool \"a\"",
    );
    one_mistake(
        "[general]\ndefault_pool_size = 0\n[pools.a]",
        "2: general.default_pool_size: must be at least 1",
        "",
    );
    one_mistake(
        "[pools.a]\nmin_pool_size = 3\nmax_db_connections = 2",
        "2: pools.a.min_pool_size: must be at most max_db_connections",
        "",
    );
}

#[test]
fn keys_and_certificates_go_together() {
    let mut machine = Fake::default();
    for file in ["k", "c", "ca"] {
        machine.files.insert(file, "");
    }
    let on = |text: &str| {
        let text = format!("{text}\n[pools.\"*\"]");
        match parse_on(&text, &machine) {
            Ok(_) => Vec::new(),
            Err(error) => error.all().map(ToString::to_string).collect(),
        }
    };
    for section in ["client_tls", "server_tls", "pools.a.server_tls"] {
        assert_eq!(
            on(&format!("[{section}]\nkey_file = 'k'")),
            [format!(
                "pgweir.toml:2: {section}.key_file: needs cert_file too: a key and its certificate \
                 go together"
            )]
        );
        let found = on(&format!("[{section}]\nkey_file = 'k'\ncert_file = 'gone'"));
        assert_eq!(found.len(), 1, "{found:?}");
        let start = format!("pgweir.toml:3: {section}.cert_file: cannot read \"gone\": ");
        assert!(found[0].starts_with(&start), "{found:?}");
        let found = on(&format!(
            "[{section}]\nsslmode = 'verify-full'\nkey_file = 'k'\ncert_file = 'c'"
        ));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("sslmode: ") && found[0].contains("ca_file"));
        let all = "key_file = 'k'\ncert_file = 'c'\nca_file = 'ca'\nsslmode = 'verify-full'";
        assert_eq!(on(&format!("[{section}]\n{all}")), [""; 0]);
    }
    assert_eq!(on("[client_tls]\nsslmode = 'require'").len(), 1);
}

#[test]
fn authentication_must_be_possible() {
    one_mistake("[auth]\ntype = 'any'", "3: pools.\"*\".user: ", "set user");
    one_mistake(
        "[auth]\ntype = 'plain'\n[general]\nunix_socket_dir = ''",
        "2: auth.type: \"plain\" is refused",
        "scram-sha-256",
    );
    assert_eq!(wrong("[auth]\ntype = 'plain'"), [""; 0]);
    let found = wrong("[auth]\ntype = 'ldap'");
    let found = found.last().map(String::as_str).unwrap_or_default();
    assert!(
        found.contains("2: auth.type: \"ldap\" needs auth.ldap_options"),
        "{found}"
    );
    one_mistake(
        "[auth]\nldap_options = 'ldapserver=a'",
        "2: auth.ldap_options: one of",
        "",
    );
    one_mistake(
        "[auth]\npam_service = 'a/b'",
        "2: auth.pam_service: ",
        "/etc/pam.d",
    );
    one_mistake(
        "[auth]\ntype = 'cert'",
        "2: auth.type: \"cert\" needs client certificates",
        "client_tls.ca_file",
    );
}

#[test]
fn auth_query_needs_a_user_with_a_password() {
    one_mistake("[auth]\nquery = '$1'", "2: auth.query: needs auth.user", "");
    one_mistake("[auth]\nuser = 'u'", "2: auth.user: is of no use", "$1");
    one_mistake(
        "[auth]\nquery = '$1'\nuser = 'u'",
        "3: auth.user: \"u\" needs a password",
        "users.u.password",
    );
    one_mistake(
        "[auth]\nquery = '$1'\nuser = 'u'\n[users.u]",
        "3: auth.user: \"u\" needs a password",
        "",
    );
    one_mistake(
        "[auth]\nquery = 'select'\nuser = 'u'\n[users.u]\npassword = 'p'",
        "2: auth.query: must use $1",
        "",
    );
    assert_eq!(
        mistakes("[auth]\ndbname = 'b'\n[pools.a]"),
        ["pgweir.toml:2: auth.dbname: \"b\" is not in [pools]; name a pool, or leave it out"]
    );
    let config = right("[auth]\nquery = '$1'\nuser = 'u'\n[users.u]\npassword = 'p'");
    assert_eq!(config.auth.user.as_deref(), Some("u"));
}

#[test]
fn secrets_come_from_the_text_the_environment_or_a_file() {
    let mut machine = Fake::default();
    machine.env.insert("PW", "from env\n");
    machine.files.insert("/pw", "  from file \n");
    machine.files.insert("/empty", "\n");
    let on = |source: &str| {
        let text = format!("[users.u]\npassword = {source}\n[pools.a]");
        parse_on(&text, &machine).map(|config| config.users["u"].secret.clone())
    };
    let secret = |text: &str| Ok(Some(Secret::from(text)));
    assert_eq!(on("'in text '"), secret("in text "));
    assert_eq!(on("{ env = 'PW' }"), secret("from env"));
    assert_eq!(on("{ file = '/pw' }"), secret("from file"));
    for (source, problem) in [
        (
            "{ env = 'NO' }",
            "the environment variable \"NO\" is not set",
        ),
        ("{ file = '/no' }", "cannot read \"/no\": entity not found"),
        (
            "{ file = '/empty' }",
            "there is no password in the place that it names",
        ),
    ] {
        let error = on(source).unwrap_err().to_string();
        assert_eq!(error, format!("pgweir.toml:2: users.u.password: {problem}"));
    }
}

#[test]
fn a_forced_user_has_a_password_of_its_own_or_of_its_entry() {
    let config = right(
        "[users.u]\npassword = 'listed'\n[pools.a]\nuser = 'u'\n\
         [pools.b]\nuser = 'u'\npassword = 'own'\n[pools.c]",
    );
    let password = |pool: &str| config.databases[pool].password.clone();
    assert_eq!(password("a"), Some(Secret::from("listed")));
    assert_eq!(password("b"), Some(Secret::from("own")));
    assert_eq!(password("c"), None);
    one_mistake(
        "[pools.a]\npassword = 'x'",
        "2: pools.a.password: belongs to a forced user",
        "",
    );
}

#[test]
fn statement_mode_has_no_transactions_to_time() {
    for section in ["pools.a", "users.a"] {
        one_mistake(
            &format!("[{section}]\npool_mode = 'statement'\nidle_transaction_timeout = 1"),
            &format!("3: {section}.idle_transaction_timeout: has no effect"),
            "query_timeout",
        );
    }
    // Inherited values do no harm.
    right("[general]\nidle_transaction_timeout = 1\n[pools.a]\npool_mode = 'statement'");
}

#[test]
fn a_host_with_a_slash_is_a_directory() {
    let host = |text: &str| {
        right(&format!("[pools.a]\nhost = '{text}'")).databases["a"]
            .host
            .clone()
    };
    assert_eq!(
        host("/run/postgresql"),
        Host::Unix("/run/postgresql".into())
    );
    assert_eq!(
        host("db-1.example.com"),
        Host::Tcp("db-1.example.com".to_owned())
    );
    assert_eq!(host("fe80::1%eth0"), Host::Tcp("fe80::1%eth0".to_owned()));
}

#[test]
fn a_long_time_to_live_without_a_feed_is_worth_a_note() {
    let config = |cache: &str| {
        let text = format!(
            "[auth]\ntype = 'trust'\n[pools.app]\nuser = 'u'\n[pools.app.cache]\nenabled = true\n{cache}"
        );
        parse(&text).unwrap()
    };
    assert!(config("").notes().is_empty());
    let notes = config("ttl = '2m'").notes();
    assert!(
        notes[0].contains("\"app\"") && notes[0].contains("120s"),
        "{notes:?}"
    );
    assert!(
        config("ttl = '2m'\ninvalidation = 'notify'")
            .notes()
            .is_empty()
    );
    assert_eq!(config("rules = [{ ttl = '1h' }]").notes().len(), 1);
}

#[test]
fn a_feed_needs_a_user_and_one_mind() {
    let feed = "enabled = true\ninvalidation = 'notify'\n";
    let needs = "[pools.a.cache]\nenabled = true\ninvalidation = 'notify'";
    one_mistake(needs, "3: pools.a.cache.invalidation:", "set feed_user");
    let short = format!("[pools.a]\nuser = 'u'\n[pools.a.cache]\n{feed}feed_max_lag = '50ms'");
    one_mistake(&short, "6: pools.a.cache.feed_max_lag:", "at least 100ms");
    let long = format!("[pools.a]\nuser = 'u'\n[pools.a.cache]\n{feed}feed_channel = ''");
    one_mistake(&long, "6: pools.a.cache.feed_channel:", "1 to 63 bytes");
    let two = format!(
        "[pools.a]\nuser = 'u'\n[pools.a.cache]\n{feed}[pools.b]\ndbname = 'a'\nuser = 'u'\n\
         [pools.b.cache]\n{feed}feed_max_lag = 5"
    );
    one_mistake(&two, "11: pools.b.cache.invalidation:", "pools.\"a\"");
    let config = right(&format!(
        "[users.f]\npassword = 'x'\n[pools.a.cache]\n{feed}feed_user = 'f'"
    ));
    let feed = &config.databases["a"].cache.feed;
    assert_eq!(feed.user.as_deref(), Some("f"));
    assert!(feed.password.is_some() && feed.channel == "pgweir_cache");
}

#[test]
fn the_shared_cache_is_checked_as_a_whole() {
    one_mistake(
        "[cache.shared]\nurl = 'x'",
        "1: cache.shared:",
        "url must be redis://",
    );
    let url = "[cache]\nshared = { url = 'redis://h:1/2', ";
    one_mistake(
        &format!("{url}max_lag = '1ms' }}"),
        "2: cache.shared:",
        "at least 100ms",
    );
    one_mistake(
        &format!("{url}timeout = 0 }}"),
        "2: cache.shared:",
        "timeout",
    );
    let short = format!("{url}member_timeout = '500ms' }}");
    one_mistake(&short, "2: cache.shared:", "at least max_lag");
    let config = right(&format!("{url}prefix = 'p' }}"));
    let shared = config.cache.shared.unwrap();
    assert_eq!((&*shared.url, &*shared.prefix), ("redis://h:1/2", "p"));
    assert!(
        !format!("{shared:?}").contains("h:1"),
        "it may have a password in it"
    );
}

#[test]
fn load_balancers_are_networks() {
    let config = right("[general]\nproxy_protocol = ['10.1.2.3/8', '::1']");
    let networks = config.listen.proxy_protocol.iter().map(ToString::to_string);
    assert_eq!(networks.collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
    for text in ["localhost", "10.0.0.0/33", "all"] {
        one_mistake(
            &format!("[general]\nproxy_protocol = ['{text}']"),
            "2: general.proxy_protocol: ",
            "is no network such as",
        );
    }
}
