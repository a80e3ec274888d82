//! What the kernel tells of mounts, sockets and exports.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| enxame_node::fuzzing::shared_files(&String::from_utf8_lossy(data)));
