use super::*;
use proptest::prelude::*;

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn bind(portal: &str, values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = format!("{portal}\0s1\0").into_bytes();
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            None => body.extend_from_slice(&(-1i32).to_be_bytes()),
            Some(value) => {
                body.extend_from_slice(&(value.len() as i32).to_be_bytes());
                body.extend_from_slice(value);
            }
        }
    }
    body.extend_from_slice(&[0, 1, 0, 1]);
    frame(b'B', &body)
}

fn execute(portal: &str, limit: u32) -> Vec<u8> {
    let mut body = format!("{portal}\0").into_bytes();
    body.extend_from_slice(&limit.to_be_bytes());
    frame(b'E', &body)
}

fn describe(tag: u8, what: &str) -> Vec<u8> {
    frame(tag, format!("{what}\0").as_bytes())
}

fn sync() -> Vec<u8> {
    frame(b'S', b"")
}

#[test]
fn queries() {
    let bytes = [frame(b'Q', b"select 1\0"), frame(b'Q', b"x\0")].concat();
    let request = request(&bytes).unwrap();
    assert_eq!(request.what, What::Query { text: b"select 1" });
    assert_eq!(request.length, 14);
}

#[test]
fn groups_of_one_execution() {
    let bound = bind("", &[Some(b"42"), None]);
    for (messages, expected) in [
        (vec![execute("", 0), sync()], Some((false, false))),
        (
            vec![describe(b'D', "P"), execute("", 0), sync()],
            Some((true, false)),
        ),
        (
            vec![execute("", 0), describe(b'C', "P"), sync()],
            Some((false, true)),
        ),
        // A row limit, another portal, two executions, another statement described.
        (vec![execute("", 10), sync()], None),
        (vec![execute("x", 0), sync()], None),
        (vec![execute("", 0), execute("", 0), sync()], None),
        (vec![describe(b'D', "Ss1"), execute("", 0), sync()], None),
        (vec![execute("", 0), describe(b'D', "P"), sync()], None),
        // Not yet complete.
        (vec![sync()], None),
        (vec![execute("", 0)], None),
        (vec![execute("", 0), frame(b'H', b"")], None),
    ] {
        let bytes = [bound.clone(), messages.concat()].concat();
        let found = request(&bytes).map(|r| match r.what {
            What::Bound {
                statement,
                values: v,
                describes,
                closes,
                named_portal,
            } => {
                assert!(!named_portal);
                assert_eq!(statement, b"s1");
                assert_eq!(values(v).unwrap(), [b"42"]);
                assert_eq!(r.length, bytes.len());
                (describes, closes)
            }
            What::Query { .. } => panic!("not a query"),
        });
        assert_eq!(found, expected, "{bytes:?}");
        for cut in 0..bytes.len() {
            assert_eq!(request(&bytes[..cut]), None);
        }
    }
}

proptest! {
    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = request(&bytes);
        let _ = values(&bytes);
    }
}
