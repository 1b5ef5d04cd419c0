//! Where messages begin and end in a stream whose bodies are nobody's business.

use super::frame::{self, BadLength, HEADER, Header};

/// Follows one direction of a connection, after its startup.
#[derive(Debug, Default)]
pub struct Boundaries {
    /// Of the next message, as far as it has come.
    head: [u8; HEADER],
    have: usize,
    /// Bytes of the present message that are still to come.
    left: usize,
}

impl Boundaries {
    /// Looks at the next bytes; calls `each` for each message that begins in them.
    ///
    /// # Errors
    /// [`BadLength`], or what `each` objects to; the stream cannot be followed any further then.
    pub fn follow<E: From<BadLength>>(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Header) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                bytes = &bytes[skipped..];
                self.left -= skipped;
                continue;
            }
            let taken = (HEADER - self.have).min(bytes.len());
            let (head, rest) = bytes.split_at(taken);
            self.head[self.have..self.have + taken].copy_from_slice(head);
            self.have += taken;
            bytes = rest;
            if let Some(header) = frame::header(&self.head[..self.have])? {
                self.have = 0;
                self.left = header.total - HEADER;
                each(header)?;
            }
        }
        Ok(())
    }

    /// Whether the last message is complete and none has begun since.
    pub fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn follow(boundaries: &mut Boundaries, bytes: &[u8]) -> Result<Vec<(u8, usize)>, BadLength> {
        let mut seen = Vec::new();
        boundaries.follow(bytes, |header| {
            seen.push((header.tag, header.total));
            Ok::<(), BadLength>(())
        })?;
        Ok(seen)
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            messages in prop::collection::vec((any::<u8>(), 0usize..40), 0..20),
            piece in 1usize..30,
        ) {
            let mut bytes = Vec::new();
            for (tag, length) in &messages {
                bytes.push(*tag);
                bytes.extend_from_slice(&(*length as u32 + 4).to_be_bytes());
                bytes.resize(bytes.len() + length, b'x');
            }
            let expected: Vec<_> = messages.iter().map(|(t, l)| (*t, l + HEADER)).collect();
            let mut boundaries = Boundaries::default();
            let mut seen = Vec::new();
            for part in bytes.chunks(piece) {
                seen.extend(follow(&mut boundaries, part).unwrap());
            }
            prop_assert_eq!(seen, expected);
            prop_assert!(boundaries.is_between());
            if let Some(part) = bytes.get(..bytes.len().wrapping_sub(1)) {
                let mut cut = Boundaries::default();
                follow(&mut cut, part).unwrap();
                prop_assert!(!cut.is_between());
            }
        }

        #[test]
        fn garbage_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = follow(&mut Boundaries::default(), &bytes);
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_an_error() {
        let mut boundaries = Boundaries::default();
        assert_eq!(follow(&mut boundaries, b"Q\0\0").unwrap(), []);
        assert!(follow(&mut boundaries, b"\0\x03").is_err());
    }
}
