//! What an answer depends on, or why it may not be remembered.

use std::collections::BTreeSet;

use super::{Catalog, Declared, Kind, ReadPlan, Relation, SearchPath, TypeKind};
use crate::cache::Oid;
use crate::cache::facts::{Facts, Mentions, Name, Read, Refusal};

/// How deep views may be made of views.
const DEPTH_MAX: usize = 32;

/// What was found so far.
#[derive(Default)]
struct Closure {
    relations: BTreeSet<Oid>,
    views: BTreeSet<Oid>,
    /// Tables whose policies were looked at.
    secured: BTreeSet<Oid>,
}

impl Catalog {
    pub(super) fn read(
        &self,
        facts: &Facts,
        path: &SearchPath,
        declared: &Declared,
    ) -> Result<ReadPlan, Refusal> {
        let read = facts.read.as_ref().map_err(Clone::clone)?;
        if self.odd_casts {
            return Err(Refusal::Type("of a user's cast".into()));
        }
        let mut closure = Closure::default();
        let mut tables = BTreeSet::new();
        for name in &read.relations {
            tables.insert(self.relation(name, path)?.oid);
        }
        let mentions = facts.statements.iter().map(|s| &s.mentions);
        for mentions in mentions {
            self.expand(read, mentions, path, declared, &mut closure, 0)?;
        }
        Ok(ReadPlan {
            relations: closure.relations.into_iter().collect(),
            tables: tables.into_iter().collect(),
        })
    }

    /// A statement, or the definition of a view.
    fn expand(
        &self,
        read: &Read,
        mentions: &Mentions,
        path: &SearchPath,
        declared: &Declared,
        closure: &mut Closure,
        depth: usize,
    ) -> Result<(), Refusal> {
        let mut also = Vec::new();
        self.functions.check_read(mentions, declared, &mut also)?;
        if let Some(setting) = read.settings.iter().find(|s| !s.contains('.')) {
            return Err(Refusal::StableFunction(
                format!("current_setting('{setting}')").into(),
            ));
        }
        for name in &read.types {
            self.check_type(name)?;
        }
        for name in read.relations.iter().chain(&also) {
            let relation = self.relation(name, path)?;
            self.depend(relation, declared, closure, depth)?;
        }
        // What the syntax tree may have missed.
        for name in &mentions.identifiers {
            if read.relations.contains(name) {
                continue;
            }
            for relation in self.may_mean(name, path) {
                self.depend(relation, declared, closure, depth)
                    .map_err(|_| Refusal::AmbiguousName(name.to_string().into()))?;
            }
        }
        Ok(())
    }

    fn depend(
        &self,
        relation: &Relation,
        declared: &Declared,
        closure: &mut Closure,
        depth: usize,
    ) -> Result<(), Refusal> {
        let shown = || relation.shown();
        if relation.row_security {
            if !declared.row_security {
                return Err(Refusal::RowSecurity(shown()));
            }
            self.policies(relation, declared, closure, depth)?;
        }
        if relation.odd_output {
            return Err(Refusal::Type(shown()));
        }
        match relation.kind {
            Kind::Foreign => Err(Refusal::ForeignTable(shown())),
            Kind::Sequence => Err(Refusal::NotATable(shown())),
            Kind::Table | Kind::Partitioned | Kind::Materialized => self.rows(relation, closure),
            Kind::View => {
                if !closure.views.insert(relation.oid) {
                    return Ok(());
                }
                let definition = relation.definition.as_ref();
                let opaque = || Refusal::OpaqueView(shown());
                let facts = definition
                    .filter(|_| depth < DEPTH_MAX)
                    .ok_or_else(opaque)?;
                let read = facts.read.as_ref().map_err(|_| opaque())?;
                self.definition(facts, read, declared, closure, depth + 1)?;
                for oid in self.view_relations.get(&relation.oid).into_iter().flatten() {
                    let base = self.relations.get(oid).ok_or_else(opaque)?;
                    self.depend(base, declared, closure, depth + 1)?;
                }
                Ok(())
            }
        }
    }

    /// Policies decide by the role and by settings, which are in the key, and by what they read.
    fn policies(
        &self,
        relation: &Relation,
        declared: &Declared,
        closure: &mut Closure,
        depth: usize,
    ) -> Result<(), Refusal> {
        if !closure.secured.insert(relation.oid) {
            return Ok(());
        }
        for policy in self.policies.get(&relation.oid).into_iter().flatten() {
            let refused = |_: &Refusal| Refusal::RowSecurity(relation.shown());
            let read = policy.read.as_ref().map_err(refused)?;
            if depth >= DEPTH_MAX {
                return Err(Refusal::RowSecurity(relation.shown()));
            }
            self.definition(policy, read, declared, closure, depth + 1)?;
        }
        Ok(())
    }

    /// What a view or a policy is made of, in which every name is written in full.
    fn definition(
        &self,
        facts: &Facts,
        read: &Read,
        declared: &Declared,
        closure: &mut Closure,
        depth: usize,
    ) -> Result<(), Refusal> {
        let nowhere = SearchPath(Some([].into()));
        for statement in &facts.statements {
            self.expand(
                read,
                &statement.mentions,
                &nowhere,
                declared,
                closure,
                depth,
            )?;
        }
        Ok(())
    }

    /// The rows of a table, and of those that are read with it. Their security is not asked: that
    /// of the table that was named counts.
    fn rows(&self, relation: &Relation, closure: &mut Closure) -> Result<(), Refusal> {
        if !closure.relations.insert(relation.oid) {
            return Ok(());
        }
        for child in self.children.get(&relation.oid).into_iter().flatten() {
            // One that is not known is a temporary one of another session.
            let Some(child) = self.relations.get(child) else {
                continue;
            };
            if child.kind == Kind::Foreign {
                return Err(Refusal::ForeignTable(child.shown()));
            }
            self.rows(child, closure)?;
        }
        Ok(())
    }

    pub(super) fn check_type(&self, name: &Name) -> Result<(), Refusal> {
        let of_name = self.types.get(&name.name).into_iter().flatten();
        let mut of_name = of_name
            .filter(|(schema, _)| name.schema.as_ref().is_none_or(|wanted| wanted == schema));
        let first = of_name.next();
        let fine = |t: &(Box<str>, TypeKind)| t.1 == TypeKind::Plain;
        if first.is_some_and(fine) && of_name.all(fine) {
            return Ok(());
        }
        Err(Refusal::Type(name.to_string().into()))
    }
}

impl Relation {
    pub(super) fn shown(&self) -> Box<str> {
        format!("{}.{}", self.schema, self.name).into()
    }
}
