//! `[log]`.

use super::{Key, file, fixed, flag, live, seconds};

pub(super) const KEYS: &[Key] = &[
    live("log", "level", |c| c.log.level.clone()),
    live("log", "connections", |c| flag(c.log.connections)),
    live("log", "disconnections", |c| flag(c.log.disconnections)),
    live("log", "pooler_errors", |c| flag(c.log.pooler_errors)),
    live("log", "stats", |c| flag(c.log.stats)),
    fixed("log", "style", |c| c.log.style.as_str().to_owned()),
    live("log", "file", |c| file(&c.log.file)),
    live("log", "syslog", |c| flag(c.log.syslog)),
    live("log", "syslog_ident", |c| c.log.syslog_ident.clone()),
    live("log", "syslog_facility", |c| {
        c.log.syslog_facility.as_str().to_owned()
    }),
    live("log", "max_lines_per_second", |c| {
        c.log.max_lines_per_second.to_string()
    }),
    live("log", "slow_query", |c| seconds(c.log.slow_query)),
    live("log", "statement_length", |c| {
        c.log.statement_length.to_string()
    }),
];
