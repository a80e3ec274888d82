//! A stack's compose file, and `cluster.yaml`.
#![no_main]

use enxame_core::config::{Config, Stack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        // What is wrong is told with its place.
        if let Err(error) = Stack::parse("stack.yml", text) {
            let _ = error.to_string();
        }
        if let Err(error) = Config::parse("cluster.yaml", text) {
            let _ = error.to_string();
        }
    }
});
