//! The machine below the engine.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// `/etc/os-release`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct OperatingSystem {
    /// `ID`, e.g. `debian`.
    pub id: String,
    /// `VERSION_ID`, e.g. `13`.
    pub version_id: String,
    /// `VERSION_CODENAME`, e.g. `trixie`.
    pub codename: String,
    /// `PRETTY_NAME`.
    pub pretty_name: String,
    /// Why `/` is not root's alone, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_is_not_roots: Option<String>,
}

/// The running kernel, as `uname(2)` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Kernel {
    /// The release, e.g. `6.12.48+deb13-amd64`.
    pub release: String,
    /// The architecture, e.g. `x86_64`.
    pub architecture: String,
    /// Whether it can load modules and those of its release are not on the disk: another one was installed in its place, and
    /// the machine has not booted since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub modules_are_gone: bool,
    /// What tells that it is another machine's kernel, shared with a container that was taken for a machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<String>,
}

/// Processors, memory, disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Hardware {
    /// Processors online.
    pub processors: u32,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Size of the filesystem that holds `/var/lib`, in bytes.
    pub disk_bytes: u64,
}

/// What became of a kernel module that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModuleState {
    /// In the kernel now, as a module or built in.
    Loaded,
    /// On the disk (`modules.dep`) and not loaded.
    Loadable,
    /// Neither: the kernel's package is a minimal one.
    Missing,
}

/// What keeps a kernel module from being loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// Where that is said: a file and its line, or words for what is no file.
    pub place: String,
    /// What is said there.
    pub text: String,
    /// Whether the module can still be loaded by its name, as a black list lets it, and is not at boot.
    pub at_boot_only: bool,
}

/// Why a file cannot be replaced, although root asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// This file or directory is immutable or append-only (chattr(1)).
    Immutable(String),
    /// What is mounted here is so read-only.
    ReadOnly(String),
}

/// A value of a kernel parameter that a file sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The parameter, with dots.
    pub key: String,
    /// Its value there.
    pub value: String,
    /// The file and the line, as in `/etc/sysctl.d/99-sysctl.conf:3`.
    pub place: String,
    /// When it is set.
    pub when: SetWhen,
}

/// When a file's kernel parameters are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetWhen {
    /// At boot, in the order of the files' names (systemd-sysctl.service(8)).
    Boot,
    /// Each time that ufw starts or reloads, at boot too (`IPT_SYSCTL` in /etc/default/ufw).
    UfwReload,
}

/// A package, as `/var/lib/dpkg/status` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFacts {
    /// The installed version; `None` when it is known but not (wholly) installed.
    pub installed: Option<String>,
    /// Whether it is held (`apt-mark hold`).
    pub is_held: bool,
}

/// A systemd unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct UnitFacts {
    /// `LoadState` is not `not-found`.
    pub exists: bool,
    /// `ActiveState`, e.g. `active`.
    pub active: String,
    /// `UnitFileState`, e.g. `enabled`, `masked`; empty where there is none.
    pub enabled: String,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceFacts {
    /// Its name.
    pub name: String,
    /// Its MTU, in bytes.
    pub mtu_bytes: u32,
    /// Its addresses, without prefix lengths.
    pub addresses: Vec<IpAddr>,
    /// What it is.
    #[serde(default, skip_serializing_if = "LinkFacts::is_plain_ethernet")]
    pub link: LinkFacts,
}

/// What kind of link an interface is, as the kernel says (`RTM_GETLINK`, rtnetlink(7)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkFacts {
    /// `ARPHRD_...` (Linux, `include/uapi/linux/if_arp.h`), e.g. 1 for Ethernet and all that looks like it.
    pub hardware: u16,
    /// What the kernel made it of (`IFLA_INFO_KIND`), e.g. `wireguard`, `tun`, `bond`; empty for hardware.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

impl LinkFacts {
    /// `ARPHRD_ETHER`.
    pub const ETHERNET: u16 = 1;

    fn is_plain_ethernet(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for LinkFacts {
    fn default() -> Self {
        Self { hardware: Self::ETHERNET, kind: String::new() }
    }
}

/// Addresses that a node knows somebody else by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OccupiedNetwork {
    /// The addresses.
    pub network: IpNet,
    /// What is there.
    pub by: Occupant,
}

/// What is at addresses that a node knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occupant {
    /// Whatever this interface leads to, by a route that is not the default one.
    Interface(String),
    /// A name server that the node asks.
    NameServer,
}

impl fmt::Display for OccupiedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            Occupant::Interface(name) => write!(f, "{} ({name})", self.network),
            Occupant::NameServer => write!(f, "{} (a name server)", self.network.addr()),
        }
    }
}

/// cloud-init and what it would rewrite at the next boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct CloudInitFacts {
    /// Whether it is installed and not disabled (`/etc/cloud/cloud-init.disabled`).
    pub is_active: bool,
    /// Which of the provider's data say `manage_etc_hosts: true`, which goes before any file of the server's: `user-data`,
    /// `vendor-data`, `vendor-data2`.
    pub hosts_rewritten_by: Vec<String>,
}

/// Docker as a snap, which takes its data along when it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DockerSnap {
    /// Not installed.
    Absent,
    /// Installed, without volumes or containers, and in no swarm.
    Empty,
    /// Installed, with volumes or containers or in a swarm, or with data that could not be looked into.
    WithData,
}
