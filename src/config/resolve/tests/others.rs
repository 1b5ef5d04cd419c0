//! Whom pgweir speaks to beside clients' databases, and how it may encrypt.

use super::*;
use crate::config::Priority;

#[test]
fn peers_have_numbers_and_hosts() {
    let config = right(
        "[general]\npeer_id = 16383\ndefault_pool_size = 7\n[peers.1]\nhost = '10.0.0.1'\n\
         [peers.2]\nhost = '/run/two'\nport = 5\npool_size = 3\n[peers.16383]\nhost = 'me'",
    );
    let peering = config.peering;
    let others: Vec<_> = peering
        .others()
        .map(|(id, peer)| (id.get(), peer))
        .collect();
    let [(1, one), (2, two)] = others[..] else {
        panic!("{others:?}");
    };
    assert_eq!((one.port, one.pool_size), (6432, 7));
    assert_eq!((two.port, two.pool_size), (5, 3));
    assert_eq!(two.host, Host::Unix("/run/two".into()));
    // Without a number of its own it has none.
    let alone = right("[peers.1]\nhost = 'a'").peering;
    assert_eq!((alone.peers.len(), alone.others().count()), (1, 0));
    for (text, start) in [
        (
            "[general]\npeer_id = 16384",
            "2: general.peer_id: must be from 1 to 16383",
        ),
        ("[peers.0]\nhost = 'a'", "1: peers.0: \"0\" is no number"),
        ("[peers.01]\nhost = 'a'", "1: peers.01: \"01\" is no number"),
        ("[peers.x]\nhost = 'a'", "1: peers.x: \"x\" is no number"),
        ("[peers.1]\nport = 1", "1: peers.1: a peer needs host"),
        ("[peers.1]\nhost = 'a b'", "2: peers.1.host: "),
        ("[peers.1]\nhost = 'a'\nport = 0", "3: peers.1.port: "),
        (
            "[peers.1]\nhost = 'a'\npool_size = 0",
            "3: peers.1.pool_size: ",
        ),
    ] {
        one_mistake(text, start, "");
    }
}

#[test]
fn cipher_lists_are_read_and_what_they_lack_is_noted() {
    let config = right(
        "[client_tls]\nciphers = 'ECDHE-RSA-AES256-GCM-SHA384:RC4-SHA'\n\
         tls13_ciphers = 'TLS_AES_128_CCM_SHA256:TLS_AES_256_GCM_SHA384'\n\
         [server_tls]\nciphers = 'HIGH'\n[pools.a.server_tls]\nciphers = 'AES128:DES'",
    );
    let notes = [
        "client_tls.ciphers: rustls has nothing that is called RC4-SHA",
        "client_tls.tls13_ciphers: rustls has nothing that is called TLS_AES_128_CCM_SHA256",
        "pools.a.server_tls.ciphers: rustls has nothing that is called DES",
    ];
    assert_eq!(config.oddities, notes);
    let count = |name: &str| {
        let database = config.database(name).unwrap();
        database
            .server_tls
            .choice
            .ciphers
            .items
            .as_ref()
            .unwrap()
            .len()
    };
    assert_eq!((count("a"), count("b")), (2, 6));
    for (text, start, hint) in [
        (
            "[client_tls]\nciphers = 'RC4'",
            "2: client_tls.ciphers: ",
            "there are ECDHE-ECDSA-AES256-GCM-SHA384, ",
        ),
        (
            "[server_tls]\ntls13_ciphers = 'x'",
            "2: server_tls.tls13_ciphers: ",
            "TLS_AES_256_GCM_SHA384",
        ),
        (
            "[client_tls]\necdhcurve = 'secp521r1'",
            "2: client_tls.ecdhcurve: ",
            "X25519, prime256v1",
        ),
        (
            "[client_tls]\nprotocols = 'tlsv1.2'\necdhcurve = 'X25519MLKEM768'",
            "3: client_tls.ecdhcurve: ",
            "TLS 1.2",
        ),
    ] {
        one_mistake(text, start, hint);
    }
}

#[test]
fn logins_and_queues() {
    let config = right(
        "[login]\nmax_failures = 3\nallow = ['10.1.2.3/8', '::1']\n[pools.a]\npriority = 'critical'\n\
         early_refusal = true\n[users.u]\nmax_queries_per_second = 5\n\
         [applications.report]\npriority = 'background'\nmax_queries_per_second = 2\nquery_burst = 9",
    );
    let allowed = config.login.allow.iter().map(ToString::to_string);
    assert_eq!(allowed.collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
    let queue = &config.databases["a"].queue;
    assert_eq!(
        (queue.priority, queue.early_refusal),
        (Priority::Critical, true)
    );
    assert!(!config.databases["a"].has_parties());
    let (user, report) = (config.users["u"].class, config.applications["report"]);
    assert_eq!((user.burst(), report.burst()), (5, 9));
    assert_eq!(report.priority, Some(Priority::Background));
    for (text, start, hint) in [
        ("[login]\nbackoff = 0", "2: login.backoff: ", "more than 0"),
        (
            "[login]\ndeny = 'all'",
            "2: login.deny: ",
            "is no network such as",
        ),
        (
            "[users.u]\nquery_burst = 5",
            "2: users.u.query_burst: ",
            "needs max_queries_per_second",
        ),
        (
            "[applications.a]\npriority = 'high'",
            "2: applications.a.priority: ",
            "\"background\"",
        ),
    ] {
        one_mistake(text, start, hint);
    }
}

/// A write must not be able to miss what somebody remembers.
#[test]
fn what_a_pool_writes_is_remembered_by_one_cache() {
    let cached = |name: &str, host: &str| {
        format!(
            "[pools.{name}]\nhost = '{host}'\ndbname = 'd'\n[pools.{name}.cache]\nenabled = true\n"
        )
    };
    let both = cached("a", "10.0.0.1") + &cached("b", "10.0.0.2");
    right(&both);
    let placed = "hosts = [{ host = '10.0.0.1' }, { host = '10.0.0.2' }]";
    let of_another = format!("{both}[pools.c]\ndbname = 'e'\n{placed}");
    right(&of_another);
    let one = format!(
        "{}[pools.c]\ndbname = 'd'\n{placed}",
        cached("a", "10.0.0.1")
    );
    right(&one);
    let two = format!("{both}[pools.c]\ndbname = 'd'\n{placed}");
    one_mistake(&two, "13: pools.c.hosts:", "pools.\"a\" and of pools.\"b\"");
    let any = format!("{both}[pools.\"*\"]\n{placed}");
    let said = mistakes(&any);
    assert!(
        said.len() == 1 && said[0].contains(".hosts: leads to servers of"),
        "{said:#?}"
    );
    // Each would be followed by the other in part only.
    let overlap = cached("a", "10.0.0.1,10.0.0.2") + &cached("b", "10.0.0.2");
    let said = wrong(&overlap).concat();
    assert!(
        said.contains("pools.a.host:") && said.contains("pools.b.host:"),
        "{said}"
    );
}
