//! A first `cluster.yaml`, from a look at the servers: roles by capacity, everything else the default.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use ipnet::{IpNet, Ipv4Net};

use crate::areas::swarm::pools;
use crate::areas::tunnel::checks::proposed_network;
use crate::config::{default_bridge_pool, default_overlay_pool};
use crate::facts::NodeFacts;
use crate::names::NodeName;

/// A server that was looked at.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What was given to `ssh`, without the account.
    pub host: String,
    /// The account, when one was given.
    pub user: Option<String>,
    /// Its facts.
    pub facts: NodeFacts,
}

/// Why nothing can be proposed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// A server has no address that others can reach.
    #[error("{0} carries no address that other servers can reach")]
    NoAddress(String),
    /// Two of the arguments are one server.
    #[error("{0} and {1} are one server: both carry {2}")]
    SameServer(String, String, IpAddr),
    /// The accounts differ, and the file has one for all.
    #[error(
        "the servers are reached with different accounts ({0}): put the accounts into your ssh_config and give `init` bare hosts"
    )]
    DifferentAccounts(String),
}

/// Writes the file's text. `ssh_config` is the configuration the servers were reached with, when it is not the user's.
///
/// # Errors
/// [`ProposalError`].
pub fn propose(candidates: &[Candidate], ssh_config: Option<&Path>) -> Result<String, ProposalError> {
    let accounts: BTreeSet<Option<&str>> = candidates.iter().map(|one| one.user.as_deref()).collect();
    if accounts.len() > 1 {
        let told = accounts.iter().map(|account| account.unwrap_or("ssh_config's own"));
        return Err(ProposalError::DifferentAccounts(told.collect::<Vec<_>>().join(", ")));
    }
    let addresses = addresses(candidates)?;
    for (index, (one, at)) in candidates.iter().zip(&addresses).enumerate() {
        let earlier = candidates.iter().zip(&addresses).take(index);
        for (first, other) in earlier {
            if other == at || (is_public(*at) && usable(first).any(|address| address == *at)) {
                return Err(ProposalError::SameServer(first.host.clone(), one.host.clone(), *at));
            }
        }
    }
    let largest = (0..candidates.len()).max_by_key(|index| {
        let capacity = candidates.get(*index).map(|one| capacity(&one.facts));
        (capacity, std::cmp::Reverse(*index))
    });
    let mut text = "# Proposed by `enxame init`; see `enxame schema` for everything that can be said here.\n\
                    version: 1\ncluster: swarm\n"
        .to_owned();
    let account = accounts.first().copied().flatten().map(|account| format!("  user: {}\n", scalar(account)));
    let file = ssh_config.map(|file| format!("  config_file: {}\n", scalar(&file.display().to_string())));
    let sessions = candidates.iter().filter_map(|one| one.facts.ssh_session);
    let from: BTreeSet<String> = sessions.map(|session| scalar(&session.from.to_string())).collect();
    let from: Vec<String> = from.into_iter().collect();
    let from = (!from.is_empty()).then(|| {
        format!(
            "  allow_from: [{}] # where you are now; an address that changes needs its network\n",
            from.join(", ")
        )
    });
    let ssh: String = [account, file, from].into_iter().flatten().collect();
    if !ssh.is_empty() {
        write(&mut text, &format!("ssh:\n{ssh}"));
    }
    text.push_str("nodes:\n");
    let names = names(candidates);
    let pool = pool(candidates);
    let tunnel = tunnel(candidates, &addresses, pool);
    let mut tunnelled = tunnel.iter().flat_map(Ipv4Net::hosts);
    for (index, ((one, at), name)) in candidates.iter().zip(&addresses).zip(&names).enumerate() {
        let hardware = &one.facts.hardware;
        write(
            &mut text,
            &format!(
                "  # {}, {} CPU, {} MiB memory, {} GiB disk\n  - name: {}\n    address: {at}\n",
                one_line(&one.facts.os.pretty_name),
                hardware.processors,
                hardware.memory_bytes / 1024 / 1024,
                hardware.disk_bytes / 1024 / 1024 / 1024,
                scalar(name),
            ),
        );
        if one.host != at.to_string() {
            write(&mut text, &format!("    ssh_host: {}\n", scalar(&one.host)));
        }
        if let Some(address) = tunnelled.next() {
            write(&mut text, &format!("    # tunnel: {address}\n"));
        }
        if Some(index) == largest {
            text.push_str("    # The largest: it holds the data, and the proxy beside its certificates.\n");
            text.push_str("    roles: [storage, db, proxy]\n    preferred_leader: true\n");
        }
    }
    if let Some(network) = tunnel {
        text.push_str(
            "# WireGuard tunnels between the servers: take the marks away here and at each of them.\n",
        );
        write(&mut text, &format!("# tunnel: {{network: {network}}}\n"));
    }
    if let Some(pool) = pool {
        text.push_str(
            "swarm:\n  # The default, 10.0.0.0/8, is somebody's already; this is free on all of them.\n",
        );
        write(&mut text, &format!("  address_pool: {{base: {pool}, size: 24}}\n"));
    }
    Ok(text)
}

/// A pool for the swarm, where the default one is not free on every server.
fn pool(candidates: &[Candidate]) -> Option<IpNet> {
    let bridges = default_bridge_pool();
    let free = pools::free(candidates.iter().map(|one| &one.facts), &[bridges]);
    free.filter(|pool| *pool != default_overlay_pool())
}

/// A network for the tunnels that is free on every server, and beside whatever else is proposed.
fn tunnel(candidates: &[Candidate], addresses: &[IpAddr], pool: Option<IpNet>) -> Option<Ipv4Net> {
    let pools = [pool.unwrap_or_else(default_overlay_pool), default_bridge_pool()];
    let others: Vec<IpNet> = addresses.iter().map(|address| IpNet::from(*address)).chain(pools).collect();
    proposed_network(candidates.len(), candidates.iter().map(|one| &one.facts), &others)
}

fn write(text: &mut String, more: &str) {
    // Writing to a string does not fail.
    let _ = text.write_str(more);
}

/// Memory first: a database lives of it.
fn capacity(facts: &NodeFacts) -> (u64, u32, u64) {
    let hardware = &facts.hardware;
    (hardware.memory_bytes, hardware.processors, hardware.disk_bytes)
}

/// A comment's text: what a server says of itself must not become a line of the file.
fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}')).collect()
}

/// A YAML scalar that is read back as text, quoted where it could be taken for something else.
fn scalar(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    let means_more = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
        .contains(&text.to_ascii_lowercase().as_str());
    if is_word && !means_more { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// All of one kind, because VXLAN runs over one of the two: IPv4 where every server has it, unless the user reached
/// all of them by IPv6.
fn addresses(candidates: &[Candidate]) -> Result<Vec<IpAddr>, ProposalError> {
    let wants_v6 = candidates.iter().all(|one| reached(one).is_some_and(|address| address.is_ipv6()));
    let is_v4 = !wants_v6 && candidates.iter().all(|one| usable(one).any(|address| address.is_ipv4()));
    candidates.iter().map(|one| address(one, is_v4)).collect()
}

/// The address the user reached it at, when that is one of its own; otherwise its first public one or, where it has
/// none, its first.
fn address(candidate: &Candidate, is_v4: bool) -> Result<IpAddr, ProposalError> {
    let own = || usable(candidate).filter(|address| address.is_ipv4() == is_v4);
    let reached = reached(candidate).filter(|address| address.is_ipv4() == is_v4);
    let found = reached.or_else(|| own().find(|address| is_public(*address))).or_else(|| own().next());
    found.ok_or_else(|| ProposalError::NoAddress(candidate.host.clone()))
}

/// The address in the argument, when it is the server's own and not one that is translated on the way.
fn reached(candidate: &Candidate) -> Option<IpAddr> {
    let address: IpAddr = candidate.host.parse().ok()?;
    usable(candidate).find(|own| *own == address)
}

/// Its addresses that are of use beyond its own link.
fn usable(candidate: &Candidate) -> impl Iterator<Item = IpAddr> {
    let own = candidate.facts.interfaces.iter().flat_map(|interface| interface.addresses.iter().copied());
    own.filter(|address| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    })
}

/// Whether it is routed on the Internet, so that no two servers have it (RFC 1918, RFC 6598, RFC 4193).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            !v4.is_private() && !is_shared
        }
        IpAddr::V6(v6) => !v6.is_unique_local(),
    }
}

/// The host names the servers have, where these are usable and not shared; `node1`, `node2` ... otherwise.
fn names(candidates: &[Candidate]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let of = |(index, candidate): (usize, &Candidate)| {
        let label = candidate.facts.hostname.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let is_usable = NodeName::new(label.clone()).is_ok() && label != "localhost";
        let mut name = if is_usable { label } else { format!("node{}", index + 1) };
        if taken.contains(&name) {
            name = format!("node{}", index + 1);
        }
        while !taken.insert(name.clone()) {
            name.push('x');
        }
        name
    };
    candidates.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests;
