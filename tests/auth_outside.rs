//! Passwords that others judge. With the features `ldap` and `pam`: a real directory, and the
//! system's own PAM. Without one: what pgweir says then.

mod support;

use std::process::Command;

use support::ini::Ini;
use support::operate::text;

/// What keeps it from starting.
#[allow(dead_code)] // There is nothing to refuse with all features.
fn complaint(ini: &Ini) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgweir"));
    let output = command
        .arg("--check")
        .arg(ini.file("pgbouncer.ini"))
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
    text(&output.stderr)
}

#[cfg(not(feature = "ldap"))]
#[test]
fn without_ldap_it_says_how_to_get_it() {
    let lines = "auth_type = ldap\nauth_ldap_options = ldapserver=a ldapprefix=b\n";
    let ini = Ini::stopped(1, lines, "");
    let said = complaint(&ini);
    assert!(said.contains("pgbouncer.ini:12: auth.type:"), "{said}");
    assert!(
        said.contains("cargo build --release --features ldap"),
        "{said}"
    );
    // No rule is left out because of it: what comes behind it may be less strict.
    let dir = ini.scratch.0.display();
    std::fs::write(
        ini.file("hba"),
        "host all all all ldap ldapserver=a ldapprefix=b\nhost all all all trust\n",
    )
    .unwrap();
    ini.write(
        1,
        &format!("auth_type = hba\nauth_hba_file = {dir}/hba\n"),
        "",
    );
    let said = complaint(&ini);
    assert!(
        said.contains("hba_file") && said.contains("--features ldap"),
        "{said}"
    );
}

#[cfg(not(feature = "pam"))]
#[test]
fn without_pam_it_says_how_to_get_it() {
    let ini = Ini::stopped(1, "auth_type = pam\n", "");
    let said = complaint(&ini);
    assert!(said.contains("pgbouncer.ini:12: auth.type:"), "{said}");
    assert!(
        said.contains("cargo build --release --features pam"),
        "{said}"
    );
}

#[cfg(feature = "ldap")]
mod ldap {
    use super::*;
    use std::net::TcpListener;
    use std::time::{Duration, Instant};
    use support::Postgres;
    use support::login::psql;
    use support::slapd::Slapd;

    /// A server that wants to see amy's password of the directory.
    fn postgres() -> Postgres {
        Postgres::with_hba(
            "host all amy 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n",
            &[
                "CREATE ROLE amy LOGIN PASSWORD 'of amy'",
                "CREATE ROLE bob LOGIN",
                "CREATE ROLE cat LOGIN",
            ],
        )
    }

    fn start(postgres: &Postgres, options: &str) -> Ini {
        let lines = format!("auth_type = ldap\nauth_ldap_options = {options}\n");
        Ini::start(postgres.port, &lines, "")
    }

    fn log_in(port: u16, user: &str, password: &str) -> Result<String, String> {
        let target =
            format!("host=127.0.0.1 port={port} dbname=postgres user={user} password='{password}'");
        psql(&target, "SELECT current_user")
    }

    fn assert_refused(outcome: Result<String, String>, user: &str) {
        let said = outcome.unwrap_err();
        let expected = format!("LDAP authentication failed for user \"{user}\"");
        assert!(said.contains(&expected), "{said}");
    }

    /// It is in no log.
    fn assert_discreet(ini: &Ini) {
        let log = ini.log();
        for secret in ["of amy", "of bob", "of the reader", "wrong"] {
            assert!(!log.contains(secret), "{secret}: {log}");
        }
    }

    #[test]
    fn the_entrys_name_may_be_made_of_the_users() {
        let (slapd, postgres) = (Slapd::start(), postgres());
        let options = format!(
            "ldapserver=127.0.0.1 ldapport={} ldapprefix=\"uid=\" ldapsuffix=\",ou=people,dc=weir,dc=test\"",
            slapd.port
        );
        let ini = start(&postgres, &options);
        // The server gets the same password.
        assert_eq!(log_in(ini.port, "amy", "of amy").unwrap(), "amy");
        assert_refused(log_in(ini.port, "amy", "wrong"), "amy");
        assert_refused(log_in(ini.port, "amy", "of bob"), "amy");
        let said = log_in(ini.port, "amy", "").unwrap_err();
        assert!(
            said.contains("no password supplied") || said.contains("empty password"),
            "{said}"
        );
        // Who is in the directory, but not in the list, is not let in.
        assert_refused(log_in(ini.port, "bob", "of bob"), "bob");
        assert_discreet(&ini);
    }

    #[test]
    fn the_entry_may_be_searched_for() {
        let (slapd, postgres) = (Slapd::start(), postgres());
        let place = format!(
            "ldapserver=127.0.0.1 ldapport={} ldapbasedn=\"dc=weir,dc=test\"",
            slapd.port
        );
        let reader = "ldapbinddn=\"cn=reader,dc=weir,dc=test\" ldapbindpasswd=\"of the reader\"";
        let ini = start(&postgres, &format!("{place} {reader}"));
        assert_eq!(log_in(ini.port, "amy", "of amy").unwrap(), "amy");
        assert_refused(log_in(ini.port, "amy", "wrong"), "amy");
        assert_refused(log_in(ini.port, "cat", "of cat"), "cat");
        assert_discreet(&ini);
        // The console does not show the reader's password either; by the Unix socket we are let in.
        let shown = ini.psql("pgbouncer", "pgbouncer", "SHOW CONFIG");
        let shown = text(&shown.stdout);
        assert!(
            shown.contains("ldapbindpasswd=***") && !shown.contains("of the reader"),
            "{shown}"
        );

        let filter = "ldapsearchfilter=\"(|(uid=$username)(mail=$username@weir.test))\"";
        let by_filter = start(&postgres, &format!("{place} {reader} {filter}"));
        assert_eq!(log_in(by_filter.port, "amy", "of amy").unwrap(), "amy");
        // Two entries are nobody.
        let several = start(
            &postgres,
            &format!("{place} {reader} ldapsearchfilter=(description=team)"),
        );
        assert_refused(log_in(several.port, "amy", "of amy"), "amy");
        // A name that means something in a filter would find somebody.
        let lines = format!("auth_type = ldap\nauth_ldap_options = {place} {reader}\n");
        let list = "\"a*\" \"\"\n";
        let mut odd = Ini::stopped(postgres.port, &lines, "");
        std::fs::write(odd.file("userlist.txt"), list).unwrap();
        odd.run();
        assert_refused(log_in(odd.port, "a*", "of amy"), "a*");
        // The reader's own password is wrong: nobody is let in, and the log says why.
        let wrong = start(
            &postgres,
            &format!("{place} ldapbinddn=\"cn=reader,dc=weir,dc=test\" ldapbindpasswd=wrong"),
        );
        assert_refused(log_in(wrong.port, "amy", "of amy"), "amy");
        let log = wrong.log();
        assert!(
            log.contains("LDAP authentication is out of order: bind as ldapbinddn: result code 49"),
            "{log}"
        );
    }

    #[test]
    fn a_url_says_it_all_and_users_may_be_looked_up() {
        let (slapd, postgres) = (Slapd::start(), postgres());
        // Who is not in the list may be in the database.
        let lines = format!(
            "auth_type = ldap\nauth_user = postgres\n\
             auth_query = SELECT rolname, coalesce(rolpassword, 'none') FROM pg_authid WHERE rolname = $1\n\
             auth_ldap_options = ldapurl=\"ldap://127.0.0.1:{}/ou=people,dc=weir,dc=test?uid?sub\" \
             ldapbinddn=\"cn=reader,dc=weir,dc=test\" ldapbindpasswd=\"of the reader\"\n",
            slapd.port
        );
        let ini = Ini::start(postgres.port, &lines, "");
        assert_eq!(log_in(ini.port, "bob", "of bob").unwrap(), "bob");
        assert_refused(log_in(ini.port, "bob", "wrong"), "bob");
        assert_discreet(&ini);
    }

    #[test]
    fn tls_is_checked() {
        let (slapd, postgres) = (Slapd::start(), postgres());
        let rest = "ldapprefix=\"uid=\" ldapsuffix=\",ou=people,dc=weir,dc=test\"";
        let with = |options: String, ca: &str| {
            let lines = format!("auth_type = ldap\nauth_ldap_options = {options} {rest}\n");
            let mut ini = Ini::stopped(postgres.port, &lines, "");
            let ca = slapd.scratch.0.join(ca);
            ini.run_with(&[("SSL_CERT_FILE", ca.to_str().unwrap())]);
            ini
        };
        let start_tls = format!("ldapserver=localhost ldapport={} ldaptls=1", slapd.port);
        let ldaps = format!(
            "ldapserver=localhost ldapport={} ldapscheme=ldaps",
            slapd.tls_port
        );
        for options in [start_tls, ldaps] {
            let ini = with(options.clone(), "ca.crt");
            assert_eq!(
                log_in(ini.port, "amy", "of amy").unwrap(),
                "amy",
                "{options}: {}",
                ini.log()
            );
            assert_refused(log_in(ini.port, "amy", "wrong"), "amy");
            // A directory that is somebody else's is told nothing.
            let ini = with(options, "other.crt");
            assert_refused(log_in(ini.port, "amy", "of amy"), "amy");
            assert!(
                ini.log().contains("LDAP authentication is out of order"),
                "{}",
                ini.log()
            );
        }
    }

    #[test]
    fn a_rule_may_ask_a_directory() {
        let (slapd, postgres) = (Slapd::start(), postgres());
        let rules = format!(
            "host all postgres all trust\n\
             host all all all ldap ldapserver=127.0.0.1 ldapport={} ldapprefix=\"uid=\" \
             ldapsuffix=\",ou=people,dc=weir,dc=test\" # comment\n",
            slapd.port
        );
        let mut ini = Ini::stopped(postgres.port, "", "");
        std::fs::write(ini.file("hba"), rules).unwrap();
        let dir = ini.scratch.0.display();
        ini.write(
            postgres.port,
            &format!("auth_type = hba\nauth_hba_file = {dir}/hba\n"),
            "",
        );
        ini.run();
        assert_eq!(log_in(ini.port, "amy", "of amy").unwrap(), "amy");
        assert_refused(log_in(ini.port, "amy", "wrong"), "amy");
        assert_eq!(log_in(ini.port, "postgres", "").unwrap(), "postgres");
    }

    #[test]
    fn a_directory_that_is_not_there_lets_nobody_in_and_one_that_is_silent_has_its_time() {
        let (slapd, postgres) = (Slapd::start(), postgres());
        let gone = support::free_port();
        let rest = "ldapprefix=\"uid=\" ldapsuffix=\",ou=people,dc=weir,dc=test\"";
        let ini = start(
            &postgres,
            &format!("ldapserver=127.0.0.1 ldapport={gone} {rest}"),
        );
        assert_refused(log_in(ini.port, "amy", "of amy"), "amy");
        let log = ini.log();
        let line = log
            .lines()
            .find(|l| l.contains("LDAP authentication is out of order"));
        let line = line.unwrap_or_else(|| panic!("{log}"));
        assert!(
            line.contains("/amy@127.0.0.1:"),
            "whose login it was: {line}"
        );
        // The next server has it: on this port nobody listens at 127.0.0.2.
        let both = format!(
            "ldapserver=\"127.0.0.2 127.0.0.1\" ldapport={} {rest}",
            slapd.port
        );
        let ini = start(&postgres, &both);
        assert_eq!(log_in(ini.port, "amy", "of amy").unwrap(), "amy");

        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let lines = format!(
            "client_login_timeout = 1\nauth_type = ldap\n\
             auth_ldap_options = ldapserver=127.0.0.1 ldapport={port} {rest}\n"
        );
        let ini = Ini::start(postgres.port, &lines, "");
        let began = Instant::now();
        let said = log_in(ini.port, "amy", "of amy").unwrap_err();
        assert!(said.contains("client_login_timeout"), "{said}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

#[cfg(feature = "pam")]
mod pam {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};
    use support::login::psql;
    use support::{Pgweir, Postgres, Scratch};

    /// A service of the system's, which goes with the test.
    struct Service {
        name: String,
        file: PathBuf,
        scratch: Scratch,
    }

    impl Service {
        /// `rules` as in pam.d(5); `CHECK` there is a program that knows amy's password, and who may
        /// come from where. `None`, with the reason printed, for who may not make services.
        fn new(what: &str, rules: &str) -> Option<Service> {
            let name = format!("pgweir-test-{what}-{}", std::process::id());
            let file = PathBuf::from("/etc/pam.d").join(&name);
            let scratch = Scratch::new("pam");
            let check = scratch.0.join("check");
            std::fs::write(
                &check,
                "#!/bin/sh\npassword=$(tr -d '\\0')\n\
                 [ \"$PAM_USER $password $PAM_RHOST\" = 'amy of amy 127.0.0.1' ]\n",
            )
            .unwrap();
            std::fs::set_permissions(&check, std::fs::Permissions::from_mode(0o755)).unwrap();
            let rules = rules.replace("CHECK", check.to_str().unwrap());
            if let Err(error) = std::fs::write(&file, rules) {
                eprintln!(
                    "skipped: cannot write {} ({error}), so run it as root",
                    file.display()
                );
                return None;
            }
            Some(Service {
                name,
                file,
                scratch,
            })
        }
    }

    impl Drop for Service {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.file);
        }
    }

    fn postgres() -> Postgres {
        Postgres::with_hba(
            "host all amy 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n",
            &[
                "CREATE ROLE amy LOGIN PASSWORD 'of amy'",
                "CREATE ROLE bob LOGIN",
            ],
        )
    }

    fn start(postgres: &Postgres, service: &str, general: &str) -> Pgweir {
        Pgweir::with_config(&format!(
            "unix_socket_dir = \"\"\n{general}\n[auth]\ntype = \"pam\"\npam_service = \"{service}\"\n\
             allow_cleartext = true\n[pools.\"*\"]\nhost = \"127.0.0.1\"\nport = {}\n",
            postgres.port
        ))
    }

    fn log_in(weir: &Pgweir, user: &str, password: &str) -> Result<String, String> {
        let target = weir.conninfo(&format!("user={user} password='{password}'"));
        psql(&target, "SELECT current_user")
    }

    fn assert_refused(outcome: Result<String, String>, user: &str) {
        let said = outcome.unwrap_err();
        let expected = format!("PAM authentication failed for user \"{user}\"");
        assert!(said.contains(&expected), "{said}");
    }

    const EXEC: &str = "auth required pam_exec.so expose_authtok quiet CHECK\n";

    #[test]
    fn the_system_judges_name_password_and_address() {
        let rules = format!("{EXEC}account required pam_permit.so\n");
        let Some(service) = Service::new("exec", &rules) else {
            return;
        };
        let postgres = postgres();
        let weir = start(&postgres, &service.name, "");
        // It is in no list of ours, and the server gets the same password.
        assert_eq!(log_in(&weir, "amy", "of amy").unwrap(), "amy");
        assert_refused(log_in(&weir, "amy", "wrong"), "amy");
        assert_refused(log_in(&weir, "bob", "of amy"), "bob");
        let log = weir.log();
        assert!(!log.contains("of amy") && !log.contains("wrong"), "{log}");
    }

    #[test]
    fn an_account_that_may_not_be_used_is_refused() {
        let rules = format!("{EXEC}account required pam_deny.so\n");
        let Some(service) = Service::new("account", &rules) else {
            return;
        };
        let postgres = postgres();
        let weir = start(&postgres, &service.name, "");
        assert_refused(log_in(&weir, "amy", "of amy"), "amy");
    }

    #[test]
    fn a_service_that_cannot_work_lets_nobody_in() {
        let Some(service) = Service::new("broken", "auth required pam_nosuch.so\n") else {
            return;
        };
        let postgres = postgres();
        let weir = start(&postgres, &service.name, "");
        assert_refused(log_in(&weir, "amy", "of amy"), "amy");
    }

    /// While PAM takes its time others are served, and the client's own time ends.
    #[test]
    fn who_waits_for_pam_holds_nobody_up() {
        let rules =
            "auth required pam_exec.so quiet /bin/sleep 5\naccount required pam_permit.so\n";
        let Some(service) = Service::new("slow", rules) else {
            return;
        };
        let postgres = postgres();
        let general = "client_login_timeout = 1\nadmin_users = [\"bob\"]";
        let weir = Pgweir::with_config(&format!(
            "unix_socket_dir = \"\"\n{general}\n[auth]\ntype = \"hba\"\nhba_file = \"{}\"\n\
             pam_service = \"{}\"\nallow_cleartext = true\n[users.bob]\n[pools.\"*\"]\n\
             host = \"127.0.0.1\"\nport = {}\n",
            rules_file(&service).display(),
            service.name,
            postgres.port
        ));
        let began = Instant::now();
        let slow: Vec<_> = (0..4)
            .map(|_| {
                let target = weir.conninfo("user=amy password=x");
                std::thread::spawn(move || psql(&target, "SELECT 1"))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(log_in(&weir, "bob", "").unwrap(), "bob");
        assert!(began.elapsed() < Duration::from_secs(4));
        for slow in slow {
            let said = slow.join().unwrap().unwrap_err();
            assert!(said.contains("client_login_timeout"), "{said}");
        }
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    fn rules_file(service: &Service) -> PathBuf {
        let file = service.scratch.0.join("hba");
        std::fs::write(&file, "host all bob all trust\nhost all all all pam\n").unwrap();
        file
    }

    #[test]
    fn a_service_is_a_file_of_its_directory() {
        let scratch = Scratch::new("pamname");
        let config = scratch.0.join("pgweir.toml");
        let text = "[auth]\ntype = \"pam\"\npam_service = \"../shadow\"\n[pools.\"*\"]\nport = 1\n";
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgweir"));
        let output = command.arg("--check").arg(&config).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("pam_service"),
            "{said}"
        );
    }
}
