//! What pgweir says about itself: log lines ([`log`]) and metrics ([`metrics`]).

pub mod log;
pub mod metrics;
