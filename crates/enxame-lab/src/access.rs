//! How the operator reaches the nodes: keys, ssh configuration, and the `cluster.yaml` that uses them.
//!
//! Invariant: host keys are made here, before a node first boots, so no connection ever trusts on first use.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    home::{Home, replace_file},
    tool::Tool,
    topology::{NODES, Node},
};

const CLUSTER: &str = "\
version: 1
cluster: lab
ssh:
  user: root
  config_file: ssh_config # relative to this file
  allow_from: [203.0.113.1] # the operator
nodes:
  - name: kvm2-manager
    address: 203.0.113.12
  - name: kvm4-manager
    address: 203.0.113.14
  - name: kvm8-core
    address: 203.0.113.18
    roles: [storage, db, proxy]
    preferred_leader: true
engine:
  source: distribution
";

/// Makes what is missing and brings the rest up to date. An edited `cluster.yaml` is left alone.
pub(crate) fn prepare(home: &Home) -> Result<()> {
    make_key(&home.operator_key(), "operator")?;
    make_key(&home.lab_key(), "laboratory")?;
    let mut known_hosts = String::new();
    for node in &NODES {
        make_key(&host_key(home, node), node.name)?;
        let public = public_key(&host_key(home, node))?;
        writeln!(known_hosts, "{},{},{} {public}", node.name, node.address(), node.address6())?;
    }
    replace_file(&home.known_hosts(), known_hosts.as_bytes())?;
    replace_file(&home.ssh_config(), ssh_config(home).as_bytes())?;
    if !home.cluster_file().exists() {
        replace_file(&home.cluster_file(), CLUSTER.as_bytes())?;
    }
    Ok(())
}

/// Where a node's private host key is kept.
pub(crate) fn host_key(home: &Home, node: &Node) -> PathBuf {
    home.inner("host-keys").join(node.name)
}

/// The public half of a key, without its comment.
pub(crate) fn public_key(private: &Path) -> Result<String> {
    let path = private.with_extension("pub");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

fn make_key(path: &Path, comment: &str) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    Tool::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(path).run()?;
    Ok(())
}

fn ssh_config(home: &Home) -> String {
    let host = |node: &Node| {
        let (name, address, address6) = (node.name, node.address(), node.address6());
        format!("Host {name}\n    HostName {address}\n\nHost {name} {address} {address6}\n    User root\n\n")
    };
    format!(
        "# Made by enxame-lab at every `up`. Works in the operator's place: enxame-lab exec -- ssh -F ...\n\n\
         {}Host *\n    IdentityFile \"{}\"\n    IdentitiesOnly yes\n    UserKnownHostsFile \"{}\"\n    \
         GlobalKnownHostsFile none\n    StrictHostKeyChecking yes\n    ConnectTimeout 20\n    ServerAliveInterval 10\n    ServerAliveCountMax 6\n    LogLevel ERROR\n",
        NODES.iter().map(host).collect::<Vec<_>>().concat(),
        home.operator_key().display(),
        home.known_hosts().display(),
    )
}
