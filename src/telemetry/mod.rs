//! What pgweir says about itself: log lines ([`log`]), metrics ([`metrics`]), and the
//! counts of what is refused ([`refusals`]) and of what fails again and again ([`failures`]); and to
//! others, if that is wanted, errors ([`errors`]) and what transactions took ([`traces`]).

pub mod errors;
pub mod failures;
pub mod log;
pub mod metrics;
mod post;
pub mod refusals;
pub mod traces;
