//! `[log]`.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::units::{Count, Interval, Size};
use crate::config::{Facility, LogStyle};

#[derive(Debug, Default, Deserialize)]
pub(in crate::config) struct Log {
    pub level: Option<String>,
    pub connections: Option<bool>,
    pub disconnections: Option<bool>,
    pub pooler_errors: Option<bool>,
    pub stats: Option<bool>,
    pub style: Option<LogStyle>,
    pub file: Option<PathBuf>,
    pub syslog: Option<bool>,
    pub syslog_ident: Option<String>,
    pub syslog_facility: Option<Facility>,
    pub max_lines_per_second: Option<Count>,
    pub slow_query: Option<Interval>,
    pub statement_length: Option<Size>,
}
