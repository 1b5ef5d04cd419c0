//! Limits on server connections that reach beyond one pool: of a database, of a user, of the
//! process.
//!
//! A connection holds a [`Permit`] as long as it exists. A pool that gets none says so; the next
//! pool under the same limit that frees a connection, or has an idle one, closes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One limit, shared by all pools that it covers.
#[derive(Debug)]
pub struct Budget {
    /// What it limits, as the error message names it.
    pub name: &'static str,
    /// 0 is unlimited.
    limit: AtomicUsize,
    used: AtomicUsize,
    /// Pools that want a connection and got none.
    hungry: AtomicUsize,
}

impl Budget {
    pub fn new(name: &'static str, limit: usize) -> Arc<Budget> {
        Arc::new(Budget {
            name,
            limit: AtomicUsize::new(limit),
            used: AtomicUsize::new(0),
            hungry: AtomicUsize::new(0),
        })
    }

    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether somebody was refused since the last connection under this limit was closed.
    #[inline]
    pub fn is_short(&self) -> bool {
        self.hungry.load(Ordering::Relaxed) > 0
    }

    fn acquire(&self) -> bool {
        let limit = self.limit();
        let got = self
            .used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (limit == 0 || n < limit).then_some(n + 1)
            });
        if got.is_err() {
            self.hungry.fetch_add(1, Ordering::Relaxed);
        }
        got.is_ok()
    }

    fn release(&self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
        self.hungry.store(0, Ordering::Relaxed);
    }
}

/// The right to one connection under several limits; ends when dropped.
#[derive(Debug)]
pub struct Permit(Arc<[Arc<Budget>]>);

impl Permit {
    /// For what is there already, whatever the limits say.
    pub fn unconditional(budgets: &Arc<[Arc<Budget>]>) -> Permit {
        for budget in budgets.iter() {
            budget.used.fetch_add(1, Ordering::Relaxed);
        }
        Permit(Arc::clone(budgets))
    }

    /// # Errors
    /// The limit that is exhausted.
    pub fn acquire(budgets: &Arc<[Arc<Budget>]>) -> Result<Permit, Arc<Budget>> {
        for (n, budget) in budgets.iter().enumerate() {
            if !budget.acquire() {
                budgets[..n].iter().for_each(|b| b.release());
                return Err(Arc::clone(budget));
            }
        }
        Ok(Permit(Arc::clone(budgets)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.iter().for_each(|b| b.release());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_counts_under_all_limits_or_none() {
        let db = Budget::new("max_db_connections", 2);
        let all = Budget::new("max_server_conn", 0);
        let user = Budget::new("max_user_connections", 1);
        let both: Arc<[_]> = vec![all.clone(), db.clone(), user.clone()].into();
        let first = Permit::acquire(&both).unwrap();
        let refused = Permit::acquire(&both).unwrap_err();
        assert_eq!(refused.name, "max_user_connections");
        assert_eq!((db.used(), all.used(), user.used()), (1, 1, 1));
        assert!(user.is_short() && !db.is_short());
        drop(first);
        assert_eq!((db.used(), all.used(), user.used()), (0, 0, 0));
        assert!(!user.is_short());
        user.set_limit(0);
        let _a = Permit::acquire(&both).unwrap();
        let _b = Permit::acquire(&both).unwrap();
        assert_eq!(
            Permit::acquire(&both).unwrap_err().name,
            "max_db_connections"
        );
    }
}
