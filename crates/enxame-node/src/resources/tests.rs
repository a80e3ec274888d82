use std::collections::BTreeSet;
use std::path::Path;

use super::*;

#[test]
fn every_resource_file_is_registered() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/resources");
    let files =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files = files.filter(|name| !["mod.rs", "tests.rs"].contains(&name.as_str())).count();
    assert_eq!(files, REGISTRY.len(), "a resource is one file and one line in the registry");
}

#[test]
fn kinds_are_unique_and_come_after_kinds_that_exist() {
    let kinds: BTreeSet<Kind> = REGISTRY.iter().map(|resource| resource.kind()).collect();
    assert_eq!(kinds.len(), REGISTRY.len());
    for resource in REGISTRY {
        for before in resource.after() {
            assert!(kinds.contains(before), "{} comes after {before}", resource.kind());
        }
    }
}
