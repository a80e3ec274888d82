//! What is to be proven about the tunnels and the shared files, and what was seen of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::PerNode;
use crate::areas::storage::volumes;
use crate::config::{Config, Squash};
use crate::names::NodeName;
use crate::probe::{Capture, DoorsTried, PathQuality, ProbedExport, Shared};

/// Who is connected to whom, and what is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedSubject {
    /// The nodes.
    pub nodes: BTreeMap<NodeName, SharedSubjectNode>,
    /// The node that holds the files; `None`: none are shared.
    pub server: Option<NodeName>,
    /// What is shared.
    pub exports: Vec<SharedExport>,
}

/// A node's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedSubjectNode {
    /// On the Internet.
    pub public: IpAddr,
    /// In the tunnels.
    pub tunnel: Ipv4Addr,
}

/// What is shared, and with whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedExport {
    /// How it is mounted.
    pub mount: ProbedExport,
    /// Whose files root's are to be: a user's number; `None`: root is to make none.
    pub roots_files: Option<u32>,
    /// The nodes that may mount it.
    pub clients: BTreeSet<NodeName>,
}

/// Whom root is where it is squashed (`exports(5)`).
const NOBODY: u32 = 65_534;

impl SharedSubject {
    /// From the configuration; `None` where there are no tunnels, or some of what they need is not written.
    #[must_use]
    pub fn of(config: &Config) -> Option<Self> {
        config.tunnel.as_ref()?.network?;
        let node = |node: &crate::config::NodeConfig| {
            let addresses = SharedSubjectNode { public: node.address, tunnel: node.tunnel? };
            Some((node.name.clone(), addresses))
        };
        let nodes = config.nodes.iter().map(node).collect::<Option<BTreeMap<_, _>>>()?;
        let server = config.storage_node().map(|node| node.name.clone());
        let address = server.as_ref().and_then(|name| nodes.get(name)).map(|node| node.tunnel);
        let entries = volumes::entries(config);
        let exports = config.storage.iter().flat_map(|storage| &storage.exports).filter_map(|export| {
            let entry = entries.iter().find(|entry| entry.export == export.name)?;
            // What is waited for in a proof has an end.
            let options = format!("addr={},nfsvers=4.2,softerr,timeo=50,retrans=2,nosharecache", address?);
            let mount = ProbedExport {
                name: export.name.clone(),
                source: format!("{}{}", address?, entry.device),
                options,
                uid: export.uid,
                gid: export.gid,
            };
            let nobody_writes = export.mode & 0o002 == 0;
            let roots_files = match export.squash {
                Squash::All => Some(export.uid),
                Squash::Root if nobody_writes => None,
                Squash::Root => Some(NOBODY),
                Squash::None => Some(0),
            };
            let clients = export.clients.clone().unwrap_or_else(|| nodes.keys().cloned().collect());
            Some(SharedExport { mount, roots_files, clients })
        });
        let exports = exports.collect();
        Some(Self { nodes, server, exports })
    }

    /// Every node and every other.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&NodeName, &NodeName)> {
        let nodes = self.nodes.keys();
        nodes.flat_map(|from| self.nodes.keys().map(move |to| (from, to))).filter(|(from, to)| from != to)
    }
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedObservations {
    /// What was to be proven about whom.
    pub subject: SharedSubject,
    /// How echo requests fared in the tunnels, by the peer's address there.
    pub echoes: PerNode<BTreeMap<IpAddr, Result<PathQuality, String>>>,
    /// What came of writing.
    pub written: PerNode<Shared>,
    /// What came of reading what others wrote.
    pub read: PerNode<Shared>,
    /// Which ways to the server answered.
    pub doors: PerNode<DoorsTried>,
    /// What was seen on the Internet's side meanwhile.
    pub watched: PerNode<Capture>,
}
