//! `[sentry]` and `[traces]`.

use serde::Deserialize;

use super::SecretSource;
use crate::config::units::Ratio;

#[derive(Debug, Default, Deserialize)]
pub(in crate::config) struct Sentry {
    pub dsn: Option<SecretSource>,
    pub environment: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(in crate::config) struct Traces {
    pub endpoint: Option<String>,
    pub headers: Option<SecretSource>,
    pub sample: Option<Ratio>,
    pub service_name: Option<String>,
}
