//! The ports that a cluster's own services listen on: no stack may have them, and they are not for everybody.

use super::v1::ClusterFile;

/// The TCP port of swarm management, as Docker's documentation names it.
pub const SWARM_MANAGEMENT_PORT: u16 = 2377;
/// The TCP and UDP port of the gossip between nodes (memberlist).
pub const SWARM_GOSSIP_PORT: u16 = 7946;
/// Where the routing mesh publishes verify's probe (TCP), for the other nodes; beyond the range that swarm chooses from
/// (30000 to 32767) and below the kernel's own (32768 and up).
pub const PROBE_PORT: u16 = 29_877;
/// The only port of `NFSv4` (RFC 8881, 2.9).
pub(crate) const NFS_PORT: u16 = 2049;
/// Where sshd listens unless told otherwise.
pub(crate) const SSH_PORT: u16 = 22;
/// Docker's API over TCP, in clear and with TLS, as Docker's documentation names them.
const DOCKER_API_PORTS: [u16; 2] = [2375, 2376];

/// The reserved ports of one cluster.
pub(super) struct Reserved {
    ssh: u16,
    data_path: u16,
}

impl Reserved {
    /// Those that the file moves are where it moves them.
    pub(super) fn of(file: &ClusterFile) -> Self {
        Self {
            ssh: file.ssh.port.as_ref().map_or(SSH_PORT, |port| port.value),
            data_path: file.swarm.data_path_port.value,
        }
    }

    /// Whose it is, whatever the protocol; `None`: nobody's.
    pub(super) fn owner(&self, port: u16) -> Option<&'static str> {
        match port {
            SWARM_MANAGEMENT_PORT => Some("swarm management"),
            SWARM_GOSSIP_PORT => Some("the swarm's gossip"),
            NFS_PORT => Some("the shared files (NFS)"),
            port if DOCKER_API_PORTS.contains(&port) => Some("Docker's API"),
            port if port == self.ssh => Some("SSH, which `ssh.allow_from` is for"),
            port if port == self.data_path => Some("VXLAN, the swarm's data path"),
            _ => None,
        }
    }
}
