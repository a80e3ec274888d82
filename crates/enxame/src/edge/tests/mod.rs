//! The provider's edge against a local server that holds every request and answer to the provider's contract.

mod account;
mod contract;
mod enforcement;
mod faults;
mod outcomes;
mod server;

use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use enxame_core::config::Config;
use enxame_core::edge::{EdgeChange, EdgeFacts};
use enxame_core::facts::ClusterFacts;
use enxame_core::names::NodeName;
use enxame_core::plan;
use enxame_core::secret::Secret;
use futures::future::LocalBoxFuture;

use super::client::{Client, Patience};
use super::hostinger::Hostinger;
use super::{Edge, EdgeError, Observer};
use account::{Account, lets_in_ssh};
use server::{Server, TOKEN};

const MACHINES: [(u64, &str); 3] = [(12, "203.0.113.12"), (14, "203.0.113.14"), (18, "203.0.113.18")];

/// What the matrix of the manual (3.1, corrected) is for the three nodes, as rules of the provider.
const MATRIX: [&str; 21] = [
    "ESP any 203.0.113.12",
    "ESP any 203.0.113.14",
    "ESP any 203.0.113.18",
    "ICMP any any",
    "ICMPv6 any any",
    "TCP 22 198.51.100.9",
    "TCP 2377 203.0.113.12",
    "TCP 2377 203.0.113.14",
    "TCP 2377 203.0.113.18",
    "TCP 29877 203.0.113.12",
    "TCP 29877 203.0.113.14",
    "TCP 29877 203.0.113.18",
    "TCP 443 any",
    "TCP 7946 203.0.113.12",
    "TCP 7946 203.0.113.14",
    "TCP 7946 203.0.113.18",
    "TCP 80 any",
    "UDP 4500 192.0.2.0/24",
    "UDP 7946 203.0.113.12",
    "UDP 7946 203.0.113.14",
    "UDP 7946 203.0.113.18",
];

fn operator() -> IpAddr {
    "198.51.100.9".parse().unwrap()
}

fn matrix() -> Vec<String> {
    MATRIX.map(str::to_owned).to_vec()
}

fn config() -> Config {
    let text = "version: 1\ncluster: lab\nssh: {allow_from: [198.51.100.9]}\nfirewall:\n  edge: {provider: hostinger}\n\
                \x20 openings: [{protocol: udp, port: 4500, from: [192.0.2.0/24]}]\nnodes:\n\
                \x20 - {name: kvm2, address: 203.0.113.12}\n  - {name: kvm4, address: 203.0.113.14}\n\
                \x20 - {name: kvm8, address: 203.0.113.18}\n";
    Config::parse("cluster.yaml", text).unwrap()
}

/// Three machines, and others' firewalls on more than one page.
fn account() -> Account {
    let mut account = Account::default();
    for (id, address) in MACHINES.into_iter().chain([(99, "203.0.113.99")]) {
        account.add_machine(id, address);
    }
    for name in ["HTTP only", "mail", "vpn", "lab"] {
        account.add_firewall(name, &[("HTTP", "80", "any"), ("SSH", "22", "any")]);
    }
    account
}

/// The same with our firewall in front of all three, as an earlier version of the matrix made it: ESP is missing,
/// three rules are stale, and SSH is open to everybody.
fn outdated() -> Account {
    let mut account = account();
    let mut rules = vec![("SSH", "22", "any"), ("TCP", "8080", "any"), ("GRE", "any", "any")];
    let current = MATRIX.iter().map(|rule| rule.split(' ').collect::<Vec<_>>());
    let kept = current.filter(|rule| rule[1] != "22" && rule[0] != "ESP");
    rules.extend(kept.map(|rule| (rule[0], rule[1], rule[2])));
    let id = account.add_firewall("enxame-lab", &rules);
    for (machine, _) in MACHINES {
        account.install(id, machine);
    }
    account
}

fn impatient() -> Patience {
    Patience {
        request: Duration::from_secs(5),
        first_delay: Duration::from_millis(5),
        longest_delay: Duration::from_millis(20),
        total: Duration::from_secs(4),
        poll: Duration::from_millis(2),
        action: Duration::from_secs(5),
    }
}

fn edge(server: &Server, token: &str, patience: Patience) -> Hostinger {
    Hostinger::new(Client::new(&server.url, Secret::new(token.to_owned()), patience).unwrap())
}

fn change_for(facts: &EdgeFacts) -> Option<EdgeChange> {
    plan::make(&config(), &ClusterFacts::default(), Some(facts), &[]).unwrap().edge
}

/// Connects by SSH as far as the server's rules let it; loses the connection on request.
struct Operator<'a> {
    server: &'a Server,
    /// How many confirmations go well before one does not.
    good: Cell<usize>,
}

impl Observer for Operator<'_> {
    fn tell(&self, _: &str) {}

    fn confirm<'a>(&'a self, node: &'a NodeName) -> LocalBoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let address = config().node(node).unwrap().address.to_string();
            let id = MACHINES.iter().find(|(_, own)| *own == address).unwrap().0;
            let is_good = self.good.get() > 0 && self.server.world().account.lets_in_ssh(id, operator());
            self.good.set(self.good.get().saturating_sub(1));
            if is_good { Ok(()) } else { Err("ssh could not connect".to_owned()) }
        })
    }
}

/// Looks, plans and applies once, as `enxame apply` does. What was to be done, and what became of it.
async fn apply(server: &Server, good: usize) -> Result<Option<EdgeChange>, EdgeError> {
    apply_with(server, good, impatient()).await
}

async fn apply_with(
    server: &Server,
    good: usize,
    patience: Patience,
) -> Result<Option<EdgeChange>, EdgeError> {
    let edge = edge(server, TOKEN, patience);
    let change = change_for(&edge.look(&config()).await?);
    if let Some(change) = &change {
        edge.apply(change, &Operator { server, good: Cell::new(good) }).await?;
    }
    Ok(change)
}

const ALWAYS: usize = usize::MAX;

/// No set of rules that was ever in force for a machine kept the operator out.
fn assert_ssh_was_never_cut(server: &Server) {
    let world = server.world();
    assert!(!world.account.history.is_empty());
    for (machine, rules) in &world.account.history {
        assert!(lets_in_ssh(rules.as_deref(), operator()), "{machine}: {rules:#?}");
    }
}

fn assert_the_matrix_is_in_force(server: &Server) {
    for (id, _) in MACHINES {
        assert_eq!(server.world().account.in_force(id), Some(matrix()), "machine {id}");
    }
}
