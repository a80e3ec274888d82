use std::os::unix::fs::MetadataExt;

use enxame_core::facts::WhatItWas;
use enxame_core::journal::Entry;

use super::*;
use crate::host::{FakeHost, Finished};

const TIMER: &str = "/run/systemd/transient/enxame-dead-man.timer";

/// A switch in a directory of its own, and a node whose rules can be loaded.
struct Scene {
    root: tempfile::TempDir,
    switch: Switch,
    host: FakeHost,
}

impl Scene {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let switch =
            Switch { directory: root.path().join("dead-man"), journal: root.path().join("journal.jsonl") };
        let fine = Finished { code: Some(0), ..Finished::default() };
        Self { root, switch, host: FakeHost::default().answering("nft", fine) }
    }

    fn with_the_timer(mut self) -> Self {
        self.host = self.host.with_file(TIMER, "");
        self
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A change of these files that nobody confirms.
    fn change(&self, files: &[&str]) {
        let kept = files.iter().map(|name| {
            fs::write(self.file(name), "before").unwrap();
            let kept = Kept::of(&self.file(name)).unwrap();
            fs::write(self.file(name), "changed").unwrap();
            kept
        });
        let armed = Armed {
            change: "kvm2/ufw".to_owned(),
            operator: "me".to_owned(),
            kept: kept.collect(),
            reload: vec![Step::reading(["nft", "-f", "-"], "table inet enxame")],
            tries: 0,
        };
        self.switch.write(MANIFEST, &armed).unwrap();
    }

    /// Something takes a file's place that no file can take back.
    fn block(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
        fs::create_dir_all(self.file(name).join("in the way")).unwrap();
    }

    fn put_back(&self, when: When) -> Result<Option<String>, ActuateError> {
        self.switch.put_back(&self.host, when)
    }

    fn journal(&self) -> Vec<ChangeEvent> {
        let text = fs::read_to_string(&self.switch.journal).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str::<Entry>(line).unwrap().event).collect()
    }
}

#[test]
fn the_manifest_of_an_earlier_build_is_read() {
    let step: Step = serde_json::from_str(r#"{"argv": ["nft"], "stdin": ""}"#).unwrap();
    assert_eq!(step, Step::new(["nft"]));
    let armed: Armed =
        serde_json::from_str(r#"{"change": "kvm2/ufw", "operator": "me", "kept": [], "reload": []}"#)
            .unwrap();
    assert_eq!(armed.tries, 0);
}

#[test]
fn what_nobody_confirmed_is_put_back_loaded_and_written_down() {
    let scene = Scene::new();
    scene.change(&["rules"]);
    assert_eq!(scene.put_back(When::Now).unwrap().as_deref(), Some("kvm2/ufw"));
    assert_eq!(fs::read_to_string(scene.file("rules")).unwrap(), "before");
    assert_eq!(scene.host.ran().len(), 1);
    assert_eq!(scene.journal(), [ChangeEvent::Failed("put back by the dead-man switch".to_owned())]);
    assert_eq!(scene.put_back(When::Now).unwrap(), None);
    assert_eq!(given_up::standing(&scene.switch.directory), []);
}

#[test]
fn a_file_that_cannot_be_put_back_is_given_up_after_some_tries_and_named_until_it_is_seen_to() {
    let scene = Scene::new().with_the_timer();
    scene.change(&["rules", "hooks"]);
    scene.block("rules");
    for attempt in 1..TRIES {
        let error = scene.put_back(When::Now).unwrap_err();
        assert!(matches!(error, ActuateError::Wrong { .. }), "{attempt}: {error:?}");
        assert_eq!(scene.switch.unconfirmed().unwrap().unwrap().tries, attempt);
        assert_eq!(given_up::standing(&scene.switch.directory), []);
        // The others are, and the rules are loaded of what there is.
        assert_eq!(fs::read_to_string(scene.file("hooks")).unwrap(), "before");
        assert_eq!(scene.host.ran().len(), attempt as usize);
    }
    let error = scene.put_back(When::Now).unwrap_err().to_string();
    let copy = scene.file(".rules.enxame-before").display().to_string();
    assert!(error.contains(&scene.file("rules").display().to_string()) && error.contains(&copy), "{error}");
    assert!(scene.switch.unconfirmed().unwrap().is_none());
    assert_eq!(scene.put_back(When::Now).unwrap(), None, "the node is free");
    let [ChangeEvent::Failed(text)] = &scene.journal()[..] else { panic!("{:?}", scene.journal()) };
    assert!(text.starts_with("the dead-man switch gave up") && text.contains(&copy), "{text}");

    let left = given_up::standing(&scene.switch.directory);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].what_it_was, WhatItWas::InCopy(copy.clone()));
    assert_eq!(fs::read_to_string(&copy).unwrap(), "before");
    fs::remove_dir_all(scene.file("rules")).unwrap();
    fs::rename(&copy, scene.file("rules")).unwrap();
    assert_eq!(given_up::standing(&scene.switch.directory), []);
}

#[test]
fn where_no_timer_tries_again_the_first_try_is_the_last() {
    let scene = Scene::new();
    scene.change(&["rules"]);
    scene.block("rules");
    scene.put_back(When::AtBoot).unwrap_err();
    assert!(scene.switch.unconfirmed().unwrap().is_some(), "whoever applies next tries again");
    assert_eq!(scene.host.ran().len(), 0, "the files are enough");
    scene.put_back(When::Now).unwrap_err();
    assert!(scene.switch.unconfirmed().unwrap().is_none());
}

#[test]
fn what_is_gone_with_its_directory_is_named_until_it_is_made_again() {
    let scene = Scene::new();
    fs::create_dir(scene.file("ufw")).unwrap();
    scene.change(&["ufw/rules"]);
    fs::remove_dir_all(scene.file("ufw")).unwrap();
    scene.put_back(When::Now).unwrap_err();
    let left = given_up::standing(&scene.switch.directory);
    assert_eq!(left.iter().map(|one| &one.what_it_was).collect::<Vec<_>>(), [&WhatItWas::Lost]);
    fs::create_dir(scene.file("ufw")).unwrap();
    fs::write(scene.file("ufw/rules"), "").unwrap();
    assert_eq!(given_up::standing(&scene.switch.directory), []);
}

#[test]
fn what_a_boot_has_taken_away_keeps_no_node_from_going_back() {
    let scene = Scene::new();
    let listing = PathBuf::from(format!("/run/enxame-test-{}.listing", std::process::id()));
    fs::write(scene.file("rules"), "before").unwrap();
    fs::write(&listing, "before").unwrap();
    let kept = [scene.file("rules"), listing.clone()].map(|file| Kept::of(&file).unwrap());
    fs::write(scene.file("rules"), "changed").unwrap();
    // As the machine starts, /run is empty.
    fs::remove_file(&listing).unwrap();
    kept[1].forget();
    let armed = Armed {
        change: "kvm2/guard".to_owned(),
        operator: "me".to_owned(),
        kept: kept.into(),
        reload: Vec::new(),
        tries: 0,
    };
    scene.switch.write(MANIFEST, &armed).unwrap();
    assert_eq!(scene.put_back(When::AtBoot).unwrap().as_deref(), Some("kvm2/guard"));
    assert_eq!(fs::read_to_string(scene.file("rules")).unwrap(), "before");
    assert!(scene.switch.unconfirmed().unwrap().is_none(), "nothing waits any more");
    // While the machine runs, what is gone is lost.
    scene.switch.write(MANIFEST, &armed).unwrap();
    scene.put_back(When::Now).unwrap_err();
}

#[test]
fn rules_that_cannot_be_loaded_free_the_node_too_and_name_no_file() {
    let mut scene = Scene::new();
    scene.host = FakeHost::default();
    scene.change(&["rules"]);
    let error = scene.put_back(When::Now).unwrap_err().to_string();
    assert!(error.contains("the rules were not loaded again"), "{error}");
    assert!(scene.switch.unconfirmed().unwrap().is_none());
    assert_eq!(given_up::standing(&scene.switch.directory), []);
    assert_eq!(fs::metadata(&scene.switch.directory).unwrap().mode() & 0o777, 0o700);
}
