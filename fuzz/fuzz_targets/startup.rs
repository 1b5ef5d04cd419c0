#![no_main]
//! Startup packets: an answer does not depend on how the bytes are cut.

use libfuzzer_sys::fuzz_target;
use pgweir::protocol::startup::packet;

fuzz_target!(|data: &[u8]| {
    let whole = packet(data);
    if let Ok(Some((_, length))) = &whole {
        assert!(*length <= data.len());
        assert_eq!(packet(&data[..*length]), whole);
        assert_eq!(packet(&data[..*length - 1]), Ok(None));
    }
});
