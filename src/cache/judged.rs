//! What is to be done about a text: what it changes, and whether its answer may be remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Oid;
use super::catalog::{Effect, Verdict};
use super::facts::{Facts, Refusal, Says, StatementFacts};
use super::mark::{Mark, Marks};
use super::rules::Fitting;
use super::space::Space;
use super::worth::Worth;
use super::writes::Change;

/// Rows of some tables, but not the tables themselves.
const UNKNOWN_ROWS: Change = Change::Everything { schema: false };

#[derive(Debug)]
pub struct Judged {
    pub doings: Box<[Doing]>,
    /// It changes nothing, as far as one can tell, and does not end a transaction: by far the most
    /// frequent case.
    pub harmless: bool,
    pub may_commit: bool,
    pub read: Result<Plan, Refusal>,
    /// It is one statement that only reads, and that a replica can run.
    pub only_reads: bool,
    /// See [`Facts::begins`].
    pub begins: bool,
    /// How often it was looked for in vain, for the console.
    pub refused: AtomicU64,
    pub worth: Worth,
}

/// What one statement does to the data.
#[derive(Debug)]
pub enum Doing {
    Changes(Change),
    /// SQL `EXECUTE`.
    Executes(Box<str>),
}

/// A statement whose answer may be remembered.
#[derive(Debug)]
pub struct Plan {
    /// The database as a whole, and every relation that the answer depends on.
    pub marks: Marks,
    /// Rules that fit it.
    pub rules: Fitting,
}

impl Judged {
    /// `rules` gives the rules for a statement that names these relations.
    pub fn new(space: &Space, verdict: Verdict, rules: impl FnOnce(&[Oid]) -> Fitting) -> Judged {
        let mark = |oid: &Oid| space.mark(*oid);
        let may_commit = verdict.statements.iter().any(|s| s.may_commit);
        let doings = verdict
            .statements
            .into_iter()
            .filter_map(|s| match s.effect {
                Effect::Nothing => None,
                Effect::Writes(oids) => {
                    let marks = oids.iter().map(mark).collect();
                    Some(Doing::Changes(Change::Relations(marks)))
                }
                Effect::Executes(name) => Some(Doing::Executes(name)),
                Effect::Everywhere => Some(Doing::Changes(Change::Everywhere)),
                Effect::Everything(unknown) => {
                    let schema = unknown.schema;
                    Some(Doing::Changes(Change::Everything { schema }))
                }
            });
        let doings: Box<[Doing]> = doings.collect();
        let read = verdict.read.map(|plan| {
            let whole = std::iter::once(Arc::clone(space.whole()));
            let marks: Vec<Arc<Mark>> = whole.chain(plan.relations.iter().map(mark)).collect();
            Plan {
                marks: marks.into(),
                rules: rules(&plan.tables),
            }
        });
        Judged {
            harmless: doings.is_empty() && !may_commit,
            doings,
            may_commit,
            read,
            only_reads: verdict.only_reads,
            begins: verdict.begins,
            refused: AtomicU64::new(0),
            worth: Worth::default(),
        }
    }

    /// Without knowledge of the catalogs, only what the text itself says.
    pub fn without_catalog(facts: &Facts) -> Judged {
        let doing = |statement: &StatementFacts| match &statement.says {
            Says::Nothing => None,
            Says::Executes(name) => Some(Doing::Executes(name.clone())),
            Says::Reads if statement.mentions.calls.is_empty() => None,
            Says::Reads | Says::Writes(_) | Says::Runs { schema: false } => {
                Some(Doing::Changes(UNKNOWN_ROWS))
            }
            Says::Everywhere => Some(Doing::Changes(Change::Everywhere)),
            Says::Anything(_) | Says::Runs { schema: true } => {
                Some(Doing::Changes(Change::Everything { schema: true }))
            }
        };
        // The name of what is executed looks like a call of its arguments.
        let arguments = |statement: &StatementFacts| {
            let calls = statement.mentions.calls.len() > 1;
            (calls && matches!(statement.says, Says::Executes(_)))
                .then_some(Doing::Changes(UNKNOWN_ROWS))
        };
        let statements = facts.statements.iter();
        let doings = statements.flat_map(|s| [doing(s), arguments(s)]);
        let doings: Box<[Doing]> = doings.flatten().collect();
        let may_commit = facts.statements.iter().any(|s| s.may_commit);
        Judged {
            harmless: doings.is_empty() && !may_commit,
            doings,
            may_commit,
            read: Err(Refusal::NoCatalog),
            only_reads: false,
            begins: facts.begins,
            refused: AtomicU64::new(0),
            worth: Worth::default(),
        }
    }

    /// The same text, while the schema may be another one: a write may have come to touch other
    /// tables than it did.
    pub fn in_another_schema(&self) -> Judged {
        let doing = |doing: &Doing| match doing {
            Doing::Executes(name) => Doing::Executes(name.clone()),
            Doing::Changes(Change::Relations(_)) => Doing::Changes(UNKNOWN_ROWS),
            Doing::Changes(change) => Doing::Changes(change.clone()),
        };
        Judged {
            harmless: self.harmless,
            doings: self.doings.iter().map(doing).collect(),
            may_commit: self.may_commit,
            read: match &self.read {
                Ok(_) => Err(Refusal::NoCatalog),
                Err(refusal) => Err(refusal.clone()),
            },
            only_reads: false,
            begins: self.begins,
            refused: AtomicU64::new(0),
            worth: Worth::default(),
        }
    }

    /// A text that cannot be looked at: it may do anything.
    pub fn unknown() -> Judged {
        let change = Change::Everything { schema: true };
        Judged {
            doings: [Doing::Changes(change)].into(),
            harmless: false,
            may_commit: true,
            read: Err(Refusal::TooLong),
            only_reads: false,
            begins: false,
            refused: AtomicU64::new(0),
            worth: Worth::default(),
        }
    }

    pub fn count_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::analysis::analyse;

    #[test]
    fn arguments_count_without_the_catalogs_too() {
        let doings = |text: &str| Judged::without_catalog(&analyse(text.as_bytes(), true)).doings;
        assert!(matches!(*doings("execute p"), [Doing::Executes(_)]));
        assert!(matches!(*doings("execute p(1, $1)"), [Doing::Executes(_)]));
        assert!(matches!(
            *doings("execute p(1, f())"),
            [
                Doing::Executes(_),
                Doing::Changes(Change::Everything { schema: false })
            ]
        ));
    }
}
