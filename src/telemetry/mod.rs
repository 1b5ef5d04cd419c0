//! What pgweir says about itself: log lines ([`log`]), metrics ([`metrics`]), and the
//! counts of what is refused ([`refusals`]), of what happens else ([`events`]), and of what fails again and
//! again ([`failures`]).

pub mod counts;
pub mod events;
pub mod failures;
pub mod log;
pub mod metrics;
pub mod refusals;
