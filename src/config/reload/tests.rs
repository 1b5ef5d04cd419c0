use super::*;
use crate::config::tests::{Fake, parse, parse_on};

const BASE: &str = "[general]\nquery_timeout = 5\n[pools.app]\nhost = 'a'\n[pools.\"*\"]\n\
                    [users.u]\npassword = 'one'\n";

fn changes(old: &str, new: &str) -> ReloadReport {
    let old = parse(old).expect("the old text is right");
    let new = parse(new).expect("the new text is right");
    diff(&old, &new)
}

#[test]
fn the_same_file_changes_nothing() {
    assert_eq!(changes(BASE, BASE), ReloadReport::default());
}

#[test]
fn a_default_is_named_once_and_an_override_by_its_pool() {
    let new = BASE.replace("query_timeout = 5", "query_timeout = 6");
    assert_eq!(changes(BASE, &new).applied, ["general.query_timeout"]);

    let new = BASE.replace("host = 'a'", "host = 'b'\nquery_timeout = 7\npool_size = 3");
    assert_eq!(
        changes(BASE, &new).applied,
        [
            "pools.app.host",
            "pools.app.pool_size",
            "pools.app.query_timeout"
        ]
    );

    let new = format!("{BASE}[pools.\"*\".server_tls]\nsslmode = 'require'");
    assert_eq!(
        changes(BASE, &new).applied,
        ["pools.\"*\".server_tls.sslmode"]
    );
}

#[test]
fn pools_and_users_come_and_go() {
    let new = BASE
        .replace("pools.app", "pools.other")
        .replace("users.u", "users.v");
    assert_eq!(
        changes(BASE, &new).applied,
        ["pools.app", "pools.other", "users.u", "users.v"]
    );
    let new = BASE.replace("[pools.\"*\"]\n", "");
    assert_eq!(changes(BASE, &new).applied, ["pools.\"*\""]);
}

#[test]
fn a_password_that_changed_elsewhere_is_noticed() {
    let text = BASE.replace("'one'", "{ env = 'PW' }");
    let mut machine = Fake::default();
    machine.env.insert("PW", "one");
    let old = parse_on(&text, &machine).expect("the text is right");
    machine.env.insert("PW", "two");
    let new = parse_on(&text, &machine).expect("the text is right");
    assert_eq!(diff(&old, &new).applied, ["users.u.password"]);
}

#[test]
fn a_user_follows_the_general_limit_unless_it_has_its_own() {
    let limit = |n| {
        BASE.replace(
            "[general]\n",
            &format!("[general]\nmax_user_connections = {n}\n"),
        )
    };
    assert_eq!(
        changes(&limit(1), &limit(2)).applied,
        ["general.max_user_connections"]
    );
    let new = format!("{}max_user_connections = 3\n", limit(1));
    assert_eq!(
        changes(&limit(1), &new).applied,
        ["users.u.max_user_connections"]
    );
}

const OTHER_SOCKETS: &str = "[general]\nquery_timeout = 5\nlisten_addr = '*'\nlisten_port = 1\n\
    unix_socket_dir = ''\nunix_socket_mode = '0700'\nlisten_backlog = 5\nworkers = 9\n\
    tcp_keepidle = 7\n[http]\n[pools.app]\nhost = 'a'\n[pools.\"*\"]\n[users.u]\npassword = 'one'\n";

#[test]
fn sockets_and_threads_need_a_restart() {
    let report = changes(BASE, OTHER_SOCKETS);
    assert_eq!(report.applied, ["general.tcp_keepidle"]);
    assert_eq!(
        report.needs_restart,
        [
            "general.listen_addr",
            "general.listen_port",
            "general.unix_socket_dir",
            "general.unix_socket_mode",
            "general.listen_backlog",
            "general.workers",
            "http.listen",
        ]
    );
}

#[test]
fn who_may_see_the_page_changes_at_once() {
    let page = |rest: &str| format!("{BASE}[http]\nlisten = '127.0.0.1:1'\n{rest}");
    let text = "password = 'a'\nadmin_password = 'b'\nnames = 'weir.example'\n";
    let (old, mut new) = (
        parse(&page("")).expect("the old text is right"),
        parse(&page(text).replace("127.0.0.1:1", "127.0.0.1:2")).expect("the new text is right"),
    );
    let report = diff(&old, &new);
    assert_eq!(
        report.applied,
        ["http.names", "http.password", "http.admin_password"]
    );
    assert_eq!(report.needs_restart, ["http.listen"]);
    keep_fixed(&old, &mut new);
    let http = new.http.expect("it is still there");
    assert_eq!(http.listen.port(), 1);
    assert!(http.password.is_some() && http.admin_password.is_some());
    assert_eq!(http.names, ["weir.example"]);
}

#[test]
fn what_needs_a_restart_keeps_its_value() {
    let old = parse(BASE).expect("the text is right");
    let mut new = parse(OTHER_SOCKETS).expect("the text is right");
    keep_fixed(&old, &mut new);
    let report = diff(&old, &new);
    assert_eq!(report.needs_restart, [""; 0]);
    assert_eq!(report.applied, ["general.tcp_keepidle"]);
}

#[test]
fn a_peer_that_has_changed_is_named() {
    let peers = |text: &str| format!("{BASE}[peers.1]\nhost = 'a'\n{text}");
    let old = peers("[peers.2]\nhost = 'b'\n[peers.3]\nhost = 'c'\n");
    let new = peers("[peers.2]\nhost = 'b'\nport = 7\n[peers.4]\nhost = 'd'\n");
    let changed = changes(&old, &new).applied;
    assert_eq!(changed, ["peers.2", "peers.3", "peers.4"]);
}

#[test]
fn who_is_told_to_come_can_change_but_not_where_it_is_asked() {
    let http = |text: &str| format!("{BASE}[http]\n{text}");
    let old = parse(&http("")).expect("the text is right");
    let new = http("listen = '127.0.0.1:1'\nready_without_servers = true\n");
    let mut new = parse(&new).expect("the text is right");
    keep_fixed(&old, &mut new);
    let report = diff(&old, &new);
    assert_eq!(report.applied, ["http.ready_without_servers"]);
    assert_eq!(report.needs_restart, [""; 0]);
}
