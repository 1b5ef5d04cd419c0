//! What pgweir says about itself: log lines ([`log`]), metrics ([`metrics`]), and the
//! counts of what is refused ([`refusals`]), of what happens else ([`events`]), and of what fails again and
//! again ([`failures`]); what has happened lately, for people ([`journal`]).

pub mod counts;
pub mod events;
pub mod failures;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod refusals;
