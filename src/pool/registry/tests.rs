use std::path::Path;

use super::*;
use crate::dns::name_servers::NameServers;
use crate::pool::Origin;
use crate::pool::series::NAMED_MAX;
use crate::worker::Home;

/// Pools that anybody can make up, and that nobody connects.
fn pools(runtime: &tokio::runtime::Runtime) -> Pools {
    let text = "[general]\nautodb_idle_timeout = '1h'\n[auth]\ntype = 'trust'\n[pools.'*']\nhost = '127.0.0.1'\n";
    let config = Arc::new(Config::parse(text, Path::new("x")).unwrap());
    let resolver = Resolver::new(&config.dns, Box::new(NameServers::new(None).unwrap()));
    let handle = runtime.handle().clone();
    let shared = Shared::new(handle, 1, resolver, None, Origin::default());
    Pools::new(config, shared).unwrap()
}

#[test]
fn what_pools_have_timed_together_does_not_become_less() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let pools = pools(&runtime);
    for n in 0..NAMED_MAX + 5 {
        let name = format!("d{n}");
        let database = pools.config().database(&name).unwrap();
        let pool = pools.get(&name, &database, "u");
        assert_eq!(pool.has_own_series(), n < NAMED_MAX, "{n}");
        pool.shard(Home::Control).times.query.observe(7);
    }
    let together = || {
        let (all, mut together) = pools.all_and_gone();
        let others = all.iter().filter(|pool| !pool.has_own_series());
        others.for_each(|pool| together.merge(&pool.times()));
        together.query
    };
    let before = together();
    assert_eq!((before.sum, before.buckets[0]), (35, 5));
    pools.forget_unused();
    assert_eq!(pools.all().len(), 0);
    assert_eq!(together(), before);
    // Their places are free for others.
    let database = pools.config().database("new").unwrap();
    assert!(pools.get("new", &database, "u").has_own_series());
}
