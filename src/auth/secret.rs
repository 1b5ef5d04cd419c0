//! A stored secret: what we know of a user's password.

use std::fmt;
use std::sync::Arc;

/// What is stored about a user's password. `Debug` never shows it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Plain(Arc<str>),
    /// `md5` followed by 32 hexadecimal digits: md5(password + user name).
    Md5(Arc<str>),
    /// A SCRAM verifier as PostgreSQL stores it:
    /// `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`.
    Scram(Arc<str>),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Secret::Plain(_) => "Secret::Plain(..)",
            Secret::Md5(_) => "Secret::Md5(..)",
            Secret::Scram(_) => "Secret::Scram(..)",
        })
    }
}

impl From<&str> for Secret {
    /// Tells the three forms apart by their prefix, as PgBouncer and PostgreSQL do.
    fn from(text: &str) -> Secret {
        if text.starts_with("SCRAM-SHA-256$") {
            Secret::Scram(text.into())
        } else if text.len() == 35
            && text.starts_with("md5")
            && text[3..].bytes().all(|b| b.is_ascii_hexdigit())
        {
            Secret::Md5(text.into())
        } else {
            Secret::Plain(text.into())
        }
    }
}
