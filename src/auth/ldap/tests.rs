use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> LdapOptions {
    LdapOptions::parse(text).unwrap()
}

fn search(text: &str) -> Search {
    match parse(text).way {
        Way::Search(search) => search,
        Way::Name { .. } => panic!("no search"),
    }
}

fn urls(text: &str) -> Vec<String> {
    parse(text).urls().collect()
}

#[test]
fn a_name_made_of_the_users() {
    let options =
        parse("ldapserver=dir.example ldapprefix=\"cn=\" ldapsuffix=\", dc=example, dc=net\"");
    let Way::Name { prefix, suffix } = &options.way else {
        panic!("no name");
    };
    assert_eq!((&**prefix, &**suffix), ("cn=", ", dc=example, dc=net"));
    assert_eq!(
        options.urls().collect::<Vec<_>>(),
        ["ldap://dir.example:389"]
    );
    assert!(!options.start_tls);
}

#[test]
fn an_entry_that_is_searched_for() {
    let found = search(
        "ldapserver=a, ldapbasedn=\"dc=example,dc=net\" ldapbinddn=\"cn=reader\" \
         ldapbindpasswd=\"s\"\"ecret\" ldapsearchattribute=mail",
    );
    assert_eq!(
        (&*found.base, found.scope),
        ("dc=example,dc=net", Scope::Sub)
    );
    assert_eq!(
        (&*found.bind_name, &*found.bind_password),
        ("cn=reader", "s\"ecret")
    );
    assert_eq!(found.filter("amy").unwrap(), "(mail=amy)");
    assert_eq!(found.attribute(), "mail");
    let found = search("ldapserver=a ldapbasedn=x");
    assert_eq!(found.filter("amy").unwrap(), "(uid=amy)");
    let filter = "ldapsearchfilter=\"(|(uid=$username)(mail=$username))\"";
    let found = search(&format!("ldapserver=a ldapbasedn=x {filter}"));
    assert_eq!(found.filter("amy").unwrap(), "(|(uid=amy)(mail=amy))");
    assert_eq!(found.attribute(), "1.1");
}

#[test]
fn a_user_who_would_mean_something_in_a_filter_is_nobody() {
    let found = search("ldapserver=a ldapbasedn=x");
    for user in ["*", "a)(uid=b", "a\\2a", "a/b", "("] {
        assert_eq!(found.filter(user), None, "{user}");
    }
}

#[test]
fn servers() {
    assert_eq!(
        urls("ldapserver=\"a b\" ldapport=3890 ldapprefix=x"),
        ["ldap://a:3890", "ldap://b:3890"]
    );
    assert_eq!(
        urls("ldapserver=a ldapscheme=ldaps ldapprefix=x"),
        ["ldaps://a:636"]
    );
    assert_eq!(urls("ldapserver=::1 ldapprefix=x"), ["ldap://[::1]:389"]);
    assert!(parse("ldapserver=a ldaptls=1 ldapprefix=x").start_tls);
}

#[test]
fn urls_say_it_all() {
    let text = "ldapurl=\"ldap://127.0.0.1:12345/dc=example,dc=net?uid?sub\"";
    assert_eq!(urls(text), ["ldap://127.0.0.1:12345"]);
    let found = search(text);
    assert_eq!(
        (&*found.base, found.scope),
        ("dc=example,dc=net", Scope::Sub)
    );
    assert_eq!(found.filter("amy").unwrap(), "(uid=amy)");
    let text = "ldapurl=\"ldaps://[::1]/ou=a%20b??one?(cn=$username)\"";
    assert_eq!(urls(text), ["ldaps://[::1]:636"]);
    let found = search(text);
    assert_eq!((&*found.base, found.scope), ("ou=a b", Scope::One));
    assert_eq!(found.filter("amy").unwrap(), "(cn=amy)");
    assert_eq!(search("ldapurl=ldap://a/x").scope, Scope::Base);
    // All of it quoted, as PostgreSQL's own documentation has it.
    assert_eq!(
        search("\"ldapurl=ldap://a/dc=x,dc=y\" # why").base,
        "dc=x,dc=y"
    );
}

#[test]
fn what_is_wrong_is_told_without_a_password() {
    for (text, told) in [
        ("", "ldapserver"),
        ("ldapserver=a", "ldapbasedn"),
        ("ldapprefix=a", "ldapserver"),
        ("ldapserver=a ldapprefix=b ldapbasedn=c", "one or the other"),
        (
            "ldapserver=a ldapprefix=b ldapbindpasswd=topsecret",
            "one or the other",
        ),
        (
            "ldapserver=a ldapbasedn=b ldapsearchattribute=c ldapsearchfilter=(d=e)",
            "one or the other",
        ),
        ("ldapserver=a ldapbasedn=b ldapport=0", "ldapport"),
        ("ldapserver=a ldapbasedn=b ldapport=x", "ldapport"),
        ("ldapserver=a ldapbasedn=b ldapscheme=http", "ldapscheme"),
        ("ldapserver=a ldapbasedn=b ldaptls=yes", "ldaptls"),
        (
            "ldapserver=a ldapscheme=ldaps ldaptls=1 ldapprefix=x",
            "ldaptls",
        ),
        ("ldapbindpasswd=topsecret ldapservr=a", "ldapserver"),
        ("ldapbindpasswd=\"topsecret", "quote"),
        ("ldapbindpasswd= topsecret", "no value"),
        ("topsecret", "key=value"),
        ("ldapurl=http://a/b", "ldapurl"),
        ("ldapurl=ldap://a:b/c", "ldapurl"),
        ("ldapurl=ldap://a/c??some", "ldapurl"),
        ("ldapurl=ldap://a/%zz", "ldapurl"),
        ("ldapurl=ldap://[::1/c", "ldapurl"),
        ("ldapurl=ldap:///c", "ldapserver"),
    ] {
        let error = LdapOptions::parse(text).unwrap_err();
        assert!(error.contains(told), "{text}: {error}");
        assert!(!error.contains("topsecret"), "{text}: {error}");
    }
}

#[test]
fn the_password_is_not_shown() {
    let options = parse("ldapserver=a ldapbasedn=\"dc=x,dc=y\" ldapbindpasswd=topsecret");
    let shown = "ldapserver=\"a\" ldapbasedn=\"dc=x,dc=y\" ldapbindpasswd=***";
    assert_eq!(options.shown(), shown);
    assert!(!format!("{options:?}").contains("topsecret"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".*", url in "[ldaps:/?%\\[\\]a-f0-9=]*") {
        let _ = LdapOptions::parse(&text);
        let _ = LdapOptions::parse(&format!("ldapurl={url}"));
    }
}
