//! Fetching a snapshot: the SQL, and its rows.

use std::hash::{BuildHasher, Hasher};

use super::functions::{Function, Volatility};
use super::{Catalog, ForeignKey, Kind, Relation, Trigger, TypeKind, Usage};
use crate::cache::Oid;
use crate::cache::analysis::analyse;
use crate::cache::facts::Name;
use crate::server::dialogue::Row;

/// A simple query for [`Catalog::from_rows`], on any server from PostgreSQL 13 on and as any user.
/// The first column says what a row is about.
pub const LOAD: &str = include_str!("load.sql");

/// The rows are not those of [`LOAD`].
#[derive(Debug, thiserror::Error)]
#[error("unexpected row of kind {kind:?} in the catalogs")]
pub struct CatalogError {
    kind: String,
}

/// One row, by column.
struct Fields<'a>(&'a Row);

impl Fields<'_> {
    fn text(&self, at: usize) -> Option<&str> {
        std::str::from_utf8(self.0.get(at)?.as_deref()?).ok()
    }

    fn boxed(&self, at: usize) -> Option<Box<str>> {
        self.text(at).map(Into::into)
    }

    fn oid(&self, at: usize) -> Option<Oid> {
        self.text(at)?.parse().ok()
    }

    fn number(&self, at: usize) -> Option<usize> {
        self.text(at)?.parse().ok()
    }

    fn flag(&self, at: usize) -> bool {
        self.text(at) == Some("t")
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text(at)?.bytes().next()
    }

    fn name(&self, at: usize) -> Option<Name> {
        Some(Name {
            schema: Some(self.boxed(at)?),
            name: self.boxed(at + 1)?,
        })
    }
}

impl Catalog {
    /// # Errors
    /// [`CatalogError`]: the server has answered something else than was asked for.
    pub fn from_rows(rows: &[Row]) -> Result<Catalog, CatalogError> {
        let mut catalog = Catalog::default();
        let hasher = foldhash::quality::FixedState::with_seed(0x6361_7461);
        for row in rows {
            let mut hash = hasher.build_hasher();
            for value in row {
                hash.write(value.as_deref().unwrap_or(b"\0"));
                hash.write_u8(0xff);
            }
            // A sum: the order of the rows does not count.
            catalog.fingerprint = catalog.fingerprint.wrapping_add(hash.finish());
            let fields = Fields(row);
            catalog.take(&fields).ok_or_else(|| CatalogError {
                kind: fields.text(0).unwrap_or_default().to_owned(),
            })?;
        }
        Ok(catalog)
    }

    fn take(&mut self, row: &Fields<'_>) -> Option<()> {
        match row.text(0)? {
            "session" => {
                self.read_committed = row.text(1)? == "read committed";
                self.path_setting = row.boxed(2)?;
                self.user = row.boxed(3)?;
            }
            "path" => self.default_path.push(row.boxed(1)?),
            "schema" => {
                let usage = Usage {
                    own: row.flag(2),
                    everybody: row.flag(3),
                };
                self.schemas.insert(row.boxed(1)?, usage);
            }
            "relation" => self.take_relation(row)?,
            "system" => {
                let schemas = self.system.entry(row.boxed(2)?).or_default();
                schemas.push(row.boxed(1)?);
            }
            "child" => self
                .children
                .entry(row.oid(1)?)
                .or_default()
                .push(row.oid(2)?),
            "key" => {
                let keys = self.foreign_keys.entry(row.oid(1)?).or_default();
                keys.push(ForeignKey {
                    referencing: row.oid(2)?,
                    on_update: row.byte(3)?,
                    on_delete: row.byte(4)?,
                });
            }
            "trigger" => {
                let triggers = self.triggers.entry(row.oid(1)?).or_default();
                triggers.push(Trigger {
                    events: row.text(2)?.parse::<i16>().ok()? as u16,
                    function: row.name(3)?,
                });
            }
            "rule" => {
                self.rules.insert(row.oid(1)?);
            }
            "hidden" => {
                let calls = self.hidden_calls.entry(row.oid(1)?).or_default();
                calls.push(row.name(2)?);
            }
            "policy" => {
                let calls = self.policy_calls.entry(row.oid(1)?).or_default();
                calls.push(row.name(2)?);
            }
            "qual" => {
                // As a statement, with the table's columns as names that mean nothing.
                let sql = format!("SELECT 1 WHERE {}", row.text(2)?);
                let policies = self.policies.entry(row.oid(1)?).or_default();
                policies.push(analyse(sql.as_bytes(), true));
            }
            "view" => {
                let bases = self.view_relations.entry(row.oid(1)?).or_default();
                bases.push(row.oid(2)?);
            }
            "function" => self.take_function(row)?,
            "operator" => {
                let volatility = Volatility::parse(row.text(2)?);
                let known = self.functions.operators.entry(row.boxed(1)?);
                let known = known.or_insert(volatility);
                *known = volatility.max(*known);
            }
            "type" => {
                let kind = if row.flag(3) {
                    TypeKind::Plain
                } else {
                    TypeKind::Other
                };
                let kinds = self.types.entry(row.boxed(2)?).or_default();
                kinds.push((row.boxed(1)?, kind));
            }
            "domain" => {
                self.odd_domains.insert(row.boxed(1)?);
            }
            "odd" => match row.text(1)? {
                "cast" => self.odd_casts = true,
                _ => self.functions.some_change_schema = true,
            },
            _ => return None,
        }
        Some(())
    }

    fn take_relation(&mut self, row: &Fields<'_>) -> Option<()> {
        let kind = match row.byte(4)? {
            b'r' => Kind::Table,
            b'p' => Kind::Partitioned,
            b'v' => Kind::View,
            b'm' => Kind::Materialized,
            b'f' => Kind::Foreign,
            b'S' => Kind::Sequence,
            _ => return None,
        };
        let relation = Relation {
            oid: row.oid(1)?,
            schema: row.boxed(2)?,
            name: row.boxed(3)?,
            kind,
            row_security: row.flag(5),
            odd_output: row.flag(6),
            definition: row.text(7).map(|sql| analyse(sql.as_bytes(), true)),
            unlogged: row.flag(8),
        };
        let same_name = self.by_name.entry(relation.name.clone()).or_default();
        same_name.push(relation.oid);
        self.relations.insert(relation.oid, relation);
        Some(())
    }

    fn take_function(&mut self, row: &Fields<'_>) -> Option<()> {
        let function = Function {
            schema: row.boxed(1),
            volatility: Volatility::parse(row.text(3)?),
            least: row.number(4)?,
            most: row.number(5)?,
            by_column: row.flag(6),
            changes_schema: row.flag(7),
        };
        let same_name = self.functions.by_name.entry(row.boxed(2)?).or_default();
        same_name.push(function);
        Some(())
    }
}
