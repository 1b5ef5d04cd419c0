//! `[pools.NAME] hosts` and what goes with them, and `[general] host_...`.

use super::{Resolver, raw, set};
use crate::config::{Database, HostLimits, Placed, Role, RoleSettings, Target};

/// The largest weight of a server.
const WEIGHT_MAX: usize = 1000;

impl Resolver<'_, '_> {
    pub(super) fn host_limits(&mut self, limits: &mut HostLimits, raw: &raw::General) {
        set(&mut limits.max_connecting, raw.host_max_connecting);
        set(&mut limits.failures, raw.host_failures);
        set(&mut limits.max_delay, raw.host_max_delay);
        if limits.failures == 0 {
            let problem = "must be at least 1";
            self.problems.add(&["general", "host_failures"], problem);
        }
        if limits.max_delay.is_zero() {
            let problem = "must be more than 0";
            self.problems.add(&["general", "host_max_delay"], problem);
        }
    }

    /// After `host` and `port`.
    pub(super) fn placed(&mut self, pool: &mut Database, name: &str, own: &mut raw::PoolOwn) {
        roles(&mut pool.roles, own);
        let key = |key| ["pools", name, key];
        if pool.roles.probe_interval.is_zero() {
            let problem = "must be more than 0";
            self.problems.add(&key("probe_interval"), problem);
        }
        let Some(list) = own.hosts.take() else { return };
        if own.host.is_some() {
            let problem = "stands instead of host: one of the two must go";
            self.problems.add(&key("hosts"), problem);
        }
        for raw in list {
            let weight = raw.weight.map_or(1, usize::from);
            let port = raw.port.map_or(pool.port, u16::from);
            if !(1..=WEIGHT_MAX).contains(&weight) {
                let problem = format!("weight must be from 1 to {WEIGHT_MAX}");
                self.problems.add(&key("hosts"), problem);
            }
            if port == 0 {
                let problem = "port must be from 1 to 65535";
                self.problems.add(&key("hosts"), problem);
            }
            let placed = Placed {
                host: self.host(&key("hosts"), raw.host),
                port,
                role: raw.role.unwrap_or(Role::Auto),
                weight: u32::try_from(weight).unwrap_or(1),
            };
            let same = |other: &Placed| (&other.host, other.port) == (&placed.host, placed.port);
            if pool.placed.iter().any(same) {
                let problem = format!("{} with port {port} is there twice", placed.host);
                self.problems.add(&key("hosts"), problem);
            }
            pool.placed.push(placed);
        }
        self.roles_suffice(pool, name);
    }

    fn roles_suffice(&mut self, pool: &Database, name: &str) {
        let useless = match pool.target() {
            Target::Any | Target::PreferReplica => None,
            Target::Primary => Some(Role::Replica),
            Target::Replica => Some(Role::Primary),
        };
        let key = ["pools", name, "hosts"];
        if pool.placed.is_empty() {
            self.problems.add(&key, "must have at least one server");
        } else if let Some(useless) = useless
            && pool.placed.iter().all(|placed| placed.role == useless)
        {
            let problem = format!(
                "none may be what target asks for: all are {:?}",
                useless.as_str()
            );
            self.problems.add(&key, problem);
        }
    }
}

fn roles(roles: &mut RoleSettings, own: &raw::PoolOwn) {
    roles.target = own.target.or(roles.target);
    set(&mut roles.probe_interval, own.probe_interval);
    set(&mut roles.max_lag, own.max_lag);
    set(&mut roles.reads, own.reads);
    set(&mut roles.read_your_writes, own.read_your_writes);
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{mistakes, parse};
    use crate::config::{Host, Role, Target};

    #[test]
    fn servers_with_roles_have_ports_and_weights() {
        let text = "[pools.a]\nport = 7\nhosts = [{ host = 'x', role = 'primary' }, \
                    { host = 'y', port = 8, weight = 3 }]";
        let config = parse(text).expect("the text is right");
        let pool = &config.databases["a"];
        assert_eq!(pool.target(), Target::Primary);
        let [first, second] = &pool.servers()[..] else {
            panic!("{:?}", pool.servers())
        };
        assert_eq!(
            (first.role, first.port, first.weight),
            (Role::Primary, 7, 1)
        );
        assert_eq!(second.host, Host::Tcp("y".to_owned()));
        assert_eq!(
            (second.role, second.port, second.weight),
            (Role::Auto, 8, 3)
        );
        assert_eq!(pool.host_names(), "x,y");
        let plain = parse("[pools.a]\nhost = ['x', 'y']").expect("the text is right");
        assert_eq!(plain.databases["a"].target(), Target::Any);
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (lines, what) in [
            ("host = 'x'\nhosts = [{ host = 'y' }]", "instead of host"),
            ("hosts = []", "at least one"),
            ("hosts = [{ host = 'x', weight = 0 }]", "weight"),
            ("hosts = [{ host = 'x', port = 0 }]", "port"),
            ("hosts = [{ host = 'x', rank = 1 }]", "rank"),
            ("hosts = [{ host = 'x', role = 'boss' }]", "primary"),
            ("hosts = [{ host = 'x' }, { host = 'x' }]", "twice"),
            ("hosts = [{ host = 'x', role = 'replica' }]", "none may be"),
            (
                "target = 'replica'\nhosts = [{ host = 'x', role = 'primary' }]",
                "none may be",
            ),
            ("probe_interval = 0", "more than 0"),
            ("target = 'primary'\ncache = { enabled = true }", "target"),
        ] {
            let found = mistakes(&format!("[pools.a]\n{lines}"));
            assert_eq!(found.len(), 1, "{lines}: {found:?}");
            assert!(found[0].contains(what), "{lines}: {found:?}");
        }
        assert_eq!(mistakes("[general]\nhost_failures = 0\n[pools.a]").len(), 1);
        assert_eq!(
            mistakes("[general]\nhost_max_delay = 0\n[pools.a]").len(),
            1
        );
    }
}
