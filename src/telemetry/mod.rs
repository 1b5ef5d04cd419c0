//! What pgweir says about itself: log lines ([`log`]), metrics ([`metrics`]), and the
//! counts of what is refused ([`refusals`]).

pub mod log;
pub mod metrics;
pub mod refusals;
