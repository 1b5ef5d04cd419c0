#![no_main]
//! Any bytes as SQL: ranges stay inside the text.

use libfuzzer_sys::fuzz_target;
use pgweir::sql::{Class, classify, mentions_datetime_word};

fuzz_target!(|data: &[u8]| {
    for standard in [true, false] {
        if let Class::Special(statements) = classify(data, standard) {
            for statement in statements {
                assert!(statement.range.end <= data.len());
            }
        }
    }
    let _ = mentions_datetime_word(data);
});
