#![no_main]
//! Any bytes as a statement to be judged, as a request, and as what another instance has stored.

use libfuzzer_sys::fuzz_target;
use pgweir::cache::analysis::{analyse, leading_hint, strip_comments};
use pgweir::cache::packed::Packed;
use pgweir::cache::request;

fuzz_target!(|data: &[u8]| {
    for standard in [true, false] {
        let stripped = strip_comments(data, standard);
        assert!(stripped.len() <= data.len());
        // A comment more or less makes no difference to what is read.
        let (whole, bare) = (analyse(data, standard), analyse(&stripped, standard));
        assert_eq!(whole.read.is_ok(), bare.read.is_ok());
    }
    let _ = leading_hint(data);
    if let Some(request) = request::request(data) {
        assert!(request.length <= data.len());
    }
    let _ = request::values(data);
    let _ = Packed::decode(data, 1 << 16);
});
