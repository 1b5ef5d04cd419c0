//! A snapshot of a database's catalogs, and the judgements that need it.
//!
//! * `load` is the SQL that fetches it and the reading of its rows; * `names` finds what a name
//!   means; * `functions` knows which functions and operators answer the same today and tomorrow;
//! * `reads` says what an answer depends on, or why it may not be remembered; * `replicas` which
//!   statements only read; * `writes` says what a statement changes beside what it names.

mod functions;
mod load;
mod names;
mod reads;
mod replicas;
mod writes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Oid;
use super::facts::{Facts, Name, Refusal, Says};
use functions::Functions;

pub use load::{CatalogError, LOAD};

/// Where names without a schema are looked for: schemas in order. `None`: it is not known.
#[derive(Debug, Clone)]
pub struct SearchPath(pub Option<Arc<[Searched]>>);

/// A schema of a search path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Searched {
    pub schema: Box<str>,
    /// The server does look there: it passes over what the role may not use.
    pub certain: bool,
}

/// Who may use a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The role of the session that loaded the catalogs.
    pub own: bool,
    /// Every role.
    pub everybody: bool,
}

/// What the operator says of functions and tables that the catalogs do not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    pub functions: HashMap<Name, FunctionEffects>,
    pub tables: HashMap<Name, TableEffects>,
    /// Tables with row-level security may be remembered: what their policies look at is in the key.
    pub row_security: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionEffects {
    /// All that it may write; `Some` of nothing: it writes nothing.
    pub writes: Option<Vec<Name>>,
    /// All tables that its result depends on, if it depends on nothing else.
    pub reads: Option<Vec<Name>>,
}

/// What the triggers of a table write, beside the table itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableEffects {
    pub writes: Vec<Name>,
}

/// What is to be known of a text.
#[derive(Debug)]
pub struct Verdict {
    pub statements: Vec<StatementVerdict>,
    pub read: Result<ReadPlan, Refusal>,
    /// It is one statement that only reads, and that a replica can run.
    pub only_reads: bool,
    pub begins: bool,
}

#[derive(Debug)]
pub struct StatementVerdict {
    pub effect: Effect,
    pub may_commit: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// These relations, sorted.
    Writes(Vec<Oid>),
    Executes(Box<str>),
    /// Anything in this database, and what roles may do in the others.
    Everywhere,
    /// It cannot be told.
    Everything(Unknown),
}

/// Why it cannot be told what a statement changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown {
    pub why: &'static str,
    /// It may even change tables and functions themselves.
    pub schema: bool,
}

impl Unknown {
    /// It changes rows only.
    const fn rows(why: &'static str) -> Unknown {
        Unknown { why, schema: false }
    }

    /// It may change the schema.
    const fn schema(why: &'static str) -> Unknown {
        Unknown { why, schema: true }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPlan {
    /// All base relations whose change can change the answer, sorted.
    pub relations: Vec<Oid>,
    /// Those that the statement itself names, for rules.
    pub tables: Vec<Oid>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    Partitioned,
    View,
    Materialized,
    Foreign,
    Sequence,
}

#[derive(Debug)]
struct Relation {
    oid: Oid,
    schema: Box<str>,
    name: Box<str>,
    kind: Kind,
    row_security: bool,
    /// A column's values are made into text by a volatile function.
    odd_output: bool,
    /// What a view or a materialized view is made of.
    definition: Option<Facts>,
    /// Replicas have nothing of it.
    unlogged: bool,
}

#[derive(Debug)]
struct Trigger {
    /// As `pg_trigger.tgtype`.
    events: u16,
    function: Name,
}

#[derive(Debug)]
struct ForeignKey {
    referencing: Oid,
    on_update: u8,
    on_delete: u8,
}

/// What a type name in a cast stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TypeKind {
    /// Reading and writing its values depends on nothing but settings.
    Plain,
    Other,
}

/// The catalogs of one database as they were at one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    default_path: Vec<Box<str>>,
    /// `search_path` of the session that loaded it, as it is set.
    path_setting: Box<str>,
    /// The role of that session.
    user: Box<str>,
    fingerprint: u64,
    /// `default_transaction_isolation` of the session that loaded it.
    read_committed: bool,
    relations: HashMap<Oid, Relation>,
    by_name: HashMap<Box<str>, Vec<Oid>>,
    schemas: HashMap<Box<str>, Usage>,
    /// Names of relations in pg_catalog and information_schema.
    system: HashMap<Box<str>, Vec<Box<str>>>,
    children: HashMap<Oid, Vec<Oid>>,
    /// By the referenced table.
    foreign_keys: HashMap<Oid, Vec<ForeignKey>>,
    triggers: HashMap<Oid, Vec<Trigger>>,
    rules: HashSet<Oid>,
    /// Volatile functions of users behind defaults and constraints, called by writes.
    hidden_calls: HashMap<Oid, Vec<Name>>,
    /// The same behind policies, called by reads as well.
    policy_calls: HashMap<Oid, Vec<Name>>,
    /// What policies ask of a row that is read.
    policies: HashMap<Oid, Vec<Facts>>,
    /// By view: what its rewrite rule depends on.
    view_relations: HashMap<Oid, Vec<Oid>>,
    functions: Functions,
    types: HashMap<Box<str>, Vec<(Box<str>, TypeKind)>>,
    /// Some cast that is made without being asked for calls a function that is not immutable.
    odd_casts: bool,
    /// Domains whose constraints call a volatile function of a user, and types with such in them.
    odd_domains: HashSet<Box<str>>,
}

impl Catalog {
    /// The same for the same catalogs.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Transactions see what others commit, unless they ask for something else.
    pub fn is_read_committed(&self) -> bool {
        self.read_committed
    }

    /// Schemas in which the session that loaded it looked.
    pub fn default_path(&self) -> &[Box<str>] {
        &self.default_path
    }

    /// What `search_path` was set to in that session.
    pub fn path_setting(&self) -> &str {
        &self.path_setting
    }

    /// The role of that session.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Who may use that schema, if there is one.
    pub fn usage(&self, schema: &str) -> Option<Usage> {
        self.schemas.get(schema).copied()
    }

    pub fn relation_name(&self, oid: Oid) -> Option<(&str, &str)> {
        let relation = self.relations.get(&oid)?;
        Some((&relation.schema, &relation.name))
    }

    /// The relation of that name; `schema.name` or found by the path.
    pub fn relation_oid(&self, name: &str, path: &SearchPath) -> Option<Oid> {
        let name = match name.split_once('.') {
            Some((schema, name)) => Name::qualified(schema, name),
            None => Name::bare(name),
        };
        self.relation(&name, path).ok().map(|r| r.oid)
    }

    /// What a text does, and whether its answer may be remembered.
    pub fn judge(&self, facts: &Facts, path: &SearchPath, declared: &Declared) -> Verdict {
        let read = self.read(facts, path, declared);
        // What may be remembered is a read as well, but for what a replica does not have.
        let only_reads = self.only_reads(facts, path);
        let statements = facts.statements.iter().flat_map(|statement| {
            let effect = match &statement.says {
                Says::Nothing => Effect::Nothing,
                Says::Executes(name) => Effect::Executes(name.clone()),
                Says::Everywhere => Effect::Everywhere,
                Says::Anything(why) => Effect::Everything(Unknown::schema(why)),
                Says::Runs { schema } => {
                    let called = self.writes(&[], &statement.mentions, path, declared);
                    let calls = matches!(called, Effect::Everything(u) if u.schema);
                    Effect::Everything(Unknown {
                        why: "DO or CALL",
                        schema: *schema || calls || self.functions.some_change_schema,
                    })
                }
                // It may be a view that was made elsewhere, and call anything.
                Says::Reads if matches!(read, Err(Refusal::UnknownRelation(_))) => {
                    Effect::Everything(Unknown::schema("unknown relation"))
                }
                Says::Reads => self.runs(facts, &statement.mentions, path, declared),
                Says::Writes(writes) => self.writes(writes, &statement.mentions, path, declared),
            };
            // The arguments are not part of what was prepared, and are computed here.
            let arguments = matches!(statement.says, Says::Executes(_))
                .then(|| self.runs(facts, &statement.mentions, path, declared));
            let effects = [Some(effect), arguments].into_iter().flatten();
            effects.map(|effect| StatementVerdict {
                effect,
                may_commit: statement.may_commit,
            })
        });
        Verdict {
            statements: statements.collect(),
            read,
            only_reads,
            begins: facts.begins,
        }
    }
}

impl SearchPath {
    /// These, as the server has resolved them.
    pub fn resolved(schemas: &[Box<str>]) -> SearchPath {
        let searched = schemas.iter().map(|schema| Searched {
            schema: schema.clone(),
            certain: true,
        });
        SearchPath(Some(searched.collect()))
    }
}

impl Declared {
    fn function(&self, name: &Name) -> Option<&FunctionEffects> {
        let bare = || self.functions.get(&Name::bare(&name.name));
        self.functions.get(name).or_else(bare)
    }

    fn table(&self, relation: &Relation) -> Option<&TableEffects> {
        let full = Name::qualified(&relation.schema, &relation.name);
        let bare = || self.tables.get(&Name::bare(&relation.name));
        self.tables.get(&full).or_else(bare)
    }
}
