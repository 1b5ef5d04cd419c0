use super::*;
use proptest::prelude::*;

/// One decision about a message of the given size.
#[derive(Debug, Clone)]
enum Op {
    Keep(usize),
    Skip(usize),
    Insert(Vec<u8>),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        (1usize..40).prop_map(Op::Keep),
        (1usize..40).prop_map(Op::Skip),
        proptest::collection::vec(any::<u8>(), 1..20).prop_map(Op::Insert),
    ];
    proptest::collection::vec(op, 0..60)
}

proptest! {
    /// However the input is cut and however little each write takes, the output is the same.
    #[test]
    fn output_is_what_was_decided(ops in ops(), read in 1usize..17, write in 1usize..13) {
        let mut source = Vec::new();
        let mut expected = Vec::new();
        for op in &ops {
            match op {
                Op::Keep(n) => {
                    let bytes: Vec<u8> = (0..*n).map(|i| (source.len() + i) as u8).collect();
                    source.extend(&bytes);
                    expected.extend(bytes);
                }
                Op::Skip(n) => source.extend(std::iter::repeat_n(0xee, *n)),
                Op::Insert(bytes) => expected.extend(bytes),
            }
        }
        let mut lane = Lane::new(16);
        let mut got = Vec::new();
        let mut ops = ops.into_iter();
        let mut sent = 0;
        loop {
            while !lane.in_message() && !lane.unscanned().is_empty() {
                match ops.next() {
                    Some(Op::Keep(n)) => lane.keep(n),
                    Some(Op::Skip(n)) => lane.skip(n),
                    Some(Op::Insert(b)) => lane.insert().extend(b),
                    None => break,
                }
            }
            let n = lane.pending().len().min(write);
            got.extend_from_slice(&lane.pending()[..n]);
            lane.written(n);
            let room = lane.space().len().min(read).min(source.len() - sent);
            lane.space()[..room].copy_from_slice(&source[sent..sent + room]);
            lane.filled(room);
            sent += room;
            if n == 0 && room == 0 {
                break;
            }
        }
        for op in ops {
            if let Op::Insert(b) = op { got.extend(b) }
        }
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn a_message_seen_whole_grows_the_buffer_as_it_arrives() {
    let mut lane = Lane::new(8);
    for _ in 0..5 {
        lane.reserve(64);
        let n = lane.space().len();
        lane.space().fill(1);
        lane.filled(n);
    }
    assert_eq!(lane.unscanned().len(), 64);
    lane.keep(64);
    lane.clear();
    assert_eq!(lane.space().len(), 8);
}
