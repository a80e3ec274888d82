//! The guard: an nft table of our own, in front of everything that Docker and ufw write (manual 3, corrected).
//!
//! It sees what arrives on the public interfaces before any address is translated, so that a published port is closed
//! unless it is declared; and it drops VXLAN that is not encrypted, both ways, because dockerd fails open. It holds while
//! ufw reloads and dockerd restarts. Owns the table's text and where it lives.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::areas::firewall::{Nodes, Opening, Service, Source};
use crate::areas::tunnel::INTERFACE;
use crate::files::HEADER;

/// Where its text is.
pub const PATH: &str = "/etc/enxame/guard.nft";
/// What the kernel showed right after the text was loaded: anything else is somebody's change.
pub const LISTING: &str = "/run/enxame-guard.listing";
/// The chain that `DOCKER-USER` hands to what comes in from outside.
pub const PUBLISHED_CHAIN: &str = "enxame-published";

/// Lists it, without counters, which change by themselves.
pub const LIST: [&str; 6] = ["nft", "--stateless", "list", "table", "inet", "enxame"];

/// What the table is made of.
pub struct Guard<'a> {
    /// The public interfaces, by name.
    pub interfaces: BTreeSet<&'a str>,
    /// What is let in.
    pub openings: &'a [Opening],
    /// VXLAN's port.
    pub data_path_port: u16,
    /// The identifiers of the network whose packets may be clear.
    pub plaintext_vnis: Vec<u32>,
    /// The node's addresses that are reached from outside, which are guarded also where their interface has got another name.
    pub addresses: BTreeSet<IpAddr>,
    /// What is let in by the tunnels between the nodes; `None`: there are none.
    pub tunnel: Option<&'a [Opening]>,
}

impl Guard<'_> {
    /// The whole file: loading it replaces the table in one transaction, also where there is none yet.
    #[must_use]
    pub fn text(&self) -> String {
        let interfaces =
            self.interfaces.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        // A clear packet that is not the plaintext network's: its identifier stands behind 8 bytes of UDP and 4 of VXLAN
        // (RFC 7348, 5).
        let clear = if self.plaintext_vnis.is_empty() {
            format!("udp dport {}", self.data_path_port)
        } else {
            let vnis =
                self.plaintext_vnis.iter().map(|vni| format!("{vni:#x}")).collect::<Vec<_>>().join(", ");
            format!("udp dport {} @th,96,24 != {{ {vnis} }}", self.data_path_port)
        };
        let own = self.own_addresses();
        let openings = rules(self.openings);
        let from_tunnel =
            self.tunnel.map(|_| format!("\t\tiifname \"{INTERFACE}\" goto tunnel\n")).unwrap_or_default();
        let tunnel = self.tunnel.map(tunnel).unwrap_or_default();
        let peers = self.peers();
        format!(
            "{HEADER}{peers}table inet enxame\ndelete table inet enxame\n\ntable inet enxame {{\n\
             \tchain arriving {{\n\
             \t\t# Connections are known from -200 on (conntrack), addresses are translated at -100 (nat).\n\
             \t\ttype filter hook prerouting priority -150; policy accept;\n\
             \t\tiifname \"lo\" accept\n\
             \t\t{clear} meta secpath missing counter drop\n\
             {from_tunnel}\
             \t\tiifname {{ {interfaces} }} goto outside\n\
             \t\tiifname \"docker*\" accept\n\
             \t\tiifname \"br-*\" accept\n\
             \t\tiifname \"veth*\" accept\n\
             {own}\t}}\n\n\
             \tchain outside {{\n\
             \t\tct state established,related accept\n\
             \t\tmeta l4proto {{ icmp, ipv6-icmp }} accept\n\
             \t\tip6 saddr fe80::/10 udp sport 547 udp dport 546 accept\n\
             \t\tfib daddr type {{ broadcast, multicast, anycast }} accept\n\
             \t\tfib daddr type local jump openings\n\
             \t\tcounter drop\n\
             \t}}\n\n\
             \tchain openings {{\n{openings}\t}}\n\n\
             {tunnel}\
             \tchain leaving {{\n\
             \t\t# Behind the mark that dockerd sets (mangle, -150) and the route that follows from it.\n\
             \t\ttype filter hook output priority 300; policy accept;\n\
             \t\toifname != \"lo\" {clear} rt ipsec missing counter drop\n\
             \t}}\n}}\n",
        )
    }

    /// What comes to the node's own addresses, by whichever interface.
    fn own_addresses(&self) -> String {
        let of_family = |family: &NftFamily| {
            let of_family = self.addresses.iter().filter(|address| family.has(**address));
            let members: Vec<String> = of_family.map(ToString::to_string).collect();
            (!members.is_empty())
                .then(|| format!("\t\t{} daddr {{ {} }} goto outside\n", family.name, members.join(", ")))
        };
        FAMILIES.iter().filter_map(of_family).collect()
    }

    /// The other nodes, once for all rules that let them in: a node lets in all of them or none.
    fn peers(&self) -> String {
        let nodes = self.openings.iter().find_map(|opening| match &opening.source {
            Source::Nodes(nodes) => Some(nodes),
            Source::Anywhere | Source::Networks(_) => None,
        });
        let of_family = |family: &NftFamily| {
            let of_family = nodes.into_iter().flat_map(Nodes::iter).filter(|(node, _)| family.has(*node));
            let addresses: Vec<&str> = of_family.map(|(_, text)| text).collect();
            (!addresses.is_empty())
                .then(|| format!("define {} = {{ {} }}\n", family.peers, addresses.join(", ")))
        };
        FAMILIES.iter().filter_map(of_family).collect()
    }
}

fn rules(openings: &[Opening]) -> String {
    let lines = openings.iter().flat_map(lines);
    lines.flat_map(|line| ["\t\t".to_owned(), line, "\n".to_owned()]).collect()
}

/// What comes by the tunnels, and what would go on by them: containers' packets leave under the node's own address, which is
/// a key there.
fn tunnel(openings: &[Opening]) -> String {
    let openings = rules(openings);
    format!(
        "\tchain tunnel {{\n\
         \t\tct state established,related accept\n\
         \t\tmeta l4proto icmp accept\n\
         \t\tfib daddr type local jump tunnel-openings\n\
         \t\tcounter drop\n\
         \t}}\n\n\
         \tchain tunnel-openings {{\n{openings}\t}}\n\n\
         \tchain passing {{\n\
         \t\ttype filter hook forward priority -150; policy accept;\n\
         \t\tiifname \"{INTERFACE}\" counter drop\n\
         \t\toifname \"{INTERFACE}\" counter drop\n\
         \t}}\n\n"
    )
}

/// An address family in nft's words.
struct NftFamily {
    is_v4: bool,
    name: &'static str,
    peers: &'static str,
}

const FAMILIES: [NftFamily; 2] = [
    NftFamily { is_v4: true, name: "ip", peers: "peers" },
    NftFamily { is_v4: false, name: "ip6", peers: "peers6" },
];

impl NftFamily {
    fn has(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_v4
    }
}

/// An opening, a line for each address family.
fn lines(opening: &Opening) -> Vec<String> {
    let what = match opening.service {
        Service::Tcp(port) => format!("tcp dport {port} "),
        Service::Udp(port) => format!("udp dport {port} "),
        Service::Esp => "meta l4proto esp ".to_owned(),
        Service::Icmp => "meta l4proto icmp ".to_owned(),
        Service::Icmpv6 => "meta l4proto ipv6-icmp ".to_owned(),
        Service::Any => String::new(),
    };
    let rule = |from: String| format!("{from}{what}accept comment \"{}\"", opening.purpose);
    match &opening.source {
        Source::Anywhere => vec![rule(String::new())],
        Source::Networks(networks) => {
            let of_family = |family: &NftFamily| {
                let of_family = networks.iter().filter(|network| family.has(network.addr()));
                let members: Vec<String> = of_family.map(ToString::to_string).collect();
                (!members.is_empty())
                    .then(|| rule(format!("{} saddr {{ {} }} ", family.name, members.join(", "))))
            };
            FAMILIES.iter().filter_map(of_family).collect()
        }
        Source::Nodes(nodes) => {
            let families = FAMILIES.iter().filter(|family| nodes.iter().any(|(node, _)| family.has(node)));
            families.map(|family| rule(format!("{} saddr ${} ", family.name, family.peers))).collect()
        }
    }
}

/// What of the openings keeps somebody at `from` away from TCP `port`, in words; `None` where they let him in.
#[must_use]
pub fn why_closed(openings: &[Opening], from: IpAddr, port: u16) -> Option<String> {
    if crate::areas::firewall::admits(openings, from, Service::Tcp(port)) {
        return None;
    }
    let to_port = openings.iter().find(|opening| opening.service == Service::Tcp(port));
    Some(match to_port {
        Some(opening) if opening.source.is_nobody() => format!("nobody is let in to TCP {port}"),
        Some(opening) => format!("TCP {port} is let in from {} only, not from {from}", opening.source),
        None => format!("nothing lets TCP {port} in"),
    })
}

#[cfg(test)]
mod tests {
    use crate::areas::firewall::Firewall;
    use crate::config::Config;
    use crate::facts::SshSession;

    use super::*;

    fn openings(more: &str) -> Vec<Opening> {
        let text = format!(
            "version: 1\ncluster: lab\nssh: {{allow_from: [198.51.100.0/24, 2001:db8:5::/48]}}\n{more}\nnodes:\n\
             \x20 - {{name: kvm2, address: 203.0.113.12}}\n  - {{name: kvm8, address: 203.0.113.18, roles: [storage]}}\n"
        );
        let config = Config::parse("cluster.yaml", &text).unwrap();
        let session = SshSession::parse("203.0.113.1 50022 203.0.113.12 22").unwrap();
        Firewall::of(&config).on_node(&config.nodes[1], Some(session))
    }

    #[test]
    fn the_table_lets_in_what_is_declared_and_drops_the_rest_before_translation() {
        let openings = openings(
            "firewall: {openings: [{protocol: udp, port: 51820}, {protocol: tcp, port: 9100, from: [192.0.2.1]}]}",
        );
        let guard = Guard {
            interfaces: ["ens2", "ens3"].into(),
            openings: &openings,
            data_path_port: 4789,
            plaintext_vnis: Vec::new(),
            addresses: ["203.0.113.18", "2001:db8::18"].map(|address| address.parse().unwrap()).into(),
            tunnel: None,
        };
        insta::assert_snapshot!(guard.text());
    }

    #[test]
    fn clear_packets_of_the_network_declared_plaintext_pass() {
        let guard = Guard {
            interfaces: ["ens2"].into(),
            openings: &[],
            data_path_port: 4800,
            plaintext_vnis: vec![0x00e0_0001, 0x1003],
            addresses: ["2001:db8::18".parse().unwrap()].into(),
            tunnel: None,
        };
        let text = guard.text();
        assert!(
            text.contains(
                "udp dport 4800 @th,96,24 != { 0xe00001, 0x1003 } meta secpath missing counter drop"
            ),
            "{text}"
        );
        assert!(
            text.contains("udp dport 4800 @th,96,24 != { 0xe00001, 0x1003 } rt ipsec missing counter drop"),
            "{text}"
        );
    }

    #[test]
    fn the_tunnels_let_in_what_is_served_there_and_pass_nothing_on() {
        let text = "version: 1\ncluster: lab\ntunnel: {network: 192.168.255.0/24}\nfirewall: {mesh: full}\nnodes:\n\
                    \x20 - {name: kvm2, address: 203.0.113.12, tunnel: 192.168.255.1}\n\
                    \x20 - {name: kvm8, address: 203.0.113.18, tunnel: 192.168.255.2, roles: [storage]}\n";
        let config = Config::parse("cluster.yaml", text).unwrap();
        let tunnel = Firewall::of(&config).in_the_tunnel(&config.nodes[1], None).unwrap();
        let guard = Guard {
            interfaces: ["ens2"].into(),
            openings: &[],
            data_path_port: 4789,
            plaintext_vnis: Vec::new(),
            addresses: ["203.0.113.18".parse().unwrap()].into(),
            tunnel: Some(&tunnel),
        };
        insta::assert_snapshot!(guard.text());
        assert_eq!(Firewall::of(&config).in_the_tunnel(&config.nodes[0], None), Some(Vec::new()));
    }

    #[test]
    fn the_rule_that_keeps_somebody_out_is_named() {
        let openings = openings("");
        assert_eq!(why_closed(&openings, "203.0.113.1".parse().unwrap(), 22), None);
        assert_eq!(
            why_closed(&openings, "192.0.2.9".parse().unwrap(), 22).unwrap(),
            "TCP 22 is let in from 198.51.100.0/24, 203.0.113.1, 2001:db8:5::/48 only, not from 192.0.2.9"
        );
        assert_eq!(
            why_closed(&openings, "192.0.2.9".parse().unwrap(), 2222).unwrap(),
            "nothing lets TCP 2222 in"
        );
    }
}
