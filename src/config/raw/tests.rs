use crate::config::tests::{mistakes, parse};

/// The mistakes in a text that has a pool, so that only what is tested is wrong.
fn wrong(text: &str) -> Vec<String> {
    mistakes(&format!("{text}\n[pools.\"*\"]\n"))
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_key() {
    assert_eq!(
        wrong("[general]\nlisten_port = 1\n\nquery_timout = 5"),
        ["pgweir.toml:4: general.query_timout: unknown key; did you mean query_timeout?"]
    );
    assert_eq!(
        wrong("[pools.app]\npol_size = 1"),
        ["pgweir.toml:2: pools.app.pol_size: unknown key; did you mean pool_size?"]
    );
    assert_eq!(
        wrong("[pools.app.server_tls]\nssl_mode = 'prefer'"),
        ["pgweir.toml:2: pools.app.server_tls.ssl_mode: unknown key; did you mean sslmode?"]
    );
    assert_eq!(
        wrong("[genral]"),
        ["pgweir.toml:1: genral: unknown section; did you mean general?"]
    );
}

#[test]
fn a_key_in_the_wrong_section_is_sent_to_the_right_one() {
    assert_eq!(
        wrong("listen_port = 6432"),
        ["pgweir.toml:1: listen_port: unknown section; listen_port belongs in [general]"]
    );
    assert_eq!(
        wrong("[pools.app]\nmax_user_connections = 1"),
        [
            "pgweir.toml:2: pools.app.max_user_connections: unknown key; max_user_connections \
          belongs in [general] or [users.NAME]"
        ]
    );
    assert_eq!(
        wrong("[general]\nhost = 'db'"),
        ["pgweir.toml:2: general.host: unknown key; host belongs in [pools.NAME] or [peers.NAME]"]
    );
}

#[test]
fn pgbouncer_spellings_are_recognised() {
    assert_eq!(
        wrong("[general]\nauth_type = 'md5'\nclient_tls_sslmode = 'allow'"),
        [
            "pgweir.toml:2: general.auth_type: unknown key; here it is type in [auth]",
            "pgweir.toml:3: general.client_tls_sslmode: unknown key; here it is sslmode in \
             [client_tls]",
        ]
    );
}

#[test]
fn a_key_like_no_other_is_answered_with_all() {
    assert_eq!(
        wrong("[http]\ncolour = true"),
        [
            "pgweir.toml:2: http.colour: unknown key; known here: listen, password, admin_password, names, ready_without_servers"
        ]
    );
}

#[test]
fn every_wrong_value_is_found_in_one_reading() {
    let text = "[users.u]\npool_size = -1\n[general]\nlisten_port = 70000\nworkers = 'many'\n\
                tcp_keepalive = 1\n[pools.app]\npool_mode = 'fast'";
    let found = wrong(text);
    let starts = [
        "pgweir.toml:2: users.u.pool_size: invalid value: integer `-1`, expected a whole number",
        "pgweir.toml:4: general.listen_port: invalid value: integer `70000`, expected a port number",
        "pgweir.toml:5: general.workers: invalid value: string \"many\", expected a whole number",
        "pgweir.toml:6: general.tcp_keepalive: invalid type: integer `1`, expected a boolean",
        "pgweir.toml:8: pools.app.pool_mode: invalid value: string \"fast\", expected one of",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}");
    }
}

#[test]
fn what_should_be_a_section_must_be_one() {
    assert_eq!(
        mistakes("log = 1\npools = { app = 5, \"*\" = {} }"),
        [
            "pgweir.toml:1: log: this must be a section, [log]",
            "pgweir.toml:2: pools.app: this must be a section, [pools.app]",
        ]
    );
}

#[test]
fn a_syntax_error_has_its_line() {
    let found = mistakes("[general]\nlisten_port 5\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("pgweir.toml:2: "), "{found:?}");
    let found = mistakes("[general]\nworkers = 1\nworkers = 2\n");
    assert!(
        found[0].starts_with("pgweir.toml:3: duplicate key"),
        "{found:?}"
    );
}

#[test]
fn a_password_is_never_repeated() {
    for value in [
        "12345678901",
        "12345678901.5",
        "18446744073709551615",
        "{ evn = '12345678901' }",
        "{ env = 'X', file = '12345678901' }",
        "['12345678901']",
    ] {
        let found = wrong(&format!("[users.u]\npassword = {value}"));
        assert_eq!(found.len(), 1, "{value}");
        assert!(
            found[0].starts_with("pgweir.toml:2: users.u.password: "),
            "{found:?}"
        );
        let leaks = found[0].contains("12345678901") || found[0].contains("18446744073709551615");
        assert!(!leaks, "{found:?}");
    }
}

#[test]
fn dotted_keys_and_inline_tables_are_the_same_to_us() {
    let text = "general.listen_port = 1\npools.app = { port = 2, server_tls.sslmode = 'require' }";
    let config = parse(text).expect("the text is right");
    assert_eq!(config.listen.port, 1);
    assert_eq!(config.databases["app"].port, 2);
}
