//! How many clients there may be: in all, of a database, of a user.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Refusal;
use crate::config::{Config, Database};
use crate::pool::budget::{Budget, Permit};
use crate::protocol::sqlstate;

/// The limits that one client counts under.
type Budgets = Arc<[Arc<Budget>]>;

/// Limits on clients: all, of a database, of a user.
#[derive(Debug)]
pub struct ClientLimits {
    total: Arc<Budget>,
    named: Mutex<Named>,
}

/// Anybody may ask for any names before showing a password, so what nobody uses is not kept.
#[derive(Debug, Default)]
struct Named {
    /// By database and user.
    both: HashMap<(String, String), Budgets>,
    database: HashMap<String, Arc<Budget>>,
    user: HashMap<String, Arc<Budget>>,
}

impl ClientLimits {
    pub fn new(max_client_conn: usize) -> ClientLimits {
        ClientLimits {
            total: Budget::new("max_client_conn", max_client_conn),
            named: Mutex::default(),
        }
    }

    pub fn set_total(&self, max_client_conn: usize) {
        self.total.set_limit(max_client_conn);
    }

    fn budgets(&self, config: &Config, database: &Database, name: &str, user: &str) -> Budgets {
        let of_user = config.users.get(user).unwrap_or(&config.default_user);
        let limits = [
            database.max_db_client_connections,
            of_user.max_user_client_connections,
        ];
        self.named.lock().budgets(&self.total, name, user, limits)
    }

    /// For a client that another process has let in.
    pub fn adopt(&self, config: &Config, database: &Database, name: &str, user: &str) -> Permit {
        Permit::unconditional(&self.budgets(config, database, name, user))
    }

    pub(super) fn enter(
        &self,
        config: &Config,
        database: &Database,
        name: &str,
        user: &str,
    ) -> Result<Permit, Refusal> {
        Permit::acquire(&self.budgets(config, database, name, user)).map_err(|full| {
            Refusal::new(
                sqlstate::TOO_MANY_CONNECTIONS,
                format!(
                    "no more connections allowed ({}), the limit is {}",
                    full.name,
                    full.limit()
                ),
            )
        })
    }
}

impl Named {
    fn budgets(
        &mut self,
        total: &Arc<Budget>,
        database: &str,
        user: &str,
        limits: [usize; 2],
    ) -> Budgets {
        if self.both.len() == self.both.capacity() {
            self.forget_unused();
        }
        let of_database = budget(&mut self.database, database, "max_db_client_connections");
        of_database.set_limit(limits[0]);
        let of_user = budget(&mut self.user, user, "max_user_client_connections");
        of_user.set_limit(limits[1]);
        let key = (database.to_owned(), user.to_owned());
        let both = self.both.entry(key);
        Arc::clone(both.or_insert_with(|| vec![total.clone(), of_database, of_user].into()))
    }

    /// A permit holds its budgets.
    fn forget_unused(&mut self) {
        self.both.retain(|_, b| Arc::strong_count(b) > 1);
        self.database.retain(|_, b| Arc::strong_count(b) > 1);
        self.user.retain(|_, b| Arc::strong_count(b) > 1);
    }
}

fn budget(of: &mut HashMap<String, Arc<Budget>>, key: &str, name: &'static str) -> Arc<Budget> {
    let budget = of
        .entry(key.to_owned())
        .or_insert_with(|| Budget::new(name, 0));
    Arc::clone(budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let text = "[general]\nmax_user_client_connections = 2\n[pools.\"*\"]\nport = 1\n";
        Config::parse(text, "test".as_ref()).unwrap()
    }

    #[test]
    fn names_that_nobody_uses_take_no_room() {
        let (config, limits) = (config(), ClientLimits::new(1000));
        let database = config.database("any").unwrap();
        let enter = |name: &str, user: &str| limits.enter(&config, &database, name, user);
        let held = [enter("d", "u").unwrap(), enter("d", "u").unwrap()];
        for n in 0..10_000 {
            drop(enter(&format!("d{n}"), &format!("u{n}")).unwrap());
        }
        let room = |limits: &ClientLimits| {
            let named = limits.named.lock();
            named.both.len() + named.database.len() + named.user.len()
        };
        assert!(room(&limits) < 30, "{}", room(&limits));
        // What is held has been counted all the time.
        assert!(enter("d", "u").is_err() && enter("e", "u").is_err());
        drop(held);
        assert!(enter("e", "u").is_ok());
    }
}
