//! The laboratory and the program, as the tests use them.

use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The laboratory's nodes and their addresses.
pub(crate) const NODES: [(&str, &str); 3] =
    [("kvm2-manager", "203.0.113.12"), ("kvm4-manager", "203.0.113.14"), ("kvm8-core", "203.0.113.18")];

const ENXAME: &str = env!("CARGO_BIN_EXE_enxame");

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn succeeded(&self) -> bool {
        self.code == 0
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}\n{}\n{}", self.code, self.stdout, self.stderr)
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A command that runs beside the test.
pub(crate) struct Background(Child);

impl Background {
    pub(crate) fn wait(self) -> Ended {
        self.0.wait_with_output().unwrap().into()
    }

    /// What Ctrl-C in a terminal does: every process in front gets it, ssh included.
    pub(crate) fn interrupt(&self) {
        let group = format!("-{}", self.0.id());
        assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    }

    /// Ends it and all it started, and gives what it wrote.
    pub(crate) fn stop(self) -> String {
        let group = format!("-{}", self.0.id());
        assert!(Command::new("kill").args(["-KILL", "--", &group]).status().unwrap().success());
        self.wait().stdout
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// `.lab/cluster.yaml`.
pub(crate) fn config() -> PathBuf {
    root().join(".lab/cluster.yaml")
}

/// `enxame-lab`, which is built beside `enxame`.
fn lab_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(Path::new(ENXAME).with_file_name("enxame-lab"));
    command.current_dir(root()).args(arguments);
    command
}

/// Runs a verb of the laboratory that must succeed.
pub(crate) fn lab(arguments: &[&str]) -> String {
    let ended = Ended::from(lab_command(arguments).output().unwrap());
    assert!(ended.succeeded(), "enxame-lab {arguments:?}: {ended}");
    ended.stdout
}

fn enxame_command(arguments: &[&str]) -> Command {
    lab_command(&[&["exec", "--", ENXAME], arguments].concat())
}

/// Runs enxame where the operator is.
pub(crate) fn enxame(arguments: &[&str]) -> Ended {
    enxame_command(arguments).stdin(Stdio::null()).output().unwrap().into()
}

/// Starts enxame beside the test.
pub(crate) fn enxame_in_background(arguments: &[&str]) -> Background {
    let mut command = enxame_command(arguments);
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Background(command.spawn().unwrap())
}

/// Runs a shell command where the operator is that must succeed; its output without white space at the ends.
pub(crate) fn in_operators_place(command: &str) -> String {
    lab(&["exec", "--", "sh", "-c", command]).trim().to_owned()
}

/// Runs a command where the outsider is; what it writes.
pub(crate) fn outside(command: &[&str]) -> String {
    lab(&[&["outside", "--"], command].concat())
}

/// Starts a command where the outsider is, beside the test.
pub(crate) fn outside_in_background(command: &[&str]) -> Background {
    listening(&[&["outside", "--"], command].concat())
}

/// Writes down the Internet's packets, beside the test.
pub(crate) fn capture(filter: &str) -> Background {
    listening(&["capture", filter])
}

fn listening(arguments: &[&str]) -> Background {
    let mut command = lab_command(arguments);
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    Background(command.spawn().unwrap())
}

/// Runs a shell command on a node.
pub(crate) fn node(name: &str, command: &str) -> Ended {
    lab_command(&["ssh", name, "--", command]).output().unwrap().into()
}

/// Runs a shell command on a node that must succeed; its output without white space at the ends.
pub(crate) fn on_node(name: &str, command: &str) -> String {
    let ended = node(name, command);
    assert!(ended.succeeded(), "{name}: {command}: {ended}");
    ended.stdout.trim().to_owned()
}

/// Three servers with packages in and nothing configured.
pub(crate) fn prepared() {
    if saved().contains(&"prepared".to_owned()) {
        lab(&["load", "prepared"]);
    } else {
        lab(&["up", "--fresh"]);
        lab(&["save", "prepared"]);
    }
}

/// Three servers after one apply of this build.
pub(crate) fn applied() {
    loaded_or("applied", || {
        prepared();
        let applied = enxame(&["apply", "--yes", "--quiet"]);
        assert_eq!(applied.code, 0, "{applied}");
    });
}

/// What an earlier test of this build saved under that name, or what `make` makes, saved for those that come.
pub(crate) fn loaded_or(name: &str, make: impl FnOnce()) {
    let state = state(name);
    if saved().contains(&state) {
        lab(&["load", &state]);
    } else {
        make();
        lab(&["save", &state]);
    }
}

/// Keeps the three servers as they are now, after one apply, for the tests that begin there.
pub(crate) fn keep_applied() {
    lab(&["save", &state("applied")]);
}

fn state(name: &str) -> String {
    format!("{name}-{}", &build()[..12])
}

/// Names this build by its file's age and size: an apply of another one is made again.
fn build() -> String {
    let about = std::fs::metadata(ENXAME).unwrap();
    let age = about.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("{:x}{:016x}", age & 0xffff_ffff, about.len())
}

fn saved() -> Vec<String> {
    let status: serde_json::Value = serde_json::from_str(&lab(&["status", "--json"])).unwrap();
    let listed = status["states"].as_array().unwrap_or(&Vec::new()).clone();
    listed.iter().filter_map(|state| state["name"].as_str().map(str::to_owned)).collect()
}

/// Makes the laboratory's stand-in for Docker's repository; its key's fingerprint.
pub(crate) fn docker_repository(suite: &str) -> String {
    let directory = root().join(".lab/docker-repository");
    let made = Command::new(root().join("scripts/docker-repository")).arg(&directory).arg(suite).output();
    let made = Ended::from(made.unwrap());
    assert!(made.succeeded(), "{made}");
    std::fs::read_to_string(directory.join("fingerprint")).unwrap().trim().to_owned()
}

/// Waits until a condition holds.
pub(crate) fn wait_until(deadline: Duration, what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
    }
}
