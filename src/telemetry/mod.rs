//! What pgweir says about itself: log lines ([`log`]), metrics ([`metrics`]), and the
//! counts of what is refused ([`refusals`]) and of what fails again and again ([`failures`]), the newest
//! events ([`journal`]).

pub mod failures;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod refusals;
