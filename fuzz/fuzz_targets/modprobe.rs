//! What packages and people leave in directories: `modprobe.d`, `sysctl.d`, units, scripts that flush firewalls.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

const PLACES: [&str; 5] = [
    "etc/modprobe.d/a.conf",
    "etc/sysctl.d/a.conf",
    "etc/systemd/system/docker.service",
    "etc/default/docker",
    "etc/rc.local",
];

static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = std::env::temp_dir().join(format!("enxame-fuzz-{}", std::process::id()));
    for place in PLACES {
        fs::create_dir_all(root.join(place).parent().unwrap()).unwrap();
    }
    root
});

fuzz_target!(|data: &[u8]| {
    for place in PLACES {
        fs::write(ROOT.join(place), data).unwrap();
    }
    enxame_node::fuzzing::below(&ROOT);
});
