//! What pgweir says about itself: log lines ([`log`]), metrics ([`metrics`]), and the
//! counts of what is refused ([`refusals`]) and of what fails again and again ([`failures`]).

pub mod errors;
pub mod failures;
pub mod log;
pub mod metrics;
mod post;
pub mod refusals;
