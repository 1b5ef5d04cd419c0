//! The SQL that makes a server tell pgweir of writes made elsewhere: printed for the operator, who
//! reads it and runs it. Nothing here is run by pgweir.

use std::fmt::Write as _;

pub const SCHEMA: &str = "pgweir";
/// The trigger function. The catalog judge knows that it writes nothing.
pub const FUNCTION: &str = "pgweir_cache_notify";
pub const TRIGGER: &str = "pgweir_cache";
/// The event triggers, for DDL and for what is dropped.
pub const EVENT_TRIGGERS: [&str; 2] = ["pgweir_cache_ddl", "pgweir_cache_drop"];
/// What messages of the event trigger begin with in the write-ahead log.
pub const PREFIX: &str = "pgweir";

/// Materialized views, if the event trigger tells when they are refreshed.
pub(super) const MATERIALIZED: &str = "select c.oid from pg_catalog.pg_class c \
    where c.relkind = 'm' and c.relpersistence <> 't' \
    and exists (select from pg_catalog.pg_event_trigger e where e.evtname = 'pgweir_cache_ddl' \
    and e.evtevent = 'ddl_command_end' and e.evtenabled = 'A' and e.evttags is null)";

/// What to install triggers on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Empty: all but the server's own.
    pub schemas: Vec<String>,
    /// With or without schema; empty: all.
    pub tables: Vec<String>,
    /// Only a superuser can make an event trigger.
    pub event_trigger: bool,
}

/// For `invalidation = "notify"`.
pub fn triggers(channel: &str, wanted: &Wanted) -> String {
    let mut out = String::new();
    let channel = quoted(channel);
    let filter = filter(wanted);
    let _ = write!(
        out,
        "\
-- Makes the server tell pgweir which tables change (invalidation = \"notify\").
-- Run it in each database that is cached, as the owner of the tables{superuser}.
-- Run it again when there are new tables or partitions; what it makes, it makes anew.
-- A transaction that changes a table with such a trigger cannot be prepared (PREPARE TRANSACTION).
begin;
create schema if not exists {SCHEMA};

create or replace function {SCHEMA}.{FUNCTION}() returns trigger language plpgsql as $pgweir$
begin
  perform pg_catalog.pg_notify({channel}, pg_catalog.format('w %s', TG_RELID));
  return null;
end
$pgweir$;

do $pgweir$
declare
  t record;
begin
  for t in
    select n.nspname, c.relname
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and c.relpersistence <> 't'
      and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', '{SCHEMA}')
{filter}    order by 1, 2
  loop
    execute pg_catalog.format('drop trigger if exists {TRIGGER} on %I.%I', t.nspname, t.relname);
    execute pg_catalog.format('create trigger {TRIGGER} after insert or update or delete or truncate '
      'on %I.%I for each statement execute function {SCHEMA}.{FUNCTION}()', t.nspname, t.relname);
    -- Also for what tools with session_replication_role = replica write. Not for what logical
    -- replication does: it fires no triggers for statements, and pgweir remembers nothing of
    -- tables that a subscription writes to.
    execute pg_catalog.format('alter table %I.%I enable always trigger {TRIGGER}', t.nspname, t.relname);
  end loop;
end
$pgweir$;
",
        superuser = match wanted.event_trigger {
            true => "; the event triggers at the end need\n-- a superuser",
            false => "",
        },
    );
    if wanted.event_trigger {
        let tell = format!("perform pg_catalog.pg_notify({channel}, 's');");
        out.push_str(&event_triggers(&tell));
    }
    out.push_str("commit;\n");
    out
}

/// For `invalidation = "replication"`. A table without a replica identity is left out: once it is
/// published, the server refuses to update it. With `full`, it is given one, which makes its log
/// larger.
pub fn publication(name: &str, wanted: &Wanted, full: bool) -> String {
    let publication = quoted_name(name);
    let name = quoted(name);
    let filter = filter(wanted);
    let without = match full {
        true => {
            "execute pg_catalog.format('alter table %I.%I replica identity full', t.nspname, t.relname);"
        }
        false => {
            "raise notice '%.% has no replica identity (a primary key, say): it is left out', \
             t.nspname, t.relname;\n      continue;"
        }
    };
    let mut out = format!(
        "\
-- Lets pgweir read from the write-ahead log which tables change (invalidation = \"replication\").
-- Run it in each database that is cached, as a superuser, and again when there are new tables or
-- partitions. The server needs wal_level = logical, a free replication slot (max_replication_slots) and
-- WAL sender (max_wal_senders) for each pgweir, and feed_user the attribute REPLICATION.
begin;
drop publication if exists {publication};
create publication {publication};

do $pgweir$
declare
  t record;
begin
  for t in
    select n.nspname, c.relname,
      c.relreplident = 'f'
        or c.relreplident = 'd' and exists (
          select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary)
        or c.relreplident = 'i' and exists (
          select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisreplident) as identified
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and c.relpersistence = 'p'
      and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', '{SCHEMA}')
{filter}    order by 1, 2
  loop
    if not t.identified then
      {without}
    end if;
    execute pg_catalog.format('alter publication %I add table only %I.%I', {name}, t.nspname, t.relname);
  end loop;
end
$pgweir$;
"
    );
    if wanted.event_trigger {
        let _ = writeln!(out, "create schema if not exists {SCHEMA};");
        let tell = format!("perform pg_catalog.pg_logical_emit_message(true, '{PREFIX}', 's');");
        out.push_str(&event_triggers(&tell));
    }
    out.push_str("commit;\n");
    out
}

/// Undoes what [`triggers`] and [`publication`] make.
pub fn remove(publication: &str) -> String {
    let [ddl, dropped] = EVENT_TRIGGERS;
    format!(
        "\
-- Removes what pgweir's cache had installed in this database.
begin;
drop event trigger if exists {ddl};
drop event trigger if exists {dropped};
drop publication if exists {};
drop function if exists {SCHEMA}.{FUNCTION}() cascade;
drop function if exists {SCHEMA}.pgweir_cache_schema();
commit;
",
        quoted_name(publication)
    )
}

fn filter(wanted: &Wanted) -> String {
    let mut out = String::new();
    if !wanted.schemas.is_empty() {
        let schemas: Vec<String> = wanted.schemas.iter().map(|s| quoted(s)).collect();
        let _ = writeln!(out, "      and n.nspname in ({})", schemas.join(", "));
    }
    if !wanted.tables.is_empty() {
        let each = wanted
            .tables
            .iter()
            .map(|table| match table.split_once('.') {
                Some((schema, table)) => {
                    format!(
                        "(n.nspname = {} and c.relname = {})",
                        quoted(schema),
                        quoted(table)
                    )
                }
                None => format!("c.relname = {}", quoted(table)),
            });
        let each: Vec<String> = each.collect();
        let _ = writeln!(out, "      and ({})", each.join(" or "));
    }
    out
}

/// Event triggers that do this when the schema changes for others than the session itself.
fn event_triggers(tell: &str) -> String {
    let [ddl, dropped] = EVENT_TRIGGERS;
    format!(
        "
create or replace function {SCHEMA}.pgweir_cache_schema() returns event_trigger language plpgsql
set search_path = pg_catalog as $pgweir$
begin
  if TG_EVENT = 'sql_drop' then
    if not exists (select from pg_event_trigger_dropped_objects() o where not o.is_temporary) then
      return;
    end if;
  elsif TG_TAG like 'DROP %' and TG_TAG <> 'DROP OWNED' then
    -- Told by sql_drop, which knows what was temporary, and nothing of privileges.
    return;
  elsif exists (select from pg_event_trigger_ddl_commands())
    and not exists (select from pg_event_trigger_ddl_commands() c
      where c.schema_name is distinct from 'pg_temp') then
    return;
  end if;
  {tell}
end
$pgweir$;
drop event trigger if exists {ddl};
drop event trigger if exists {dropped};
create event trigger {ddl} on ddl_command_end execute function {SCHEMA}.pgweir_cache_schema();
create event trigger {dropped} on sql_drop execute function {SCHEMA}.pgweir_cache_schema();
alter event trigger {ddl} enable always;
alter event trigger {dropped} enable always;
"
    )
}

/// A constant (PostgreSQL docs, \"String Constants\").
pub fn quoted(text: &str) -> String {
    let escape = if text.contains('\\') { " E" } else { "" };
    format!(
        "{escape}'{}'",
        text.replace('\\', "\\\\").replace('\'', "''")
    )
}

pub fn quoted_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out() {
        assert_eq!(quoted("a'b"), "'a''b'");
        assert_eq!(quoted("a\\'b"), " E'a\\\\''b'");
        assert_eq!(quoted_name("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn only_what_is_wanted_is_in_it() {
        let all = triggers("c", &Wanted::default());
        assert!(!all.contains("event trigger") && !all.contains("n.nspname in ("));
        let wanted = Wanted {
            schemas: vec!["a".to_owned()],
            tables: vec!["t".to_owned(), "s.u".to_owned()],
            event_trigger: true,
        };
        let some = triggers("c", &wanted);
        for part in [
            "pg_notify('c', 's')",
            "and n.nspname in ('a')",
            "(c.relname = 't' or (n.nspname = 's' and c.relname = 'u'))",
            "create event trigger pgweir_cache_drop on sql_drop",
        ] {
            assert!(some.contains(part), "{part} in {some}");
        }
        let left_out = publication("p", &Wanted::default(), false);
        assert!(left_out.contains("it is left out") && !left_out.contains("identity full"));
        let full = publication("p", &wanted, true);
        assert!(full.contains("replica identity full") && full.contains("c.relname = 't'"));
    }
}
