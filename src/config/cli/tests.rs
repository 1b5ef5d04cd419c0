use clap::error::ErrorKind;

use super::*;

fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from([&["pgweir"], args].concat())
}

#[test]
fn a_configuration_file_is_all_it_needs() {
    let cli = parse(&["a.toml"]).unwrap();
    assert_eq!(cli.config, Some(PathBuf::from("a.toml")));
    assert!(!cli.check && !cli.quiet);
    assert_eq!(cli.log_filter("warn"), "warn");
    let missing = parse(&[]).unwrap_err().kind();
    assert_eq!(missing, ErrorKind::MissingRequiredArgument);
}

#[test]
fn verbosity_goes_before_the_file() {
    let filter = |args| parse(args).unwrap().log_filter("warn").to_owned();
    assert_eq!(filter(&["-v", "a.toml"]), "debug");
    assert_eq!(filter(&["-vv", "a.toml"]), "trace");
    assert_eq!(filter(&["a.toml", "--quiet"]), "warn");
    let both = parse(&["-q", "-v", "a.toml"]).unwrap_err().kind();
    assert_eq!(both, ErrorKind::ArgumentConflict);
}

#[test]
fn pgbouncers_flags_mean_what_they_mean_there() {
    let cli = parse(&["-d", "-q", "-u", "postgres", "pgbouncer.ini"]).unwrap();
    assert!(cli.daemon && cli.quiet);
    assert_eq!(cli.user.as_deref(), Some("postgres"));
    let cli = parse(&["convert", "pgbouncer.ini"]).unwrap();
    let file = PathBuf::from("pgbouncer.ini");
    assert_eq!(cli.command, Some(Command::Convert { file }));
}

#[test]
fn check_is_asked_for() {
    assert!(parse(&["--check", "a.toml"]).unwrap().check);
}

#[test]
fn sql_is_printed_without_a_configuration() {
    let cli = parse(&[
        "cache",
        "install-triggers",
        "--table",
        "s.t",
        "--channel",
        "x",
    ])
    .unwrap();
    let Some(Command::Cache(command)) = cli.command else {
        panic!("{cli:?}");
    };
    let sql = command.sql();
    assert!(sql.contains("pg_notify('x'") && sql.contains("n.nspname = 's'"));
    let both = parse(&["a.toml", "cache", "remove"]).unwrap_err().kind();
    assert_eq!(both, ErrorKind::ArgumentConflict);
    // A file of that name can still be given.
    let cli = parse(&["./cache"]).unwrap();
    assert_eq!(cli.config, Some(PathBuf::from("./cache")));
}

#[test]
fn the_version_is_one_line_as_in_pgbouncer() {
    for flag in ["--version", "-V"] {
        let shown = parse(&[flag]).unwrap_err();
        assert_eq!(shown.kind(), ErrorKind::DisplayVersion);
        let expected = format!("pgweir {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(shown.to_string(), expected);
    }
}

#[test]
fn the_definition_is_sound() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

#[test]
fn health_is_asked_for_without_a_configuration() {
    let cli = parse(&["health"]).unwrap();
    let url = "http://127.0.0.1:9127/healthz".to_owned();
    assert_eq!(cli.command, Some(Command::Health { url, timeout: 3 }));
    assert!(parse(&["health", "--timeout", "0"]).is_err());
}
