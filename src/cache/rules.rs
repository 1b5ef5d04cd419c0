//! What the operator allows to be remembered, and for how long.

use std::time::Duration;

use super::catalog::Declared;
use crate::config::CacheSettings;

#[derive(Debug, PartialEq, Eq)]
pub struct Rules {
    /// Answers are remembered; otherwise only writes are followed, for other pools.
    pub enabled: bool,
    pub ttl: Duration,
    pub stale_while_revalidate: Duration,
    /// Bytes of one answer.
    pub max_entry_size: usize,
    pub catalog_refresh: Duration,
    pub declared: Declared,
}

impl Rules {
    pub fn new(settings: &CacheSettings) -> Rules {
        Rules {
            enabled: settings.enabled,
            ttl: settings.ttl,
            stale_while_revalidate: settings.stale_while_revalidate,
            max_entry_size: settings.max_entry_size,
            catalog_refresh: settings.catalog_refresh,
            declared: Declared::default(),
        }
    }
}
