//! Which statements only read, and can be run by a replica as well as by the primary.
//!
//! Less is asked than of what may be remembered: the answer may depend on the time, on settings, on anything but
//! what only the primary has. When in doubt it is no read.

use std::collections::BTreeSet;

use super::{Catalog, Kind, Relation, SearchPath};
use crate::cache::Oid;
use crate::cache::facts::{Facts, Mentions, Read};

/// How deep views may be made of views.
const DEPTH_MAX: usize = 32;

impl Catalog {
    pub(super) fn only_reads(&self, facts: &Facts, path: &SearchPath) -> bool {
        let Ok(read) = &facts.read else { return false };
        // A cast that is made without being asked for may call anything.
        !self.odd_casts && self.parts_read(facts, read, path, &mut BTreeSet::new(), 0)
    }

    /// A statement, or the definition of a view.
    fn parts_read(
        &self,
        facts: &Facts,
        read: &Read,
        path: &SearchPath,
        seen: &mut BTreeSet<Oid>,
        depth: usize,
    ) -> bool {
        let mut mentions = facts.statements.iter().map(|s| &s.mentions);
        mentions.all(|mentions| self.mentions_read(mentions, read, path, seen, depth))
    }

    fn mentions_read(
        &self,
        mentions: &Mentions,
        read: &Read,
        path: &SearchPath,
        seen: &mut BTreeSet<Oid>,
        depth: usize,
    ) -> bool {
        if !self.functions.only_read(mentions) {
            return false;
        }
        if !read.types.iter().all(|name| self.check_type(name).is_ok()) {
            return false;
        }
        let mut named = read.relations.iter().map(|name| self.relation(name, path));
        if !named.all(|relation| relation.is_ok_and(|r| self.is_on_replicas(r, seen, depth))) {
            return false;
        }
        // What the syntax tree may have missed.
        let mentioned = mentions.identifiers.iter();
        let mut mentioned = mentioned.flat_map(|name| self.may_mean(name, path));
        mentioned.all(|relation| self.is_on_replicas(relation, seen, depth))
    }

    /// Whether reading it runs nothing that is not known, and a replica has it.
    fn is_on_replicas(&self, relation: &Relation, seen: &mut BTreeSet<Oid>, depth: usize) -> bool {
        if !seen.insert(relation.oid) {
            return true;
        }
        // Policies may call what they like.
        if relation.row_security || relation.odd_output || relation.unlogged || depth > DEPTH_MAX {
            return false;
        }
        match relation.kind {
            Kind::Foreign | Kind::Sequence => false,
            Kind::Materialized => true,
            Kind::Table | Kind::Partitioned => {
                let children = self.children.get(&relation.oid).into_iter().flatten();
                // One that is not known is a temporary one of another session.
                let mut children = children.filter_map(|oid| self.relations.get(oid));
                children.all(|child| {
                    !child.unlogged
                        && child.kind != Kind::Foreign
                        && self.is_on_replicas(child, seen, depth)
                })
            }
            Kind::View => {
                let definition = relation.definition.as_ref();
                let nowhere = SearchPath(Some([].into()));
                let plain = definition.is_some_and(|facts| {
                    let read = facts.read.as_ref();
                    read.is_ok_and(|read| self.parts_read(facts, read, &nowhere, seen, depth + 1))
                });
                let mut bases = self.view_relations.get(&relation.oid).into_iter().flatten();
                plain
                    && bases.all(|oid| {
                        let base = self.relations.get(oid);
                        base.is_some_and(|base| self.is_on_replicas(base, seen, depth + 1))
                    })
            }
        }
    }
}
