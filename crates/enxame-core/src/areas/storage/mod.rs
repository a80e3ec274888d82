//! Files that every node shares (manual 4, corrected): `NFSv4` in the tunnels, where `storage:` is written in cluster.yaml.
//!
//! The node with the role `storage` serves directories of a file system of its own, at its address in the tunnels alone; an
//! address there is a key, so that an export names whom it means. Every node mounts them by Docker's local driver, from the
//! volume's entry in a stack. Invariant: nothing here takes away what somebody wrote.

pub mod client;
pub(crate) mod facts;
pub mod filesystem;
pub mod removal;
pub mod server;
mod texts;
pub mod volumes;

use std::net::Ipv4Addr;

use crate::config::{Config, ExportConfig, NodeConfig, StorageConfig};

pub use texts::{CONF_PATH, DROP_IN_PATH, EXPORTS_PATH, MOUNT_PATH, MOUNT_UNIT, directory};

/// Where the shared files are, as in the manual.
pub const ROOT: &str = "/srv/nfs/swarm_data";
/// The file that holds them, where no file system was mounted in their place.
pub const IMAGE_PATH: &str = "/srv/nfs/swarm_data.ext4";
/// The server's unit.
pub const SERVER_UNIT: &str = "nfs-server.service";
/// What remembers the clients of a server that restarts, so that they need not wait for the whole grace period.
const TRACKING_UNIT: &str = "nfsdcld.service";
const SERVER_PACKAGE: &str = "nfs-kernel-server";
const CLIENT_PACKAGE: &str = "nfs-common";

super::actions! {
    Storage:
    /// What every node needs to mount.
    Client(client),
    /// The file system.
    Filesystem(filesystem),
    /// What is served, and where.
    Server(server),
    /// Serving no more.
    Removal(removal),
}

/// What is to be served, once all is written that it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    config: &'a Config,
    storage: &'a StorageConfig,
    server: &'a NodeConfig,
    /// The server's address in the tunnels.
    address: Ipv4Addr,
}

impl<'a> Wanted<'a> {
    /// `None`: there are to be no shared files, or addresses are missing, which is a finding of the tunnels'.
    pub(crate) fn of(config: &'a Config) -> Option<Self> {
        let storage = config.storage.as_ref()?;
        let is_whole = config.nodes.iter().all(|node| node.tunnel.is_some());
        let server = config.storage_node().filter(|_| is_whole)?;
        Some(Self { config, storage, server, address: server.tunnel? })
    }

    /// The addresses that may mount an export.
    fn clients(self, export: &ExportConfig) -> impl Iterator<Item = Ipv4Addr> {
        let may = |node: &&NodeConfig| export.clients.as_ref().is_none_or(|some| some.contains(&node.name));
        self.config.nodes.iter().filter(may).filter_map(|node| node.tunnel)
    }
}
