//! The requests that may be answered from memory, as they come from the client: a Query, or Bind,
//! Describe, Execute and Sync in one piece.

use crate::protocol::frame::{self, HEADER};
use crate::protocol::frontend::{self, Target};

/// A request that asks for the whole result of one statement, with nothing left open behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    pub what: What<'a>,
    /// Bytes of all its messages.
    pub length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    Query {
        text: &'a [u8],
    },
    Bound {
        statement: &'a [u8],
        /// Of the Bind message, from the parameters' formats to the end.
        values: &'a [u8],
        /// Describe of the portal is among its messages.
        describes: bool,
        /// Close of the portal is among its messages.
        closes: bool,
        /// The portal has a name, and so outlives the request in a transaction block.
        named_portal: bool,
    },
}

/// What is at the beginning of `bytes`, if it is complete and of a kind that can be answered from
/// memory.
pub fn request(bytes: &[u8]) -> Option<Request<'_>> {
    let (tag, body, length) = message(bytes)?;
    match tag {
        b'Q' => Some(Request {
            what: What::Query {
                text: frontend::query_text(body)?,
            },
            length,
        }),
        b'B' => bound(bytes, body, length),
        _ => None,
    }
}

fn message(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let header = frame::header(bytes).ok()??;
    let body = bytes.get(HEADER..header.total)?;
    Some((header.tag, body, header.total))
}

fn bound<'a>(bytes: &'a [u8], body: &'a [u8], mut length: usize) -> Option<Request<'a>> {
    let names = frontend::bind_names(body)?;
    let values = &body[names.consumed..];
    let is_portal = |body: &[u8]| matches!(frontend::target(body), Some(Target::Portal(name)) if name == names.portal);
    let mut describes = false;
    let mut closes = false;
    let mut executes = false;
    loop {
        let (tag, body, n) = message(bytes.get(length..)?)?;
        length += n;
        match tag {
            b'D' if !describes && !executes && is_portal(body) => describes = true,
            // All rows: a limit would leave the portal open behind it.
            b'E' if !executes
                && frontend::execute_portal(body)? == names.portal
                && body.ends_with(&[0; 4]) =>
            {
                executes = true;
            }
            b'C' if executes && !closes && is_portal(body) => closes = true,
            b'S' if executes && body.is_empty() => {
                return Some(Request {
                    what: What::Bound {
                        statement: names.statement,
                        values,
                        describes,
                        closes,
                        named_portal: !names.portal.is_empty(),
                    },
                    length,
                });
            }
            _ => return None,
        }
    }
}

/// The parameters' values in what follows the names in a Bind message; `None` if it is malformed.
/// NULLs are left out.
pub fn values(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let formats = usize::from(u16::from_be_bytes(*bytes.first_chunk()?));
    let mut rest = bytes.get(2 + 2 * formats..)?;
    let count = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
    rest = &rest[2..];
    let mut values = Vec::new();
    for _ in 0..count {
        let length = i32::from_be_bytes(*rest.first_chunk()?);
        rest = &rest[4..];
        // -1 is NULL.
        let length = usize::try_from(length).unwrap_or(0);
        let value = rest.get(..length)?;
        rest = &rest[length..];
        if !value.is_empty() {
            values.push(value);
        }
    }
    let results = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
    (rest.len() == 2 + 2 * results).then_some(values)
}

#[cfg(test)]
mod tests;
