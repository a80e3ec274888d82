//! `cluster.yaml`, version 1, as it stands in the file: defaults, units and places of values.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::error::ConfigError;
use super::words::{
    EdgeProvider, EngineSource, ForeignRules, MountProfile, OpeningProtocol, PeerAccess, Role, Squash,
};
use crate::names::{NodeName, ObjectName};

/// A swarm of a few servers, from one file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "enxame cluster.yaml")]
pub(super) struct ClusterFile {
    /// The version of this file's shape: 1.
    #[schemars(with = "u32", range(min = 1, max = 1))]
    pub(super) version: Spanned<u32>,
    /// The cluster's name, for people.
    pub(super) cluster: ObjectName,
    /// How to reach the servers. What is not said here is left to OpenSSH's own configuration.
    #[serde(default)]
    pub(super) ssh: SshFile,
    /// The servers. Three make a swarm that survives the loss of one.
    #[schemars(with = "Vec<NodeFile>", length(min = 1))]
    pub(super) nodes: Spanned<Vec<NodeFile>>,
    /// The container engine.
    #[serde(default)]
    pub(super) engine: EngineFile,
    /// The swarm.
    #[serde(default)]
    pub(super) swarm: SwarmFile,
    /// The overlay networks.
    #[serde(default)]
    pub(super) networks: NetworksFile,
    /// Who may reach the servers.
    #[serde(default)]
    pub(super) firewall: FirewallFile,
    /// `WireGuard` tunnels between the servers. Where it is written, even empty, they are made.
    #[serde(default, deserialize_with = "written")]
    #[schemars(with = "Option<TunnelFile>", extend("default" = serde_json::Value::Null))]
    pub(super) tunnel: Option<TunnelFile>,
    /// Files that every server shares, over NFS in the tunnels, which come with it. The server with the role `storage` holds them.
    #[schemars(with = "Option<StorageFile>")]
    pub(super) storage: Option<Spanned<StorageFile>>,
    /// Your stacks: each a compose file's path, or a mapping. Relative paths are relative to this file. Where there are any,
    /// every port that is written in `firewall.public_ports` must be published by one of them.
    #[serde(default)]
    #[schemars(with = "Vec<StackEntry>", extend("default" = serde_json::json!([])))]
    pub(super) stacks: Vec<Spanned<StackFile>>,
    /// Sysctl values beyond, or instead of, the manual's; keys with dots.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(super) sysctl: BTreeMap<String, Spanned<String>>,
}

/// A stack.
#[derive(Debug)]
pub(super) struct StackFile(pub(super) StackMapping);

/// A stack, as a mapping.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StackMapping {
    /// The compose file.
    pub(super) file: PathBuf,
    /// What Docker calls the stack. Without it: the file's name, less `.yaml` and `-stack`; of a `compose.yaml` its directory's.
    #[schemars(with = "Option<ObjectName>")]
    pub(super) name: Option<Spanned<String>>,
    /// A file of variables for it, one `NAME=value` in a line; what the environment has goes before it.
    pub(super) env_file: Option<PathBuf>,
}

/// What the JSON Schema says of [`StackFile`].
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the schema alone is of use")]
enum StackEntry {
    /// The compose file.
    File(PathBuf),
    /// With more.
    Mapping(StackMapping),
}

impl<'de> Deserialize<'de> for StackFile {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = StackFile;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a compose file's path, or a mapping with `file`")
            }

            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<StackFile, E> {
                Ok(StackFile(StackMapping { file: path.into(), name: None, env_file: None }))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<StackFile, A::Error> {
                StackMapping::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(StackFile)
            }
        }
        from.deserialize_any(Either)
    }
}

/// How to reach the servers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SshFile {
    /// The remote account: root, or one with passwordless sudo.
    #[schemars(with = "Option<String>")]
    pub(super) user: Option<Spanned<String>>,
    /// The remote port.
    #[schemars(with = "Option<u16>", range(min = 1))]
    pub(super) port: Option<Spanned<u16>>,
    /// An `ssh_config` to use instead of yours; relative paths are relative to this file.
    pub(super) config_file: Option<PathBuf>,
    /// Addresses and networks (CIDR) that may log in, for the firewall.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) allow_from: Vec<Spanned<String>>,
    /// Whether the address that you apply from may log in too; without it, `allow_from` must cover that address.
    #[serde(default)]
    pub(super) allow_operator: AllowOperator,
}

/// Whether the address that an operator applies from may log in.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct AllowOperator(pub(super) bool);

impl Default for AllowOperator {
    fn default() -> Self {
        Self(true)
    }
}

/// Who may reach the servers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FirewallFile {
    /// TCP ports that are open to everybody.
    #[schemars(with = "Vec<u16>", inner(range(min = 1)))]
    pub(super) public_ports: Vec<Spanned<u16>>,
    /// What else is let in, e.g. a VPN's port.
    pub(super) openings: Vec<OpeningFile>,
    /// What nodes let in from each other.
    pub(super) mesh: PeerAccess,
    /// What becomes of ufw rules that enxame did not write.
    pub(super) foreign: ForeignRules,
    /// The provider's firewall, in front of the servers.
    pub(super) edge: EdgeFile,
}

/// The provider's firewall, in front of the servers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EdgeFile {
    /// Whose it is.
    pub(super) provider: EdgeProvider,
    /// A file with the provider's API token, readable by you alone; relative paths are relative to this file. The
    /// environment variable `HOSTINGER_API_TOKEN` goes before it.
    #[schemars(with = "Option<PathBuf>")]
    pub(super) token_file: Option<Spanned<PathBuf>>,
    /// The firewall's name at the provider; `enxame-` and the cluster's name unless told otherwise.
    #[schemars(with = "Option<String>")]
    pub(super) firewall: Option<Spanned<String>>,
    /// Where the provider's API is, when it is not where the provider says.
    #[schemars(with = "Option<String>")]
    pub(super) url: Option<Spanned<String>>,
}

/// One more thing that is let in.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OpeningFile {
    /// The protocol.
    pub(super) protocol: OpeningProtocol,
    /// The port.
    #[schemars(with = "u16", range(min = 1))]
    pub(super) port: Spanned<u16>,
    /// Addresses and networks (CIDR) that it is let in from; without them, everybody.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) from: Vec<Spanned<String>>,
}

/// One server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeFile {
    /// Its name, which becomes its host name.
    #[schemars(with = "NodeName")]
    pub(super) name: Spanned<NodeName>,
    /// The public address its peers reach it at.
    #[schemars(with = "IpAddr")]
    pub(super) address: Spanned<IpAddr>,
    /// What to give to `ssh`, when it is not the address: a name or an alias in your `ssh_config`.
    #[schemars(with = "Option<String>")]
    pub(super) ssh_host: Option<Spanned<String>>,
    /// Its address in the tunnels: one of `tunnel.network`, its own for as long as it lives.
    #[schemars(with = "Option<Ipv4Addr>")]
    pub(super) tunnel: Option<Spanned<Ipv4Addr>>,
    /// What it is for.
    #[serde(default)]
    pub(super) roles: BTreeSet<Role>,
    /// Whether it founds the swarm and should lead it; at most one.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    pub(super) preferred_leader: Option<Spanned<bool>>,
    /// Labels of your own (`node.labels.KEY`).
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(super) labels: BTreeMap<String, Spanned<String>>,
}

/// The container engine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EngineFile {
    /// Where it comes from.
    pub(super) source: EngineSource,
    /// Docker's repository.
    pub(super) repository: RepositoryFile,
    /// The version to install and hold, e.g. `28.3.3`; without it, the newest there is at the first apply is held.
    #[schemars(with = "Option<String>")]
    pub(super) version: Option<Spanned<String>>,
    /// The size at which a container's log file is rotated.
    #[schemars(with = "String", extend("x-unit" = "bytes, in k, m or g"))]
    pub(super) log_max_size: Spanned<String>,
    /// How many log files a container keeps; 0 counts as 1.
    #[schemars(extend("x-unit" = "files"))]
    pub(super) log_max_files: u32,
    /// The pools that bridge networks on a node take their subnets from.
    #[schemars(with = "Vec<PoolFile>")]
    pub(super) address_pools: Vec<Spanned<PoolFile>>,
    /// Accounts to put in the group `docker`. Whoever is in it is root.
    pub(super) docker_group: BTreeSet<String>,
}

impl Default for EngineFile {
    fn default() -> Self {
        Self {
            source: EngineSource::default(),
            repository: RepositoryFile::default(),
            version: None,
            log_max_size: unplaced("10m".to_owned()),
            log_max_files: 3,
            address_pools: vec![unplaced(PoolFile { base: default_bridge_pool(), size: 24 })],
            docker_group: BTreeSet::new(),
        }
    }
}

/// Docker's repository.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RepositoryFile {
    /// Its address, up to the distribution's name.
    #[schemars(with = "String")]
    pub(super) url: Spanned<String>,
    /// The fingerprint its signing key must have.
    #[schemars(with = "String")]
    pub(super) key_fingerprint: Spanned<String>,
}

impl Default for RepositoryFile {
    fn default() -> Self {
        Self {
            url: unplaced("https://download.docker.com/linux".to_owned()),
            // https://docs.docker.com/engine/install/debian/ and .../ubuntu/ name the same key.
            key_fingerprint: unplaced("9DC858229FC7DD38854AE2D88D81803C0EBFCD88".to_owned()),
        }
    }
}

/// A pool of addresses.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolFile {
    /// The pool, e.g. `10.0.0.0/8`.
    #[schemars(with = "String")]
    pub(super) base: IpNet,
    /// The prefix length of each subnet taken from it.
    #[schemars(extend("x-unit" = "bits"))]
    pub(super) size: u8,
}

/// The swarm.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SwarmFile {
    /// The pool that overlay networks take their subnets from.
    #[schemars(with = "PoolFile")]
    pub(super) address_pool: Spanned<PoolFile>,
    /// The UDP port of VXLAN.
    #[schemars(with = "u16", range(min = 1024, max = 49151))]
    pub(super) data_path_port: Spanned<u16>,
    /// The dispatcher's heartbeat, in seconds; a node is down after three are missed.
    #[schemars(with = "u64", range(min = 1, max = 60), extend("x-unit" = "seconds"))]
    pub(super) heartbeat_seconds: Spanned<u64>,
    /// Whether managers must be unlocked after a restart.
    pub(super) autolock: bool,
}

impl Default for SwarmFile {
    fn default() -> Self {
        Self {
            address_pool: unplaced(PoolFile { base: default_overlay_pool(), size: 24 }),
            data_path_port: unplaced(4789),
            heartbeat_seconds: unplaced(5),
            autolock: false,
        }
    }
}

/// The overlay networks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NetworksFile {
    /// The encrypted network's name.
    #[schemars(with = "ObjectName")]
    pub(super) secure: Spanned<ObjectName>,
    /// An unencrypted network's name, when you want one for traffic that is not sensitive.
    #[schemars(with = "Option<ObjectName>")]
    pub(super) plaintext: Option<Spanned<ObjectName>>,
    /// The MTU between the servers in bytes; without it, it is measured.
    #[schemars(with = "Option<u32>", range(min = 1280, max = 9000), extend("x-unit" = "bytes"))]
    pub(super) underlay_mtu: Option<Spanned<u32>>,
}

impl Default for NetworksFile {
    fn default() -> Self {
        Self { secure: unplaced(default_secure_network()), plaintext: None, underlay_mtu: None }
    }
}

impl Default for FirewallFile {
    fn default() -> Self {
        Self {
            public_ports: [80, 443].map(unplaced).to_vec(),
            openings: Vec::new(),
            mesh: PeerAccess::default(),
            foreign: ForeignRules::default(),
            edge: EdgeFile::default(),
        }
    }
}

/// `WireGuard` tunnels between the servers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TunnelFile {
    /// The IPv4 network of the nodes' addresses in the tunnels, which is nobody else's; without it, `enxame plan`
    /// proposes one.
    #[schemars(with = "Option<String>")]
    pub(super) network: Option<Spanned<Ipv4Net>>,
    /// The UDP port at which every node takes the others' packets.
    #[schemars(with = "u16", range(min = 1))]
    pub(super) port: Spanned<u16>,
    /// Who may log in by SSH through the tunnels, from wherever they are. Where there are any, the port is open to everybody,
    /// and silent to whoever has none of these keys.
    pub(super) operators: Vec<OperatorFile>,
}

/// Somebody who reaches the servers through the tunnels.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OperatorFile {
    /// The operator's name, for `enxame tunnel config NAME`.
    #[schemars(with = "NodeName")]
    pub(super) name: Spanned<String>,
    /// The public half of the operator's key (`wg genkey | tee KEY | wg pubkey`); the other half stays with the operator.
    #[schemars(with = "String")]
    pub(super) public_key: Spanned<String>,
    /// The operator's address in the tunnels: one of `tunnel.network`; without it, `enxame plan` proposes one.
    #[schemars(with = "Option<Ipv4Addr>")]
    pub(super) address: Option<Spanned<Ipv4Addr>>,
}

impl Default for TunnelFile {
    fn default() -> Self {
        // The port of WireGuard's own documentation.
        Self { network: None, port: unplaced(51_820), operators: Vec::new() }
    }
}

/// Files that every server shares.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StorageFile {
    /// The size of the file system that is made for them, where none is mounted at `/srv/nfs/swarm_data`; it can grow.
    #[schemars(with = "Option<String>", extend("x-unit" = "bytes, in M, G or T"))]
    pub(super) size: Option<Spanned<String>>,
    /// How clients mount them.
    #[serde(default)]
    pub(super) profile: MountProfile,
    /// What is shared: directories of that file system.
    #[schemars(with = "Vec<ExportFile>", length(min = 1))]
    pub(super) exports: Spanned<Vec<ExportFile>>,
}

/// A directory that is shared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportFile {
    /// Its name: the directory's, and what clients mount.
    #[schemars(with = "NodeName")]
    pub(super) name: Spanned<String>,
    /// The user that it belongs to, by number: the one that the application runs as in its image.
    #[schemars(with = "u32")]
    pub(super) uid: Spanned<u32>,
    /// Its group, by number; that of `uid` unless told otherwise.
    #[schemars(with = "Option<u32>")]
    pub(super) gid: Option<Spanned<u32>>,
    /// Its permission bits, in octal digits.
    #[serde(default = "default_mode")]
    #[schemars(with = "String")]
    pub(super) mode: Spanned<String>,
    /// Under whose ids what clients write is kept.
    #[serde(default)]
    pub(super) squash: Squash,
    /// The servers that may mount it; all, unless told otherwise.
    #[schemars(with = "Option<Vec<NodeName>>")]
    pub(super) clients: Option<Vec<Spanned<NodeName>>>,
}

fn default_mode() -> Spanned<String> {
    unplaced("0750".to_owned())
}

/// A key without a value is written all the same.
fn written<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<TunnelFile>, D::Error> {
    let tunnel: Option<TunnelFile> = Deserialize::deserialize(from)?;
    Ok(Some(tunnel.unwrap_or_default()))
}

/// `10.0.0.0/8` is swarmkit's default pool; `/24` its subnets.
pub(crate) fn default_overlay_pool() -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8))
}

/// Docker's own default takes a /16 for each network and so has room for about 30.
pub(crate) fn default_bridge_pool() -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12))
}

#[expect(clippy::expect_used, reason = "a constant that the tests cover")]
fn default_secure_network() -> ObjectName {
    ObjectName::new("swarm-secure-net").expect("a valid constant")
}

/// A value that does not stand in the file.
fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(value, serde_saphyr::Location::UNKNOWN, serde_saphyr::Location::UNKNOWN)
}

/// Whether the value stands in the file; a default has no place there.
pub(super) fn is_written<T>(value: &Spanned<T>) -> bool {
    value.referenced != serde_saphyr::Location::UNKNOWN
}

/// Reads the file's shape.
pub(super) fn parse(name: &str, text: &str) -> Result<ClusterFile, ConfigError> {
    serde_saphyr::from_str(text).map_err(|error| ConfigError::of_yaml(name, text, &error))
}
