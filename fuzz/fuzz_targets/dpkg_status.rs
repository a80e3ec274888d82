//! dpkg's status, and accounts.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    enxame_node::fuzzing::dpkg_status(&text);
    enxame_node::fuzzing::accounts(&text);
});
