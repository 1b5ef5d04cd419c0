//! What a name means in a session.

use super::{Catalog, Relation, SearchPath};
use crate::cache::facts::{Name, Refusal};

/// What a relation's name stands for.
pub(super) enum Found<'a> {
    Relation(&'a Relation),
    System,
    Temporary,
    Nothing,
    /// It depends on a search path that is not known.
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
        let implicit = !schemas.iter().any(|s| **s == *"pg_catalog");
        let first = implicit.then_some("pg_catalog");
        for schema in first.into_iter().chain(schemas.iter().map(|s| &**s)) {
            match self.find_in(schema, &name.name) {
                Found::Nothing => {}
                found => return found,
            }
        }
        Found::Nothing
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
