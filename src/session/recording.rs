//! The reply to one request, taken down while it passes, if it is of the kind that can be given
//! again: rows and nothing else, or, where that is wanted, an error that the data is the reason of.

use crate::protocol::backend::error_fields;
use crate::protocol::frame::HEADER;

/// How a reply ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    #[default]
    Complete,
    /// With an ErrorResponse, after BindComplete or instead of it.
    Error { bound: bool },
}

/// Frames of a reply, as the client got them.
#[derive(Debug)]
pub struct Recording {
    state: State,
    /// RowDescription.
    description: Vec<u8>,
    /// DataRows and CommandComplete or ErrorResponse.
    rows: Vec<u8>,
    /// Bytes, of all together.
    limit: usize,
    /// Errors are taken down, too.
    errors: bool,
    /// BindComplete has come.
    bound: bool,
    ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Running,
    /// The statement is complete, ReadyForQuery is still to come.
    Complete,
    /// It can be given again.
    Done,
    /// There was something in it that cannot, or it is too large.
    Spoiled,
}

impl Recording {
    /// Of at most `limit` bytes; errors spoil it unless they are wanted.
    pub fn new(limit: usize, errors: bool) -> Recording {
        Recording {
            state: State::Running,
            description: Vec::new(),
            rows: Vec::new(),
            limit,
            errors,
            bound: false,
            ending: Ending::Complete,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a message of this size would be taken down.
    pub fn has_room(&self, total: usize) -> bool {
        self.state == State::Running
            && total
                <= self
                    .limit
                    .saturating_sub(self.description.len() + self.rows.len())
    }

    pub fn spoil(&mut self) {
        self.state = State::Spoiled;
        self.description = Vec::new();
        self.rows = Vec::new();
    }

    /// A message that the client is about to get, whole.
    #[inline]
    pub fn see(&mut self, message: &[u8]) {
        let tag = message.first().copied().unwrap_or_default();
        match (self.state, tag) {
            (State::Done | State::Spoiled, _) => {}
            (State::Running, b'1') | (State::Complete, b'3') => {}
            (State::Running, b'2') => self.bound = true,
            (State::Running, b'T') if self.has_room(message.len()) => {
                self.description.extend_from_slice(message);
            }
            (State::Running, b'D') if self.has_room(message.len()) => {
                self.rows.extend_from_slice(message);
            }
            (State::Running, b'C') if self.has_room(message.len()) => {
                self.rows.extend_from_slice(message);
                self.state = State::Complete;
            }
            (State::Running, b'E')
                if self.errors && self.has_room(message.len()) && comes_again(message) =>
            {
                self.rows.extend_from_slice(message);
                self.ending = Ending::Error { bound: self.bound };
                self.state = State::Complete;
            }
            (State::Complete, b'Z') if message.ends_with(b"I") => self.state = State::Done,
            _ => self.spoil(),
        }
    }

    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// The description, if there was one, and the rest.
    pub fn into_parts(self) -> (Option<Box<[u8]>>, Box<[u8]>) {
        // Copies: shrinking what grew in steps leaves holes in the memory between long-lived entries.
        let description = (!self.description.is_empty()).then(|| self.description[..].into());
        (description, self.rows[..].into())
    }
}

/// Whether an ErrorResponse is one that the same request on the same data gets again: a fault of the
/// data (SQLSTATE classes 21 and 22), at no position of the text, whose comments do not count.
fn comes_again(message: &[u8]) -> bool {
    let fields = error_fields(message.get(HEADER..).unwrap_or_default());
    matches!(fields.code, [b'2', b'1' | b'2', ..]) && fields.position.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(messages: &[&[u8]], limit: usize) -> Recording {
        let mut recording = Recording::new(limit, false);
        messages.iter().for_each(|m| recording.see(m));
        recording
    }

    const T: &[u8] = b"T\0\0\0\x06\0\0";
    const D: &[u8] = b"D\0\0\0\x06\0\0";
    const C: &[u8] = b"C\0\0\0\x0dSELECT 1\0";
    const READY: &[u8] = b"Z\0\0\0\x05I";

    #[test]
    fn rows_can_be_given_again() {
        let done = see(&[b"2\0\0\0\x04", T, D, D, C, READY], 1000);
        assert_eq!(done.state(), State::Done);
        assert_eq!(done.ending(), Ending::Complete);
        let (description, rows) = done.into_parts();
        assert_eq!(description.as_deref(), Some(T));
        assert_eq!(&*rows, [D, D, C].concat());
        // No rows, and no description.
        let none = see(&[C, b"3\0\0\0\x04", READY], 1000);
        assert_eq!(none.state(), State::Done);
        assert_eq!(none.into_parts(), (None, C.into()));
    }

    #[test]
    fn errors_of_the_data_can_be_if_that_is_wanted() {
        const BOUND: &[u8] = b"2\0\0\0\x04";
        let error = |fields: &str| {
            let mut message = b"E".to_vec();
            message.extend((fields.len() as u32 + 4).to_be_bytes());
            message.extend(fields.bytes());
            message
        };
        let see = |messages: &[&[u8]], errors| {
            let mut recording = Recording::new(1000, errors);
            messages.iter().for_each(|m| recording.see(m));
            recording
        };
        let zero = error("SERROR\0C22012\0Mdivision by zero\0\0");
        let done = see(&[BOUND, T, D, &zero, READY], true);
        assert_eq!(done.state(), State::Done);
        assert_eq!(done.ending(), Ending::Error { bound: true });
        let (description, rows) = done.into_parts();
        assert_eq!(description.as_deref(), Some(T));
        assert_eq!(&*rows, [D, &zero].concat());
        let unbound = see(&[&zero, READY], true);
        assert_eq!(unbound.ending(), Ending::Error { bound: false });
        assert_eq!(see(&[T, &zero, READY], false).state(), State::Spoiled);
        for other in [
            "C57014\0Mcanceling\0\0",
            "C42P01\0Mno such table\0\0",
            "C22P02\0P8\0Minvalid\0\0",
            "Mno code\0\0",
            "",
        ] {
            let seen = see(&[&error(other), READY], true);
            assert_eq!(seen.state(), State::Spoiled, "{other:?}");
        }
    }

    #[test]
    fn everything_else_spoils_it() {
        for other in [
            b"N\0\0\0\x05\0".as_slice(),
            b"S\0\0\0\x06\0\0",
            b"E\0\0\0\x05\0",
            b"A\0\0\0\x05\0",
            b"t\0\0\0\x06\0\0",
            b"n\0\0\0\x04",
            b"s\0\0\0\x04",
            b"I\0\0\0\x04",
            b"G\0\0\0\x04",
            b"H\0\0\0\x04",
            b"",
        ] {
            assert_eq!(see(&[T, other, D, C, READY], 1000).state(), State::Spoiled);
            assert_eq!(see(&[T, D, C, other, READY], 1000).state(), State::Spoiled);
        }
        // Two statements; a transaction that stays open; too large.
        assert_eq!(
            see(&[T, D, C, T, D, C, READY], 1000).state(),
            State::Spoiled
        );
        assert_eq!(
            see(&[T, D, C, b"Z\0\0\0\x05T"], 1000).state(),
            State::Spoiled
        );
        assert_eq!(see(&[T, D, D, C, READY], 30).state(), State::Spoiled);
        assert_eq!(see(&[T, D, C, READY], 28).state(), State::Done);
    }
}
