//! The one record of a running laboratory, in `/run/enxame-lab`, and the lock around changing it.
//!
//! Namespaces and addresses are machine-wide, so there is one laboratory per machine, whoever started it.
//! Invariant: a process is in the record before anything waits for it, so that `down` finds it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::{
    faults::Faults,
    home::{Home, replace_file},
    process::Process,
    topology::Node,
};

const DIRECTORY: &str = "/run/enxame-lab";

/// A laboratory that runs or did until it was torn away.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Whose it is: the `.lab` directory.
    pub(crate) owner: PathBuf,
    /// The set of disks the nodes run on, once there is one.
    pub(crate) disks: Option<String>,
    /// The nodes' emulators, by node name.
    pub(crate) nodes: BTreeMap<String, Process>,
    /// Everything else that runs, by what it is.
    pub(crate) helpers: BTreeMap<String, Process>,
    /// What was broken on purpose.
    pub(crate) faults: Faults,
}

impl Record {
    /// A laboratory in which nothing runs yet.
    pub(crate) fn new(home: &Home) -> Self {
        Self {
            owner: home.directory().to_owned(),
            disks: None,
            nodes: BTreeMap::new(),
            helpers: BTreeMap::new(),
            faults: Faults::default(),
        }
    }

    /// The record there is, whoever owns it.
    pub(crate) fn read() -> Result<Option<Self>> {
        let path = runtime_file("owner.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
                format!(
                    "cannot read {}\nhint: end the laboratory's processes and remove that file",
                    path.display()
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The record of this project's running laboratory.
    pub(crate) fn running(home: &Home) -> Result<Self> {
        Self::owned_by(home)?
            .filter(Self::is_alive)
            .ok_or_else(|| anyhow!("the laboratory is not up\nhint: enxame-lab up"))
    }

    /// The record, if it is this project's. One of another project is an error while it is alive.
    pub(crate) fn owned_by(home: &Home) -> Result<Option<Self>> {
        match Self::read()? {
            Some(record) if record.owner != home.directory() && record.is_alive() => bail!(
                "the laboratory of {} is running (processes {}), and a machine has room for one\n\
                 hint: enxame-lab --dir {0} down",
                record.owner.display(),
                record.processes().map(|process| process.pid().to_string()).collect::<Vec<_>>().join(", "),
            ),
            record => Ok(record),
        }
    }

    /// Whether anything of it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.processes().any(Process::is_alive)
    }

    /// Whether that node's emulator runs.
    pub(crate) fn runs(&self, node: &Node) -> bool {
        self.nodes.get(node.name).is_some_and(|process| process.is_alive())
    }

    /// Everything that was started.
    pub(crate) fn processes(&self) -> impl Iterator<Item = Process> {
        self.nodes.values().chain(self.helpers.values()).copied().chain(self.faults.processes())
    }

    /// Writes it down.
    pub(crate) fn write(&self) -> Result<()> {
        replace_file(&runtime_file("owner.json"), &serde_json::to_vec_pretty(self)?)
    }

    /// Forgets the laboratory.
    pub(crate) fn remove() -> Result<()> {
        match fs::remove_file(runtime_file("owner.json")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("cannot remove the record")
            }
            _ => Ok(()),
        }
    }
}

/// A file that lives as long as the laboratory runs. The path is short enough for a socket.
pub(crate) fn runtime_file(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Keeps two commands from changing the laboratory at the same time. Released when dropped.
pub(crate) fn lock() -> Result<Flock<File>> {
    fs::create_dir_all(DIRECTORY).with_context(|| format!("cannot create {DIRECTORY}"))?;
    let file = File::create(runtime_file("lock")).context("cannot create the laboratory's lock")?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        anyhow!("another enxame-lab command is changing the laboratory\nhint: wait for it, then try again")
    })
}
