//! Whether a statement may be answered from memory, by its syntax tree.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, Query, Select, SetExpr, Statement, TableFactor, Value, Visit, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::tokens::Part;
use crate::cache::facts::{Name, Read, Refusal};
use crate::sql;

/// Longest text that is parsed, in bytes and in tokens: chains of operators make deep trees, and
/// walking one must not use up a thread's stack. A test holds this to half a megabyte.
const TEXT_MAX: usize = 64 * 1024;
const TOKENS_MAX: usize = 1500;
/// How deep parentheses may nest.
const DEPTH_MAX: usize = 40;

pub fn read(text: &str, part: &Part<'_>) -> Result<Read, Refusal> {
    if text.len() > TEXT_MAX || part.len() > TOKENS_MAX {
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
    // The parser does not know TABLE as a statement of its own.
    let text = match part.is_word(0, "table") {
        true => Cow::Owned(format!("select * from{}", &text[part.end(0)..])),
        false => Cow::Borrowed(text),
    };
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
        settings,
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

#[derive(Default)]
struct Reader {
    relations: BTreeSet<Name>,
    ctes: BTreeSet<Box<str>>,
    types: BTreeSet<Name>,
    settings: BTreeSet<Box<str>>,
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

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
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
                let is_setting =
                    self::name(&function.name).is_some_and(|n| &*n.name == "current_setting");
                if is_setting {
                    return self.setting(&function.args);
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
                // The table is mentioned; how its name was written is lost here.
                SetExpr::Table(_) => {}
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
            DataType::Regclass => {
                self.types.insert(Name::bare("regclass"));
            }
            DataType::Array(
                Elements::AngleBracket(inner)
                | Elements::SquareBracket(inner, _)
                | Elements::Parenthesis(inner),
            ) => return self.data_type(inner),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn setting(&mut self, arguments: &FunctionArguments) -> Flow {
        if let FunctionArguments::List(list) = arguments
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))) =
                list.args.first()
            && let Value::SingleQuotedString(name) = &value.value
        {
            self.settings.insert(name.to_lowercase().into());
            return ControlFlow::Continue(());
        }
        refuse(Refusal::UnknownSetting)
    }
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
