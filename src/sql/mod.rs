//! What a SQL text can do to the session that runs it.
//!
//! Pure, and run on every text that a client sends: [`classify`] answers [`Class::Plain`] for
//! ordinary statements without allocating. It does not judge the text, which may be cut off, may
//! not be UTF-8, may be no SQL at all: whether a statement succeeded is for the server to say. Where
//! a text can be read in two ways it is taken to do more rather than less.
//!
//! * [`lexer`] cuts a text into tokens (PostgreSQL docs, "Lexical Structure");
//! * `channel` reads a lone `LISTEN` or `UNLISTEN`;
//! * `plain` is the fast pass that dismisses ordinary texts;
//! * `classify` splits a text into statements and says what each does, with `calls` for the
//!   functions, `set` for the forms of `SET`, `literal` for constants;
//! * `constants` leaves out what no log may show; `traceparent` finds the trace that a text belongs to;
//! * `datetime` finds constants like `'now'`; `begins` reads the modes of a `BEGIN`.
//!
//! # What a text does not show
//!
//! * What functions, triggers and operators of the user do when a plain statement calls them.
//! * `setseed()`, `SET seed`, `currval()` and `lastval()`: the seed and the sequences' last values
//!   stay with the server connection. An application has no use for them across transactions that
//!   would be worth a pin.
//! * Client encodings in which ASCII bytes can be the second byte of a character (SJIS, BIG5, GBK,
//!   UHC, JOHAB, GB18030) are read as if they were not.

use std::ops::Range;

use serde::{Deserialize, Serialize};

mod begins;
mod calls;
mod channel;
mod classify;
mod constants;
mod datetime;
pub mod lexer;
mod literal;
mod plain;
mod set;
mod statement;
mod traceparent;

pub use begins::{Begins, begins};
pub use channel::{ChannelName, Listening, lone_listening, may_listen};
pub use classify::classify;
pub use constants::without_constants;
pub use datetime::{may_be_datetime, mentions_datetime_word, names_datetime};
pub use traceparent::{TraceParent, traceparent};

/// What [`classify`] has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// Nothing that must be followed. `BEGIN`, `COMMIT` and the like are plain as well: the tags of
    /// the server's answers tell of them.
    Plain,
    /// At least one statement that must be followed, among all statements of the text.
    Special(Vec<Statement>),
}

/// One statement of a text, in the order in which the server answers them. Empty ones are left out,
/// as the server gives them no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Bytes of the text, from the first token to the last; never the semicolon.
    pub range: Range<usize>,
    /// In the order in which they happen; empty for a plain statement.
    pub effects: Vec<Effect>,
}

/// Something that a statement does to the session if it succeeds.
///
/// Names are as the server understands them: in lower case unless quoted, at most 63 bytes.
/// Ranges are bytes of the whole text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// `SET`, in any of its forms.
    Set {
        /// Always in lower case: the server compares names of settings without regard to case.
        name: String,
        /// Undone at the end of the transaction.
        local: bool,
        /// A statement that does the same to another session, whatever its
        /// `standard_conforming_strings`; without a semicolon. `None` for `TO DEFAULT`, which is
        /// the same as [`Effect::Reset`].
        replay: Option<String>,
    },
    /// `RESET name`.
    Reset { name: String },
    /// `RESET ALL`.
    ResetAll,
    /// `set_config(name, value, local)` with constants as arguments, in a statement that runs it
    /// once if it is for the session. The name is in lower case.
    SetConfig {
        name: String,
        value: String,
        local: bool,
    },
    /// This setting may be changed, for the session or for the transaction; to what cannot be told
    /// from the text.
    SetConfigNamed { name: String },
    /// A setting is changed, but which one cannot be told from the text.
    SetConfigUnknown,
    /// `PREPARE`. The effects behind it in the same statement are those of what it prepares: they
    /// happen not now, but whenever it is executed.
    Prepare {
        name: String,
        name_range: Range<usize>,
    },
    /// `EXECUTE`, also inside `EXPLAIN` and `CREATE TABLE … AS`.
    Execute {
        name: String,
        name_range: Range<usize>,
    },
    /// `DEALLOCATE name`.
    Deallocate {
        name: String,
        name_range: Range<usize>,
    },
    /// `DEALLOCATE ALL`.
    DeallocateAll,
    /// `DISCARD ALL`: ends state of every kind but [`PinKind::Load`].
    DiscardAll,
    /// `DISCARD TEMP`: ends [`PinKind::TempObject`].
    DiscardTemp,
    /// `DISCARD PLANS` or `DISCARD SEQUENCES`.
    DiscardOther,
    /// `SAVEPOINT name`.
    Savepoint { name: String },
    /// `RELEASE name`.
    Release { name: String },
    /// `ROLLBACK TO name`.
    RollbackTo { name: String },
    /// May create state that cannot be replayed on another connection.
    MayPin(PinKind),
    /// May end such state.
    MayUnpin(PinKind),
    /// `LISTEN`, behind the [`Effect::MayPin`] of it.
    Listen { channel: String },
    /// `UNLISTEN`, behind the [`Effect::MayUnpin`] of it; `None` for all channels.
    Unlisten { channel: Option<String> },
    /// May do anything: `DO`, `CALL`, a statement that is not PostgreSQL's.
    Unknown,
    /// May change the shape or the type of a relation, function or type.
    Ddl,
    /// `BEGIN` or `START TRANSACTION`. This and the next three appear beside other effects only: a
    /// text with nothing else is [`Class::Plain`].
    Begin,
    /// `COMMIT` or `END`.
    Commit { chain: bool },
    /// `ROLLBACK` or `ABORT`, of the whole transaction.
    Rollback { chain: bool },
    /// `PREPARE TRANSACTION`.
    PrepareTransaction,
}

/// Session state that belongs to one server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PinKind {
    /// `LISTEN`.
    Listen,
    /// An advisory lock of the session, not of the transaction.
    AdvisoryLock,
    /// A temporary table, view, sequence, type or function.
    TempObject,
    /// A cursor `WITH HOLD`.
    HoldCursor,
    /// A loaded library, or anything else that lasts and of which the server keeps no list: `dblink`
    /// connections, replication origins and temporary replication slots, a `search_path` that makes
    /// every new object a temporary one.
    Load,
}

/// `text` with `range` replaced; the part of `range` that is beyond the end is ignored.
pub fn splice(text: &[u8], range: Range<usize>, replacement: &[u8]) -> Vec<u8> {
    let end = range.end.min(text.len());
    let start = range.start.min(end);
    [&text[..start], replacement, &text[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::splice;

    #[test]
    fn splicing_replaces_the_range_and_survives_a_wrong_one() {
        assert_eq!(
            splice(b"execute a(1)", 8..9, b"pgweir_1"),
            b"execute pgweir_1(1)"
        );
        assert_eq!(splice(b"x", 5..9, b"y"), b"xy");
    }
}
