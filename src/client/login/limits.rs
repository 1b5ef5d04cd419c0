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
    by_key: Mutex<HashMap<(String, String), Budgets>>,
    by_database: Mutex<HashMap<String, Arc<Budget>>>,
    by_user: Mutex<HashMap<String, Arc<Budget>>>,
}

impl ClientLimits {
    pub fn new(max_client_conn: usize) -> ClientLimits {
        ClientLimits {
            total: Budget::new("max_client_conn", max_client_conn),
            by_key: Mutex::default(),
            by_database: Mutex::default(),
            by_user: Mutex::default(),
        }
    }

    pub fn set_total(&self, max_client_conn: usize) {
        self.total.set_limit(max_client_conn);
    }

    pub(super) fn enter(
        &self,
        config: &Config,
        database: &Database,
        name: &str,
        user: &str,
    ) -> Result<Permit, Refusal> {
        let of_database = budget(&self.by_database, name, "max_db_client_connections");
        of_database.set_limit(database.max_db_client_connections);
        let of_user = budget(&self.by_user, user, "max_user_client_connections");
        let entry = config.users.get(user).unwrap_or(&config.default_user);
        of_user.set_limit(entry.max_user_client_connections);
        let key = (name.to_owned(), user.to_owned());
        let budgets = Arc::clone(
            self.by_key
                .lock()
                .entry(key)
                .or_insert_with(|| vec![self.total.clone(), of_database, of_user].into()),
        );
        Permit::acquire(&budgets).map_err(|full| {
            Refusal::new(
                sqlstate::TOO_MANY_CONNECTIONS,
                format!(
                    "no more connections allowed ({} = {})",
                    full.name,
                    full.limit()
                ),
            )
        })
    }
}

fn budget(of: &Mutex<HashMap<String, Arc<Budget>>>, key: &str, name: &'static str) -> Arc<Budget> {
    let mut of = of.lock();
    let budget = of
        .entry(key.to_owned())
        .or_insert_with(|| Budget::new(name, 0));
    Arc::clone(budget)
}
