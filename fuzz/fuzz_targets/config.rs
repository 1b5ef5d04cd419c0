#![no_main]
//! Any text as a configuration: errors, never a panic.

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pgweir::config::Config;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Err(error) = Config::parse(text, Path::new("fuzz.toml"))
    {
        assert!(!error.to_string().is_empty());
    }
});
