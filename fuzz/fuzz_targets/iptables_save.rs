//! What `iptables-save` prints.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| enxame_node::fuzzing::iptables_save(&String::from_utf8_lossy(data)));
