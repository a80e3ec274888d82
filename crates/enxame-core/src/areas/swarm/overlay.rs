//! What the routing mesh's network and the others share: how they are made, and the MTU below them.

use crate::change::Difference;
use crate::declare::{Finding, View};
use crate::facts::{NetworkFacts, Observed};
use serde::{Deserialize, Serialize};

/// The option moby looks for; its value does not matter, `false` encrypts too.
const ENCRYPTED: &str = "encrypted";
/// moby's arithmetic is for IPv4; an IPv6 header is 20 bytes longer.
const IPV6_EXTRA_BYTES: u32 = 20;

/// A network as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedNetwork {
    /// Its name.
    pub name: String,
    /// Whether it is the routing mesh's.
    pub is_ingress: bool,
    /// Whether containers outside services may attach.
    pub is_attachable: bool,
    /// Whether its traffic is encrypted.
    pub is_encrypted: bool,
    /// The MTU below it, in bytes.
    pub underlay_mtu_bytes: u32,
}

impl WantedNetwork {
    /// How a network that is there differs.
    #[must_use]
    pub fn differences(&self, there: &NetworkFacts) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut compare = |what: &str, old: String, new: String| {
            if old != new {
                found.push(Difference::changed(format!("network {} {what}", self.name), old, new));
            }
        };
        compare(ENCRYPTED, there.is_encrypted.to_string(), self.is_encrypted.to_string());
        let mtu = there.underlay_mtu_bytes.unwrap_or(1500);
        compare("underlay MTU", mtu.to_string(), self.underlay_mtu_bytes.to_string());
        if !self.is_ingress {
            compare("attachable", there.is_attachable.to_string(), self.is_attachable.to_string());
        }
        found
    }

    /// Whether a network that is there would do, but for its MTU.
    #[must_use]
    pub fn differs_only_in_mtu(&self, there: &NetworkFacts) -> bool {
        let same_mtu = Self { underlay_mtu_bytes: there.underlay_mtu_bytes.unwrap_or(1500), ..self.clone() };
        !self.differences(there).is_empty() && same_mtu.differences(there).is_empty()
    }

    /// What a network that is not there yet will be.
    #[must_use]
    pub fn all_new(&self) -> Vec<Difference> {
        let field = |what: &str| format!("network {} {what}", self.name);
        vec![
            Difference::added(field(ENCRYPTED), self.is_encrypted.to_string()),
            Difference::added(field("underlay MTU"), self.underlay_mtu_bytes.to_string()),
        ]
    }
}

/// The MTU that fits below every pair of nodes, in bytes, and what could not be measured.
#[must_use]
pub fn underlay_mtu(view: &View<'_>) -> (u32, Vec<Finding>) {
    let extra = if view.node.address.is_ipv6() { IPV6_EXTRA_BYTES } else { 0 };
    let (smallest, findings) = smallest_path_mtu(view);
    (smallest.saturating_sub(extra), findings)
}

/// The largest IP packet that passes between every pair of nodes, in bytes, and what could not be measured.
#[must_use]
pub(crate) fn smallest_path_mtu(view: &View<'_>) -> (u32, Vec<Finding>) {
    if let Some(mtu) = view.config.networks.underlay_mtu_bytes {
        return (mtu, Vec::new());
    }
    let mut smallest = None;
    let mut findings = Vec::new();
    for node in &view.config.nodes {
        let Some(facts) = view.all.get(&node.name) else { continue };
        // There are as many routes as pairs of nodes: one that was measured costs no look-up.
        for (address, route) in &facts.routes {
            let Observed::Known(route) = route else { continue };
            let mtu = match &route.path_mtu_bytes {
                Observed::Known(mtu) => *mtu,
                Observed::Unknown(why) => {
                    let Some(peer) = view.config.nodes.iter().find(|peer| peer.address == *address) else {
                        continue;
                    };
                    let message = format!("the path MTU to {} was not measured: {why}", peer.name);
                    let hint = "let ICMP through between the nodes, or write `networks.underlay_mtu`";
                    findings.push(Finding::warning("5.3", message, hint).on(&node.name));
                    route.mtu_bytes
                }
            };
            smallest = Some(smallest.map_or(mtu, |least: u32| least.min(mtu)));
        }
    }
    (smallest.unwrap_or(1500), findings)
}
