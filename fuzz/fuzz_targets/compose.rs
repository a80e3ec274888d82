//! A stack's compose file, its rules, and `cluster.yaml`.
#![no_main]

use enxame_core::areas::stacks::lint::lint;
use enxame_core::areas::stacks::{Cluster, ComposeFile, Environment};
use enxame_core::config::{Config, Stack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        // What is wrong is told with its place.
        if let Err(error) = Stack::parse("stack.yml", text) {
            let _ = error.to_string();
        }
        match ComposeFile::parse("stack.yml", text, &Environment::Unknown) {
            Ok(file) => drop(lint(&[file], Some(&Cluster::default()))),
            Err(error) => drop(error.to_string()),
        }
        if let Err(error) = Config::parse("cluster.yaml", text) {
            let _ = error.to_string();
        }
    }
});
