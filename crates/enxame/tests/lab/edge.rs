//! The provider's edge together with the nodes: the server that holds to the provider's contract puts what is in force
//! into the laboratory's own network, in front of the servers.

#[path = "../../src/edge/tests/account.rs"]
#[expect(dead_code, reason = "what the unit tests ask of it")]
mod account;
#[path = "../../src/edge/tests/contract.rs"]
mod contract;
#[path = "../../src/edge/tests/server.rs"]
#[expect(dead_code, reason = "the unit tests inject faults")]
mod server;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use account::{Account, Machine, Rule};
use nix::sched::{CloneFlags, setns};
use server::{Server, TOKEN};

use crate::support::NODES;

/// The namespace with the bridge that all the servers' cables end in.
const INTERNET: &str = "enxame-internet";
const OPERATOR: &str = "/run/netns/enxame-operator";

/// A rule in nft's words; `None`: it is for what this network does not filter.
fn accepting(rule: &Rule) -> Option<String> {
    let [protocol, port, source, detail] = &rule.fields;
    let what = match protocol.as_str() {
        "TCP" | "UDP" => format!("{} dport {port}", protocol.to_lowercase()),
        "ESP" | "ICMP" => format!("ip protocol {}", protocol.to_lowercase()),
        "SSH" => "tcp dport 22".to_owned(),
        _ => return None,
    };
    let from = if source == "any" { String::new() } else { format!("ip saddr {detail} ") };
    Some(format!("{from}{what} accept"))
}

/// IPv4 alone, as the provider's documents say nothing of the other.
fn table(machines: &BTreeMap<u64, Machine>) -> String {
    let mut text = "table inet edge {\n chain forward {\n  type filter hook forward priority filter\n\
                    \x20 ct state established,related accept\n"
        .to_owned();
    let mut chains = String::new();
    for (id, machine) in machines {
        let Some(rules) = &machine.in_force else { continue };
        writeln!(text, "  ip daddr {} goto m{id}", machine.address).unwrap();
        writeln!(chains, " chain m{id} {{").unwrap();
        for rule in rules.iter().filter_map(accepting) {
            writeln!(chains, "  {rule}").unwrap();
        }
        writeln!(chains, "  drop\n }}").unwrap();
    }
    format!("table inet edge\ndelete table inet edge\n{text} }}\n{chains}}}\n")
}

fn within_internet(command: &[&str], input: &str) {
    let mut child = Command::new("ip")
        .args(["netns", "exec", INTERNET])
        .args(command)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{command:?}: {input}");
}

fn hand_frames_to_the_filter(are_handed: bool) {
    let setting = format!("net.bridge.bridge-nf-call-iptables={}", u8::from(are_handed));
    within_internet(&["sysctl", "-q", "-w", &setting], "");
}

/// The provider, as long as this lives.
pub(crate) struct Provider {
    server: Server,
    end: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Provider {
    /// An account with the laboratory's servers, and nothing in front of them.
    pub(crate) fn start() -> Self {
        let mut account = Account::default();
        for (id, (_, address)) in (1..).zip(NODES) {
            account.add_machine(id, address);
        }
        account.enforce = Some(Box::new(|machines| within_internet(&["nft", "-f", "-"], &table(machines))));
        hand_frames_to_the_filter(true);
        let (end, ended) = tokio::sync::oneshot::channel();
        let (tell, told) = channel();
        thread::spawn(move || {
            setns(File::open(OPERATOR).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tell.send(Server::start(account).await).unwrap();
                drop(ended.await);
            });
        });
        Self { server: told.recv().unwrap(), end: Some(end) }
    }

    /// The part of `cluster.yaml` under `firewall:` that names it, with a file that holds its token.
    pub(crate) fn config(&self) -> String {
        let path = crate::support::root().join(".lab/edge-token");
        drop(fs::remove_file(&path));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(TOKEN.as_bytes()).unwrap();
        let url = &self.server.url;
        format!("  edge: {{provider: hostinger, url: '{url}', token_file: edge-token}}\n")
    }

    /// What is in force in front of a server, by its place in [`NODES`].
    pub(crate) fn in_force(&self, index: u64) -> Vec<String> {
        self.server.world().account.in_force(index + 1).unwrap_or_default()
    }

    /// How many requests changed something.
    pub(crate) fn writes(&self) -> usize {
        self.server.world().writes()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.end.take().map(|end| end.send(()));
        let table = "table inet edge\ndelete table inet edge\n";
        within_internet(&["nft", "-f", "-"], table);
        hand_frames_to_the_filter(false);
    }
}
