//! Which relations a feed reports, and what else changes with one of them.

use std::collections::{HashMap, HashSet};

use super::wire::Row;
use super::{FeedError, Job};
use crate::cache::Oid;

/// What a feed asks the server about relations.
#[derive(Debug, Default)]
pub(super) struct Relations {
    /// By parent. A trigger on a parent speaks for what the statement did to its children.
    children: HashMap<Oid, Vec<Oid>>,
}

/// Every pair of a parent and a child.
pub(super) const INHERITS: &str = "select inhparent, inhrelid from pg_catalog.pg_inherits";

impl Relations {
    /// # Errors
    /// An answer that is none.
    pub fn set_children(&mut self, rows: &[Row]) -> Result<(), FeedError> {
        self.children.clear();
        for row in rows {
            let [Some(parent), Some(child)] = &row[..] else {
                return Err(not_understood());
            };
            self.children
                .entry(oid(parent)?)
                .or_default()
                .push(oid(child)?);
        }
        Ok(())
    }

    /// It and all that is read with it.
    pub fn family(&self, relation: Oid) -> Vec<Oid> {
        let mut family = vec![relation];
        let mut next = 0;
        while let Some(one) = family.get(next) {
            next += 1;
            let children = self.children.get(one).into_iter().flatten();
            let new: Vec<Oid> = children.filter(|c| !family.contains(c)).copied().collect();
            family.extend(new);
        }
        family
    }
}

/// The relations of the first column are those that are reported.
pub(super) fn cover(job: &Job, rows: &[Row]) -> Result<(), FeedError> {
    let mut covered = HashSet::default();
    for row in rows {
        let Some(Some(first)) = row.first() else {
            return Err(not_understood());
        };
        covered.insert(oid(first)?);
    }
    job.space.cover(covered);
    Ok(())
}

fn oid(text: &str) -> Result<Oid, FeedError> {
    text.parse().map_err(|_| not_understood())
}

fn not_understood() -> FeedError {
    FeedError::Other("an answer of the server was not understood".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_everything_below_even_in_a_circle() {
        let mut relations = Relations::default();
        let pair = |a: &str, b: &str| vec![Some(a.to_owned()), Some(b.to_owned())];
        let rows = [
            pair("1", "2"),
            pair("2", "3"),
            pair("2", "4"),
            pair("4", "1"),
        ];
        relations.set_children(&rows).unwrap();
        assert_eq!(relations.family(1), [1, 2, 3, 4]);
        assert_eq!(relations.family(3), [3]);
        assert!(relations.set_children(&[vec![None, None]]).is_err());
    }
}
