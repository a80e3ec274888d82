//! Frames of the protocol between the operator and the agent, both ways.
#![no_main]

use enxame_core::protocol::{FromAgent, Request, read_frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut from = data;
    while let Ok(Some(frame)) = read_frame::<FromAgent>(&mut from) {
        let _ = format!("{frame:?}");
    }
    let _ = read_frame::<Request>(&mut &*data);
});
