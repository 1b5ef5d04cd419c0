//! `[sentry]` and `[traces]`. What is secret about them is not shown.

use super::{Key, fixed, join};

pub(super) const KEYS: &[Key] = &[
    fixed("sentry", "dsn", |c| c.sentry.dsn_shown()),
    fixed("sentry", "environment", |c| c.sentry.environment.clone()),
    fixed("traces", "endpoint", |c| {
        c.traces.endpoint.clone().unwrap_or_default()
    }),
    fixed("traces", "headers", |c| {
        join(c.traces.headers.iter().map(|(name, _)| name))
    }),
    fixed("traces", "sample", |c| c.traces.sample.to_string()),
    fixed("traces", "service_name", |c| c.traces.service_name.clone()),
];
