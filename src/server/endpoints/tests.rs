use super::*;
use crate::net::tls_client::TlsClient;
use crate::server::auth::KeyCache;
use crate::server::connect::Keepalive;
use crate::server::hosts::tests::host;

fn member(name: &str, role: Role, weight: u32) -> Arc<Member> {
    Arc::new(Member {
        endpoint: Arc::new(Endpoint {
            host: Host::Tcp(name.to_owned()),
            port: 1,
            resolver: crate::dns::testing::localhost(),
            tls: Arc::new(TlsClient::disabled()),
            connect_timeout: Duration::ZERO,
            keepalive: Keepalive::default(),
            scram_keys: Arc::new(KeyCache::new()),
        }),
        state: host(name),
        role,
        weight,
    })
}

fn choice(balance: Balance, target: Target) -> Choice {
    Choice {
        balance,
        target,
        max_lag: Duration::from_secs(10),
    }
}

fn names(endpoints: &Endpoints) -> String {
    let order = endpoints.in_order().into_iter();
    order.map(|m| m.endpoint.host.to_string()).collect()
}

/// Three, found to be what is given.
fn three(target: Target, standings: [Standing; 3]) -> Endpoints {
    let all = ["a", "b", "c"].map(|name| member(name, Role::Auto, 1));
    for (member, standing) in all.iter().zip(standings) {
        member.state.learn(standing);
    }
    Endpoints::new(all.to_vec(), choice(Balance::Disable, target))
}

const PRIMARY: Standing = Standing::Primary { timeline: 1 };
const PROMOTED: Standing = Standing::Primary { timeline: 2 };
const REPLICA: Standing = Standing::Replica {
    lag: Duration::from_secs(1),
};
const BEHIND: Standing = Standing::Replica {
    lag: Duration::from_secs(11),
};

#[test]
fn each_has_its_turn_or_the_first_always() {
    let order = |balance| {
        let all = ["a", "b", "c"].map(|name| member(name, Role::Auto, 1));
        let endpoints = Endpoints::new(all.to_vec(), choice(balance, Target::Any));
        (0..4).map(|_| names(&endpoints)).collect::<Vec<_>>()
    };
    assert_eq!(order(Balance::RoundRobin), ["abc", "bca", "cab", "abc"]);
    assert_eq!(order(Balance::Disable), ["abc"; 4]);
}

#[test]
fn turns_are_by_weight() {
    let all = [("a", 3), ("b", 1)].map(|(name, weight)| member(name, Role::Auto, weight));
    let endpoints = Endpoints::new(all.to_vec(), choice(Balance::RoundRobin, Target::Any));
    let order: Vec<String> = (0..5).map(|_| names(&endpoints)).collect();
    assert_eq!(order, ["ab", "ab", "ab", "ba", "ab"]);
}

/// How connections that stay open are spread.
fn spread(balance: Balance, weights: [u32; 3], connections: usize) -> [u32; 3] {
    let all = [0, 1, 2].map(|n| member(["a", "b", "c"][n], Role::Auto, weights[n]));
    let endpoints = Endpoints::new(all.to_vec(), choice(balance, Target::Any));
    let open: Vec<_> = (0..connections)
        .map(|_| endpoints.in_order()[0].state.count_open())
        .collect();
    let counts = [0, 1, 2].map(|n: usize| all[n].state.connections());
    drop(open);
    assert!(all.iter().all(|member| member.state.connections() == 0));
    counts
}

#[test]
fn the_one_with_the_fewest_connections_for_its_weight_gets_the_next() {
    assert_eq!(spread(Balance::LeastOutstanding, [1, 1, 1], 30), [10; 3]);
    assert_eq!(
        spread(Balance::LeastOutstanding, [1, 2, 3], 60),
        [10, 20, 30]
    );
    // Who has fewer, for whatever reason, catches up.
    let all = ["a", "b"].map(|name| member(name, Role::Auto, 1));
    let endpoints = Endpoints::new(all.to_vec(), choice(Balance::LeastOutstanding, Target::Any));
    let _open: Vec<_> = (0..5).map(|_| all[0].state.count_open()).collect();
    assert_eq!(names(&endpoints), "ba");
    assert_eq!(names(&endpoints), "ba");
}

#[test]
fn of_two_that_are_drawn_the_one_with_fewer_connections_gets_the_next() {
    let counts = spread(Balance::RandomOfTwo, [1, 1, 1], 300);
    assert!(counts.iter().all(|n| (85..=115).contains(n)), "{counts:?}");
    let counts = spread(Balance::RandomOfTwo, [1, 1, 4], 600);
    assert!(counts[2] > 250, "{counts:?}");
    // Of two, both are drawn.
    let all = ["a", "b"].map(|name| member(name, Role::Auto, 1));
    let endpoints = Endpoints::new(all.to_vec(), choice(Balance::RandomOfTwo, Target::Any));
    let _open = all[0].state.count_open();
    assert!((0..20).all(|_| names(&endpoints) == "ba"));
}

#[test]
fn a_replica_has_seen_what_it_has_replayed_of_its_primary() {
    use crate::server::role::Found;
    let endpoints = three(Target::Replica, [PRIMARY, REPLICA, REPLICA]);
    let all: Vec<_> = endpoints.all().cloned().collect();
    let start = std::time::Instant::now();
    let at = |n| start + Duration::from_secs(n);
    let primary = |inserted, timeline| Found::Primary {
        timeline,
        // What was committed asynchronously may be behind that.
        written: inserted - 50,
        inserted,
    };
    let replica = |position, timeline| Found::Replica {
        replayed: Some(position),
        caught_up: true,
        age: None,
        timeline: Some(timeline),
    };
    endpoints.learn(&all[0], primary(100, 1), at(2));
    assert!(!endpoints.has_seen(&all[1], at(1)), "it has said nothing");
    endpoints.learn(&all[1], replica(100, 1), at(2));
    endpoints.learn(&all[2], replica(99, 1), at(2));
    assert!(endpoints.has_seen(&all[1], at(1)));
    assert!(
        !endpoints.has_seen(&all[1], at(2)),
        "the question was not later"
    );
    assert!(!endpoints.has_seen(&all[2], at(1)));
    // One that was behind is promoted: nothing that was seen before counts.
    endpoints.learn(&all[2], primary(99, 2), at(3));
    assert!(!endpoints.has_seen(&all[1], at(1)), "it has not come along");
    endpoints.learn(&all[1], replica(100, 2), at(4));
    assert!(endpoints.has_seen(&all[1], at(2)));
}

#[test]
fn each_target_has_its_servers() {
    let found = [REPLICA, PRIMARY, BEHIND];
    for (target, expected) in [
        (Target::Any, "abc"),
        (Target::Primary, "b"),
        (Target::Replica, "a"),
        (Target::PreferReplica, "a"),
    ] {
        assert_eq!(names(&three(target, found)), expected, "{target:?}");
    }
    let no_replica = three(Target::PreferReplica, [BEHIND, PRIMARY, Standing::Down]);
    assert_eq!(names(&no_replica), "b");
    let unknown = three(
        Target::Primary,
        [Standing::Unknown, Standing::Down, REPLICA],
    );
    assert_eq!(names(&unknown), "a");
}

#[test]
fn after_a_promotion_the_old_primary_gets_nothing() {
    // It is still there, as after a partition of the network; or it comes back.
    let endpoints = three(Target::Primary, [PRIMARY, PROMOTED, REPLICA]);
    assert_eq!(names(&endpoints), "b");
    let old = endpoints.all().next().unwrap();
    assert!(endpoints.is_replaced(old));
    // Even if the promoted one is gone meanwhile: what it has taken would be lost.
    let promoted = endpoints.all().nth(1).unwrap();
    promoted.state.learn(Standing::Down);
    assert_eq!(names(&endpoints), "");
    assert!(!endpoints.is_replaced(promoted));
}

#[test]
fn a_server_has_the_role_that_it_was_given() {
    let all = [member("a", Role::Replica, 1), member("b", Role::Primary, 1)];
    let serving = |target, standings: [Standing; 2]| {
        for (member, standing) in all.iter().zip(standings) {
            member.state.learn(standing);
        }
        let choice = choice(Balance::Disable, target);
        names(&Endpoints::new(all.to_vec(), choice))
    };
    assert_eq!(serving(Target::Primary, [PROMOTED, Standing::Down]), "");
    assert_eq!(serving(Target::Replica, [REPLICA, REPLICA]), "a");
    assert_eq!(serving(Target::Primary, [Standing::Unknown; 2]), "b");
}
