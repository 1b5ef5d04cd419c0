//! Which functions and operators give the same answer for the same question.

use std::collections::HashMap;

use super::{Declared, Unknown};
use crate::cache::facts::{Call, Mentions, Name, Refusal};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

impl Volatility {
    pub(super) fn parse(text: &str) -> Volatility {
        match text {
            "i" => Volatility::Immutable,
            "s" => Volatility::Stable,
            _ => Volatility::Volatile,
        }
    }
}

#[derive(Debug)]
pub(super) struct Function {
    /// `None` for pg_catalog.
    pub schema: Option<Box<str>>,
    pub volatility: Volatility,
    /// How many arguments it takes.
    pub least: usize,
    pub most: usize,
    /// `x.f` may call it.
    pub by_column: bool,
    /// Its body may change the schema.
    pub changes_schema: bool,
}

#[derive(Debug, Default)]
pub(super) struct Functions {
    pub by_name: HashMap<Box<str>, Vec<Function>>,
    /// Operators of users.
    pub operators: HashMap<Box<str>, Volatility>,
    /// Some function of a user, whoever calls it, may change the schema.
    pub some_change_schema: bool,
}

/// STABLE functions of the server whose results depend on nothing but their arguments, settings of
/// the session, its user and database, and definitions of types, all of which are in the key or
/// flush it. Sorted.
const STABLE: &[&str] = &[
    "array_agg",
    "array_in",
    "array_out",
    "array_recv",
    "array_send",
    "array_to_json",
    "array_to_string",
    "concat",
    "concat_ws",
    "convert",
    "convert_from",
    "convert_to",
    "cstring_recv",
    "cstring_send",
    "current_database",
    "current_role",
    "current_schema",
    "current_schemas",
    "current_user",
    "date",
    "date_cmp_timestamptz",
    "date_eq_timestamptz",
    "date_ge_timestamptz",
    "date_gt_timestamptz",
    "date_in",
    "date_le_timestamptz",
    "date_lt_timestamptz",
    "date_ne_timestamptz",
    "date_out",
    "date_part",
    "date_trunc",
    "enum_first",
    "enum_in",
    "enum_last",
    "enum_out",
    "enum_range",
    "extract",
    "format",
    "generate_series",
    "get_current_ts_config",
    "getdatabaseencoding",
    "in_range",
    "interval_in",
    "json_agg",
    "json_agg_strict",
    "json_array",
    "json_array_elements",
    "json_arrayagg",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "json_object_agg_strict",
    "json_object_agg_unique",
    "json_object_agg_unique_strict",
    "json_populate_record",
    "json_populate_recordset",
    "json_to_record",
    "json_to_recordset",
    "json_to_tsvector",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "jsonb_object_agg_strict",
    "jsonb_object_agg_unique",
    "jsonb_object_agg_unique_strict",
    "jsonb_path_exists_tz",
    "jsonb_path_match_tz",
    "jsonb_path_query_array_tz",
    "jsonb_path_query_first_tz",
    "jsonb_path_query_tz",
    "jsonb_populate_record",
    "jsonb_populate_recordset",
    "jsonb_to_record",
    "jsonb_to_recordset",
    "jsonb_to_tsvector",
    "length",
    "make_timestamptz",
    "money",
    "numeric",
    "overlaps",
    "pg_collation_for",
    "pg_typeof",
    "phraseto_tsquery",
    "plainto_tsquery",
    "quote_literal",
    "quote_nullable",
    "row_to_json",
    "session_user",
    "string_to_array",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
    "to_tsquery",
    "to_tsvector",
    "ts_headline",
    "ts_match_tq",
    "ts_match_tt",
    "ts_match_vq",
    "tsmatchsel",
    "user",
    "websearch_to_tsquery",
];

/// Called by name alone, without an entry in `pg_proc`, and telling the time.
const CLOCKS: &[&str] = &[
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
];

/// Functions of well-known extensions that are volatile and write nothing.
const HARMLESS: &[&str] = &[
    "crypt",
    "gen_random_bytes",
    "gen_random_uuid",
    "gen_salt",
    "pgp_pub_encrypt",
    "pgp_sym_encrypt",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v4",
    "pgweir_cache_notify",
];

/// STABLE functions of the server that a replica refuses to run, or answers of itself.
const OF_THE_PRIMARY: &[&str] = &["pg_current_xact_id", "pg_my_temp_schema", "txid_current"];

impl Functions {
    /// Whether nothing that is called can write, or do anything else that a VOLATILE function does.
    pub(super) fn only_read(&self, mentions: &Mentions) -> bool {
        let calls = mentions.calls.iter().all(|call| {
            !OF_THE_PRIMARY.contains(&&*call.name.name)
                && self
                    .candidates(call)
                    .all(|f| f.volatility < Volatility::Volatile)
        });
        let by_column = mentions.identifiers.iter().all(|name| {
            let named = self.by_name.get(&name.name).into_iter().flatten();
            let mut called = named.filter(|f| f.by_column);
            called.all(|f| f.volatility < Volatility::Volatile)
        });
        let mut operators = mentions
            .operators
            .iter()
            .filter_map(|o| self.operators.get(o));
        calls && by_column && operators.all(|v| *v < Volatility::Volatile)
    }

    /// Functions that a call may mean.
    fn candidates<'a>(&'a self, call: &'a Call) -> impl Iterator<Item = &'a Function> + 'a {
        let named = self
            .by_name
            .get(&call.name.name)
            .map_or(&[][..], Vec::as_slice);
        let schema = call.name.schema.as_deref();
        let in_schema = move |f: &&Function| match (schema, &f.schema) {
            (None, _) | (Some("pg_catalog"), None) => true,
            (Some(schema), Some(own)) => **own == *schema,
            _ => false,
        };
        let takes = move |f: &Function| call.arguments.is_none_or(|n| f.least <= n && n <= f.most);
        // A count that fits none is a count of something else.
        let counted = named.iter().filter(in_schema).any(takes);
        named
            .iter()
            .filter(in_schema)
            .filter(move |f| !counted || takes(f))
    }

    /// Whether all that is called gives the same answer for the same question; tables that
    /// declared functions read are added to `reads`.
    pub(super) fn check_read(
        &self,
        mentions: &Mentions,
        declared: &Declared,
        reads: &mut Vec<Name>,
    ) -> Result<(), Refusal> {
        for call in &mentions.calls {
            self.check_call(call, declared, reads)?;
        }
        for name in &mentions.identifiers {
            let named = self.by_name.get(&name.name).into_iter().flatten();
            let mut odd = named.filter(|f| f.by_column && f.volatility > Volatility::Immutable);
            if odd.next().is_some() {
                return Err(Refusal::VolatileFunction(name.name.clone()));
            }
        }
        for operator in &mentions.operators {
            let own = self.operators.get(operator);
            if own.is_some_and(|v| *v > Volatility::Immutable) {
                return Err(Refusal::Operator(operator.clone()));
            }
        }
        Ok(())
    }

    fn check_call(
        &self,
        call: &Call,
        declared: &Declared,
        reads: &mut Vec<Name>,
    ) -> Result<(), Refusal> {
        let name = &*call.name.name;
        if CLOCKS.contains(&name) {
            return Err(Refusal::StableFunction(name.into()));
        }
        for function in self.candidates(call) {
            let full = function.full_name(name);
            if let Some(tables) = declared.function(&full).and_then(|d| d.reads.as_ref()) {
                reads.extend(tables.iter().cloned());
                continue;
            }
            let shown = || full.to_string().into_boxed_str();
            match function.volatility {
                Volatility::Immutable => {}
                Volatility::Volatile => return Err(Refusal::VolatileFunction(shown())),
                Volatility::Stable if function.schema.is_some() => {
                    return Err(Refusal::StableFunction(shown()));
                }
                // With one argument it compares with today.
                Volatility::Stable if name == "age" && call.arguments == Some(2) => {}
                // Its argument was looked at with the text.
                Volatility::Stable if name == "current_setting" => {}
                Volatility::Stable if STABLE.contains(&name) => {}
                Volatility::Stable => return Err(Refusal::StableFunction(shown())),
            }
        }
        Ok(())
    }

    /// What a statement may call that writes: the error says so; tables that declared functions
    /// write are added to `writes`.
    pub(super) fn check_writes(
        &self,
        mentions: &Mentions,
        declared: &Declared,
        writes: &mut Vec<Name>,
    ) -> Result<(), Unknown> {
        for call in &mentions.calls {
            for function in self.candidates(call) {
                if function.schema.is_some() && function.volatility == Volatility::Volatile {
                    self.called(function, &call.name.name, declared, writes)?;
                }
            }
        }
        for name in &mentions.identifiers {
            let named = self.by_name.get(&name.name).into_iter().flatten();
            for function in named {
                if function.by_column && function.volatility == Volatility::Volatile {
                    self.called(function, &name.name, declared, writes)?;
                }
            }
        }
        let own = mentions.operators.iter().map(|o| self.operators.get(o));
        if own.flatten().any(|v| *v == Volatility::Volatile) {
            return Err(self.unknown("volatile operator"));
        }
        Ok(())
    }
}

impl Functions {
    fn called(
        &self,
        function: &Function,
        name: &str,
        declared: &Declared,
        writes: &mut Vec<Name>,
    ) -> Result<(), Unknown> {
        let schema = function.changes_schema;
        self.called_by_name(
            &function.full_name(name),
            "volatile function",
            declared,
            writes,
        )
        .map_err(|unknown| Unknown {
            schema: unknown.schema || schema,
            ..unknown
        })
    }

    /// A volatile function of a user is called; `why` says how it comes to that.
    pub(super) fn called_by_name(
        &self,
        name: &Name,
        why: &'static str,
        declared: &Declared,
        writes: &mut Vec<Name>,
    ) -> Result<(), Unknown> {
        if let Some(tables) = declared.function(name).and_then(|d| d.writes.as_ref()) {
            writes.extend(tables.iter().cloned());
            return Ok(());
        }
        if HARMLESS.contains(&&*name.name) {
            return Ok(());
        }
        Err(self.unknown(why))
    }

    /// Code of a user runs, and may call any other.
    pub(super) fn unknown(&self, why: &'static str) -> Unknown {
        Unknown {
            why,
            schema: self.some_change_schema,
        }
    }
}

impl Function {
    fn full_name(&self, name: &str) -> Name {
        match &self.schema {
            Some(schema) => Name::qualified(schema, name),
            None => Name::bare(name),
        }
    }
}
