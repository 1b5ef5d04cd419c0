//! The configuration as a whole: the example file, secrets, and no text that makes it panic.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::raw::{
    self, Auth, CacheLimits, ClientTls, General, Http, Log, PoolCache, PoolKeys, PoolOwn,
    ServerTls, User, fields,
};
use super::*;

const EXAMPLE: &str = include_str!("../../config.example.toml");

/// A machine that consists of what a test says.
#[derive(Default)]
pub(super) struct Fake {
    pub env: BTreeMap<&'static str, &'static str>,
    pub files: BTreeMap<&'static str, &'static str>,
    pub hosts: BTreeMap<&'static str, Vec<IpAddr>>,
}

impl Outside for Fake {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).map(|value| (*value).to_owned())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let path = path.to_str().expect("tests use UTF-8 paths");
        let text = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok((*text).to_owned())
    }

    fn check_readable(&self, path: &Path) -> io::Result<()> {
        self.read(path).map(drop)
    }

    fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let ips = self.hosts.get(host).ok_or(io::ErrorKind::NotFound)?;
        Ok(ips.clone())
    }

    fn cores(&self) -> usize {
        3
    }
}

pub(super) fn parse_on(text: &str, machine: &Fake) -> Result<Config, ConfigError> {
    Config::parse_with(text, Path::new("pgweir.toml"), machine)
}

pub(super) fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_on(text, &Fake::default())
}

/// Every mistake in a text, as it would be printed.
pub(super) fn mistakes(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => Vec::new(),
        Err(error) => error.all().map(ConfigError::to_string).collect(),
    }
}

/// A setting of the example file, in force or behind `#`.
struct Line {
    section: &'static str,
    key: &'static str,
    value: &'static str,
    in_force: bool,
    /// What the comment above says.
    default: Option<&'static str>,
}

fn example() -> Vec<Line> {
    let mut lines = Vec::new();
    let mut section = "";
    let mut default = None;
    for text in EXAMPLE.lines() {
        let code = text.strip_prefix('#').unwrap_or(text);
        if text.is_empty() {
            default = None;
        } else if let Some(value) = text.strip_prefix("# Default: ") {
            default = Some(value);
        } else if let Some(rest) = code.strip_prefix('[') {
            section = rest.strip_suffix(']').expect("a header ends in ]");
        } else if let Some((key, value)) = code.split_once(" = ").filter(|(k, _)| is_key(k)) {
            lines.push(Line {
                section,
                key,
                value,
                in_force: code.len() == text.len(),
                default,
            });
            default = None;
        }
    }
    lines
}

fn is_key(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether a value has no default of its own: those of pools and users, and a section in one line.
fn is_named(line: &Line) -> bool {
    let named = ["pools.", "users.", "applications.", "peers."];
    line.key == "shared" || named.iter().any(|name| line.section.starts_with(name))
}

#[test]
fn the_example_loads_as_it_is() {
    let config = parse(EXAMPLE).expect("the example is right");
    assert_eq!(config.listen.tcp, ["127.0.0.1:6432".parse().unwrap()]);
    let http = config.http.expect("the example has [http]");
    assert_eq!(http.listen, "127.0.0.1:9127".parse().unwrap());
    let fallback = config.fallback.expect("the example has a pool \"*\"");
    assert_eq!(fallback.host, Host::Tcp("127.0.0.1".to_owned()));
    assert_eq!(fallback.port, 5432);
    assert_eq!(fallback.timeouts.query, Duration::from_secs(30));
    assert!(config.users["app"].secret.is_some());
}

#[test]
fn the_example_has_every_key() {
    let lines = example();
    let keys = |section: &str| -> BTreeSet<&str> {
        let lines = lines.iter().filter(|line| line.section == section);
        lines.map(|line| line.key).collect()
    };
    let set =
        |lists: &[&[&'static str]]| -> BTreeSet<&str> { lists.concat().into_iter().collect() };
    let general = set(&[fields::<General>(), fields::<PoolKeys>()]);
    assert!(general.contains("listen_addr") && general.contains("query_timeout"));
    assert_eq!(keys("general"), general);
    assert_eq!(keys("log"), set(&[fields::<Log>()]));
    assert_eq!(keys("sentry"), set(&[fields::<raw::Sentry>()]));
    assert_eq!(keys("traces"), set(&[fields::<raw::Traces>()]));
    assert_eq!(keys("http"), set(&[fields::<Http>()]));
    assert_eq!(keys("client_tls"), set(&[fields::<ClientTls>()]));
    assert_eq!(keys("server_tls"), set(&[fields::<ServerTls>()]));
    assert_eq!(keys("auth"), set(&[fields::<Auth>()]));
    assert_eq!(keys("login"), set(&[fields::<raw::Login>()]));
    assert_eq!(
        keys("pools.app"),
        set(&[fields::<PoolOwn>(), fields::<PoolKeys>()])
    );
    assert_eq!(keys("cache"), set(&[fields::<CacheLimits>()]));
    assert_eq!(keys("pools.app.cache"), set(&[fields::<PoolCache>()]));
    assert_eq!(keys("pools.app.server_tls"), set(&[fields::<ServerTls>()]));
    assert_eq!(keys("users.app"), set(&[fields::<User>()]));
    assert_eq!(
        keys("applications.report"),
        set(&[fields::<raw::Application>()])
    );
    assert_eq!(keys("peers.2"), set(&[fields::<raw::Peer>()]));
}

#[test]
fn the_example_names_the_real_defaults() {
    let mut text = String::new();
    let mut section = "";
    for line in example().iter().filter(|line| !is_named(line)) {
        if line.section != section {
            section = line.section;
            text.push_str(&format!("[{section}]\n"));
        }
        let default = line.default.unwrap_or_else(|| panic!("{}", line.key));
        text.push_str(&format!("{} = {default}\n", line.key));
    }
    text.push_str("[pools.\"*\"]\n");
    let stated = parse(&text).expect("the stated defaults are right");
    let real = parse("[http]\n[pools.\"*\"]").expect("defaults are right");
    assert_eq!(stated.settings(), real.settings());
}

#[test]
fn the_example_departs_from_the_defaults_only_in_query_timeout() {
    let lines = example();
    let departing: Vec<&str> = lines
        .iter()
        .filter(|line| !is_named(line) && line.default != Some(line.value))
        .map(|line| line.key)
        .collect();
    assert_eq!(departing, ["query_timeout"]);
    assert!(lines.iter().any(|line| line.in_force));
}

#[test]
fn the_example_is_right_with_every_setting_in_force() {
    let text: Vec<&str> = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(code) if !code.is_empty() && !code.starts_with(' ') => code,
            _ => line,
        })
        .collect();
    // A pool's password comes from one place.
    let with = |place: &[&str]| {
        let places = [
            "password",
            "password_command",
            "password_file",
            "password_refresh",
        ];
        let is_other = |line: &&str| {
            let key = line.split(" = ").next().unwrap_or_default();
            // One of the two says where the servers are.
            if key == "hosts" {
                return true;
            }
            places.contains(&key) && !place.contains(&key) && !line.contains("change-me")
        };
        let lines: Vec<&str> = text
            .iter()
            .copied()
            .filter(|line| !is_other(line))
            .collect();
        lines.join("\n")
    };
    let mut machine = Fake::default();
    for path in [
        "/run/secrets/app",
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pgweir/client.key",
        "/etc/pgweir/client.crt",
    ] {
        machine.files.insert(path, "text");
    }
    for place in [
        &["password"][..],
        &["password_command", "password_refresh"],
        &["password_file"],
    ] {
        let config = parse_on(&with(place), &machine).expect("every line is right");
        let app = &config.databases["app"];
        assert_eq!(app.server_tls.mode, SslMode::VerifyFull);
        assert_eq!(config.users["app"].max_user_connections, 30);
        assert_eq!(app.password.is_some(), place == ["password"]);
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("no/such/pgweir.toml")).unwrap_err();
    assert_eq!(error.line, None);
    let text = error.to_string();
    assert!(
        text.starts_with("no/such/pgweir.toml: cannot read the configuration file: "),
        "{text}"
    );
}

#[test]
fn load_reads_a_real_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    let config = Config::load(&path).expect("the example loads");
    assert_eq!(config.path, path);
    assert!(config.workers >= 1);
}

#[test]
fn debug_output_shows_no_password() {
    let text = "[pools.a]\nuser = 'u'\npassword = 'hunter2'\n[users.u]\npassword = 'hunter3'\n\
                [auth]\nldap_options = 'ldapserver=a ldapbasedn=b ldapbindpasswd=hunter4'";
    let config = parse(text).expect("the text is right");
    assert!(!format!("{config:?}").contains("hunter"));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        drop(Config::parse(&text, Path::new("x")));
    }

    /// Values of every type, at keys that exist: right or one-line errors.
    #[test]
    fn no_value_panics(
        at in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![
            "0", "-1", "1", "65536", "9223372036854775807", "18446744073709551615", "0.5", "-0.0",
            "nan", "inf", "1e300", "true", "''", "'*'", "'0s'", "'9e9h'", "'99999999999999999999d'",
            "'1.5.2m'", "'/'", "'::1'", "'0777'", "'٣s'", "[]", "['']", "[1]", "{}", "{ env = 1 }",
            "{ env = 'HOME' }", "{ a = { b = 1 } }", "1979-05-27", "07:32:00", "'\u{0}'",
        ]),
    ) {
        let lines = example();
        let line = at.get(&lines);
        let text = format!("[pools.\"*\"]\n[{}]\n{} = {value}\n", line.section, line.key);
        // With [pools."*"] opened twice it is a syntax error, which has a line too.
        if let Err(error) = Config::parse(&text, Path::new("x")) {
            for error in error.all() {
                prop_assert!(error.line.is_some(), "{error}");
                prop_assert!(!error.to_string().contains('\n'), "{error}");
            }
        }
    }
}
