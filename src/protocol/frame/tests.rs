use super::*;
use proptest::prelude::*;

#[test]
fn needs_five_bytes() {
    for n in 0..HEADER {
        assert_eq!(header(&b"Q\0\0\0\x04"[..n]), Ok(None));
    }
    assert_eq!(
        header(b"Q\0\0\0\x04"),
        Ok(Some(Header {
            tag: b'Q',
            total: 5
        }))
    );
}

#[test]
fn impossible_lengths_are_errors() {
    for length in [0i32, 3, -1, i32::MIN] {
        let mut bytes = vec![b'Q'];
        bytes.extend(length.to_be_bytes());
        assert_eq!(header(&bytes), Err(BadLength { tag: b'Q', length }));
    }
    let mut bytes = vec![b'd'];
    bytes.extend(i32::MAX.to_be_bytes());
    assert_eq!(
        header(&bytes),
        Ok(Some(Header {
            tag: b'd',
            total: 1 << 31
        }))
    );
}

proptest! {
    #[test]
    fn total_counts_the_type_byte(tag: u8, length in 4i32..) {
        let mut bytes = vec![tag];
        bytes.extend(length.to_be_bytes());
        let got = header(&bytes).unwrap().unwrap();
        prop_assert_eq!(got, Header { tag, total: length as usize + 1 });
    }
}
