//! What a statement says that it does, by its keywords.

use super::tokens::Part;
use crate::cache::facts::{Action, Refusal, Says, Write};
use crate::sql::lexer::Kind;

pub struct Statement {
    pub says: Says,
    pub may_commit: bool,
}

impl Statement {
    fn quiet(says: Says) -> Statement {
        Statement {
            says,
            may_commit: false,
        }
    }

    fn anything(why: &'static str) -> Statement {
        Statement {
            says: Says::Anything(why),
            may_commit: true,
        }
    }
}

/// Statements that touch no rows, whatever follows their first word.
const NOTHING: &[&str] = &[
    "begin",
    "start",
    "savepoint",
    "release",
    "set",
    "show",
    "reset",
    "discard",
    "listen",
    "unlisten",
    "notify",
    "close",
    "deallocate",
    "checkpoint",
    "lock",
    "fetch",
    "move",
    "analyze",
    "analyse",
    "rollback",
    "abort",
];

/// Statements whose rows and targets are looked for.
const ROWS: &[&str] = &[
    "select", "with", "values", "table", "insert", "update", "delete", "merge", "explain",
    "declare", "copy", "truncate", "refresh",
];

/// `BEGIN` or `START TRANSACTION` with no options but those that change nothing about what a read
/// sees.
pub fn begins(part: &Part<'_>) -> bool {
    const OPTIONS: [&[&str]; 5] = [
        &["read", "only"],
        &["read", "write"],
        &["isolation", "level", "read", "committed"],
        &["not", "deferrable"],
        &["deferrable"],
    ];
    let mut at = match () {
        () if part.is_word(0, "start") && part.is_word(1, "transaction") => 2,
        () if part.is_word(0, "begin") => {
            1 + usize::from(part.is_any_word(1, &["work", "transaction"]))
        }
        () => return false,
    };
    while at < part.len() {
        at += usize::from(part.is_symbol(at, b','));
        let fits = |option: &&&[&str]| {
            option
                .iter()
                .enumerate()
                .all(|(i, w)| part.is_word(at + i, w))
        };
        match OPTIONS.iter().find(fits) {
            Some(option) => at += option.len(),
            None => return false,
        }
    }
    true
}

pub fn says(part: &Part<'_>) -> Statement {
    let first = (0..part.len())
        .find(|i| !part.is_symbol(*i, b'('))
        .unwrap_or(0);
    let word = part.word(first);
    match &*word {
        "commit" | "end" if part.is_word(1, "prepared") => Statement::anything("COMMIT PREPARED"),
        "commit" | "end" => Statement {
            says: Says::Nothing,
            may_commit: true,
        },
        "prepare" => Statement {
            says: Says::Nothing,
            may_commit: part.is_word(1, "transaction"),
        },
        "execute" => match part.identifier(first + 1) {
            Some(name) => Statement::quiet(Says::Executes(name)),
            None => Statement::anything("EXECUTE"),
        },
        "vacuum" if (0..part.len()).any(|i| part.is_word(i, "full")) => {
            Statement::anything("VACUUM FULL")
        }
        "vacuum" => Statement::quiet(Says::Nothing),
        "do" | "call" => Statement {
            says: Says::Runs {
                schema: may_change_schema(part),
            },
            may_commit: true,
        },
        w if NOTHING.contains(&w) => Statement::quiet(Says::Nothing),
        w if ROWS.contains(&w) => match rows(part, first) {
            Ok(writes) if writes.is_empty() => Statement::quiet(Says::Reads),
            Ok(writes) => Statement::quiet(Says::Writes(writes)),
            Err(why) => Statement::anything(why),
        },
        // REASSIGN OWNED hands over other databases, too.
        "grant" | "revoke" | "reassign" => EVERYWHERE,
        "create" | "alter" | "drop" if is_of_the_server(part, first + 1) => EVERYWHERE,
        _ => Statement::anything("DDL"),
    }
}

/// Something of the whole server changes.
const EVERYWHERE: Statement = Statement {
    says: Says::Everywhere,
    may_commit: true,
};

/// Objects that belong to no database (PostgreSQL docs, "Managing Databases").
fn is_of_the_server(part: &Part<'_>, at: usize) -> bool {
    part.is_any_word(at, &["role", "user", "group", "database", "system"])
        || part.is_any_word(at, &["owned"])
}

/// Words of statements that change the schema, or run what cannot be looked at.
const SCHEMA_WORDS: &[&str] = &[
    "create", "alter", "drop", "execute", "grant", "revoke", "reassign", "call", "comment",
    "security", "import", "refresh", "do", "language",
];

/// Whether the code of a `DO`, which is a string, has a word of a statement that changes the schema.
fn may_change_schema(part: &Part<'_>) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    (1..part.len())
        .flat_map(|i| part.text(i).split(move |c| !is_word(c)))
        .any(|word| SCHEMA_WORDS.iter().any(|w| word.eq_ignore_ascii_case(w)))
}

/// Why a single statement that is no read is not answered from memory.
pub fn refusal(part: &Part<'_>) -> Refusal {
    let first = (0..part.len())
        .find(|i| !part.is_symbol(*i, b'('))
        .unwrap_or(0);
    let has = |word: &str| (0..part.len()).any(|i| part.is_word(i, word));
    match &*part.word(first) {
        "with" if has("insert") || has("update") || has("delete") || has("merge") => {
            Refusal::WritingCte
        }
        "select" | "with" | "values" | "table" if has("into") => Refusal::Into,
        _ => Refusal::NotARead,
    }
}

/// The targets of everything that writes; the error says why they cannot be told.
fn rows(part: &Part<'_>, first: usize) -> Result<Vec<Write>, &'static str> {
    let mut writes = Vec::new();
    match &*part.word(first) {
        "truncate" => return truncated(part, first + 1),
        "refresh" => return refreshed(part, first + 1),
        "copy" => copied(part, first + 1, &mut writes)?,
        "explain" if explains_more(part) => return Err("EXPLAIN"),
        _ => {}
    }
    // For each open parenthesis, whether its statement has begun: then these words are names.
    let mut begun = vec![false];
    let mut inserts_seen = 0;
    for at in 0..part.len() {
        match part.kind(at) {
            Some(Kind::Word) => {}
            Some(Kind::Symbol(b'(')) => {
                begun.push(false);
                continue;
            }
            Some(Kind::Symbol(b')')) => {
                // One that closes nothing is an error to the server.
                if begun.len() > 1 {
                    begun.pop();
                }
                continue;
            }
            _ => continue,
        }
        let before = at.wrapping_sub(1);
        if part.is_symbol(before, b'.') || part.is_symbol(at + 1, b'.') {
            // A column, or a table of that name.
            continue;
        }
        let word = part.word(at);
        let is_name = match (&*word, begun.last_mut()) {
            ("select" | "values" | "table" | "insert" | "update" | "delete" | "merge", Some(b)) => {
                std::mem::replace(b, true)
            }
            _ => false,
        };
        match &*word {
            "insert" if part.is_word(before, "then") => {}
            "insert" => {
                // `SELECT 1 insert INTO t` makes a table.
                if is_name || !part.is_word(at + 1, "into") {
                    return Err("INSERT");
                }
                let (target, _) = part.name(at + 2).ok_or("INSERT")?;
                writes.push(Write {
                    target,
                    action: Action::Insert,
                });
            }
            "update" if part.is_word(before, "do") => {
                // Of the INSERT that it belongs to, which is the last one so far, or an outer one.
                for write in writes.iter_mut().skip(inserts_seen) {
                    if write.action == Action::Insert {
                        write.action = Action::Merge;
                    }
                }
                inserts_seen = writes.len();
            }
            "update" => updated(part, at, &mut writes)?,
            "delete" if part.is_word(before, "then") => {}
            "delete" => {
                if !part.is_word(at + 1, "from") {
                    return Err("DELETE");
                }
                let at = at + 2 + usize::from(part.is_word(at + 2, "only"));
                let (target, _) = part.name(at).ok_or("DELETE")?;
                writes.push(Write {
                    target,
                    action: Action::Delete,
                });
            }
            "merge" => {
                if is_name || !part.is_word(at + 1, "into") {
                    return Err("MERGE");
                }
                let at = at + 2 + usize::from(part.is_word(at + 2, "only"));
                let (target, _) = part.name(at).ok_or("MERGE")?;
                writes.push(Write {
                    target,
                    action: Action::Merge,
                });
            }
            "into" if !part.is_any_word(before, &["insert", "merge"]) => {
                return Err("SELECT INTO");
            }
            _ => {}
        }
    }
    Ok(writes)
}

/// `UPDATE` is a statement, a lock, or a part of INSERT or MERGE.
fn updated(part: &Part<'_>, at: usize, writes: &mut Vec<Write>) -> Result<(), &'static str> {
    let before = at.wrapping_sub(1);
    if part.is_word(before, "then") || part.is_word(before, "for") {
        return Ok(());
    }
    if part.is_word(before, "key") && part.is_word(at.wrapping_sub(2), "no") {
        return Ok(());
    }
    let start = at + 1 + usize::from(part.is_word(at + 1, "only"));
    let (target, mut end) = part.name(start).ok_or("UPDATE")?;
    end += usize::from(part.is_symbol(end, b'*'));
    end += usize::from(part.is_word(end, "as"));
    if !part.is_word(end, "set") {
        end += 1;
    }
    if !part.is_word(end, "set") {
        return Err("UPDATE");
    }
    writes.push(Write {
        target,
        action: Action::Update,
    });
    Ok(())
}

fn truncated(part: &Part<'_>, mut at: usize) -> Result<Vec<Write>, &'static str> {
    at += usize::from(part.is_word(at, "table"));
    let mut writes = Vec::new();
    loop {
        at += usize::from(part.is_word(at, "only"));
        let (target, end) = part.name(at).ok_or("TRUNCATE")?;
        writes.push(Write {
            target,
            action: Action::Truncate,
        });
        at = end + usize::from(part.is_symbol(end, b'*'));
        if !part.is_symbol(at, b',') {
            return Ok(writes);
        }
        at += 1;
    }
}

fn refreshed(part: &Part<'_>, at: usize) -> Result<Vec<Write>, &'static str> {
    if !(part.is_word(at, "materialized") && part.is_word(at + 1, "view")) {
        return Err("REFRESH");
    }
    let at = at + 2 + usize::from(part.is_word(at + 2, "concurrently"));
    let (target, _) = part.name(at).ok_or("REFRESH")?;
    Ok(vec![Write {
        target,
        action: Action::Refresh,
    }])
}

/// `COPY table FROM`; what a query inside does is found with the rest.
fn copied(part: &Part<'_>, at: usize, writes: &mut Vec<Write>) -> Result<(), &'static str> {
    if part.is_symbol(at, b'(') {
        return Ok(());
    }
    let at = at + usize::from(part.is_word(at, "binary"));
    let (target, mut end) = part.name(at).ok_or("COPY")?;
    if part.is_symbol(end, b'(') {
        end = (end..part.len())
            .find(|i| part.is_symbol(*i, b')'))
            .ok_or("COPY")?
            + 1;
    }
    if part.is_word(end, "from") {
        writes.push(Write {
            target,
            action: Action::Insert,
        });
    } else if !part.is_word(end, "to") {
        return Err("COPY");
    }
    Ok(())
}

/// `EXPLAIN ANALYZE` of something whose rows are not in it.
fn explains_more(part: &Part<'_>) -> bool {
    let other = ["execute", "create", "refresh", "declare"];
    (0..part.len()).any(|i| part.is_any_word(i, &other))
}
