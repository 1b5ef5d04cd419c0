//! Failures in a row, in the log.

use std::fmt::Display;

/// Counts what fails again and again until something succeeds; then a new one takes its place.
#[derive(Debug)]
pub struct Failures {
    what: &'static str,
    in_a_row: u32,
}

impl Failures {
    /// `what` is what the log says of each.
    pub fn of(what: &'static str) -> Failures {
        Failures { what, in_a_row: 0 }
    }

    /// It may go on for long: the log says so less and less often, at the first, second, fourth, eighth...
    pub fn note(&mut self, error: &dyn Display) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row.is_power_of_two() {
            tracing::warn!(%error, failures = self.in_a_row, "{}", self.what);
        }
    }

    pub fn over(&mut self) {
        self.in_a_row = 0;
    }
}
