//! What is sent to others about what pgweir does: errors to Sentry, traces to OpenTelemetry.

use std::fmt;
use std::sync::Arc;

/// A text that is nobody's business; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Arc<str>);

impl Hidden {
    pub fn new(text: &str) -> Hidden {
        Hidden(text.into())
    }

    pub fn show(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// `[sentry]`: where panics and internal errors are reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentrySettings {
    /// `None`: nowhere.
    pub dsn: Option<Hidden>,
    /// Empty: Sentry's own default.
    pub environment: String,
}

/// `[traces]`: where spans of transactions go.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSettings {
    /// The whole URL that spans are posted to; `None`: nowhere.
    pub endpoint: Option<String>,
    /// Names and values that go with each request.
    pub headers: Vec<(String, Hidden)>,
    /// The part of the transactions without a trace of their own that is recorded, from 0 to 1.
    pub sample: f64,
    pub service_name: String,
}

impl SentrySettings {
    /// Without the key.
    pub fn dsn_shown(&self) -> String {
        let Some(dsn) = &self.dsn else {
            return String::new();
        };
        match dsn.show().parse::<sentry::types::Dsn>() {
            Ok(dsn) => format!("{}://{}/{}", dsn.scheme(), dsn.host(), dsn.project_id()),
            Err(_) => String::new(),
        }
    }
}
