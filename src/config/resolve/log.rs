//! `[log]`.

use super::{raw, set, set_path};
use crate::config::Log;

pub(super) fn log(log: &mut Log, raw: raw::Log) {
    set(&mut log.level, raw.level);
    set(&mut log.connections, raw.connections);
    set(&mut log.disconnections, raw.disconnections);
    set(&mut log.pooler_errors, raw.pooler_errors);
    set(&mut log.stats, raw.stats);
    set(&mut log.style, raw.style);
    set_path(&mut log.file, raw.file);
    set(&mut log.syslog, raw.syslog);
    set(&mut log.syslog_ident, raw.syslog_ident);
    set(&mut log.syslog_facility, raw.syslog_facility);
    set(&mut log.max_lines_per_second, raw.max_lines_per_second);
    set(&mut log.slow_query, raw.slow_query);
    set(
        &mut log.statement_length,
        raw.statement_length.map(|size| size.0),
    );
}
