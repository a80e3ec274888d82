//! A rule of iptables'.
#![no_main]

use enxame_core::areas::firewall::iptables::Rule;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Rule::read(text);
    }
});
