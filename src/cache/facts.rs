//! What a SQL text says by itself, without the server's catalogs: made by `analysis`, judged by
//! `catalog`.
//!
//! Where a text can be read in two ways, the facts say more rather than less: a relation that may
//! be meant is mentioned, a function that may be called is called, and what may be done is done.

/// A name as the server understands it: in lower case unless quoted, at most 63 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub schema: Option<Box<str>>,
    pub name: Box<str>,
}

/// Everything that is to be known of one text: of a Query message, or of a prepared statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// In order; empty ones are left out.
    pub statements: Vec<StatementFacts>,
    /// Whether, as a whole, it is one statement that may be answered from memory, as far as its
    /// text goes.
    pub read: Result<Read, Refusal>,
    /// It begins a transaction block and nothing else, without asking for another isolation than
    /// READ COMMITTED.
    pub begins: bool,
}

/// What one statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementFacts {
    pub says: Says,
    /// Running it may end the transaction that it runs in with a commit: `COMMIT`, `END`,
    /// `PREPARE TRANSACTION`, `COMMIT PREPARED`, `CALL`, `DO`, and whatever is not understood.
    pub may_commit: bool,
    /// What runs when it runs, beside what it says.
    pub mentions: Mentions,
}

/// What a statement says that it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// Neither reads nor writes rows: `BEGIN`, `SET`, `LISTEN`, `PREPARE`, ….
    Nothing,
    /// Reads only, unless something that it mentions writes: `SELECT`, `VALUES`, `TABLE`,
    /// `EXPLAIN`, `COPY … TO`, `DECLARE`, ….
    Reads,
    Writes(Vec<Write>),
    /// SQL `EXECUTE` of this name: does what was prepared.
    Executes(Box<str>),
    /// Code that writes what it likes: `DO`, `CALL`.
    Runs {
        /// The code, as far as it is in the statement, may change the schema.
        schema: bool,
    },
    /// Anything, also to the server's other databases: roles, settings of roles and databases.
    Everywhere,
    /// Anything: schema changes, what is not understood. The text says why, for the
    /// console: `"DDL"`, ….
    Anything(&'static str),
}

/// A relation that is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub target: Name,
    pub action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `INSERT` without `ON CONFLICT … DO UPDATE`, and `COPY FROM`.
    Insert,
    /// `UPDATE`, `INSERT … ON CONFLICT … DO UPDATE`.
    Update,
    Delete,
    /// Any of the above.
    Merge,
    Truncate,
    /// `REFRESH MATERIALIZED VIEW`.
    Refresh,
}

/// Everything in a statement that may run code or name a relation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mentions {
    /// Every name with an opening parenthesis behind it, and the functions that SQL calls by a
    /// syntax of their own.
    pub calls: Vec<Call>,
    /// Each once, as written: `=`, `<->`, `OPERATOR(s.+)` as `+`.
    pub operators: Vec<Box<str>>,
    /// Every other identifier or dotted chain of identifiers, as pairs of neighbours (`a.b.c` gives
    /// `a.b` and `b.c`) and alone: what may be a relation, or a function in the notation of a
    /// column. Each once. Keywords that no relation can have as its bare name are left out.
    pub identifiers: Vec<Name>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: Name,
    /// How many arguments, where that can be told.
    pub arguments: Option<usize>,
}

/// A statement that may be answered from memory as far as its text goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Relations in its syntax tree, without its own common table expressions. Each once.
    pub relations: Vec<Name>,
    /// Type names in casts and typed constants. Each once.
    pub types: Vec<Name>,
    /// Names in `current_setting('name')`, in lower case.
    pub settings: Vec<Box<str>>,
}

/// Why a statement is not answered from memory. The names are shown on the console and are labels
/// of a metric, so they do not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    // By the text.
    #[error("more than one statement, or none")]
    NotOneStatement,
    #[error("not a SELECT, VALUES or TABLE")]
    NotARead,
    #[error("a common table expression writes")]
    WritingCte,
    #[error("SELECT INTO")]
    Into,
    #[error("locks rows (FOR UPDATE, FOR SHARE)")]
    Locking,
    #[error("TABLESAMPLE")]
    TableSample,
    #[error("its syntax is not understood")]
    Unparsed,
    #[error("a constant may be a date relative to now ('now', 'today', ...)")]
    DateWord,
    #[error("the text is too long")]
    TooLong,
    #[error("current_setting() of something that is not a constant")]
    UnknownSetting,

    // By the catalogs.
    #[error("no relation of the name {0} is known")]
    UnknownRelation(Box<str>),
    #[error("{0} is a system catalog")]
    SystemCatalog(Box<str>),
    #[error("{0} is a temporary table")]
    TemporaryTable(Box<str>),
    #[error("{0} is a foreign table")]
    ForeignTable(Box<str>),
    #[error("{0} is not a table or view")]
    NotATable(Box<str>),
    #[error("{0} has row-level security")]
    RowSecurity(Box<str>),
    #[error("view {0} cannot be expanded")]
    OpaqueView(Box<str>),
    #[error("the name {0} may mean a view or table that cannot be cached")]
    AmbiguousName(Box<str>),
    #[error("function {0} is volatile")]
    VolatileFunction(Box<str>),
    #[error("function {0} is stable and not known to depend on nothing but what is in the key")]
    StableFunction(Box<str>),
    #[error("no function of the name {0} is known")]
    UnknownFunction(Box<str>),
    #[error("operator {0} is not immutable")]
    Operator(Box<str>),
    #[error("casts to type {0} are not known to be immutable")]
    Type(Box<str>),
    #[error("the search path of the session is not known")]
    SearchPath,
    #[error("the server's catalogs have not been read yet, or have just changed")]
    NoCatalog,
}

impl Refusal {
    /// Short, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Refusal::NotOneStatement => "not_one_statement",
            Refusal::NotARead => "not_a_read",
            Refusal::WritingCte => "writing_cte",
            Refusal::Into => "into",
            Refusal::Locking => "locking",
            Refusal::TableSample => "tablesample",
            Refusal::Unparsed => "unparsed",
            Refusal::DateWord => "date_word",
            Refusal::TooLong => "too_long",
            Refusal::UnknownSetting => "unknown_setting",
            Refusal::UnknownRelation(_) => "unknown_relation",
            Refusal::SystemCatalog(_) => "system_catalog",
            Refusal::TemporaryTable(_) => "temporary_table",
            Refusal::ForeignTable(_) => "foreign_table",
            Refusal::NotATable(_) => "not_a_table",
            Refusal::RowSecurity(_) => "row_security",
            Refusal::OpaqueView(_) => "opaque_view",
            Refusal::AmbiguousName(_) => "ambiguous_name",
            Refusal::VolatileFunction(_) => "volatile_function",
            Refusal::StableFunction(_) => "stable_function",
            Refusal::UnknownFunction(_) => "unknown_function",
            Refusal::Operator(_) => "operator",
            Refusal::Type(_) => "type",
            Refusal::SearchPath => "search_path",
            Refusal::NoCatalog => "no_catalog",
        }
    }
}

impl Name {
    /// A name without a schema.
    pub fn bare(name: &str) -> Name {
        Name {
            schema: None,
            name: name.into(),
        }
    }

    pub fn qualified(schema: &str, name: &str) -> Name {
        Name {
            schema: Some(schema.into()),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}
