//! `/etc/hosts` and every other file of which enxame owns a block.
#![no_main]

use enxame_core::files::{bytes_of, text_of, with_block, without_block};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = text_of(data);
    assert_eq!(bytes_of(&text), data, "every byte comes back");
    let Ok(with) = with_block(&text, "192.0.2.1 kvm2\n") else { return };
    assert_eq!(with_block(&with, "192.0.2.1 kvm2\n").as_deref(), Ok(with.as_str()), "once more is the same");
    let without = without_block(&with).unwrap().unwrap();
    assert!(without_block(&without).unwrap().is_none());
    assert_eq!(with_block(&without, "192.0.2.1 kvm2\n").unwrap().lines().count(), with.lines().count());
});
