//! `[http]`.

use serde::Deserialize;

use super::{List, SecretSource};

#[derive(Debug, Default, Deserialize)]
pub(in crate::config) struct Http {
    pub listen: Option<String>,
    pub password: Option<SecretSource>,
    pub admin_password: Option<SecretSource>,
    pub names: Option<List>,
    pub ready_without_servers: Option<bool>,
}
