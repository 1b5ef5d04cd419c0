//! A statement as one client knows it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Statement;

/// While there is one, the statement's memory counts as clients'.
#[derive(Debug)]
pub struct Known(Arc<Statement>);

impl From<Arc<Statement>> for Known {
    fn from(statement: Arc<Statement>) -> Known {
        if statement.known.fetch_add(1, Ordering::Relaxed) == 0 {
            statement.together.grow(statement.weight());
        }
        Known(statement)
    }
}

impl Deref for Known {
    type Target = Arc<Statement>;

    fn deref(&self) -> &Arc<Statement> {
        &self.0
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        // Who comes and who goes at the same time may take note in either order: the sum is right in the end.
        if self.0.known.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.together.shrink(self.0.weight());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Registry;
    use super::*;

    #[test]
    fn a_statement_counts_once_while_anybody_knows_it() {
        let registry = Registry::default();
        let statement = registry.shared(true, b"select 1", b"", 0).expect("shared");
        let used = || registry.together().used();
        assert_eq!(used(), 0);
        let first = Known::from(Arc::clone(&statement));
        let second = Known::from(Arc::clone(&statement));
        assert_eq!(used(), statement.weight());
        drop(first);
        assert_eq!(used(), statement.weight());
        drop(second);
        assert_eq!(used(), 0);
    }
}
