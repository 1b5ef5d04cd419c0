//! Finding message boundaries: a type byte and a length, never the body.
//!
//! Every message after startup is `type (1 byte) | length (4 bytes, includes itself) | body`
//! (PostgreSQL docs, "Message Formats").

/// Type byte and length word.
pub const HEADER: usize = 5;

/// A message header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub tag: u8,
    /// The whole message in bytes, type byte included; at least [`HEADER`].
    pub total: usize,
}

/// The length word cannot be right: less than 4 or negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid message length {length} in message of type {:?}", char::from(*.tag))]
pub struct BadLength {
    pub tag: u8,
    pub length: i32,
}

/// Reads the header at the start of `bytes`; `None` means that more bytes are needed.
///
/// # Errors
/// [`BadLength`]; the stream cannot be followed any further then.
#[inline]
pub fn header(bytes: &[u8]) -> Result<Option<Header>, BadLength> {
    let Some(&[tag, a, b, c, d]) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes([a, b, c, d]);
    if length < 4 {
        return Err(BadLength { tag, length });
    }
    // A positive i32 fits in usize on every platform that tokio runs on.
    Ok(Some(Header {
        tag,
        total: length as usize + 1,
    }))
}

#[cfg(test)]
mod tests;
