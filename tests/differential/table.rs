//! Sequences thought out by hand, from text files: `# name`, then a step a line.

use super::run::Mode;
use super::script::{self, Step};

pub struct Case {
    /// With `(2)` in it where two clients hold a server connection at the same time.
    pub name: &'static str,
    pub steps: Vec<Step>,
}

/// Those that must be the same as on a direct connection.
pub fn all() -> Vec<Case> {
    cases(include_str!("table.txt"))
}

/// Those that differ although they should not: bugs. When one does not differ any more, it belongs
/// into the table.
pub fn open_findings() -> Vec<Case> {
    cases(include_str!("open.txt"))
}

/// Those that differ for a reason that cannot be helped, or is meant to be; each is told in
/// `docs/session-state.md`.
pub fn known() -> Vec<Case> {
    cases(include_str!("known.txt"))
}

fn cases(text: &'static str) -> Vec<Case> {
    let parts = text.split("\n# ").skip(1);
    parts
        .map(|part| {
            let (name, script) = part.split_once('\n').unwrap();
            let steps = script::parse(script);
            Case { name, steps }
        })
        .collect()
}

impl Case {
    /// With one server connection every client gets what the one before it has left; with several,
    /// each of its transactions gets another.
    pub fn modes(&self) -> &'static [Mode] {
        if self.name.contains("(2)") {
            &[Mode::Two, Mode::Switching]
        } else {
            &[Mode::One, Mode::Switching]
        }
    }
}
