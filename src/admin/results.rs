//! The console's results on the wire, in text or binary format as the client's Bind asks. Some
//! drivers (asyncpg) read binary only.

use crate::protocol::encode::Column;

const INT4: u32 = 23;
const INT8: u32 = 20;
const NUMERIC: u32 = 1700;

/// The result format codes of a Bind: none is text, one is for all columns.
#[derive(Debug, Clone, Default)]
pub(super) struct Formats(Vec<u16>);

impl Formats {
    fn of(&self, column: usize) -> u16 {
        match self.0[..] {
            [] => 0,
            [all] => all,
            ref each => each.get(column).copied().unwrap_or(0),
        }
    }
}

/// Reads what follows the names in a Bind: parameter formats, parameters (the console has none),
/// result formats. `None` if it is something else.
pub(super) fn formats(rest: &[u8]) -> Option<Formats> {
    let (parameter_formats, rest) = codes(rest)?;
    let (parameters, rest) = rest.split_first_chunk::<2>()?;
    let (formats, rest) = codes(rest)?;
    let known = parameter_formats.len() <= 1 && formats.iter().all(|code| *code <= 1);
    (known && *parameters == [0, 0] && rest.is_empty()).then_some(Formats(formats))
}

fn codes(bytes: &[u8]) -> Option<(Vec<u16>, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    let (codes, rest) = rest.split_at_checked(2 * usize::from(u16::from_be_bytes(*count)))?;
    let codes = codes
        .chunks_exact(2)
        .map(|c| u16::from_be_bytes([c[0], c[1]]));
    Some((codes.collect(), rest))
}

pub(super) fn description(out: &mut Vec<u8>, columns: &[Column], formats: &Formats) {
    message(out, b'T', columns.len(), |out| {
        for (n, column) in columns.iter().enumerate() {
            out.extend_from_slice(column.name.as_bytes());
            // No table, no column number there.
            out.extend_from_slice(&[0; 7]);
            out.extend_from_slice(&column.oid.to_be_bytes());
            out.extend_from_slice(&column.size.to_be_bytes());
            out.extend_from_slice(&(-1i32).to_be_bytes());
            out.extend_from_slice(&formats.of(n).to_be_bytes());
        }
    });
}

pub(super) fn row(
    out: &mut Vec<u8>,
    columns: &[Column],
    values: &[Option<String>],
    formats: &Formats,
) {
    message(out, b'D', values.len(), |out| {
        for (n, (column, value)) in columns.iter().zip(values).enumerate() {
            let Some(text) = value else {
                out.extend_from_slice(&(-1i32).to_be_bytes());
                continue;
            };
            let bytes = match formats.of(n) {
                0 => text.as_bytes().to_vec(),
                _ => binary(column.oid, text),
            };
            out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            out.extend_from_slice(&bytes);
        }
    });
}

fn message(out: &mut Vec<u8>, tag: u8, count: usize, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(count as u16).to_be_bytes());
    body(out);
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A value of one of the console's types; its numbers are whole and not negative.
fn binary(oid: u32, text: &str) -> Vec<u8> {
    let number: u64 = text.parse().unwrap_or(0);
    match oid {
        INT4 => (number as u32).to_be_bytes().to_vec(),
        INT8 => number.to_be_bytes().to_vec(),
        NUMERIC => numeric(number),
        _ => text.as_bytes().to_vec(),
    }
}

/// As numeric_send: number of digits, weight of the first, sign, scale; digits to the base 10000.
fn numeric(mut number: u64) -> Vec<u8> {
    let mut digits = Vec::new();
    while number > 0 {
        digits.insert(0, (number % 10_000) as u16);
        number /= 10_000;
    }
    let weight = (digits.len().max(1) - 1) as u16;
    let words = [digits.len() as u16, weight, 0, 0]
        .into_iter()
        .chain(digits);
    words.flat_map(u16::to_be_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_the_server_sends_them() {
        // From SELECT numeric_send(x).
        assert_eq!(numeric(0), [0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(numeric(1), [0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        let big = [0, 2, 0, 1, 0, 0, 0, 0, 0, 12, 0x0d, 0x80];
        assert_eq!(numeric(123_456), big);
        assert_eq!(binary(INT8, "258"), [0, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn formats_of_a_bind() {
        assert_eq!(formats(b"\0\0\0\0\0\0").unwrap().of(3), 0);
        assert_eq!(formats(b"\0\0\0\0\0\x01\0\x01").unwrap().of(3), 1);
        let each = formats(b"\0\0\0\0\0\x02\0\0\0\x01").unwrap();
        assert_eq!((each.of(0), each.of(1)), (0, 1));
        // A parameter; a format that does not exist; cut off.
        for bad in [
            &b"\0\0\0\x01\0\0\0\0\0\0"[..],
            b"\0\0\0\0\0\x01\0\x02",
            b"\0\0\0",
        ] {
            assert!(formats(bad).is_none(), "{bad:?}");
        }
    }
}
