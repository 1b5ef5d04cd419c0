#![no_main]
//! Message frames through a lane: what is kept comes out, in order, however reads and writes are
//! cut.

use libfuzzer_sys::fuzz_target;
use pgweir::protocol::frame;
use pgweir::session::lane::Lane;

fuzz_target!(|data: &[u8]| {
    let Some((&[read, write], data)) = data.split_first_chunk::<2>() else {
        return;
    };
    let (read, write) = (usize::from(read).max(1), usize::from(write).max(1));
    let mut lane = Lane::new(64);
    let (mut fed, mut out) = (0, Vec::new());
    let mut expected = Vec::new();
    let mut at = 0;
    // Messages of an even type are kept, those of an odd one dropped, up to the first bad length.
    while let Ok(Some(header)) = frame::header(&data[at..]) {
        let end = (at + header.total).min(data.len());
        if header.tag % 2 == 0 {
            expected.extend_from_slice(&data[at..end]);
        }
        at = end;
    }
    loop {
        while !lane.in_message() {
            match frame::header(lane.unscanned()) {
                Ok(Some(h)) if h.tag % 2 == 0 => lane.keep(h.total),
                Ok(Some(h)) => lane.skip(h.total),
                _ => break,
            }
        }
        let n = lane.pending().len().min(write);
        out.extend_from_slice(&lane.pending()[..n]);
        lane.written(n);
        let k = lane.space().len().min(read).min(data.len() - fed);
        lane.space()[..k].copy_from_slice(&data[fed..fed + k]);
        lane.filled(k);
        fed += k;
        if n == 0 && k == 0 {
            break;
        }
    }
    assert_eq!(out, expected);
});
