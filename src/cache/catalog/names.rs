//! What a name means in a session.

use super::{Catalog, Relation, SearchPath};
use crate::cache::facts::{Name, Refusal};

/// What a relation's name stands for.
pub(super) enum Found<'a> {
    Relation(&'a Relation),
    System,
    Temporary,
    Nothing,
    /// It depends on a search path that is not known, or on what the role may use.
    Unknown,
}

impl Catalog {
    pub(super) fn find(&self, name: &Name, path: &SearchPath) -> Found<'_> {
        if let Some(schema) = &name.schema {
            return self.find_in(schema, &name.name);
        }
        let Some(schemas) = &path.0 else {
            return Found::Unknown;
        };
        // pg_catalog comes first unless it is listed (PostgreSQL docs, "The System Catalog
        // Schema").
        let implicit = !schemas.iter().any(|s| *s.schema == *"pg_catalog");
        let first = implicit.then_some(("pg_catalog", true));
        let listed = schemas.iter().map(|s| (&*s.schema, s.certain));
        // Found where the server may not look: it means this, or nothing, or what comes later.
        let mut maybe = None;
        for (schema, certain) in first.into_iter().chain(listed) {
            match (self.find_in(schema, &name.name), &maybe) {
                (Found::Nothing, _) => {}
                (_, Some(_)) => return Found::Unknown,
                (found, None) if certain => return found,
                (found, None) => maybe = Some(found),
            }
        }
        maybe.unwrap_or(Found::Nothing)
    }

    /// All relations that a name may stand for, if it stands for one at all.
    pub(super) fn may_mean(
        &self,
        name: &Name,
        path: &SearchPath,
    ) -> impl Iterator<Item = &Relation> {
        let (known, possible) = match self.find(name, path) {
            Found::Relation(relation) => (Some(relation), None),
            Found::Unknown => (None, self.by_name.get(&name.name)),
            Found::System | Found::Temporary | Found::Nothing => (None, None),
        };
        let possible = possible.into_iter().flatten();
        let possible = possible.filter_map(|oid| self.relations.get(oid));
        known.into_iter().chain(possible)
    }

    fn find_in(&self, schema: &str, name: &str) -> Found<'_> {
        if schema.starts_with("pg_temp") {
            return Found::Temporary;
        }
        let mut system = self.system.get(name).into_iter().flatten();
        if system.any(|s| **s == *schema) {
            return Found::System;
        }
        let named = self.by_name.get(name).into_iter().flatten();
        let mut named = named.filter_map(|oid| self.relations.get(oid));
        named
            .find(|r| *r.schema == *schema)
            .map_or(Found::Nothing, Found::Relation)
    }

    /// As [`Catalog::find`], for something that must be there.
    pub(super) fn relation(&self, name: &Name, path: &SearchPath) -> Result<&Relation, Refusal> {
        let shown = || name.to_string().into_boxed_str();
        match self.find(name, path) {
            Found::Relation(relation) => Ok(relation),
            Found::System => Err(Refusal::SystemCatalog(shown())),
            Found::Temporary => Err(Refusal::TemporaryTable(shown())),
            Found::Nothing => Err(Refusal::UnknownRelation(shown())),
            Found::Unknown => Err(Refusal::SearchPath),
        }
    }
}
