//! What pgweir says about itself: log lines ([`log`]), metrics ([`metrics`]), and the
//! counts of what is refused ([`refusals`]), of what happens else ([`events`]), and of what fails again and
//! again ([`failures`]); the newest events for the page ([`journal`]); and to others, if that is wanted, errors
//! ([`errors`]) and what transactions took ([`traces`]).

pub mod counts;
pub mod errors;
pub mod events;
pub mod failures;
pub mod journal;
pub mod log;
pub mod metrics;
mod post;
pub mod refusals;
pub mod traces;
