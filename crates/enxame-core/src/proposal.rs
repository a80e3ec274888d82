//! A first `cluster.yaml`, from a look at the servers: roles by capacity, everything else the default.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

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

/// Writes the file's text.
///
/// # Errors
/// [`ProposalError`].
pub fn propose(candidates: &[Candidate]) -> Result<String, ProposalError> {
    let accounts: BTreeSet<&str> = candidates.iter().filter_map(|one| one.user.as_deref()).collect();
    if accounts.len() > 1 {
        return Err(ProposalError::DifferentAccounts(accounts.into_iter().collect::<Vec<_>>().join(", ")));
    }
    let addresses = candidates.iter().map(address).collect::<Result<Vec<_>, _>>()?;
    for (index, (one, at)) in candidates.iter().zip(&addresses).enumerate() {
        let earlier = candidates.iter().zip(&addresses).take(index).find(|(_, other)| *other == at);
        if let Some((first, _)) = earlier {
            return Err(ProposalError::SameServer(first.host.clone(), one.host.clone(), *at));
        }
    }
    let largest = (0..candidates.len()).max_by_key(|index| {
        let capacity = candidates.get(*index).map(|one| capacity(&one.facts));
        (capacity, std::cmp::Reverse(*index))
    });
    let mut text = "# Proposed by `enxame init`; see `enxame schema` for everything that can be said here.\n\
                    version: 1\ncluster: swarm\n"
        .to_owned();
    if let Some(account) = accounts.first() {
        write(&mut text, &format!("ssh:\n  user: {account}\n"));
    }
    text.push_str("nodes:\n");
    let names = names(candidates);
    for (index, ((one, at), name)) in candidates.iter().zip(&addresses).zip(&names).enumerate() {
        let hardware = &one.facts.hardware;
        write(
            &mut text,
            &format!(
                "  # {}, {} CPU, {} MiB memory, {} GiB disk\n  - name: {name}\n    address: {at}\n",
                one.facts.os.pretty_name,
                hardware.processors,
                hardware.memory_bytes / 1024 / 1024,
                hardware.disk_bytes / 1024 / 1024 / 1024,
            ),
        );
        if one.host != at.to_string() {
            write(&mut text, &format!("    ssh_host: {}\n", one.host));
        }
        if Some(index) == largest {
            text.push_str("    # The largest: it holds the data, and the proxy beside its certificates.\n");
            text.push_str("    roles: [storage, db, proxy]\n    preferred_leader: true\n");
        }
    }
    Ok(text)
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

/// The address the user reached it at, when that is one of its own; otherwise its first public one.
fn address(candidate: &Candidate) -> Result<IpAddr, ProposalError> {
    let own = || candidate.facts.interfaces.iter().flat_map(|interface| interface.addresses.iter().copied());
    let reached = candidate.host.parse().ok().filter(|address| own().any(|one| one == *address));
    let usable = |address: &IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(_) => false,
    };
    let usable_v6 = |address: &IpAddr| match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    let found = reached.or_else(|| own().find(usable)).or_else(|| own().find(usable_v6));
    found.ok_or_else(|| ProposalError::NoAddress(candidate.host.clone()))
}

/// The host names the servers have, where these are usable and not shared; `node1`, `node2` ... otherwise.
fn names(candidates: &[Candidate]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let of = |(index, candidate): (usize, &Candidate)| {
        let label = candidate.facts.hostname.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let is_usable = NodeName::new(label.clone()).is_ok() && label != "localhost";
        let mut name =
            if is_usable && taken.insert(label.clone()) { label } else { format!("node{}", index + 1) };
        while !taken.contains(&name) && !taken.insert(name.clone()) {
            name.push('x');
        }
        name
    };
    candidates.iter().enumerate().map(of).collect()
}
