//! What the rest of the program sees of `cluster.yaml`.
//!
//! Invariant: a [`Config`] was checked whole, and is read-only from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::words::{
    EdgeProvider, EngineSource, ForeignRules, MountProfile, OpeningProtocol, PeerAccess, Role, Squash,
};
use crate::facts::PublicKey;
use crate::names::{NodeName, ObjectName};
use crate::version::EngineVersion;

/// A checked `cluster.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The cluster's name.
    pub cluster: ObjectName,
    /// How to reach the nodes.
    pub ssh: SshConfig,
    /// The nodes, in the file's order; at least one, names and addresses unique.
    pub nodes: Vec<NodeConfig>,
    /// The container engine.
    pub engine: EngineConfig,
    /// The swarm.
    pub swarm: SwarmConfig,
    /// The overlay networks.
    pub networks: NetworksConfig,
    /// Who may reach the nodes.
    pub firewall: FirewallConfig,
    /// The tunnels between the nodes; `None`: there are to be none.
    pub tunnel: Option<TunnelConfig>,
    /// The shared files; `None`: there are to be none.
    pub storage: Option<StorageConfig>,
    /// The stacks, names unique.
    pub stacks: Vec<StackConfig>,
    /// Sysctl values beyond, or instead of, the manual's.
    pub sysctl: BTreeMap<String, String>,
}

/// A stack; relative paths are relative to `cluster.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackConfig {
    /// What Docker calls it.
    pub name: ObjectName,
    /// Its compose file.
    pub file: PathBuf,
    /// A file of variables for it.
    pub env_file: Option<PathBuf>,
}

/// How to reach the nodes; what is not said here is OpenSSH's own business.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SshConfig {
    /// The remote account.
    pub user: Option<String>,
    /// The remote port.
    pub port: Option<u16>,
    /// `ssh -F`; relative paths are relative to `cluster.yaml`.
    pub config_file: Option<PathBuf>,
    /// The networks that may log in.
    pub allow_from: BTreeSet<IpNet>,
    /// Whether the address that the operator comes from may log in too.
    pub allows_operator: bool,
}

/// Who may reach the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallConfig {
    /// TCP ports that are open to everybody.
    pub public_ports: BTreeSet<u16>,
    /// What else is let in.
    pub openings: Vec<OpeningConfig>,
    /// What nodes let in from each other.
    pub mesh: PeerAccess,
    /// What becomes of ufw rules that enxame did not write.
    pub foreign: ForeignRules,
    /// The provider's firewall.
    pub edge: EdgeConfig,
}

/// The provider's firewall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeConfig {
    /// Whose it is.
    pub provider: EdgeProvider,
    /// The file with the API token; relative paths are relative to `cluster.yaml`.
    pub token_file: Option<PathBuf>,
    /// The firewall's name at the provider. One with that name is ours.
    pub firewall: String,
    /// The API's address, without a slash at its end: `https`, or `http` to this machine itself.
    pub url: String,
}

/// One more thing that is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpeningConfig {
    /// The protocol.
    pub protocol: OpeningProtocol,
    /// The port.
    pub port: u16,
    /// From where; empty: from everywhere.
    pub from: BTreeSet<IpNet>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its name, which becomes its host name.
    pub name: NodeName,
    /// The address its peers reach it at.
    pub address: IpAddr,
    /// What to give to `ssh`; the address, unless said otherwise.
    pub ssh_host: String,
    /// Its address in the tunnels.
    pub tunnel: Option<Ipv4Addr>,
    /// What it is for.
    pub roles: BTreeSet<Role>,
    /// Whether it founds the swarm and should lead it.
    pub is_preferred_leader: bool,
    /// Labels of the user's own.
    pub labels: BTreeMap<String, String>,
}

/// The container engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Where it comes from.
    pub source: EngineSource,
    /// The repository, when the source is Docker's.
    pub repository: RepositoryConfig,
    /// The version to install and hold; without it, the repository's newest at the first apply is held.
    pub version: Option<EngineVersion>,
    /// Container log files: the size at which one is rotated, as Docker writes it (`10m`).
    pub log_max_size: String,
    /// Container log files: how many are kept.
    pub log_max_files: u32,
    /// The pools bridge networks on a node take their subnets from: CIDR and prefix length.
    pub address_pools: Vec<AddressPool>,
    /// Accounts to put in the group `docker`, which makes them root.
    pub docker_group: BTreeSet<String>,
}

/// Docker's package repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryConfig {
    /// Its address, without the distribution: `https://download.docker.com/linux`.
    pub url: String,
    /// The fingerprint its key must have: 40 hexadecimal digits.
    pub key_fingerprint: String,
}

/// A pool of addresses and the size of the subnets taken from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// The pool.
    pub base: IpNet,
    /// The prefix length of each subnet.
    pub size: u8,
}

/// The swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmConfig {
    /// The pool overlay networks take their subnets from.
    pub address_pool: AddressPool,
    /// The UDP port of VXLAN.
    pub data_path_port: u16,
    /// The dispatcher's heartbeat.
    pub heartbeat: Duration,
    /// Whether managers must be unlocked after a restart.
    pub autolock: bool,
}

/// The overlay networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworksConfig {
    /// The encrypted one.
    pub secure: ObjectName,
    /// The unencrypted one, when the user asks for it by name.
    pub plaintext: Option<ObjectName>,
    /// The underlay's MTU in bytes; `None`: measured.
    pub underlay_mtu_bytes: Option<u32>,
}

/// The tunnels between the nodes, as far as they are written. What is missing is proposed by the plan, which makes none
/// before all of it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelConfig {
    /// The network of the nodes' and operators' addresses in them.
    pub network: Option<Ipv4Net>,
    /// The UDP port.
    pub port: u16,
    /// Who administers the nodes through them, names, keys and addresses unique.
    pub operators: Vec<OperatorConfig>,
}

/// Somebody who reaches the nodes through the tunnels, from wherever he is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorConfig {
    /// His name.
    pub name: NodeName,
    /// The public half of his key, the other half of which he alone has.
    pub public_key: PublicKey,
    /// His address in the tunnels.
    pub address: Option<Ipv4Addr>,
}

/// The shared files, which the one node with the role `storage` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageConfig {
    /// How large the file system is that is made for them, in bytes, where none is mounted in their place.
    pub size_bytes: Option<u64>,
    /// How clients mount them.
    pub profile: MountProfile,
    /// What is shared, names unique.
    pub exports: Vec<ExportConfig>,
}

/// One directory that is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportConfig {
    /// Its name.
    pub name: NodeName,
    /// Whose it is.
    pub uid: u32,
    /// Whose group's it is.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Under whose ids what clients write is kept.
    pub squash: Squash,
    /// The nodes that may mount it; `None`: all.
    pub clients: Option<BTreeSet<NodeName>>,
}

impl Config {
    /// The node that founds the swarm: the preferred leader or, where none is named, the first.
    #[must_use]
    pub fn founder(&self) -> Option<&NodeConfig> {
        self.nodes.iter().find(|node| node.is_preferred_leader).or(self.nodes.first())
    }

    /// The node with that name.
    #[must_use]
    pub fn node(&self, name: &NodeName) -> Option<&NodeConfig> {
        self.nodes.iter().find(|node| &node.name == name)
    }

    /// Those who administer the nodes through the tunnels.
    pub fn operators(&self) -> impl Iterator<Item = &OperatorConfig> {
        self.tunnel.iter().flat_map(|tunnel| &tunnel.operators)
    }

    /// Whether an address is one of the tunnels', and of nothing outside them.
    #[must_use]
    pub fn is_in_the_tunnels(&self, address: IpAddr) -> bool {
        let network = self.tunnel.as_ref().and_then(|tunnel| tunnel.network);
        matches!((network, address), (Some(network), IpAddr::V4(address)) if network.contains(&address))
    }

    /// The node that holds the shared files, where there are to be any.
    #[must_use]
    pub fn storage_node(&self) -> Option<&NodeConfig> {
        self.storage.as_ref()?;
        self.nodes.iter().find(|node| node.roles.contains(&Role::Storage))
    }

    /// Every node but that one.
    pub fn peers_of<'a>(&'a self, name: &'a NodeName) -> impl Iterator<Item = &'a NodeConfig> {
        self.nodes.iter().filter(move |node| &node.name != name)
    }
}

impl NodeConfig {
    /// The labels the node gets in the swarm: a key for each role, the manual's `role`, and the user's own.
    ///
    /// The manual puts two roles in one key, where the last wins; here `storage`, `db` and `proxy` are keys.
    #[must_use]
    pub fn swarm_labels(&self) -> BTreeMap<String, String> {
        let role = if self.roles.contains(&Role::Db) { "db" } else { "worker" };
        let mut labels = BTreeMap::from([("role".to_owned(), role.to_owned())]);
        labels.extend(self.roles.iter().map(|role| (role.label_key().to_owned(), "true".to_owned())));
        labels.extend(self.labels.clone());
        labels
    }
}
