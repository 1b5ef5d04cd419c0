//! An entry as the shared tier has it: with the generations of what it depends on, and compressed
//! if it is large.

use super::Oid;

/// What a relation's generation is: another one after each change, never the same again.
pub type Generation = u64;

/// The relations that an answer depends on, each with its generation.
pub type Generations = Box<[(Oid, Generation)]>;

/// An entry on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    pub key: Box<[u8]>,
    pub generations: Generations,
    /// Milliseconds since 1970: when it was asked for, until when it may be given, and until when
    /// while somebody gets a new one.
    pub times: [u64; 3],
    pub description: Option<Box<[u8]>>,
    pub rows: Box<[u8]>,
}

/// A format of another version is another word.
const MAGIC: &[u8; 4] = b"pgw1";
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

impl Packed {
    /// Compressed if its body has at least `compress_above` bytes.
    pub fn encode(&self, compress_above: usize) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.key.len() + self.rows.len() + 64);
        part(&mut body, &self.key);
        body.push(u8::from(self.description.is_some()));
        part(&mut body, self.description.as_deref().unwrap_or_default());
        part(&mut body, &self.rows);
        let compress = body.len() >= compress_above;
        let mut out = Vec::with_capacity(64 + body.len());
        out.extend_from_slice(MAGIC);
        out.push(if compress { LZ4 } else { PLAIN });
        for time in self.times {
            out.extend_from_slice(&time.to_le_bytes());
        }
        out.extend_from_slice(&(self.generations.len() as u32).to_le_bytes());
        for (oid, generation) in &self.generations {
            out.extend_from_slice(&oid.to_le_bytes());
            out.extend_from_slice(&generation.to_le_bytes());
        }
        if compress {
            out.extend_from_slice(&(body.len() as u32).to_le_bytes());
            out.extend_from_slice(&lz4_flex::compress(&body));
        } else {
            out.extend_from_slice(&body);
        }
        out
    }

    /// `None` for what is none, or whose frames are not those of an answer; or which would be larger
    /// than `most` bytes.
    pub fn decode(bytes: &[u8], most: usize) -> Option<Packed> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (&compression, mut rest) = rest.split_first()?;
        let mut times = [0; 3];
        for time in &mut times {
            *time = u64::from_le_bytes(take(&mut rest)?);
        }
        let count = u32::from_le_bytes(take(&mut rest)?) as usize;
        if count > rest.len() / 12 {
            return None;
        }
        let mut generations = Vec::with_capacity(count);
        for _ in 0..count {
            let oid = Oid::from_le_bytes(take(&mut rest)?);
            generations.push((oid, Generation::from_le_bytes(take(&mut rest)?)));
        }
        let unpacked;
        let mut body = match compression {
            PLAIN => rest,
            LZ4 => {
                let length = u32::from_le_bytes(take(&mut rest)?) as usize;
                if length > most {
                    return None;
                }
                unpacked = lz4_flex::decompress(rest, length).ok()?;
                &unpacked
            }
            _ => return None,
        };
        let key = take_part(&mut body)?;
        let [described] = take(&mut body)?;
        let description = take_part(&mut body)?;
        let rows = take_part(&mut body)?;
        let described = described != 0;
        let sound = is_answer(rows) && (!described || is_description(description));
        if !body.is_empty() || !sound {
            return None;
        }
        Some(Packed {
            key: key.into(),
            generations: generations.into(),
            times,
            description: described.then(|| description.into()),
            rows: rows.into(),
        })
    }
}

fn part(out: &mut Vec<u8>, bytes: &[u8]) {
    // Entries are far smaller than 4 GiB.
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

fn take_part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(take(rest)?) as usize;
    let (part, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

/// One RowDescription.
fn is_description(bytes: &[u8]) -> bool {
    tags(bytes).is_some_and(|tags| tags == b"T")
}

/// DataRows, and one CommandComplete.
fn is_answer(bytes: &[u8]) -> bool {
    tags(bytes).is_some_and(|tags| {
        tags.split_last()
            .is_some_and(|(last, rows)| *last == b'C' && rows.iter().all(|t| *t == b'D'))
    })
}

/// Of whole frames with nothing behind them.
fn tags(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut tags = Vec::new();
    while let Some((&[tag, a, b, c, d], _)) = bytes.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length < 4 {
            return None;
        }
        bytes = bytes.get(1 + length..)?;
        tags.push(tag);
    }
    bytes.is_empty().then_some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(row: &[u8]) -> Packed {
        let frame = |tag: u8, body: &[u8]| {
            let mut out = vec![tag];
            out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
            out.extend_from_slice(body);
            out
        };
        let rows = [frame(b'D', row), frame(b'C', b"SELECT 1\0")].concat();
        Packed {
            key: b"key".as_slice().into(),
            generations: [(0, 5), (16384, u64::MAX)].into(),
            times: [1, 2, 3],
            description: Some(frame(b'T', b"\0\0").into()),
            rows: rows.into(),
        }
    }

    #[test]
    fn what_goes_in_comes_out_compressed_or_not() {
        let packed = entry(&[7; 5000]);
        for above in [0, 1_000_000] {
            let bytes = packed.encode(above);
            assert_eq!(bytes.len() < 1000, above == 0);
            assert_eq!(Packed::decode(&bytes, 10_000).as_ref(), Some(&packed));
        }
        let bare = Packed {
            description: None,
            ..entry(b"")
        };
        assert_eq!(Packed::decode(&bare.encode(9999), 100), Some(bare));
        assert_eq!(Packed::decode(&packed.encode(0), 1000), None, "too large");
    }

    #[test]
    fn frames_that_are_no_answer_are_refused() {
        for rows in [
            b"".as_slice(),
            b"D\0\0\0\x04",
            b"C\0\0\0\x04D\0\0\0\x04",
            b"Z\0\0\0\x04C\0\0\0\x04",
            b"C\0\0\0\x05",
            b"C\0\0\0\0",
        ] {
            let packed = Packed {
                rows: rows.into(),
                ..entry(b"")
            };
            assert_eq!(Packed::decode(&packed.encode(9999), 1000), None, "{rows:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Packed::decode(&bytes, 1000);
            let _ = Packed::decode(&[MAGIC, &bytes[..]].concat(), 1000);
        }

        #[test]
        fn what_is_cut_or_bent_never_panics(at in 0usize..200, byte in any::<u8>(), above in 0usize..200) {
            let mut bytes = entry(b"abcdefgh").encode(above);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Packed::decode(&bytes, 1000);
            prop_assert!(Packed::decode(&bytes[..at], 1000).is_none());
        }
    }
}
