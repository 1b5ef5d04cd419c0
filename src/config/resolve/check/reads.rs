//! Of reads that go to replicas.

use super::Checks;
use crate::config::{Database, PoolMode, Reads, Target};

impl Checks<'_, '_> {
    pub(super) fn reads(&mut self, pool: &Database) {
        if pool.roles.reads == Reads::Off {
            return;
        }
        let key = ["pools", &*pool.name, "reads"];
        if pool.target() != Target::Primary {
            let problem = "needs servers with roles, of which one is the primary: use hosts, with \
                           target = \"primary\" or none";
            self.problems.add(&key, problem);
        }
        if pool.pool_mode == PoolMode::Session {
            let problem = "a pool with pool_mode = \"session\" stays on the primary: a session has one \
                           server connection; use \"transaction\"";
            self.problems.add(&key, problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{mistakes, parse};
    use crate::config::{ReadYourWrites, Reads};

    #[test]
    fn reads_are_for_pools_with_a_primary_and_transactions() {
        let hosts = "hosts = [{ host = 'x' }, { host = 'y' }]";
        let good = format!("[pools.a]\nreads = 'auto'\nread_your_writes = 'application'\n{hosts}");
        let config = parse(&good).expect("the text is right");
        let roles = &config.databases["a"].roles;
        assert_eq!(
            (roles.reads, roles.read_your_writes),
            (Reads::Auto, ReadYourWrites::Application)
        );
        let plain = parse("[pools.a]\nhost = 'x'").expect("the text is right");
        assert_eq!(plain.databases["a"].roles.reads, Reads::Off);
        for (lines, what) in [
            ("host = 'x'".to_owned(), "needs servers with roles"),
            (
                format!("target = 'replica'\n{hosts}"),
                "needs servers with roles",
            ),
            (
                format!("target = 'any'\n{hosts}"),
                "needs servers with roles",
            ),
            (format!("pool_mode = 'session'\n{hosts}"), "session"),
        ] {
            let found = mistakes(&format!("[pools.a]\nreads = 'hint'\n{lines}"));
            assert_eq!(found.len(), 1, "{lines}: {found:?}");
            assert!(found[0].contains(what), "{lines}: {found:?}");
            assert!(
                found[0].starts_with("2:") || found[0].contains(":2:"),
                "{found:?}"
            );
        }
        assert_eq!(
            mistakes(&format!("[pools.a]\nreads = 'all'\n{hosts}")).len(),
            1
        );
    }
}
