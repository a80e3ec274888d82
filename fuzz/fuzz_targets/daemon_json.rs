//! The engine's configuration.
#![no_main]

use enxame_core::areas::engine::config::read_keys;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = read_keys(text);
    }
});
