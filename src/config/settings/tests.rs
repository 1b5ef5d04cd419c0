use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::config::raw::{
    Auth, CacheLimits, ClientTls, General, Http, Log, Login, PoolCache, PoolKeys, PoolOwn, Sentry,
    ServerTls, Traces, User as RawUser, fields,
};
use crate::config::reload::{ReloadReport, diff};
use crate::config::tests::{Fake, parse, parse_on};

fn shown(text: &str) -> BTreeMap<String, Setting> {
    let settings = parse(text).expect("the text is right").settings();
    let count = settings.len();
    let by_key: BTreeMap<_, _> = settings.into_iter().map(|s| (s.key.clone(), s)).collect();
    assert_eq!(by_key.len(), count, "each key is shown once");
    by_key
}

#[test]
fn every_key_of_the_file_is_in_the_tables() {
    let table: BTreeSet<String> = keys()
        .map(Key::shown)
        .chain(POOL_KEYS.iter().map(PoolKey::shown))
        .collect();
    let file: BTreeSet<String> = [
        ("general", fields::<General>()),
        ("general", fields::<PoolKeys>()),
        ("log", fields::<Log>()),
        ("sentry", fields::<Sentry>()),
        ("traces", fields::<Traces>()),
        ("http", fields::<Http>()),
        ("client_tls", fields::<ClientTls>()),
        ("server_tls", fields::<ServerTls>()),
        ("auth", fields::<Auth>()),
        ("login", fields::<Login>()),
        ("cache", fields::<CacheLimits>()),
    ]
    .iter()
    .flat_map(|(section, names)| names.iter().map(|name| (*section, *name)))
    .filter(|(section, name)| *section != "http" || !name.ends_with("password"))
    .map(|(section, name)| super::shown(section, name))
    .collect();
    assert_eq!(table, file);

    fn without_password(names: &[&'static str]) -> BTreeSet<&'static str> {
        let names = names.iter().copied();
        names.filter(|name| !name.ends_with("password")).collect()
    }
    let users: BTreeSet<&str> = USER_KEYS.iter().map(|key| key.name).collect();
    assert_eq!(users, without_password(fields::<RawUser>()));
    let (cache, own): (Vec<&str>, Vec<&str>) = POOL_OWN_KEYS
        .iter()
        .map(|key| key.name)
        .partition(|name| name.starts_with("cache."));
    let cache: BTreeSet<&str> = cache
        .iter()
        .filter_map(|n| n.strip_prefix("cache."))
        .collect();
    assert_eq!(cache, without_password(fields::<PoolCache>()));
    let mut pools: BTreeSet<&str> = own.into_iter().collect();
    pools.insert("pool_size"); // among POOL_KEYS, as default_pool_size
    assert_eq!(pools, without_password(fields::<PoolOwn>()));
}

#[test]
fn defaults_are_shown_in_the_units_of_pgbouncer() {
    let shown = shown("[pools.\"*\"]");
    for (key, default) in [
        ("listen_addr", "127.0.0.1"),
        ("unix_socket_mode", "0777"),
        ("max_packet_size", "2147483647"),
        ("max_client_memory", "268435456"),
        ("pool_mode", "transaction"),
        ("default_pool_size", "20"),
        ("server_lifetime", "3600"),
        ("server_round_robin", "0"),
        ("auth_type", "scram-sha-256"),
        ("auth_query", ""),
        ("log_connections", "1"),
        ("client_tls_sslmode", "disable"),
        ("server_tls_sslmode", "prefer"),
    ] {
        assert_eq!(shown[key].default, default, "{key}");
        assert_eq!(shown[key].value, default, "{key}");
    }
}

#[test]
fn values_of_the_file_are_shown_beside_the_defaults() {
    let shown = shown(
        "[general]\nlisten_addr = '*'\nquery_timeout = 1.5\ntcp_user_timeout = '2s'\n\
         default_pool_size = 7\nmax_user_connections = 8\n[http]\n[pools.\"*\"]\npool_size = 9",
    );
    assert_eq!(shown["listen_addr"].value, "0.0.0.0,::");
    assert_eq!(shown["query_timeout"].value, "1.5");
    assert_eq!(shown["query_timeout"].default, "0");
    assert_eq!(shown["tcp_user_timeout"].value, "2000");
    assert_eq!(shown["default_pool_size"].value, "7");
    assert_eq!(shown["max_user_connections"].value, "8");
    assert_eq!(shown["http_listen"].value, "127.0.0.1:9127");
    assert_eq!(shown["http_listen"].default, "");
    assert!(!shown["http_listen"].changeable && shown["query_timeout"].changeable);
}

#[test]
fn no_password_is_shown() {
    let config = parse(
        "[pools.a]\nuser = 'u'\npassword = 'hunter2'\n[users.u]\npassword = 'hunter3'\n\
         [auth]\nquery = 'select $1'\nuser = 'u'\n\
         ldap_options = 'ldapserver=a ldapbasedn=b ldapbindpasswd=hunter4'\n\
         [http]\npassword = 'hunter5'\nadmin_password = 'hunter6'",
    )
    .expect("the text is right");
    assert!(!format!("{:?}", config.settings()).contains("hunter"));
}

/// A file as section, key and value.
type Text<'a> = BTreeMap<(&'a str, &'a str), &'a str>;

fn read(text: &Text<'_>) -> Option<Config> {
    let mut lines = String::from("[http]\n");
    let mut open = "http";
    for ((section, key), value) in text {
        if *section != open {
            lines.push_str(&format!("[{section}]\n"));
            open = section;
        }
        lines.push_str(&format!("{key} = {value}\n"));
    }
    let mut machine = Fake::default();
    for file in ["x", "key", "cert", "ca"] {
        machine.files.insert(file, "text");
    }
    parse_on(&lines, &machine).ok()
}

/// Values that make some key differ from its default; each key takes the first that is right.
const VALUES: &[&str] = &[
    "7",
    "true",
    "false",
    "'7MB'",
    "'0700'",
    "'statement'",
    "'reject'",
    "'require'",
    "'md5'",
    "'warn'",
    "'127.0.0.7'",
    "'127.0.0.1:7'",
    "'x'",
    "'x $1'",
    "['tlsv1.3']",
    "'pgbouncer'",
    "'local7'",
    "'disable'",
    "'primary'",
    "'any'",
    "[{ host = 'x' }]",
    "'AES256'",
    "'TLS_AES_128_GCM_SHA256'",
    "'X25519'",
    "'ldapserver=x ldapprefix=y'",
    "'user'",
    "'refuse'",
    "'background'",
    "'pin'",
    "'auto'",
    "'application'",
];

#[test]
fn every_key_sets_its_own_setting_and_no_other() {
    let base = Text::from([
        (("auth", "query"), "'$1'"),
        (("auth", "user"), "'u'"),
        (("client_tls", "ca_file"), "'ca'"),
        (("client_tls", "cert_file"), "'cert'"),
        (("client_tls", "key_file"), "'key'"),
        (("server_tls", "ca_file"), "'ca'"),
        (("server_tls", "cert_file"), "'cert'"),
        (("server_tls", "key_file"), "'key'"),
        (("pools.a", "user"), "'forced'"),
        (("pools.a", "password"), "'secret'"),
        // Reads can go elsewhere only from there.
        (("pools.a", "target"), "'primary'"),
        (("pools.x", "port"), "1"),
        (("users.u", "password"), "'secret'"),
        (("users.u", "max_queries_per_second"), "9"),
        (("users.x", "password"), "'secret'"),
    ]);
    let old = read(&base).expect("the base is right");
    let mut tried = 0;
    for (section, keys) in [
        ("general", fields::<General>()),
        ("general", fields::<PoolKeys>()),
        ("log", fields::<Log>()),
        ("client_tls", fields::<ClientTls>()),
        ("server_tls", fields::<ServerTls>()),
        ("auth", fields::<Auth>()),
        ("login", fields::<Login>()),
        ("pools.a", fields::<PoolOwn>()),
        ("pools.a", fields::<PoolKeys>()),
        ("pools.a.server_tls", fields::<ServerTls>()),
        ("users.u", fields::<RawUser>()),
    ] {
        let apart = |key: &&&str| key.starts_with("password_");
        for key in keys.iter().filter(|key| !apart(key)) {
            let report = VALUES.iter().find_map(|value| {
                let mut text = base.clone();
                text.insert((section, key), value);
                let report = diff(&old, &read(&text)?);
                (report != ReloadReport::default()).then_some(report)
            });
            let report = report.unwrap_or_else(|| panic!("nothing changes {section}.{key}"));
            let changed = [report.applied, report.needs_restart].concat();
            assert_eq!(changed, [format!("{section}.{key}")]);
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
}

/// Those stand for a password, so they cannot be beside the one of the other test.
#[test]
fn where_a_password_comes_from_is_a_setting() {
    let with = |lines: &str| {
        let mut machine = Fake::default();
        for file in ["x", "y"] {
            machine.files.insert(file, "text");
        }
        let text = format!("[pools.a]\nuser = 'u'\n{lines}");
        parse_on(&text, &machine).expect("the text is right")
    };
    let changed = |from: &str, to: &str| diff(&with(from), &with(to)).applied;
    let command = "password_command = ['a', 'b']\n";
    assert_eq!(changed(command, command), [""; 0]);
    assert_eq!(
        changed(command, "password_command = ['a', 'c']"),
        ["pools.a.password_command"]
    );
    assert_eq!(
        changed(command, &format!("{command}password_refresh = 1")),
        ["pools.a.password_refresh"]
    );
    assert_eq!(
        changed("password_file = 'x'", "password_file = 'y'"),
        ["pools.a.password_file"]
    );
}
