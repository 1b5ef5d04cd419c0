//! Whether a statement may be answered from memory, by its syntax tree.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    DataType, Expr, FunctionArgumentClause, FunctionArguments, Ident, ObjectName, ObjectNamePart,
    Query, Select, SetExpr, Statement, TableFactor, Visit, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::tokens::Part;
use crate::cache::facts::{Name, Read, Refusal};
use crate::sql;
use crate::sql::lexer::Kind;

/// Longest text that is parsed, in bytes and in tokens: chains of operators make deep trees, and
/// walking one must not use up a thread's stack. A test holds this to half a megabyte.
const TEXT_MAX: usize = 64 * 1024;
const TOKENS_MAX: usize = 1500;
/// How deep the parser may recurse: definitions of views have a parenthesis for every join.
const DEPTH_MAX: usize = 18;
/// How deep queries may nest: each takes the parser far more of its stack than a parenthesis.
const QUERIES_MAX: usize = 7;

pub fn read(text: &str, part: &Part<'_>) -> Result<Read, Refusal> {
    let first = (0..part.len())
        .find(|i| !part.is_symbol(*i, b'('))
        .unwrap_or(0);
    if !part.is_any_word(first, &["select", "with", "values", "table"]) {
        return Err(Refusal::NotARead);
    }
    if text.len() > TEXT_MAX || part.len() > TOKENS_MAX {
        return Err(Refusal::TooLong);
    }
    if queries_deep(part) > QUERIES_MAX {
        return Err(Refusal::TooLong);
    }
    if sql::mentions_datetime_word(text.as_bytes()) {
        return Err(Refusal::DateWord);
    }
    if (0..part.len()).any(|i| part.is_word(i, "tablesample")) {
        return Err(Refusal::TableSample);
    }
    let locks = |i: usize| {
        part.is_word(i, "for") && part.is_any_word(i + 1, &["update", "share", "no", "key"])
    };
    if (0..part.len()).any(locks) {
        return Err(Refusal::Locking);
    }
    let settings = settings(part)?;
    let text = for_parser(part);
    let parser = Parser::new(&PostgreSqlDialect {}).with_recursion_limit(DEPTH_MAX);
    let parsed = parser
        .try_with_sql(&text)
        .and_then(|mut p| p.parse_statements());
    let statements = parsed.map_err(|_| Refusal::Unparsed)?;
    let [statement] = &statements[..] else {
        return Err(Refusal::NotOneStatement);
    };
    if !matches!(statement, Statement::Query(_)) {
        return Err(Refusal::NotARead);
    }
    let mut reader = Reader::default();
    if let ControlFlow::Break(refusal) = statement.visit(&mut reader) {
        return Err(refusal);
    }
    let Reader {
        mut relations,
        ctes,
        types,
    } = reader;
    if relations.contains(&Name::bare("only")) {
        // `FROM ONLY t` is taken for a table `only` with the alias `t`.
        return Err(Refusal::Unparsed);
    }
    // Where a CTE hides a table elsewhere in the statement, the table is still mentioned.
    relations.retain(|r| r.schema.is_some() || !ctes.contains(&r.name));
    Ok(Read {
        relations: relations.into_iter().collect(),
        types: types.into_iter().collect(),
        settings: settings.into_iter().collect(),
    })
}

/// How deep queries are nested in parentheses.
fn queries_deep(part: &Part<'_>) -> usize {
    let (mut open, mut deep, mut deepest) = (Vec::new(), 0usize, 0);
    for at in 0..part.len() {
        if part.is_symbol(at, b'(') {
            let query = part.is_any_word(at + 1, &["select", "with", "values", "table"]);
            open.push(query);
            deep += usize::from(query);
            deepest = deepest.max(deep);
        } else if part.is_symbol(at, b')') {
            deep -= usize::from(open.pop() == Some(true));
        }
    }
    deepest
}

/// The tokens again with one blank or none between them, and nothing in them that the parser could
/// cut otherwise: nobody asks for the contents of constants, so that all of them are empty.
fn for_parser(part: &Part<'_>) -> String {
    let mut out = String::with_capacity(part.end(part.len()).min(TEXT_MAX) + 16);
    for at in 0..part.len() {
        if at > 0 && !part.touches(at) {
            out.push(' ');
        }
        match part.kind(at) {
            Some(Kind::String) => out.push_str("''"),
            // The parser knows TABLE as a part of UNION only, and loses how the name was written.
            Some(Kind::Word) if part.is_word(at, "table") => out.push_str("select * from"),
            _ => out.push_str(part.text(at)),
        }
    }
    out
}

/// Names in `current_setting('name')`, wherever it is called.
fn settings(part: &Part<'_>) -> Result<BTreeSet<Box<str>>, Refusal> {
    let mut settings = BTreeSet::new();
    for at in (0..part.len()).filter(|at| part.is_identifier(*at)) {
        if part.identifier(at).as_deref() != Some("current_setting") {
            continue;
        }
        // As the server writes it in definitions: 'name'::text.
        let is_text = part.is_symbol(at + 3, b':')
            && part.is_symbol(at + 4, b':')
            && part.is_word(at + 5, "text");
        let end = if is_text { at + 6 } else { at + 3 };
        let constant = part.kind(at + 2) == Some(Kind::String)
            && part.is_symbol(at + 1, b'(')
            && (part.is_symbol(end, b',') || part.is_symbol(end, b')'));
        let name = part.text(at + 2).strip_prefix('\'');
        let name = name.and_then(|n| n.strip_suffix('\''));
        match name {
            Some(name) if constant && !name.contains(['\'', '\\']) => {
                settings.insert(name.to_lowercase().into());
            }
            _ => return Err(Refusal::UnknownSetting),
        }
    }
    Ok(settings)
}

#[derive(Default)]
struct Reader {
    relations: BTreeSet<Name>,
    ctes: BTreeSet<Box<str>>,
    types: BTreeSet<Name>,
}

type Flow = ControlFlow<Refusal>;

fn refuse(refusal: Refusal) -> Flow {
    ControlFlow::Break(refusal)
}

impl Visitor for Reader {
    type Break = Refusal;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        if !query.locks.is_empty() {
            return refuse(Refusal::Locking);
        }
        let foreign = query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty();
        if foreign {
            return refuse(Refusal::Unparsed);
        }
        for cte in query.with.iter().flat_map(|w| &w.cte_tables) {
            self.ctes.insert(identifier(&cte.alias.name));
        }
        self.body(&query.body)
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        if select.into.is_some() {
            return refuse(Refusal::Into);
        }
        let foreign = select.top.is_some()
            || !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty()
            || !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty()
            || !select.sort_by.is_empty()
            || select.qualify.is_some()
            || select.value_table_mode.is_some();
        if foreign {
            return refuse(Refusal::Unparsed);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_ident(&mut self, ident: &Ident) -> Flow {
        match ident.quote_style {
            None | Some('"') => ControlFlow::Continue(()),
            // In `mytype 'x'` the parser takes the constant for an alias.
            Some(_) => refuse(Refusal::Unparsed),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        if let TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } = factor
        {
            for column in alias.iter().flat_map(|a| &a.columns) {
                if let Some(data_type) = &column.data_type {
                    self.data_type(data_type)?;
                }
            }
        }
        match factor {
            TableFactor::Table {
                name,
                args: None,
                version: None,
                sample: None,
                json_path: None,
                ..
            } => match self::name(name) {
                Some(name) => {
                    self.relations.insert(name);
                    ControlFlow::Continue(())
                }
                None => refuse(Refusal::Unparsed),
            },
            // `FROM ONLY (t)` is taken for a function.
            TableFactor::Table {
                name,
                args: Some(_),
                ..
            } if self::name(name) == Some(Name::bare("only")) => refuse(Refusal::Unparsed),
            // A function: the tokens tell which.
            TableFactor::Table {
                args: Some(_),
                sample: None,
                ..
            }
            | TableFactor::Derived { .. }
            | TableFactor::Function { .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            _ => refuse(Refusal::Unparsed),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        match expr {
            Expr::Cast { data_type, .. } => self.data_type(data_type),
            Expr::TypedString(typed) => self.data_type(&typed.data_type),
            Expr::Function(function) => {
                let FunctionArguments::List(list) = &function.args else {
                    return ControlFlow::Continue(());
                };
                for clause in &list.clauses {
                    if let FunctionArgumentClause::JsonReturningClause(returning) = clause {
                        self.data_type(&returning.data_type)?;
                    }
                }
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> Flow {
        match statement {
            Statement::Query(_) => ControlFlow::Continue(()),
            _ => refuse(Refusal::WritingCte),
        }
    }
}

impl Reader {
    /// The parts of UNION and the like; what is nested deeper is visited by itself.
    fn body(&mut self, body: &SetExpr) -> Flow {
        let mut rest = vec![body];
        while let Some(body) = rest.pop() {
            match body {
                SetExpr::SetOperation { left, right, .. } => rest.extend([&**left, &**right]),
                SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => {}
                SetExpr::Table(_) => return refuse(Refusal::Unparsed),
                SetExpr::Insert(_)
                | SetExpr::Update(_)
                | SetExpr::Delete(_)
                | SetExpr::Merge(_) => return refuse(Refusal::WritingCte),
            }
        }
        ControlFlow::Continue(())
    }

    fn data_type(&mut self, data_type: &DataType) -> Flow {
        use sqlparser::ast::ArrayElemTypeDef as Elements;
        match data_type {
            DataType::Custom(name, _) => match self::name(name) {
                Some(name) => {
                    self.types.insert(name);
                }
                None => return refuse(Refusal::Unparsed),
            },
            DataType::Array(
                Elements::AngleBracket(inner)
                | Elements::SquareBracket(inner, _)
                | Elements::Parenthesis(inner),
            ) => return self.data_type(inner),
            other if is_grammar(other) => {}
            // Names to the server, of types that a user may have made.
            other => {
                let shown = other.to_string().to_ascii_lowercase();
                let name = shown.split('(').next().unwrap_or_default().trim_end();
                if name.is_empty() || name.contains(|c: char| !c.is_alphanumeric() && c != '_') {
                    return refuse(Refusal::Unparsed);
                }
                self.types.insert(Name::bare(name));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Types of the server's own grammar, whatever the search path, and those of pg_catalog that
/// everybody uses and nobody makes.
fn is_grammar(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Character(_)
            | DataType::Char(_)
            | DataType::CharacterVarying(_)
            | DataType::CharVarying(_)
            | DataType::Varchar(_)
            | DataType::Numeric(_)
            | DataType::Decimal(_)
            | DataType::Dec(_)
            | DataType::Float(_)
            | DataType::SmallInt(_)
            | DataType::Int(_)
            | DataType::Integer(_)
            | DataType::BigInt(_)
            | DataType::Int2(_)
            | DataType::Int4(_)
            | DataType::Int8(_)
            | DataType::Float4
            | DataType::Float8
            | DataType::Real
            | DataType::DoublePrecision
            | DataType::Bool
            | DataType::Boolean
            | DataType::Date
            | DataType::Time(..)
            | DataType::Timestamp(..)
            | DataType::Interval { .. }
            | DataType::JSON
            | DataType::JSONB
            | DataType::Text
            | DataType::Uuid
            | DataType::Bytea
            | DataType::Bit(_)
            | DataType::BitVarying(_)
            | DataType::TsVector
            | DataType::TsQuery
            | DataType::GeometricType(_)
    )
}

fn identifier(ident: &Ident) -> Box<str> {
    let name = match ident.quote_style {
        None => ident.value.to_ascii_lowercase(),
        Some(_) => ident.value.clone(),
    };
    // As the server cuts it.
    let mut end = name.len().min(63);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].into()
}

fn name(name: &ObjectName) -> Option<Name> {
    let part = |part: &ObjectNamePart| part.as_ident().map(identifier);
    let parts: Vec<Box<str>> = name.0.iter().map(part).collect::<Option<_>>()?;
    let (name, before) = parts.split_last()?;
    (before.len() <= 2).then(|| Name {
        schema: before.last().cloned(),
        name: name.clone(),
    })
}
