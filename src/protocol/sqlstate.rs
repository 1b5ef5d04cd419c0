//! The SQLSTATE codes that pgweir itself sends (PostgreSQL docs, Appendix A).

mod class;

pub use class::{CLASSES, Class};

/// Five characters of class and condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// Anything but five ASCII letters and digits becomes XX000.
    pub const fn new(text: &str) -> SqlState {
        let Some(code) = text.as_bytes().first_chunk::<5>() else {
            return INTERNAL_ERROR;
        };
        let mut n = 0;
        while n < 5 {
            if !code[n].is_ascii_alphanumeric() {
                return INTERNAL_ERROR;
            }
            n += 1;
        }
        if text.len() == 5 {
            SqlState(*code)
        } else {
            INTERNAL_ERROR
        }
    }

    pub fn as_str(&self) -> &str {
        // Only ASCII letters and digits get in.
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

pub const FEATURE_NOT_SUPPORTED: SqlState = SqlState::new("0A000");
pub const CONNECTION_FAILURE: SqlState = SqlState::new("08006");
pub const TRANSACTION_RESOLUTION_UNKNOWN: SqlState = SqlState::new("08007");
pub const PROTOCOL_VIOLATION: SqlState = SqlState::new("08P01");
pub const INVALID_PARAMETER_VALUE: SqlState = SqlState::new("22023");
pub const IDLE_IN_TRANSACTION_TIMEOUT: SqlState = SqlState::new("25P03");
pub const TRANSACTION_TIMEOUT: SqlState = SqlState::new("25P04");
pub const IN_FAILED_TRANSACTION: SqlState = SqlState::new("25P02");
pub const INVALID_AUTHORIZATION: SqlState = SqlState::new("28000");
pub const INVALID_PASSWORD: SqlState = SqlState::new("28P01");
pub const INVALID_CATALOG_NAME: SqlState = SqlState::new("3D000");
pub const INVALID_SQL_STATEMENT_NAME: SqlState = SqlState::new("26000");
pub const DUPLICATE_PREPARED_STATEMENT: SqlState = SqlState::new("42P05");
pub const SYNTAX_ERROR: SqlState = SqlState::new("42601");
pub const INSUFFICIENT_PRIVILEGE: SqlState = SqlState::new("42501");
pub const OUT_OF_MEMORY: SqlState = SqlState::new("53200");
pub const TOO_MANY_CONNECTIONS: SqlState = SqlState::new("53300");
pub const CONFIGURATION_LIMIT_EXCEEDED: SqlState = SqlState::new("53400");
pub const PROGRAM_LIMIT_EXCEEDED: SqlState = SqlState::new("54000");
pub const QUERY_CANCELED: SqlState = SqlState::new("57014");
pub const ADMIN_SHUTDOWN: SqlState = SqlState::new("57P01");
pub const CANNOT_CONNECT_NOW: SqlState = SqlState::new("57P03");
pub const IDLE_SESSION_TIMEOUT: SqlState = SqlState::new("57P05");
pub const CONFIG_FILE_ERROR: SqlState = SqlState::new("F0000");
pub const INTERNAL_ERROR: SqlState = SqlState(*b"XX000");
