use proptest::prelude::*;

use super::*;

fn read(file: &str) -> Result<String, String> {
    match file {
        "users" => Ok("amy, bob\n\"cat\" # a comment\n".to_owned()),
        _ => Err("not there".to_owned()),
    }
}

fn hba(text: &str) -> Hba {
    let (hba, odd) = parse(text, &read);
    assert_eq!(odd, []);
    hba
}

fn tcp(from: &str, tls: bool) -> Way {
    let from = from.parse().unwrap();
    Way::Tcp { from, tls }
}

fn method(hba: &Hba, way: Way, database: &str, user: &str) -> Option<Method> {
    let asking = Asking {
        way,
        database,
        user,
        replication: false,
    };
    hba.rule(&asking).map(|rule| rule.method.clone())
}

#[test]
fn the_first_that_fits_decides() {
    let hba = hba(
        "# comment\n\nlocal all postgres peer map=os\nlocal all all md5\n\
         host \"all\",app amy 10.0.0.0/8 reject # why\nhost app all 10.1.2.3 255.255.255.255 trust\n\
         hostssl sameuser all ::1/128 cert\nhostnossl x @users all scram-sha-256\nhost x dan all password\n",
    );
    let v4 = |ip| tcp(ip, false);
    assert_eq!(method(&hba, Way::Unix, "x", "postgres"), Some(Method::Peer));
    assert_eq!(method(&hba, Way::Unix, "x", "amy"), Some(Method::Md5));
    assert_eq!(
        method(&hba, v4("10.1.2.3"), "app", "amy"),
        Some(Method::Reject)
    );
    assert_eq!(
        method(&hba, v4("10.1.2.3"), "all", "amy"),
        Some(Method::Reject)
    );
    assert_eq!(
        method(&hba, v4("10.1.2.3"), "app", "bob"),
        Some(Method::Trust)
    );
    assert_eq!(method(&hba, v4("10.1.2.4"), "app", "bob"), None);
    assert_eq!(
        method(&hba, tcp("::1", true), "amy", "amy"),
        Some(Method::Cert)
    );
    assert_eq!(method(&hba, tcp("::1", false), "amy", "amy"), None);
    for user in ["amy", "bob", "cat"] {
        assert_eq!(
            method(&hba, v4("9.9.9.9"), "x", user),
            Some(Method::ScramSha256)
        );
        assert_eq!(method(&hba, tcp("9.9.9.9", true), "x", user), None);
    }
    assert_eq!(
        method(&hba, tcp("9.9.9.9", true), "x", "dan"),
        Some(Method::Plain)
    );
    assert_eq!(hba.0[0].map.as_deref(), Some("os"));
}

#[test]
fn replication_is_asked_for_by_its_own_name() {
    let hba = hba("host all all all trust\nhost replication amy all md5\n");
    let asking = |user| Asking {
        way: tcp("1.1.1.1", false),
        database: "x",
        user,
        replication: true,
    };
    assert_eq!(
        hba.rule(&asking("amy")).map(|r| r.method.clone()),
        Some(Method::Md5)
    );
    assert_eq!(hba.rule(&asking("bob")), None);
}

#[test]
fn lines_that_cannot_be_read_are_left_out_and_told() {
    let text = "host all all 1.2.3.4/33 md5\nhost all all example.com md5\nlocal all all ldap\n\
                hostgssenc all all all md5\nhost all +admins all md5\nlocal samerole all md5\n\
                local all all md5 x=y\nlocal all all\nhost all all 1.2.3.4 md5\nlocal all @nowhere md5\n\
                host all all all peer\nhost all all all cert\nlocal all \"amy md5\nlocal all all trust\n";
    let (hba, odd) = parse(text, &read);
    let lines: Vec<usize> = odd.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, (1..=13).collect::<Vec<_>>());
    assert_eq!(hba.0.len(), 1);
}

#[test]
fn maps_say_who_may_be_whom() {
    let text = "# map system user\nos root postgres\nos amy all\n\nbad line\nre /^x$ y\n";
    let (maps, odd) = IdentMaps::parse(text);
    assert_eq!(
        odd.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
        [5, 6]
    );
    assert!(maps.allows(Some("os"), "root", "postgres"));
    assert!(!maps.allows(Some("os"), "root", "amy"));
    assert!(maps.allows(Some("os"), "amy", "anybody"));
    assert!(!maps.allows(Some("other"), "root", "postgres"));
    assert!(maps.allows(None, "bob", "bob") && !maps.allows(None, "root", "postgres"));
}

#[test]
fn methods_that_others_judge() {
    let text = "host all amy all ldap ldapserver=a ldapport=390, ldapprefix=\"uid=\" \"ldapsuffix=,dc=x\" # why\n\
                local all all pam\n";
    let hba = hba(text);
    let Some(Method::Ldap(options)) = method(&hba, tcp("::1", false), "x", "amy") else {
        panic!("no LDAP");
    };
    let shown = "ldapserver=\"a\" ldapport=\"390\" ldapprefix=\"uid=\" ldapsuffix=\",dc=x\"";
    assert_eq!(options.shown(), shown);
    assert_eq!(method(&hba, Way::Unix, "x", "bob"), Some(Method::Pam));
    assert!(hba.asks_for(|method| *method == Method::Pam));
    let (_, odd) = parse(
        "local all all ldap ldapserver=a\nlocal all all pam x=y\n",
        &read,
    );
    let told: Vec<&str> = odd.iter().map(|(_, problem)| &**problem).collect();
    let expected = [
        "one of ldapbasedn, ldapprefix and ldapsuffix is missing",
        "option \"x=y\" is not supported",
    ];
    assert_eq!(told, expected);
}

proptest! {
    #[test]
    fn no_text_panics(text in "[a-z0-9@+/,.:\"# \n]{0,80}") {
        let _ = parse(&text, &read);
        let _ = IdentMaps::parse(&text);
    }

    #[test]
    fn networks_have_what_their_bits_say(ip in any::<u32>(), bits in 0u32..=32, other in any::<u32>()) {
        let text = format!("host all all {}/{bits} trust", std::net::Ipv4Addr::from(ip));
        let hba = hba(&text);
        let way = Way::Tcp { from: IpAddr::V4(other.into()), tls: false };
        let same = bits == 0 || (ip ^ other) >> (32 - bits) == 0;
        prop_assert_eq!(method(&hba, way, "d", "u").is_some(), same);
    }
}
