//! The variables that enxame itself gives to stacks.

use std::collections::BTreeMap;

use crate::areas::storage::volumes;
use crate::config::Config;

/// What `cluster.yaml` tells stacks: the network for services, every node's address and, where files are shared, how they are
/// mounted. They go before the environment.
#[must_use]
pub fn own_variables(config: &Config) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(variables.insert(format!("ENXAME_{name}"), value));
    set("NETWORK", config.networks.secure.to_string());
    for node in &config.nodes {
        set(&format!("ADDRESS_{}", upper(node.name.as_str())), node.address.to_string());
    }
    if let Some(address) = config.storage_node().and_then(|node| node.tunnel) {
        set("STORAGE_ADDRESS", address.to_string());
    }
    let entries = volumes::entries(config);
    if let Some(entry) = entries.first() {
        set("STORAGE_OPTIONS", entry.options.clone());
    }
    for entry in entries {
        set(&format!("STORAGE_DEVICE_{}", upper(entry.export.as_str())), entry.device);
    }
    variables
}

/// A host name as a variable's.
fn upper(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_told_where_files_are_and_how_they_are_mounted() {
        let text = "version: 1\ncluster: lab\nnodes:\n  - {name: kvm8-core, address: 203.0.113.18, tunnel: 192.168.255.1, \
                    roles: [storage]}\ntunnel: {network: 192.168.255.0/24}\nstorage: {exports: [{name: web-files, uid: 33}]}\n";
        let config = Config::parse("cluster.yaml", text).unwrap();
        let variables = own_variables(&config);
        let value = |name: &str| variables.get(name).map(String::as_str);
        assert_eq!(value("ENXAME_ADDRESS_KVM8_CORE"), Some("203.0.113.18"));
        assert_eq!(value("ENXAME_STORAGE_ADDRESS"), Some("192.168.255.1"));
        assert_eq!(
            value("ENXAME_STORAGE_OPTIONS"),
            Some("addr=192.168.255.1,nfsvers=4.2,hard,timeo=100,retrans=2")
        );
        assert_eq!(value("ENXAME_STORAGE_DEVICE_WEB_FILES"), Some(":/srv/nfs/swarm_data/web-files"));
    }
}
